"""From what a user says about chunks and shards to a grid, with the same outcome as zarr-python 3.4.2.

"auto" aims at chunks of 128 KiB to 64 MiB, growing slowly with the array; the formula is PyTables', by way of h5py.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

from gpuzarr.errors import MetadataError
from gpuzarr.grid import Grid, RectilinearGrid, RegularGrid, Runs, merge_runs

_STEP_BYTES = 256 << 10
_LEAST_BYTES = 128 << 10
_MOST_BYTES = 64 << 20
_MOST_INNER_BYTES = 1 << 20  # of an inner chunk in a shard


def guess_chunks(shape: Sequence[int], itemsize: int, *, inner: bool = False) -> tuple[int, ...]:
    """A chunk shape for "auto"; `inner` is for the chunks within shards. Variable-length elements count 1 byte."""
    chunks = [max(1, s) for s in shape]
    most = _MOST_INNER_BYTES if inner else _MOST_BYTES
    size = prod(map(float, chunks)) * itemsize
    if itemsize == 0:
        return tuple(chunks)
    target = min(max(_STEP_BYTES * 2 ** math.log10(size / (1 << 20)), _LEAST_BYTES), most)
    axis = 0
    while size >= most or (size >= target and abs(size - target) / target >= 0.5):
        if prod(chunks) == 1:
            break  # one element is larger than all we aim at
        chunks[axis] = -(-chunks[axis] // 2)
        axis = (axis + 1) % len(chunks)
        size = prod(map(float, chunks)) * itemsize
    return tuple(chunks)


def normalize_chunks(
    chunks: Any, shape: Sequence[int], itemsize: int, *, sharded: bool = False, unit: Sequence[int] | None = None
) -> Grid:
    """The grid that `chunks` asks for.

    "auto", None and True guess; False and -1 make one chunk of everything; one integer is for every axis; a sequence
    holds an integer, -1 or None (the whole axis), or a list of lengths (a rectilinear grid) for each axis. What is
    derived from the axis is made a multiple of `unit`. MetadataError for anything else.
    """
    shape = tuple(shape)
    if isinstance(chunks, (RegularGrid, RectilinearGrid)):
        return chunks.with_shape(shape)
    if chunks is None or chunks is True or (isinstance(chunks, str) and chunks == "auto"):
        return RegularGrid(shape, guess_chunks(shape, itemsize, inner=sharded))
    if chunks is False:
        chunks = -1
    number = _integer(chunks)
    entries = [number] * len(shape) if number is not None else _sequence(chunks)
    if len(entries) != len(shape):
        raise MetadataError(f"chunks: expected one entry for each of {len(shape)} axes, got {chunks!r}")
    units = unit or (1,) * len(shape)
    edges = tuple(
        _edges(entry, size, step, i) for i, (entry, size, step) in enumerate(zip(entries, shape, units, strict=True))
    )
    if all(isinstance(edge, int) for edge in edges):
        return RegularGrid(shape, edges)  # type: ignore[arg-type]
    return RectilinearGrid(shape, edges)


def normalize_shards(
    shards: Any, chunks: RegularGrid, itemsize: int, *, target_bytes: int | None = None
) -> Grid | None:
    """The grid of shards around inner chunks; None where `shards` is None. "auto" takes two chunks along each axis that
    has more than eight, or as many as fit `target_bytes`. MetadataError where shards are no multiples of chunks."""
    if shards is None or shards is False:
        return None
    if isinstance(shards, Mapping):  # zarr-python's {"shape": ..., "index_location": ...}
        shards = shards["shape"]
    if isinstance(shards, str) and shards == "auto":
        times = _chunks_per_shard(chunks, itemsize, target_bytes)
        shards = tuple(c * t for c, t in zip(chunks.chunks, times, strict=True))
    grid = normalize_chunks(shards, chunks.shape, itemsize, unit=chunks.chunks)
    for axis, inner in enumerate(chunks.chunks):
        edge = grid.chunks[axis] if isinstance(grid, RegularGrid) else grid.edges[axis]
        for length in [edge] if isinstance(edge, int) else [length for length, _ in edge]:
            if length % inner:
                raise MetadataError(
                    f"shards: axis {axis}: expected multiples of the chunk length {inner}, got {length}"
                )
    return grid


def _chunks_per_shard(chunks: RegularGrid, itemsize: int, target: int | None) -> list[int]:
    if target is None:
        return [2 if s // c > 8 else 1 for s, c in zip(chunks.shape, chunks.chunks, strict=True)]
    chunk_bytes = prod(chunks.chunks) * itemsize
    times = 1
    if chunks.ndim and chunk_bytes:
        while chunk_bytes * (times + 1) ** chunks.ndim <= target and all(
            c * (times + 1) <= s for c, s in zip(chunks.chunks, chunks.shape, strict=True)
        ):
            times += 1
    return [times] * chunks.ndim


def _edges(entry: Any, size: int, unit: int, axis: int) -> int | Runs:
    number = -1 if entry is None else _integer(entry)
    if number == -1:
        return unit * max(1, -(-size // unit))
    if number is not None:
        if not 1 <= number < 2**63:
            raise MetadataError(f"chunks: axis {axis}: expected a length of at least 1, or -1, got {number}")
        return number
    lengths = [_integer(v) for v in _sequence(entry)]
    if not lengths or not all(v is not None and v >= 1 for v in lengths):
        raise MetadataError(f"chunks: axis {axis}: expected lengths of at least 1, got {entry!r}")
    runs = merge_runs((v, 1) for v in lengths if v is not None)
    total = sum(length * times for length, times in runs)
    if size > 0 and total != size:
        raise MetadataError(f"chunks: axis {axis}: expected lengths that sum to {size}, got {total}")
    return runs


def _integer(value: Any) -> int | None:
    if type(value).__name__ in ("bool_", "bool") and not isinstance(value, bool):
        return None  # NumPy's booleans were integers once
    try:
        return operator.index(value)
    except TypeError:
        return None


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise MetadataError(f"chunks: expected integers, got {value!r}")
    return list(value)
