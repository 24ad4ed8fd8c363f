"""Chunk to destination, on a GPU: the wave is decoded by its engine and placed by one launch.

The tables that the kernel takes are the plan's columns: where each part starts in its chunk and in the destination,
and how long it is along each axis. Parts of absent chunks are filled by one more launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.engines.gpu import engine_for
from gpuzarr.devices import scatter
from gpuzarr.devices.gpu import GpuLane
from gpuzarr.devices.launches import Area
from gpuzarr.errors import ChunkNotFoundError, GpuMemoryError
from gpuzarr.fetch import Encoded
from gpuzarr.fetch_to_gpu import Landed
from gpuzarr.options import config
from gpuzarr.plan import Wave

Array = np.ndarray[Any, Any]


def deliver(
    chain: CodecChain,
    wave: Wave,
    name: Callable[[int], str],
    encoded: Encoded,
    dest: Any,
    fill: Any,
    lane: GpuLane,
    missing_is_error: bool = False,
) -> None:
    """Decode the rows of a wave into `dest`, a device array. `name` of a row is for errors.

    Where device memory runs out, memory that nobody uses is given back and the wave goes by halves, down to single
    chunks, which the host decodes; GpuMemoryError where there is no room for one of these.
    """
    try:
        _deliver(chain, wave, name, encoded, dest, fill, lane, missing_is_error)
        return
    except GpuMemoryError:
        pass  # and out of this block, since an exception that is being handled keeps what its frames held
    lane.settle()
    lane.trim()
    lane.device.free_pool()
    count = wave.count
    if count == 1:
        _deliver(chain, wave, name, encoded, dest, fill, lane, missing_is_error, by_host=True)
        return
    for part in (range(count // 2), range(count // 2, count)):
        names = [name(i) for i in part]
        rows = wave.part(part), names.__getitem__, encoded.part(part)
        deliver(chain, *rows, dest, fill, lane, missing_is_error)


def _deliver(
    chain: CodecChain,
    wave: Wave,
    name: Callable[[int], str],
    encoded: Encoded,
    dest: Any,
    fill: Any,
    lane: GpuLane,
    missing_is_error: bool,
    by_host: bool = False,
) -> None:
    device = lane.device
    there = [i for i, source in enumerate(encoded.sources) if source is not None]
    absent = [i for i, source in enumerate(encoded.sources) if source is None]
    low, high = scatter.bounds(dest.shape, dest.strides, dest.dtype.itemsize)
    target = Area(device.address(dest) + low, high - low)
    if absent:
        if missing_is_error:
            raise ChunkNotFoundError(f"chunk {name(absent[0])!r} is not in the store")
        value = np.asarray(fill, chain.dtype).astype(dest.dtype).reshape(1).view(np.uint8)
        nowhere = np.zeros(len(absent), np.int64)
        parts = _parts(wave, absent, nowhere, [0] * len(chain.spec.shape), dest.strides, -low)
        scatter.fill(device, lane, parts, value, target)
    if not there:
        return
    engine = engine_for(chain, device, bool(config.get("codecs.trusted")))
    columns = [encoded.sources[i] for i in there], [encoded.sizes[i] for i in there]
    if isinstance(encoded, Landed):
        area, offsets = encoded.area, np.array(columns[0], np.int64)
    else:
        area, offsets = engine.decode(*columns, encoded.room, encoded.base, lambda i: name(there[i]), lane, by_host)
    source, steps = Area(device.address(area), area.nbytes), _steps(chain, engine.order)
    if dest.dtype != chain.dtype:  # a destination of the user's: cast on the device
        wide, narrow = dest.dtype.itemsize, chain.dtype.itemsize
        cast = area[: (int(offsets.max()) + (chain.nbytes or 0)) // narrow * narrow]
        cast = cast.view(chain.dtype).astype(dest.dtype)
        lane.hold(cast)
        offsets, steps = offsets // narrow * wide, [s // narrow * wide for s in steps]
        source = Area(device.address(cast), cast.nbytes)
    parts = _parts(wave, there, offsets, steps, dest.strides, -low)
    scatter.scatter(device, lane, parts, dest.dtype.itemsize, source, target)


def move(chunk: Any, in_chunk: tuple[Any, ...], in_dest: tuple[Any, ...], dest: Any, lane: GpuLane) -> None:
    """Copy a part of a decoded chunk, a contiguous device array of `dest`'s dtype, to its place in `dest`."""
    device = lane.device
    low, high = scatter.bounds(dest.shape, dest.strides, dest.dtype.itemsize)
    one = Wave(1, [()], [in_chunk], [in_dest], [False], [False])
    parts = _parts(one, [0], np.zeros(1, np.int64), chunk.strides, dest.strides, -low)
    here = Area(device.address(chunk), chunk.nbytes)
    scatter.scatter(device, lane, parts, dest.dtype.itemsize, here, Area(device.address(dest) + low, high - low))


