"""How an array is cut into chunks, and what the chunks are called (Zarr v3 core, "Chunk grids", "Chunk key encoding").

Regular grids (v2 and v3) and rectilinear grids (zarr-extensions/chunk-grids). Chunks have their declared shape; at
the array's edge they reach beyond it. Nothing here takes time or memory with the number of chunks: a rectilinear axis
is kept as runs of equal lengths. Below the grids: from what a user says about chunks and shards to a grid, with the
same outcome as zarr-python 3.4.2. No I/O.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import gcd, prod
from typing import Any, Literal, TypeAlias

import numpy as np

from gpuzarr.errors import MetadataError

# "auto" aims at chunks between these, growing slowly with the array; the formula is PyTables', by way of h5py.
_STEP_BYTES = 256 << 10
_LEAST_BYTES = 128 << 10
_MOST_BYTES = 64 << 20
_MOST_INNER_BYTES = 1 << 20  # of an inner chunk in a shard

Runs: TypeAlias = tuple[tuple[int, int], ...]  # (length, how often), neighbours of different length


class UniformAxis:
    """One axis cut into chunks of one length."""

    __slots__ = ("count", "size", "uniform")

    def __init__(self, size: int, length: int) -> None:
        self.size = size
        self.uniform: int | None = length
        self.count = -(-size // length)

    def locate(self, index: int) -> tuple[int, int]:
        """Chunk of an element, and its offset there."""
        assert self.uniform is not None
        return divmod(index, self.uniform)

    def locate_many(self, indices: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """`locate` for an int64 array."""
        assert self.uniform is not None
        chunks = indices // self.uniform  # then subtract: numpy.divmod is three times slower
        return chunks, indices - chunks * self.uniform

    def bounds(self, chunk: int) -> tuple[int, int]:
        """First element of a chunk and one past its last, as declared: not clipped to the array."""
        assert self.uniform is not None
        return chunk * self.uniform, (chunk + 1) * self.uniform


class RunsAxis:
    """One axis cut into chunks of given lengths, some of which may lie beyond the array."""

    def __init__(self, size: int, runs: Runs) -> None:
        self.size = size
        self.uniform: int | None = None
        self.runs = runs
        self._positions = [0, *accumulate(length * times for length, times in runs)]  # where each run begins
        self._chunks = [0, *accumulate(times for _, times in runs)]  # and its first chunk
        self.count = self.locate(size - 1)[0] + 1 if size else 0

    @property
    def total(self) -> int:
        """Sum of all lengths, those beyond the array included."""
        return self._positions[-1]

    def locate(self, index: int) -> tuple[int, int]:
        """Chunk of an element, and its offset there."""
        run = bisect_right(self._positions, index) - 1
        chunk, offset = divmod(index - self._positions[run], self.runs[run][0])
        return self._chunks[run] + chunk, offset

    def locate_many(self, indices: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """`locate` for an int64 array."""
        positions, chunks, lengths = self._columns
        run = np.searchsorted(positions, indices, side="right") - 1
        inside = indices - positions[run]
        chunk = inside // lengths[run]
        return chunks[run] + chunk, inside - chunk * lengths[run]

    def bounds(self, chunk: int) -> tuple[int, int]:
        """First element of a chunk and one past its last, as declared: not clipped to the array."""
        run = bisect_right(self._chunks, chunk) - 1
        length = self.runs[run][0]
        start = self._positions[run] + (chunk - self._chunks[run]) * length
        return start, start + length

    @cached_property
    def _columns(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        lengths = [length for length, _ in self.runs]
        return (
            np.array(self._positions[:-1], dtype=np.int64),
            np.array(self._chunks[:-1], dtype=np.int64),
            np.array(lengths, dtype=np.int64),
        )


AxisGrid: TypeAlias = UniformAxis | RunsAxis


@dataclass(frozen=True)
class RegularGrid:
    """Chunks of one shape."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return tuple(-(-s // c) for s, c in zip(self.shape, self.chunks, strict=True))

    @cached_property
    def _axes(self) -> tuple[UniformAxis, ...]:
        return tuple(map(UniformAxis, self.shape, self.chunks))

    def axis(self, i: int) -> AxisGrid:
        """The cut of one axis."""
        return self._axes[i]

    def chunk_shape(self, coords: Sequence[int]) -> tuple[int, ...]:
        """Declared shape of a chunk, also where it reaches beyond the array."""
        return self.chunks

    def chunk_origin(self, coords: Sequence[int]) -> tuple[int, ...]:
        """First element of a chunk."""
        return tuple(i * c for i, c in zip(coords, self.chunks, strict=True))

    @property
    def largest_chunk(self) -> tuple[int, ...]:
        """Longest chunk along each axis."""
        return self.chunks

    def with_shape(self, shape: tuple[int, ...], *, sharded: bool = False) -> RegularGrid:
        """The grid of the array resized."""
        return RegularGrid(shape, self.chunks)

    def to_json(self) -> dict[str, Any]:
        """The `chunk_grid` of a format 3 document."""
        return {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}}


