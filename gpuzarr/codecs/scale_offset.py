"""`scale_offset`: (x - offset) * scale.

Kind: array -> array. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/scale_offset
Configuration: {"name": "scale_offset", "configuration": {"offset": 5, "scale": 0.1}}; the two are written like fill
values of the array's data type, and 0 and 1 where they are left out. All arithmetic is in that data type: what does
not fit into an integer, or does not divide evenly on the way back, is an error. Runs on: any device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ChunkSpec
from gpuzarr.errors import CorruptChunkError, EncodeError, GpuzarrError, MetadataError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOffset(ArrayArrayCodec):
    """(x - offset) * scale, and x / scale + offset on the way back."""

    name = "scale_offset"

    offset: int | float | str = 0
    scale: int | float | str = 1

    def __post_init__(self) -> None:
        for key in ("offset", "scale"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float | str | np.number):
                raise MetadataError(f"codec 'scale_offset': {key} is a number, not {value!r}")
            if isinstance(value, np.number):
                object.__setattr__(self, key, value.item())

    def configuration(self) -> dict[str, Any]:
        given = {"offset": (self.offset, 0), "scale": (self.scale, 1)}
        return {key: value for key, (value, default) in given.items() if value != default}

    def evolve(self, spec: ChunkSpec) -> Self:
        if spec.dtype.kind not in "iuf":
            raise MetadataError(f"codec 'scale_offset' is for numbers, the array here is of {spec.data_type.name!r}")
        if self.scalars(spec)[1] == 0:
            raise MetadataError("codec 'scale_offset': scale must not be zero")
        return self

    def scalars(self, spec: ChunkSpec) -> tuple[Any, Any]:
        """Offset and scale in the chunk's data type."""
        try:
            return spec.data_type.fill_from_json(self.offset, 3), spec.data_type.fill_from_json(self.scale, 3)
        except (GpuzarrError, TypeError, ValueError, OverflowError) as error:
            raise MetadataError(
                f"codec 'scale_offset': offset {self.offset!r} or scale {self.scale!r} is no {spec.data_type.name}:"
                f" {error}"
            ) from error

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        if spec.fill_value is None:
            return spec
        try:
            fill = self.encode(np.asarray(spec.fill_value, spec.dtype).reshape(1), spec)[0]
        except EncodeError as error:
            raise MetadataError(f"the fill value {spec.fill_value!r} cannot be encoded: {error}") from error
        return replace(spec, fill_value=fill)

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        offset, scale = self.scalars(spec)
        if spec.dtype.kind == "f":
            with np.errstate(all="ignore"):
                encoded: np.ndarray[Any, Any] = (chunk - offset) * scale
            return encoded.astype(spec.dtype, copy=False)
        return _narrow((_wide(chunk) - int(offset)) * int(scale), spec.dtype, EncodeError)

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        offset, scale = self.scalars(spec)
        if spec.dtype.kind == "f":
            with np.errstate(all="ignore"):
                decoded: np.ndarray[Any, Any] = chunk / scale + offset
            return decoded.astype(spec.dtype, copy=False)
        wide = _wide(chunk)
        if abs(int(scale)) != 1 and (wide % int(scale) != 0).any():
            raise CorruptChunkError(f"a value is not a multiple of the scale {scale}", codec=self.name)
        return _narrow(wide // int(scale) + int(offset), spec.dtype, CorruptChunkError)


def _wide(chunk: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Integers in which nothing here overflows: int64 holds any product of two 32-bit numbers, Python's integers
    hold the rest."""
    return chunk.astype(np.int64 if chunk.dtype.itemsize < 4 else object)


def _narrow(values: np.ndarray[Any, Any], dtype: np.dtype[Any], error: type[Exception]) -> np.ndarray[Any, Any]:
    bounds = np.iinfo(dtype)
    if values.size and (int(values.min()) < bounds.min or int(values.max()) > bounds.max):
        raise error(f"codec 'scale_offset': a value lies outside {dtype}")
    return values.astype(dtype)
