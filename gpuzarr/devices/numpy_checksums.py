"""NumPy equals of the kernels for checksums (`crc32.cu`, `adler32.cu`, `xxh64.cu`)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from gpuzarr.devices.numpy_memory import Array, bytes_at, columns_at, inside, table_at

SEGMENT = 1024  # bytes that one thread of `crc32.cu` or `adler32.cu` sums up
ADLER = 65521

_PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
_WORD = (1 << 64) - 1


def _ranges(table: int, rows: int, count: int, limit: int, source_bytes: int) -> Iterator[tuple[int, int, int] | None]:
    """(row, offset, size) of the first `count` rows; None for one that lies outside or has more than `limit` bytes."""
    for row, (start, size) in enumerate(columns_at(table, 2, rows).T[:count].tolist()):
        yield (row, start, size) if inside(start, size, source_bytes) and size <= limit else None


def crc32c_rows(items: int, span: int, table: int, rows: int, source: int, source_bytes: int, sums: int) -> int:
    """See `crc32.cu`."""
    from google_crc32c import value  # a C library, loaded when first used

    refused, found = 0, bytes_at(sums, rows * 4).view(np.uint32)
    for taken in _ranges(table, rows, items // span, span * SEGMENT, source_bytes):
        if taken is None:
            refused += 1
        else:
            found[taken[0]] ^= value(bytes_at(source + taken[1], taken[2]).tobytes())
    return refused


def crc32_rows(items: int, span: int, table: int, rows: int, source: int, source_bytes: int, sums: int) -> int:
    """See `crc32.cu`."""
    refused, found = 0, bytes_at(sums, rows * 4).view(np.uint32)
    for taken in _ranges(table, rows, items // span, span * SEGMENT, source_bytes):
        if taken is None:
            refused += 1
        else:
            found[taken[0]] ^= zlib.crc32(bytes_at(source + taken[1], taken[2]).tobytes())
    return refused


def adler32_rows(items: int, span: int, table: int, rows: int, source: int, source_bytes: int, sums: int) -> int:
    """See `adler32.cu`. The sums are those of the kernel to the last bit: its segments and remainders, too."""
    refused, found = 0, table_at(sums, rows, 2)
    for taken in _ranges(table, rows, items // span, span * SEGMENT, source_bytes):
        if taken is None:
            refused += 1
            continue
        row, start, size = taken
        segments = max(1, -(-size // SEGMENT))
        data = np.zeros((segments, SEGMENT), np.int64)
        data.reshape(-1)[:size] = bytes_at(source + start, size)
        ends = np.minimum(np.arange(1, segments + 1) * SEGMENT, size)
        lengths = np.diff(ends, prepend=0)
        low = data.sum(axis=1)
        high = (data * np.maximum(lengths[:, None] - np.arange(SEGMENT), 0)).sum(axis=1)
        low[0] += 1
        high[0] += lengths[0]
        found[row, 0] += np.uint64((low % ADLER).sum())
        found[row, 1] += np.uint64(((high + low % ADLER * ((size - ends) % ADLER)) % ADLER).sum())
    return refused


def adler32(sums: Array) -> Array:
    """The checksums, of the (rows, 2) sums of `adler32_rows`."""
    low, high = (sums % np.uint64(ADLER)).T
    found: Array = high << np.uint64(16) | low
    return found


def xxh64_rows(items: int, table: int, rows: int, source: int, source_bytes: int, sums: int) -> int:
    """See `xxh64.cu`."""
    refused, found = 0, bytes_at(sums, rows * 8).view(np.uint64)
    for taken in _ranges(table, rows, items, _WORD, source_bytes):
        if taken is None:
            refused += 1
        else:
            found[taken[0]] = xxh64(bytes_at(source + taken[1], taken[2]).tobytes())
    return refused


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md)."""
    one, two, three, four, five = _PRIMES
    size, stripes = len(data), len(data) // 32
    total = five
    if stripes:
        lanes = [one + two & _WORD, two, 0, -one & _WORD]
        words = np.frombuffer(data, "<u8", 4 * stripes).tolist()
        for i in range(0, len(words), 4):
            lanes = [_mixed(lane, word) for lane, word in zip(lanes, words[i : i + 4], strict=True)]
        total = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _WORD
        for lane in lanes:
            total = ((total ^ _mixed(0, lane)) * one + four) & _WORD
    total = total + size & _WORD
    for at in range(32 * stripes, size - 7, 8):
        total = (_rotated(total ^ _mixed(0, int.from_bytes(data[at : at + 8], "little")), 27) * one + four) & _WORD
    at = size - size % 8
    if size - at >= 4:
        word = int.from_bytes(data[at : at + 4], "little")
        total = (_rotated(total ^ word * one & _WORD, 23) * two + three) & _WORD
        at += 4
    for byte in data[at:]:
        total = _rotated(total ^ byte * five & _WORD, 11) * one & _WORD
    total = (total ^ total >> 33) * two & _WORD
    total = (total ^ total >> 29) * three & _WORD
    return total ^ total >> 32


def _rotated(x: int, by: int) -> int:
    return (x << by | x >> 64 - by) & _WORD


def _mixed(total: int, word: int) -> int:
    return _rotated(total + word * _PRIMES[1] & _WORD, 31) * _PRIMES[0] & _WORD
