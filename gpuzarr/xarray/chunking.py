"""How a variable in pieces (a dask array's chunks) meets the chunks of the array that it is written to. Pure.

Pieces are written at the same time, by threads, processes or machines that know nothing of each other. Two of them in
one unit of writing (a chunk, or a shard where there are shards) would each read it, put their part in, and write it
whole: one of the parts would be lost. So an edge between two pieces must be an edge of the array's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from numbers import Integral
from typing import Any, TypeAlias

from gpuzarr.errors import ChunkAlignmentError
from gpuzarr.grid import Grid

Pieces: TypeAlias = tuple[tuple[int, ...], ...]  # lengths along each axis


def chunk_shape(given: Any, pieces: Pieces | None, ndim: int, name: object) -> Any:
    """What to create an array's chunks with: `given` by an encoding, or else as the data are in pieces, or "auto".

    ChunkAlignmentError for pieces that no regular grid has, TypeError for lengths that are no integers.
    """
    if isinstance(given, Integral):
        given = (int(given),) * ndim
    if not given or len(given) != ndim:  # of other axes than these: they were read from an array, and some are gone
        return "auto" if pieces is None else _regular(pieces, name)
    for entry in given:
        if not isinstance(entry, Integral | list | tuple):
            raise TypeError(f"chunks of variable {name!r} are integers, got {tuple(given)!r}")
    return tuple(given)


def _regular(pieces: Pieces, name: object) -> tuple[int, ...]:
    for lengths in pieces:
        if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]:
            raise ChunkAlignmentError(
                f"Zarr wants uniform chunk sizes, but for the last one, which may be smaller; variable {name!r} is in"
                f" dask chunks of {pieces!r}: give `chunks` in its encoding, or rechunk it with `chunk()`"
            )
    return tuple(lengths[0] or 1 for lengths in pieces)


def check_pieces(pieces: Pieces, starts: Sequence[int], grid: Grid, *, whole: bool, name: object) -> None:
    """ChunkAlignmentError where two pieces, the first of which begins at `starts`, share a unit of writing. With
    `whole` also where all of them together cover a unit in part, which others may be writing."""
    for axis, (lengths, start) in enumerate(zip(pieces, starts, strict=True)):
        edges = list(accumulate((n for n in lengths if n), initial=start))
        first, last = edges[0], edges[-1]
        loose = [edge for edge in edges[1:-1] if grid.axis(axis).locate(edge)[1]]
        if whole and first < last:
            loose += [e for e in (first, last) if e < grid.shape[axis] and grid.axis(axis).locate(e)[1]]
        if loose:
            raise ChunkAlignmentError(
                f"Specified Zarr chunks {grid.largest_chunk} of the variable named {name!r} would overlap multiple"
                f" Dask chunks, or be covered in part: axis {axis} is written in pieces at {_some(edges)}, of which"
                f" {loose[0]} is inside a chunk (of a sharded array: a shard). What is written in parallel could be"
                " lost. Rechunk with `chunk()`, give other `chunks`, let `align_chunks=True` do it, or know better"
                " with `safe_chunks=False`"
            )


def aligned(pieces: Pieces, starts: Sequence[int], grid: Grid) -> Pieces:
    """The pieces with every edge between two moved up to the next edge of the grid."""
    found = []
    for axis, (lengths, start) in enumerate(zip(pieces, starts, strict=True)):
        *edges, last = accumulate(lengths, initial=start)
        moved = sorted({start, *(min(_next_edge(grid, axis, edge), last) for edge in edges[1:]), last})
        found.append(tuple(high - low for low, high in pairwise(moved)) or (0,))
    return tuple(found)


def _next_edge(grid: Grid, axis: int, position: int) -> int:
    chunk, offset = grid.axis(axis).locate(position)
    return grid.axis(axis).bounds(chunk)[1] if offset else position


def _some(edges: list[int]) -> str:
    return f"{edges[:8]!r}"[:-1] + (", ...]" if len(edges) > 8 else "]")
