"""Many rectangles from one area of device memory to another in one launch (`kernels/scatter.cu`).

A part is a strided rectangle: offsets of its first element, a length along each axis, and steps that are the same for
all parts; an axis may have listed offsets instead (integer indices). Everything is in bytes. Steps may be negative or
zero. Axes that lie one within the other on both sides are joined, and the widest unit of at most 16 bytes is taken
that all offsets allow, so that whole rows of chunks move 16 bytes at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpuzarr.devices import columns, kernels
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.launches import Area

Array = np.ndarray[Any, Any]


class Parts(NamedTuple):
    """Parts as int64 columns."""

    source: Array  # (rows,): offset of the first element in the source
    dest: Array  # (rows,): and in the destination
    counts: Array  # (axes, rows)
    source_steps: Array  # (axes,)
    dest_steps: Array  # (axes,)
    starts: Array | None = None  # (axes, rows): where in `lists` an axis's offsets begin; -1 for an axis with steps
    lists: Array | None = None  # (2, n): offsets in the source and in the destination


def bounds(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """First byte and past the last byte of a strided array, counted from its first element."""
    if 0 in shape:
        return 0, 0
    reach = [(count - 1) * stride for count, stride in zip(shape, strides, strict=True)]
    return sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + itemsize


def scatter(device: GpuDevice, lane: GpuLane, parts: Parts, itemsize: int, source: Area, dest: Area) -> None:
    """Copy the parts, whose elements have `itemsize` bytes."""
    rows = parts.source.size
    if rows == 0 or not parts.counts.all(axis=0).any():
        return
    parts = _joined(parts, itemsize)
    unit = _unit(parts, source, dest)
    counts = np.vstack([parts.counts[:-1], parts.counts[-1:] // unit])
    steps = np.array([parts.source_steps, parts.dest_steps], np.int64)
    steps[:, -1] = unit
    _launch(device, lane, parts._replace(counts=counts), steps, unit, source, dest)


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


def _launch(device: GpuDevice, lane: GpuLane, parts: Parts, steps: Array, unit: int, source: Area, dest: Area) -> None:
    rows, axes, listed = parts.source.size, len(parts.counts), parts.starts is not None
    lists = np.zeros((2, 0), np.int64) if parts.lists is None else parts.lists
    packed = columns.pack(parts.source, parts.dest, *parts.counts, *(() if parts.starts is None else parts.starts))
    at, steps_at, lists_at = lane.send(packed, steps, columns.pack(*lists))
    largest = int(parts.counts.prod(axis=0).max()) * unit
    span = kernels.span(largest, unit)
    args = (span, at, rows, axes, unit, steps_at, int(listed), lists_at, lists.shape[1], *source, *dest)
    device.launch("scatter_parts", rows * span, args, lane)


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
