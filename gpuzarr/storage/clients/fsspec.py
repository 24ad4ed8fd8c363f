"""Any other filesystem of fsspec (https://filesystem-spec.readthedocs.io), asynchronous or blocking, by its methods.

They tell no versions and no sizes beside the bytes, so an answer of another length than expected costs a second
request, and there is no compare-and-swap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from functools import partial
from typing import Any

from gpuzarr.storage.atomic import temporary_name
from gpuzarr.storage.clients.contract import Answer, Changed, Client, Condition, Transient
from gpuzarr.storage.contract import Span, resolve_spans
from gpuzarr.storage.event_loop import private_loop

_THREADS = 8  # calls at a time of a filesystem that blocks
_UNREACHABLE = (TimeoutError, ConnectionError)


class FsspecClient(Client):
    """`fs`: a filesystem; one that blocks is called from threads."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        protocols = fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,)
        self.private = "memory" in protocols
        self._local = "file" in protocols
        inner = getattr(fs, "fs", fs)  # a "dir" filesystem is as asynchronous as the one that it wraps
        self._asynchronous = bool(getattr(fs, "async_impl", False) and getattr(inner, "async_impl", False))
        self.in_flight = None if self._asynchronous else _THREADS

    def loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._fs.loop if self._asynchronous else private_loop()
        return loop

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the filesystem."""
        try:
            if self._asynchronous:
                return await getattr(self._fs, f"_{method}")(*arguments, **options)
            return await asyncio.to_thread(partial(getattr(self._fs, method), *arguments, **options))
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error

    async def get(self, path: str, span: Span | None, version: Hashable, limit: int | None) -> Answer:
        if version is not None:
            raise Changed("this filesystem tells no versions")
        if span is None:
            return Answer(bytes(await self.call("cat_file", path)), 0, None, None)
        start, stop = span
        data = bytes(await self.call("cat_file", path, start=start, end=stop))
        if len(data) == (-start if start < 0 else -1 if stop is None else stop - start):
            return Answer(data, None, None, None)
        try:
            size = await self.size(path)
        except FileNotFoundError as error:
            raise Changed("it was deleted") from error
        if size is None:
            whole = bytes(await self.call("cat_file", path))
            return Answer(whole, 0, len(whole), None)
        (first, last), *_ = resolve_spans(path, [span], size)
        ignored = len(data) == size and last - first != size  # a server that sends everything
        return Answer(data, 0 if ignored else first, size, None)

    async def size(self, path: str) -> int | None:
        info = await self.call("info", path)
        if info["type"] == "directory":
            raise FileNotFoundError(f"{path} is a directory")
        return None if info.get("size") is None else int(info["size"])

    async def put(self, path: str, data: bytes, condition: Hashable) -> None:
        options = {"mode": "create"} if condition is Condition.ABSENT else {}
        try:
            try:
                await self._pipe(path, data, options)
            except FileNotFoundError:  # a filesystem with real directories
                await self.call("makedirs", path.rpartition("/")[0], exist_ok=True)
                await self._pipe(path, data, options)
        except FileExistsError as error:
            raise Changed("it is there") from error

    async def _pipe(self, path: str, data: bytes, options: dict[str, Any]) -> None:
        if not self._local:
            await self.call("pipe_file", path, data, **options)
            return
        temporary = f"{path.rpartition('/')[0]}/{temporary_name()}"  # local files would be seen half written
        try:
            await self.call("pipe_file", temporary, data)
            await self.call("mv", temporary, path)
        except BaseException:
            if await self.call("exists", temporary):
                await self.call("rm_file", temporary)
            raise

    async def delete(self, path: str) -> None:
        await self.call("rm_file", path)
