"""The value that stands for missing elements, CF's `_FillValue`, as xarray keeps it in Zarr.

In format 2 it is the array's fill value. In format 3 it is an attribute beside it: floats as base64 of a little-endian
double, complex numbers as two of these, bytes as base64, other values as JSON has them
(https://docs.xarray.dev/en/stable/internals/zarr-encoding-spec.html).
"""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np

MISSING = "_FillValue"
DIMENSIONS = "_ARRAY_DIMENSIONS"  # xarray's attribute for dimension names, where the format has none


def fill_to_json(value: Any, dtype: np.dtype[Any], name: object) -> Any:
    """The attribute of a format 3 array. TypeError, with the name of the array, where the value is none of this data
    type."""
    if isinstance(value, np.complexfloating):
        value = complex(value)  # which, unlike NumPy's, does not become a real number
    try:
        match dtype.kind:
            case "b" if bool(value) == value:
                return bool(value)
            case "i" | "u" if int(value) == value:
                return int(value)
            case "f" if not isinstance(value, str | bytes):
                return _double(value)
            case "c":
                return [_double(complex(value).real), _double(complex(value).imag)]
            case "S" if isinstance(value, bytes):
                return base64.standard_b64encode(value).decode()
            case "U" if isinstance(value, str):
                return str(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"_FillValue of variable {name!r}: {value!r} is no {dtype}") from error
    raise TypeError(f"_FillValue of variable {name!r}: {value!r} cannot be kept for the data type {dtype}")


def fill_from_json(value: Any, dtype: np.dtype[Any], name: object) -> Any:
    """The value behind the attribute. Plain numbers, which others write, are taken too. ValueError where it is no
    such value."""
    try:
        match dtype.kind:
            case "f":
                return _from_double(value)
            case "c" if isinstance(value, list):
                real, imaginary = value
                return complex(_from_double(real), _from_double(imaginary))
            case "S":
                return base64.standard_b64decode(value)
            case "b" | "i" | "u":
                return dtype.type(value).item()
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise ValueError(f"the attribute _FillValue of {name!r} is no {dtype}: {value!r}") from error
    return value


def _double(value: Any) -> str:
    return base64.standard_b64encode(struct.pack("<d", float(value))).decode()


def _from_double(value: Any) -> float:
    if isinstance(value, str):
        (found,) = struct.unpack("<d", base64.standard_b64decode(value))
        return float(found)
    return float(value)
