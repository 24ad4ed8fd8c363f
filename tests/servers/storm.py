"""Reads from many threads, through a proxy that makes faults; as a command, with as many requests as you like:

python -m tests.servers.storm --requests 200000 --threads 16
"""

from __future__ import annotations

import argparse
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.storage import FsspecStore, Store
from tests.servers.proxy import FAULTS, Proxy, Request, proxy_before
from tests.servers.web import web_server

FILL = -7
IN_ONE_READ = 3  # operations of the store, one after another: such as the index of a shard, and twice a range
TELL_EVERY = 60.0  # seconds


def faults(share: float, kinds: tuple[str, ...] = FAULTS) -> Callable[[Request], str | None]:
    """A share of all requests fails, in an order that depends on the requests alone."""
    seen: Counter[Request] = Counter()

    def choose(request: Request) -> str | None:
        seen[request] += 1
        draw = zlib.crc32(f"{seen[request]} {request}".encode())
        return kinds[draw // 1000 % len(kinds)] if draw % 1000 < share * 1000 else None

    return choose


@dataclass
class Tally:
    """What came of a storm."""

    reads: int = 0
    wrong: int = 0  # elements that are neither what was stored nor the fill value
    filled: int = 0  # elements that were stored and came back as the fill value
    hung: int = 0  # reads that went on beyond the deadline
    longest: float = 0.0  # seconds of a read
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self) -> None:
        """AssertionError where a read was wrong, hung or failed."""
        if self.errors:
            raise AssertionError(f"{len(self.errors)} reads failed: {self}") from self.errors[0]
        assert self.wrong == self.filled == self.hung == 0, self


class _Reader(threading.Thread):
    """Reads at random places until there were enough requests."""

    def __init__(self, seed: int, store: Store, wanted: dict[str, Any], tally: Tally, enough: Callable[[], bool]):
        super().__init__(daemon=True)  # one that hangs is counted, and not waited for
        self.turns, self.store, self.wanted = np.random.default_rng(seed), store, wanted
        self.tally, self.enough = tally, enough
        self.began: float | None = None  # the read that is under way

    def run(self) -> None:
        while not self.enough():
            a, b = sorted(self.turns.integers(0, 65, 2).tolist())
            self._read("shards", np.s_[a:b, b // 2 :])
            self._read("holes", np.s_[a // 4 : b // 4])

    def _read(self, name: str, place: Any) -> None:
        """Open and read, with nothing known from before."""
        tally, want, failed = self.tally, self.wanted[name][place], []
        self.began = monotonic()
        try:
            found = gpuzarr.open_array(self.store, path=name, mode="r")[place]
        except BaseException as error:
            found, failed = want, [error]
        took, self.began = monotonic() - self.began, None
        with tally.lock:
            tally.reads += 1
            tally.longest = max(tally.longest, took)
            tally.errors += failed
            tally.filled += int(((found == FILL) & (want != FILL)).sum())
            tally.wrong += int(((found != FILL) & (found != want)).sum())


def storm(
    store: Store, proxy: Proxy, count: int, *, threads: int = 4, tell: Callable[[Tally], None] | None = None
) -> Tally:
    """At least `count` requests, a tenth of them with a fault. Ends at the first read that hangs or fails, or when 100
    elements are wrong."""
    values = np.random.default_rng(5).integers(1, 1 << 30, (64, 64)).astype("<i4")
    wanted = {"shards": values, "holes": np.where(np.arange(20)[:, None] % 4 == 0, values[:20, :20], FILL)}
    holes = gpuzarr.create_array(store, name="holes", shape=(20, 20), chunks=(1, 20), dtype="<i4", fill_value=FILL)
    holes[::4] = wanted["holes"][::4]
    shards = gpuzarr.create_array(
        store, name="shards", shape=(64, 64), chunks=(8, 8), shards=(32, 32), dtype="<i4", fill_value=FILL
    )
    shards[:] = values
    proxy.reset()
    proxy.choose = faults(0.1)
    tally, deadline = Tally(), IN_ONE_READ * store.patience.timeout  # type: ignore[attr-defined]

    def enough() -> bool:
        over = tally.hung or tally.errors or tally.wrong + tally.filled > 100
        return bool(over) or len(proxy.requests) >= count

    readers = [_Reader(seed, store, wanted, tally, enough) for seed in range(threads)]
    for reader in readers:
        reader.start()
    told = monotonic()
    while any(reader.is_alive() for reader in readers) and not tally.hung:
        sleep(0.02)
        now = monotonic()
        tally.hung = sum(now - began > deadline for reader in readers if (began := reader.began) is not None)
        if tell is not None and now - told > TELL_EVERY:
            told = now
            tell(tally)
    return tally


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds that an operation of the store may take")
    arguments = parser.parse_args()
    import aiohttp

    silence = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(sock_read=1.0)}}
    with web_server() as web, proxy_before(int(web.url.rpartition(":")[2])) as proxy:
        start = monotonic()

        def tell(tally: Tally) -> None:
            met = Counter(fault for _, fault in proxy.requests)
            told = ", ".join(f"{fault} {number}" for fault, number in sorted(met.items(), key=str) if fault)
            print(  # noqa: T201
                f"{len(proxy.requests)} requests in {monotonic() - start:.0f} s ({told}); {tally.reads} reads:"
                f" {tally.wrong} elements wrong, {tally.filled} wrongly filled, {tally.hung} reads beyond the deadline,"
                f" {len(tally.errors)} failed; the longest took {tally.longest:.1f} s",
                flush=True,
            )

        store = FsspecStore.from_url(f"{proxy.url}/storm", silence, concurrency=32, timeout=arguments.timeout)
        tally = storm(store, proxy, arguments.requests, threads=arguments.threads, tell=tell)
        tell(tally)
    tally.check()
    return 0


if __name__ == "__main__":
    sys.exit(main())
