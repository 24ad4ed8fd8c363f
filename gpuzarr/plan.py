"""Which chunks a selection touches, and what of each goes where: a table, made without I/O or device.

A plan has one row ("part") for each chunk that the selection touches. `BoxPlan` keeps one short table an axis,
since a box is their cross product; `PointPlan` keeps one row a chunk. Both cut any range of rows into a `Wave`,
the table that fetch, decode and place walk. With shards, the rows are inner chunks, and `split` groups them by
shard, each group a plan of its own.

Destinations have one axis for each array axis (dropped axes have length 1), ascending; whoever calls the
corridor hands in a view that is arranged so. Point selections have a 1-D destination.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.errors import LimitError
from gpuzarr.grid import AxisGrid, RectilinearGrid, RegularGrid
from gpuzarr.selection import Box, Coordinates, Points, Selection, Span
from gpuzarr.waves import AxisParts, BoxWave, Index, Wave

Grid = RegularGrid | RectilinearGrid
Rows = Sequence[int] | np.ndarray[Any, Any]  # numbers of rows of a plan

_FIRST = np.zeros(1, np.int64)
MOST_PARTS = 1 << 25  # chunks along one axis of a selection: what stands in a store must not make a plan of any size
_MANY = 24  # from about here on, computing an axis with NumPy is quicker than a loop


def _span_parts(axis: AxisGrid, span: Span) -> AxisParts:
    start, count, step = span.start, span.count, span.step
    if count == 0:
        return AxisParts([], [], [], [], [], False)
    first, offset = axis.locate(start)
    last = first if count == 1 else axis.locate(start + (count - 1) * step)[0]
    if first == last:
        low, high = axis.bounds(first)
        return AxisParts(
            [first],
            [slice(offset, offset + (count - 1) * step + 1, step)],
            [slice(0, count)],
            [count == high - low],
            [count == min(high, axis.size) - low],
            False,
        )
    if min(count, last - first + 1) > MOST_PARTS:
        raise LimitError(f"the selection takes more than {MOST_PARTS} chunks along one axis; select less at a time")
    if axis.uniform is not None and last - first >= _MANY:
        return _uniform_parts(axis.uniform, axis.size, span, first, last)
    parts = AxisParts([], [], [], [], [], False)
    at, chunk = 0, first
    while at < count:
        low, high = axis.bounds(chunk)
        begin = start + at * step
        taken = min(count - at, -((begin - high) // step))
        _append(parts, chunk, low, high, axis.size, begin, taken, step, at)
        at += taken
        chunk = chunk + 1 if step == 1 or at == count else axis.locate(start + at * step)[0]
    return parts


def _append(
    parts: AxisParts, chunk: int, low: int, high: int, size: int, begin: int, taken: int, step: int, at: int
) -> None:
    if taken <= 0:  # a chunk of length zero in a rectilinear grid
        return
    parts.chunk.append(chunk)
    parts.in_chunk.append(slice(begin - low, begin - low + (taken - 1) * step + 1, step))
    parts.in_dest.append(slice(at, at + taken))
    parts.full.append(taken == high - low)
    parts.covers.append(taken == min(high, size) - low)


def _uniform_parts(length: int, size: int, span: Span, first: int, last: int) -> AxisParts:
    sparse = span.step > length  # chunks between two selected elements drop out
    chunk = (span.start + np.arange(span.count) * span.step) // length if sparse else np.arange(first, last + 1)
    low = chunk * length
    begin = np.maximum(-((span.start - low) // span.step), 0)  # first selected number at or after the chunk's start
    end = np.append(begin[1:], span.count)
    taken = end - begin
    offset = span.start + begin * span.step - low
    stop = offset + (taken - 1) * span.step + 1
    return AxisParts(
        chunk.tolist(),
        [slice(a, b, span.step) for a, b in zip(offset.tolist(), stop.tolist(), strict=True)],
        [slice(a, b) for a, b in zip(begin.tolist(), end.tolist(), strict=True)],
        (taken == length).tolist(),
        (taken == np.minimum(length, size - low)).tolist(),
        False,
        np.array([offset, np.full(len(chunk), span.step), begin, taken]),
    )


def _point_parts(axis: AxisGrid, points: Points) -> AxisParts:
    indices = points.indices
    if indices.size == 0:
        return AxisParts([], [], [], [], [], False)
    chunks, offsets = axis.locate_many(indices)
    order = None
    if indices.size > 1 and (np.diff(chunks) < 0).any():
        order = np.argsort(chunks, kind="stable")
        chunks, offsets = chunks[order], offsets[order]
    edges = _group_edges(chunks[1:] != chunks[:-1], indices.size)
    in_chunk = [_as_slice(offsets[a:b]) for a, b in edges]
    in_dest: list[Index]
    if order is None:
        in_dest = [slice(a, b) for a, b in edges]
    else:
        in_dest = [_as_slice(order[a:b]) for a, b in edges]
    fancy = not all(isinstance(i, slice) for i in (*in_chunk, *in_dest))
    names = chunks[[a for a, _ in edges]].tolist()
    covers = [_covers(axis, chunk, index) for chunk, index in zip(names, in_chunk, strict=True)]
    full = [
        c and isinstance(to, slice) and axis.bounds(k)[1] <= axis.size
        for c, to, k in zip(covers, in_dest, names, strict=True)
    ]
    return AxisParts(names, in_chunk, in_dest, full, covers, fancy)


def _covers(axis: AxisGrid, chunk: int, index: Index) -> bool:
    """Whether a slice takes the whole of the chunk that lies in the array."""
    low, high = axis.bounds(chunk)
    return isinstance(index, slice) and index.step == 1 and index.stop - index.start == min(high, axis.size) - low


def _group_edges(changes: np.ndarray[Any, Any], count: int) -> list[tuple[int, int]]:
    cuts = (np.flatnonzero(changes) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, count], strict=True))


def _as_slice(index: np.ndarray[Any, Any]) -> Index:
    """A slice where the indices ascend evenly, since slices copy faster; else the indices."""
    first = int(index[0])
    if index.size == 1:
        return slice(first, first + 1, 1)
    step = int(index[1]) - first
    if step >= 1 and int(index[-1]) == first + step * (index.size - 1) and (np.diff(index) == step).all():
        return slice(first, int(index[-1]) + 1, step)
    return index


class BoxPlan:
    """The parts of a box: the cross product of its axes, in C order."""

    def __init__(self, axes: Sequence[AxisParts]) -> None:
        # NumPy moves array-indexed axes about unless there is at most one of them, or all are arrays.
        if [a.fancy for a in axes].count(True) > 1:
            axes = [a.opened(i, len(axes)) for i, a in enumerate(axes)]
        self.axes = tuple(axes)
        self.counts = tuple([len(a.chunk) for a in axes])
        self.size = prod(self.counts)

    def wave(self, rows: Rows) -> Wave:
        """These rows."""
        if not self.axes:
            # Not (), which gives a scalar where NumPy should give a view.
            return Wave(1, [()], [(Ellipsis,)], [(Ellipsis,)], [True], [True])
        if self.size == 1:
            axes = self.axes
            return Wave(
                1,
                [tuple([a.chunk[0] for a in axes])],
                [tuple([a.in_chunk[0] for a in axes])],
                [tuple([a.in_dest[0] for a in axes])],
                [False not in [a.full[0] for a in axes]],
                [False not in [a.covers[0] for a in axes]],
            )
        rows = np.asarray(rows)
        return BoxWave(self.axes, rows, self._picks(rows))

    def coords(self) -> list[np.ndarray[Any, Any]]:
        """Places in the grid of all rows: one int64 array an axis."""
        if self.size == 1:
            return [np.array(a.chunk) for a in self.axes]
        picks = self._picks(range(self.size))
        return [np.asarray(a.chunk)[p] for a, p in zip(self.axes, picks, strict=True)]

    def _picks(self, rows: Rows) -> list[np.ndarray[Any, Any]]:
        """For each axis, the entry that each row takes."""
        if self.size == 1:
            return [_FIRST] * len(self.counts)
        rest, picks = np.asarray(rows), []
        for count in reversed(self.counts):
            rest, pick = np.divmod(rest, count)
            picks.append(pick)
        return picks[::-1]

    def split(self, shards: Grid, inner: tuple[int, ...]) -> SplitPlan:
        """The same rows, grouped by shard."""
        groups = [_shard_groups(a.chunk, shards.axis(i), inner[i]) for i, a in enumerate(self.axes)]
        return SplitPlan(self, groups)


def _shard_groups(chunks: list[int], axis: AxisGrid, inner: int) -> list[tuple[int, int, int]]:
    """(shard, first entry, past the last entry) along one axis, for ascending inner chunks."""
    if len(chunks) < 2:
        return [(axis.locate(c * inner)[0], 0, 1) for c in chunks]
    if axis.uniform is not None:
        shard = np.asarray(chunks) // (axis.uniform // inner)
    else:
        shard = axis.locate_many(np.asarray(chunks) * inner)[0]
    edges = _group_edges(shard[1:] != shard[:-1], len(chunks))
    return [(int(shard[a]), a, b) for a, b in edges]


class SplitPlan:
    """A box plan seen shard by shard."""

    def __init__(self, plan: BoxPlan, groups: list[list[tuple[int, int, int]]]) -> None:
        self._plan, self._groups = plan, groups
        self.counts = tuple(len(g) for g in groups)
        self.size = prod(self.counts)
        self.rows = plan.size  # of all shards

    @cached_property
    def largest(self) -> int:
        """The most rows that one shard has."""
        return self.rows if self.size == 1 else prod(max((b - a for _, a, b in g), default=0) for g in self._groups)

    def shard(self, number: int) -> tuple[tuple[int, ...], BoxPlan]:
        """The shard's place in the shard grid, and the plan of its rows."""
        if self.size == 1:
            return tuple([groups[0][0] for groups in self._groups]), self._plan
        coords, axes = [], []
        for parts, groups in zip(reversed(self._plan.axes), reversed(self._groups), strict=True):
            number, pick = divmod(number, len(groups))
            shard, start, stop = groups[pick]
            coords.append(shard)
            axes.append(parts.cut(start, stop))
        part = BoxPlan.__new__(BoxPlan)  # the axes are as the whole plan opened them
        part.axes = tuple(axes[::-1])
        part.counts = tuple(len(a.chunk) for a in part.axes)
        part.size = prod(part.counts)
        return tuple(coords[::-1]), part


