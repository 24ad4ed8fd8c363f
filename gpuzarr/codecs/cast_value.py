"""`cast_value`: the same values in another data type.

Kind: array -> array. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/cast_value
Configuration: {"name": "cast_value", "configuration": {"data_type": "uint8", "rounding": "nearest-even",
"out_of_range": "clamp", "scalar_map": {"encode": [["NaN", 0]], "decode": [[0, "NaN"]]}}}. For each value: the map
first, then the value itself where the type has it, then rounding, then `out_of_range` (an error where it is left
out). NaN that goes to an integer is an error unless mapped. Runs on: any device.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ChunkSpec
from gpuzarr.dtypes import DataType, parse_dtype
from gpuzarr.errors import CorruptChunkError, EncodeError, GpuzarrError, MetadataError

Rounding = Literal["nearest-even", "towards-zero", "towards-positive", "towards-negative", "nearest-away"]
_ROUND: dict[str, Any] = {
    "nearest-even": np.rint,
    "towards-zero": np.trunc,
    "towards-positive": np.ceil,
    "towards-negative": np.floor,
    "nearest-away": lambda x: np.trunc(x + np.copysign(np.nextafter(0.5, 0), x)),
}
_INTEGER = re.compile(r"(u?)int(\d+)")
_FLOAT = re.compile(r"b?float\d+(_\w+)?")


@dataclass(frozen=True)
class CastValue(ArrayArrayCodec):
    """Values as `data_type`."""

    name = "cast_value"

    data_type: DataType
    rounding: Rounding = "nearest-even"
    out_of_range: Literal["clamp", "wrap"] | None = None
    scalar_map: Mapping[str, Any] | None = field(default=None, hash=False)

    def __init__(
        self,
        *,
        data_type: Any,
        rounding: Rounding = "nearest-even",
        out_of_range: Literal["error", "clamp", "wrap"] | None = None,
        scalar_map: Mapping[str, Any] | None = None,
    ) -> None:
        target = parse_dtype(data_type)
        integer = _INTEGER.fullmatch(target.name)
        if not integer and not _FLOAT.fullmatch(target.name):
            raise MetadataError(f"codec 'cast_value' is for integers and floats, not {target.name!r}")
        if rounding not in _ROUND:
            raise MetadataError(f"codec 'cast_value': rounding is one of {', '.join(_ROUND)}, not {rounding!r}")
        if out_of_range not in (None, "error", "clamp", "wrap") or (out_of_range == "wrap" and not integer):
            raise MetadataError(f"codec 'cast_value': out_of_range {out_of_range!r} is not possible for {target.name}")
        put = object.__setattr__
        put(self, "data_type", target)
        put(self, "rounding", rounding)
        put(self, "out_of_range", None if out_of_range == "error" else out_of_range)
        put(self, "scalar_map", _parse_map(scalar_map))

    def configuration(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {"data_type": self.data_type.to_v3()}
        if self.rounding != "nearest-even":
            chosen["rounding"] = self.rounding
        if self.out_of_range is not None:
            chosen["out_of_range"] = self.out_of_range
        if self.scalar_map is not None:
            chosen["scalar_map"] = {way: [list(pair) for pair in pairs] for way, pairs in self.scalar_map.items()}
        return chosen

    def evolve(self, spec: ChunkSpec) -> CastValue:
        name = spec.data_type.name
        if not _INTEGER.fullmatch(name) and not _FLOAT.fullmatch(name):
            raise MetadataError(f"codec 'cast_value' is for integers and floats, the array here is of {name!r}")
        if self.out_of_range == "wrap" and not _INTEGER.fullmatch(name):
            pass  # the way back goes to a float, which holds every integer that can be stored
        for way, (source, target) in {
            "encode": (spec.data_type, self.data_type),
            "decode": (self.data_type, spec.data_type),
        }.items():
            self.pairs(way, source, target)
        return self

    def pairs(self, way: str, source: DataType, target: DataType) -> list[tuple[Any, Any]]:
        """The map of "encode" or "decode": values of one data type, and what they become in the other."""
        given = (self.scalar_map or {}).get(way, ())
        try:
            return [(source.fill_from_json(k, 3), target.fill_from_json(v, 3)) for k, v in given]
        except (GpuzarrError, TypeError, ValueError, OverflowError) as error:
            raise MetadataError(f"codec 'cast_value': scalar_map {way} {given!r}: {error}") from error

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        if spec.fill_value is None:
            return replace(spec, data_type=self.data_type)
        try:
            fill = self.encode(np.asarray(spec.fill_value, spec.dtype).reshape(1), spec)[0]
        except EncodeError as error:
            raise MetadataError(f"the fill value {spec.fill_value!r} cannot be encoded: {error}") from error
        return replace(spec, data_type=self.data_type, fill_value=fill)

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        try:
            return self._cast(chunk, "encode", spec.data_type, self.data_type)
        except _OutOfRangeError as error:
            raise EncodeError(f"codec 'cast_value': {error}") from None

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        try:
            return self._cast(chunk, "decode", self.data_type, spec.data_type)
        except _OutOfRangeError as error:
            raise CorruptChunkError(str(error), codec=self.name) from None

    def _cast(self, chunk: np.ndarray[Any, Any], way: str, source: DataType, target: DataType) -> np.ndarray[Any, Any]:
        pairs = self.pairs(way, source, target)
        chosen = []
        rest = chunk
        for key, value in pairs:
            where = chunk != chunk if key != key else chunk == key
            chosen.append((where, value))
        if chosen:
            rest = chunk.copy()
            for where, _ in chosen:
                rest[where] = 0
        with np.errstate(all="ignore"):
            cast: np.ndarray[Any, Any] = self._cast_all(rest, source, target)
        for where, value in reversed(chosen):  # the first pair that matches counts
            cast[where] = value
        return cast

    def _cast_all(self, values: np.ndarray[Any, Any], source: DataType, target: DataType) -> np.ndarray[Any, Any]:
        to, origin = _INTEGER.fullmatch(target.name), _INTEGER.fullmatch(source.name)
        if to is None:
            return self._to_float(values, target.numpy, origin is not None)
        low, high = _bounds(to)
        if origin is not None:
            return self._integer_to_integer(values, target.numpy, _bounds(origin), (low, high))
        wide = values.astype(np.float64)
        if np.isnan(wide).any():
            raise _OutOfRangeError(f"NaN has no place in {target.name}")
        wide = np.asarray(_ROUND[self.rounding](wide))
        under, over = wide < float(low), wide >= float(high + 1)  # both are powers of two, so exact
        outside = under | over
        if not outside.any():
            return _from_integers(wide, target.numpy)
        if self.out_of_range is None or (self.out_of_range == "wrap" and not np.isfinite(wide[outside]).all()):
            raise _OutOfRangeError(f"{wide[outside].reshape(-1)[0]} lies outside {target.name}")
        cast = _from_integers(np.where(outside, 0, wide), target.numpy)
        if self.out_of_range == "clamp":
            cast[under], cast[over] = low, high
        else:
            size = high - low + 1
            cast[outside] = [(int(v) - low) % size + low for v in wide[outside].tolist()]
        return cast

    def _integer_to_integer(
        self, values: np.ndarray[Any, Any], dtype: np.dtype[Any], have: tuple[int, int], want: tuple[int, int]
    ) -> np.ndarray[Any, Any]:
        if want[0] <= have[0] and have[1] <= want[1]:
            return values.astype(dtype)
        wide = values.astype(np.int64) if values.dtype.isbuiltin != 1 else values
        low, high = max(want[0], have[0]), min(want[1], have[1])
        outside = (wide < low) | (wide > high)
        if not outside.any():
            return wide.astype(dtype)
        if self.out_of_range is None:
            raise _OutOfRangeError(f"{wide[outside].reshape(-1)[0]} lies outside [{want[0]}, {want[1]}]")
        if self.out_of_range == "clamp":
            clipped: np.ndarray[Any, Any] = np.clip(wide, low, high)
            return clipped.astype(dtype)
        size = want[1] - want[0] + 1
        cast = np.where(outside, 0, wide).astype(dtype)
        cast[outside] = [(v - want[0]) % size + want[0] for v in wide[outside].tolist()]
        return cast

    def _to_float(self, values: np.ndarray[Any, Any], dtype: np.dtype[Any], exact: bool) -> np.ndarray[Any, Any]:
        cast = values.astype(dtype)
        back = cast.astype(np.float64)
        wide = values.astype(np.float64)
        if (np.isnan(wide) & ~np.isnan(back)).any():
            raise _OutOfRangeError(f"{dtype} has no NaN")
        beyond = np.isfinite(wide) & ~np.isfinite(back)
        if beyond.any():
            if self.out_of_range is None:
                raise _OutOfRangeError(f"{wide[beyond].reshape(-1)[0]} lies outside {dtype}")
            cast[beyond] = np.copysign(_largest(dtype), wide[beyond]).astype(dtype)
        if self.rounding not in ("nearest-even", "nearest-away"):
            cast = _direct(values, cast, self.rounding, exact)
        return cast


class _OutOfRangeError(Exception):
    """A value that the target type has no place for."""


def _parse_map(scalar_map: Any) -> Mapping[str, Any] | None:
    if scalar_map is None:
        return None
    if not isinstance(scalar_map, Mapping) or set(scalar_map) - {"encode", "decode"}:
        raise MetadataError(f"codec 'cast_value': scalar_map has `encode` and `decode`, not {scalar_map!r}")
    parsed = {}
    for way, entries in scalar_map.items():
        pairs = list(entries.items()) if isinstance(entries, Mapping) else entries
        if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
            raise MetadataError(f"codec 'cast_value': scalar_map {way} is a list of pairs, not {entries!r}")
        parsed[way] = tuple(tuple(pair) for pair in pairs)
    return parsed


def _bounds(integer: re.Match[str]) -> tuple[int, int]:
    bits = int(integer[2])
    return (0, 2**bits - 1) if integer[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _from_integers(wide: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Floats that are integers in range, as those integers."""
    return wide.astype(dtype) if dtype.isbuiltin == 1 else wide.astype(np.int64).astype(dtype)


