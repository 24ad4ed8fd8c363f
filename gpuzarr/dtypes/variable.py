"""Elements that vary in length: `string`, `bytes` (zarr-extensions), and the objects of format 2.

Format 2 calls them all `|O`; the first filter that turns objects into bytes says what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gpuzarr.dtypes.model import DataType, from_base64, plain_scalar, to_base64
from gpuzarr.errors import DataTypeValidationError

# v2 filters that encode objects. Pickle is not among them: it runs code from the store.
OBJECT_CODECS = ("vlen-utf8", "vlen-bytes", "vlen-array", "json2", "msgpack2", "categorize")


class _Variable(DataType):
    @property
    def itemsize(self) -> None:
        return None

    def to_v2(self) -> str:
        return "|O"


@dataclass(frozen=True)
class String(_Variable):
    """Unicode text, NumPy's StringDType in memory; scalars are `str`."""

    name: str = "string"
    numpy: np.dtype[Any] = np.dtypes.StringDType()  # noqa: RUF009
    object_codec: ClassVar[str] = "vlen-utf8"

    def native(self) -> String:
        return self

    def default_fill(self) -> str:
        return ""

    def cast_fill(self, value: Any) -> str:
        value = plain_scalar(value)
        if value is None:
            raise self.refusal(value, "text")
        return self._text(value.decode() if isinstance(value, bytes) else str(value))

    def fill_from_json(self, value: Any, zarr_format: int) -> str:
        if zarr_format == 2 and isinstance(value, (int, float)) and not isinstance(value, bool):
            # zarr-python 2 stored 0 where the user named no fill value. What zarr-python 3 and zarrs make of it
            # differs ("0" or ""); we read as zarr-python does.
            return str(value)
        if not isinstance(value, str):
            raise self.refusal(value, "a string")
        return self._text(value)

    def fill_to_json(self, scalar: Any, zarr_format: int) -> str:
        return str(scalar)

    def fill_bytes(self, scalar: Any) -> bytes:
        return str(scalar).encode()

    def _text(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self.refusal(text, "text that UTF-8 can hold") from None
        return text


@dataclass(frozen=True)
class VariableBytes(_Variable):
    """Byte strings, `bytes` objects in memory."""

    name: str = "variable_length_bytes"
    numpy: np.dtype[Any] = np.dtype(object)  # noqa: RUF009
    object_codec: ClassVar[str] = "vlen-bytes"

    def native(self) -> VariableBytes:
        return self

    def default_fill(self) -> bytes:
        return b""

    def cast_fill(self, value: Any) -> bytes:
        value = plain_scalar(value)
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        raise self.refusal(value, "bytes")

    def fill_from_json(self, value: Any, zarr_format: int) -> bytes:
        if zarr_format == 2 and value == 0 and not isinstance(value, bool):
            return b""
        data = from_base64(value) if isinstance(value, str) else None
        if isinstance(value, list) and all(isinstance(v, int) and v is not True and 0 <= v <= 255 for v in value):
            data = bytes(value)
        if data is None:
            raise self.refusal(value, "base64 or a list of bytes")
        return data

    def fill_to_json(self, scalar: Any, zarr_format: int) -> str:
        return to_base64(bytes(scalar))

    def fill_bytes(self, scalar: Any) -> bytes:
        return bytes(scalar)


@dataclass(frozen=True)
class Object(_Variable):
    """Format 2's `|O` with json2, msgpack2, vlen-array or categorize: Python objects in memory.

    The fill value is whatever JSON value stands in the document.
    """

    name: str = "object"
    numpy: np.dtype[Any] = np.dtype(object)  # noqa: RUF009
    codec: str = "json2"

    @property
    def object_codec(self) -> str:  # type: ignore[override]
        """Id of the filter that encodes the objects."""
        return self.codec

    def native(self) -> Object:
        return self

    def to_v3(self) -> str:
        raise DataTypeValidationError(f"format 3 has no type for objects encoded with {self.codec}")

    def default_fill(self) -> Any:
        return "" if self.codec == "categorize" else None

    def cast_fill(self, value: Any) -> Any:
        return value

    def fill_from_json(self, value: Any, zarr_format: int) -> Any:
        return value

    def fill_to_json(self, scalar: Any, zarr_format: int) -> Any:
        return scalar

    def fill_bytes(self, scalar: Any) -> bytes:
        return repr(scalar).encode()
