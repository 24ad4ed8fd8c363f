"""How a variable in pieces (a dask array's chunks) meets the chunks of the array that it is written to. Pure.

Lengths are written at the same time, by threads, processes or machines that know nothing of each other. Two of them in
one unit of writing (a chunk, or a shard where there are shards) would each read it, put their part in, and write it
whole: one of the parts would be lost. So an edge between two pieces must be an edge of the array's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from gpuzarr.blocks import Lengths, first_split
from gpuzarr.errors import ChunkAlignmentError
from gpuzarr.grid import Grid


def chunk_shape(given: Any, pieces: Lengths | None, ndim: int, name: object) -> Any:
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


def _regular(pieces: Lengths, name: object) -> tuple[int, ...]:
    for lengths in pieces:
        if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0]:
            raise ChunkAlignmentError(
                f"Zarr wants uniform chunk sizes, but for the last one, which may be smaller; variable {name!r} is in"
                f" dask chunks of {pieces!r}: give `chunks` in its encoding, or rechunk it with `chunk()`"
            )
    return tuple(lengths[0] or 1 for lengths in pieces)


def check_pieces(pieces: Lengths, starts: Sequence[int], grid: Grid, *, whole: bool, name: object) -> None:
    """ChunkAlignmentError where two pieces, the first of which begins at `starts`, share a unit of writing. With
    `whole` also where all of them together cover a unit in part, which others may be writing."""
    split = first_split(grid, starts, pieces)
    if split is not None:
        raise ChunkAlignmentError(
            f"Specified Zarr chunks of variable named {name!r} would overlap multiple Dask chunks: axis {split.axis}:"
            f" two of these meet at index {split.at}, within the unit of writing [{split.start}, {split.stop}) (a"
            " shard, or a chunk), and are written at the same time. Rechunk with `chunk()`, give other `chunks`, let"
            " `align_chunks=True` do it, or know better with `safe_chunks=False`"
        )
    for axis, (start, lengths) in enumerate(zip(starts, pieces, strict=True)):
        length = sum(lengths)
        for end in (start, start + length) if whole and length else ():
            if end < grid.shape[axis] and grid.axis(axis).locate(end)[1]:
                raise ChunkAlignmentError(
                    f"variable named {name!r}: axis {axis}: what is written begins or ends at index {end}, within a"
                    " chunk (or shard) that another writer may be changing; mode='a' takes it that there is none"
                )