class PointPlan:
    """The parts of a list of points, one row a chunk, in C order of the chunks (grouped by shard, if any).

    Points keep their order within a chunk, so that of several writes to one element the last one wins.
    """

    def __init__(self, grid: Grid, points: Coordinates, shards: Grid | None = None) -> None:
        located = [grid.axis(i).locate_many(p) for i, p in enumerate(points.indices)]
        keys = [chunks for chunks, _ in located]
        if shards is not None:
            keys = [shards.axis(i).locate_many(p)[0] for i, p in enumerate(points.indices)] + keys
        order = np.lexsort(keys[::-1])
        self._order = order
        self._chunks = np.stack([chunks[order] for chunks, _ in located])
        self._offsets = [offsets[order] for _, offsets in located]
        changes = (self._chunks[:, 1:] != self._chunks[:, :-1]).any(axis=0)
        self._edges = _group_edges(changes, order.size) if order.size else []
        self.size = len(self._edges)
        self._starts = np.array([a for a, _ in self._edges], np.int64)
        self._shards = None
        if shards is not None and self.size:
            places = np.stack([k[order][self._starts] for k in keys[: grid.ndim]])
            self._places = places
            self._shards = _group_edges((places[:, 1:] != places[:, :-1]).any(axis=0), self.size)

    def coords(self, start: int = 0, stop: int | None = None) -> list[np.ndarray[Any, Any]]:
        """Places in the grid of the rows [start, stop): one int64 array an axis."""
        return list(self._chunks[:, self._starts[start:stop]])

    def wave(self, rows: Rows) -> Wave:
        """These rows. The indices of a single point are integers, which are quicker than arrays of one."""
        edges = [self._edges[i] for i in rows]
        starts = self._starts[np.asarray(rows, np.int64)]
        coords = [tuple(c) for c in self._chunks[:, starts].T.tolist()]
        in_chunk: list[tuple[Index, ...]] = list(zip(*(o[starts].tolist() for o in self._offsets), strict=True))
        in_dest: list[tuple[Index, ...]] = [(k,) for k in self._order[starts].tolist()]
        for i, (a, b) in enumerate(edges):
            if b - a > 1:
                in_chunk[i] = tuple(o[a:b] for o in self._offsets)
                in_dest[i] = (self._order[a:b],)
        whole = [False] * len(edges)
        return Wave(len(edges), coords, in_chunk, in_dest, whole, whole)

    def split(self) -> PointSplit:
        """The same rows, grouped by shard."""
        return PointSplit(self)


