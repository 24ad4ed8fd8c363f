"""Records: `struct` (zarr-extensions), its older form `structured`, and the lists of fields of format 2.

Records are packed, without padding. A fill value is an object with every field; in `structured` and in format 2 it is
the base64 of the record's bytes (little-endian in format 3, as stored in format 2). Format 2 also has subarray fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from gpuzarr.dtypes.model import MAX_ITEM_BYTES, DataType, from_base64, plain_scalar, shown, to_base64
from gpuzarr.errors import DataTypeValidationError


class Field(NamedTuple):
    """One field; `shape` is () but for the subarrays of format 2."""

    name: str
    data_type: DataType
    shape: tuple[int, ...] = ()


def struct(fields: list[Field], name: str = "struct") -> Struct:
    """The record type of these fields. DataTypeValidationError for names or types that cannot be fields."""
    if not fields:
        raise DataTypeValidationError(f"data type {name}: expected at least one field")
    seen: set[str] = set()
    for field in fields:
        if not field.name or field.name in seen:
            raise DataTypeValidationError(f"data type {name}: expected field names once each, got {shown(field.name)}")
        if field.data_type.itemsize is None:
            raise DataTypeValidationError(
                f"data type {name}: field {shown(field.name)}: {field.data_type} varies in length and cannot be a field"
            )
        seen.add(field.name)
    try:
        dtype = np.dtype([(f.name, f.data_type.numpy, *([f.shape] if f.shape else [])) for f in fields])
    except (TypeError, ValueError) as error:
        raise DataTypeValidationError(f"data type {name}: {error}") from error
    if dtype.itemsize > MAX_ITEM_BYTES:
        raise DataTypeValidationError(f"data type {name}: an element has more than {MAX_ITEM_BYTES} bytes")
    return Struct(name, dtype, tuple(fields))


def struct_from_v3(name: str, configuration: dict[str, Any], resolve: Callable[[Any], DataType]) -> Struct:
    """From {"fields": [{"name": ..., "data_type": ...}, ...]}, or pairs in place of the objects."""
    given = configuration.get("fields")
    if configuration.keys() != {"fields"} or not isinstance(given, list):
        raise DataTypeValidationError(f"data type {name}: expected a list of fields, got {shown(configuration)}")
    fields = []
    for field in given:
        match field:
            case {"name": str(label), "data_type": inner} if len(field) == 2:
                fields.append(Field(label, resolve(inner)))
            case [str(label), inner]:
                fields.append(Field(label, resolve(inner)))
            case _:
                raise DataTypeValidationError(f"data type {name}: expected name and data_type, got {shown(field)}")
    return struct(fields, name)


def struct_from_v2(given: list[Any], resolve: Callable[[Any], DataType]) -> Struct:
    """From [[name, dtype], [name, dtype, shape], ...]."""
    fields = []
    for field in given:
        match field:
            case [str(label), inner]:
                fields.append(Field(label, resolve(inner)))
            case [str(label), inner, shape]:
                fields.append(Field(label, resolve(inner), _subarray_shape(shape)))
            case _:
                raise DataTypeValidationError(
                    f"dtype: expected [name, dtype] or [name, dtype, shape], got {shown(field)}"
                )
    return struct(fields)


def struct_from_numpy(dtype: np.dtype[Any], resolve: Callable[[np.dtype[Any]], DataType]) -> Struct:
    """The packed record type of a structured dtype. Field titles are refused: no format has them."""
    assert dtype.names is not None
    assert dtype.fields is not None
    fields = []
    for label in dtype.names:
        inner, _, *title = dtype.fields[label]
        if title:
            raise DataTypeValidationError(f"data type {dtype}: field {label!r} has a title; Zarr has none")
        base, shape = (inner, ()) if inner.subdtype is None else inner.subdtype
        fields.append(Field(label, resolve(base), shape))
    return struct(fields)


def _subarray_shape(shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, list) else [shape]
    if len(sizes) > 32 or not all(isinstance(s, int) and s is not True and 1 <= s <= MAX_ITEM_BYTES for s in sizes):
        raise DataTypeValidationError(f"data type: expected the shape of a subarray, got {shown(shape)}")
    return tuple(sizes)


@dataclass(frozen=True)
class Struct(DataType):
    """A record of named fields."""

    fields: tuple[Field, ...]

    def native(self) -> Self:
        fields = tuple(f._replace(data_type=f.data_type.native()) for f in self.fields)
        return self if fields == self.fields else replace(self, numpy=self.numpy.newbyteorder("="), fields=fields)

    def to_v3(self) -> dict[str, Any]:
        for field in self.fields:
            if field.shape:
                raise DataTypeValidationError(
                    f"data type {self.name}: field {field.name!r} is a subarray {field.shape}, which only format 2 has"
                )
        if self.name == "structured":
            pairs: list[Any] = [[f.name, f.data_type.to_v3()] for f in self.fields]
        else:
            pairs = [{"name": f.name, "data_type": f.data_type.to_v3()} for f in self.fields]
        return {"name": self.name, "configuration": {"fields": pairs}}

    def to_v2(self) -> list[Any]:
        return [[f.name, f.data_type.to_v2(), *([list(f.shape)] if f.shape else [])] for f in self.fields]

    def default_fill(self) -> np.void:
        return np.zeros((), dtype=self.numpy)[()]  # type: ignore[return-value]

    def cast_fill(self, value: Any) -> np.void:
        value = plain_scalar(value)
        if isinstance(value, int):
            return self._number_everywhere(value)
        if isinstance(value, bytes):
            if len(value) != self.numpy.itemsize:
                raise self.refusal(value, f"{self.numpy.itemsize} bytes")
            return np.frombuffer(value, dtype=self.numpy)[0]  # type: ignore[no-any-return]
        if isinstance(value, np.void) and value.dtype.names is not None:
            value = tuple(value[label] for label in value.dtype.names)
        if isinstance(value, Mapping):
            if value.keys() != {f.name for f in self.fields}:
                raise self.refusal(dict(value), f"the fields {[f.name for f in self.fields]}")
            value = tuple(value[f.name] for f in self.fields)
        if not isinstance(value, (tuple, list)) or len(value) != len(self.fields):
            raise self.refusal(value, f"{len(self.fields)} values")
        return self._joined([self._cast_field(f, v) for f, v in zip(self.fields, value, strict=True)])

    def fill_from_json(self, value: Any, zarr_format: int) -> np.void:
        if zarr_format == 2 and value == 0 and not isinstance(value, bool):
            return self.default_fill()
        if isinstance(value, str):
            data = from_base64(value)
            if data is None or len(data) != self.numpy.itemsize:
                raise self.refusal(value, f"base64 of {self.numpy.itemsize} bytes")
            stored = np.frombuffer(data, dtype=self._stored(zarr_format))
            return stored.astype(self.numpy)[0]  # type: ignore[no-any-return]
        if zarr_format == 3 and isinstance(value, dict):
            if value.keys() != {f.name for f in self.fields}:
                raise self.refusal(value, f"an object with the fields {[f.name for f in self.fields]}")
            return self._joined([f.data_type.fill_from_json(value[f.name], 3) for f in self.fields])
        raise self.refusal(value, "an object with every field" if zarr_format == 3 else "base64")

    def fill_to_json(self, scalar: Any, zarr_format: int) -> str | dict[str, Any]:
        if zarr_format == 3 and self.name != "structured":
            return {f.name: f.data_type.fill_to_json(scalar[f.name], 3) for f in self.fields}
        record = np.asarray(scalar, dtype=self.numpy)
        return to_base64(record.astype(self._stored(zarr_format)).tobytes())

    def _number_everywhere(self, value: int) -> np.void:
        # As zarr-python has it: also b"0" in a field of bytes.
        try:
            return np.array(value, dtype=self.numpy)[()]  # type: ignore[return-value]
        except (TypeError, ValueError, OverflowError) as error:
            raise self.refusal(value, "a value that every field can hold") from error

    def _stored(self, zarr_format: int) -> np.dtype[Any]:
        return self.numpy if zarr_format == 2 else self.numpy.newbyteorder("<")

    def _cast_field(self, field: Field, value: Any) -> Any:
        if not field.shape:
            return field.data_type.cast_fill(value)
        try:
            return np.broadcast_to(np.asarray(value, dtype=field.data_type.numpy), field.shape)
        except (TypeError, ValueError) as error:
            raise DataTypeValidationError(f"fill value of field {field.name!r}: {error}") from error

    def _joined(self, values: list[Any]) -> np.void:
        record = np.zeros((), dtype=self.numpy)
        for field, value in zip(self.fields, values, strict=True):
            record[field.name] = value
        return record[()]  # type: ignore[return-value]