def _steps(chain: CodecChain, order: Sequence[int]) -> list[int]:
    """Bytes from one element of a chunk to the next along each axis of the array, stored in `order` of axes."""
    stored = [chain.spec.shape[axis] for axis in order]
    found = [0] * len(order)
    for axis, step in zip(order, [*accumulate((chain.dtype.itemsize, *stored[:0:-1]), mul)][::-1], strict=False):
        found[axis] = step
    return found


def _parts(
    wave: Wave, rows: Sequence[int], offsets: Array, steps: Sequence[int], strides: Sequence[int], first: int
) -> scatter.Parts:
    """The table of these rows. `offsets` are where their chunks start in the source, `first` is where the first
    element of the destination is."""
    if len(strides) == 1 and any(type(i) is not slice for i in wave.in_chunk[rows[0]]):
        return _points(wave, rows, offsets, steps, strides[0], first)
    axes, count = len(strides), len(rows)
    counts, starts = np.ones((axes, count), np.int64), np.full((axes, count), -1, np.int64)
    source, dest, taken_steps = offsets.astype(np.int64), np.full(count, first, np.int64), [1] * axes
    lists: list[Array] = []
    listed = 0
    for axis in range(axes):
        taken = [wave.in_chunk[row][axis] for row in rows]
        put = [wave.in_dest[row][axis] for row in rows]
        if _even(taken, put):
            taken_steps[axis] = taken[0].step or 1
            source = source + np.array([i.start for i in taken]) * steps[axis]
            dest = dest + np.array([i.start for i in put]) * strides[axis]
            counts[axis] = [i.stop - i.start for i in put]
            continue
        for column, (one, other) in enumerate(zip(taken, put, strict=True)):
            here, there = _numbers(one) * steps[axis], _numbers(other) * strides[axis]
            counts[axis, column], starts[axis, column] = len(here), listed
            lists.append(np.stack([here, there]))
            listed += len(here)
    walk = np.array([s * t for s, t in zip(steps, taken_steps, strict=True)], np.int64)
    way = np.array(strides, np.int64)
    if not lists:
        return scatter.Parts(source, dest, counts, walk, way)
    return scatter.Parts(source, dest, counts, walk, way, starts, np.concatenate(lists, axis=1))


def _even(taken: Sequence[Any], put: Sequence[Any]) -> bool:
    """Whether an axis goes by one step in every row; slices of index lists may differ."""
    if not all(type(i) is slice for i in (*taken, *put)):
        return False
    return len({i.step or 1 for i in taken}) == 1 and all(i.step in (None, 1) for i in put)


def _points(
    wave: Wave, rows: Sequence[int], offsets: Array, steps: Sequence[int], stride: int, first: int
) -> scatter.Parts:
    """Parts that are points, one after another: a list along one axis."""
    count = len(rows)
    counts, starts = np.ones((1, count), np.int64), np.zeros((1, count), np.int64)
    lists: list[Array] = []
    listed = 0
    for column, row in enumerate(rows):
        here = sum(_numbers(i) * s for i, s in zip(wave.in_chunk[row], steps, strict=True))
        there = _numbers(wave.in_dest[row][0]) * stride
        counts[0, column], starts[0, column] = len(there), listed
        lists.append(np.stack([here + 0 * there, there]))
        listed += len(there)
    nothing = np.zeros(1, np.int64)
    dest = np.full(count, first, np.int64)
    both = np.concatenate(lists, axis=1)
    return scatter.Parts(offsets.astype(np.int64), dest, counts, nothing, nothing, starts, both)


def _numbers(index: Any) -> Array:
    """An index along one axis as a list of numbers."""
    if type(index) is slice:
        return np.arange(index.start, index.stop, index.step or 1)
    return np.asarray(index, np.int64).reshape(-1)
