"""Chunk to destination, on the host.

`deliver` decodes a wave row by row into the destination. Where a chunk is whole, and its part of the destination
is contiguous and of the chunk's dtype, it is decoded right there (landing); else into the lane's scratch and
copied from it. Chunks that are stored as plain elements are copied from where they were fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.engines.memory import address, memory_at
from gpuzarr.devices import Lane
from gpuzarr.errors import ChunkNotFoundError, CorruptChunkError
from gpuzarr.fetch import Encoded
from gpuzarr.plan import Wave


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
    shape, dtype, nbytes = chain.spec.shape, chain.dtype, chain.nbytes
    plain, through = chain.plain, chain.lands and not chain.plain
    lands_here = dest.dtype == dtype
    decode, decode_at = chain.decode, chain.decode_addresses
    room, base, array = encoded.room, encoded.base, np.ndarray
    if through:
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


def move(chunk: Any, in_chunk: tuple[Any, ...], in_dest: tuple[Any, ...], dest: Any, lane: Lane) -> None:
    """Copy a part of a decoded chunk to its place in `dest`."""
    dest[in_dest] = chunk[in_chunk]
