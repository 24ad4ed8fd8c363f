"""Compressors and the byte shuffle, bytes -> bytes, each bounded by the size that is expected.

numcodecs' own decoders allocate what the data ask for; these give the decoder a limit.
"""

from __future__ import annotations

import base64
import bz2
import lzma
import zlib
from collections.abc import Callable
from ctypes import c_char_p, c_void_p, cast
from typing import Any, Self

import numpy as np

from gpuzarr.codecs.blosc import CNAMES, SHUFFLES, BloscCodec
from gpuzarr.codecs.contract import BytesBytesCodec, ChunkSpec, Decoder, JoinedDecoder, PartDecoder, is_integer
from gpuzarr.codecs.deflate import ZLIB, inflate, inflater
from gpuzarr.codecs.engines import cpu
from gpuzarr.codecs.engines.memory import Buffer, byte_view, bytes_at, octets, size_of
from gpuzarr.codecs.gzip import GzipCodec
from gpuzarr.codecs.members import decode_members
from gpuzarr.codecs.numcodecs.base import PREFIX, Numcodec
from gpuzarr.codecs.zstd import ZstdCodec
from gpuzarr.errors import CorruptChunkError, MetadataError

LZMA_MEMORY = 256 << 20  # bytes that an lzma stream may ask the decoder to set aside; level 9 needs 65 MiB


class _Delegating(Numcodec, BytesBytesCodec):
    """The same bytes as a codec of our own, under another name and configuration."""

    inner: BytesBytesCodec

    def encoded_limit(self, nbytes: int) -> int:
        return self.inner.encoded_limit(nbytes)

    def encode(self, data: Buffer) -> Buffer:
        return self.inner.encode(data)

    def decoder(self, nbytes: int) -> Decoder:
        return self.inner.decoder(nbytes)

    def joined_decoder(self, nbytes: int) -> JoinedDecoder | None:
        return self.inner.joined_decoder(nbytes)

    def part_decoder(self, nbytes: int) -> PartDecoder | None:
        return self.inner.part_decoder(nbytes)

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        self.inner.decode_into(data, out)

    def decode(self, data: Buffer, limit: int) -> Buffer:
        return self.inner.decode(data, limit)


class Zstd(_Delegating):
    """Zstandard, as the codec `zstd`."""

    codec_id, name = "zstd", PREFIX + "zstd"

    def check(self) -> None:
        level = self.integer("level", 0, -(2**31), 2**31 - 1)  # beyond the library's range is its limit
        checksum = bool(self.config.get("checksum", False))
        self.inner = ZstdCodec(level=min(max(level, -131072), 22), checksum=checksum)


class GZip(_Delegating):
    """gzip, as the codec `gzip`."""

    codec_id, name = "gzip", PREFIX + "gzip"

    def check(self) -> None:
        level = self.integer("level", 1, -1, 9)
        self.inner = GzipCodec(level=6 if level == -1 else level)  # -1 is zlib's default


class Blosc(_Delegating):
    """Blosc, as the codec `blosc`; shuffle is 0, 1, 2, or -1 for bit shuffle of single bytes and byte shuffle of
    the rest. Without `typesize` the elements count as single bytes."""

    codec_id, name = "blosc", PREFIX + "blosc"

    def check(self) -> None:
        cname, typesize = self.config.get("cname", "lz4"), self.config.get("typesize")
        shuffle = self.integer("shuffle", 1, -1, 2)
        if cname not in CNAMES:
            raise MetadataError(f"codec {self.name!r}: cname is one of {', '.join(CNAMES)}, not {cname!r}")
        typesize = 1 if typesize is None else typesize
        self.inner = BloscCodec(
            typesize=typesize,
            cname=cname,
            clevel=self.integer("clevel", 5, 0, 9),
            shuffle=SHUFFLES[shuffle if shuffle >= 0 else 2 if typesize == 1 else 1],  # type: ignore[arg-type]
            blocksize=self.integer("blocksize", 0, 0, 2**31 - 1),
        )


class LZ4(Numcodec, BytesBytesCodec):
    """A 4-byte little-endian size, then one raw LZ4 block."""

    codec_id, name = "lz4", PREFIX + "lz4"

    def check(self) -> None:
        self.acceleration = max(1, self.integer("acceleration", 1, -(2**31), 2**31 - 1))

    def encoded_limit(self, nbytes: int) -> int:
        return nbytes + nbytes // 255 + 64

    def encode(self, data: Buffer) -> Buffer:
        if size_of(data) > 0x7E000000:
            raise MetadataError(f"codec {self.name!r}: a block holds at most {0x7E000000} bytes, not {size_of(data)}")
        block = self.encoding(cpu.lz4().encode_block, data, self.acceleration)
        return size_of(data).to_bytes(4, "little") + block

    def decoder(self, nbytes: int) -> Decoder:
        decode_block, name = cpu.lz4().decode_block, self.name
        expected = nbytes.to_bytes(4, "little") if nbytes < 2**32 else None  # which no chunk can have

        def decode(source: int | bytes, size: int, destination: int) -> None:
            head = bytes_at(source, 4) if size > 4 else b""
            if head != expected:
                raise CorruptChunkError(
                    "wrong size in the prefix", codec=name, expected=nbytes, got=int.from_bytes(head, "little")
                )
            if type(source) is bytes:
                start = cast(c_char_p(source), c_void_p).value or 0
            else:
                start = source  # type: ignore[assignment]
            decode_block(start + 4, size - 4, destination, nbytes)

        return decode

    def decode(self, data: Buffer, limit: int) -> Buffer:
        size = int.from_bytes(octets(data)[:4].tobytes(), "little")
        if size > limit:
            raise CorruptChunkError("decoded size beyond the limit", codec=self.name, expected=limit, got=size)
        out = bytearray(size)
        self.decode_into(data, out)
        return out


