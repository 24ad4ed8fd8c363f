"""Texts and bytes of fixed length: NumPy's S, U and V.

S  null_terminated_bytes (not registered; what zarr-python writes)   fill value: base64
U  fixed_length_utf32 (zarr-extensions)                              fill value: a JSON string
V  r<bits> (v3 core) or raw_bytes (what zarr-python writes)          fill value: list of bytes, or base64
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuzarr.dtypes.model import MAX_ITEM_BYTES, DataType, from_base64, plain_scalar, shown, to_base64
from gpuzarr.errors import DataTypeValidationError

_KINDS = {"null_terminated_bytes": "S", "fixed_length_utf32": "U", "raw_bytes": "V"}


def fixed_from_numpy(dtype: np.dtype[Any]) -> DataType:
    """The type of an S, U or V dtype, byte order kept."""
    if not 1 <= dtype.itemsize <= MAX_ITEM_BYTES:
        raise DataTypeValidationError(
            f"data type {dtype.str}: an element has {dtype.itemsize} bytes; say its length, as in {dtype.kind}10,"
            " or use a variable-length type (str, bytes)"
        )
    match dtype.kind:
        case "S":
            return FixedBytes("null_terminated_bytes", dtype)
        case "U":
            return FixedText("fixed_length_utf32", dtype)
    return Raw("raw_bytes", dtype)


def fixed_from_v3(name: str, configuration: dict[str, Any]) -> DataType | None:
    """From an identifier with {"length_bytes": ...}, or from r<bits>; None for other identifiers."""
    if re.fullmatch("r[0-9]{1,11}", name) and not configuration:
        bits = int(name[1:])
        if bits % 8 or not 1 <= bits // 8 <= MAX_ITEM_BYTES:
            raise DataTypeValidationError(f"data type {name}: expected r and a positive multiple of 8")
        return Raw(name, np.dtype(f"V{bits // 8}"))
    if name not in _KINDS:
        return None
    length = configuration.get("length_bytes")
    step = 4 if name == "fixed_length_utf32" else 1
    if (
        configuration.keys() != {"length_bytes"}
        or not isinstance(length, int)
        or isinstance(length, bool)
        or not 1 <= length <= MAX_ITEM_BYTES
        or length % step
    ):
        raise DataTypeValidationError(
            f"data type {name}: expected length_bytes, a positive multiple of {step}, got {shown(configuration)}"
        )
    return fixed_from_numpy(np.dtype(f"{_KINDS[name]}{length // step}"))


class _Fixed(DataType):
    def to_v3(self) -> str | dict[str, Any]:
        return {"name": self.name, "configuration": {"length_bytes": self.numpy.itemsize}}


@dataclass(frozen=True)
class FixedBytes(_Fixed):
    """Up to n bytes, padded with NUL."""

    def default_fill(self) -> np.bytes_:
        return np.bytes_(b"")

    def cast_fill(self, value: Any) -> np.bytes_:
        value = plain_scalar(value)
        if isinstance(value, int):
            value = str(value)
        if isinstance(value, str):
            try:
                value = value.encode("ascii")
            except UnicodeEncodeError:
                raise self.refusal(value, "bytes, or ASCII text") from None
        if not isinstance(value, bytes):
            raise self.refusal(value, "bytes")
        return np.bytes_(value[: self.numpy.itemsize])  # as NumPy cuts on assignment

    def fill_from_json(self, value: Any, zarr_format: int) -> np.bytes_:
        if zarr_format == 2 and value == 0 and not isinstance(value, bool):
            return self.default_fill()
        if not isinstance(value, str):
            raise self.refusal(value, "base64")
        data = from_base64(value)
        if data is None and zarr_format == 2 and value.isascii():
            data = value.encode("ascii")  # netCDF-C stores the character itself
        if data is None or len(data) > self.numpy.itemsize:
            raise self.refusal(value, f"base64 of at most {self.numpy.itemsize} bytes")
        return np.bytes_(data)

    def fill_to_json(self, scalar: Any, zarr_format: int) -> str:
        return to_base64(bytes(scalar))


@dataclass(frozen=True)
class FixedText(_Fixed):
    """Up to n code points of 4 bytes each, padded with NUL."""

    def default_fill(self) -> np.str_:
        return np.str_("")

    def cast_fill(self, value: Any) -> np.str_:
        value = plain_scalar(value)
        return self._text(value.decode() if isinstance(value, bytes) else str(value))

    def fill_from_json(self, value: Any, zarr_format: int) -> np.str_:
        if zarr_format == 2 and value == 0 and not isinstance(value, bool):
            return self.default_fill()
        if not isinstance(value, str):
            raise self.refusal(value, "a string")
        return self._text(value)

    def fill_to_json(self, scalar: Any, zarr_format: int) -> str:
        return str(scalar)

    def _text(self, text: str) -> np.str_:
        return np.str_(text[: self.numpy.itemsize // 4])  # as NumPy cuts on assignment


@dataclass(frozen=True)
class Raw(_Fixed):
    """Exactly n bytes without meaning."""

    def to_v3(self) -> str | dict[str, Any]:
        return super().to_v3() if self.name == "raw_bytes" else self.name

    def default_fill(self) -> np.void:
        return self._void(bytes(self.numpy.itemsize))

    def cast_fill(self, value: Any) -> np.void:
        value = plain_scalar(value)
        if isinstance(value, int) and value == 0:
            return self.default_fill()
        if not isinstance(value, (str, bytes, bytearray, memoryview, np.void)):
            raise self.refusal(value, "bytes")
        data = value.encode() if isinstance(value, str) else value
        data = data.tobytes() if isinstance(data, (np.void, memoryview)) else bytes(data)
        if len(data) > self.numpy.itemsize:
            raise self.refusal(value, f"at most {self.numpy.itemsize} bytes")
        return self._void(data.ljust(self.numpy.itemsize, b"\0"))

    def fill_from_json(self, value: Any, zarr_format: int) -> np.void:
        size = self.numpy.itemsize
        if zarr_format == 2 and value == 0 and not isinstance(value, bool):
            return self.default_fill()
        data = from_base64(value) if isinstance(value, str) else None
        if isinstance(value, list) and all(isinstance(v, int) and v is not True and 0 <= v <= 255 for v in value):
            data = bytes(value)
        if data is None or len(data) != size:
            raise self.refusal(value, f"{size} bytes, as a list of integers or in base64")
        return self._void(data)

    def fill_to_json(self, scalar: Any, zarr_format: int) -> str | list[int]:
        data = self.fill_bytes(scalar)
        return list(data) if zarr_format == 3 and self.name != "raw_bytes" else to_base64(data)

    def _void(self, data: bytes) -> np.void:
        return np.frombuffer(data, dtype=self.numpy)[0]  # type: ignore[no-any-return]
