"""A proxy before a service, which counts requests, adds latency and makes faults on purpose.

It runs on an event loop in a thread of its own. `choose` is asked before every request, and answers None or the name
of a fault:

    503, 429    the answer, instead of the service's ("429" says Retry-After: 0)
    reset       the connection is reset before anything is done
    stall       nothing happens until the client goes away
    lost        the service does what it is asked, and the connection ends without an answer
    short       the body ends half way, and with it the connection
    honest      half of a range is answered with a header that says so
    whole       the service never sees the range
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

FAULTS = ("503", "429", "reset", "stall", "lost", "short", "honest", "whole")
_CONTENT_RANGE = re.compile(rb"bytes (\d+)-(\d+)/(\d+)")


class Request(NamedTuple):
    method: str
    target: str
    range: str | None


class Message(NamedTuple):
    """A request or an answer."""

    start: bytes  # the first line
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def without(self, *names: bytes) -> Message:
        return self._replace(headers=[(key, value) for key, value in self.headers if key.lower() not in names])

    def head(self, length: int) -> bytes:
        headers = [*self.without(b"content-length", b"transfer-encoding").headers, (b"Content-Length", b"%d" % length)]
        return b"\r\n".join([self.start, *(b"%s: %s" % pair for pair in headers), b"", b""])


def never(request: Request) -> str | None:
    """No faults."""
    return None


class Proxy:
    """`requests` are those that came, with the fault that each met."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.url = ""
        self.latency = 0.0  # seconds before an answer
        self.choose: Callable[[Request], str | None] = never
        self.requests: list[tuple[Request, str | None]] = []
        self.active = self.most = 0  # requests under way: now, and at most so far
        self.tasks: set[asyncio.Task[None]] = set()

    def reset(self) -> None:
        """Count from zero, without faults."""
        self.requests, self.choose, self.latency, self.most = [], never, 0.0, 0

    def asked(self, method: str = "GET") -> list[Request]:
        """The requests of this method so far."""
        return [request for request, _ in self.requests if request.method == method]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while (message := await _read(reader, writer)) is not None:
                self.active += 1
                self.most = max(self.most, self.active)
                try:
                    if not await self._one(message, reader, writer):
                        break
                finally:
                    self.active -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, message: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection goes on."""
        method, target, _ = message.start.decode().split(" ", 2)
        span = message.header(b"range")
        request = Request(method, target, None if span is None else span.decode())
        fault = self.choose(request)
        self.requests.append((request, fault))
        if self.latency:
            await asyncio.sleep(self.latency)
        if fault in ("503", "429"):
            writer.write(b"HTTP/1.1 %s Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n" % fault.encode())
            await writer.drain()
            return True
        if fault == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if fault == "stall":
            await reader.read()
            return False
        answer = await self._ask(message.without(b"range") if fault == "whole" else message)
        if fault == "lost":
            return False
        return await _answer(answer, fault, method, writer)

    async def _ask(self, message: Message) -> Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=1 << 20)
        try:
            headers = message.without(b"connection", b"expect")
            writer.write(
                headers._replace(headers=[*headers.headers, (b"Connection", b"close")]).head(len(message.body))
            )
            writer.write(message.body)
            await writer.drain()
            answer = await _read(reader, None, head=message.start.startswith(b"HEAD"))
            if answer is None:
                raise ConnectionError("the service gave no answer")
            return answer.without(b"connection")
        finally:
            writer.close()


class KeepingProxy(Proxy):
    """One that asks the service only once for what is read, which must not change."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._kept: dict[tuple[bytes, bytes | None, bytes | None], Message] = {}

    async def _ask(self, message: Message) -> Message:
        if not message.start.startswith((b"GET", b"HEAD")):
            return await super()._ask(message)
        name = message.start, message.header(b"range"), message.header(b"if-match")
        if name not in self._kept:
            self._kept[name] = await super()._ask(message)
        return self._kept[name]


async def _answer(answer: Message, fault: str | None, method: str, writer: asyncio.StreamWriter) -> bool:
    body = answer.body
    span = answer.header(b"content-range")
    part = None if span is None else _CONTENT_RANGE.fullmatch(span)
    if fault == "honest" and part is not None and len(body) > 1:
        body = body[: len(body) // 2]
        first, size = int(part[1]), int(part[3])
        answer = answer.without(b"content-range")
        answer.headers.append((b"Content-Range", b"bytes %d-%d/%d" % (first, first + len(body) - 1, size)))
    length = int(answer.header(b"content-length") or 0) if method == "HEAD" else len(body)
    if b" 204 " in answer.start + b" ":
        writer.write(answer.head(0).replace(b"Content-Length: 0\r\n", b""))
    else:
        writer.write(answer.head(length))
    cut = fault == "short" and len(body) > 1
    writer.write(body[: len(body) // 2] if cut else body)
    await writer.drain()
    return not cut


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, *, head: bool = False
) -> Message | None:
    """A request (from a client, whom `writer` answers) or an answer; None where the connection has ended."""
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = block[:-4].split(b"\r\n")
    headers = [(key, value.strip()) for key, _, value in (line.partition(b":") for line in lines)]
    message = Message(start, headers, b"")
    if writer is not None and (message.header(b"expect") or b"").lower() == b"100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if head or start.split()[1] in (b"204", b"304"):
        return message
    length = message.header(b"content-length")
    if (message.header(b"transfer-encoding") or b"").lower() == b"chunked":
        return message._replace(body=await _chunks(reader))
    if length is None and writer is None:
        return message._replace(body=await reader.read())
    return message._replace(body=await reader.readexactly(int(length or 0)))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).partition(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return b"".join(parts)


@contextmanager
def proxy_before(port: int, kind: type[Proxy] = Proxy) -> Iterator[Proxy]:
    """A proxy before the service at this port of this machine."""
    proxy = kind(port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20)

    async def stop() -> None:
        server.close()
        tasks = list(proxy.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
