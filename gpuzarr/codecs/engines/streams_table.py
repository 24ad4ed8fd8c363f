"""Tables of streams, and reading small numbers out of many places of a wave at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np

Octets: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

ZSTD_BLOCK = 128 << 10  # the most bytes that a zstd block decodes to
MOST = 2**31 - 1  # bytes of a stream, encoded or decoded: nvCOMP's least limit over the formats (zstd, snappy)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Plain copies, one a row of the table.

    source: where the bytes start in the wave's encoded bytes; size: how many; row: which chunk of the wave they
    belong to; offset: where they go, counted from the start of that chunk's decoded bytes (or of its place in the
    staging area). All int64.
    """

    source: Integers
    size: Integers
    row: Integers
    offset: Integers

    def __len__(self) -> int:
        return len(self.source)

    def where(self, chosen: Any) -> Self:
        """The copies that a mask, an index array or a slice chooses."""
        return type(self)(*(column[chosen] for column in (self.source, self.size, self.row, self.offset)))


@dataclass(frozen=True, slots=True)
class Streams:
    """Compressed streams of one format ("zstd", "lz4", "gzip", "deflate", "snappy"), one a row of the table.

    source, size: the stream within the wave's encoded bytes; row: which chunk of the wave it belongs to; offset:
    where its decoded bytes go, counted from the start of that chunk's decoded bytes (or of its place in the staging
    area); capacity: how many decoded bytes there must be; checksum: of the decoded bytes, as the stream tells it
    (Adler-32 for "deflate", CRC-32 for "gzip", 32 bits of XXH64 for "zstd"), -1 where there is none; blocks: how many
    the stream has, for zstd, whose scratch memory goes by them, else 0. All int64. nvCOMP is not known to verify the
    checksum, so that is left to who decodes.
    """

    format: str
    source: Integers
    size: Integers
    row: Integers
    offset: Integers
    capacity: Integers
    checksum: Integers
    blocks: Integers

    def __len__(self) -> int:
        return len(self.source)

    def where(self, chosen: Any) -> Self:
        """The streams that a mask, an index array or a slice chooses."""
        columns = (self.source, self.size, self.row, self.offset, self.capacity, self.checksum, self.blocks)
        return type(self)(self.format, *(column[chosen] for column in columns))

    @property
    def scratch_total(self) -> int:
        """Decoded bytes to ask for scratch memory with.

        nvCOMP counts 3 bytes for each and 6,936 for each block of 128 KiB. Writers split blocks further where the
        data change, so the streams' true number of blocks is made room for.
        """
        foreseen = -(-self.capacity // ZSTD_BLOCK)
        return int(self.capacity.sum()) + 2312 * int(np.maximum(self.blocks - foreseen, 0).sum())

    def aligned(self, alignment: int) -> tuple[Integers, int]:
        """Starts for copies of the streams at multiples of `alignment`, and the bytes that they take in all."""
        steps = -(-self.size // alignment) * alignment
        ends = np.cumsum(steps)
        return ends - steps, int(ends[-1]) if len(ends) else 0


def unsigned(encoded: Octets, at: Integers, width: int) -> Integers:
    """The little-endian unsigned numbers of 1, 2, 4 or 8 bytes at these places, as int64.

    Bytes behind the end of `encoded` count as zeros, places before its start as the start: the caller checks
    places against lengths and drops what it read from wrong ones. Numbers of 2^63 and above come out negative.
    """
    if len(encoded) < width:
        encoded = np.concatenate([encoded, np.zeros(width, np.uint8)])
    last = len(encoded) - width
    # Overlapping numbers, one at every byte: NumPy reads the unaligned ones that are asked for, and no others.
    numbers = np.ndarray((last + 1,), f"<u{width}", encoded, 0, (1,))
    if not len(at) or (at.min() >= 0 and at.max() <= last):
        return numbers[at].astype(np.int64)
    inside = np.clip(at, 0, last)
    over = at - inside
    shift = (8 * np.clip(over, 0, 7)).astype(np.uint64)
    return np.where(over < width, numbers[inside].astype(np.uint64) >> shift, np.uint64(0)).astype(np.int64)


def signed32(encoded: Octets, at: Integers) -> Integers:
    """As `unsigned`, for signed numbers of 4 bytes."""
    return unsigned(encoded, at, 4).astype(np.int32).astype(np.int64)
