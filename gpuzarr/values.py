"""Between what a user assigns or gets, and what the corridor moves: arrays with one axis for each of the array's."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.devices import Device
from gpuzarr.selection import Box


def as_axes(box: Box) -> tuple[Any, ...]:
    """What turns an array of the box's result into one with all of the array's axes, ascending."""
    return tuple(
        [
            None if gone else slice(None, None, -1) if flip else slice(None)
            for gone, flip in zip(box.dropped, box.flips, strict=True)
        ]
    ) or ...  # type: ignore[return-value]


def broadcast(source: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """`source` with the shape of a selection. ValueError where it does not fit."""
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


def host_values(value: Any, dtype: np.dtype[Any], device: Device) -> np.ndarray[Any, Any]:
    """What a user assigns to an array of `dtype`, as a host array; it is cast later, chunk by chunk."""
    if hasattr(value, "__cuda_array_interface__"):
        return device.download(value)
    if not hasattr(value, "__array__"):
        if dtype.kind == "O":
            return objects(value)
        if dtype.kind == "T" or dtype.names is not None:
            return np.asarray(value, dtype=dtype)
    return np.asarray(value)
