"""What can be told of gzip and zlib data without decoding them (RFC 1950, 1951, 1952)."""

from __future__ import annotations

import numpy as np

from gpuzarr.codecs.engines.streams_table import Bools, Integers, Octets, unsigned

GZIP_HEADER, GZIP_TRAILER = 10, 8
ZLIB_HEADER, ZLIB_TRAILER = 2, 4
_LEAST_STORED = 8192  # bytes that writers put into a stored block, but for the last
_EXPANSION = 1032  # a Deflate byte becomes at most so many


def gzip_fit(encoded: Octets, at: Integers, size: Integers, nbytes: Integers, *, trusted: bool = False) -> Bools:
    """Which are one gzip member of `nbytes` bytes with a header of ten bytes (no name, comment or extra field)."""
    end = at + size
    fit: Bools = size >= GZIP_HEADER + 2 + GZIP_TRAILER
    fit &= (unsigned(encoded, at, 4) == 0x00088B1F) & (unsigned(encoded, end - 4, 4) == nbytes)
    if not trusted:
        fit &= _deflate_fit(encoded, at + GZIP_HEADER, size - GZIP_HEADER - GZIP_TRAILER, nbytes, fit)
    return fit


def gzip_checksum(encoded: Octets, at: Integers, size: Integers) -> Integers:
    """CRC-32 of the contents, from the trailer."""
    return unsigned(encoded, at + size - GZIP_TRAILER, 4)


def zlib_checksum(encoded: Octets, at: Integers, size: Integers) -> Integers:
    """Adler-32 of the contents, from the trailer; the one number that lies with its high byte first."""
    return unsigned(encoded, at + size - ZLIB_TRAILER, 4).astype(np.uint32).byteswap().astype(np.int64)


def zlib_fit(encoded: Octets, at: Integers, size: Integers, nbytes: Integers, *, trusted: bool = False) -> Bools:
    """Which can be a zlib stream of `nbytes` bytes without a preset dictionary."""
    method, flags = unsigned(encoded, at, 1), unsigned(encoded, at + 1, 1)
    fit: Bools = (size >= ZLIB_HEADER + 2 + ZLIB_TRAILER) & (method & 0x0F == 8) & (method >> 4 <= 7)
    fit &= (flags & 0x20 == 0) & ((method * 256 + flags) % 31 == 0)
    if not trusted:
        fit &= _deflate_fit(encoded, at + ZLIB_HEADER, size - ZLIB_HEADER - ZLIB_TRAILER, nbytes, fit)
    return fit


def _deflate_fit(encoded: Octets, at: Integers, size: Integers, nbytes: Integers, wanted: Bools) -> Bools:
    """Which of the wanted can be a Deflate stream of `nbytes` bytes: possible sizes, and its blocks as far as they
    start at a known bit: stored ones, and the first of another kind."""
    # Each stored block has five bytes before at most 65,535; writers use smaller ones too, hence the slack.
    fit: Bools = wanted & (nbytes <= _EXPANSION * size) & (size <= nbytes + nbytes // 64 + 64)
    place, left, walking = at.copy(), nbytes.copy(), np.flatnonzero(fit)
    # Many more blocks than writers make would only keep us walking.
    for _ in range(int(nbytes.max(initial=0)) // _LEAST_STORED + 64):
        if not len(walking):
            break
        here = place[walking]
        end = (at + size)[walking]
        header = unsigned(encoded, here, 1)
        last, kind = (header & 1).astype(bool), header >> 1 & 3
        length, complement = unsigned(encoded, here + 1, 2), unsigned(encoded, here + 3, 2)
        after = here + 5 + length
        stored = (kind == 0) & (after <= end) & (length ^ complement == 0xFFFF) & (length <= left[walking])
        stored &= np.where(last, (after == end) & (length == left[walking]), after + 2 <= end)
        fixed = (kind == 1) & (here + 2 <= end)
        fit[walking] = stored | fixed | ((kind == 2) & _dynamic_fit(encoded, here, end))
        place[walking], left[walking] = after, left[walking] - length
        walking = walking[stored & ~last]
    fit[walking] = False
    return fit


def _dynamic_fit(encoded: Octets, at: Integers, end: Integers) -> Bools:
    """Which blocks have a possible head of a dynamic Huffman block: counts of codes, and a code for their lengths
    that is neither too full nor empty (the decoder wants it complete)."""
    bits = unsigned(encoded, at, 8)  # 3 bits of header, 5 + 5 + 4 of counts, then 3 a length: 74 bits at most
    tail = unsigned(encoded, at + 8, 2)
    literals, distances, lengths = bits >> 3 & 31, bits >> 8 & 31, (bits >> 13 & 15) + 4
    room = np.zeros(len(at), np.int64)
    for i in range(19):
        shift = 17 + 3 * i
        field = bits >> shift & 7 if shift <= 60 else (bits >> 62 & 3 | tail << 2) >> (shift - 62) & 7
        room += np.where((i < lengths) & (field > 0), 128 >> field, 0)
    fit: Bools = (at + (17 + 3 * lengths + 7) // 8 <= end) & (literals <= 29) & (distances <= 29) & (room == 128)
    return fit
