"""Waiting with a deadline for what only says whether it is done: CUDA has no wait that gives up.

It is asked again and again, with sleeps between that grow with the time that has passed: a wait is at most a sixteenth
longer than it must be, or as long as the shortest sleep, and costs the host next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST, LONGEST = 20e-6, 1e-3  # seconds of a sleep
PART = 16


def until(done: Callable[[], bool], limit: float | None) -> bool:
    """Wait until `done()`, at most `limit` seconds (None for as long as it takes). Whether it is done."""
    began = time.monotonic()
    while not done():
        passed = time.monotonic() - began
        if limit is not None and passed > limit:
            return False
        time.sleep(min(max(passed / PART, SHORTEST), LONGEST))
    return True
