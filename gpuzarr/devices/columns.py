"""Columns of numbers for kernels, sent narrow: a wave may have 100,000 chunks, and its tables cross the bus.

A column is told by its head, `Column` in `kernels/kernel.h`: row `i` has `base + ((step * i + entry) << shift)` modulo
2^64, where the entries have 0, 1, 2, 4 or 8 bytes each and lie at `data`, counted from the head. What is regular, such
as chunks a stride apart or all of one size, has no entries; places within a wave mostly have two or four bytes. Kernels
read them by `cell`. A table is heads one behind another, so the last columns of one are a table of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpuzarr.devices.gpu import GpuLane

Array = np.ndarray[Any, Any]

HEAD = 32  # bytes of a head
_WORD = (1 << 64) - 1


class Table(NamedTuple):
    """Columns on the device, `rows` entries each."""

    address: int
    rows: int

    def after(self, columns: int) -> Table:
        """The same without its first columns."""
        return Table(self.address + columns * HEAD, self.rows)


def send(lane: GpuLane, *columns: Array) -> Table:
    """A table of columns of one length, int64 or uint64, on the lane's device; one copy. Raises GpuMemoryError."""
    (address,) = lane.send(pack(*columns))
    return Table(address, len(columns[0]))


def pack(*columns: Array) -> Array:
    """A table of columns as bytes (uint8)."""
    heads, parts, end = np.zeros((len(columns), 4), np.uint64), [], HEAD * len(columns)
    for i, column in enumerate(columns):
        base, step, shift, entries = _narrow(column)
        heads[i] = base & _WORD, step & _WORD, shift << 32 | (entries.itemsize if entries.size else 0), end - HEAD * i
        parts.append((end, entries))
        end += -(-entries.nbytes // 8) * 8
    packed = np.zeros(end, np.uint8)
    packed[: heads.nbytes] = heads.view(np.uint8).reshape(-1)
    for start, entries in parts:
        packed[start : start + entries.nbytes] = entries.view(np.uint8)
    return packed


def _narrow(column: Array) -> tuple[int, int, int, Array]:
    """Base, step, shift and entries of a column. What runs over is right modulo 2^64, and has wide entries."""
    nothing = np.empty(0, np.uint8)
    if not column.size:
        return 0, 0, 0, nothing
    numbers = np.ascontiguousarray(column).view(np.int64)
    base = int(numbers[0])
    rest = numbers - numbers[0]
    bits = int(np.bitwise_or.reduce(rest))
    if not bits:
        return base, 0, 0, nothing
    shift = (bits & -bits).bit_length() - 1
    rest >>= shift
    step = int(rest[-1]) // (rest.size - 1)
    rest -= np.arange(rest.size) * step
    least = int(rest.min())
    rest -= least
    base += least << shift
    most = int(rest.view(np.uint64).max())
    if not most:
        return base, step, shift, nothing
    width = next(width for width in (1, 2, 4, 8) if most < 1 << 8 * width)
    return base, step, shift, rest.astype(f"u{width}")