class PointSplit:
    """A point plan seen shard by shard."""

    def __init__(self, plan: PointPlan) -> None:
        self._plan = plan
        self._groups = plan._shards or []
        self.size = len(self._groups)
        self.rows = plan.size
        self.largest = max((b - a for a, b in self._groups), default=0)

    def shard(self, number: int) -> tuple[tuple[int, ...], PointRows]:
        """The shard's place in the shard grid, and its rows."""
        a, b = self._groups[number]
        return tuple(self._plan._places[:, a].tolist()), PointRows(self._plan, a, b)


class PointRows(NamedTuple):
    """Neighbouring rows of a point plan, as a plan."""

    plan: PointPlan
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Rows."""
        return self.stop - self.start

    def coords(self) -> list[np.ndarray[Any, Any]]:
        """Places in the grid of all rows: one int64 array an axis."""
        return self.plan.coords(self.start, self.stop)

    def wave(self, rows: Rows) -> Wave:
        """These of the rows."""
        return self.plan.wave([self.start + int(i) for i in rows])


def box_plan(grid: Grid, box: Box) -> BoxPlan:
    """The parts of a box on this grid."""
    return BoxPlan(
        [
            _span_parts(grid.axis(i), entry) if isinstance(entry, Span) else _point_parts(grid.axis(i), entry)
            for i, entry in enumerate(box.axes)
        ]
    )


def plan_chunks(grid: Grid, selection: Selection) -> BoxPlan | PointPlan:
    """The parts of a selection: one row a chunk."""
    return box_plan(grid, selection) if isinstance(selection, Box) else PointPlan(grid, selection)


def plan_shards(inner: Grid, shards: Grid, selection: Selection) -> SplitPlan | PointSplit:
    """The parts of a selection: one row an inner chunk, grouped by shard."""
    if isinstance(selection, Box):
        return box_plan(inner, selection).split(shards, inner.chunk_shape((0,) * inner.ndim))
    return PointPlan(inner, selection, shards).split()
