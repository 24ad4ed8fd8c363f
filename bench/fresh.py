"""What only a fresh process can tell: the time of an import, and the peak memory of one read.

python bench/fresh.py import MODULE...        seconds
python bench/fresh.py memory CONTENDER PATH   bytes above the state before the read, destination included
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path


def import_time(modules: list[str]) -> float:
    """Seconds that it takes to import the modules, one after the other."""
    began = time.perf_counter()
    for module in modules:
        __import__(module)
    return time.perf_counter() - began


def peak_of_read(name: str, path: str) -> int:
    """Bytes that reading the whole array takes at its peak, beyond what the process held before."""
    import contenders

    contender = next(c for c in contenders.ALL if c.name == name)
    array = contender.open(Path(path), "r")
    contender.read(array, (slice(0, 1), slice(0, 1)))  # threads and libraries are there before we look
    before = _memory("VmRSS")
    _forget_peak()
    contender.read(array, (slice(None), slice(None)))
    return _memory("VmHWM") - before


def _memory(field: str) -> int:
    """Bytes. The kernel's ru_maxrss would include the parent's memory at the time of the fork."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # the peak then includes what was needed to open the array
        pass


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    print(import_time(arguments) if job == "import" else peak_of_read(*arguments))
