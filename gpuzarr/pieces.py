"""Parts of uncompressed chunks, read where they lie.

Where the stored bytes are the elements in C order, a selection that takes little of a chunk needs only the bytes
from its first element to its last. `cut` says which, for a wave; `place` puts them into the destination.
"""

from __future__ import annotations

from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.devices import Lane
from gpuzarr.errors import CorruptChunkError, ShortReadError
from gpuzarr.fetch import Encoded
from gpuzarr.plan import Index, Wave
from gpuzarr.storage.contract import Span, Store, byte_view

LEAST_SAVED = 128 << 10  # bytes of a chunk that must be spared to make up for the dearer request


class Cut(NamedTuple):
    """The bytes of each row's chunk that hold its part; parallel lists."""

    starts: list[int]  # offset in the chunk, bytes
    sizes: list[int]  # bytes
    shapes: list[Any]  # of the part as a strided view of those bytes; None where it is a list of points
    strides: list[Any]  # bytes; for points, element numbers in those bytes


def cut(wave: Wave, spec: ChunkSpec) -> Cut | None:
    """Which bytes the parts of a wave need; None where whole chunks are as good."""
    nbytes = spec.nbytes
    if nbytes is None or nbytes <= LEAST_SAVED:
        return None
    rows = [_extent(index, spec) for index in wave.in_chunk]
    if any(row is None for row in rows):
        return None
    columns = Cut(*(list(c) for c in zip(*rows, strict=True)))
    needed, whole = sum(columns.sizes), nbytes * len(rows)
    return columns if needed * 2 < whole and whole - needed >= LEAST_SAVED * len(rows) else None


def _extent(index: tuple[Index, ...], spec: ChunkSpec) -> tuple[int, int, Any, Any] | None:
    """Start, size, shape and strides of one part; None for indices that are neither all slices nor all points."""
    item = spec.dtype.itemsize
    steps = [*accumulate((item, *spec.shape[:0:-1]), mul)][::-1]  # bytes from one element to the next
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
    room, base = lane.room(sum(parts.sizes))
    view, sources = byte_view(room), []
    at = 0
    for key, start, size in zip(keys, parts.starts, parts.sizes, strict=True):
        try:
            got = store.get_ranges(key, [Span(start, start + size)], into=[view[at : at + size]])
        except ShortReadError as error:
            raise CorruptChunkError("wrong size", key=key, codec="bytes", expected=nbytes) from error
        if got is not None and got.size not in (None, nbytes):
            raise CorruptChunkError("wrong size", key=key, codec="bytes", expected=nbytes, got=got.size)
        sources.append(None if got is None else base + at)
        at += size
    return Encoded(sources, parts.sizes, room, base)


def place(encoded: Encoded, parts: Cut, wave: Wave, spec: ChunkSpec, dest: np.ndarray[Any, Any], fill: Any) -> None:
    """Put the parts into the destination."""
    dtype, room, base = spec.dtype, encoded.room, encoded.base
    for source, size, shape, strides, in_dest in zip(
        encoded.sources, parts.sizes, parts.shapes, parts.strides, wave.in_dest, strict=True
    ):
        if source is None:
            dest[in_dest] = fill
        elif shape is None:
            dest[in_dest] = np.ndarray(size // dtype.itemsize, dtype, room, source - base)[strides]
        else:
            dest[in_dest] = np.ndarray(shape, dtype, room, source - base, strides)
