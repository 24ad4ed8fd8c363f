"""Amazon S3 and services like it (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html), by s3fs.

The versions are ETags. A put keeps the conditions If-Match and If-None-Match, so that partial writes are safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, NoReturn

import aiohttp
import botocore.exceptions

from gpuzarr.storage.clients.answers import failure, range_header, read_answer
from gpuzarr.storage.clients.contract import Answer, Beyond, Client, Condition, Transient
from gpuzarr.storage.contract import Span

_UNREACHABLE = (
    botocore.exceptions.HTTPClientError,  # reading, and what of connecting is not below
    botocore.exceptions.EndpointConnectionError,  # a connection that was reset, too
    botocore.exceptions.ConnectTimeoutError,
    botocore.exceptions.ProxyConnectionError,
    botocore.exceptions.IncompleteReadError,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    TimeoutError,
    ConnectionError,
)
_BUSY = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ConditionalRequestConflict")


class S3Client(Client):
    """`fs`: an s3fs S3FileSystem, whose credentials, endpoint and request arguments are used."""

    swaps = True

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._fs.loop
        return loop

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        bucket, key, version_id = self._fs.split_path(path)
        if version_id is not None:
            arguments["VersionId"] = version_id
        await self._fs.set_session()
        call = getattr(await self._fs.get_s3(bucket), method)
        try:
            return await call(**self._fs._get_s3_method_kwargs(call, Bucket=bucket, Key=key, **arguments))
        except botocore.exceptions.ClientError as error:
            _raise(error)
        except _UNREACHABLE as error:
            raise Transient(repr(error)) from error

    async def get(self, path: str, span: Span | None, version: Hashable, limit: int | None) -> Answer:
        arguments: dict[str, Any] = {} if span is None else {"Range": range_header(span)}
        if version is not None:
            arguments["IfMatch"] = version
        answer = await self._call("get_object", path, **arguments)
        meta = answer["ResponseMetadata"]
        headers = {name.title(): value for name, value in meta["HTTPHeaders"].items()}
        async with answer["Body"] as body:

            async def read(count: int) -> bytes:
                part: bytes = await body.read(None if count < 0 else count)
                return part

            try:
                return await read_answer(span, limit, meta["HTTPStatusCode"], headers, read, answer.get("ETag"))
            except _UNREACHABLE as error:
                raise Transient(repr(error)) from error

    async def size(self, path: str) -> int | None:
        return int((await self._call("head_object", path))["ContentLength"])

    async def put(self, path: str, data: bytes, condition: Hashable) -> None:
        arguments: dict[str, Any] = {}
        if condition is Condition.ABSENT:
            arguments["IfNoneMatch"] = "*"
        elif condition is not Condition.ANY:
            arguments["IfMatch"] = condition
        await self._call("put_object", path, Body=data, **arguments)

    async def delete(self, path: str) -> None:
        await self._call("delete_object", path)


def _raise(error: Any) -> NoReturn:
    """Raise what the service's error means. Its code says more than the status: a bucket that is not there is a 404."""
    said, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, status = str(said.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
    if code in _BUSY:
        raise Transient(f"{code}: {said.get('Message', '')}") from error
    if code == "NoSuchBucket":
        raise OSError(f"there is no such bucket: {error}") from error
    if code == "InvalidRange" and str(said.get("ActualObjectSize", "")).isdigit():
        raise Beyond(int(said["ActualObjectSize"])) from error
    headers = {name.title(): value for name, value in meta.get("HTTPHeaders", {}).items()}
    meaning = failure(status, headers, f"{code} {said.get('Message', '')}")
    raise (meaning or OSError(str(error))) from error
