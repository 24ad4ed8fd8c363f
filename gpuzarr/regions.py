"""How a whole array is copied: which boxes of it go at a time. Pure arithmetic.

A region is a box of whole units of writing (chunks, or shards) of the copy, so that no unit is written twice. Where the
source is chunked otherwise, every source chunk that a region touches is read whole: regions are shaped so that, within
the bytes they may have, source chunks are read again as seldom as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd, lcm, log, prod

from gpuzarr.grid import Grid

_GAIN = 1e-9  # what is less is a rounding


@dataclass(frozen=True)
class Regions:
    """The boxes of a grid's units, `steps` units along each axis, in C order."""

    grid: Grid
    steps: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Boxes along each axis."""
        return tuple(-(-n // step) for n, step in zip(self.grid.counts, self.steps, strict=True))

    @property
    def count(self) -> int:
        """Boxes in all."""
        return prod(self.counts)

    def __getitem__(self, i: int) -> tuple[slice, ...]:
        if not 0 <= i < self.count:
            raise IndexError(i)
        places = []
        for count in reversed(self.counts):
            i, place = divmod(i, count)
            places.append(place)
        return tuple(map(self._side, range(self.grid.ndim), reversed(places)))

    def __iter__(self) -> Iterator[tuple[slice, ...]]:
        return map(self.__getitem__, range(self.count))

    def _side(self, i: int, place: int) -> slice:
        axis, first = self.grid.axis(i), place * self.steps[i]
        last = min(first + self.steps[i], self.grid.counts[i]) - 1
        return slice(axis.bounds(first)[0], min(axis.bounds(last)[1], self.grid.shape[i]))


def regions(grid: Grid, itemsize: int, nbytes: int, source_chunks: Sequence[int] | None = None) -> Regions:
    """Boxes of about `nbytes` bytes, or of one unit, where that is larger; for a source with these chunks, if any."""
    steps = [1] * grid.ndim
    if source_chunks is not None:
        steps = _amortised(grid, itemsize, nbytes, source_chunks)
    room = nbytes // max(1, _bytes(grid, itemsize, steps))
    for i in reversed(range(grid.ndim)):  # neighbours in memory first
        times = max(1, min(-(-grid.counts[i] // steps[i]), room))
        steps[i] *= times
        room //= times
    return Regions(grid, tuple(max(1, min(step, count)) for step, count in zip(steps, grid.counts, strict=True)))


def _bytes(grid: Grid, itemsize: int, steps: Sequence[int]) -> int:
    return prod(step * length for step, length in zip(steps, grid.largest_chunk, strict=True)) * itemsize


def _amortised(grid: Grid, itemsize: int, nbytes: int, source_chunks: Sequence[int]) -> list[int]:
    """The least steps with which source chunks are read again as seldom as `nbytes` allow. One after another those
    axes grow where a factor of memory spares most."""
    steps = [1] * grid.ndim
    choices = [_choices(grid, i, source_chunks[i]) for i in range(grid.ndim)]
    while True:
        best, most = None, 0.0
        for i, step in enumerate(steps):
            now = _times_read(grid, i, step, source_chunks[i])
            for choice in choices[i]:
                if choice <= step or _bytes(grid, itemsize, [*steps[:i], choice, *steps[i + 1 :]]) > nbytes:
                    continue
                gain = log(now / _times_read(grid, i, choice, source_chunks[i]))
                if gain > _GAIN and gain / log(choice / step) > most:
                    best, most = (i, choice), gain / log(choice / step)
        if best is None:
            return steps
        steps[best[0]] = best[1]


def _choices(grid: Grid, i: int, source: int) -> list[int]:
    """Steps along an axis that are worth a look: powers of two, and what covers whole source chunks."""
    count, unit = grid.counts[i], grid.largest_chunk[i]
    found = {count, lcm(source, unit) // unit}
    step = 1
    while step < count:
        found |= {step, step * -(-source // unit)}
        step *= 2
    return sorted(step for step in found if 1 <= step <= count)


def _times_read(grid: Grid, i: int, step: int, source: int) -> float:
    """How often an element of the source is read, along one axis, if it is read in steps of so many units."""
    length, extent = step * grid.largest_chunk[i], grid.shape[i]
    if length >= extent:
        return 1.0
    source = min(source, extent)
    return (length + source - gcd(length, source)) / length
