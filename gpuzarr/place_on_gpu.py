"""Chunk to destination, on a GPU: the wave is decoded by its engine and placed by one launch, which also undoes a
shuffle or another byte order that the engine has left to it.

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
from gpuzarr.codecs.engines.gpu import Decoded, engine_for
from gpuzarr.codecs.engines.gpu_wave import Room, one_room
from gpuzarr.codecs.engines.memory import octets
from gpuzarr.devices import scatter
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.launches import Area
from gpuzarr.devices.scatter import Parts
from gpuzarr.errors import ChunkNotFoundError, GpuMemoryError
from gpuzarr.fetch import Encoded
from gpuzarr.fetch_to_gpu import Landed
from gpuzarr.options import config
from gpuzarr.waves import Wave

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
    there, absent = _presence(encoded)
    low, high = scatter.bounds(dest.shape, dest.strides, dest.dtype.itemsize)
    target = Area(device.address(dest) + low, high - low)
    lane.hold(dest)
    if absent.size:
        if missing_is_error:
            raise ChunkNotFoundError(f"chunk {name(int(absent[0]))!r} is not in the store")
        value = np.asarray(fill, chain.dtype).astype(dest.dtype).reshape(1).view(np.uint8)
        nowhere = np.zeros(len(absent), np.int64)
        parts = _parts(wave, absent, nowhere, [0] * len(chain.spec.shape), dest.strides, -low)
        scatter.fill(device, lane, parts, value, target)
    if not there.size:
        return
    engine = engine_for(chain, device, bool(config.get("codecs.trusted")))
    if isinstance(encoded, Landed):
        offsets = np.array([encoded.sources[i] for i in there.tolist()], np.int64)
        decoded = Decoded(encoded.area, offsets, None)
    else:
        decoded = engine.decode(_room(encoded, there, device), lambda i: name(int(there[i])), lane, by_host)
    if dest.dtype != chain.dtype:  # a destination of the user's
        decoded = _cast(decoded, chain, dest.dtype, lane)
    source, steps = Area(device.address(decoded.area), decoded.area.nbytes), _steps(chain, engine.order, dest.dtype)
    parts = _parts(wave, there, decoded.offsets, steps, dest.strides, -low)
    scatter.scatter(device, lane, parts, dest.dtype.itemsize, source, target, decoded.layout)


def _cast(decoded: Decoded, chain: CodecChain, dtype: np.dtype[Any], lane: GpuLane) -> Decoded:
    """The chunks as numbers of another type, by way of the host: on the GPU CuPy takes subnormal floats for 0, and what
    becomes of a float beyond an integer's range is not what NumPy makes of it."""
    device, (area, offsets, layout) = lane.device, decoded
    if layout is not None:  # which is about bytes, so they are put in order first
        area = lane.area("in order", decoded.area.nbytes)
        areas = (Area(device.address(a), a.nbytes) for a in (decoded.area, area))
        scatter.put_in_order(device, lane, layout, *areas)
    wide, narrow = dtype.itemsize, chain.dtype.itemsize
    host = device.pinned((int(offsets.max()) + (chain.nbytes or 0)) // narrow * narrow)
    device.copy_out(device.address(area), host, lane)
    lane.hold(host)
    device.wait(lane)
    with np.errstate(all="ignore"):  # what lies between the chunks may be anything
        numbers = host.view(chain.dtype).astype(dtype)
    cast = lane.area("cast", max(1, numbers.nbytes))
    device.copy_in(device.address(cast), numbers.view(np.uint8), lane)
    lane.hold(numbers)
    return Decoded(cast, offsets // narrow * wide, None)


def _presence(encoded: Encoded) -> tuple[Array, Array]:
    """The rows that have a chunk, and those that have none."""
    if (packed := encoded.packed()) is not None:
        return np.arange(len(packed[0])), np.empty(0, np.int64)
    known = np.array([source is not None for source in encoded.sources], bool)
    return np.flatnonzero(known), np.flatnonzero(~known)


def _room(encoded: Encoded, there: Array, device: GpuDevice) -> Room:
    """The bytes of the rows that have a chunk."""
    if (packed := encoded.packed()) is not None:
        return Room(octets(encoded.room), *packed)
    sources = [source for source in encoded.sources if source is not None]
    return one_room(sources, np.array(encoded.sizes, np.int64)[there], encoded.room, encoded.base, device)


def move(chunk: Any, in_chunk: tuple[Any, ...], in_dest: tuple[Any, ...], dest: Any, lane: GpuLane) -> None:
    """Copy a part of a decoded chunk, a contiguous device array of `dest`'s dtype, to its place in `dest`."""
    device = lane.device
    lane.hold(chunk, dest)
    low, high = scatter.bounds(dest.shape, dest.strides, dest.dtype.itemsize)
    one = Wave(1, [()], [in_chunk], [in_dest], [False], [False])
    nothing = np.zeros(1, np.int64)
    parts = _parts(one, nothing, nothing, chunk.strides, dest.strides, -low)
    here = Area(device.address(chunk), chunk.nbytes)
    scatter.scatter(device, lane, parts, dest.dtype.itemsize, here, Area(device.address(dest) + low, high - low))


def _steps(chain: CodecChain, order: Sequence[int], dtype: np.dtype[Any]) -> list[int]:
    """Bytes from one element of a chunk to the next along each axis of the array, stored in `order` of axes."""
    stored = [chain.spec.shape[axis] for axis in order]
    found = [0] * len(order)
    for axis, step in zip(order, [*accumulate((dtype.itemsize, *stored[:0:-1]), mul)][::-1], strict=False):
        found[axis] = step
    return found


def _parts(wave: Wave, rows: Array, offsets: Array, steps: Sequence[int], strides: Sequence[int], first: int) -> Parts:
    """The table of these rows. `offsets` are where their chunks start in the source, `first` is where the first
    element of the destination is."""
    axes, count = len(strides), len(rows)
    spans = [wave.spans(axis) for axis in range(axes)]
    if axes == 1 and spans[0] is None:
        return _points(wave, rows, offsets, steps, strides[0], first)
    counts, starts = np.ones((axes, count), np.int64), np.full((axes, count), -1, np.int64)
    source, dest, taken_steps = offsets.astype(np.int64), np.full(count, first, np.int64), [1] * axes
    lists: list[Array] = []
    listed = 0
    for axis, span in enumerate(spans):
        table = None if span is None else span[:, rows]
        if table is not None and (table[1] == table[1, 0]).all():
            taken_steps[axis] = int(table[1, 0])
            source = source + table[0] * steps[axis]
            dest = dest + table[2] * strides[axis]
            counts[axis] = table[3]
            continue
        for column, row in enumerate(rows.tolist()):
            here = _numbers(wave.in_chunk[row][axis]) * steps[axis]
            there = _numbers(wave.in_dest[row][axis]) * strides[axis]
            counts[axis, column], starts[axis, column] = len(here), listed
            lists.append(np.stack([here, there]))
            listed += len(here)
    walk = np.array([s * t for s, t in zip(steps, taken_steps, strict=True)], np.int64)
    way = np.array(strides, np.int64)
    if not lists:
        return Parts(source, dest, counts, walk, way)
    return Parts(source, dest, counts, walk, way, starts, np.concatenate(lists, axis=1))


def _points(wave: Wave, rows: Array, offsets: Array, steps: Sequence[int], stride: int, first: int) -> Parts:
    """Parts that are points, one after another: a list along one axis."""
    count = len(rows)
    counts, starts = np.ones((1, count), np.int64), np.zeros((1, count), np.int64)
    lists: list[Array] = []
    listed = 0
    for column, row in enumerate(rows.tolist()):
        here = sum(_numbers(i) * s for i, s in zip(wave.in_chunk[row], steps, strict=True))
        there = _numbers(wave.in_dest[row][0]) * stride
        counts[0, column], starts[0, column] = len(there), listed
        lists.append(np.stack([here + 0 * there, there]))
        listed += len(there)
    nothing = np.zeros(1, np.int64)
    dest = np.full(count, first, np.int64)
    both = np.concatenate(lists, axis=1)
    return Parts(offsets.astype(np.int64), dest, counts, nothing, nothing, starts, both)


def _numbers(index: Any) -> Array:
    """An index along one axis as a list of numbers."""
    if type(index) is slice:
        return np.arange(index.start, index.stop, index.step or 1)
    return np.asarray(index, np.int64).reshape(-1)
