"""The codecs of one array, settled and compiled: encoded bytes <-> chunk.

A chain is `array->array* array->bytes bytes->bytes*` in the order of encoding (Zarr v3 core, "Codecs"; format 2
in `v2`). What each step is given, and how many bytes each step must give back, is worked out when the chain is
built; decoding a chunk then walks straight through. Whatever the bytes hold, decoding gives an array of exactly
the spec's shape and data type or raises CorruptChunkError (UnknownCodecError where a container names a compressor
that is not here).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import memmove
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuzarr.codecs.contract import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
    Decoder,
    JoinedDecoder,
    PartDecoder,
)
from gpuzarr.codecs.engines.memory import Buffer, address, memory_at, size_of, writable_address
from gpuzarr.codecs.registry import codec_from_config
from gpuzarr.errors import CorruptChunkError, GpuzarrError, MetadataError
from gpuzarr.metadata.model import ArrayMetadata

if TYPE_CHECKING:
    from gpuzarr.codecs.sharding_indexed import ShardingCodec

COPIED_PER_MS = 4 << 20  # bytes


class CodecChain:
    """A settled chain for chunks like `spec`.

    `codecs`: all steps, in the order of encoding. `array_codecs`, `serializer`, `bytes_codecs`: the same by kind.
    `lands`: decoded bytes are the elements in C order, so a chunk can be decoded straight into a destination.
    `plain`: so are the stored bytes, so parts of a chunk can be read where they lie.
    `encoded_size`: bytes of every encoded chunk, None where it varies. `encoded_limit`: the most they may be.
    `bytes_per_ms`: that it decodes to in a millisecond, about.
    `dtype`, `nbytes`: of the chunk in memory; no `nbytes` where elements vary in length.
    `sharding`: the sharding codec, where the chain is nothing else.
    `decode_addresses(source, nbytes, destination)`: as `decode_into`, from address to address, where it `lands`.
    `decode_joined`: the same for several chunks by one call, as `BytesBytesCodec.joined_decoder` has it; None where
    there is no such way. `decode_parts`: the same of `BytesBytesCodec.part_decoder`.
    """

    __slots__ = (
        "_by_shape",
        "_decode",
        "_sizes",
        "_specs",
        "array_codecs",
        "bytes_codecs",
        "bytes_per_ms",
        "decode_addresses",
        "decode_into",
        "decode_joined",
        "decode_parts",
        "dtype",
        "encoded_limit",
        "encoded_size",
        "lands",
        "nbytes",
        "plain",
        "serializer",
        "spec",
    )

    array_codecs: tuple[ArrayArrayCodec, ...]
    serializer: ArrayBytesCodec
    bytes_codecs: tuple[BytesBytesCodec, ...]
    decode_addresses: Decoder
    decode_into: Callable[[Buffer, Buffer], None]
    decode_joined: JoinedDecoder | None
    decode_parts: PartDecoder | None

    def __init__(self, codecs: Sequence[Codec], spec: ChunkSpec) -> None:
        self.spec = spec
        array, serializer, after = _by_kind(codecs)
        self._by_shape: dict[tuple[int, ...], CodecChain] = {}
        self._specs: list[ChunkSpec] = []
        settled: list[ArrayArrayCodec] = []
        for codec in array:
            self._specs.append(spec)
            settled.append(codec.evolve(spec))
            spec = settled[-1].resolve(spec)
        self._specs.append(spec)
        self.array_codecs = tuple(settled)
        self.serializer = serializer.evolve(spec)
        self.bytes_codecs = tuple(codec.evolve(spec) for codec in after)
        self._measure()
        identity = all(c.is_identity(s) for c, s in zip(self.array_codecs, self._specs, strict=False))
        self.lands = identity and self.serializer.is_native(spec) and spec.dtype == self.spec.dtype
        self.plain = self.lands and not self.bytes_codecs
        self.bytes_per_ms = min([COPIED_PER_MS, *(codec.bytes_per_ms for codec in self.bytes_codecs)])
        self.dtype, self.nbytes = self.spec.dtype, self.spec.nbytes
        self._decode = self._compile_decode()
        self.decode_into, self.decode_addresses = self._compile_landing()
        self.decode_joined, self.decode_parts = self._compile_joined()

    @classmethod
    def build(cls, codecs: Sequence[Codec], spec: ChunkSpec) -> CodecChain:
        """Settle `codecs` for chunks like `spec`. MetadataError where they do not make a chain for them."""
        return cls(codecs, spec)

    @classmethod
    def from_metadata(cls, metadata: ArrayMetadata) -> CodecChain:
        """The chain of a stored array; with a sharding codec, of its shards.

        Raises UnknownCodecError, which names the package that has the codec where one is known, and MetadataError.
        """
        grid, data_type = metadata.grid, metadata.data_type
        shape = grid.chunk_shape((0,) * grid.ndim)
        spec = ChunkSpec(shape, data_type, metadata.fill_or_default)
        if metadata.zarr_format == 2:
            from gpuzarr.codecs.v2 import chain_codecs

            return cls(chain_codecs(metadata.filters, metadata.compressor, metadata.order, spec), spec)
        return cls([codec_from_config(c.name, c.configuration) for c in metadata.codecs], spec)

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Every step, in the order of encoding."""
        return (*self.array_codecs, self.serializer, *self.bytes_codecs)

    @property
    def sharding(self) -> ShardingCodec | None:
        """The sharding codec, where the chain is nothing else and inner chunks can be read by byte range."""
        alone = not self.array_codecs and not self.bytes_codecs and self.serializer.holds_chunks
        return self.serializer if alone else None  # type: ignore[return-value]

    def for_shape(self, shape: tuple[int, ...]) -> CodecChain:
        """This chain for chunks of another shape."""
        if shape == self.spec.shape:
            return self
        chain = self._by_shape.get(shape)
        if chain is None:
            spec = ChunkSpec(shape, self.spec.data_type, self.spec.fill_value)
            chain = self._by_shape[shape] = CodecChain(self.codecs, spec)
        return chain

    def decode(self, data: Buffer) -> np.ndarray[Any, Any]:
        """The chunk, of the spec's shape and data type; may share memory with `data`."""
        try:
            return self._decode(data)
        except (GpuzarrError, MemoryError):
            raise
        except Exception as error:
            raise self._unforeseen(error) from error

    def encode(self, chunk: np.ndarray[Any, Any], *, write_empty: bool = False) -> Buffer:
        """Encode a chunk of the spec's shape and data type; may share memory with `chunk`. `write_empty` concerns
        inner chunks of shards that hold nothing but the fill value: they are left out unless it is set.

        Raises EncodeError where the values do not go with the codecs.
        """
        for codec, spec in zip(self.array_codecs, self._specs, strict=False):
            chunk = codec.encode(chunk, spec)
        more = {"write_empty": True} if write_empty and self.serializer.holds_chunks else {}
        data = self.serializer.encode(chunk, self._specs[-1], **more)
        for step in self.bytes_codecs:
            data = step.encode(data)
        return data

    def __repr__(self) -> str:
        return f"CodecChain({' -> '.join(c.name for c in self.codecs)}, {self.spec.shape})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (CodecChain, (self.codecs, self.spec))

    # ---- building

    def _measure(self) -> None:
        """What each bytes->bytes step decodes to: (exact size or None, limit)."""
        spec = self._specs[-1]
        size, limit = self.serializer.encoded_size(spec), self.serializer.encoded_limit(spec)
        self._sizes: list[tuple[int | None, int]] = []
        for codec in self.bytes_codecs:
            self._sizes.append((size, limit))
            size = None if size is None else codec.encoded_size(size)
            limit = codec.encoded_limit(limit) if size is None else size
        self.encoded_size, self.encoded_limit = size, limit

    def _unwrap(self, first: int) -> Callable[[Buffer], Buffer]:
        """A function that decodes the bytes->bytes steps from the outermost down to number `first`."""
        steps = [_step(codec, *sizes) for codec, sizes in zip(self.bytes_codecs, self._sizes, strict=True)][first:]
        if not steps:
            return lambda data: data
        if len(steps) == 1:
            return steps[0]
        steps.reverse()

        def unwrap(data: Buffer) -> Buffer:
            for step in steps:
                data = step(data)
            return data

        return unwrap

    def _compile_decode(self) -> Callable[[Buffer], np.ndarray[Any, Any]]:
        unwrap, spec, serializer = self._unwrap(0), self._specs[-1], self.serializer
        backwards = list(zip(self.array_codecs, self._specs, strict=False))[::-1]
        shape, dtype = self.spec.shape, self.spec.dtype

        def decode(data: Buffer) -> np.ndarray[Any, Any]:
            chunk = serializer.decode(unwrap(data), spec)
            for codec, before in backwards:
                chunk = codec.decode(chunk, before)
            if chunk.shape != shape or chunk.dtype != dtype:
                raise CorruptChunkError(
                    "not a chunk of this array", expected=(shape, dtype), got=(chunk.shape, chunk.dtype)
                )
            return chunk

        return decode

    def _compile_landing(self) -> tuple[Callable[[Buffer, Buffer], None], Decoder]:
        """`decode_into` and `decode_addresses`."""
        if not self.lands:
            return self._no_landing, self._no_landing
        nbytes = self.spec.nbytes
        assert nbytes is not None
        decode: Decoder
        if not self.bytes_codecs:
            decode = _address_copy(nbytes)
        else:
            decode = self.bytes_codecs[0].decoder(nbytes)
            outer = self.bytes_codecs[1:]
            if len(outer) == 1 and outer[0].trims:
                decode = _after_trim(outer[0].trim, decode)
            elif outer:
                decode = _after(self._unwrap(1), decode)
            if not all(codec.only_foreseen for codec in self.bytes_codecs):
                decode = self._guarded(decode)

        def into(data: Buffer, out: Buffer) -> None:
            if size_of(out) != nbytes:
                raise ValueError(f"destination of {size_of(out)} bytes for a chunk of {nbytes}")
            decode(address(data), size_of(data), writable_address(out))

        return into, decode

    def _compile_joined(self) -> tuple[JoinedDecoder | None, PartDecoder | None]:
        """`decode_joined` and `decode_parts`."""
        outer, nbytes = self.bytes_codecs[1:], self.spec.nbytes
        if not self.lands or self.plain or not nbytes or not all(codec.trims for codec in outer):
            return None, None
        joined = self.bytes_codecs[0].joined_decoder(nbytes)
        parts = self.bytes_codecs[0].part_decoder(nbytes)
        trims = [codec.trim for codec in reversed(outer)]
        return joined and _trimmed(trims, joined), parts and _trimmed(trims, parts)

    def _guarded(self, decode: Decoder) -> Decoder:
        """`decode`, with what it does not foresee turned into CorruptChunkError."""
        unforeseen = self._unforeseen

        def guarded(source: int | bytes, size: int, destination: int) -> None:
            try:
                decode(source, size, destination)
            except (GpuzarrError, MemoryError):
                raise
            except Exception as error:
                raise unforeseen(error) from error

        return guarded

    def _unforeseen(self, error: Exception) -> CorruptChunkError:
        names = " -> ".join(codec.name for codec in self.codecs)
        return CorruptChunkError(f"{type(error).__name__}: {error}", codec=names)

    def _no_landing(self, *_: Any) -> None:
        raise ValueError(f"{self} cannot be decoded in place")


