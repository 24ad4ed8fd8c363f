"""Reading a whole array from S3 with latency: gpuzarr beside zarr-python and tensorstore, on one server, in one run.

    python bench/cloud.py [--mib 256] [--latency 20] [--codec none zstd] [--chunk-kib 1024] [--turns 5]

The server is moto's, in a process of its own, behind a proxy, in another one, that waits before every answer and keeps
answers: moto would take longer for most of them than any client. It needs the extra `test`. Contenders take turns; the
quickest turn counts; what the first one of each reads is compared with the data, and is not timed. All may have 64
requests under way (zarr-python's own default is 10).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

ROOT = Path(__file__).parent.parent
KEYS = {"key": "testing", "secret": "testing"}
CONCURRENCY = 64
Array = np.ndarray[Any, Any]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--latency", type=float, default=20.0, help="milliseconds")
    parser.add_argument("--codec", nargs="+", choices=("none", "zstd"), default=["none", "zstd"])
    parser.add_argument("--chunk-kib", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="names of contenders")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.latency / 1000)
        return
    os.environ.update(AWS_ACCESS_KEY_ID=KEYS["key"], AWS_SECRET_ACCESS_KEY=KEYS["secret"], AWS_REGION="us-east-1")
    with server(arguments.latency) as (quick, slow):
        for codec in arguments.codec:
            measure(quick, slow, codec, arguments)


def measure(quick: str, slow: str, codec: str, arguments: argparse.Namespace) -> None:
    """One table: every contender's quickest turn."""
    data = make_data(arguments.mib)
    name = f"{uuid4().hex}.zarr"
    edge = int((arguments.chunk_kib * 1024 / 4) ** 0.5)
    write(quick, name, data, edge, codec)
    contenders = {k: v for k, v in CONTENDERS.items() if not arguments.only or k in arguments.only}
    for contender, read in contenders.items():
        if not np.array_equal(read(slow, name), data):
            raise SystemExit(f"{contender} read other values")
    times: dict[str, list[tuple[float, float]]] = {contender: [] for contender in contenders}
    for turn in range(arguments.turns):
        order = list(contenders)[turn % len(contenders) :] + list(contenders)[: turn % len(contenders)]
        for contender in order if turn % 2 == 0 else reversed(order):
            start, busy = time.perf_counter(), time.process_time()
            contenders[contender](slow, name)
            times[contender].append((time.perf_counter() - start, time.process_time() - busy))
    print(f"\n{arguments.mib} MiB of float32, {codec}, chunks of {arguments.chunk_kib} KiB, {arguments.latency:g} ms:")
    ours = min(min(turns)[0] for contender, turns in times.items() if contender.startswith("gpuzarr"))
    for contender, turns in sorted(times.items(), key=lambda item: min(item[1])):
        best, busy = min(turns)[0], min(cpu for _, cpu in turns)
        print(
            f"  {contender:24}{best:8.2f} s {arguments.mib / best:8.0f} MiB/s   {best / ours:5.2f} of gpuzarr's time"
            f"   {busy:5.2f} s of processor"
        )


def make_data(mib: int) -> Array:
    """A plane of waves with noise, rounded as an instrument would."""
    side = int((mib * 2**20 / 4) ** 0.5) // 1024 * 1024 or 1024
    rows = mib * 2**20 // 4 // side
    y, x = np.ogrid[:rows, :side]
    noise = np.random.default_rng(0).normal(0, 0.02, (rows, side))
    return np.round(np.sin(y / 97) + np.cos(x / 61) + noise, 2).astype("<f4")


def write(url: str, name: str, data: Array, edge: int, codec: str) -> None:
    """Put the array that all read, without latency."""
    import gpuzarr

    store = gpuzarr.storage.FsspecStore.from_url(f"s3://data/{name}", options(url))
    compressors = None if codec == "none" else "auto"
    array = gpuzarr.create_array(
        store, shape=data.shape, chunks=(edge, edge), dtype=data.dtype, compressors=compressors
    )
    array[:] = data


