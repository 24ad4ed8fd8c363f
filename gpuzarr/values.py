"""What a user assigns: as arrays that the corridor can take, of the host or of the array's own device, and into it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.bands import bands
from gpuzarr.devices import Device
from gpuzarr.devices.borrowing import home, host_array
from gpuzarr.selection import Box, Selection
from gpuzarr.stored import StoredArray
from gpuzarr.write import write


def put(stored: StoredArray, selection: Selection, source: Any) -> None:
    """Write values that fit the selection; those of a device come to the host a wave at a time."""
    device = stored.device
    if isinstance(source, np.ndarray):
        write(stored, selection, source)
    elif isinstance(selection, Box):
        for part, places in bands(selection, stored.grid, source.dtype.itemsize, device.wave_bytes):
            write(stored, part, device.download(source[places]))
    else:
        write(stored, selection, device.download(source))


def fitted(source: Any, shape: tuple[int, ...], device: Device) -> Any:
    """`source` with the shape of a selection, or without axes; what must be repeated, on the host. ValueError where it
    does not fit."""
    if not isinstance(source, np.ndarray) and (source.shape != shape or not shape):
        source = device.download(source)
    if not source.ndim:
        return source
    while source.ndim > len(shape) and source.shape[0] == 1:  # as NumPy takes (1, 3) for (3,)
        source = source[0]
    if source.shape == shape:
        return source
    try:
        return np.broadcast_to(source, shape)
    except ValueError as error:
        raise ValueError(f"a value of shape {source.shape} does not fit a selection of shape {shape}") from error


def objects(value: Any) -> np.ndarray[Any, Any]:
    """A Python value as an object array; bytes and str are scalars, lists are nested."""
    if isinstance(value, list | tuple):
        return np.array(value, dtype=object)
    one = np.empty((), dtype=object)
    one[()] = value
    return one


def texts(source: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Objects as text. None is no text and is stored as "" (NumPy would make it the word "None")."""
    missing = np.array([item is None for item in source.ravel().tolist()], bool).reshape(source.shape)
    return np.where(missing, "", source).astype(dtype) if missing.any() else source.astype(dtype)


def values_of(value: Any, dtype: np.dtype[Any], device: Device) -> Any:
    """What a user assigns to an array of `dtype` on `device`, as a host array, or as an array of the device where its
    memory is there (any library's array will do); arrays are cast later, chunk by chunk. Raises DeviceError for memory
    of another device, and NumPy's OverflowError, ValueError or TypeError for Python's values that `dtype` cannot
    hold."""
    if type(value) is not np.ndarray and home(value) is not None:
        lent = device.borrow(value)
        if lent is not None and device.kind == "gpu":
            return lent
        if not hasattr(value, "__array__"):
            value = host_array(value)
    if not hasattr(value, "__array__"):
        if dtype.kind == "O":
            return objects(value)
        if dtype.kind == "T":
            return texts(objects(value), dtype)
        # Cast here, where NumPy refuses numbers of Python that do not fit; in arrays they would wrap round.
        return np.asarray(value, dtype=dtype)
    source = np.asarray(value)
    return texts(source, dtype) if dtype.kind == "T" and source.dtype.kind == "O" else source
