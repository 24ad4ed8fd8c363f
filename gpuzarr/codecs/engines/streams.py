"""The encoded chunks of a wave, as the compressed streams that a GPU decoder takes: tables out of bytes.

nvCOMP takes raw streams and sizes, and believes them: "corrupt, invalid or insufficient data leads to undefined
behavior" for every format but LZ4. So each chunk is taken apart and checked on the host first, all chunks of a wave
at once with NumPy, and only what the format lets us prove goes on. Chunks that do not pass are not condemned here:
they are *unfit*, which means that the CPU decodes them, and says what is wrong where something is.

What is proved for streams that pass, without decoding them:

- zstd: one frame of exactly the expected size, no dictionary; every block header up to the end of the stream; in
  every compressed block the sections and their sizes; the block sizes allow the expected size (RFC 8878).
- gzip: one plain header, the size in the trailer, the first blocks' headers, stored blocks in full (RFC 1952, 1951).
- zlib: as gzip, but nothing in the stream tells its length or decoded size. A stream that stands alone (`split_zlib`)
  is therefore unfit unless it is trusted to be whole; within Blosc the container tells both.
- lz4: the size prefix, possible sizes and the first sequence. The rest nvCOMP checks itself, and reports.
- snappy: the size prefix, possible sizes, the first element.
- blosc: header, block table, every stream's length; the blocks cover the container without gap or overlap; then every
  stream by its format.

What nobody can prove without decoding: that entropy-coded bits are undamaged. Checksums of the contents need the
contents, too: those of gzip, zlib and zstd are in the table for whoever decodes. `trusted=True` is for bytes that a
user vouches for: only what is needed to find the streams, and to see that the expected size comes out, is looked at
then. A checksum around them is no such word, since whoever makes bytes can make their checksum; but it tells that a
zlib stream is whole, and `split_zlib`, which looks at the same of it either way, is trusted with that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.codecs.engines.streams_blosc import BloscWave, Filters, split_blosc
from gpuzarr.codecs.engines.streams_deflate import gzip_checksum, gzip_fit, zlib_checksum, zlib_fit
from gpuzarr.codecs.engines.streams_raw import lz4_fit
from gpuzarr.codecs.engines.streams_table import MOST, Bools, Integers, Octets, Pieces, Streams, unsigned
from gpuzarr.codecs.engines.streams_zstd import zstd_fit

__all__ = [
    "BloscWave", "Filters", "Pieces", "Streams", "split_blosc", "split_gzip", "split_lz4", "split_zlib", "split_zstd",
]  # fmt: skip


def split_zstd(
    encoded: Octets, starts: Integers, sizes: Integers, nbytes: int, *, trusted: bool = False
) -> tuple[Streams, Bools]:
    """The streams of zstd chunks, and which chunks are unfit.

    Chunk `i` is the `sizes[i]` bytes of `encoded` at `starts[i]` and has `nbytes` decoded bytes.
    """
    at, size, expected, possible = _chunks(encoded, starts, sizes, nbytes)
    fit, blocks, checksum = zstd_fit(encoded, at, size, expected, trusted=trusted)
    fit &= possible
    return _one_each("zstd", at, size, nbytes, fit, checksum=checksum, blocks=blocks), ~fit


def split_lz4(
    encoded: Octets, starts: Integers, sizes: Integers, nbytes: int, *, trusted: bool = False
) -> tuple[Streams, Bools]:
    """As `split_zstd`, for a 4-byte size and one LZ4 block (numcodecs' LZ4)."""
    at, size, expected, possible = _chunks(encoded, starts, sizes, nbytes)
    fit = possible & (size > 4) & (unsigned(encoded, at, 4) == nbytes)
    if not trusted:
        fit &= lz4_fit(encoded, at + 4, size - 4, expected)
    return _one_each("lz4", at + 4, size - 4, nbytes, fit), ~fit


def split_gzip(
    encoded: Octets, starts: Integers, sizes: Integers, nbytes: int, *, trusted: bool = False
) -> tuple[Streams, Bools]:
    """As `split_zstd`, for gzip chunks of one member."""
    at, size, expected, possible = _chunks(encoded, starts, sizes, nbytes)
    fit = possible & gzip_fit(encoded, at, size, expected, trusted=trusted)
    return _one_each("gzip", at, size, nbytes, fit, checksum=gzip_checksum(encoded, at, size)), ~fit


def split_zlib(
    encoded: Octets, starts: Integers, sizes: Integers, nbytes: int, *, trusted: bool = False
) -> tuple[Streams, Bools]:
    """As `split_zstd`, for zlib chunks; none is fit unless they are trusted (see above).

    The streams are raw Deflate ones, without zlib's header and trailer. nvCOMP may want their sources aligned.
    """
    at, size, expected, possible = _chunks(encoded, starts, sizes, nbytes)
    fit = possible & zlib_fit(encoded, at, size, expected) if trusted else np.zeros(len(at), bool)
    return _one_each("deflate", at + 2, size - 6, nbytes, fit, checksum=zlib_checksum(encoded, at, size)), ~fit


def _chunks(encoded: Octets, starts: Any, sizes: Any, nbytes: int) -> tuple[Integers, Integers, Integers, Bools]:
    """Starts, sizes and decoded sizes as int64 columns, and which chunks can have a stream at all."""
    at, size = np.asarray(starts, np.int64), np.asarray(sizes, np.int64)
    inside = (at >= 0) & (size >= 0) & (size <= len(encoded) - at)
    if not inside.all():
        raise ValueError(f"chunk {int(np.argmin(inside))} lies outside the {len(encoded)} encoded bytes")
    possible = (size > 0) & (size <= MOST) & (0 < nbytes <= MOST)
    return at, size, np.full(len(at), nbytes, np.int64), possible


def _one_each(
    format: str,
    at: Integers,
    size: Integers,
    nbytes: int,
    fit: Bools,
    *,
    checksum: Integers | None = None,
    blocks: Integers | None = None,
) -> Streams:
    row = np.flatnonzero(fit)
    zeros = np.zeros(len(row), np.int64)
    told = zeros - 1 if checksum is None else checksum[row]
    return Streams(
        format, at[row], size[row], row, zeros, zeros + nbytes, told, zeros if blocks is None else blocks[row]
    )
