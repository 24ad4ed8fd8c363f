"""HDF5 data types, as h5py gives them, as data types of Zarr."""

from __future__ import annotations

from typing import Any, NamedTuple

import h5py
import numpy as np


class Element(NamedTuple):
    """What an element becomes."""

    dtype: Any  # as `gpuzarr.create_array` takes it
    text: bool = False  # strings of any length, which h5py decodes
    enumeration: dict[str, int] | None = None  # names of the numbers


class Unsupported(Exception):
    """A data type that Zarr has no form for; the message says which."""


def element_of(dataset: Any) -> Element:
    """The element of a data set. Unsupported."""
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError, NotImplementedError) as error:
        raise Unsupported(f"a data type that NumPy does not have: {error}") from error
    string = h5py.check_string_dtype(dtype)
    if string is not None and string.length is None:
        return Element(str, text=True)
    names = h5py.check_enum_dtype(dtype)
    enumeration = None if names is None else {str(name): int(number) for name, number in names.items()}
    return Element(_plain(dtype), enumeration=enumeration)


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype without h5py's annotations and without padding. Unsupported."""
    if h5py.check_ref_dtype(dtype) is not None:
        raise Unsupported("references to other objects or regions of the file")
    if h5py.check_opaque_dtype(dtype) and dtype.kind not in "mM":
        raise Unsupported(f"opaque bytes ({dtype})")
    if h5py.check_string_dtype(dtype) is not None and dtype.kind == "O":
        raise Unsupported("records with strings of variable length")
    if h5py.check_vlen_dtype(dtype) is not None:
        raise Unsupported(f"elements that are arrays of variable length ({h5py.check_vlen_dtype(dtype)})")
    if dtype.subdtype is not None:
        raise Unsupported(f"elements that are arrays ({dtype})")
    if dtype.names is not None:
        return np.dtype([(name, _plain(dtype[name])) for name in dtype.names])
    if dtype.kind == "V" and dtype.metadata is None:
        raise Unsupported(f"opaque bytes ({dtype})")
    if dtype.kind == "O":
        raise Unsupported(f"objects ({dtype})")
    return np.dtype(dtype.str)
