"""Blosc 1 containers of a wave, taken apart: streams for the decoder, copies, and which filter to undo afterwards.

A container is a header of 16 bytes, a table of where each block starts (counted from the container's start), and
the blocks. A block is one stream, or one for each byte of an element, each behind its length in 4 bytes; a stream
as long as its decoded bytes is those bytes. The decoded streams of a block, one behind another, are the block's
bytes after the shuffle filter. Blocks may lie in any order.
Format: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst, and c-blosc where that is silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.codecs.engines.blosc_header import HEADER_SIZE
from gpuzarr.codecs.engines.streams_deflate import ZLIB_HEADER, ZLIB_TRAILER, zlib_checksum, zlib_fit
from gpuzarr.codecs.engines.streams_raw import lz4_fit, snappy_fit
from gpuzarr.codecs.engines.streams_table import MOST, Bools, Integers, Octets, Pieces, Streams, signed32
from gpuzarr.codecs.engines.streams_zstd import zstd_fit
from gpuzarr.devices.scatter import BITSHUFFLE, NO_FILTER, SHUFFLE

_SHUFFLED, _MEMCPYED, _BITSHUFFLED, _RESERVED, _NOT_SPLIT = 0x01, 0x02, 0x04, 0x08, 0x10
_LZ4, _SNAPPY, _ZLIB, _ZSTD = 1, 2, 3, 4
_FORMATS = {_LZ4: "lz4", _SNAPPY: "snappy", _ZLIB: "deflate", _ZSTD: "zstd"}
_CHECKS = {_LZ4: lz4_fit, _SNAPPY: snappy_fit, _ZLIB: zlib_fit}
_MOST_SPLITS, _LEAST_SPLIT = 16, 128
_LEAST_BLOCK = 64


class Filters(NamedTuple):
    """The filter of each chunk of the wave, whose blocks lie one behind another where its streams are decoded to.

    block: bytes of a block, of which the last of a chunk may have fewer; typesize: bytes of an element; filter: 0 for
    none, 1 for the byte shuffle, 2 for the bit shuffle, which leaves blocks alone whose elements do not come in eights.
    Bytes behind a block's last whole element are as they are. All int64.
    """

    block: Integers
    typesize: Integers
    filter: Integers


@dataclass(frozen=True, slots=True)
class BloscWave:
    """The containers of a wave.

    streams: compressed streams into the chunks, one table a format that occurs; stored: copies of uncompressed streams
    into the chunks; plain: copies of whole containers that hold their bytes as they are; filters: what to undo when all
    that is done; unfit: which chunks are left to the CPU, and are in none of the tables.
    """

    streams: tuple[Streams, ...]
    stored: Pieces
    plain: Pieces
    filters: Filters
    unfit: Bools


def split_blosc(encoded: Octets, starts: Any, sizes: Any, nbytes: int, *, trusted: bool = False) -> BloscWave:
    """Take apart Blosc chunks of `nbytes` decoded bytes each.

    Chunk `i` is the `sizes[i]` bytes of `encoded` at `starts[i]`. Header, block table and stream lengths are checked
    always; `trusted` leaves out what is within the streams.
    """
    at, size = np.asarray(starts, np.int64), np.asarray(sizes, np.int64)
    inside = (at >= 0) & (size >= 0) & (size <= len(encoded) - at)
    if not inside.all():
        raise ValueError(f"chunk {int(np.argmin(inside))} lies outside the {len(encoded)} encoded bytes")
    headers = _Headers.read(encoded, at, size, nbytes)
    fit = headers.fit
    plain = np.flatnonzero(fit & headers.memcpyed)
    blocks = _blocks(headers, at, nbytes)
    parts = _lengths(encoded, blocks, headers, at, fit)
    _tile(blocks, parts, headers, fit)
    kind, row = headers.kind[blocks.row[parts.block]], blocks.row[parts.block]
    stored = parts.size == parts.capacity
    zstd = _check(encoded, parts, np.where(stored, 0, kind), row, fit, trusted)
    good = fit[row]
    tables = (
        _streams(encoded, code, parts, row, zstd, np.flatnonzero((kind == code) & ~stored & good)) for code in _FORMATS
    )
    copied = np.flatnonzero(stored & good)
    zeros = np.zeros(len(plain), np.int64)
    return BloscWave(
        tuple(table for table in tables if len(table)),
        Pieces(parts.source[copied], parts.size[copied], row[copied], parts.offset[copied]),
        Pieces(at[plain] + HEADER_SIZE, zeros + nbytes, plain, zeros),
        _filters(headers, nbytes),
        ~fit,
    )


@dataclass(frozen=True, slots=True)
class _Headers:
    """The containers' headers, column by column, and which of them are sound."""

    fit: Bools
    memcpyed: Bools
    flags: Integers
    kind: Integers
    typesize: Integers
    blocksize: Integers
    size: Integers

    @classmethod
    def read(cls, encoded: Octets, at: Integers, size: Integers, nbytes: int) -> _Headers:
        long = size >= HEADER_SIZE
        if not long.any():
            nothing = np.zeros(len(at), np.int64)
            return cls(long, long, nothing, nothing, nothing, nothing, size)
        raw = encoded[np.where(long, at, at[np.argmax(long)])[:, None] + np.arange(HEADER_SIZE)]
        version, inner, flags, typesize = raw[:, :4].T.astype(np.int64)
        decoded, blocksize, length = raw[:, 4:].copy().view("<i4").T.astype(np.int64)
        kind, memcpyed = flags >> 5, flags & _MEMCPYED > 0
        fit = long & (version == 2) & (flags & _RESERVED == 0) & (typesize > 0) & (length == size)
        fit &= (decoded == nbytes) & (0 < nbytes <= MOST - HEADER_SIZE)
        fit &= (blocksize > 0) & (blocksize <= nbytes)
        # The inner format has a version of its own, 1 for every one so far.
        packed = (inner == 1) & (kind >= _LZ4) & (kind <= _ZSTD)
        # Smaller blocks than any writer makes would only blow up the tables.
        packed &= blocksize >= min(_LEAST_BLOCK, nbytes)
        table = HEADER_SIZE + 4 * -(-nbytes // np.maximum(blocksize, 1))
        fit &= np.where(memcpyed, length == nbytes + HEADER_SIZE, packed & (table < size))
        return cls(fit, memcpyed, flags, kind, typesize, blocksize, size)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The blocks of all sound containers, in the order of rows and offsets."""

    row: Integers
    number: Integers
    offset: Integers
    size: Integers
    splits: Integers  # streams in the block
    table: Integers  # bytes of the container before the first block


def _blocks(headers: _Headers, at: Integers, nbytes: int) -> _Blocks:
    rows = np.flatnonzero(headers.fit & ~headers.memcpyed)
    counts = -(-nbytes // headers.blocksize[rows])
    row = np.repeat(rows, counts)
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    full, typesize = headers.blocksize[row], headers.typesize[row]
    offset = number * full
    size = np.minimum(full, nbytes - offset)
    split = (headers.flags[row] & _NOT_SPLIT == 0) & (typesize <= _MOST_SPLITS) & (full // typesize >= _LEAST_SPLIT)
    splits = np.where(split & (size == full), typesize, 1)
    return _Blocks(row, number, offset, size, splits, HEADER_SIZE + 4 * np.repeat(counts, counts))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The streams of the blocks, and for every block where it starts and ends in its container."""

    block: Integers
    source: Integers
    size: Integers
    offset: Integers
    capacity: Integers
    before: Integers
    after: Integers


def _lengths(encoded: Octets, blocks: _Blocks, headers: _Headers, at: Integers, fit: Bools) -> _Parts:
    """Find the streams, each behind its length; takes rows out of `fit` where one lies outside or cannot be."""
    base, length = at[blocks.row], headers.size[blocks.row]
    before = signed32(encoded, base + HEADER_SIZE + 4 * blocks.number)
    place, capacity = before.copy(), blocks.size // blocks.splits
    fit[blocks.row[(before < blocks.table) | (capacity * blocks.splits != blocks.size)]] = False
    found: list[tuple[Integers, ...]] = []
    walking = np.flatnonzero(fit[blocks.row])
    for number in range(int(blocks.splits.max(initial=0))):
        walking = walking[blocks.splits[walking] > number]
        here = place[walking]
        size = signed32(encoded, base[walking] + here)
        # A compressed stream that is longer than its contents is stored by every writer.
        good = (here <= length[walking] - 4) & (size > 0) & (size <= length[walking] - 4 - here)
        good &= size <= capacity[walking]
        fit[blocks.row[walking[~good]]] = False
        walking, here, size = walking[good], here[good], size[good]
        room = capacity[walking]
        found.append((walking, base[walking] + here + 4, size, blocks.offset[walking] + number * room, room))
        place[walking] = here + 4 + size
    if not found:
        found.append((np.zeros(0, np.int64),) * 5)
    order = np.argsort(np.concatenate([columns[0] for columns in found]), kind="stable")  # as they lie in memory
    block, source, encoded_size, offset, room = (np.concatenate(c)[order] for c in zip(*found, strict=True))
    return _Parts(block, source, encoded_size, offset, room, before, place)


def _tile(blocks: _Blocks, parts: _Parts, headers: _Headers, fit: Bools) -> None:
    """Take rows out of `fit` whose blocks do not cover the container from block table to end, each byte once."""
    these = np.flatnonzero(fit[blocks.row])
    row, before, after = blocks.row[these], parts.before[these], parts.after[these]
    opens = np.ones(len(row) + 1, bool)  # where a row of the wave starts, and the end of the last one
    opens[1:-1] = row[1:] != row[:-1]
    if ((before[1:] < before[:-1]) & ~opens[1:-1]).any():
        order = np.lexsort((before, row))
        these, before, after = these[order], before[order], after[order]
    due = np.where(opens[:-1], blocks.table[these], np.roll(after, 1))
    fit[row[before != due]] = False
    fit[row[opens[1:] & (after != headers.size[row])]] = False


def _check(encoded: Octets, parts: _Parts, kind: Integers, row: Integers, fit: Bools, trusted: bool) -> Integers:
    """Take rows out of `fit` that have a stream which cannot be what it should be; gives zstd streams' blocks and
    checksums, one column each.

    `kind` is the streams' format, 0 for those that need no look.
    """
    zstd = np.zeros((2, len(kind)), np.int64)
    for code, check in () if trusted else _CHECKS.items():
        these = np.flatnonzero((kind == code) & fit[row])
        good = check(encoded, parts.source[these], parts.size[these], parts.capacity[these])
        fit[row[these[~good]]] = False
    these = np.flatnonzero((kind == _ZSTD) & fit[row])
    good, zstd[0, these], zstd[1, these] = zstd_fit(
        encoded, parts.source[these], parts.size[these], parts.capacity[these], trusted=trusted
    )
    fit[row[these[~good]]] = False
    return zstd


def _streams(encoded: Octets, code: int, parts: _Parts, row: Integers, zstd: Integers, these: Integers) -> Streams:
    source, size = parts.source[these], parts.size[these]
    checksum = zstd[1, these] if code == _ZSTD else np.full(len(these), -1, np.int64)
    if code == _ZLIB:
        checksum = zlib_checksum(encoded, source, size)
        source, size = source + ZLIB_HEADER, size - ZLIB_HEADER - ZLIB_TRAILER
    columns = (row[these], parts.offset[these], parts.capacity[these], checksum, zstd[0, these])
    return Streams(_FORMATS[code], source, size, *columns)


def _filters(headers: _Headers, nbytes: int) -> Filters:
    """The filters of sound containers, and none for others."""
    filtered, flags = headers.fit & ~headers.memcpyed, headers.flags
    # Byte shuffle wins where both are set.
    octets = filtered & (flags & _SHUFFLED > 0) & (headers.typesize > 1)
    bits = filtered & ~octets & (flags & _BITSHUFFLED > 0)
    filter = np.where(octets, SHUFFLE, np.where(bits, BITSHUFFLE, NO_FILTER))
    none = filter == NO_FILTER
    return Filters(np.where(none, nbytes, headers.blocksize), np.where(none, 1, headers.typesize), filter)
