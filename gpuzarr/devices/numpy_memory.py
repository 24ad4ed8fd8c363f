"""Memory at addresses, as arrays: what the kernels' NumPy equals work on. The caller vouches for the addresses."""

from __future__ import annotations

import ctypes
from typing import Any, TypeAlias

import numpy as np

from gpuzarr.devices.columns import HEAD

Array: TypeAlias = np.ndarray[Any, Any]


def bytes_at(address: int, nbytes: int) -> Array:
    """The memory at an address, uint8."""
    if not nbytes:
        return np.empty(0, np.uint8)
    return np.frombuffer(memoryview((ctypes.c_uint8 * nbytes).from_address(address)), np.uint8)


def table_at(address: int, columns: int, rows: int, dtype: Any = np.uint64) -> Array:
    """A table of numbers of 8 bytes, (columns, rows)."""
    table: Array = bytes_at(address, columns * rows * 8).view(dtype).reshape(columns, rows)
    return table


def columns_at(address: int, columns: int, rows: int) -> Array:
    """What `cell` of `kernel.h` reads in a table: uint64, (columns, rows)."""
    heads, found, row = table_at(address, columns, 4), np.empty((columns, rows), np.uint64), np.arange(rows)
    for i, (base, step, form, data) in enumerate(heads.tolist()):
        width, shift = form & 0xFFFFFFFF, np.uint64(form >> 32)
        entries = bytes_at(address + HEAD * i + data, rows * width).view(f"u{width}") if width else np.uint64(0)
        found[i] = np.uint64(base) + ((np.uint64(step) * row.astype(np.uint64) + entries) << shift)
    return found


def inside(offset: int, size: int, limit: int) -> bool:
    """Whether [offset, offset + size) lies in an area of `limit` bytes."""
    return 0 <= offset <= limit - size
