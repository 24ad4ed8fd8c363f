"""Numbers: bool, integers, floats and complex numbers, those of `ml_dtypes` included.

Fill values (v3 core, "Fill value"): integers without fraction; floats as a JSON number, "NaN", "Infinity", "-Infinity"
or the bit pattern in hexadecimal, which is the only way to write a NaN with a payload; complex as [real, imaginary].
"""

from __future__ import annotations

import importlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpuzarr.dtypes.model import DataType, plain_scalar
from gpuzarr.errors import DataTypeValidationError

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_ML_INTEGERS = ("int2", "int4", "uint2", "uint4")
_ML_FLOATS = (
    "bfloat16",
    "float4_e2m1fn",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
# Complex identifiers -> (dtype, dtype of one part).
_COMPLEX = {
    "complex64": ("complex64", "float32"),
    "complex128": ("complex128", "float64"),
    "complex_float32": ("complex64", "float32"),
    "complex_float64": ("complex128", "float64"),
    "complex_float16": ("ml_dtypes.complex32", "float16"),
    "complex_bfloat16": ("ml_dtypes.bcomplex32", "ml_dtypes.bfloat16"),
}
ML_NAMES = frozenset([*_ML_INTEGERS, *_ML_FLOATS, "complex_float16", "complex_bfloat16"])
_ML_COMPLEX = {"complex32": "complex_float16", "bcomplex32": "complex_bfloat16"}


def number(name: str) -> DataType | None:
    """The number type with this v3 identifier, or None. DataTypeValidationError where `ml_dtypes` is missing."""
    if name == "bool":
        return Bool(name, np.dtype(bool))
    if re.fullmatch("u?int(8|16|32|64)", name):
        return Integer(name, np.dtype(name))
    if re.fullmatch("float(16|32|64)", name):
        return Float(name, np.dtype(name))
    if name in _ML_INTEGERS:
        return Integer(name, _dtype(f"ml_dtypes.{name}"))
    if name in _ML_FLOATS:
        return Float(name, _dtype(f"ml_dtypes.{name}"))
    if name in _COMPLEX:
        whole, part = _COMPLEX[name]
        return Complex(name, _dtype(whole), _dtype(part))
    return None


def number_from_numpy(dtype: np.dtype[Any]) -> DataType | None:
    """The number type of a NumPy or `ml_dtypes` dtype, byte order kept; None for what is no number of Zarr."""
    if dtype.type.__module__.partition(".")[0] == "ml_dtypes":
        found = number(_ML_COMPLEX.get(dtype.type.__name__, dtype.type.__name__))
        return found if found is not None and found.numpy == dtype else None
    if dtype.kind not in "biufc" or dtype.itemsize > 16:
        return None
    name = dtype.newbyteorder("=").name
    match dtype.kind:
        case "b":
            return Bool(name, dtype)
        case "i" | "u":
            return Integer(name, dtype)
        case "f" if dtype.itemsize <= 8:
            return Float(name, dtype)
        case "c":
            return Complex(name, dtype, np.dtype(f"f{dtype.itemsize // 2}"))
    return None


def _dtype(path: str) -> np.dtype[Any]:
    module, _, name = path.rpartition(".")
    if not module:
        return np.dtype(name)
    try:
        dtype: np.dtype[Any] = np.dtype(getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise DataTypeValidationError(
            f"data type {name} needs the package ml_dtypes (pip install 'ml_dtypes>=0.5')"
        ) from error
    return dtype


def _not_made_real(value: Any) -> Any:
    """A complex scalar of NumPy's as Python's, of which `int` and `float` refuse to drop a part."""
    return complex(value) if isinstance(value, np.complexfloating) else value


class _Number(DataType):
    def to_v2(self) -> str:
        # NumPy's own spelling of an ml_dtypes type ("<V2") says nothing; other libraries write the name.
        return self.name if self.numpy.type.__module__.partition(".")[0] == "ml_dtypes" else self.numpy.str


@dataclass(frozen=True)
class Bool(_Number):
    """true or false, one byte each."""

    def default_fill(self) -> np.bool_:
        return np.False_

    def cast_fill(self, value: Any) -> np.bool_:
        value = plain_scalar(value)
        if isinstance(value, (bool, np.bool_, int, float, np.number)):
            return np.bool_(value)
        raise self.refusal(value, "a truth value")

    def fill_from_json(self, value: Any, zarr_format: int) -> np.bool_:
        if isinstance(value, (bool, int, float)) and value in (0, 1):  # v2 writers store 0 and 0.0 too
            return np.bool_(value)
        raise self.refusal(value, "true or false")

    def fill_to_json(self, scalar: Any, zarr_format: int) -> bool:
        return bool(scalar)


@dataclass(frozen=True)
class Integer(_Number):
    """Integers of 2 to 64 bits; those of fewer than 8 bits take a byte each in memory."""

    @cached_property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value."""
        bits = int(self.name.removeprefix("u").removeprefix("int"))
        return (0, 2**bits - 1) if self.name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def default_fill(self) -> Any:
        return self.numpy.type(0)

    def cast_fill(self, value: Any) -> Any:
        value = plain_scalar(value)
        try:
            whole = int(_not_made_real(value))
        except (TypeError, ValueError, OverflowError):
            raise self.refusal(value, "an integer") from None
        if isinstance(value, (float, np.floating)) and whole != value:
            raise self.refusal(value, "an integer")
        return self._checked(whole)

    def fill_from_json(self, value: Any, zarr_format: int) -> Any:
        if isinstance(value, str) and zarr_format == 2 and re.fullmatch("[+-]?[0-9]{1,20}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refusal(value, "an integer")
        return self._checked(value)

    def fill_to_json(self, scalar: Any, zarr_format: int) -> int:
        return int(scalar)

    def _checked(self, value: int) -> Any:
        low, high = self.limits
        if not low <= value <= high:
            raise self.refusal(value, f"an integer from {low} to {high}")
        return self.numpy.type(value)


@dataclass(frozen=True)
class Float(_Number):
    """Binary floating point."""

    def default_fill(self) -> Any:
        return self._rounded(0.0)

    def cast_fill(self, value: Any) -> Any:
        value = plain_scalar(value)
        if isinstance(value, self.numpy.type):
            return value  # a NaN keeps its payload
        try:
            return self._rounded(float(_not_made_real(value)))
        except (TypeError, ValueError, OverflowError):
            raise self.refusal(value, "a number") from None

    def fill_from_json(self, value: Any, zarr_format: int) -> Any:
        if isinstance(value, str):
            if value in _SPECIAL:
                return self._special(value)
            if zarr_format == 3 and re.fullmatch(f"0x[0-9a-fA-F]{{{2 * self.numpy.itemsize}}}", value):
                return self._from_bits(int(value, 16))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return self._rounded(float(value))
            except OverflowError:  # an integer beyond float64 rounds as every other number that is too large
                return self._rounded(math.inf if value > 0 else -math.inf)
        if isinstance(value, str) and zarr_format == 2:  # some v2 writers quote numbers
            return self.cast_fill(value)
        raise self.refusal(
            value, f'a number, "NaN", "Infinity", "-Infinity" or 0x and {2 * self.numpy.itemsize} digits'
        )

    def fill_to_json(self, scalar: Any, zarr_format: int) -> float | str:
        number = float(scalar)
        if math.isnan(number):
            bits = self._bits(scalar)
            # Format 2 has one NaN; format 3 tells them apart.
            plain = zarr_format == 2 or bits == self._bits(self._rounded(math.nan))
            return "NaN" if plain else f"0x{bits:0{2 * self.numpy.itemsize}x}"
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity"
        return number

    def _special(self, name: str) -> Any:
        scalar = self._rounded(_SPECIAL[name])
        got = float(scalar)
        if not (math.isnan(got) if name == "NaN" else got == _SPECIAL[name]):
            raise self.refusal(name, "a value that the type has")
        return scalar

    def _rounded(self, number: float) -> Any:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # to the nearest, as IEEE 754 rounds
            return self.numpy.type(number)

    def _bits(self, scalar: Any) -> int:
        native = self.numpy.newbyteorder("=")
        return int(np.asarray(scalar, dtype=native).view(f"u{native.itemsize}")[()])

    def _from_bits(self, bits: int) -> Any:
        native = self.numpy.newbyteorder("=")
        return np.asarray(bits, dtype=f"u{native.itemsize}").view(native)[()]


@dataclass(frozen=True)
class Complex(_Number):
    """Two floats, real and imaginary part."""

    part: np.dtype[Any]

    @cached_property
    def float(self) -> Float:
        """The type of one part."""
        found = number_from_numpy(self.part)
        assert isinstance(found, Float)
        return found

    def default_fill(self) -> Any:
        return self._join(self.float.default_fill(), self.float.default_fill())

    def cast_fill(self, value: Any) -> Any:
        value = plain_scalar(value)
        if isinstance(value, self.numpy.type):
            return value
        try:
            number = complex(value)
        except (TypeError, ValueError, OverflowError):
            raise self.refusal(value, "a complex number") from None
        return self._join(self.float.cast_fill(number.real), self.float.cast_fill(number.imag))

    def fill_from_json(self, value: Any, zarr_format: int) -> Any:
        if zarr_format == 2 and isinstance(value, (int, float)):
            value = [value, 0]
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise self.refusal(value, "[real, imaginary]")
        return self._join(*(self.float.fill_from_json(part, zarr_format) for part in value))

    def fill_to_json(self, scalar: Any, zarr_format: int) -> list[Any]:
        parts = np.asarray([scalar], dtype=self.numpy.newbyteorder("=")).view(self.part)
        return [self.float.fill_to_json(part, zarr_format) for part in parts]

    def _join(self, real: Any, imaginary: Any) -> Any:
        # Side by side in memory, not by arithmetic, which would lose payloads and signs of NaN and zero.
        return np.array([real, imaginary], dtype=self.part).view(self.numpy.newbyteorder("="))[0]
