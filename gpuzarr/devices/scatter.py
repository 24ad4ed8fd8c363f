"""Many rectangles from one area of device memory to another in one launch (`kernels/scatter.cu`).

A part is a strided rectangle: offsets of its first element, a length along each axis, and steps that are the same for
all parts; an axis may have listed offsets instead (integer indices). Everything is in bytes. Steps may be negative or
zero. Axes that lie one within the other on both sides are joined, and the widest unit of at most 16 bytes is taken
that all offsets allow, so that whole rows of chunks move 16 bytes at a time.

Chunks need not lie as they are placed: a `Layout` says what the last filter has left of each, and the same launch puts
their bytes in order as it loads them. Offsets of parts are always those of chunks in order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpuzarr.devices import columns, kernels
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.launches import Area

Array = np.ndarray[Any, Any]

NO_FILTER, SHUFFLE, BITSHUFFLE = 0, 1, 2
# Units that a thread takes of a part, so that what is looked up for a row (of its table, and of its chunk's layout) is
# looked up once for some of them; more would leave the card without threads where waves are small.
UNITS = 4


class Parts(NamedTuple):
    """Parts as int64 columns."""

    source: Array  # (rows,): offset of the first element in the source
    dest: Array  # (rows,): and in the destination
    counts: Array  # (axes, rows)
    source_steps: Array  # (axes,)
    dest_steps: Array  # (axes,)
    starts: Array | None = None  # (axes, rows): where in `lists` an axis's offsets begin; -1 for an axis with steps
    lists: Array | None = None  # (2, n): offsets in the source and in the destination


class Layout(NamedTuple):
    """How chunks lie that are not in order; int64 columns, one row each (and one each of the parts taken from them)."""

    start: Array  # where the chunk begins in the source
    nbytes: int  # of any chunk, in order or not
    block: Array  # bytes that are filtered together; the last ones of a chunk may be fewer
    typesize: Array  # bytes of an element, for the filter
    filter: Array  # `NO_FILTER`, `SHUFFLE` or `BITSHUFFLE`
    width: Array  # of the numbers whose bytes are to be turned round when the filter is undone: 1 (for none), 2, 4 or 8

    @property
    def in_order(self) -> bool:
        """Whether there is nothing to be done to any of them."""
        return not self.filter.any() and bool((self.width == 1).all())

    def without(self, rows: Any) -> Layout:
        """The same where these rows (a mask) are in order."""
        return self._replace(
            block=np.where(rows, self.nbytes, self.block),
            typesize=np.where(rows, 1, self.typesize),
            filter=np.where(rows, NO_FILTER, self.filter),
            width=np.where(rows, 1, self.width),
        )


def bounds(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """First byte and past the last byte of a strided array, counted from its first element."""
    if 0 in shape:
        return 0, 0
    reach = [(count - 1) * stride for count, stride in zip(shape, strides, strict=True)]
    return sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + itemsize


def scatter(
    device: GpuDevice,
    lane: GpuLane,
    parts: Parts,
    itemsize: int,
    source: Area,
    dest: Area,
    layout: Layout | None = None,
) -> None:
    """Copy the parts, whose elements have `itemsize` bytes, out of chunks with a layout, or out of any that lie in
    order."""
    rows = parts.source.size
    if rows == 0 or not parts.counts.all(axis=0).any():
        return
    parts = _joined(parts, itemsize)
    unit = _unit(parts, source, dest)
    counts = np.vstack([parts.counts[:-1], parts.counts[-1:] // unit])
    steps = np.array([parts.source_steps, parts.dest_steps], np.int64)
    steps[:, -1] = unit
    _launch(device, lane, parts._replace(counts=counts), steps, unit, source, dest, layout)


def put_in_order(device: GpuDevice, lane: GpuLane, layout: Layout, source: Area, dest: Area) -> None:
    """Copy whole chunks to the same offsets of another area, for what takes them in order only."""
    at, one = layout.start, np.ones(1, np.int64)
    whole = Parts(at, at, np.full((1, at.size), layout.nbytes), one, one)
    scatter(device, lane, whole, 1, source, dest, layout)


def fill(device: GpuDevice, lane: GpuLane, parts: Parts, value: Array, dest: Area) -> None:
    """Put one element (`value`, its bytes as uint8) in every place of the parts; their source columns are not used."""
    rows, itemsize = parts.dest.size, value.size
    if rows == 0 or not parts.counts.all(axis=0).any():
        return
    there = Parts(parts.dest, parts.dest, parts.counts, parts.dest_steps, parts.dest_steps)
    if parts.starts is not None and parts.lists is not None:
        there = there._replace(starts=parts.starts, lists=np.stack([parts.lists[1], parts.lists[1]]))
    there = _joined(there, itemsize)
    unit = _unit(there, dest, dest)
    repeats = unit % itemsize == 0  # every unit holds the same bytes
    if not repeats:  # go by elements, and along each through its bytes
        there = _with_bytes(parts._replace(source=parts.dest, source_steps=parts.dest_steps), itemsize)
        if parts.lists is not None:
            there = there._replace(lists=np.stack([parts.lists[1], parts.lists[1]]))
        unit = min(_unit(there, dest, dest), itemsize & -itemsize)
    pattern = np.tile(value, max(1, unit // itemsize))
    (address,) = lane.send(pattern)
    counts = np.vstack([there.counts[:-1], there.counts[-1:] // unit])
    steps = np.array([np.zeros_like(there.dest_steps), there.dest_steps], np.int64)
    steps[:, -1] = (0 if repeats else unit), unit
    if there.lists is not None:
        there = there._replace(lists=there.lists * np.array([[0], [1]]))
    there = there._replace(source=np.zeros(rows, np.int64), counts=counts)
    _launch(device, lane, there, steps, unit, Area(address, pattern.size), dest)


def scatter_points(
    device: GpuDevice, lane: GpuLane, sources: Array, dests: Array, itemsize: int, source: Area, dest: Area
) -> None:
    """Copy single elements between these offsets (int64, bytes)."""
    if sources.size == 0:
        return
    unit = _power_of_two(itemsize, sources + source.address, dests + dest.address)
    pieces = itemsize // unit
    table = columns.send(lane, sources, dests)
    args = (sources.size, pieces, unit, table.address, *source, *dest)
    device.launch("scatter_points", sources.size * pieces, args, lane)


def _launch(
    device: GpuDevice,
    lane: GpuLane,
    parts: Parts,
    steps: Array,
    unit: int,
    source: Area,
    dest: Area,
    layout: Layout | None = None,
) -> None:
    rows, axes, listed = parts.source.size, len(parts.counts), parts.starts is not None
    lists = np.zeros((2, 0), np.int64) if parts.lists is None else parts.lists
    packed = columns.pack(parts.source, parts.dest, *parts.counts, *(() if parts.starts is None else parts.starts))
    largest = int(parts.counts.prod(axis=0).max()) * unit
    span = kernels.span(largest, UNITS * unit)
    told = [] if layout is None else [columns.pack(layout.start, *layout[2:])]
    at, steps_at, lists_at, *layouts_at = lane.send(packed, steps, columns.pack(*lists), *told)
    args: tuple[Any, ...] = (span, at, rows, axes, unit, steps_at, int(listed), lists_at, lists.shape[1])
    if layout is None:
        device.launch("scatter_parts", rows * span, (*args, *source, *dest), lane)
    else:
        args = (*args, *layouts_at, layout.nbytes)
        device.launch("scatter_filtered", rows * span, (*args, *source, *dest), lane)


def _with_bytes(parts: Parts, itemsize: int) -> Parts:
    """With a last axis through the bytes of an element."""
    rows = parts.source.size
    counts = np.vstack([parts.counts.reshape(-1, rows), np.full((1, rows), itemsize)])
    starts = parts.starts
    if starts is not None:
        starts = np.vstack([starts, np.full((1, rows), -1)])
    one = np.ones(1, np.int64)
    there, here = (np.concatenate([s, one]) for s in (parts.source_steps, parts.dest_steps))
    return Parts(parts.source, parts.dest, counts, there, here, starts, parts.lists)


def _joined(parts: Parts, itemsize: int) -> Parts:
    """With a last axis through neighbouring bytes, as long as can be, and no axis of length 1."""
    parts = _with_bytes(parts, itemsize)
    keep = [len(parts.counts) - 1]  # axes, from the last on
    counts = parts.counts.copy()
    for axis in range(len(counts) - 2, -1, -1):
        stepped = parts.starts is None or bool((parts.starts[axis] < 0).all())
        inner = keep[-1]
        length = counts[inner, 0]
        if stepped and (counts[axis] == 1).all():
            continue
        within = (
            stepped
            and (parts.starts is None or bool((parts.starts[inner] < 0).all()))
            and bool((counts[inner] == length).all())
            and parts.source_steps[axis] == length * parts.source_steps[inner]
            and parts.dest_steps[axis] == length * parts.dest_steps[inner]
        )
        if within:
            counts[inner] *= counts[axis]
        else:
            keep.append(axis)
    keep = keep[::-1]
    starts = None if parts.starts is None else parts.starts[keep]
    return Parts(
        parts.source, parts.dest, counts[keep], parts.source_steps[keep], parts.dest_steps[keep], starts, parts.lists
    )


def _unit(parts: Parts, source: Area, dest: Area) -> int:
    """The widest unit that divides everything."""
    numbers = [parts.counts[-1], parts.source + source.address, parts.dest + dest.address]
    lists = [] if parts.lists is None else [parts.lists.ravel()]
    return _power_of_two(*numbers, parts.source_steps[:-1], parts.dest_steps[:-1], *lists)


def _power_of_two(*numbers: Any) -> int:
    """The largest of 1, 2, 4, 8 and 16 that divides all of these."""
    bits = 16
    for number in numbers:
        bits |= int(np.bitwise_or.reduce(np.asarray(number), axis=None))
    return bits & -bits
