"""Many writers of the same chunks: no acknowledged write is lost, and no reader goes back in time.

    python -m tests.faults.writers --writes 1000000

Every writer owns some cells of chunks (or shards) that all of them share, and writes growing numbers into them. At
the end every cell holds what its owner wrote last; readers meanwhile see every cell grow only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.storage import LocalStore
from tests.faults.points import say

LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"chunks": (64,)},
    "shards": {"chunks": (16,), "shards": (64,)},
    "format 2": {"chunks": (64,), "zarr_format": 2},
}
CELLS = 128
TOGETHER = 4  # neighbouring cells of one write, which must always be equal


def write(root: str, owners: range, rounds: int) -> None:
    """One process: a thread for every owner."""
    failed: list[BaseException] = []

    def own(owner: int) -> None:
        try:
            z = gpuzarr.open_array(LocalStore(root))
            for number in range(1, rounds + 1):
                z[owner * TOGETHER : (owner + 1) * TOGETHER] = number
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=own, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def watch(root: str, stop: threading.Event, wrong: list[str]) -> None:
    """Read again and again until `stop`; what goes back, or is torn, is noted."""
    before = np.zeros(CELLS, "i8")
    while not stop.is_set():
        try:
            now = gpuzarr.open_array(LocalStore(root))[...]
        except Exception as error:
            wrong.append(f"could not be read: {error!r}")
            return
        if (now < before).any():
            wrong.append(f"went back from {before} to {now}")
        parts = now.reshape(-1, TOGETHER)
        if (parts != parts[:, :1]).any():
            wrong.append(f"torn: {now}")
        before = now
        time.sleep(0.001)


def run(layout: str, writes: int, processes: int, threads: int, start: str = "spawn") -> tuple[int, list[str]]:
    """`writes` partial writes in all, as far as they are a multiple of the writers; how many, and what was wrong."""
    owners = processes * threads
    assert owners * TOGETHER <= CELLS
    rounds = max(1, writes // owners)
    wrong: list[str] = []
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gpuzarr-writers-", dir=fast) as directory:
        root = str(Path(directory) / "a")
        gpuzarr.create_array(LocalStore(root), shape=(CELLS,), dtype="i8", **LAYOUTS[layout])
        stop = threading.Event()
        reader = threading.Thread(target=watch, args=(root, stop, wrong))
        reader.start()
        try:
            _write_in_processes(root, processes, threads, rounds, start)
        finally:
            stop.set()
            reader.join()
        found = gpuzarr.open_array(LocalStore(root))[: owners * TOGETHER]
        if (found != rounds).any():
            wrong.append(f"lost: {int((found != rounds).sum())} cells of {found.size} do not hold {rounds}: {found}")
    return rounds * owners, wrong


def _write_in_processes(root: str, processes: int, threads: int, rounds: int, start: str) -> None:
    context: Any = multiprocessing.get_context(start)
    workers = [
        context.Process(target=write, args=(root, range(i * threads, (i + 1) * threads), rounds))
        for i in range(processes)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what is tried here
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * processes


def main() -> int:
    parser = argparse.ArgumentParser(description="Many writers of the same chunks.")
    parser.add_argument("--writes", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    total, failures, begin = 0, 0, time.monotonic()
    for layout in LAYOUTS:
        share = arguments.writes // len(LAYOUTS) + 1
        count, wrong = run(layout, share, arguments.processes, arguments.threads)
        total, failures = total + count, failures + len(wrong)
        for each in wrong[:5]:
            say(f"FAILED {layout}: {each}")
    say(json.dumps({"writes": total, "failures": failures, "seconds": round(time.monotonic() - begin, 1)}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
