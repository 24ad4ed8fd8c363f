"""Memory that ends at a page nobody may touch: a byte too far is a signal, not a lucky read."""

from __future__ import annotations

import ctypes
import mmap

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """Room for up to `size` bytes, a forbidden page before it and one behind it."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self.room = -(-size // page) * page
        self._map = mmap.mmap(-1, self.room + 2 * page)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.start, self.end = first + page, first + page + self.room
        for forbidden in (first, self.end):
            if _libc.mprotect(forbidden, page, mmap.PROT_NONE if hasattr(mmap, "PROT_NONE") else 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def put(self, data: bytes, *, at_start: bool = False) -> int:
        """The address of a copy of `data` that touches a forbidden page, the one behind it or the one before it."""
        where = self.start if at_start else self.end - len(data)
        ctypes.memmove(where, data, len(data))
        return where

    def take(self, size: int, fill: int) -> int:
        """The address of `size` bytes, all of them `fill`, that touch the forbidden page behind them."""
        where = self.end - size
        ctypes.memset(where, fill, size)
        return where
