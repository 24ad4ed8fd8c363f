"""The kernels' NumPy equals: what each kernel is held to, and what runs where there is no compiler.

Each takes what `launch` hands its kernel (`items`, then the parameters from the third on; addresses as integers) and
gives back how many items it refused.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


def bytes_at(address: int, nbytes: int) -> Array:
    """The memory at an address, uint8. The caller vouches for it."""
    if not nbytes:
        return np.empty(0, np.uint8)
    return np.frombuffer(memoryview((ctypes.c_uint8 * nbytes).from_address(address)), np.uint8)


def _table(address: int, columns: int, rows: int, dtype: Any = np.uint64) -> Array:
    table: Array = bytes_at(address, columns * rows * 8).view(dtype).reshape(columns, rows)
    return table


def _inside(offset: int, size: int, limit: int) -> bool:
    return 0 <= offset <= limit - size


def copy_rows(
    items: int, span: int, table: int, rows: int, source: int, source_bytes: int, dest: int, dest_bytes: int
) -> int:
    """See `copy.cu`."""
    taken, given, refused = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes), 0
    for begin, to, size in _table(table, 3, rows).T[: items // span].tolist():
        if not _inside(begin, size, source_bytes) or not _inside(to, size, dest_bytes):
            refused += 1
            continue
        given[to : to + size] = taken[begin : begin + size]
    return refused


def unfilter(
    items: int, span: int, table: int, rows: int, source: int, source_bytes: int, dest: int, dest_bytes: int
) -> int:
    """See `unfilter.cu`."""
    taken, given, refused = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes), 0
    for begin, to, size, typesize, kind in _table(table, 5, rows).T[: items // span].tolist():
        known = _inside(begin, size, source_bytes) and _inside(to, size, dest_bytes)
        if not known or typesize == 0 or kind > 2:
            refused += 1
            continue
        given[to : to + size] = unfiltered(taken[begin : begin + size], typesize, kind)
    return refused


def unfiltered(block: Array, typesize: int, kind: int) -> Array:
    """One block without its shuffle (1) or bit shuffle (2)."""
    count = block.size // typesize
    head, tail = block[: count * typesize], block[count * typesize :]
    if kind == 1:
        head = head.reshape(typesize, count).T.ravel()
    elif kind == 2 and count % 8 == 0 and count:
        bits = np.unpackbits(head.reshape(typesize * 8, count // 8), axis=1, bitorder="little")
        head = np.packbits(bits.T, axis=1, bitorder="little").ravel()
    return np.concatenate([head, tail])


def scatter_parts(
    items: int,
    span: int,
    table: int,
    rows: int,
    axes: int,
    unit: int,
    steps: int,
    listed: int,
    lists: int,
    list_length: int,
    source: int,
    source_bytes: int,
    dest: int,
    dest_bytes: int,
) -> int:
    """See `scatter.cu`."""
    columns = _table(table, 2 + axes * (2 if listed else 1), rows, np.int64).T[: items // span]
    step, listing = _table(steps, 2, axes, np.int64), _table(lists, 2, list_length, np.int64)
    refused = 0
    for row in columns.tolist():
        counts = row[2 : 2 + axes]
        places = np.array(row[:2]).reshape(2, *[1] * axes)
        for axis, count in enumerate(counts):
            shape = [2, *[1] * axes]
            shape[1 + axis] = count
            first = row[2 + axes + axis] if listed else -1
            offsets = step[:, axis, None] * np.arange(count) if first < 0 else listing[:, first : first + count]
            places = places + offsets.reshape(shape)
        refused += _move(places[0].ravel(), places[1].ravel(), unit, source, source_bytes, dest, dest_bytes)
    return refused


def scatter_points(
    items: int,
    points: int,
    pieces: int,
    unit: int,
    sources: int,
    dests: int,
    source: int,
    source_bytes: int,
    dest: int,
    dest_bytes: int,
) -> int:
    """See `scatter.cu`."""
    piece = np.arange(pieces) * unit
    begin, to = (bytes_at(a, points * 8).view(np.int64)[: items // pieces, None] + piece for a in (sources, dests))
    return _move(begin.ravel(), to.ravel(), unit, source, source_bytes, dest, dest_bytes)


def _move(begin: Array, to: Array, unit: int, source: int, source_bytes: int, dest: int, dest_bytes: int) -> int:
    """`unit` bytes from each offset to the other; how many of them lie outside or not on a multiple of the unit."""
    known = (begin >= 0) & (begin <= source_bytes - unit) & (to >= 0) & (to <= dest_bytes - unit)
    known &= ((begin + source) % unit == 0) & ((to + dest) % unit == 0)
    byte = np.arange(unit)
    taken = bytes_at(source, source_bytes)[begin[known, None] + byte]
    bytes_at(dest, dest_bytes)[to[known, None] + byte] = taken
    return int((~known).sum())


NUMPY_KERNELS: dict[str, Callable[..., int]] = {
    f.__name__: f for f in (copy_rows, unfilter, scatter_parts, scatter_points)
}
