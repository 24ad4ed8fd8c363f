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

CRC_SEGMENT = 1024  # bytes, as in `crc32c.cu`


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
        size = 1
        for count in counts:
            size = size * count if 0 <= count <= dest_bytes and 0 <= size <= dest_bytes else -1
        if not 0 <= size <= dest_bytes:
            refused += 1
            continue
        places = np.array(row[:2]).reshape(2, *[1] * axes)
        for axis, count in enumerate(counts):
            shape = [2, *[1] * axes]
            shape[1 + axis] = count
            first = row[2 + axes + axis] if listed else -1
            index = np.arange(count)
            offsets = step[:, axis, None] * index if first < 0 else _listed(listing, first + index)
            places = places + offsets.reshape(shape)
        refused += _move(places[0].ravel(), places[1].ravel(), unit, source, source_bytes, dest, dest_bytes)
    return refused


def _listed(lists: Array, index: Array) -> Array:
    """Entries of the lists; beyond them, offsets that lie nowhere."""
    known = index < lists.shape[1]
    found = np.full((2, index.size), -(1 << 62))
    found[:, known] = lists[:, index[known]]
    return found


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


def byteswap(items: int, nbytes: int, width: int, source: int, dest: int) -> int:
    """See `byteswap.cu`."""
    if width not in (2, 4, 8):
        return items
    size = min(nbytes, items * 16)
    turned = bytes_at(source, size).copy()
    whole = turned[: size - size % width]
    whole.view(f"u{width}").byteswap(inplace=True)
    bytes_at(dest, size)[:] = turned
    return 0


def _integer(code: int) -> Any:
    """The integer dtype that a type of `delta.cu` means; None for none."""
    size = code & 15
    return np.dtype(f"{'i' if code >= 16 else 'u'}{size}") if code < 32 and size in (1, 2, 4, 8) else None


def _rows_at(address: int, nbytes: int, rows: int, count: int, dtype: Any) -> Array | None:
    """Rows of `count` numbers; None where they are not all in `nbytes`."""
    if dtype is None or rows * count * dtype.itemsize > nbytes:
        return None
    numbers: Array = bytes_at(address, rows * count * dtype.itemsize).view(dtype).reshape(rows, count)
    return numbers


def delta_sums(
    items: int, count: int, segment: int, segments: int, source: int, source_bytes: int, source_type: int, sums: int
) -> int:
    """See `delta.cu`."""
    rows = items // segments
    numbers = _rows_at(source, source_bytes, rows, count, _integer(source_type))
    if numbers is None:
        return items
    padded = np.zeros((rows, segments * segment), np.uint64)
    padded[:, :count] = numbers.astype(np.int64 if source_type >= 16 else np.uint64).view(np.uint64)
    _table(sums, rows, segments)[:] = padded.reshape(rows, segments, segment).sum(axis=2, dtype=np.uint64)
    return 0


def delta_starts(items: int, segments: int, sums: int) -> int:
    """See `delta.cu`."""
    table = _table(sums, items, segments)
    table[:] = np.cumsum(table, axis=1) - table
    return 0


def delta_running(
    items: int,
    count: int,
    segment: int,
    segments: int,
    source: int,
    source_bytes: int,
    source_type: int,
    sums: int,
    dest: int,
    dest_bytes: int,
    dest_type: int,
) -> int:
    """See `delta.cu`."""
    rows = items // segments
    numbers = _rows_at(source, source_bytes, rows, count, _integer(source_type))
    result = _rows_at(dest, dest_bytes, rows, count, _integer(dest_type))
    if numbers is None or result is None:
        return items
    np.cumsum(numbers.astype(result.dtype), axis=1, out=result)
    return 0


def delta_floats(items: int, count: int, width: int, source: int, source_bytes: int, dest: int, dest_bytes: int) -> int:
    """See `delta.cu`."""
    dtype = np.dtype(f"f{width}") if width in (4, 8) else None
    numbers = _rows_at(source, source_bytes, items, count, dtype)
    result = _rows_at(dest, dest_bytes, items, count, dtype)
    if numbers is None or result is None:
        return items
    np.cumsum(numbers, axis=1, out=result)
    return 0


def crc32c_rows(items: int, span: int, table: int, rows: int, source: int, source_bytes: int, sums: int) -> int:
    """See `crc32c.cu`."""
    from google_crc32c import value  # a C library, loaded when first used

    refused, found = 0, bytes_at(sums, rows * 4).view(np.uint32)
    for row, (start, size) in enumerate(_table(table, 2, rows).T[: items // span].tolist()):
        if _inside(start, size, source_bytes) and size <= span * CRC_SEGMENT:
            found[row] ^= value(bytes_at(source + start, size).tobytes())
        else:
            refused += 1
    return refused


KERNELS = (
    *(copy_rows, unfilter, scatter_parts, scatter_points, byteswap, crc32c_rows),
    *(delta_sums, delta_starts, delta_running, delta_floats),
)
NUMPY_KERNELS: dict[str, Callable[..., int]] = {kernel.__name__: kernel for kernel in KERNELS}
