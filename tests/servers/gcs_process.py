"""Run by `processes`: Google Cloud Storage by its emulator, on a free port, with a bucket "data".

The emulator knows no conditions and does not tell generations with a download; both are added here, as
https://cloud.google.com/storage/docs/request-preconditions says, and so are empty
objects and ranges behind the end.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

Handler = Callable[..., None]


def conditional(handler: Handler) -> Handler:
    """The handler of a request for one object, under the condition in the query."""

    def handle(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
        name = request.params.get("object_id") or request.query.get("name", [""])[0]
        try:
            generation = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
        except NotFound:
            generation = "0"
        wanted = request.query.get("ifGenerationMatch", [generation])[0]
        if wanted != generation:
            _ = request.data  # else the rest of the request would be taken for the next one
            response.status = HTTPStatus.PRECONDITION_FAILED
            return
        if generation != "0":
            response["X-Goog-Generation"] = generation
        first = re.match(r"bytes=(\d+)-", request.get_header("range", ""))
        if first and generation != "0":
            size = len(storage.get_file(request.params["bucket_name"], name))
            if int(first[1]) >= size:
                response.status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                response["Content-Range"] = f"bytes */{size}"
                return
        handler(request, response, storage, *args, **kwargs)

    return handle


for _name in ("download", "insert", "delete"):
    setattr(objects, _name, conditional(getattr(objects, _name)))


def main() -> None:
    from gcp_storage_emulator import server

    read = server._read_data

    def read_data(handler: Any, query: Any) -> Any:
        data = read(handler, query)
        return b"" if data is None and query.get("uploadType") == ["media"] else data

    server._read_data = read_data
    server.server.HTTPServer.request_queue_size = 128  # of a burst, the others would try again a second later
    emulator = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket="data")
    emulator.start()
    print(emulator._api._httpd.server_port, flush=True)  # noqa: T201  read by the parent
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
