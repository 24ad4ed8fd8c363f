"""`gzip`: gzip members.

Kind: bytes -> bytes. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/gzip/
Configuration: {"name": "gzip", "configuration": {"level": 5}}. Known trouble: files of several members (bgzip,
parallel writers) are legal. zarr-python stores the time of writing in the header; we store 0, so that equal data
are equal files. Runs on: cpu (ISA-L for decoding where its package has a wheel, else zlib), cuda (nvCOMP).
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuzarr.codecs.contract import BytesBytesCodec, Decoder, is_integer
from gpuzarr.codecs.deflate import GZIP, gzip_member, inflate, inflater
from gpuzarr.codecs.engines.memory import Buffer
from gpuzarr.errors import MetadataError


@dataclass(frozen=True, slots=True, kw_only=True)
class GzipCodec(BytesBytesCodec):
    """gzip, level 0 to 9."""

    name = "gzip"

    level: int = 5

    def __post_init__(self) -> None:
        if not is_integer(self.level, 0, 9):
            raise MetadataError(f"codec 'gzip': level is an integer from 0 to 9, not {self.level!r}")

    def encode(self, data: Buffer) -> Buffer:
        return gzip_member(data, self.level)

    def decoder(self, nbytes: int) -> Decoder:
        return inflater(nbytes, GZIP, self.name)

    def decode(self, data: Buffer, limit: int) -> Buffer:
        return inflate(data, limit, GZIP, self.name)
