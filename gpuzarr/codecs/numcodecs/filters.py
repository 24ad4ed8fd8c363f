"""Filters, array -> array, computed by numcodecs (which computes them with NumPy)."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any, ClassVar, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ChunkSpec
from gpuzarr.codecs.numcodecs.base import PREFIX, Numcodec, dtype_of
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import CorruptChunkError, EncodeError, GpuzarrError, MetadataError


class Filter(Numcodec, ArrayArrayCodec):
    """An element of one data type for every element of another.

    `before` and `after` name the two data types in the configuration; one that is not given is that of the chunk.
    """

    before: ClassVar[str | None] = "dtype"
    after: ClassVar[str | None] = None
    numbers: ClassVar[tuple[str, ...]] = ()  # what else the configuration has

    def check(self) -> None:
        known = {self.before, self.after, *self.numbers}
        if unknown := sorted(set(self.config) - known):
            raise MetadataError(f"codec {self.name!r}: unknown configuration {unknown}")

    def evolve(self, spec: ChunkSpec) -> Self:
        if self.before is None:
            return self
        if self.config.get(self.before) is None:
            return self.with_config(**{self.before: str(spec.dtype)})
        wanted = dtype_of(self, self.config[self.before])
        # Times are filtered as integers; a type of another width would change the size of every chunk.
        if wanted.itemsize != spec.dtype.itemsize or spec.dtype.hasobject:
            raise MetadataError(f"codec {self.name!r} is for {wanted}, the array here is of {spec.dtype}")
        return self

    def input_dtype(self, default: np.dtype[Any]) -> np.dtype[Any]:
        """Data type of what is encoded."""
        value = self.config.get(self.before) if self.before else None
        return default if value is None else dtype_of(self, value)

    def output_dtype(self, default: np.dtype[Any]) -> np.dtype[Any]:
        """Data type of the encoded elements."""
        value = self.config.get(self.after) if self.after else None
        return self.input_dtype(default) if value is None else dtype_of(self, value)

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        dtype = self.output_dtype(spec.dtype)
        if dtype == spec.dtype:
            return spec
        data_type = parse_dtype(dtype, zarr_format=2)
        try:
            fill = data_type.cast_fill(spec.fill_value)
        except (GpuzarrError, TypeError, ValueError, OverflowError):
            fill = data_type.default_fill()
        return replace(spec, data_type=data_type, fill_value=fill)

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        after = self.resolve(spec)
        encoded = np.asarray(self.encoding(self.wrapped.encode, np.ascontiguousarray(chunk)))
        if encoded.nbytes != after.nbytes:
            raise EncodeError(f"codec {self.name!r} made {encoded.nbytes} bytes where {after.nbytes} were expected")
        return _as(encoded, after)

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        decoded = np.asarray(self.safely(self.wrapped.decode, np.ascontiguousarray(chunk)))
        if decoded.nbytes != spec.nbytes:
            raise CorruptChunkError("wrong decoded size", codec=self.name, expected=spec.nbytes, got=decoded.nbytes)
        return _as(decoded, spec)


def _as(array: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
    flat = np.ascontiguousarray(array).reshape(-1)
    return (flat if flat.dtype == spec.dtype else flat.view(spec.dtype)).reshape(spec.shape)


class Delta(Filter):
    """Differences of neighbours; `dtype`, and `astype` for the differences."""

    codec_id, name, after = "delta", PREFIX + "delta", "astype"


class FixedScaleOffset(Filter):
    """round((x - offset) * scale); `offset`, `scale`, `dtype`, and `astype` for the result."""

    codec_id, name, after = "fixedscaleoffset", PREFIX + "fixedscaleoffset", "astype"
    numbers = ("offset", "scale")


class Quantize(Filter):
    """Floats rounded to so many decimal `digits`; `dtype`, `astype`."""

    codec_id, name, after, numbers = "quantize", PREFIX + "quantize", "astype", ("digits",)


class BitRound(Filter):
    """Floats with so many bits of their mantissa kept; `keepbits`."""

    codec_id, name, before, numbers = "bitround", PREFIX + "bitround", None, ("keepbits",)


class AsType(Filter):
    """Another data type; `encode_dtype`, `decode_dtype`."""

    codec_id, name, before, after = "astype", PREFIX + "astype", "decode_dtype", "encode_dtype"

    def check(self) -> None:
        super().check()
        if "encode_dtype" not in self.config:
            raise MetadataError(f"codec {self.name!r} needs encode_dtype")


class PackBits(Filter):
    """Booleans, eight a byte, after one byte that counts the padding bits."""

    codec_id, name, before = "packbits", PREFIX + "packbits", None

    def evolve(self, spec: ChunkSpec) -> Self:
        if spec.dtype.itemsize != 1:
            raise MetadataError(f"codec {self.name!r} is for bool, the array here is of {spec.dtype}")
        return self

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return ChunkSpec((1 + ceil(spec.size / 8),), parse_dtype("uint8"), np.uint8(0))

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        padding = -spec.size % 8
        if int(chunk.reshape(-1)[0]) != padding:
            raise CorruptChunkError("wrong padding", codec=self.name, expected=padding, got=int(chunk.reshape(-1)[0]))
        return super().decode(chunk, spec)
