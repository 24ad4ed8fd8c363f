"""What a codec is (Zarr v3 core, "Codecs").

A codec is a frozen dataclass whose fields are its configuration. There are three kinds; a chain is
`array->array* array->bytes bytes->bytes*`, in the order of encoding. A codec never sees a store, a key, or
another codec. On the host, bytes are any contiguous bytes-like object and chunks are C-contiguous or strided
`numpy.ndarray`s of exactly the spec's shape and dtype. Bytes may also be named by address and length
(`BytesBytesCodec.decoder`), which is the quickest way from a store's scratch memory into a destination.

Phases: JSON -> codec (`from_configuration`), codec + what it will be given -> settled codec (`evolve`), and
then encoding and decoding, which do no configuration work.

Decoding trusts nothing: output has exactly the expected size or the codec raises `CorruptChunkError` (without
key; the corridor adds it), and it never allocates more than was expected, whatever the bytes say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from math import prod
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from gpuzarr.codecs.engines.memory import Buffer, address, memory_at, size_of, writable_address
from gpuzarr.dtypes import DataType
from gpuzarr.errors import MetadataError
from gpuzarr.options import config

# decode(source, nbytes, destination): the source is an address, or a `bytes` object itself.
Decoder = Callable[[int | bytes, int, int], None]
# join(room, address of the room, offset of each chunk in it, bytes of each) -> decode(first chunk, how many, address of
# the destination), which tells whether it could
JoinedDecoder: TypeAlias = Callable[
    [np.ndarray[Any, Any], int, np.ndarray[Any, Any], np.ndarray[Any, Any]], Callable[[int, int, int], bool] | None
]

# decode(room, address of the room, offset of each chunk in it, bytes of each, (start, stop) of the part of each in
# decoded bytes, scratch of a lane) -> (uint8 array, its address, where in it each part starts)
PartDecoder: TypeAlias = Callable[
    [np.ndarray[Any, Any], int, np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[Any, Any], Any],
    tuple[np.ndarray[Any, Any], int, np.ndarray[Any, Any]] | None,
]


def is_integer(value: Any, low: int, high: int) -> bool:
    """Whether a value from a document is an integer (not a bool) in [low, high]."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


class Kind(Enum):
    """The three kinds of codec, in the order in which a chain encodes."""

    ARRAY_TO_ARRAY = "array_to_array"
    ARRAY_TO_BYTES = "array_to_bytes"
    BYTES_TO_BYTES = "bytes_to_bytes"


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """What a chunk is at one point of the chain: shape, data type and fill value."""

    shape: tuple[int, ...]
    data_type: DataType
    fill_value: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the chunk in memory."""
        return self.data_type.numpy

    @property
    def size(self) -> int:
        """Elements in the chunk."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """Bytes of the chunk as plain elements; None where elements vary in length."""
        itemsize = self.data_type.itemsize
        return None if itemsize is None else itemsize * self.size

    def is_fill(self, chunk: np.ndarray[Any, Any]) -> bool:
        """Whether every element of `chunk` is the fill value, bit for bit (so -0.0 is not 0.0, and one NaN is not
        another); False where there is no fill value. Elements without fixed size are compared by value."""
        if self.fill_value is None or not chunk.size:
            return False
        if chunk.dtype.hasobject or chunk.dtype.kind == "T":
            return all(element == self.fill_value for element in chunk.ravel().tolist())
        fill = np.asarray(self.fill_value, chunk.dtype).reshape(1)
        unit = np.dtype(f"u{chunk.dtype.itemsize}") if chunk.dtype.itemsize in (1, 2, 4, 8) else None
        if unit is not None:
            bits, pattern = chunk.view(unit), fill.view(unit)[0]
            # Most chunks differ from the fill value at once; the full pass is for those that do not.
            return bool(bits[(0,) * bits.ndim] == pattern) and not (bits != pattern).any()
        rows = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).reshape(chunk.size, -1)
        return not (rows != fill.view(np.uint8)).any()


class Codec(ABC):
    """One step of a chain; a frozen dataclass whose fields are the configuration."""

    name: ClassVar[str]
    kind: ClassVar[Kind]

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> Self:
        """Build from the `configuration` object of the metadata.

        Raises MetadataError on unknown keys, missing keys and wrong values.
        """
        known = {f.name for f in fields(cls) if f.init}  # type: ignore[arg-type]
        if unknown := sorted(set(configuration) - known):
            raise MetadataError(f"codec {cls.name!r}: unknown configuration {unknown}; known: {sorted(known)}")
        try:
            return cls(**configuration)
        except TypeError as error:
            raise MetadataError(f"codec {cls.name!r}: bad configuration {dict(configuration)!r}: {error}") from error

    def configuration(self) -> dict[str, Any]:
        """The `configuration` object, as written to metadata."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """`{"name": ..., "configuration": {...}}`; the configuration is left out where empty."""
        configuration = self.configuration()
        return {"name": self.name, "configuration": configuration} if configuration else {"name": self.name}

    def evolve(self, spec: ChunkSpec) -> Self:
        """This codec settled for chunks like `spec` (the array as it reaches this codec's place in the chain;
        for bytes->bytes codecs, as it reached the array->bytes codec). E.g. Blosc takes its typesize here."""
        return self


class ArrayArrayCodec(Codec):
    """array -> array."""

    kind = Kind.ARRAY_TO_ARRAY

    def is_identity(self, spec: ChunkSpec) -> bool:
        """Whether chunks like `spec` pass through unchanged, element by element in C order."""
        return False

    @abstractmethod
    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        """What `encode` makes of chunks like `spec` (shape, data type, fill value). Raises MetadataError
        where such chunks cannot be encoded."""

    @abstractmethod
    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        """Encode; `spec` describes `chunk`. May return a view."""

    @abstractmethod
    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        """Decode; `spec` describes the *result*. May return a view."""


class ArrayBytesCodec(Codec):
    """array -> bytes."""

    kind = Kind.ARRAY_TO_BYTES
    holds_chunks: ClassVar[bool] = False  # a shard: what it holds is read by chunk, and `encode` takes `write_empty`

    @abstractmethod
    def encoded_size(self, spec: ChunkSpec) -> int | None:
        """Exact size in bytes of every encoded chunk like `spec`; None where it varies."""

    def encoded_limit(self, spec: ChunkSpec) -> int:
        """The most bytes that a valid encoded chunk like `spec` may have."""
        size = self.encoded_size(spec)
        return int(config.get("array.max_chunk_bytes")) if size is None else size

    def is_native(self, spec: ChunkSpec) -> bool:
        """Whether the encoded bytes are the elements in C order as they lie in memory."""
        return False

    @abstractmethod
    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        """Encode. May return a view of `chunk`'s memory."""

    @abstractmethod
    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        """Decode. May return a view of `data`'s memory."""


