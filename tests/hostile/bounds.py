"""Bounds on what reading something hostile may cost: memory, processor time, and the kind of error."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 96 << 20  # bytes that a case may need at its peak; what it must not do needs three times as much
SECONDS = 3.0  # of processor time; a case takes some hundredths
CEILING = 1 << 30  # bytes of address space beyond what there is, so that a failure does not take the machine along


@contextmanager
def bounded(room: int = ROOM, seconds: float = SECONDS) -> Iterator[None]:
    """Fail where the block needs more memory or processor time than it may."""
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_resident("VmSize") + CEILING, old[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
    used, peak = time.process_time() - start, _resident("VmHWM") - before
    assert used <= seconds, f"{used:.2f} s of processor time"
    assert peak <= room, f"{peak >> 20} MiB of memory"


def _resident(what: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == what:
            return int(rest.split()[0]) << 10
    raise AssertionError(f"no {what} here")