@dataclass(frozen=True)
class RectilinearGrid:
    """Chunks whose lengths differ along an axis. `edges` holds for each axis one length for all chunks, or runs."""

    shape: tuple[int, ...]
    edges: tuple[int | Runs, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Chunks along each axis; chunks wholly beyond the array are not counted."""
        return tuple(axis.count for axis in self._axes)

    @cached_property
    def _axes(self) -> tuple[AxisGrid, ...]:
        pairs = zip(self.shape, self.edges, strict=True)
        return tuple(UniformAxis(s, e) if isinstance(e, int) else RunsAxis(s, e) for s, e in pairs)

    def axis(self, i: int) -> AxisGrid:
        """The cut of one axis."""
        return self._axes[i]

    def chunk_shape(self, coords: Sequence[int]) -> tuple[int, ...]:
        """Declared shape of a chunk, also where it reaches beyond the array."""
        bounds = (axis.bounds(i) for axis, i in zip(self._axes, coords, strict=True))
        return tuple(stop - start for start, stop in bounds)

    def chunk_origin(self, coords: Sequence[int]) -> tuple[int, ...]:
        """First element of a chunk."""
        return tuple(axis.bounds(i)[0] for axis, i in zip(self._axes, coords, strict=True))

    @property
    def largest_chunk(self) -> tuple[int, ...]:
        """Longest chunk along each axis."""
        return tuple(e if isinstance(e, int) else max(length for length, _ in e) for e in self.edges)

    def with_shape(self, shape: tuple[int, ...], *, sharded: bool = False) -> RectilinearGrid:
        """The grid of the array resized: where an axis outgrows its chunks, one more covers what is new; chunks
        that a shrunken axis leaves behind stay declared. `sharded`: the chunks are shards, so that the new one, too,
        must be a multiple of inner chunks: it is one of what all others are multiples of."""
        edges: list[int | Runs] = []
        for size, edge in zip(shape, self.edges, strict=True):
            missing = 0 if isinstance(edge, int) else size - sum(length * times for length, times in edge)
            if not isinstance(edge, int) and missing > 0:
                unit = gcd(*(length for length, _ in edge)) if sharded else 1
                edge = merge_runs([*edge, (-(-missing // unit) * unit, 1)])
            edges.append(edge)
        return RectilinearGrid(shape, tuple(edges))

    def to_json(self) -> dict[str, Any]:
        """The `chunk_grid` of a format 3 document."""
        spelled = [
            e if isinstance(e, int) else [[length, times] if times > 1 else length for length, times in e]
            for e in self.edges
        ]
        return {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": spelled}}


Grid: TypeAlias = RegularGrid | RectilinearGrid


def merge_runs(runs: Iterable[tuple[int, int]]) -> Runs:
    """The same lengths, neighbours of equal length in one run."""
    merged: list[tuple[int, int]] = []
    for length, times in runs:
        if merged and merged[-1][0] == length:
            merged[-1] = (length, merged[-1][1] + times)
        else:
            merged.append((length, times))
    return tuple(merged)


@dataclass(frozen=True)
class KeyEncoding:
    """From a chunk's place in the grid to its key: "c/1/23" (default) or "1.23" (v2)."""

    name: Literal["default", "v2"] = "default"
    separator: Literal["/", "."] = "/"

    @cached_property
    def prefix(self) -> str:
        """What stands before the first number, where there is one."""
        return f"c{self.separator}" if self.name == "default" else ""

    def key(self, coords: Sequence[int]) -> str:
        """Key of a chunk, relative to the array. An array of no axes has one: "c", or "0" in v2."""
        if not coords:
            return "c" if self.name == "default" else "0"
        return self.prefix + self.separator.join(map(str, coords))

    def coords(self, key: str, counts: Sequence[int]) -> tuple[int, ...] | None:
        """The chunk of a key, or None where no chunk of a grid with these counts has that key."""
        if not counts:
            return () if key == self.key(()) else None
        if not key.startswith(self.prefix):
            return None
        parts = key[len(self.prefix) :].split(self.separator)
        if len(parts) != len(counts) or not all(p.isascii() and p.isdigit() and len(p) < 20 for p in parts):
            return None
        coords = tuple(map(int, parts))
        inside = all(i < n for i, n in zip(coords, counts, strict=True))
        return coords if inside and key == self.key(coords) else None

    def to_json(self) -> dict[str, Any]:
        """The `chunk_key_encoding` of a format 3 document."""
        return {"name": self.name, "configuration": {"separator": self.separator}}


def chunk_count(grid: Grid) -> int:
    """Chunks in the whole grid."""
    return prod(grid.counts)


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
