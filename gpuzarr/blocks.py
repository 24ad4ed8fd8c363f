"""How the blocks of another library (dask, xarray) lie on an array's units of writing. Pure arithmetic.

A *unit* is what one key holds: a chunk, or a shard where there are shards. Blocks are written at the same time, so a
unit must belong to one block. *Lengths* are those of the blocks along each axis, as dask has them: ((5, 5, 2), (7,)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import gcd, prod
from typing import NamedTuple, TypeAlias

import numpy as np

from gpuzarr.errors import LimitError
from gpuzarr.grid import AxisGrid, Grid, UniformAxis

Lengths: TypeAlias = tuple[tuple[int, ...], ...]
MOST_BLOCKS = 10_000_000  # along an axis, of which each takes 8 bytes here, and much more in dask


class Split(NamedTuple):
    """A unit that two blocks share."""

    axis: int
    at: int  # the boundary between the blocks, an index of the array
    start: int  # of the unit
    stop: int


def unit_lengths(grid: Grid) -> Lengths:
    """The units, the last ones clipped to the array; none along an axis of no elements. LimitError as `check_count`."""
    return tuple(_clipped(grid.axis(i)) for i in range(grid.ndim))


def check_count(size: int, count: int) -> None:
    """LimitError for more blocks along an axis than memory should hold, whatever the metadata say."""
    if count > MOST_BLOCKS:
        raise LimitError(
            f"an axis of length {size} in {count} blocks: at most {MOST_BLOCKS} are listed; ask for larger"
        )


def _clipped(axis: AxisGrid) -> tuple[int, ...]:
    check_count(axis.size, axis.count)
    if not axis.count:
        return ()
    last = axis.size - axis.bounds(axis.count - 1)[0]
    if axis.uniform is not None:
        return (axis.uniform,) * (axis.count - 1) + (last,)
    bounds = map(axis.bounds, range(axis.count - 1))
    return (*(high - low for low, high in bounds), last)


def filled(grid: Grid, given: Mapping[int, Sequence[int]], nbytes: int, itemsize: int) -> Lengths:
    """Blocks of whole units that have about `nbytes` bytes, and at least one unit; axes in `given` have the lengths
    that stand there. LimitError as `check_count`."""
    free = [axis for axis in range(grid.ndim) if axis not in given]
    unit = prod(grid.largest_chunk[axis] for axis in free) * itemsize
    rest = prod(max(lengths, default=1) for lengths in given.values())
    times = dict(zip(free, _spread([grid.counts[axis] for axis in free], nbytes / max(1, unit * rest)), strict=True))
    return tuple(
        _gathered(grid.axis(axis), times[axis]) if axis in times else tuple(given[axis]) for axis in range(grid.ndim)
    )


def _spread(counts: Sequence[int], room: float) -> list[int]:
    """How many units a block takes along each axis, about evenly, so that there is room for all of them."""
    times = [1] * len(counts)
    shortest_first = sorted(range(len(counts)), key=counts.__getitem__)
    for axes, i in zip(range(len(counts), 0, -1), shortest_first, strict=True):
        times[i] = max(1, min(counts[i], int(room ** (1 / axes) + 1e-9)))
        room /= times[i]
    return times


def _gathered(axis: AxisGrid, times: int) -> tuple[int, ...]:
    """So many neighbouring units in one block."""
    if axis.uniform is not None:
        return _clipped(UniformAxis(axis.size, axis.uniform * times))
    lengths = _clipped(axis)
    return tuple(sum(lengths[i : i + times]) for i in range(0, len(lengths), times))


def first_split(grid: Grid, starts: Sequence[int], lengths: Lengths) -> Split | None:
    """The first unit that two of these blocks share; None where there is none. The blocks begin at `starts` of the
    array. A unit that one block has a part of, at the edge of all of them, is not shared."""
    for i, (start, along) in enumerate(zip(starts, lengths, strict=True)):
        cuts = start + np.cumsum(np.array((0, *along), np.int64))
        cuts = cuts[(cuts > start) & (cuts < cuts[-1])]
        units, offsets = grid.axis(i).locate_many(cuts)
        inside = np.flatnonzero(offsets)
        if inside.size:
            return Split(i, int(cuts[inside[0]]), *grid.axis(i).bounds(int(units[inside[0]])))
    return None


def realigned(grid: Grid, starts: Sequence[int], lengths: Lengths) -> Lengths:
    """Blocks about as long as these whose boundaries are those of units."""
    return tuple(
        _realigned(grid.axis(i), start, along) for i, (start, along) in enumerate(zip(starts, lengths, strict=True))
    )


def _realigned(axis: AxisGrid, start: int, lengths: Sequence[int]) -> tuple[int, ...]:
    longest, stop = max(lengths, default=0), start + sum(lengths)
    cuts = [start]
    while cuts[-1] < stop:
        reach = cuts[-1] + longest
        if reach < stop:
            low, high = axis.bounds(axis.locate(reach)[0])
            reach = low if low > cuts[-1] else high
        cuts.append(min(reach, stop))
    return tuple(high - low for low, high in pairwise(cuts)) or (0,)


def regular_length(lengths: Sequence[int]) -> int | None:
    """The length of equal chunks for blocks of these lengths along an axis: that of the shortest block but the last,
    where it divides the others; else None, and no chunks that are worth having fit."""
    blocks = [length for length in lengths if length]
    if len(blocks) < 2:
        return max(1, sum(blocks))
    shortest = min(blocks[:-1])
    return shortest if gcd(*blocks[:-1]) == shortest else None
