"""The tables that fetch, decode and place walk: rows of a plan, and the axes that they are made of.

A row ("part") is what a selection takes of one chunk. `Wave` has some rows as columns; where they are of a box,
`BoxWave` makes of each column what is asked for, from one short table an axis (`AxisParts`). `blocks` are rows whose
chunks lie side by side, which are placed by one copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

Index = Any  # a slice, an integer or an integer array: what NumPy takes for one axis


class Block(NamedTuple):
    """Neighbouring rows whose chunks lie side by side in the destination, `counts` of them along each axis in C order.

    Along an axis that has several, they are taken wholly.
    """

    first: int
    counts: tuple[int, ...] | None  # None for one row
    in_chunk: tuple[Index, ...]  # of every one of them
    in_dest: tuple[Index, ...]  # of all of them together

    def split(self, most: int) -> Iterator[Block]:
        """The same in blocks of at most `most` rows, as far as cuts along the first axis with several can do that."""
        if self.counts is None or prod(self.counts) <= most:
            yield self
            return
        axis = next(i for i, count in enumerate(self.counts) if count > 1)
        steps, rest = self.counts[axis], self.counts[axis + 1 :]
        start, stop = self.in_dest[axis].start, self.in_dest[axis].stop
        rows, length = prod(rest), (stop - start) // steps
        many = max(1, most // rows)
        before, behind = self.in_dest[:axis], self.in_dest[axis + 1 :]
        for step in range(0, steps, many):
            here = min(many, steps - step)
            dest = slice(start + step * length, start + (step + here) * length)
            counts = (*self.counts[:axis], here, *rest)
            yield Block(self.first + step * rows, counts, self.in_chunk, (*before, dest, *behind))


@dataclass(eq=False)
class Wave:
    """Rows of a plan, as columns: one entry a part."""

    count: int
    coords: list[tuple[int, ...]]  # the chunk's place in the grid
    in_chunk: list[tuple[Index, ...]]  # what to take from the chunk
    in_dest: list[tuple[Index, ...]]  # where it goes in the destination
    # The part is the chunk as stored, overhang at the array's edge included, and `in_dest` is slices: indexing the
    # destination gives a view, into which the chunk may be decoded.
    full: list[bool]
    covers: list[bool]  # the part is every element of the chunk that lies in the array

    def part(self, rows: range) -> Wave:
        """Neighbouring rows, as a wave."""
        a, b = rows.start, rows.stop
        return Wave(b - a, self.coords[a:b], self.in_chunk[a:b], self.in_dest[a:b], self.full[a:b], self.covers[a:b])

    def spans(self, axis: int) -> np.ndarray[Any, Any] | None:
        """Along one axis, of each row: where it starts in the chunk, its step there, where it starts in the
        destination, and how many there are, a row of the table each; None where some index is no slice, or goes by
        steps in the destination."""
        return _spans([index[axis] for index in self.in_chunk], [index[axis] for index in self.in_dest])

    def blocks(self) -> list[Block]:
        """All rows, in as few blocks as are easily found."""
        return [Block(i, None, c, d) for i, (c, d) in enumerate(zip(self.in_chunk, self.in_dest, strict=True))]


class BoxWave(Wave):
    """Rows of a box: of each column, what is asked for is made from the tables of the axes."""

    def __init__(
        self, axes: Sequence[AxisParts], rows: np.ndarray[Any, Any], picks: list[np.ndarray[Any, Any]]
    ) -> None:
        self._axes, self._rows, self._arrays = axes, rows, picks
        self.count = len(rows)

    @cached_property
    def _picks(self) -> list[tuple[AxisParts, list[int]]]:
        return [(a, p.tolist()) for a, p in zip(self._axes, self._arrays, strict=True)]

    @cached_property
    def coords(self) -> list[tuple[int, ...]]:  # type: ignore[override]
        return list(zip(*([a.chunk[i] for i in p] for a, p in self._picks), strict=True))

    @cached_property
    def in_chunk(self) -> list[tuple[Index, ...]]:  # type: ignore[override]
        return list(zip(*([a.in_chunk[i] for i in p] for a, p in self._picks), strict=True))

    @cached_property
    def in_dest(self) -> list[tuple[Index, ...]]:  # type: ignore[override]
        return list(zip(*([a.in_dest[i] for i in p] for a, p in self._picks), strict=True))

    @cached_property
    def full(self) -> list[bool]:  # type: ignore[override]
        return [all(row) for row in zip(*([a.full[i] for i in p] for a, p in self._picks), strict=True)]

    @cached_property
    def covers(self) -> list[bool]:  # type: ignore[override]
        return [all(row) for row in zip(*([a.covers[i] for i in p] for a, p in self._picks), strict=True)]

    def spans(self, axis: int) -> np.ndarray[Any, Any] | None:
        found = self._axes[axis].spans
        return None if found is None else found[:, self._arrays[axis]]

    def blocks(self) -> list[Block]:
        if any(axis.fancy for axis in self._axes):
            return super().blocks()
        corners = [
            (int(p.min()), int(p.max())) if len(a.chunk) > 1 else (0, 0)
            for a, p in zip(self._axes, self._arrays, strict=True)
        ]
        if (
            prod([high - low + 1 for low, high in corners]) == self.count  # so many different rows are all there are
            and (self._rows[1:] > self._rows[:-1]).all()
            and all(
                low == high or a.beside[low + 1 : high + 1].all()
                for a, (low, high) in zip(self._axes, corners, strict=True)
            )
        ):
            return [self._block(0, corners)]
        return self._strips()

    def _strips(self) -> list[Block]:
        """Blocks that are wide along the last axis only."""
        *others, last = self._arrays
        cuts = ~self._axes[-1].beside[last]
        cuts[1:] |= last[1:] != last[:-1] + 1
        for pick in others:
            cuts[1:] |= pick[1:] != pick[:-1]
        cuts[0] = True
        firsts = np.flatnonzero(cuts)
        ends = np.append(firsts[1:], self.count) - 1
        lows, highs = ([p[rows].tolist() for p in self._arrays] for rows in (firsts, ends))
        corners = zip(zip(*lows, strict=True), zip(*highs, strict=True), strict=True)
        return [
            self._block(row, list(zip(low, high, strict=True)))
            for row, (low, high) in zip(firsts.tolist(), corners, strict=True)
        ]

    def _block(self, row: int, corners: Sequence[Sequence[int]]) -> Block:
        """The block from `row` on, of the entries from low to high along each axis."""
        in_dest = [
            a.in_dest[low] if low == high else slice(a.in_dest[low].start, a.in_dest[high].stop)
            for a, (low, high) in zip(self._axes, corners, strict=True)
        ]
        in_chunk = tuple([a.in_chunk[low] for a, (low, _) in zip(self._axes, corners, strict=True)])
        counts = tuple([high - low + 1 for low, high in corners])
        return Block(row, None if prod(counts) == 1 else counts, in_chunk, tuple(in_dest))


@dataclass(eq=False)
class AxisParts:
    """The chunks that a selection touches along one axis, ascending; parallel lists."""

    chunk: list[int]
    in_chunk: list[Index]
    in_dest: list[Index]
    full: list[bool]
    covers: list[bool]
    fancy: bool  # some index is an array
    told: np.ndarray[Any, Any] | None = None  # the indices as `spans` has them, where they were numbers anyway

    @cached_property
    def beside(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which entries, like the one before each, are whole chunks, and follow it in the destination. (No use for
        fancy ones.)"""
        found = np.array(self.full, np.bool_)
        if self.spans is None:
            return np.zeros_like(found)
        _, _, starts, counts = self.spans
        found[1:] &= found[:-1] & (starts[1:] == starts[:-1] + counts[:-1])
        found[:1] = False
        return found

    @cached_property
    def spans(self) -> np.ndarray[Any, Any] | None:
        """As `Wave.spans`, of the entries."""
        if self.told is not None or self.fancy:
            return self.told
        return _spans(self.in_chunk, self.in_dest)

    def cut(self, start: int, stop: int) -> AxisParts:
        """The entries [start, stop)."""
        if start == 0 and stop == len(self.chunk):
            return self
        return AxisParts(
            self.chunk[start:stop],
            self.in_chunk[start:stop],
            self.in_dest[start:stop],
            self.full[start:stop],
            self.covers[start:stop],
            self.fancy,
            None if self.told is None else self.told[:, start:stop],
        )

    def opened(self, axis: int, ndim: int) -> AxisParts:
        """The same with every index an array that broadcasts along `axis` of `ndim`, as np.ix_ makes them."""
        shape = tuple(-1 if i == axis else 1 for i in range(ndim))

        def mesh(index: Index) -> Index:
            if isinstance(index, slice):
                index = np.arange(index.start, index.stop, index.step)
            return index.reshape(shape)

        return AxisParts(
            self.chunk,
            [mesh(i) for i in self.in_chunk],
            [mesh(i) for i in self.in_dest],
            [False] * len(self.full),
            self.covers,
            True,
        )


def _spans(in_chunk: Sequence[Index], in_dest: Sequence[Index]) -> np.ndarray[Any, Any] | None:
    if not all(type(index) is slice for index in (*in_chunk, *in_dest)):
        return None
    if any(index.step not in (None, 1) for index in in_dest):
        return None
    columns = [
        [index.start for index in in_chunk],
        [index.step or 1 for index in in_chunk],
        [index.start for index in in_dest],
        [index.stop - index.start for index in in_dest],
    ]
    return np.array(columns, np.int64)
