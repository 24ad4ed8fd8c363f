"""Compressors of arrays, array -> bytes, from packages of their own: zfpy, pcodec."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np

from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec
from gpuzarr.codecs.engines.memory import Buffer, octets
from gpuzarr.codecs.numcodecs.base import PREFIX, Numcodec
from gpuzarr.errors import CorruptChunkError


class _Compressor(Numcodec, ArrayBytesCodec):
    def encoded_size(self, spec: ChunkSpec) -> None:
        return None

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        encoded: Buffer = self.encoding(self.wrapped.encode, np.ascontiguousarray(chunk))
        return encoded


class PCodec(_Compressor):
    """pcodec; `level`, `mode_spec`, `delta_spec`, `paging_spec`, `delta_encoding_order`, `equal_pages_up_to`."""

    codec_id, name, package = "pcodec", PREFIX + "pcodec", "pcodec"

    def encoded_limit(self, spec: ChunkSpec) -> int:
        return 2 * (spec.nbytes or 0) + 65536

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        try:
            from pcodec import standalone
        except ImportError as error:
            raise self.missing() from error
        # The decoder is given the destination, so the counts in the data allocate nothing. numcodecs does not see
        # when it was not filled.
        out = np.empty(spec.size, spec.dtype.newbyteorder("="))
        progress = self.safely(standalone.simple_decompress_into, octets(data).tobytes(), out)
        if progress.n_processed != spec.size or not progress.finished:
            raise CorruptChunkError("another array", codec=self.name, expected=spec.size, got=progress.n_processed)
        return out.reshape(spec.shape).astype(spec.dtype, copy=False)


class ZFPY(_Compressor):
    """zfp with its full header; `mode`, `tolerance`, `rate`, `precision`.

    The zfp library does not stop at the end of its input, so data are checked against their header and padded to
    the most that a decoder for this chunk can read.
    """

    codec_id, name, package = "zfpy", PREFIX + "zfpy", "zfpy"

    def encoded_limit(self, spec: ChunkSpec) -> int:
        return max(_zfp_limit(spec.shape, spec.dtype), _zfp_limit((spec.size,), spec.dtype))

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        raw = octets(data).tobytes()
        shape, dtype = _zfp_header(raw)
        # Writers give the chunk's shape, or the elements in one row.
        if shape not in (spec.shape, (spec.size,)) or dtype != spec.dtype.newbyteorder("="):
            raise CorruptChunkError(
                "another array", codec=self.name, expected=(spec.shape, spec.dtype), got=(shape, dtype)
            )
        decoded = np.asarray(self.safely(self.wrapped.decode, raw.ljust(_zfp_limit(shape, dtype), b"\0")))
        if decoded.size != spec.size or decoded.dtype != dtype:
            raise CorruptChunkError("another array", codec=self.name, expected=spec.size, got=decoded.size)
        return np.ascontiguousarray(decoded).reshape(spec.shape).astype(spec.dtype, copy=False)


_ZFP_DTYPES = ("i4", "i8", "f4", "f8")


def _zfp_limit(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The most bytes that a decoder for this array reads."""
    block = 4 ** len(shape)  # values in one
    blocks = prod(ceil(n / 4) for n in shape)
    # Every bit plane of a block takes at most two bits a value; some bits go to its head.
    return int(64 + blocks * (block * (dtype.itemsize + 1) * 2 + 64))


def _zfp_header(raw: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and data type in a zfp header: "zfp", a version byte, then 52 bits from the lowest up: 2 of type, 2 of
    rank, 48 of sizes less one, the last axis first."""
    if len(raw) < 12 or raw[:3] != b"zfp":
        raise CorruptChunkError("no zfp header", codec=ZFPY.name, got=raw[:4])
    bits = int.from_bytes(raw[4:12], "little")
    rank = (bits >> 2 & 3) + 1
    width = 48 // rank
    sizes = [(bits >> 4 + width * i & (1 << width) - 1) + 1 for i in range(rank)]
    return tuple(sizes[::-1]), np.dtype(_ZFP_DTYPES[bits & 3])
