"""The stores of obstore (https://developmentseed.org/obstore): S3, GCS, Azure, HTTP, memory and local files, by Rust's
object_store.

They are known by their methods only. The versions are ETags; puts keep conditions where the service does. A store
tries again by itself, as its `retry_config` says, before its failures are seen here.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Hashable
from typing import Any, NoReturn

from gpuzarr.errors import StoreError
from gpuzarr.storage.clients.contract import Answer, Beyond, Changed, Client, Condition, TooLarge, Transient
from gpuzarr.storage.contract import Span
from gpuzarr.storage.event_loop import private_loop

_process = 0  # that has used obstore
_SWAPPING = ("S3Store", "GCSStore", "AzureStore", "MemoryStore")
# What is in the message of an error that says no more than that something failed.
_TRANSIENT = re.compile(r"HttpError|HTTP error|error sending request|timed out|status code: (408|429|5\d\d)")


class ObstoreClient(Client):
    """`store`: an obstore store."""

    def __init__(self, store: Any) -> None:
        _refuse_forks(store)
        self._store = store
        kind = type(store).__name__
        self.swaps = kind in _SWAPPING
        self.private = kind == "MemoryStore"

    def loop(self) -> asyncio.AbstractEventLoop:
        return private_loop()

    async def get(self, path: str, span: Span | None, version: Hashable, limit: int | None) -> Answer:
        options: dict[str, Any] = {}
        if version is not None:
            options["if_match"] = version
        if span is not None:
            start, stop = span
            options["range"] = {"suffix": -start} if start < 0 else {"offset": start} if stop is None else (start, stop)
        try:
            found = await self._store.get_async(path, options=options)
            if span is None and limit is not None and found.meta["size"] > limit:
                raise TooLarge(found.meta["size"])
            data = memoryview(await found.bytes_async())
        except Exception as error:
            if span is not None and type(error).__name__ == "GenericError":
                if "NotPartial" in str(error):
                    return await self._ignoring(path, span, options)
                if "Range" in str(error):
                    raise Beyond from error
            _raise(error)
        first, last = found.range
        if len(data) != last - first:
            raise Transient(f"expected {last - first} bytes, got {len(data)}")
        return Answer(data, first, found.meta["size"], found.meta["e_tag"])

    async def _ignoring(self, path: str, span: Span, options: dict[str, Any]) -> Answer:
        """A range from a server that sends everything; no more than the range is kept."""
        try:
            found = await self._store.get_async(path, options={k: v for k, v in options.items() if k != "range"})
            size = found.meta["size"]
            start = max(0, size + span.start) if span.start < 0 else span.start
            stop = size if span.start < 0 or span.stop is None else min(size, span.stop)
            parts, at = [], 0
            async for part in found.stream(min_chunk_size=1 << 20):
                parts.append(bytes(memoryview(part)[max(0, start - at) : max(0, stop - at)]))
                at += len(part)
        except Exception as error:  # noqa: BLE001  told apart by name
            _raise(error)
        return Answer(b"".join(parts), start, size, found.meta["e_tag"])

    async def size(self, path: str) -> int | None:
        try:
            return int((await self._store.head_async(path))["size"])
        except Exception as error:  # noqa: BLE001  told apart by name
            _raise(error)

    async def put(self, path: str, data: bytes, condition: Hashable) -> None:
        mode: Any = {"e_tag": condition}
        if isinstance(condition, Condition):
            mode = "overwrite" if condition is Condition.ANY else "create"
        try:
            await self._store.put_async(path, data, mode=mode, use_multipart=False)
        except Exception as error:  # noqa: BLE001  told apart by name
            _raise(error)

    async def delete(self, path: str) -> None:
        try:
            await self._store.delete_async(path)
        except Exception as error:  # noqa: BLE001  told apart by name
            _raise(error)


def _refuse_forks(store: Any) -> None:
    """StoreError in a process that was forked from one that used obstore, whose threads are not here: it would wait
    for them until its deadline."""
    global _process  # noqa: PLW0603
    if _process not in (0, os.getpid()):
        raise StoreError(
            f"obstore ({type(store).__name__}) was used by the process that this one was forked from, and cannot be"
            " used here; start processes by 'spawn' or 'forkserver'"
        )
    _process = os.getpid()


def _raise(error: Exception) -> NoReturn:
    """Raise what an error of obstore's means."""
    name, said = type(error).__name__, str(error)
    if isinstance(error, FileNotFoundError):
        if "NoSuchBucket" in said or "bucket does not exist" in said:
            raise OSError(f"there is no such bucket: {said}") from error
        raise error
    if name in ("PreconditionError", "AlreadyExistsError"):
        raise Changed(said) from error
    if name == "GenericError" and _TRANSIENT.search(said):
        raise Transient(said[:300]) from error
    raise error
