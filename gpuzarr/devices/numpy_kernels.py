"""The kernels' NumPy equals: what each kernel is held to, and what runs where there is no compiler.

Each takes what `launch` hands its kernel (`items`, then the parameters from the third on; addresses as integers) and
gives back how many items it refused.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpuzarr.devices.numpy_checksums import adler32_rows, crc32_rows, crc32c_rows, xxh64_rows
from gpuzarr.devices.numpy_memory import Array, bytes_at, columns_at, inside, table_at
from gpuzarr.devices.numpy_numbers import (
    byteswap,
    convert_rows,
    delta_floats,
    delta_running,
    delta_starts,
    delta_sums,
    unpack_rows,
)


def copy_rows(
    items: int, span: int, table: int, rows: int, source: int, source_bytes: int, dest: int, dest_bytes: int
) -> int:
    """See `copy.cu`."""
    taken, given, refused = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes), 0
    for begin, to, size in columns_at(table, 3, rows).T[: items // span].tolist():
        if not inside(begin, size, source_bytes) or not inside(to, size, dest_bytes):
            refused += 1
            continue
        given[to : to + size] = taken[begin : begin + size]
    return refused


def unfilter(
    items: int, span: int, table: int, rows: int, source: int, source_bytes: int, dest: int, dest_bytes: int
) -> int:
    """See `unfilter.cu`."""
    taken, given, refused = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes), 0
    for begin, to, size, typesize, kind in columns_at(table, 5, rows).T[: items // span].tolist():
        known = inside(begin, size, source_bytes) and inside(to, size, dest_bytes)
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


def list_streams(
    items: int, table: int, rows: int, source: int, source_bytes: int, dest: int, dest_bytes: int, streams: int
) -> int:
    """See `streams.cu`."""
    listed, statuses = table_at(streams, 5, rows), bytes_at(streams + 40 * rows, 4 * rows).view(np.int32)
    refused = 0
    for row, (begin, size, to, capacity) in enumerate(columns_at(table, 4, rows).T[:items].tolist()):
        if inside(begin, size, source_bytes) and inside(to, capacity, dest_bytes):
            listed[:, row] = source + begin, size, capacity, dest + to, 0
        else:
            listed[:, row] = source, 0, 0, dest, 0
            refused += 1
        statuses[row] = -1
    return refused


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
    columns = columns_at(table, 2 + axes * (2 if listed else 1), rows).view(np.int64).T[: items // span]
    step, listing = table_at(steps, 2, axes, np.int64), columns_at(lists, 2, list_length).view(np.int64)
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
    table: int,
    source: int,
    source_bytes: int,
    dest: int,
    dest_bytes: int,
) -> int:
    """See `scatter.cu`."""
    piece = np.arange(pieces) * unit
    begin, to = (c[: items // pieces, None] + piece for c in columns_at(table, 2, points).view(np.int64))
    return _move(begin.ravel(), to.ravel(), unit, source, source_bytes, dest, dest_bytes)


def _move(begin: Array, to: Array, unit: int, source: int, source_bytes: int, dest: int, dest_bytes: int) -> int:
    """`unit` bytes from each offset to the other; how many of them lie outside or not on a multiple of the unit."""
    known = (begin >= 0) & (begin <= source_bytes - unit) & (to >= 0) & (to <= dest_bytes - unit)
    known &= ((begin + source) % unit == 0) & ((to + dest) % unit == 0)
    byte = np.arange(unit)
    taken = bytes_at(source, source_bytes)[begin[known, None] + byte]
    bytes_at(dest, dest_bytes)[to[known, None] + byte] = taken
    return int((~known).sum())


KERNELS = (
    *(copy_rows, unfilter, list_streams, scatter_parts, scatter_points),
    *(byteswap, convert_rows, unpack_rows, delta_sums, delta_starts, delta_running, delta_floats),
    *(crc32c_rows, crc32_rows, adler32_rows, xxh64_rows),
)
NUMPY_KERNELS: dict[str, Callable[..., int]] = {kernel.__name__: kernel for kernel in KERNELS}
