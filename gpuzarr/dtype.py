"""zarr-python's names for data types: `gpuzarr.dtype.Float32()` is `parse_dtype("float32")`.

Each is a function that gives a `DataType`. `endianness`, where zarr-python takes it, means the byte
order in memory, which only format 2 keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from gpuzarr.dtypes import DataType, data_type_from_numpy, data_type_from_v2, data_type_from_v3, parse_dtype
from gpuzarr.dtypes.structured import Field, struct
from gpuzarr.errors import DataTypeValidationError

Order = Literal["little", "big"]

parse_data_type = parse_dtype
ZDType = DataType


def _plain(name: str) -> Callable[[], DataType]:
    def make() -> DataType:
        return data_type_from_v3(name)

    make.__name__ = make.__qualname__ = name.capitalize()
    make.__doc__ = f"The data type {name}."
    return make


def _ordered(name: str) -> Callable[..., DataType]:
    def make(*, endianness: Order | None = None) -> DataType:
        return _in_order(np.dtype(name), endianness)

    make.__name__ = make.__qualname__ = name.capitalize()
    make.__doc__ = f"The data type {name}."
    return make


def _in_order(dtype: np.dtype[Any], endianness: Order | None) -> DataType:
    order = {"little": "<", "big": ">", None: "="}[endianness]
    return data_type_from_numpy(dtype.newbyteorder(order))  # type: ignore[arg-type]


Bool, Int8, UInt8 = _plain("bool"), _plain("int8"), _plain("uint8")
Int16, Int32, Int64 = _ordered("int16"), _ordered("int32"), _ordered("int64")
UInt16, UInt32, UInt64 = _ordered("uint16"), _ordered("uint32"), _ordered("uint64")
Float16, Float32, Float64 = _ordered("float16"), _ordered("float32"), _ordered("float64")
Complex64, Complex128 = _ordered("complex64"), _ordered("complex128")
VariableLengthUTF8, VariableLengthBytes = _plain("string"), _plain("variable_length_bytes")


def DateTime64(*, unit: str = "generic", scale_factor: int = 1, endianness: Order | None = None) -> DataType:  # noqa: N802
    """Points in time, as a count of `scale_factor` units."""
    return _time("numpy.datetime64", unit, scale_factor, endianness)


def TimeDelta64(*, unit: str = "generic", scale_factor: int = 1, endianness: Order | None = None) -> DataType:  # noqa: N802
    """Durations, as a count of `scale_factor` units."""
    return _time("numpy.timedelta64", unit, scale_factor, endianness)


def _time(name: str, unit: str, scale: int, endianness: Order | None) -> DataType:
    configuration = {"unit": unit, "scale_factor": scale}
    return _in_order(data_type_from_v3({"name": name, "configuration": configuration}).numpy, endianness)


def FixedLengthUTF32(*, length: int, endianness: Order | None = None) -> DataType:  # noqa: N802
    """Texts of up to `length` code points."""
    return _in_order(np.dtype(f"U{length}"), endianness)


def NullTerminatedBytes(*, length: int) -> DataType:  # noqa: N802
    """Up to `length` bytes, padded with NUL."""
    return data_type_from_v2(f"|S{length}")


def RawBytes(*, length: int) -> DataType:  # noqa: N802
    """Exactly `length` bytes."""
    return data_type_from_v2(f"|V{length}")


def Struct(*, fields: Iterable[tuple[str, Any]]) -> DataType:  # noqa: N802
    """Records of (name, data type)."""
    return struct([Field(name, parse_dtype(inner, 2)) for name, inner in fields])


__all__ = [
    "Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32", "Float64",
    "Complex64", "Complex128", "DateTime64", "TimeDelta64", "FixedLengthUTF32", "NullTerminatedBytes", "RawBytes",
    "VariableLengthUTF8", "VariableLengthBytes", "Struct", "ZDType", "DataTypeValidationError", "parse_dtype",
    "parse_data_type",
]  # fmt: skip
