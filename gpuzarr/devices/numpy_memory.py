"""Memory at addresses, as arrays: what the kernels' NumPy equals work on. The caller vouches for the addresses."""

from __future__ import annotations

import ctypes
from typing import Any, TypeAlias

import numpy as np

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


def inside(offset: int, size: int, limit: int) -> bool:
    """Whether [offset, offset + size) lies in an area of `limit` bytes."""
    return 0 <= offset <= limit - size
