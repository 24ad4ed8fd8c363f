"""Compressors of arrays, array -> bytes, from packages of their own: zfpy, pcodec."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np

from gpuzarr.codecs.contract import ArrayBytesCodec, Buffer, ChunkSpec
from gpuzarr.codecs.engines.memory import octets
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
        # The decoder is given the destination, so the counts in the data allocate nothing.
        out = np.empty(spec.size, spec.dtype)
        decoded = np.asarray(self.safely(self.wrapped.decode, octets(data).tobytes(), out))
        if decoded.size != spec.size or decoded.dtype != spec.dtype:
            raise CorruptChunkError(
                "another array", codec=self.name, expected=(spec.size, spec.dtype), got=(decoded.size, decoded.dtype)
            )
        return decoded.reshape(spec.shape)


class ZFPY(_Compressor):
    """zfp with its full header; `mode`, `tolerance`, `rate`, `precision`.

    The zfp library does not stop at the end of its input, so data are checked against their header and padded to
    the most that a decoder for this chunk can read.
    """

    codec_id, name, package = "zfpy", PREFIX + "zfpy", "zfpy"

    def encoded_limit(self, spec: ChunkSpec) -> int:
        shape = [n for n in spec.shape if n != 1][-4:] or [1]
        blocks = prod(ceil(n / 4) for n in shape) * prod(spec.shape) // max(1, prod(shape)) + 1
        # Every bit plane of a block of 4^d values takes at most two bits a value; some bits go to its head.
        return 64 + blocks * 4 ** max(1, len(spec.shape)) * (spec.dtype.itemsize + 1) * 2 + 64 * blocks

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        raw = octets(data).tobytes()
        count, dtype = _zfp_header(raw)
        if count != spec.size or dtype != spec.dtype.newbyteorder("="):
            raise CorruptChunkError(
                "another array", codec=self.name, expected=(spec.size, spec.dtype), got=(count, dtype)
            )
        decoded = np.asarray(self.safely(self.wrapped.decode, raw.ljust(self.encoded_limit(spec), b"\0")))
        if decoded.size != spec.size or decoded.dtype != spec.dtype:
            raise CorruptChunkError("another array", codec=self.name, expected=spec.size, got=decoded.size)
        return np.ascontiguousarray(decoded).reshape(spec.shape)


_ZFP_DTYPES = ("<i4", "<i8", "<f4", "<f8")


def _zfp_header(raw: bytes) -> tuple[int, np.dtype[Any] | None]:
    """Elements and data type in a zfp header: "zfp", a version byte, then 52 bits from the lowest up: 2 of type,
    2 of rank, 48 of sizes less one."""
    if len(raw) < 12 or raw[:3] != b"zfp":
        raise CorruptChunkError("no zfp header", codec=ZFPY.name, got=raw[:4])
    bits = int.from_bytes(raw[4:12], "little")
    rank = (bits >> 2 & 3) + 1
    width = 48 // rank
    sizes = [(bits >> 4 + width * i & (1 << width) - 1) + 1 for i in range(rank)]
    return prod(sizes), np.dtype(_ZFP_DTYPES[bits & 3])