def _by_kind(
    codecs: Sequence[Codec],
) -> tuple[list[ArrayArrayCodec], ArrayBytesCodec, list[BytesBytesCodec]]:
    """The steps by kind. MetadataError where their order is not aa* ab bb*."""
    array = [c for c in codecs if isinstance(c, ArrayArrayCodec)]
    serializers = [c for c in codecs if isinstance(c, ArrayBytesCodec)]
    after = [c for c in codecs if isinstance(c, BytesBytesCodec)]
    names = ", ".join(c.name for c in codecs) or "none"
    if not serializers:
        raise MetadataError(f"the codecs have no array->bytes codec (such as 'bytes') among them: {names}")
    if len(serializers) > 1 or [*array, *serializers, *after] != list(codecs):
        raise MetadataError(f"codecs go array->array, one array->bytes, bytes->bytes; these do not: {names}")
    return array, serializers[0], after


def _step(codec: BytesBytesCodec, size: int | None, limit: int) -> Callable[[Buffer], Buffer]:
    """A function that decodes one bytes->bytes step."""
    if type(codec).strip is not BytesBytesCodec.strip:

        def strip(data: Buffer) -> Buffer:
            payload = codec.strip(data)
            got = size_of(payload)
            if got > limit or (size is not None and got != size):
                raise CorruptChunkError("wrong size", codec=codec.name, expected=size or limit, got=got)
            return payload

        return strip
    if size is None:
        return lambda data: codec.decode(data, limit)
    decode = codec.decoder(size)

    def exact(data: Buffer) -> Buffer:
        out = np.empty(size, np.uint8)
        decode(address(data), size_of(data), out.__array_interface__["data"][0])
        return out

    return exact


