"""The codecs of format 2: `order`, `filters` and `compressor` as a chain.

Spec: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html. Filters are numcodecs codecs that run one after
the other on whatever the one before gave, then the compressor. Here they become array->array steps up to the
first that makes bytes, which is the array->bytes step (or is preceded by one that takes the elements as they lie
in memory), and bytes->bytes steps from there. With order "F" the chunk is stored as its transpose would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpuzarr.codecs import numcodecs
from gpuzarr.codecs.bytes import byteswapped
from gpuzarr.codecs.contract import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec, ChunkSpec, Codec
from gpuzarr.codecs.engines.memory import Buffer, octets, size_of
from gpuzarr.codecs.numcodecs.compressors import Base64
from gpuzarr.codecs.numcodecs.filters import Filter
from gpuzarr.codecs.numcodecs.objects import JSON, Categorize, MsgPack, VLenArray
from gpuzarr.codecs.registry import unknown_codec
from gpuzarr.codecs.transpose import TransposeCodec
from gpuzarr.codecs.vlen_bytes import VLenBytesCodec
from gpuzarr.codecs.vlen_utf8 import VLenUTF8Codec
from gpuzarr.errors import CorruptChunkError, MetadataError

_CLASSES: dict[str, type[numcodecs.Numcodec]] = {
    cls.codec_id: cls
    for cls in (
        *(getattr(numcodecs, name) for name in numcodecs.__all__ if name != "Numcodec"),
        Base64,
        JSON,
        MsgPack,
        VLenArray,
        Categorize,
    )
}


def codec_from_v2(config: Any) -> Codec:
    """The codec for a numcodecs configuration (`{"id": ..., ...}`).

    Raises UnknownCodecError, PickleCodecDisabledError, MetadataError.
    """
    if not isinstance(config, dict) or not isinstance(config.get("id"), str):
        raise MetadataError(f"a filter or compressor is an object with an `id`, not {config!r}")
    name = config["id"]
    if name == "vlen-utf8":
        return VLenUTF8Codec()
    if name == "vlen-bytes":
        return VLenBytesCodec()
    if name not in _CLASSES:
        raise unknown_codec(name)
    return _CLASSES[name].from_configuration({k: v for k, v in config.items() if k != "id"})


def chain_codecs(
    filters: Sequence[dict[str, Any]], compressor: dict[str, Any] | None, order: str, spec: ChunkSpec
) -> list[Codec]:
    """The chain of a format 2 array of chunks like `spec`."""
    steps = [codec_from_v2(config) for config in (*filters, *([compressor] if compressor is not None else []))]
    chain: list[Codec] = []
    if order == "F" and len(spec.shape) > 1:
        transpose = TransposeCodec(order="F").evolve(spec)
        chain.append(transpose)
        spec = transpose.resolve(spec)
    while steps and isinstance(steps[0], ArrayArrayCodec):
        step = steps.pop(0).evolve(spec)
        assert isinstance(step, ArrayArrayCodec)
        chain.append(step)
        spec = step.resolve(spec)
    typesize = 1
    if steps and isinstance(steps[0], ArrayBytesCodec):
        chain.append(steps.pop(0))
    else:
        chain.append(RawBytes())
        typesize = spec.data_type.itemsize or 1
    for step in steps:
        chain.append(_after(step, typesize))
        typesize = 1  # what a bytes->bytes step makes is single bytes
    return chain


def in_native_order(codecs: Sequence[Codec], spec: ChunkSpec) -> tuple[Sequence[Codec], ChunkSpec]:
    """A chain and its spec with elements in the machine's byte order, for devices that know no other."""
    if spec.dtype.kind not in "iufc":
        return codecs, spec
    data_type = replace(spec.data_type, numpy=spec.dtype.newbyteorder("="))
    return [OtherOrder(), *codecs], ChunkSpec(spec.shape, data_type, spec.fill_value)


def _after(step: Codec, typesize: int) -> Codec:
    """A step behind the array->bytes one."""
    if isinstance(step, numcodecs.Blosc) and step.config.get("typesize") is None:
        return step.with_config(typesize=typesize)
    if isinstance(step, numcodecs.Shuffle) and step.config.get("elementsize") is None:
        return step.with_config(elementsize=4)  # numcodecs' default
    if isinstance(step, BytesBytesCodec):
        return step
    if isinstance(step, Filter) and not isinstance(step, numcodecs.PackBits | numcodecs.BitRound):
        return FilteredBytes(step)
    raise MetadataError(f"filter {step.name!r} cannot come behind one that makes bytes")


@dataclass(frozen=True, slots=True)
class OtherOrder(ArrayArrayCodec):
    """The same numbers, each with its bytes turned round in memory; what follows is told so by their data type."""

    name = "byte_order"

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return replace(spec, data_type=replace(spec.data_type, numpy=spec.dtype.newbyteorder()))

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return byteswapped(chunk).view(spec.dtype.newbyteorder())

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return byteswapped(chunk).view(spec.dtype)


@dataclass(frozen=True, slots=True)
class RawBytes(ArrayBytesCodec):
    """The elements as they lie in memory: format 2 has the byte order in the data type."""

    name = "bytes"

    def evolve(self, spec: ChunkSpec) -> RawBytes:
        if spec.data_type.itemsize is None or spec.dtype.hasobject:
            raise MetadataError("an array of objects needs a filter that encodes them (vlen-utf8, json2, ...)")
        return self

    def is_native(self, spec: ChunkSpec) -> bool:
        return True

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        return spec.nbytes

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        return np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        raw = octets(data)
        if raw.size != spec.nbytes:
            raise CorruptChunkError("wrong size", codec=self.name, expected=spec.nbytes, got=raw.size)
        return raw.view(spec.dtype).reshape(spec.shape) if raw.size else np.empty(spec.shape, spec.dtype)


class FilteredBytes(BytesBytesCodec):
    """An array->array filter on bytes, which it takes for elements of the data type in its configuration."""

    def __init__(self, step: Filter) -> None:
        self.step, self.name = step, step.name  # type: ignore[misc]
        byte = np.dtype(np.uint8)
        self._before, self._after = step.input_dtype(byte).itemsize, step.output_dtype(byte).itemsize

    def configuration(self) -> dict[str, Any]:
        return self.step.configuration()

    def encoded_size(self, nbytes: int) -> int:
        return nbytes // self._before * self._after

    def encode(self, data: Buffer) -> Buffer:
        return octets(np.asarray(self.step.encoding(self.step.wrapped.encode, octets(data))))

    def decode_into(self, data: Buffer, out: Buffer) -> None:
        target = octets(out)
        decoded = octets(np.ascontiguousarray(self.step.safely(self.step.wrapped.decode, octets(data))))
        if decoded.size != target.size:
            raise CorruptChunkError("wrong size", codec=self.name, expected=target.size, got=decoded.size)
        target[:] = decoded

    def decode(self, data: Buffer, limit: int) -> Buffer:
        size = size_of(data) // self._after * self._before
        if size > limit:
            raise CorruptChunkError("longer than expected", codec=self.name, expected=limit, got=size)
        out = np.empty(size, np.uint8)
        self.decode_into(data, out)
        return out
