"""`crc32c`: four bytes of CRC-32C (Castagnoli), little-endian, behind the data.

Kind: bytes -> bytes. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/crc32c/
Configuration: {"name": "crc32c"}. Runs on: cpu (google-crc32c), cuda (nvCOMP).
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuzarr.codecs.contract import BytesBytesCodec
from gpuzarr.codecs.engines.memory import Buffer, byte_view, octets
from gpuzarr.errors import ChecksumError, CorruptChunkError


def crc32c(data: Buffer) -> int:
    """CRC-32C of any buffer."""
    import google_crc32c

    return int(google_crc32c.value(octets(data)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crc32cCodec(BytesBytesCodec):
    """CRC-32C behind the data, verified before anything else looks at them."""

    name = "crc32c"

    def encoded_size(self, nbytes: int) -> int:
        return nbytes + 4

    def encode(self, data: Buffer) -> Buffer:
        return b"".join((byte_view(data), crc32c(data).to_bytes(4, "little")))

    def strip(self, data: Buffer) -> Buffer:
        raw = octets(data)
        if raw.size < 4:
            raise CorruptChunkError("shorter than its checksum", codec=self.name, expected=">= 4 bytes", got=raw.size)
        stored, computed = int.from_bytes(raw[-4:].tobytes(), "little"), crc32c(raw[:-4])
        if stored != computed:
            raise ChecksumError("checksum", codec=self.name, expected=f"{stored:#010x}", got=f"{computed:#010x}")
        return raw[:-4]

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        payload, target = octets(self.strip(data)), octets(out)
        if payload.size != target.size:
            raise CorruptChunkError("wrong size", codec=self.name, expected=target.size, got=payload.size)
        target[:] = payload

    def decode(self, data: Buffer, limit: int) -> Buffer:
        payload = self.strip(data)
        if octets(payload).size > limit:
            raise CorruptChunkError("longer than expected", codec=self.name, expected=limit, got=octets(payload).size)
        return payload
