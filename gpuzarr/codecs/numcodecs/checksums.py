"""Checksums of 32 bits before or behind the data, bytes -> bytes, verified before anything else reads them."""

from __future__ import annotations

import zlib
from typing import Any, ClassVar

import numpy as np

from gpuzarr.codecs.contract import BytesBytesCodec
from gpuzarr.codecs.crc32c import crc32c
from gpuzarr.codecs.engines.memory import Buffer, byte_view, octets
from gpuzarr.codecs.numcodecs.base import PREFIX, Numcodec
from gpuzarr.errors import ChecksumError, CorruptChunkError, MetadataError


class _Checksum(Numcodec, BytesBytesCodec):
    """Four bytes, little-endian."""

    location: ClassVar[str] = "start"

    def check(self) -> None:
        if self.config.get("location", self.location) not in ("start", "end"):
            raise MetadataError(f"codec {self.name!r}: location is 'start' or 'end', not {self.config['location']!r}")
        self.at_start = self.config.get("location", self.location) == "start"

    def checksum(self, data: np.ndarray[Any, Any]) -> int:
        """Of the payload."""
        raise NotImplementedError

    def encoded_size(self, nbytes: int) -> int:
        return nbytes + 4

    def encode(self, data: Buffer) -> Buffer:
        raw = octets(data)
        mark = self.encoding(self.checksum, raw).to_bytes(4, "little")
        return b"".join((mark, byte_view(raw)) if self.at_start else (byte_view(raw), mark))

    def strip(self, data: Buffer) -> Buffer:
        raw = octets(data)
        if raw.size < 4:
            raise CorruptChunkError("shorter than its checksum", codec=self.name, expected=">= 4 bytes", got=raw.size)
        mark, payload = (raw[:4], raw[4:]) if self.at_start else (raw[-4:], raw[:-4])
        stored, computed = int.from_bytes(mark.tobytes(), "little"), self.safely(self.checksum, payload)
        if stored != computed:
            raise ChecksumError("checksum", codec=self.name, expected=f"{stored:#010x}", got=f"{computed:#010x}")
        return payload

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        payload, target = octets(self.strip(data)), octets(out)
        if payload.size != target.size:
            raise CorruptChunkError("wrong size", codec=self.name, expected=target.size, got=payload.size)
        target[:] = payload

    def decode(self, data: Buffer, limit: int) -> Buffer:
        payload = octets(self.strip(data))
        if payload.size > limit:
            raise CorruptChunkError("longer than expected", codec=self.name, expected=limit, got=payload.size)
        return payload


class CRC32(_Checksum):
    """CRC-32 of zlib, before the data unless `location` says "end"."""

    codec_id, name = "crc32", PREFIX + "crc32"

    def checksum(self, data: np.ndarray[Any, Any]) -> int:
        return zlib.crc32(byte_view(data))


class Adler32(_Checksum):
    """Adler-32, before the data unless `location` says "end"."""

    codec_id, name = "adler32", PREFIX + "adler32"

    def checksum(self, data: np.ndarray[Any, Any]) -> int:
        return zlib.adler32(byte_view(data))


class CRC32C(_Checksum):
    """CRC-32C, behind the data unless `location` says "start"."""

    codec_id, name, location = "crc32c", PREFIX + "crc32c", "end"

    def checksum(self, data: np.ndarray[Any, Any]) -> int:
        return crc32c(data)


class _Foreign(_Checksum):
    """A checksum that numcodecs computes, behind the data."""

    def check(self) -> None:
        self.at_start = False

    def checksum(self, data: np.ndarray[Any, Any]) -> int:
        return int.from_bytes(octets(self.wrapped.encode(data))[-4:].tobytes(), "little")


class Fletcher32(_Foreign):
    """Fletcher's checksum as HDF5 computes it."""

    codec_id, name = "fletcher32", PREFIX + "fletcher32"


class JenkinsLookup3(_Foreign):
    """Jenkins' lookup3 as HDF5 computes it; `initval`, `prefix`."""

    codec_id, name = "jenkins_lookup3", PREFIX + "jenkins_lookup3"