# ---- the contenders


def options(url: str) -> dict[str, Any]:
    """What s3fs is told."""
    return {**KEYS, "endpoint_url": url, "client_kwargs": {"region_name": "us-east-1"}}


def obstore_store(url: str, name: str) -> Any:
    """The place of an array, for obstore."""
    from obstore.store import S3Store

    return S3Store(
        "data",
        prefix=name,
        endpoint=url,
        region="us-east-1",
        access_key_id=KEYS["key"],
        secret_access_key=KEYS["secret"],
        client_options={"allow_http": True},
    )


def gpuzarr_fsspec(url: str, name: str) -> Array:
    """gpuzarr by s3fs."""
    import gpuzarr

    found: Array = gpuzarr.open_array(f"s3://data/{name}", storage_options=options(url), mode="r")[:]
    return found


def gpuzarr_obstore(url: str, name: str) -> Array:
    """gpuzarr by obstore."""
    import gpuzarr

    found: Array = gpuzarr.open_array(obstore_store(url, name), mode="r")[:]
    return found


def zarr_fsspec(url: str, name: str) -> Array:
    """zarr-python by s3fs."""
    import zarr

    with zarr.config.set({"async.concurrency": CONCURRENCY}):
        found: Any = zarr.open_array(f"s3://data/{name}", storage_options=options(url), mode="r")[:]
    return np.asarray(found)


def zarr_obstore(url: str, name: str) -> Array:
    """zarr-python by obstore."""
    import zarr
    from zarr.storage import ObjectStore

    with zarr.config.set({"async.concurrency": CONCURRENCY}):
        found: Any = zarr.open_array(ObjectStore(obstore_store(url, name), read_only=True), mode="r")[:]
    return np.asarray(found)


def zarr_by_gpuzarr(url: str, name: str) -> Array:
    """zarr-python by obstore, with gpuzarr's pipeline."""
    import zarr

    import gpuzarr.zarr_pipeline  # noqa: F401  which an installed gpuzarr's entry point does

    with zarr.config.set({"codec_pipeline.path": "gpuzarr.zarr_pipeline.CodecPipeline"}):
        return zarr_obstore(url, name)


def tensorstore(url: str, name: str) -> Array:
    """tensorstore's own client."""
    import tensorstore as ts

    kvstore = {"driver": "s3", "bucket": "data", "path": f"{name}/", "endpoint": url, "aws_region": "us-east-1"}
    kvstore["aws_credentials"] = {"type": "environment"}
    context = {"s3_request_concurrency": {"limit": CONCURRENCY}}
    spec = {"driver": "zarr3", "kvstore": kvstore, "context": context}
    found: Array = ts.open(spec, read=True, open=True).result().read().result()
    return found


CONTENDERS: dict[str, Callable[[str, str], Array]] = {
    "gpuzarr, s3fs": gpuzarr_fsspec,
    "gpuzarr, obstore": gpuzarr_obstore,
    "zarr-python, s3fs": zarr_fsspec,
    "zarr-python, obstore": zarr_obstore,
    "zarr+gpuzarr, obstore": zarr_by_gpuzarr,
    "tensorstore": tensorstore,
}


# ---- the server


@contextmanager
def server(latency: float) -> Iterator[tuple[str, str]]:
    """The addresses of the server and of the proxy before it."""
    command = [sys.executable, __file__, "--serve", "--latency", str(latency)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(ROOT))
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port, url = child.stdout.readline().decode().split()
        yield f"http://127.0.0.1:{port}", url
    finally:
        child.stdin.close()
        child.wait(30)


def serve(latency: float) -> None:
    """In a process of its own: start both, tell where they are, and wait until nobody needs them."""
    from tests.servers.processes import service
    from tests.servers.proxy import KeepingProxy, proxy_before

    with service("s3_process.py") as port, proxy_before(port, KeepingProxy) as proxy:
        proxy.latency = latency
        print(port, proxy.url, flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
