"""What of an array is stored: counting and checking."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gpuzarr.devices import get_device
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.nodes import can_list
from gpuzarr.read import read
from gpuzarr.resize import stored_keys
from gpuzarr.selection import Box, Span
from gpuzarr.storage.contract import Store
from gpuzarr.stored import StoredArray

SLAB = 256 << 20  # bytes that are checked at once, where there may be less than a shard


class Count(int):
    """An int that may also be called, since zarr-python has the same names as methods."""

    def __call__(self) -> int:
        return int(self)


def stored_bytes(store: Store, path: str) -> int:
    """Bytes of all objects under a path."""
    return sum(size for _, size in store.list_sizes(path))


def _stored_places(stored: StoredArray) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Keys of stored chunks (or shards) and their places in the grid."""
    encoding, counts = stored.metadata.key_encoding, stored.grid.counts
    listed = can_list(stored.store, stored.path)
    for key in stored_keys(stored):
        place = encoding.coords(key[len(stored.key_base) :], counts)
        if place is not None and (listed or stored.store.exists(key)):
            yield key, place


def chunks_initialized(stored: StoredArray, grid: RegularGrid | RectilinearGrid) -> int:
    """Chunks of `grid` (the array's own, or the one of inner chunks) in stored keys."""
    if stored.grid is grid or stored.sharding is None:
        return sum(1 for _ in _stored_places(stored))
    inner = stored.sharding.chunk_shape
    shards = (stored.grid.chunk_shape(place) for _, place in _stored_places(stored))
    return sum(math.prod(s // c for s, c in zip(shard, inner, strict=True)) for shard in shards)


def check_chunks(stored: StoredArray) -> Iterator[tuple[str, Exception | None]]:
    """Read every stored chunk; yields its key and the error, None where it is sound."""
    stored = replace(stored, device=get_device("cpu"), cache=None)  # the host's decoders say most about what is wrong
    for key, place in sorted(_stored_places(stored), key=lambda item: item[1]):
        try:
            for box in _slabs(stored, place):
                nbytes = math.prod(box.shape) * max(1, stored.metadata.dtype.itemsize)
                stored.check_ceiling(f"a slab of {key!r}", nbytes)
                read(stored, box, np.empty(box.shape, stored.metadata.dtype))
        except (ValueError, OSError) as error:
            yield key, error
        else:
            yield key, None


def _slabs(stored: StoredArray, place: tuple[int, ...]) -> Iterator[Box]:
    """A chunk as one box; a shard as several where it is large, each of whole inner chunks along the first axis."""
    bounds = [stored.grid.axis(i).bounds(c) for i, c in enumerate(place)]
    sizes = [min(high, s) - low for (low, high), s in zip(bounds, stored.metadata.shape, strict=True)]
    spans = [Span(low, size, 1) for (low, _), size in zip(bounds, sizes, strict=True)]
    none = (False,) * len(spans)
    if stored.sharding is None or not spans:
        yield Box(tuple(spans), none, none)
        return
    row = stored.sharding.chunk_shape[0]
    nbytes = row * math.prod(sizes[1:]) * max(1, stored.metadata.dtype.itemsize)
    step = row * max(1, SLAB // max(1, nbytes))
    for start in range(0, sizes[0], step):
        yield Box((Span(spans[0].start + start, min(step, sizes[0] - start), 1), *spans[1:]), none, none)
