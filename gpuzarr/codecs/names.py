"""Names of codec arguments, for programs written with zarr-python's enumerations; plain strings do as well."""

from __future__ import annotations

from enum import StrEnum

from gpuzarr.codecs.sharding_indexed import WriteOrder as SubchunkWriteOrder

__all__ = ["BloscCname", "BloscShuffle", "Endian", "ShardingCodecIndexLocation", "SubchunkWriteOrder"]


class BloscCname(StrEnum):
    """Compressors inside of Blosc."""

    lz4 = "lz4"
    lz4hc = "lz4hc"
    blosclz = "blosclz"
    snappy = "snappy"
    zlib = "zlib"
    zstd = "zstd"


class BloscShuffle(StrEnum):
    """Shuffles of Blosc."""

    noshuffle = "noshuffle"
    shuffle = "shuffle"
    bitshuffle = "bitshuffle"

    @classmethod
    def from_int(cls, num: int) -> BloscShuffle:
        """The shuffle that numcodecs gives this number. ValueError for others than 0, 1, 2."""
        if not 0 <= num < len(cls):
            raise ValueError(f"Blosc's shuffles are 0, 1 and 2, not {num!r}")
        return list(cls)[num]


class Endian(StrEnum):
    """Byte orders."""

    big = "big"
    little = "little"


class ShardingCodecIndexLocation(StrEnum):
    """Where in a shard its index is."""

    start = "start"
    end = "end"
