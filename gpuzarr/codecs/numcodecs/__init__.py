"""Codecs of the numcodecs package, in format 3 under the names `numcodecs.<id>`, in format 2 under their ids.

Importing this imports no numcodecs: what can be done with the standard library, NumPy or the C libraries is, and
the rest calls numcodecs when it is first used. Configuration is numcodecs' own, as keywords.
"""

from gpuzarr.codecs.numcodecs.arrays import ZFPY, PCodec
from gpuzarr.codecs.numcodecs.base import Numcodec
from gpuzarr.codecs.numcodecs.checksums import CRC32, CRC32C, Adler32, Fletcher32, JenkinsLookup3
from gpuzarr.codecs.numcodecs.compressors import BZ2, LZ4, LZMA, Blosc, GZip, Shuffle, Zlib, Zstd
from gpuzarr.codecs.numcodecs.filters import AsType, BitRound, Delta, FixedScaleOffset, PackBits, Quantize

__all__ = [
    "BZ2",
    "CRC32",
    "CRC32C",
    "LZ4",
    "LZMA",
    "ZFPY",
    "Adler32",
    "AsType",
    "BitRound",
    "Blosc",
    "Delta",
    "FixedScaleOffset",
    "Fletcher32",
    "GZip",
    "JenkinsLookup3",
    "Numcodec",
    "PCodec",
    "PackBits",
    "Quantize",
    "Shuffle",
    "Zlib",
    "Zstd",
]
