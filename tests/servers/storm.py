"""Reads from many threads, through a proxy that makes faults; as a command, with as many requests as you like:

python -m tests.servers.storm --requests 200000
"""

from __future__ import annotations

import argparse
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from time import monotonic

import numpy as np

import gpuzarr
from gpuzarr.storage import FsspecStore, Store
from tests.servers.proxy import FAULTS, Proxy, Request, proxy_before
from tests.servers.web import web_server


def faults(share: float, kinds: tuple[str, ...] = FAULTS) -> Callable[[Request], str | None]:
    """A share of all requests fails, in an order that depends on the requests alone."""
    seen: Counter[Request] = Counter()

    def choose(request: Request) -> str | None:
        seen[request] += 1
        draw = zlib.crc32(f"{seen[request]} {request}".encode())
        return kinds[draw // 1000 % len(kinds)] if draw % 1000 < share * 1000 else None

    return choose


def storm(store: Store, proxy: Proxy, count: int) -> None:
    """At least `count` requests, a tenth of them with a fault; AssertionError where a read is wrong or fails."""
    plain = np.arange(400, dtype="<i4").reshape(20, 20) + 1
    sharded = np.random.default_rng(5).integers(1, 1 << 30, (64, 64)).astype("<i4")
    holes = gpuzarr.create_array(store, name="holes", shape=(20, 20), chunks=(1, 20), dtype="<i4", fill_value=-7)
    holes[::4] = plain[::4]
    want = np.where(np.arange(20)[:, None] % 4 == 0, plain, -7)
    shards = gpuzarr.create_array(
        store, name="shards", shape=(64, 64), chunks=(8, 8), shards=(32, 32), dtype="<i4", fill_value=0
    )
    shards[:] = sharded
    proxy.reset()
    proxy.choose = faults(0.1)
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        turns = np.random.default_rng(seed)
        try:
            while len(proxy.requests) < count and not failed:
                here = gpuzarr.open_group(store, mode="r")
                a, b = sorted(turns.integers(0, 65, 2).tolist())
                assert np.array_equal(here["shards"][a:b, b // 2 :], sharded[a:b, b // 2 :])
                assert np.array_equal(here["holes"][a // 4 : b // 4], want[a // 4 : b // 4])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise AssertionError("a read failed") from failed[0]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    arguments = parser.parse_args()
    import aiohttp

    timeout = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(sock_read=1.0)}}
    with web_server() as web, proxy_before(int(web.url.rpartition(":")[2])) as proxy:
        start = monotonic()
        storm(FsspecStore.from_url(f"{proxy.url}/storm", timeout, concurrency=32), proxy, arguments.requests)
        met = Counter(fault for _, fault in proxy.requests)
        told = ", ".join(f"{fault} {number}" for fault, number in sorted(met.items(), key=str) if fault)
        print(f"{len(proxy.requests)} requests in {monotonic() - start:.0f} s, no read wrong; {told}")  # noqa: T201


if __name__ == "__main__":
    main()
