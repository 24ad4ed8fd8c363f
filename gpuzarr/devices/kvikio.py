"""Ranges of local files straight into device memory, by KvikIO, or by way of page-locked host memory: which is quicker?

KvikIO (https://docs.rapids.ai/api/kvikio/stable) reads with GPUDirect Storage where the machine has that, and else
copies through page-locked memory of its own. The other way is one `preadv` into a lane's room and one copy. Which one
wins depends on the disk, the driver and the card, so it is measured: three rounds of each on one file, once for each
pair of card and file system, and kept in the user's cache folder. `gpuzarr doctor --retry FOLDER` measures again; the
option `gpu.file_reads` ("auto", "kvikio", "host") forces either.

KvikIO is touched only where CUDA works: opening a file with it hangs on some machines that have no driver. It opens
what it is given by name, twice; so it is given the name of an open descriptor, which leads to one file whatever is
renamed meanwhile. Its copies are on streams of its own, so the lane is waited for before, and every read after.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpuzarr.devices.gpu import DeviceArray, GpuDevice, GpuLane
from gpuzarr.devices.kernels import cache_directory
from gpuzarr.devices.waiting import until
from gpuzarr.errors import GpuError
from gpuzarr.options import config

WAYS = ("auto", "kvikio", "host")
SAMPLE = 64 << 20  # bytes of the file that a trial reads
LEAST = 8 << 20  # a smaller file is no sample
ROUNDS = 3
CHOICES = "file-reads.json"

_lock = threading.RLock()


def why_not(device: GpuDevice) -> str | None:
    """Why KvikIO cannot be used for a device, None where it can."""
    try:
        found = device.kvikio()
    except Exception as error:  # noqa: BLE001 # a missing CUDA library makes any kind of error
        return f"KvikIO cannot be used: {type(error).__name__}: {error}"
    return "KvikIO is not installed: pip install 'gpuzarr[kvikio]'" if found is None else None


def read_ranges(
    device: GpuDevice, lane: GpuLane, descriptor: int, ranges: Sequence[tuple[int, int]], area: DeviceArray
) -> None:
    """Read (start, stop) ranges of an open file into an area, one behind the other in the steps of `places`. GpuError
    where KvikIO fails or gives fewer bytes, GpuTimeoutError where it takes longer than the option `gpu.timeout`."""
    device.wait(lane)  # whatever the lane had in this memory
    reads: list[tuple[Any, int]] = []
    try:
        file = device.kvikio().CuFile(f"/proc/self/fd/{descriptor}", "r")
        try:
            for (start, stop), place in zip(ranges, places(ranges), strict=True):
                reads.append((file.pread(area[place : place + stop - start], stop - start, start), stop - start))
        finally:  # whatever became of one, no other one may write to this memory any more
            _finish(device, lane, file, [future for future, _ in reads])
        short = [wanted - got for future, wanted in reads if (got := future.get()) != wanted]
    except GpuError:
        raise
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise GpuError(f"KvikIO failed on device {device.name!r}: {error}") from error
    if short:
        raise GpuError(f"KvikIO read {sum(short)} bytes too few")


def _finish(device: GpuDevice, lane: GpuLane, file: Any, futures: list[Any]) -> None:
    """Wait for reads, and close the file."""
    limit = config.get("gpu.timeout")
    if not until(lambda: all(future.done() for future in futures), limit):
        lane.hold(file, futures)
        raise device.late(limit)
    file.close()


def places(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """Where each range begins in an area, on multiples of 256; the length of the whole is last but not least."""
    found, at = [], 0
    for start, stop in ranges:
        found.append(at)
        at += -(-(stop - start) // 256) * 256
    return found


def extent(ranges: Sequence[tuple[int, int]]) -> int:
    """Bytes of the area that `read_ranges` needs."""
    return sum(-(-(stop - start) // 256) * 256 for start, stop in ranges)


# ---- the choice


def wanted() -> str:
    """The option `gpu.file_reads`. ValueError for what is none of `WAYS`."""
    way = config.get("gpu.file_reads")
    if way not in WAYS:
        raise ValueError(f"the option 'gpu.file_reads' is one of {', '.join(WAYS)}, not {way!r}")
    return str(way)


def choice(device: GpuDevice, path: str | os.PathLike[str]) -> str:
    """Whether "kvikio" or "host" reads files of the file system of `path`, a file. GpuError where the option wants
    KvikIO and that cannot be used."""
    way = wanted()
    if way == "host":
        return "host"
    if reason := why_not(device):
        if way == "kvikio":
            raise GpuError(f"the option 'gpu.file_reads' is 'kvikio', but {reason}")
        return "host"
    if way == "kvikio":
        return "kvikio"
    known = choices().get(_name(device, path))
    if known is None and os.stat(path).st_size >= LEAST:
        with _lock:  # the lanes of one read ask at the same time
            known = choices().get(_name(device, path)) or retry(device, path)
    return "kvikio" if known and known["kvikio"] < known["host"] else "host"


def choices() -> dict[str, dict[str, float]]:
    """Seconds of each way, by card and file system, as far as trials have been made."""
    try:
        found = json.loads((cache_directory() / CHOICES).read_text())
        return {str(k): {w: float(v[w]) for w in WAYS[1:]} for k, v in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # none yet, or not a file of ours


def retry(device: GpuDevice, path: str | os.PathLike[str]) -> dict[str, float]:
    """Seconds that each way takes for the beginning of a file, which are also kept. The page cache is warm: what is
    read again and again is what counts."""
    with _lock:
        found: dict[str, float] = {}
        device.run(lambda _, lane: found.update(_trial(device, lane, path)), 1)  # type: ignore[arg-type]
        kept = {**choices(), _name(device, path): found}
        try:
            with tempfile.NamedTemporaryFile("w", dir=cache_directory(), delete=False) as draft:
                json.dump(kept, draft)
            Path(draft.name).replace(cache_directory() / CHOICES)
        except OSError:
            pass  # then the next process measures again
    return found


def _trial(device: GpuDevice, lane: GpuLane, path: str | os.PathLike[str]) -> dict[str, float]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = min(SAMPLE, os.fstat(descriptor).st_size)
        area = lane.area("trial", extent([(0, size)]))
        room, _ = lane.room(size)

        def by_host() -> None:
            done, view = 0, memoryview(room)
            while done < size and (more := os.preadv(descriptor, [view[done:size]], done)):
                done += more
            device.copy_in(device.address(area), room[:size], lane)
            device.wait(lane)

        def by_kvikio() -> None:
            read_ranges(device, lane, descriptor, [(0, size)], area)

        by_host()  # now it is in the page cache
        return {"kvikio": _quickest(by_kvikio), "host": _quickest(by_host)}
    finally:
        os.close(descriptor)


def _quickest(work: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _name(device: GpuDevice, path: str | os.PathLike[str]) -> str:
    return f"{device.card} / file system {os.stat(path).st_dev}"
