"""Chunk to destination, on the host.

`deliver` decodes a wave into the destination. Small chunks that the codec can decode by one call go side by side into
the lane's scratch and from there, block by block, to their places. Others go row by row: where a chunk is whole, and
its part of the destination is contiguous and of the chunk's dtype, it is decoded right there (landing); else into
scratch and copied from it. Chunks that are stored as plain elements are copied from where they were fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.engines.memory import address, memory_at
from gpuzarr.devices import Lane
from gpuzarr.errors import ChunkNotFoundError, CorruptChunkError
from gpuzarr.fetch import Encoded
from gpuzarr.plan import Block, Wave


def deliver(
    chain: CodecChain,
    wave: Wave,
    name: Callable[[int], str],
    encoded: Encoded,
    dest: np.ndarray[Any, Any],
    fill: Any,
    lane: Lane,
    missing_is_error: bool = False,
) -> None:
    """Decode the rows of a wave into `dest`. `name` of a row is for errors."""
    if wave.count > 1 and (chunks := _side_by_side(chain, encoded, lane)) is not None:
        for block in wave.blocks():
            put(chunks, block, dest)
        return
    shape, dtype, nbytes = chain.spec.shape, chain.dtype, chain.nbytes
    plain, through = chain.plain, chain.lands and not chain.plain
    lands_here = dest.dtype == dtype
    decode, decode_at = chain.decode, chain.decode_addresses
    room, base, array = encoded.room, encoded.base, np.ndarray
    if through and any(source is not None for source in encoded.sources):  # an absent chunk may be of any size
        scratch, scratch_at = lane.scratch(shape, dtype)
    i = -1
    try:
        for source, size, in_chunk, in_dest, full in zip(
            encoded.sources, encoded.sizes, wave.in_chunk, wave.in_dest, wave.full, strict=True
        ):
            i += 1
            if source is None:
                if missing_is_error:
                    raise ChunkNotFoundError(f"chunk {name(i)!r} is not in the store")
                dest[in_dest] = fill
                continue
            in_room = type(source) is int
            if through:
                if not in_room:
                    source = address(source)
                if full and lands_here and (target := dest[in_dest]).flags.c_contiguous:
                    decode_at(source, size, target.__array_interface__["data"][0])
                    continue
                decode_at(source, size, scratch_at)
                chunk = scratch
            elif plain and in_room and size == nbytes:
                chunk = array(shape, dtype, room, source - base)
            else:
                chunk = decode(memory_at(source, size) if in_room else source)
            dest[in_dest] = chunk if full else chunk[in_chunk]
    except CorruptChunkError as error:
        raise error.at(name(i)) from error.__cause__


def _side_by_side(chain: CodecChain, encoded: Encoded, lane: Lane) -> np.ndarray[Any, Any] | None:
    """The decoded chunks of a wave, one behind another; None where they must go one by one."""
    if not chain.plain and chain.decode_joined is None:
        return None
    if (packed := encoded.packed()) is None:
        return None
    offsets, sizes = packed
    shape, dtype, count = chain.spec.shape, chain.dtype, len(offsets)
    if chain.decode_joined is not None:
        chunks, destination = lane.scratch((count, *shape), dtype)
        return chunks if chain.decode_joined(encoded.room, encoded.base, offsets, sizes, destination) else None
    steps = np.diff(offsets)
    if (sizes != chain.nbytes).any() or (steps != steps[0]).any() or steps[0] < 0:
        return None
    one = np.ndarray(shape, dtype, encoded.room, int(offsets[0]))
    return as_strided(one, (count, *shape), (int(steps[0]), *one.strides))


def put(chunks: np.ndarray[Any, Any], block: Block, dest: np.ndarray[Any, Any]) -> None:
    """Copy the parts of a block's chunks to their places in `dest`."""
    first, counts, in_chunk, in_dest = block
    if counts is None:
        dest[in_dest] = chunks[first][in_chunk]
        return
    ndim = len(counts)
    parts = chunks[(slice(first, first + prod(counts)), *in_chunk)]
    parts = parts.reshape(*counts, *parts.shape[1:]).transpose(_interleaved(ndim))
    dest[in_dest].reshape(parts.shape)[...] = parts


@cache
def _interleaved(ndim: int) -> tuple[int, ...]:
    """The order of axes that brings the numbers of chunks and the elements in a chunk together, axis by axis."""
    return tuple([i + k * ndim for i in range(ndim) for k in (0, 1)])


def move(chunk: Any, in_chunk: tuple[Any, ...], in_dest: tuple[Any, ...], dest: Any, lane: Lane) -> None:
    """Copy a part of a decoded chunk to its place in `dest`."""
    dest[in_dest] = chunk[in_chunk]
