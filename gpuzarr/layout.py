"""Chunk and shard arguments -> sizes: what `chunks=` and `shards=` mean. Pure arithmetic.

A *layout* is one entry an axis: an int (chunks of that size, the last one may hang over) or a tuple of ints
(the sizes of the chunks one by one, a rectilinear axis).

`"auto"` follows the rule that h5py and zarr-python use, to the same numbers, so that a store made here with
default chunks has the same objects as one made there.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpuzarr.errors import MetadataError
from gpuzarr.grid import Grid, RectilinearGrid, RegularGrid, merge_runs

KIB, MIB = 1 << 10, 1 << 20
SMALLEST_TARGET, LARGEST_CHUNK, LARGEST_INNER_CHUNK = 128 * KIB, 64 * MIB, MIB

Edges = int | tuple[int, ...]
Layout = tuple[Edges, ...]


def chunk_layout(chunks: Any, shape: tuple[int, ...], itemsize: int | None, *, sharded: bool = False) -> Layout:
    """What `chunks` says for an array of this shape.

    An int is for every axis, -1 (or False for all axes) is one chunk over the axis, a sequence has one entry an
    axis, of which each may be a sequence of sizes; None and "auto" choose. Raises MetadataError, TypeError.
    """
    if chunks is None or _is_auto(chunks):
        size = 1 if itemsize is None else itemsize
        return guess(shape, size, LARGEST_INNER_CHUNK if sharded else LARGEST_CHUNK)
    return _layout("chunks", chunks, shape, (1,) * len(shape))


def shard_layout(
    shards: Any, shape: tuple[int, ...], inner: tuple[int, ...], itemsize: int | None, target: int | None
) -> Layout:
    """What `shards` says for an array with these inner chunks; `target` is the wanted bytes of a shard for "auto".

    Raises MetadataError where a shard is no multiple of the inner chunks.
    """
    if _is_auto(shards):
        layout: Layout = _guess_shards(shape, inner, 1 if itemsize is None else itemsize, target)
    else:
        layout = _layout("shards", shards, shape, inner)
    for axis, (edges, unit) in enumerate(zip(layout, inner, strict=True)):
        for edge in {edges} if isinstance(edges, int) else set(edges):
            if edge % unit:
                raise MetadataError(
                    f"shards: on axis {axis}, a shard of {edge} is no multiple of its inner chunks of {unit}"
                )
    return layout


def is_regular(layout: Layout) -> bool:
    """Whether every axis has one size."""
    return all(isinstance(edges, int) for edges in layout)


def regular(layout: Layout) -> tuple[int, ...]:
    """The chunk shape of a layout without rectilinear axes."""
    return tuple(edges for edges in layout if isinstance(edges, int))


def grid_of(layout: Layout, shape: tuple[int, ...]) -> Grid:
    """The chunk grid of an array of this shape."""
    if is_regular(layout):
        return RegularGrid(shape, regular(layout))
    return RectilinearGrid(
        shape, tuple(e if isinstance(e, int) else merge_runs((edge, 1) for edge in e) for e in layout)
    )


def guess(shape: tuple[int, ...], itemsize: int, largest: int) -> tuple[int, ...]:
    """A chunk shape for an array of this shape: bigger arrays get bigger chunks, of 128 KiB to `largest` bytes.

    The wanted size is 256 KiB doubled for every factor of ten that the array is larger than 1 MiB. Axes are halved
    in turn until the chunk is below it, or within half of it.
    """
    sizes = [float(max(1, extent)) for extent in shape]  # floats: the rule's roundings are those of doubles
    if not itemsize:
        return tuple(int(size) for size in sizes)
    wanted = 256 * KIB * 2 ** math.log10(math.prod(sizes) * itemsize / MIB)
    wanted = min(max(wanted, SMALLEST_TARGET), largest)
    axis = 0
    while True:
        nbytes = math.prod(sizes) * itemsize
        near = nbytes < wanted or abs(nbytes - wanted) / wanted < 0.5
        if (near and nbytes < largest) or nbytes == itemsize:
            return tuple(int(size) for size in sizes)
        sizes[axis] = float(math.ceil(sizes[axis] / 2))
        axis = (axis + 1) % len(sizes)


def _guess_shards(shape: tuple[int, ...], inner: tuple[int, ...], itemsize: int, target: int | None) -> tuple[int, ...]:
    """Two inner chunks an axis where there are more than eight; with a target, as many (the same number on every
    axis) as fit in it and in the array."""
    if target is None:
        return tuple(unit * 2 if extent // unit > 8 else unit for extent, unit in zip(shape, inner, strict=True))
    nbytes = math.prod(inner) * itemsize
    number = 1
    if inner and nbytes:
        while nbytes * (number + 1) ** len(inner) <= target and all(
            unit * (number + 1) <= extent for extent, unit in zip(shape, inner, strict=True)
        ):
            number += 1
    return tuple(unit * number for unit in inner)


def _layout(what: str, given: Any, shape: tuple[int, ...], units: tuple[int, ...]) -> Layout:
    if given is True or given is None:
        raise MetadataError(f'{what}={given!r} says nothing; give an int, one size an axis, or "auto"')
    size = -1 if given is False else _as_int(given)
    entries: Sequence[Any] = [size] * len(shape) if size is not None else _as_list(what, given)
    if len(entries) != len(shape):
        raise MetadataError(f"{what} has {len(entries)} dimensions but shape has {len(shape)} dimensions")
    return tuple(
        _edges(what, axis, entry, extent, unit)
        for axis, (entry, extent, unit) in enumerate(zip(entries, shape, units, strict=True))
    )


def _edges(what: str, axis: int, entry: Any, extent: int, unit: int) -> Edges:
    size = _as_int(entry)
    if size == -1:
        return unit * max(1, -(-extent // unit))
    if size is not None:
        if size < 1:
            raise MetadataError(
                f"{what}: on axis {axis}, a size must be positive, or -1 for the whole axis; got {size}"
            )
        return size
    sizes = [_as_int(edge) for edge in _as_list(what, entry)]
    edges = tuple(edge for edge in sizes if edge is not None)
    if len(edges) != len(sizes):
        raise TypeError(f"{what}: on axis {axis}, sizes must be integers; got {entry!r}")
    if not edges or min(edges) < 1:
        raise MetadataError(f"{what}: on axis {axis}, there must be sizes, all of them positive; got {list(edges)}")
    if extent and sum(edges) != extent:
        raise MetadataError(f"{what}: on axis {axis}, the sizes sum to {sum(edges)}, but the axis has {extent}")
    return edges


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _as_int(value: Any) -> int | None:
    if getattr(value, "dtype", None) == np.bool_:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _as_list(what: str, value: Any) -> list[Any]:
    if isinstance(value, str | bytes):
        raise MetadataError(f'{what}={value!r} is not known; give an int, one size an axis, or "auto"')
    if not isinstance(value, Iterable):
        raise TypeError(f"{what} must be an int or a sequence of ints; got {value!r} of type {type(value).__name__}")
    return list(value)
