"""Parts of chunks, read and decoded without their wholes.

Where the stored bytes are the elements in C order, a selection that takes little of a chunk needs only the bytes
from its first element to its last. `cut` says which, for a wave; `place` puts them into the destination. `deliver`
does the same for chunks that a codec can decode in part.
"""

from __future__ import annotations

from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.devices import Lane
from gpuzarr.errors import CorruptChunkError
from gpuzarr.fetch import Encoded, Packed
from gpuzarr.place import put
from gpuzarr.storage.contract import Store, byte_view
from gpuzarr.stored import worth_cutting
from gpuzarr.waves import BoxWave, Index, Wave

_NOWHERE = 1 << 63  # no chunk has so many bytes

Integers = np.ndarray[Any, np.dtype[np.int64]]


class Cut(NamedTuple):
    """The bytes of each row's chunk that hold its part; one entry a row."""

    starts: list[int]  # offset in the chunk, bytes
    sizes: list[int]  # bytes
    shapes: list[Any]  # of the part as a strided view of those bytes; None where it is a list of points
    strides: list[Any]  # bytes; for points, element numbers in those bytes
    alike: bool  # in size, shape and strides


def cut(wave: Wave, spec: ChunkSpec, most: int) -> Cut | None:
    """Which bytes the parts of a wave need; None where whole chunks are as good, or they are more than `most`."""
    nbytes = spec.nbytes
    if nbytes is None or nbytes >= _NOWHERE or not worth_cutting(0, nbytes):
        return None
    steps = [*accumulate((spec.dtype.itemsize, *spec.shape[:0:-1]), mul)][::-1]  # bytes from one element to the next
    spans = _spans(wave, len(steps))
    parts = _of_rows(wave, spec, steps) if spans is None else _of_spans(spans, spec, steps)
    if parts is None:
        return None
    total = sum(parts.sizes)
    return parts if total <= most and worth_cutting(total // wave.count, nbytes) else None


def _spans(wave: Wave, ndim: int) -> np.ndarray[Any, Any] | None:
    """What a box takes of its chunks, as `Wave.spans` tells it, one axis behind another; None where it is not told."""
    if not isinstance(wave, BoxWave):
        return None
    axes = [spans for axis in range(ndim) if (spans := wave.spans(axis)) is not None]
    return np.stack(axes, 1) if len(axes) == ndim else None


def _of_spans(spans: np.ndarray[Any, Any], spec: ChunkSpec, steps: list[int]) -> Cut:
    first, step, _, counts = spans
    each = np.array(steps, np.int64)[:, None]
    strides = step * each
    sizes = ((counts - 1) * strides).sum(axis=0) + spec.dtype.itemsize
    alike = bool((counts == counts[:, :1]).all() and (strides == strides[:, :1]).all())
    shapes, taken = (list(zip(*columns.tolist(), strict=True)) for columns in (counts, strides))
    return Cut((first * each).sum(axis=0).tolist(), sizes.tolist(), shapes, taken, alike)


def _of_rows(wave: Wave, spec: ChunkSpec, steps: list[int]) -> Cut | None:
    rows = []
    for index in wave.in_chunk:
        if (row := _extent(index, spec.dtype.itemsize, steps)) is None:
            return None
        rows.append(row)
    starts, sizes, shapes, strides = zip(*rows, strict=True)
    return Cut([*starts], [*sizes], [*shapes], [*strides], False)


def _extent(index: tuple[Index, ...], item: int, steps: list[int]) -> tuple[int, int, Any, Any] | None:
    """Start, size, shape and strides of one part; None for indices that are neither all slices nor all points."""
    if all(type(i) is slice for i in index):
        counts = tuple([len(range(i.start, i.stop, i.step or 1)) for i in index])
        if not prod(counts):
            return None
        start = sum([i.start * s for i, s in zip(index, steps, strict=True)])
        strides = tuple([(i.step or 1) * s for i, s in zip(index, steps, strict=True)])
        size = sum([(n - 1) * s for n, s in zip(counts, strides, strict=True)]) + item
        return start, size, counts, strides
    if all(type(i) is int for i in index):
        return sum([i * s for i, s in zip(index, steps, strict=True)]), item, (), ()
    if all(isinstance(i, np.ndarray) and i.ndim == 1 for i in index):
        places = sum(i * (s // item) for i, s in zip(index, steps, strict=True))
        first, last = int(places.min()), int(places.max())
        return first * item, (last - first + 1) * item, None, places - first
    return None


def fetch(store: Store, keys: list[str], parts: Cut, nbytes: int, lane: Lane) -> Encoded:
    """The bytes of a cut, one object a row, each of `nbytes` bytes in all. Raises CorruptChunkError where an object
    has another size."""
    ends = [*accumulate(parts.sizes)]
    room, base = lane.room(ends[-1])
    view, places = byte_view(room), [0, *ends[:-1]]
    outs = [view[a:b] for a, b in zip(places, ends, strict=True)]
    sizes = store.read_parts(keys, parts.starts, outs, checked=True)
    if sizes.count(nbytes) == len(sizes) > 1:
        return Packed(np.array(places), np.array(parts.sizes), room, base)
    for key, size in zip(keys, sizes, strict=True):
        if size is not None and size != nbytes:
            raise CorruptChunkError("wrong size", key=key, codec="bytes", expected=nbytes, got=size)
    sources = [None if size is None else base + at for size, at in zip(sizes, places, strict=True)]
    return Encoded(sources, parts.sizes, room, base)


def deliver(chain: CodecChain, wave: Wave, encoded: Encoded, dest: np.ndarray[Any, Any], lane: Lane) -> bool:
    """Decode and place the parts of compressed chunks, where the codec can do so without decoding the whole; else
    False, with nothing done."""
    if chain.decode_parts is None or encoded.room is None or not all(type(s) is int for s in encoded.sources):
        return False
    parts = cut(wave, chain.spec, (chain.nbytes or 0) * wave.count)
    if parts is None:
        return False
    offsets, sizes = np.array(encoded.sources, np.int64) - encoded.base, np.array(encoded.sizes, np.int64)
    starts, taken = np.array(parts.starts, np.int64), np.array(parts.sizes, np.int64)
    spans = starts, starts + taken
    decoded = chain.decode_parts(encoded.room, encoded.base, offsets, sizes, spans, lane.scratch)
    if decoded is None:
        return False
    scratch, base, places = decoded
    place(Packed(places, taken, scratch, base), parts, wave, chain.spec, dest, None)
    return True


def place(encoded: Encoded, parts: Cut, wave: Wave, spec: ChunkSpec, dest: np.ndarray[Any, Any], fill: Any) -> None:
    """Put the parts into the destination."""
    dtype, room, base = spec.dtype, encoded.room, encoded.base
    if parts.alike and (packed := encoded.packed()) is not None and len(packed[0]) > 1:
        offsets = packed[0]
        steps = offsets[1:] - offsets[:-1]
        if steps[0] >= 0 and (steps == steps[0]).all():
            one = np.ndarray(parts.shapes[0], dtype, room, int(offsets[0]), parts.strides[0])
            taken = as_strided(one, (len(offsets), *one.shape), (int(steps[0]), *one.strides))
            every = (slice(None),) * one.ndim
            for block in wave.blocks():
                put(taken, block._replace(in_chunk=every), dest)
            return
    for source, size, shape, strides, in_dest in zip(
        encoded.sources, parts.sizes, parts.shapes, parts.strides, wave.in_dest, strict=True
    ):
        if source is None:
            dest[in_dest] = fill
        elif shape is None:
            dest[in_dest] = np.ndarray(size // dtype.itemsize, dtype, room, source - base)[strides]
        else:
            dest[in_dest] = np.ndarray(shape, dtype, room, source - base, strides)
