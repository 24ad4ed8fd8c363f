"""Time and traffic of a GPU, or of the emulated one: rates of the machine, and what each stage of a read takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cells import MIB

from gpuzarr.devices import Device

STAGES = {"copy_in": "upload", "copy_out": "results", "clear": "clear", "decompress": "nvcomp"}

AHEAD = 256 * MIB  # bytes; eight times that take a GPU the better part of a millisecond


def synchronize(device: Device) -> None:
    """Wait for everything that the device was given."""
    if device.name.startswith("cuda"):
        device.xp.cuda.Device(device.number).synchronize()  # type: ignore[attr-defined]


def seconds_on(device: Any, lane: Any, work: Callable[[], object], rounds: int = 5) -> float:
    """Seconds on the lane's stream of the quickest of some calls, after one that is not counted. The stream has other
    work first, so that the calls' own time on the host does not count."""
    ahead, found = lane.area("ahead", AHEAD if device.name.startswith("cuda") else 1), []
    work()
    device.wait(lane)
    for _ in range(rounds):
        for _ in range(8):
            device.clear(device.address(ahead), ahead.nbytes, lane)
        if device.name.startswith("cuda"):
            begin, end = (
                device.xp.cuda.Event(),
                device.xp.cuda.Event(),
            )  # of the lane's stream, the thread's current one
            begin.record()
            work()
            end.record()
            device.wait(lane)
            found.append(device.xp.cuda.get_elapsed_time(begin, end) / 1000)
        else:
            began = time.perf_counter()
            work()
            device.wait(lane)
            found.append(time.perf_counter() - began)
    return min(found)


def wall(device: Device, work: Callable[[], object]) -> float:
    """Seconds of one call, until the device is idle again."""
    synchronize(device)
    began = time.perf_counter()
    result = work()
    synchronize(device)
    seconds = time.perf_counter() - began
    del result
    return seconds


@dataclass
class Tally:
    """What one read made of the device: seconds on it, calls and bytes of each stage, and the host's seconds."""

    seconds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    host_wait: float = 0.0  # in which the reading threads slept
    wall: float = 0.0
    peak: int = 0  # bytes of device memory, the result included

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        plain = {name: dict(getattr(self, name)) for name in ("seconds", "calls", "bytes")}
        return plain | {"host_wait": self.host_wait, "wall": self.wall, "peak_device_bytes": self.peak}


@contextmanager
def tallied(device: Any) -> Iterator[Tally]:
    """Count what is queued on a device in this block, and time it where it runs. One lane at a time, so that nothing
    runs beside what is timed; the read must have run once before, so that the codec library is loaded."""
    tally, marks = Tally(), list[tuple[str, Any, Any]]()
    lanes, owners = device.lanes, [(device, n) for n in ("copy_in", "copy_out", "clear", "launch", "wait")]
    if device.nvcomp is not None:
        owners.append((device.nvcomp, "decompress"))
    before = _memory(device, reset=True)
    try:
        device.lanes = 1
        for owner, name in owners:
            setattr(owner, name, _counted(device, tally, marks, name, getattr(owner, name)))
        yield tally
    finally:
        for owner, name in owners:
            delattr(owner, name)
        device.lanes = lanes
    synchronize(device)
    for stage, begin, end in marks:
        tally.seconds[stage] += device.xp.cuda.get_elapsed_time(begin, end) / 1000
    tally.peak = _memory(device) - before


def _counted(device: Any, tally: Tally, marks: list[Any], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        if name == "wait":
            began = time.perf_counter()
            call(*args)
            tally.host_wait += time.perf_counter() - began
            return None
        stage = f"kernel {args[0]}" if name == "launch" else STAGES[name]
        tally.calls[stage] += 1
        tally.bytes[stage] += args[1].nbytes if name.startswith("copy") else 0
        if not device.name.startswith("cuda"):
            began = time.perf_counter()
            found = call(*args)
            tally.seconds[stage] += time.perf_counter() - began
            return found
        begin, end = device.xp.cuda.Event(), device.xp.cuda.Event()  # on the lane's stream, the thread's current one
        begin.record()
        found = call(*args)
        end.record()
        marks.append((stage, begin, end))
        return found

    return counted


def _memory(device: Any, reset: bool = False) -> int:
    """The most device memory in use since the reset."""
    if device.name.startswith("cuda"):
        pool = device.xp.get_default_memory_pool()
        if reset:
            pool.free_all_blocks()
        return int(pool.total_bytes())
    if reset:
        device.most_used = device.used
    return int(device.most_used)


# ---- what the machine can do at most


def upload_rate(device: Any, mebibytes: int) -> float:
    """Bytes a second from page-locked host memory to the device, in one large copy."""
    host, there = device.pinned(mebibytes * MIB), device.allocate(mebibytes * MIB)
    host[:] = 1

    def copy(_: int, lane: Any) -> None:
        device.copy_in(device.address(there), host, lane)

    return host.nbytes / min(wall(device, lambda: device.run(copy, 1)) for _ in range(5))


def write_rate(device: Any, mebibytes: int) -> float:
    """Bytes a second of filling device memory."""
    there = device.empty((mebibytes * MIB // 4,), np.dtype("f4"))

    def work() -> None:
        there[...] = np.float32(1)

    return there.nbytes / min(wall(device, work) for _ in range(5))


def read_seconds(path: Path, device: Any, threads: int) -> float:
    """Seconds to read all files of a store into page-locked memory, as many threads at once as the reading has."""
    files = [file for file in path.rglob("*") if file.is_file()]
    rooms = [device.pinned(max(file.stat().st_size for file in files)) for _ in range(threads)]

    def read(number: int) -> None:
        for file in files[number::threads]:
            with file.open("rb", buffering=0) as opened:
                view, at = memoryview(rooms[number]), 0
                while count := opened.readinto(view[at:]):
                    at += count

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(read, range(threads)))
        return time.perf_counter() - began
