"""`bitround`: fewer significant bits, so that what follows compresses better.

Kind: array -> array. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/bitround
Configuration: {"name": "bitround", "configuration": {"keepbits": 10}}: bits of the mantissa of a float, or bits
of an integer from its highest one down. Ties go to the even neighbour, as in numcodecs. Decoding changes nothing.
Runs on: any device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ChunkSpec, is_integer
from gpuzarr.errors import MetadataError

_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
_PARTS = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BitRound(ArrayArrayCodec):
    """Keep `keepbits` bits of each number."""

    name = "bitround"

    keepbits: int

    def __post_init__(self) -> None:
        if not is_integer(self.keepbits, 1, 64):
            raise MetadataError(f"codec 'bitround': keepbits is an integer from 1, not {self.keepbits!r}")

    def evolve(self, spec: ChunkSpec) -> Self:
        mantissa = _mantissa(spec.dtype)
        if mantissa is None and spec.dtype.kind not in "iumM":
            raise MetadataError(f"codec 'bitround' is for numbers, the array here is of {spec.data_type.name!r}")
        if mantissa is not None and self.keepbits > mantissa:
            raise MetadataError(f"codec 'bitround': {spec.dtype} has {mantissa} bits to keep, not {self.keepbits}")
        return self

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        if spec.fill_value is None:
            return spec
        fill = self.encode(np.asarray(spec.fill_value, spec.dtype).reshape(1), spec)[0]
        return replace(spec, fill_value=fill)

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        mantissa = _mantissa(spec.dtype)
        native = np.ascontiguousarray(chunk.astype(chunk.dtype.newbyteorder("="), copy=False))
        width = native.dtype.itemsize // (2 if native.dtype.kind == "c" else 1)
        bits = native.reshape(-1).view(f"u{width}")
        rounded = _round_integers(bits, self.keepbits) if mantissa is None else _round(bits, mantissa - self.keepbits)
        result: np.ndarray[Any, Any] = rounded.view(native.dtype)
        back: np.ndarray[Any, Any] = np.asarray(result.reshape(chunk.shape), chunk.dtype)
        return back

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return chunk


def _mantissa(dtype: np.dtype[Any]) -> int | None:
    name = dtype.newbyteorder("=").name
    return _MANTISSA.get(_PARTS.get(name, name))


def _round(bits: np.ndarray[Any, Any], drop: int) -> np.ndarray[Any, Any]:
    """Clear the lowest `drop` bits, rounding to nearest, ties to even."""
    if drop <= 0:
        return bits.copy()
    one = bits.dtype.type(1)
    count = bits.dtype.type(drop)
    half = (one << (count - one)) - one
    rounded: np.ndarray[Any, Any] = (bits + ((bits >> count & one) + half)) >> count
    rounded <<= count
    return rounded


def _round_integers(bits: np.ndarray[Any, Any], keep: int) -> np.ndarray[Any, Any]:
    """Clear what is more than `keep` bits below the highest set bit of each."""
    length = np.zeros(bits.shape, np.uint8)
    for place in range(8 * bits.dtype.itemsize):
        length[bits >> bits.dtype.type(place) != 0] = place + 1
    result = bits.copy()
    for size in np.unique(length[length > keep]).tolist():
        chosen = length == size
        rounded, cut = _round(bits[chosen], size - keep), bits.dtype.type(size - keep)
        # Rounding up out of the type would give zero; those are cut instead.
        result[chosen] = np.where(rounded < bits[chosen] >> cut << cut, bits[chosen] >> cut << cut, rounded)
    return result
