"""`zstd`: Zstandard.

Kind: bytes -> bytes. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/zstd
Configuration: {"name": "zstd", "configuration": {"level": 0, "checksum": false}}. Known trouble: some writers give
frames without content size, or several frames; both are read. Runs on: cpu (numcodecs' library), cuda (nvCOMP;
the checksum of a frame by a kernel).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gpuzarr.codecs.contract import BytesBytesCodec, Decoder, JoinedDecoder, is_integer
from gpuzarr.codecs.engines import cpu
from gpuzarr.codecs.engines.memory import Buffer
from gpuzarr.errors import MetadataError


@lru_cache(maxsize=256)
def _decoder(nbytes: int) -> Decoder:
    return cpu.zstd().decoder(nbytes)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZstdCodec(BytesBytesCodec):
    """Zstandard; level 0 is the library's default (3), and -131072 to 22 are possible."""

    name = "zstd"
    only_foreseen = True

    level: int = 0
    checksum: bool = False

    def __post_init__(self) -> None:
        if not is_integer(self.level, -131072, 22):
            raise MetadataError(f"codec 'zstd': level is an integer from -131072 to 22, not {self.level!r}")
        if not isinstance(self.checksum, bool):
            raise MetadataError(f"codec 'zstd': checksum is true or false, not {self.checksum!r}")

    def encoded_limit(self, nbytes: int) -> int:
        # Frames that are flushed often have a header of three bytes a block; skippable frames may come on top.
        return 2 * nbytes + 4096

    def encode(self, data: Buffer) -> Buffer:
        return cpu.zstd().encode(data, self.level, self.checksum)

    def decoder(self, nbytes: int) -> Decoder:
        return _decoder(nbytes)

    def joined_decoder(self, nbytes: int) -> JoinedDecoder | None:
        return cpu.zstd().joined_decoder(nbytes)

    def decode(self, data: Buffer, limit: int) -> Buffer:
        return cpu.zstd().decode(data, limit)
