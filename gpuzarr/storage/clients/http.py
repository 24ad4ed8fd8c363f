"""Web servers (RFC 9110), by the session of fsspec's HTTPFileSystem.

A query string of the base URL (a signed URL) goes with every request. ETags tell states apart: strong ones only,
as weak ones do not vouch for every byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any
from urllib.parse import quote

import aiohttp
import yarl

from gpuzarr.storage.clients.answers import failure, range_header, read_answer
from gpuzarr.storage.clients.contract import Answer, Changed, Client, Condition, Transient
from gpuzarr.storage.contract import Span

# Seconds without a byte after which a connection counts as broken, where the user has not set others.
SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=30.0)
_UNREACHABLE = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, ConnectionError)


def url_of(base: str, key: str) -> str:
    """The URL of a key below a base URL, whose query string it keeps; characters that mean something in URLs are
    quoted."""
    place, mark, query = base.partition("?")
    return f"{place.rstrip('/')}/{quote(key)}{mark}{query}"


class HttpClient(Client):
    """`fs`: an fsspec HTTPFileSystem, whose session, headers and other request arguments are used."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._fs.loop
        return loop

    async def _request(self, method: str, path: str, headers: dict[str, str], **more: Any) -> Any:
        session = await self._fs.set_session()
        options = dict(self._fs.kwargs)
        # Packed bodies have no ranges, and their length says nothing.
        headers = {"Accept-Encoding": "identity", **options.pop("headers", {}), **headers}
        if "timeout" not in self._fs.client_kwargs:
            options.setdefault("timeout", SILENCE)
        return session.request(method, yarl.URL(path, encoded=True), headers=headers, **options, **more)

    async def get(self, path: str, span: Span | None, version: Hashable, limit: int | None) -> Answer:
        headers = {} if span is None else {"Range": range_header(span)}
        if version is not None:
            headers["If-Match"] = str(version)
        try:
            async with await self._request("GET", path, headers) as response:
                error = failure(response.status, response.headers)
                if error is not None:
                    raise error
                tag = _strong(response.headers.get("ETag"))
                if version is not None and tag != version:
                    raise Changed(f"its ETag is {tag}")  # a server that does not know If-Match
                return await read_answer(span, limit, response.status, response.headers, response.content.read, tag)
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error

    async def size(self, path: str) -> int | None:
        try:
            async with await self._request("HEAD", path, {}, allow_redirects=True) as response:
                error = failure(response.status, response.headers)
                if error is None:
                    length = response.headers.get("Content-Length", "")
                    return int(length) if length.isdigit() else None
                if response.status not in (405, 501):
                    raise error
                return None
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error

    async def put(self, path: str, data: bytes, condition: Hashable) -> None:
        headers = {"If-None-Match": "*"} if condition is Condition.ABSENT else {}
        await self._change("PUT", path, headers, data)

    async def delete(self, path: str) -> None:
        await self._change("DELETE", path, {}, None)

    async def _change(self, method: str, path: str, headers: dict[str, str], data: bytes | None) -> None:
        try:
            async with await self._request(method, path, headers, data=data) as response:
                if response.status not in (200, 201, 202, 204):
                    raise failure(response.status, response.headers) or OSError(f"status {response.status}")
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error


def _strong(tag: str | None) -> str | None:
    return None if tag is None or tag.startswith("W/") else tag
