"""What a data type is: the meaning of one array element, in memory and in JSON.

Zarr v3 core, "Data types"; v2, "Data type encoding"; the registered extensions in zarr-extensions/data-types.

A data type knows its NumPy dtype, its JSON forms in both Zarr formats, and how a fill value travels between a
user's Python value, JSON and a scalar. It never touches chunk bytes: that is the codecs' work.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from gpuzarr.errors import DataTypeValidationError

MAX_ITEM_BYTES = 64 << 20  # of one element, since its fill value is held by whoever opens the array


@dataclass(frozen=True)
class DataType(ABC):
    """One data type; frozen, hashable, equal by value.

    `numpy` is the dtype of arrays in memory: native byte order in format 3, the stored byte order in format 2.
    `name` is the format 3 identifier, as read where it was read, so that a document is written back as it was.
    """

    name: str
    numpy: np.dtype[Any]

    object_codec: ClassVar[str | None] = None  # id of the v2 filter that turns elements of `|O` into bytes

    @property
    def itemsize(self) -> int | None:
        """Bytes of one element as the `bytes` codec stores it; None where elements vary in length."""
        return self.numpy.itemsize

    def native(self) -> Self:
        """The same type in the byte order of this machine."""
        native = self.numpy.newbyteorder("=")
        return self if native == self.numpy else replace(self, numpy=native)

    def to_v3(self) -> str | dict[str, Any]:
        """The `data_type` of a format 3 document. DataTypeValidationError where format 3 has no such type."""
        return self.name

    def to_v2(self) -> str | list[Any]:
        """The `dtype` of a format 2 document."""
        return self.numpy.str

    @abstractmethod
    def default_fill(self) -> Any:
        """The fill value where the user names none."""

    @abstractmethod
    def cast_fill(self, value: Any) -> Any:
        """A scalar of this type from a user's Python value. DataTypeValidationError where impossible."""

    @abstractmethod
    def fill_from_json(self, value: Any, zarr_format: int) -> Any:
        """A scalar from the `fill_value` of a document. DataTypeValidationError where it is none of this type."""

    @abstractmethod
    def fill_to_json(self, scalar: Any, zarr_format: int) -> Any:
        """The `fill_value` of a document for `scalar`."""

    def fill_bytes(self, scalar: Any) -> bytes:
        """The bit pattern of a scalar, to compare fill values by: NaN equals NaN, and 0.0 is not -0.0."""
        return np.asarray(scalar, dtype=self.numpy).tobytes()

    def refusal(self, value: Any, expected: str) -> DataTypeValidationError:
        """The error that a fill value gets which does not fit."""
        return DataTypeValidationError(f"fill value of data type {self.name}: expected {expected}, got {shown(value)}")

    def __str__(self) -> str:
        return self.name


def shown(value: Any) -> str:
    """`repr`, cut short: what stands in a store may be long."""
    text = repr(value) if not isinstance(value, int) or -(2**64) < value < 2**64 else "a very large integer"
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain_scalar(value: Any) -> Any:
    """A 0-d array of any array library as its element; everything else as it is."""
    if getattr(value, "shape", None) == () and not isinstance(value, np.generic):
        return value[()] if isinstance(value, np.ndarray) else value.item()
    return value


def from_base64(text: str) -> bytes | None:
    """The bytes, or None where `text` is no base64."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None


def to_base64(data: bytes) -> str:
    """Standard alphabet, padded."""
    return base64.b64encode(data).decode("ascii")