class BytesBytesCodec(Codec):
    """bytes -> bytes."""

    kind = Kind.BYTES_TO_BYTES
    trims: ClassVar[bool] = False
    bytes_per_ms: ClassVar[int] = 512 << 10  # that it decodes to, about
    only_foreseen: ClassVar[bool] = False  # decoding raises nothing but this library's errors

    def encoded_size(self, nbytes: int) -> int | None:
        """Exact encoded size of `nbytes` bytes; None where it depends on the data."""
        return None

    def encoded_limit(self, nbytes: int) -> int:
        """The most bytes that a valid encoding of `nbytes` bytes may have."""
        return self.encoded_size(nbytes) or nbytes + nbytes // 8 + 4096

    @abstractmethod
    def encode(self, data: Buffer) -> Buffer:
        """Encode. Never returns a view of `data`, unless it is `data` itself."""

    # A codec overrides at least one of the next two; each is there in terms of the other.

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        """Decode to exactly `len(out)` bytes, straight into `out` (1-D, writable, uint8).

        Raises CorruptChunkError where `data` is damaged or holds another number of bytes.
        """
        self.decoder(size_of(out))(address(data), size_of(data), writable_address(out))

    def decoder(self, nbytes: int) -> Decoder:
        """A function that decodes to exactly `nbytes` bytes from address to address, with all configuration work
        done beforehand. It raises as `decode_into` does."""
        decode_into = self.decode_into

        def decode(source: int | bytes, size: int, destination: int) -> None:
            decode_into(memory_at(source, size), memory_at(destination, nbytes, writable=True))

        return decode

    def joined_decoder(self, nbytes: int) -> JoinedDecoder | None:
        """A function that looks through several chunks of `nbytes` bytes and gives another, which decodes neighbours
        among them by one call, one behind another; None where there is none.

        It gives None where some chunk is not like the others, or is damaged; the other one gives False, with the
        destination in any state, where it comes upon damage. They are then decoded one by one. Both may write to the
        room between the chunks, and to the `APRON` bytes (`devices.cpu`) in front of it.
        """
        return None

    def part_decoder(self, nbytes: int) -> PartDecoder | None:
        """A function that decodes only what parts of chunks of `nbytes` bytes need; None where there is none. It gives
        None where it cannot, as `joined_decoder` does, with the same liberties."""
        return None

    def strip(self, data: Buffer) -> Buffer | None:
        """The decoded bytes as a view of `data`, for codecs that only add something around them (checksums);
        None for the others. Raises as `decode_into` does."""
        return None

    def trim(self, source: int | bytes, size: int) -> int:
        """As `strip`, for codecs that only add something behind the data (`trims`): how many of the `size` bytes at
        an address are the decoded ones."""
        raise NotImplementedError

    @abstractmethod
    def decode(self, data: Buffer, limit: int) -> Buffer:
        """Decode where the size is not known beforehand, to at most `limit` bytes."""