class Zlib(Numcodec, BytesBytesCodec):
    """A zlib stream."""

    codec_id, name = "zlib", PREFIX + "zlib"

    def check(self) -> None:
        self.level = self.integer("level", 1, -1, 9)

    def encode(self, data: Buffer) -> Buffer:
        return zlib.compress(byte_view(data), self.level)

    def decoder(self, nbytes: int) -> Decoder:
        return inflater(nbytes, ZLIB, self.name)

    def decode(self, data: Buffer, limit: int) -> Buffer:
        return inflate(data, limit, ZLIB, self.name)


class _Streams(Numcodec, BytesBytesCodec):
    """One or several streams of a compressor in the standard library."""

    def opener(self) -> Callable[[], Any]:
        """A function that gives a fresh decompressor with `max_length`."""
        raise NotImplementedError

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        target = octets(out)
        decoded = self.decode(data, target.size)
        if size_of(decoded) != target.size:
            raise CorruptChunkError("wrong decoded size", codec=self.name, expected=target.size, got=size_of(decoded))
        target[:] = octets(decoded)

    def decode(self, data: Buffer, limit: int) -> Buffer:
        return self.safely(decode_members, data, limit, self.opener(), self.name)


class BZ2(_Streams):
    """bzip2 streams."""

    codec_id, name = "bz2", PREFIX + "bz2"

    def check(self) -> None:
        self.level = self.integer("level", 1, 1, 9)

    def opener(self) -> Callable[[], Any]:
        return bz2.BZ2Decompressor

    def encode(self, data: Buffer) -> Buffer:
        return bz2.compress(byte_view(data), self.level)


class LZMA(_Streams):
    """xz, .lzma or raw streams (`format`, `check`, `preset`, `filters` of the lzma module)."""

    codec_id, name = "lzma", PREFIX + "lzma"

    def check(self) -> None:
        self.format = self.integer("format", 1, 1, 3)
        filters = self.config.get("filters")
        if filters is not None and not isinstance(filters, list | tuple):
            raise MetadataError(f"codec {self.name!r}: filters is a list, not {filters!r}")
        self.filters = None if filters is None else list(filters)
        for step in self.filters or ():
            # The decoder of a raw stream takes no limit: its dictionary is as large as the metadata say.
            if not isinstance(step, dict) or not is_integer(step.get("dict_size", 0), 0, LZMA_MEMORY):
                raise MetadataError(f"codec {self.name!r}: a filter has a dict_size up to {LZMA_MEMORY}, not {step!r}")

    def opener(self) -> Callable[[], Any]:
        if self.format == lzma.FORMAT_RAW:
            return lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=self.filters)
        return lambda: lzma.LZMADecompressor(self.format, memlimit=LZMA_MEMORY)

    def encode(self, data: Buffer) -> Buffer:
        check, preset = self.config.get("check", -1), self.config.get("preset")
        return self.encoding(
            lambda: lzma.compress(byte_view(data), self.format, check=check, preset=preset, filters=self.filters)
        )


class Base64(Numcodec, BytesBytesCodec):
    """Standard base64; only format 2 has it."""

    codec_id = name = "base64"

    def encoded_size(self, nbytes: int) -> int:
        return -(-nbytes // 3) * 4

    def encode(self, data: Buffer) -> Buffer:
        return base64.standard_b64encode(byte_view(data))

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        target = octets(out)
        decoded = octets(self.decode(data, target.size))
        if decoded.size != target.size:
            raise CorruptChunkError("wrong decoded size", codec=self.name, expected=target.size, got=decoded.size)
        target[:] = decoded

    def decode(self, data: Buffer, limit: int) -> Buffer:
        if size_of(data) > self.encoded_size(limit):
            raise CorruptChunkError("longer than expected", codec=self.name, expected=limit, got=size_of(data))
        return self.safely(base64.b64decode, byte_view(data), None, True)


class Shuffle(Numcodec, BytesBytesCodec):
    """First bytes of all elements, then all second bytes, and so on. `elementsize` is that of the data type where
    it is not given."""

    codec_id, name = "shuffle", PREFIX + "shuffle"

    def check(self) -> None:
        if self.config.get("elementsize") is not None:
            self.integer("elementsize", 4, 0, 2**31 - 1)

    @property
    def elementsize(self) -> int:
        """Bytes of an element."""
        return max(1, self.config.get("elementsize") or 1)

    def evolve(self, spec: ChunkSpec) -> Self:
        if self.config.get("elementsize") is not None:
            return self
        return self.with_config(elementsize=spec.data_type.itemsize or 1)

    def encoded_size(self, nbytes: int) -> int:
        return nbytes

    def _whole(self, nbytes: int, error: type[Exception]) -> None:
        if nbytes % self.elementsize:
            raise error(f"codec {self.name!r}: {nbytes} bytes are not a number of {self.elementsize}-byte elements")

    def encode(self, data: Buffer) -> Buffer:
        raw = octets(data)
        self._whole(raw.size, MetadataError)
        return np.ascontiguousarray(raw.reshape(-1, self.elementsize).T).reshape(-1)

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        raw, target = octets(data), octets(out)
        self._whole(target.size, CorruptChunkError)
        if raw.size != target.size:
            raise CorruptChunkError("wrong size", codec=self.name, expected=target.size, got=raw.size)
        target.reshape(-1, self.elementsize)[...] = raw.reshape(self.elementsize, -1).T

    def decode(self, data: Buffer, limit: int) -> Buffer:
        size = size_of(data)
        if size > limit:
            raise CorruptChunkError("longer than expected", codec=self.name, expected=limit, got=size)
        out = np.empty(size, np.uint8)
        self.decode_into(data, out)
        return out
