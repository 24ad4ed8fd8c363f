"""A web server for objects in memory: ranges, ETags and their conditions (RFC 9110), PUT and DELETE, keep-alive.

A query of `signed=...` is asked for everywhere, once `secret` is set.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Web:
    """The objects by path, and the address of the server."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, range
        self.secret: str | None = None
        self.etags = True
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, web: Web, *args: object) -> None:
        self.web = web
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.web.requests.append((self.command, self.path, self.headers.get("Range")))
        if self.web.secret is not None and parse_qs(url.query).get("signed") != [self.web.secret]:
            return self.answer(403)
        data = self.web.objects.get(unquote(url.path).strip("/"))
        if data is None:
            return self.answer(404)
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag} if self.web.etags else {}
        if self.headers.get("If-Match", tag) != tag and self.web.etags:
            return self.answer(412)
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        if found is None:
            return self.answer(200, data, headers)
        first, last = found.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= len(data):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        return self.answer(206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.web.requests.append((self.command, self.path, None))
        name = unquote(urlsplit(self.path).path).strip("/")
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("If-None-Match") == "*" and name in self.web.objects:
            return self.answer(412)
        self.web.objects[name] = data
        return self.answer(201)

    def do_DELETE(self) -> None:
        self.web.requests.append((self.command, self.path, None))
        gone = self.web.objects.pop(unquote(urlsplit(self.path).path).strip("/"), None)
        self.answer(404 if gone is None else 204)

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass  # clients may go away


@contextmanager
def web_server() -> Iterator[Web]:
    web = Web()
    with Server(("127.0.0.1", 0), partial(Handler, web)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        web.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
