"""Chunk to destination, and source to chunk, on the host.

`deliver` decodes a wave row by row into the destination. Where a chunk is whole, and its part of the destination
is contiguous and of the chunk's dtype, it is decoded right there (landing); else into the lane's scratch and
copied from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.devices import Lane
from gpuzarr.errors import ChunkNotFoundError, CorruptChunkError
from gpuzarr.fetch import Encoded
from gpuzarr.plan import Wave

BYTES = np.dtype(np.uint8)


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
    spec = chain.spec
    lands = chain.lands
    lands_here = lands and dest.dtype == spec.dtype
    scratch, flat = _scratch(lane, chain) if lands else (None, None)
    decode, decode_into = chain.decode, chain.decode_into
    i = -1
    try:
        for data, in_chunk, in_dest, full in zip(encoded, wave.in_chunk, wave.in_dest, wave.full, strict=True):
            i += 1
            if data is None:
                if missing_is_error:
                    raise ChunkNotFoundError(f"chunk {name(i)!r} is not in the store")
                dest[in_dest] = fill
            elif not lands:
                chunk = decode(data)
                dest[in_dest] = chunk if full else chunk[in_chunk]
            elif not full:
                decode_into(data, flat)
                dest[in_dest] = scratch[in_chunk]  # type: ignore[index]
            else:
                target = dest[in_dest] if lands_here else scratch
                if lands_here and target.flags.c_contiguous:
                    decode_into(data, target.reshape(-1).view(BYTES))
                else:
                    decode_into(data, flat)
                    dest[in_dest] = scratch
    except CorruptChunkError as error:
        raise error.at(name(i)) from error.__cause__


def _scratch(lane: Lane, chain: CodecChain) -> tuple[np.ndarray[Any, Any], Any]:
    spec = chain.spec
    chunk, _ = lane.scratch(spec.shape, spec.dtype)
    return chunk, chunk.reshape(-1).view(BYTES)


def is_fill(chunk: np.ndarray[Any, Any], fill: Any) -> bool:
    """Whether every element of `chunk` is the fill value, bit for bit (so -0.0 is not 0.0, and NaN is NaN)."""
    if chunk.size == 0:
        return True
    if chunk.dtype.kind in "OT":
        return bool((chunk == fill).all())
    one = np.asarray(fill, dtype=chunk.dtype)
    size = chunk.dtype.itemsize
    if size == 0:
        return True
    if chunk[(0,) * chunk.ndim].tobytes() != one.tobytes():
        return False
    if size in (1, 2, 4, 8):
        word = f"u{size}"
        return bool((chunk.view(word) == one.view(word)).all())
    return np.ascontiguousarray(chunk).tobytes() == one.tobytes() * chunk.size
