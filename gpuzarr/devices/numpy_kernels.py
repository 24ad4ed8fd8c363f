"""The kernels' NumPy equals: what each kernel is held to, and what runs where there is no compiler.

Each takes what `launch` hands its kernel (`items`, then the parameters from the third on; addresses as integers) and
gives back how many items it refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def unfiltered(block: Array, typesize: int, kind: int) -> Array:
    """One block without its shuffle (1) or bit shuffle (2)."""
    count = block.size // typesize
    head, tail = block[: count * typesize], block[count * typesize :]
    if kind == 1 and count:
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
    taken, given, refused = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes), 0
    for places in _places(items, span, table, rows, axes, steps, listed, lists, list_length, dest_bytes):
        refused += 1 if places is None else _move(*places, unit, taken, given, (places[0] + source) % unit == 0)
    return refused


def scatter_filtered(
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
    layouts: int,
    chunk: int,
    source: int,
    source_bytes: int,
    dest: int,
    dest_bytes: int,
) -> int:
    """See `scatter.cu`."""
    taken, given, refused = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes), 0
    found = _places(items, span, table, rows, axes, steps, listed, lists, list_length, dest_bytes)
    for places, (start, *layout) in zip(found, columns_at(layouts, 5, rows).T.tolist(), strict=False):
        width = layout[-1]
        known = inside(start, chunk, source_bytes) and width in (1, 2, 4, 8) and chunk % width == 0
        if places is None or not known or not layout[0] or not layout[1] or layout[2] > 2:
            refused += 1
            continue
        ordered = in_order(taken[start : start + chunk], *layout)
        at = places[0] - start
        refused += _move(at, places[1], unit, ordered, given, at % min(unit, width) == 0)
    return refused


def in_order(chunk: Array, block: int, typesize: int, kind: int, width: int) -> Array:
    """A chunk whose blocks have no filter and whose numbers of `width` bytes are the other way round."""
    blocks = [unfiltered(chunk[at : at + block], typesize, kind) for at in range(0, chunk.size, block)]
    whole = np.concatenate([chunk[:0], *blocks])
    return whole.view(f"u{width}").byteswap().view(np.uint8)


def _places(
    items: int,
    span: int,
    table: int,
    rows: int,
    axes: int,
    steps: int,
    listed: int,
    lists: int,
    list_length: int,
    dest_bytes: int,
) -> Iterator[tuple[Array, Array] | None]:
    """Offsets in the source and in the destination of every unit of each part; None for one that cannot be."""
    columns = columns_at(table, 2 + axes * (2 if listed else 1), rows).view(np.int64).T[: items // span]
    step, listing = table_at(steps, 2, axes, np.int64), columns_at(lists, 2, list_length).view(np.int64)
    for row in columns.tolist():
        counts = row[2 : 2 + axes]
        size = 1
        for count in counts:
            size = size * count if 0 <= count <= dest_bytes and 0 <= size <= dest_bytes else -1
        if not 0 <= size <= dest_bytes:
            yield None
            continue
        places = np.array(row[:2]).reshape(2, *[1] * axes)
        for axis, count in enumerate(counts):
            shape = [2, *[1] * axes]
            shape[1 + axis] = count
            first = row[2 + axes + axis] if listed else -1
            index = np.arange(count)
            offsets = step[:, axis, None] * index if first < 0 else _listed(listing, first + index)
            places = places + offsets.reshape(shape)
        yield places[0].ravel(), places[1].ravel()


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
    taken, given = bytes_at(source, source_bytes), bytes_at(dest, dest_bytes)
    begin, to = begin.ravel(), to.ravel()
    return _move(begin, to, unit, taken, given, (begin + source) % unit == 0)


def _move(begin: Array, to: Array, unit: int, taken: Array, given: Array, known: Array) -> int:
    """`unit` bytes from each offset to the other, where that is `known` to be possible; how many of them it is not for,
    or lie outside or not on a multiple of the unit."""
    known = known & (begin >= 0) & (begin <= taken.size - unit) & (to >= 0) & (to <= given.size - unit)
    known &= (to + given.ctypes.data) % unit == 0
    byte = np.arange(unit)
    given[to[known, None] + byte] = taken[begin[known, None] + byte]
    return int((~known).sum())


KERNELS = (
    *(copy_rows, list_streams, scatter_parts, scatter_filtered, scatter_points),
    *(byteswap, convert_rows, unpack_rows, delta_sums, delta_starts, delta_running, delta_floats),
    *(crc32c_rows, crc32_rows, adler32_rows, xxh64_rows),
)
NUMPY_KERNELS: dict[str, Callable[..., int]] = {kernel.__name__: kernel for kernel in KERNELS}
