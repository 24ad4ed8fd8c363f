"""Data variables in the memory of a GPU, decoded there.

xarray decodes masks, scales and offsets by NumPy functions, which refuse the arrays of a GPU. So it decodes a variable
of the host, of which no value is read, and says thereby what is to be done; the same is then done where the values are.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        stored = StoredVariable(array.to_device(device), Decoding.of(array.dtype, decoded), decoded.dtype)
        data = indexing.LazilyIndexedArray(stored)
        moved[name] = Variable(decoded.dims, data, decoded.attrs, decoded.encoding)
    found = dataset.assign(moved)
    found.encoding = dataset.encoding
    return found


def _has_elements(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufc"


def in_dask(dataset: Dataset, chunks: Any) -> Dataset:
    """A dataset as it was opened, with the variables of a device in dask arrays of that device's; xarray makes dask
    arrays of NumPy's only. `chunks`: by dimension, where {} are those that are stored, or for all axes."""
    changed = {}
    for name, variable in dataset.data_vars.items():
        stored = _stored_in(variable.variable)
        if stored is None or stored.source.device.kind == "cpu":
            continue
        lengths = chunks
        if isinstance(chunks, Mapping):
            preferred = variable.encoding["preferred_chunks"]
            lengths = tuple(chunks.get(dim, preferred[dim]) for dim in variable.dims)
        blocks = stored.source.to_dask(lengths)
        if stored.decode is not None:
            blocks = blocks.map_blocks(stored.decode, dtype=stored.dtype, meta=stored.decode(blocks._meta))
        changed[name] = Variable(variable.dims, blocks, variable.attrs, variable.encoding)
    found = dataset.assign(changed)
    found.encoding = dataset.encoding
    found.set_close(dataset.close)
    return found


def _stored_in(variable: Variable) -> StoredVariable | None:
    """What xarray's wrappers (lazy indexing, caches) are around."""
    data = variable._data
    while not isinstance(data, StoredVariable) and hasattr(data, "array"):
        data = data.array
    return data if isinstance(data, StoredVariable) else None