def _after(unwrap: Callable[[Buffer], Buffer], last: Decoder) -> Decoder:
    """The outer steps, then the innermost."""

    def decode(source: int | bytes, size: int, destination: int) -> None:
        inner = unwrap(memory_at(source, size))
        last(address(inner), size_of(inner), destination)

    return decode


def _trimmed(trims: Sequence[Callable[[int | bytes, int], int]], decode: Any) -> Any:
    """A decoder of several chunks behind checksums; it gives None where one of these is wrong."""
    if not trims:
        return decode

    def trimmed(room: Any, base: int, offsets: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any], *rest: Any) -> Any:
        try:
            for trim in trims:
                rows = zip(offsets.tolist(), sizes.tolist(), strict=True)
                sizes = np.array([trim(base + offset, size) for offset, size in rows], np.int64)
        except CorruptChunkError:
            return None
        return decode(room, base, offsets, sizes, *rest)

    return trimmed


def _after_trim(trim: Callable[[int | bytes, int], int], last: Decoder) -> Decoder:
    """A checksum behind the data, then the innermost."""

    def decode(source: int | bytes, size: int, destination: int) -> None:
        last(source, trim(source, size), destination)

    return decode


def _address_copy(nbytes: int) -> Decoder:
    def copy(source: int | bytes, size: int, destination: int) -> None:
        if size != nbytes:
            raise CorruptChunkError("wrong size", codec="bytes", expected=nbytes, got=size)
        memmove(destination, source, nbytes)

    return copy
