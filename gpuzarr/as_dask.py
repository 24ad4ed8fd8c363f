"""A stored array as a dask array (https://docs.dask.org/en/stable/array.html): its blocks, its graph, its elements.

Blocks are whole units of writing (shards, or chunks) unless the caller says otherwise, so that a result of the same
blocks can be written without two tasks in one unit. Blocks of an array on a GPU are arrays of that GPU.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from gpuzarr.blocks import Lengths, check_count, filled, unit_lengths
from gpuzarr.doors import ArrayDoors
from gpuzarr.extras import load
from gpuzarr.facts import ArrayFacts


def as_dask(
    array: ArrayDoors, chunks: Any = None, *, name: str | bool | None = None, inline_array: bool = False
) -> Any:
    """A `dask.array.Array` over `array`, which reads a block when it is computed.

    `chunks`: None for a block each unit; "auto", or bytes ("64 MiB"), for as many units as dask's `array.chunk-size` or
    these bytes hold, also along single axes; else as `dask.array.from_array` takes them. `name`: None for one that is
    made of where the array lies and its metadata, so that equal arrays share their blocks; False for one that nothing
    shares, as is needed where chunks change while dask keeps results of them.
    """
    _teach_the_emulated_device()
    blocks = block_lengths(array, chunks)
    if name is None:
        name = f"from-zarr-{load('dask.base', 'dask').tokenize(array, blocks)}"
    elif name is False:
        name = f"from-zarr-{os.urandom(16).hex()}"
    device = array._stored.device
    # What a device gives is in its own byte order, so the array that stands for all blocks comes from there.
    meta = device.empty((0,) * array.ndim, array._stored.chain.dtype)
    core = load("dask.array.core", "dask")
    on_host = device.kind == "cpu"
    # Of no axes an array on the host gives a scalar, of which dask could not tell the data type; a view knows it.
    source = array if array.ndim or not on_host else array.lazy[()]
    graph = core.graph_from_arraylike(
        source, blocks, array.shape, name, asarray=on_host, dtype=meta.dtype, inline_array=inline_array
    )
    return core.Array(graph, name, blocks, meta=meta)


@cache
def _teach_the_emulated_device() -> None:
    """Let dask count elements there, as means and deviations do, and sort blocks by indices of the host; for CuPy it
    knows how to."""
    kind = import_module("gpuzarr.devices.emulated_array").EmulatedArray
    dispatch = load("dask.array.dispatch", "dask")
    dispatch.numel_lookup.register(kind, lambda x, **how: np.ones_like(x).sum(**how))
    dispatch.take_lookup.register(kind, lambda x, indices, axis: x[(slice(None),) * axis + (indices,)])


def block_lengths(array: ArrayFacts, chunks: Any) -> Lengths:
    """The lengths of the blocks that `chunks` asks for. ValueError where they do not fit, LimitError for too many."""
    if chunks is None:
        return tuple(along or (0,) for along in unit_lengths(array.write_grid))
    if isinstance(chunks, dict):
        chunks = tuple(chunks.get(axis, -1) for axis in range(array.ndim))
    entries = tuple(chunks) if isinstance(chunks, tuple | list) else (chunks,) * array.ndim
    for size, entry in zip(array.shape, entries, strict=False):
        if isinstance(entry, int) and entry > 0:
            check_count(size, size // entry)
    sizes = {axis: entry for axis, entry in enumerate(entries) if isinstance(entry, str)}
    normalize = load("dask.array.core", "dask").normalize_chunks
    if not sizes:
        lengths: Lengths = normalize(chunks, array.shape)
        return lengths
    if len(entries) != array.ndim:
        raise ValueError(f"chunks: expected an entry for each of {array.ndim} axes, got {chunks!r}")
    settled = normalize(tuple(-1 if axis in sizes else entry for axis, entry in enumerate(entries)), array.shape)
    given = {axis: along for axis, along in enumerate(settled) if axis not in sizes}
    itemsize = array.metadata.data_type.itemsize or array.dtype.itemsize
    return tuple(along or (0,) for along in filled(array.write_grid, given, _bytes_of(set(sizes.values())), itemsize))


def _bytes_of(sizes: set[str]) -> int:
    """The one size of a block that these entries agree on; "auto" is dask's."""
    limits = sizes - {"auto"} or {load("dask.config", "dask").get("array.chunk-size")}
    if len(limits) > 1:
        raise ValueError(f"chunks: expected one size in bytes for a block, got {sorted(limits)}")
    return int(load("dask.utils", "dask").parse_bytes(limits.pop()))
