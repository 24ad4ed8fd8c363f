"""Google Cloud Storage (https://cloud.google.com/storage/docs/json_api), by the session of gcsfs.

The versions are generations, and every request can be put under the condition of one.
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
from gpuzarr.storage.clients.http import SILENCE
from gpuzarr.storage.contract import Span

_UNREACHABLE = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, ConnectionError)


class GcsClient(Client):
    """`fs`: a gcsfs GCSFileSystem, whose credentials, endpoint and session are used."""

    swaps = True

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._fs.loop
        return loop

    async def _request(self, method: str, path: str, kind: str, headers: dict[str, str], **more: Any) -> Any:
        """A request for the object, by the part `kind` of the interface ("", "download", "upload")."""
        fs = self._fs
        await fs._set_session()
        bucket, key, generation = fs.split_path(path)
        query = fs._get_params({"generation": generation, **more.pop("query", {})})
        place = f"{fs._location}/{kind}{'/' if kind else ''}storage/v1/b/{quote(bucket, safe='')}/o"
        if kind == "upload":
            query["name"] = key
        else:
            place += f"/{quote(key, safe='')}"
        # The token, which may have to be renewed, is fetched by a blocking library.
        headers = await asyncio.to_thread(fs._get_headers, headers)
        return fs.session.request(
            method,
            yarl.URL(place, encoded=True).update_query(query),
            headers=headers,
            timeout=fs.requests_timeout or SILENCE,
            **more,
        )

    async def get(self, path: str, span: Span | None, version: Hashable, limit: int | None) -> Answer:
        headers = {"Accept-Encoding": "identity"} | ({} if span is None else {"Range": range_header(span)})
        query = {"alt": "media"} | ({} if version is None else {"ifGenerationMatch": str(version)})
        try:
            async with await self._request("GET", path, "download", headers, query=query) as response:
                await _check(response)
                found = response.headers.get("X-Goog-Generation")
                if version is not None and found is not None and found != version:
                    raise Changed(f"its generation is {found}")
                return await read_answer(span, limit, response.status, response.headers, response.content.read, found)
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error

    async def size(self, path: str) -> int | None:
        try:
            async with await self._request("GET", path, "", {}, query={"fields": "size"}) as response:
                await _check(response)
                return int((await response.json())["size"])
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error

    async def put(self, path: str, data: bytes, condition: Hashable) -> None:
        query: dict[str, Any] = {"uploadType": "media"}
        if condition is not Condition.ANY:
            query["ifGenerationMatch"] = "0" if condition is Condition.ABSENT else str(condition)
        headers = {"Content-Type": "application/octet-stream"}
        await self._change("POST", path, "upload", headers, data=data, query=query)

    async def delete(self, path: str) -> None:
        await self._change("DELETE", path, "", {})

    async def _change(self, method: str, path: str, kind: str, headers: dict[str, str], **more: Any) -> None:
        try:
            async with await self._request(method, path, kind, headers, **more) as response:
                if response.status != 204:
                    await _check(response)
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error


async def _check(response: Any) -> None:
    """Raise what a status means that is not success."""
    if response.status in (200, 206):
        return
    said = (await response.content.read(2000)).decode(errors="replace")
    if response.status == 404 and "bucket does not exist" in said:
        raise OSError(f"there is no such bucket: {said}")
    error = failure(response.status, response.headers, said)
    assert error is not None
    raise error