def _largest(dtype: np.dtype[Any]) -> float:
    if dtype.isbuiltin == 1:
        return float(np.finfo(dtype).max)
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def _direct(
    values: np.ndarray[Any, Any], nearest: np.ndarray[Any, Any], rounding: str, exact: bool
) -> np.ndarray[Any, Any]:
    """`nearest` moved by one step where the nearest float lies on the wrong side of the value."""
    if exact:  # integers beyond 2^53 are compared as Python's
        pairs = zip(values.reshape(-1).tolist(), nearest.astype(np.float64).reshape(-1).tolist(), strict=True)
        side = np.array([(int(n) > v) - (int(n) < v) for v, n in pairs], np.int8).reshape(values.shape)
        sign = np.sign(values.astype(np.float64))
    else:
        wide, near = values.astype(np.float64), nearest.astype(np.float64)
        side, sign = np.sign(near - wide), np.sign(wide)
        side[~np.isfinite(wide)] = 0
    up = {
        "towards-positive": side < 0,
        "towards-negative": np.zeros(side.shape, bool),
        "towards-zero": (side < 0) & (sign < 0),
    }
    down = {
        "towards-positive": np.zeros(side.shape, bool),
        "towards-negative": side > 0,
        "towards-zero": (side > 0) & (sign > 0),
    }
    result = nearest.copy()
    infinity = np.asarray(np.inf, np.float64).astype(nearest.dtype)
    result[up[rounding]] = np.nextafter(nearest[up[rounding]], infinity)
    result[down[rounding]] = np.nextafter(nearest[down[rounding]], -infinity)
    return result
