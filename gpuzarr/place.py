"""Chunk to destination, on the host.

`deliver` decodes a wave into the destination. Small chunks that the codec can decode by one call go side by side into
the lane's scratch and from there, block by block, to their places. Others go row by row: where a chunk is whole, and
its part of the destination is contiguous and of the chunk's dtype, it is decoded right there (landing); else into
scratch and copied from it. Chunks that are stored as plain elements are copied from where they were fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
from gpuzarr.waves import Block, BoxWave, Wave

MOST_JOINED = 128 << 10  # bytes of a chunk; a larger one is well worth a call of its own
MOST_PARTLY = 32 << 10  # the same, where little of it is wanted: what nobody wants would push others out of the cache
BATCH = 512 << 10  # decoded bytes that are placed while the processor's cache still holds them


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
    if wave.count > 1 and (_together(chain, wave, encoded, dest, lane) or _strided(chain, wave, encoded, dest)):
        return
    shape, dtype, nbytes = chain.spec.shape, chain.dtype, chain.nbytes
    plain, through = chain.plain, chain.lands and not chain.plain
    lands_here = dest.dtype == dtype
    decode, decode_at = chain.decode, chain.decode_addresses
    room, base, array = encoded.room, encoded.base, np.ndarray
    scratch, scratch_at = None, 0  # taken when it is needed, since an absent chunk may be of any size
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
                if scratch is None:
                    scratch, scratch_at = lane.scratch(shape, dtype)
                decode_at(source, size, scratch_at)
                chunk = scratch
            elif plain and in_room and size == nbytes:
                chunk = array(shape, dtype, room, source - base)
            else:
                chunk = decode(memory_at(source, size) if in_room else source)
            dest[in_dest] = chunk if full else chunk[in_chunk]
    except CorruptChunkError as error:
        raise error.at(name(i)) from error.__cause__


def _together(chain: CodecChain, wave: Wave, encoded: Encoded, dest: np.ndarray[Any, Any], lane: Lane) -> bool:
    """Decode and place small chunks, several at a time; False where they must go one by one, whatever `dest` holds."""
    if chain.decode_joined is None or chain.nbytes is None or chain.nbytes > MOST_JOINED:
        return False
    if (packed := encoded.packed()) is None:
        return False
    if chain.nbytes > MOST_PARTLY and _wants_little(wave.in_chunk[0], chain.spec.size):
        return False
    decode = chain.decode_joined(encoded.room, encoded.base, *packed)
    if decode is None:
        return False
    for blocks in _batches(wave.blocks(), max(1, BATCH // chain.nbytes)):
        first, (last, counts, *_) = blocks[0].first, blocks[-1]
        rows = last + (1 if counts is None else prod(counts)) - first
        chunks, destination = lane.scratch((rows, *chain.spec.shape), chain.dtype)
        if not decode(first, rows, destination):
            return False
        for block in blocks:
            put(chunks, block._replace(first=block.first - first), dest)
    return True


def _wants_little(in_chunk: tuple[Any, ...], size: int) -> bool:
    """Whether of a chunk, which has so many elements, less than half is wanted."""
    wanted = [(i.stop - i.start) // (i.step or 1) if type(i) is slice else np.size(i) for i in in_chunk]
    return 2 * prod(wanted) < size


def _batches(blocks: Iterable[Block], most: int) -> Iterator[list[Block]]:
    """The blocks in groups of at most `most` rows, or one block; larger ones are split along their first axis."""
    batch: list[Block] = []
    held = 0
    for block in (part for whole in blocks for part in whole.split(most)):
        rows = 1 if block.counts is None else prod(block.counts)
        if batch and held + rows > most:
            yield batch
            batch, held = [], 0
        batch.append(block)
        held += rows
    if batch:
        yield batch


def _strided(chain: CodecChain, wave: Wave, encoded: Encoded, dest: np.ndarray[Any, Any]) -> bool:
    """Place uncompressed chunks that lie at even distances; False, with nothing done, where they do not."""
    if not (chain.plain and isinstance(wave, BoxWave)) or (packed := encoded.packed()) is None:
        return False  # of points, every row would be a block, which rows themselves are quicker than
    offsets, sizes = packed
    steps = np.diff(offsets)
    if (sizes != chain.nbytes).any() or (steps != steps[0]).any() or steps[0] < 0:
        return False
    one = np.ndarray(chain.spec.shape, chain.dtype, encoded.room, int(offsets[0]))
    chunks = as_strided(one, (len(offsets), *one.shape), (int(steps[0]), *one.strides))
    for block in wave.blocks():
        put(chunks, block, dest)
    return True


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
