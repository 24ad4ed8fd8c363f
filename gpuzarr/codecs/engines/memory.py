"""Buffers, their addresses, and back.

The C libraries take addresses, Python objects take buffers. Each function here is the cheapest way that CPython
offers; they are called several times a chunk.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np

# Any C-contiguous bytes-like object. (Python 3.11 has no type for it.)
Buffer: TypeAlias = Any

_from_buffer = ctypes.c_char.from_buffer
_addressof = ctypes.addressof

# PyBUF_READ and PyBUF_WRITE of CPython's stable ABI.
_READ, _WRITE = 0x100, 0x200
_view = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)

bytes_at: Callable[[int | bytes, int], bytes] = ctypes.string_at


def octets(data: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """`data`, any C-contiguous buffer, as a flat uint8 array that shares its memory."""
    if isinstance(data, np.ndarray):
        return data.reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8)


def byte_view(data: Any) -> memoryview:
    """`data`, any C-contiguous buffer, as a flat memoryview of bytes."""
    return memoryview(octets(data))  # type: ignore[arg-type] # an array is a buffer; NumPy's stubs need Python 3.12


def size_of(data: Any) -> int:
    """Bytes in a buffer."""
    kind = type(data)
    if kind is bytes or kind is bytearray:
        return len(data)
    if kind is memoryview or isinstance(data, np.ndarray):
        return int(data.nbytes)
    return memoryview(data).nbytes


def address(data: Any) -> int | bytes:
    """Where the bytes of a C-contiguous buffer lie; a `bytes` object stands for its own address, which ctypes
    takes as it is. Valid while the caller holds `data`."""
    if type(data) is bytes:
        return data
    try:
        return _addressof(_from_buffer(data))
    except (TypeError, ValueError):  # read-only, empty, or an array of a data type without a buffer format
        return cast(int, octets(data).__array_interface__["data"][0])


def writable_address(data: Any) -> int:
    """Where the bytes of a writable C-contiguous buffer lie."""
    try:
        return _addressof(_from_buffer(data))
    except (TypeError, ValueError):
        found = octets(data)
        if not found.flags.writeable:
            raise TypeError("a destination must be writable") from None
        return cast(int, found.__array_interface__["data"][0])


def memory_at(where: int | bytes, nbytes: int, *, writable: bool = False) -> memoryview:
    """The memory at an address as a buffer. The caller vouches for the address and keeps the memory alive."""
    if type(where) is bytes:
        return memoryview(where)[:nbytes]
    return cast(memoryview, _view(where, nbytes, _WRITE if writable else _READ))
