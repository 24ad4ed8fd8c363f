"""`bytes`: the elements themselves, in C order and in a given byte order.

Kind: array -> bytes. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/bytes/
Configuration: {"name": "bytes", "configuration": {"endian": "little"}}; `endian` is left out where the elements
have no byte order. Old drafts call it `endian`. Known trouble: structured types were written without `endian`,
which meant little. Runs on: any device; native byte order costs nothing.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec
from gpuzarr.codecs.engines.memory import Buffer, octets
from gpuzarr.errors import CorruptChunkError, MetadataError, ZarrUserWarning

Endian = Literal["little", "big"]


def swap_unit(dtype: np.dtype[Any]) -> int:
    """Bytes that change places when the byte order of a plain data type changes; 1 where there is none."""
    if dtype.kind in "bS" or dtype.type is np.void:
        return 1
    return {"c": dtype.itemsize // 2, "U": 4}.get(dtype.kind, dtype.itemsize)


def has_byte_order(dtype: np.dtype[Any]) -> bool:
    """Whether the elements, or a field of theirs, have a byte order."""
    if dtype.names is not None:
        return any(has_byte_order(dtype[name].base) for name in dtype.names)
    return dtype.itemsize > 0 and swap_unit(dtype) > 1


def is_big(dtype: np.dtype[Any]) -> bool:
    """Whether a plain data type is big-endian in memory."""
    return dtype.byteorder == ">" or (dtype.byteorder in "=|" and sys.byteorder == "big")


def byteswapped(chunk: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same elements of the same data type, bytes of each reversed in memory."""
    unit = swap_unit(chunk.dtype)
    if unit not in (2, 4, 8):
        return chunk.byteswap()
    swapped: np.ndarray[Any, Any] = np.ascontiguousarray(chunk).reshape(-1).view(f"u{unit}").byteswap()
    back: np.ndarray[Any, Any] = swapped.view(chunk.dtype)
    return back.reshape(chunk.shape)


@dataclass(frozen=True, slots=True)
class BytesCodec(ArrayBytesCodec):
    """Elements in C order."""

    name = "bytes"

    endian: Endian | None = sys.byteorder

    def __init__(self, *, endian: Endian | None = sys.byteorder) -> None:
        endian = getattr(endian, "value", endian)
        if endian not in ("little", "big", None):
            raise MetadataError(f"codec 'bytes': endian is 'little' or 'big', not {endian!r}")
        object.__setattr__(self, "endian", endian)

    @classmethod
    def from_configuration(cls, configuration: Any) -> Self:
        return super(BytesCodec, cls).from_configuration({"endian": None, **configuration})

    def configuration(self) -> dict[str, Any]:
        return {} if self.endian is None else {"endian": self.endian}

    def evolve(self, spec: ChunkSpec) -> Self:
        dtype = spec.dtype
        if spec.data_type.itemsize is None or dtype.hasobject:
            raise MetadataError(f"codec 'bytes' cannot hold {spec.data_type.name!r}, whose elements vary in length")
        if not has_byte_order(dtype):
            return self if self.endian is None else replace(self, endian=None)
        if self.endian is None:
            if dtype.names is None:
                raise MetadataError(f"codec 'bytes' needs `endian` for data type {spec.data_type.name!r}")
            warnings.warn(
                "codec 'bytes' has no `endian` for a structured data type; little is assumed, as old writers meant",
                ZarrUserWarning,
                stacklevel=2,
            )
            return replace(self, endian="little")
        return self

    def is_native(self, spec: ChunkSpec) -> bool:
        """Whether stored bytes are the elements as they lie in memory."""
        dtype = spec.dtype
        if self.endian is None or not has_byte_order(dtype):
            return True
        if dtype.names is not None:
            return dtype == dtype.newbyteorder(self.endian)
        return is_big(dtype) == (self.endian == "big")

    def encoded_size(self, spec: ChunkSpec) -> int | None:
        return spec.nbytes

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        if not self.is_native(spec):
            structured = chunk.dtype.names is not None and self.endian is not None
            chunk = chunk.astype(chunk.dtype.newbyteorder(self.endian)) if structured else byteswapped(chunk)
        return np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        raw, dtype = octets(data), spec.dtype
        if raw.size != spec.nbytes:
            raise CorruptChunkError("wrong size", codec=self.name, expected=spec.nbytes, got=raw.size)
        if not raw.size:
            return np.empty(spec.shape, dtype)
        if self.is_native(spec):
            return raw.view(dtype).reshape(spec.shape)
        if dtype.names is not None and self.endian is not None:
            return raw.view(dtype.newbyteorder(self.endian)).astype(dtype).reshape(spec.shape)
        return byteswapped(raw.view(dtype)).reshape(spec.shape)
