"""From JSON, and from what a user may write, to a data type."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gpuzarr.dtypes.fixed import fixed_from_numpy, fixed_from_v3
from gpuzarr.dtypes.model import MAX_ITEM_BYTES, DataType, shown
from gpuzarr.dtypes.numbers import ML_NAMES, number, number_from_numpy
from gpuzarr.dtypes.structured import struct_from_numpy, struct_from_v2, struct_from_v3
from gpuzarr.dtypes.times import time_from_numpy, time_from_v3
from gpuzarr.dtypes.variable import OBJECT_CODECS, Object, String, VariableBytes
from gpuzarr.errors import DataTypeValidationError, PickleCodecDisabledError, ZarrUserWarning

# Byte order, kind, size, unit. A byte has no order and is spelled with any of them in the wild.
_TYPESTR = re.compile(r"([<>|=]?)([biufcmMSUV])([0-9]{1,10})(?:\[([0-9]{0,10})([a-zA-Zμµ]{1,7})\])?")
_ORDERLESS = "biu"


def parse_dtype(value: Any = None, zarr_format: int = 3) -> DataType:
    """The data type that `value` names; None is float64.

    Accepted: data types, NumPy dtypes and what makes one, `str`, "string", `bytes`, "bytes", structured lists, names
    of `ml_dtypes`, format 3 identifiers and objects, zarr-python's data types. DataTypeValidationError for the rest.
    """
    data_type = _parse(value)
    return data_type if zarr_format == 2 else data_type.native()


def _parse(value: Any) -> DataType:
    if isinstance(value, DataType):
        return value
    if value is None:
        return data_type_from_v3("float64")
    if value is str or (isinstance(value, str) and value == "str"):
        return String()
    if value is bytes or (isinstance(value, str) and value == "bytes"):
        return VariableBytes()
    if isinstance(value, Mapping):
        if "object_codec_id" in value:  # zarr-python's form of format 2
            return data_type_from_v2(value.get("name"), object_codec=value["object_codec_id"])
        return data_type_from_v3(value)
    if hasattr(value, "to_native_dtype"):  # zarr-python's ZDType
        native = value.to_native_dtype()
        codec = getattr(value, "object_codec_id", None)
        return data_type_from_v2("|O", object_codec=codec) if codec else data_type_from_numpy(np.dtype(native))
    if isinstance(value, str) and (found := _named(value)) is not None:
        return found
    return data_type_from_numpy(_numpy_dtype(value))


def _numpy_dtype(value: Any) -> np.dtype[Any]:
    if isinstance(value, list):
        value = [tuple(field) if isinstance(field, list) else field for field in value]
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except (TypeError, ValueError) as error:
        raise DataTypeValidationError(f"unknown data type {shown(value)}") from error
    return dtype


def data_type_from_numpy(dtype: np.dtype[Any]) -> DataType:
    """The type of a NumPy dtype, byte order kept. Padded records are packed, with a warning."""
    if dtype.names is not None:
        struct = struct_from_numpy(dtype, _field_from_numpy)
        if struct.numpy.itemsize != dtype.itemsize:
            warnings.warn(
                f"the records of {dtype} are stored without padding, {struct.numpy.itemsize} bytes each",
                ZarrUserWarning,
                stacklevel=3,
            )
        return struct
    return _field_from_numpy(dtype)


def _field_from_numpy(dtype: np.dtype[Any]) -> DataType:
    if dtype.names is not None:
        return struct_from_numpy(dtype, _field_from_numpy)
    if (found := number_from_numpy(dtype)) is not None:
        return found
    if dtype.kind == "T":
        if hasattr(dtype, "na_object"):
            raise DataTypeValidationError("StringDType with na_object: Zarr has no missing strings")
        return String()
    if dtype.kind in "mM":
        return time_from_numpy(dtype)
    if dtype.kind in "SU" or (dtype.kind == "V" and dtype.type is np.void and dtype.subdtype is None):
        return fixed_from_numpy(dtype)
    if dtype.kind == "O":
        raise DataTypeValidationError(
            "data type object says nothing of the elements: use str or bytes, or in format 2 name an object codec"
            f" ({', '.join(OBJECT_CODECS)})"
        )
    raise DataTypeValidationError(f"data type {dtype!r} cannot be stored")


def data_type_from_v3(json: Any) -> DataType:
    """From the `data_type` of a format 3 document: an identifier, or an object with name and configuration."""
    name, configuration = json, {}
    if isinstance(json, Mapping):
        name, configuration = json.get("name"), json.get("configuration", {})
        if not json.keys() <= {"name", "configuration"} or not isinstance(configuration, dict):
            raise DataTypeValidationError(f"data type: expected a name and a configuration, got {shown(dict(json))}")
    if not isinstance(name, str):
        raise DataTypeValidationError(f"data type: expected an identifier, got {shown(name)}")
    if not configuration:
        if (found := _named(name)) is not None:
            return found
    elif name in ("numpy.datetime64", "numpy.timedelta64"):
        return time_from_v3(name, configuration)
    elif name in ("struct", "structured"):
        return struct_from_v3(name, configuration, data_type_from_v3)
    elif (found := fixed_from_v3(name, configuration)) is not None:
        return found
    raise DataTypeValidationError(
        f"unknown data type {shown(name)}" + (f" with configuration {shown(configuration)}" if configuration else "")
    )


@cache
def _named(name: str) -> DataType | None:
    """The type of an identifier that needs no configuration, or None."""
    match name:
        case "string":
            return String()
        case "bytes" | "variable_length_bytes":
            return VariableBytes(name)
    return number(name) or fixed_from_v3(name, {}) if not name.endswith("_bytes") else None


def data_type_from_v2(json: Any, *, object_codec: str | None = None) -> DataType:
    """From the `dtype` of a format 2 document; `object_codec` is the id of the filter that encodes objects, if any."""
    if isinstance(json, (list, tuple)):
        return struct_from_v2([list(f) if isinstance(f, tuple) else f for f in json], data_type_from_v2)
    if not isinstance(json, str):
        raise DataTypeValidationError(f"dtype: expected a type string or a list of fields, got {shown(json)}")
    if json in ("|O", "O", "<O", ">O", "|O8"):
        return _object(object_codec)
    if json in ML_NAMES and (found := _named(json)) is not None:
        return found
    return data_type_from_numpy(_typestr(json))


def _object(codec: str | None) -> DataType:
    match codec:
        case "vlen-utf8":
            return String()
        case "vlen-bytes":
            return VariableBytes()
        case "pickle":
            raise PickleCodecDisabledError("the array's objects are pickled: pickle runs code, so it is never decoded")
        case _ if codec in OBJECT_CODECS:
            return Object(codec=codec)
    raise DataTypeValidationError(
        f"dtype |O: expected a filter that encodes objects ({', '.join(OBJECT_CODECS)}), got {shown(codec)}"
    )


def _typestr(text: str) -> np.dtype[Any]:
    """NumPy's dtype of a type string: order, kind, size, and for times a unit. Stricter than NumPy's own reading."""
    match = _TYPESTR.fullmatch(text)
    if match is None:
        raise DataTypeValidationError(f"dtype: unknown type string {shown(text)}")
    order, kind, size, scale, unit = match.groups()
    if (unit is not None and kind not in "mM") or int(size) > MAX_ITEM_BYTES:
        raise DataTypeValidationError(f"dtype: impossible type string {shown(text)}")
    if order not in ("<", ">") and not (kind in "SVb" or (kind in _ORDERLESS and size == "1")):
        raise DataTypeValidationError(f"dtype: type string {shown(text)} has no byte order")
    if unit is not None:
        unit = f"[{scale}{'us' if unit in ('μs', 'µs') else unit}]"
    try:
        return np.dtype(f"{order if order in '<>' else ''}{kind}{size}{unit or ''}")
    except (TypeError, ValueError) as error:
        raise DataTypeValidationError(f"dtype: unknown type string {shown(text)}") from error
