"""The compressors on the host: called directly where they can be, through numcodecs elsewhere. Chosen once."""

from __future__ import annotations

from functools import cache

from gpuzarr.codecs.engines import native, portable


@cache
def zstd() -> native.Zstd | portable.Zstd:
    """Zstandard."""
    return native.Zstd.find() or portable.Zstd()


@cache
def blosc() -> native.Blosc | portable.Blosc:
    """Blosc 1."""
    return native.Blosc.find() or portable.Blosc()


@cache
def lz4() -> native.Lz4 | portable.Lz4:
    """LZ4 blocks."""
    return native.Lz4.find() or portable.Lz4()


@cache
def crc32c() -> native.Crc32c | portable.Crc32c:
    """CRC-32C."""
    return native.Crc32c.find() or portable.Crc32c()
