"""`blosc`: Blosc 1 containers.

Kind: bytes -> bytes. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/blosc/
Configuration: {"name": "blosc", "configuration": {"typesize": 4, "cname": "lz4", "clevel": 5, "shuffle":
"shuffle", "blocksize": 0}}. Known trouble: the C decoder believes the header (`engines.blosc_header` does not);
Snappy inside cannot be read or written with numcodecs; a container holds less than 2 GiB. Runs on: cpu
(numcodecs' library), cuda (nvCOMP for the streams, our kernel for the shuffle).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, Self

from gpuzarr.codecs.contract import BytesBytesCodec, ChunkSpec, Decoder, JoinedDecoder, PartDecoder, is_integer
from gpuzarr.codecs.engines import cpu
from gpuzarr.codecs.engines.blosc_header import HEADER_SIZE, MAX_SIZE
from gpuzarr.codecs.engines.memory import Buffer, octets, size_of
from gpuzarr.errors import CorruptChunkError, EncodeError, MetadataError, ZarrUserWarning

Cname = Literal["lz4", "lz4hc", "blosclz", "snappy", "zlib", "zstd"]
Shuffle = Literal["noshuffle", "shuffle", "bitshuffle"]
CNAMES = ("lz4", "lz4hc", "blosclz", "snappy", "zlib", "zstd")
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")


@lru_cache(maxsize=256)
def _decoder(nbytes: int) -> Decoder:
    return cpu.blosc().decoder(nbytes)  # type: ignore[no-any-return]


def _integer(what: str, value: Any, low: int, high: int) -> None:
    if not is_integer(value, low, high):
        raise MetadataError(f"codec 'blosc': {what} is an integer from {low} to {high}, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BloscCodec(BytesBytesCodec):
    """Blosc; `typesize` and `shuffle` are taken from the data type where they are not given."""

    name = "blosc"
    only_foreseen = True
    bytes_per_ms = 2 << 20

    typesize: int | None = None
    cname: Cname = "zstd"
    clevel: int = 5
    shuffle: Shuffle | None = None
    blocksize: int = 0

    def __post_init__(self) -> None:
        # zarr-python's enumerations have a `value`; numcodecs numbers the shuffles.
        cname: Any = getattr(self.cname, "value", self.cname)
        shuffle: Any = getattr(self.shuffle, "value", self.shuffle)
        if is_integer(shuffle, 0, 2):
            shuffle = SHUFFLES[shuffle]
        if cname == "gzip":
            warnings.warn("Blosc knows gzip's compressor as 'zlib'; using that", ZarrUserWarning, stacklevel=4)
            cname = "zlib"
        if cname not in CNAMES:
            raise MetadataError(f"codec 'blosc': cname is one of {', '.join(CNAMES)}, not {cname!r}")
        if shuffle is not None and shuffle not in SHUFFLES:
            raise MetadataError(f"codec 'blosc': shuffle is one of {', '.join(SHUFFLES)}, not {shuffle!r}")
        object.__setattr__(self, "cname", cname)
        object.__setattr__(self, "shuffle", shuffle)
        if self.typesize is not None:
            _integer("typesize", self.typesize, 1, 2**31 - 1)
        _integer("clevel", self.clevel, 0, 9)
        _integer("blocksize", self.blocksize, 0, 2**31 - 1)

    def configuration(self) -> dict[str, Any]:
        return {
            "typesize": self.typesize or 1,
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle or "bitshuffle",
            "blocksize": self.blocksize,
        }

    def evolve(self, spec: ChunkSpec) -> Self:
        size = spec.data_type.itemsize or 1
        shuffle: Shuffle = self.shuffle or ("bitshuffle" if size == 1 else "shuffle")
        typesize = size if self.typesize is None else self.typesize
        if (typesize, shuffle) == (self.typesize, self.shuffle):
            return self
        return replace(self, typesize=typesize, shuffle=shuffle)

    def encoded_limit(self, nbytes: int) -> int:
        # A compressed container of incompressible blocks is stored plainly by every writer; the slack is for the
        # block table and stream lengths of a writer that does not.
        return nbytes + nbytes // 8 + 4096

    def encode(self, data: Buffer) -> Buffer:
        size = size_of(data)
        if size > MAX_SIZE:
            raise EncodeError(f"codec 'blosc': a container holds at most {MAX_SIZE} bytes, this chunk has {size}")
        shuffle = SHUFFLES.index(self.shuffle or "bitshuffle")
        # Blosc has one byte for the element size; it takes 1 for what does not fit.
        typesize = self.typesize if self.typesize is not None and self.typesize < 256 else 1
        return cpu.blosc().encode(data, self.cname, self.clevel, shuffle, typesize, self.blocksize)

    def decoder(self, nbytes: int) -> Decoder:
        return _decoder(nbytes)

    def joined_decoder(self, nbytes: int) -> JoinedDecoder | None:
        return cpu.blosc().joined_decoder(nbytes)

    def part_decoder(self, nbytes: int) -> PartDecoder | None:
        return cpu.blosc().part_decoder(nbytes)

    def decode(self, data: Buffer, limit: int) -> Buffer:
        size = int.from_bytes(octets(data)[4:8].tobytes(), "little", signed=True)
        if size_of(data) < HEADER_SIZE or not 0 <= size <= limit:
            raise CorruptChunkError("decoded size beyond the limit", codec="blosc", expected=limit, got=size)
        out = bytearray(size)
        self.decode_into(data, out)
        return out
