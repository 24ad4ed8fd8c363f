"""How time is taken: contenders take turns, in changing order, and the quickest of several turns counts.

A machine is only ever slowed down by what else runs on it, so the quickest turn is the one that says most about the
code. Taking turns spreads a slow minute of the machine over all contenders.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SLOW = 3.0  # seconds; a turn that takes longer is not repeated
ROUNDS = 5
BUDGET = 4.0  # seconds that one contender may use up in one cell before its turns end


def take_turns(turns: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """The seconds of every turn of each contender. A turn returns its own time."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        names = list(turns)
        shift = number % len(names)
        names = names[shift:] + names[:shift]
        for name in names if number % 2 == 0 else reversed(names):
            if sum(taken[name]) < BUDGET and (not taken[name] or taken[name][0] < SLOW):
                taken[name].append(turns[name]())
    return taken


def clock(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_latency(works: list[Callable[[], object]], limit: float = 1.0) -> float:
    """The median time of the calls, as many of them as fit into `limit` seconds (three at least)."""
    times: list[float] = []
    for work in works:
        times.append(clock(work))
        if sum(times) > limit and len(times) >= 3:
            break
    return sorted(times)[len(times) // 2]
