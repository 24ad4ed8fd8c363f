"""`crc32c`: four bytes of CRC-32C (Castagnoli), little-endian, behind the data.

Kind: bytes -> bytes. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/crc32c/
Configuration: {"name": "crc32c"}. Runs on: any device (google-crc32c, or a kernel).
"""

from __future__ import annotations

from ctypes import memmove
from dataclasses import dataclass

from gpuzarr.codecs.contract import BytesBytesCodec, Decoder
from gpuzarr.codecs.engines import cpu
from gpuzarr.codecs.engines.memory import Buffer, address, byte_view, bytes_at, octets, size_of
from gpuzarr.errors import ChecksumError, CorruptChunkError


def crc32c(data: Buffer) -> int:
    """CRC-32C of any buffer."""
    return cpu.crc32c().value(address(data), size_of(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crc32cCodec(BytesBytesCodec):
    """CRC-32C behind the data, verified before anything else looks at them."""

    name = "crc32c"
    only_foreseen = True
    trims = True
    bytes_per_ms = 8 << 20

    def encoded_size(self, nbytes: int) -> int:
        return nbytes + 4

    def encode(self, data: Buffer) -> Buffer:
        return b"".join((byte_view(data), crc32c(data).to_bytes(4, "little")))

    def trim(self, source: int | bytes, size: int) -> int:
        if size < 4:
            raise CorruptChunkError("shorter than its checksum", codec=self.name, expected=">= 4 bytes", got=size)
        # The stored checksum and the computed one, without copying the data.
        stored = source[size - 4 : size] if type(source) is bytes else bytes_at(source + size - 4, 4)  # type: ignore[operator]
        computed = cpu.crc32c().value(source, size - 4).to_bytes(4, "little")
        if stored != computed:
            raise ChecksumError("checksum", codec=self.name, expected=stored[::-1].hex(), got=computed[::-1].hex())
        return size - 4

    def strip(self, data: Buffer) -> Buffer:
        return octets(data)[: self.trim(address(data), size_of(data))]

    def decoder(self, nbytes: int) -> Decoder:
        trim, name = self.trim, self.name

        def decode(source: int | bytes, size: int, destination: int) -> None:
            if size != nbytes + 4:
                raise CorruptChunkError("wrong size", codec=name, expected=nbytes + 4, got=size)
            trim(source, size)
            memmove(destination, source, nbytes)

        return decode

    def decode(self, data: Buffer, limit: int) -> Buffer:
        payload = self.strip(data)
        if octets(payload).size > limit:
            raise CorruptChunkError("longer than expected", codec=self.name, expected=limit, got=octets(payload).size)
        return payload
