"""Data variables in the memory of a GPU, decoded there.

xarray decodes masks, scales and offsets by NumPy functions, which refuse the arrays of a GPU. So it decodes a variable
of the host, of which no value is read, and says thereby what is to be done; the same is then done where the values are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from xarray import Dataset, Variable
from xarray.core import indexing

from gpuzarr.array import Array
from gpuzarr.devices import Device
from gpuzarr.xarray.reading import StoredVariable


@dataclass(frozen=True)
class Decoding:
    """CF's mask, scale and offset, on arrays of any library: values that are one of `masked` are NaN, others are
    `scale_factor * value + add_offset`. `raw`: the integers that the stored ones are to be taken for."""

    dtype: np.dtype[Any]
    raw: np.dtype[Any]
    masked: tuple[Any, ...] = ()
    scale_factor: Any = None
    add_offset: Any = None

    @classmethod
    def of(cls, stored: np.dtype[Any], decoded: Variable) -> Decoding | None:
        """What xarray did to a variable; None where it left the values as they are."""
        stored = stored.newbyteorder("=")  # as a device reads it
        encoding, raw = decoded.encoding, stored
        if encoding.get("_Unsigned") in ("true", "false") and stored.kind in "iu":
            raw = np.dtype(f"{'u' if encoding['_Unsigned'] == 'true' else 'i'}{stored.itemsize}")
        masked = {
            stored.type(value).astype(raw).item() if raw != stored else value
            for key in ("_FillValue", "missing_value")
            for value in np.ravel(encoding.get(key, ()))
            if value == value
        }
        scale, offset = (_number(encoding.get(key)) for key in ("scale_factor", "add_offset"))
        found = cls(decoded.dtype, raw, tuple(sorted(masked, key=repr)), scale, offset)
        return None if found == cls(stored, stored) else found

    def __call__(self, data: Any) -> Any:
        if data.dtype != self.raw:
            data = data.astype(self.raw)
        data = data.astype(self.dtype)
        if self.masked:
            missing = data == self.masked[0]
            for value in self.masked[1:]:
                missing |= data == value
            data[missing] = np.nan if self.dtype.kind == "f" else complex(np.nan, np.nan)
        if self.scale_factor is not None:
            data *= self.scale_factor
        if self.add_offset is not None:
            data += self.add_offset
        return data


def _number(value: Any) -> Any:
    return np.asarray(value).item() if np.ndim(value) else value


def on_device(dataset: Dataset, arrays: dict[Any, Array], device: Device) -> Dataset:
    """The dataset with its data variables read to `device`, as far as that has elements of their data types."""
    moved = {}
    for name in dataset.data_vars:
        decoded, array = dataset.variables[name], arrays[name]
        if not (_has_elements(array.dtype) and _has_elements(decoded.dtype)):
            continue
        decode = Decoding.of(array.dtype, decoded)
        wrapped = StoredVariable(array.to_device(device), decode, decoded.dtype)
        data = indexing.LazilyIndexedArray(wrapped)
        moved[name] = Variable(decoded.dims, data, decoded.attrs, decoded.encoding)
    found = dataset.assign(moved)
    found.encoding = dataset.encoding
    return found


def _has_elements(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufc"
