"""Run by `processes`: S3 by moto, on a free port, with a bucket "data"."""

from __future__ import annotations

import os
import sys
from urllib.request import Request, urlopen


def main() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    urlopen(Request(f"http://127.0.0.1:{port}/data", method="PUT")).close()
    print(port, flush=True)  # noqa: T201  read by the parent
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
