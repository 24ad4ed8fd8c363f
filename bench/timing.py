"""How time is taken: contenders take turns, in changing order, and the quickest of several turns counts.

A machine is only ever slowed down by what else runs on it, so the quickest turn is the one that says most about the
code. Taking turns spreads a slow minute of the machine over all contenders.
"""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 5
BUDGET = 8.0  # seconds after which a contender gets no further turn in a cell, once it has had three
SLOW, FAR_BEHIND = 2.0, 4.0  # a first turn of that many seconds, and that many times the quickest, is not repeated


def take_turns(turns: dict[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """The seconds of every turn of each contender. A turn returns its own time."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        names = list(turns)
        shift = number % len(names)
        names = names[shift:] + names[:shift]
        for name in names if number % 2 == 0 else reversed(names):
            if number == 0 or _again(name, taken):
                taken[name].append(turns[name]())
    return taken


def _again(name: str, taken: dict[str, list[float]]) -> bool:
    """Whether a contender gets one more turn."""
    mine, quickest = taken[name], min(times[0] for times in taken.values())
    if mine[0] > SLOW and mine[0] > FAR_BEHIND * quickest:
        return False
    return len(mine) < 3 or sum(mine) < BUDGET


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
