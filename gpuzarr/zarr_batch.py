"""zarr-python's list of chunks, turned back into the selection that it was made from.

zarr-python hands its pipeline one item a chunk: the key, what is taken of the chunk, where that goes in the result, and
whether it is all of the chunk that lies in the array
(https://zarr.readthedocs.io/en/stable/api/zarr/abc/codec/). Its indexers make such lists from a box, whose axes have an
entry for each chunk that they touch, or from points. Both are found again here and proven: every item must be what the
box has there, and together they must be all of it. What is something else is None, never a guess.

Pure: no I/O, no device, and no zarr-python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.grid import KeyEncoding
from gpuzarr.indices import Points, Span, frozen
from gpuzarr.selection import Box, Coordinates, Selection

MOST_INDEX = 1 << 62  # how far an axis goes whose length nobody says


class Item(NamedTuple):
    """One chunk of a list."""

    key: str  # in the store
    taken: Any  # of the chunk: an index for each axis
    place: Any  # in the result
    complete: bool  # all of the chunk that lies in the array


class Batch(NamedTuple):
    """What a list of chunks stands for."""

    path: str  # of the array in the store
    selection: Selection
    # As far as the list shows it. A pipeline is not told when its array is resized, so where no chunk is seen to end
    # early, the array is taken to go on.
    shape: tuple[int, ...]


def batch_of(
    items: Sequence[Item], encoding: KeyEncoding, chunks: tuple[int, ...], drop_axes: Sequence[int] = ()
) -> Batch | None:
    """The selection of these chunks, of shape `chunks`; None where they are not what an indexer makes.

    `drop_axes`: axes of which the result has nothing, beside those whose index is an integer.
    """
    located = _located([item.key for item in items], encoding, len(chunks))
    if located is None:
        return None
    path, coords = located
    indices = [item.taken if isinstance(item.taken, tuple) else (item.taken,) for item in items]
    if any(len(index) != len(chunks) for index in indices):
        return None
    if len(chunks) > 1 and all(isinstance(entry, np.ndarray) and entry.ndim == 1 for entry in indices[0]):
        selection: Selection | None = _points(items, coords, indices, chunks)
    else:
        selection = _box(items, coords, indices, chunks, drop_axes)
    if selection is None:
        return None
    return Batch(path, selection, _shape(items, coords, indices, chunks))


def _located(keys: Sequence[str], encoding: KeyEncoding, ndim: int) -> tuple[str, list[tuple[str, ...]]] | None:
    """The array's path, and the numbers in each key."""
    if ndim == 0:
        name = encoding.key(())
        if len(keys) != 1 or not f"/{keys[0]}".endswith(f"/{name}"):
            return None
        return keys[0][: -len(name)].rstrip("/"), [()]
    number = rf"{re.escape(encoding.separator)}".join([r"(?:0|[1-9][0-9]{0,18})"] * ndim)
    first = re.fullmatch(rf"((?:.*/)?){re.escape(encoding.prefix)}{number}", keys[0], re.DOTALL)
    if first is None:
        return None
    head, separator = first[1] + encoding.prefix, encoding.separator
    coords = [tuple(key[len(head) :].split(separator)) for key in keys]
    if not all(key.startswith(head) for key in keys) or any(len(c) != ndim for c in coords):
        return None
    return first[1].rstrip("/"), coords


def _box(
    items: Sequence[Item],
    coords: Sequence[tuple[str, ...]],
    indices: Sequence[tuple[Any, ...]],
    chunks: tuple[int, ...],
    drop_axes: Sequence[int],
) -> Box | None:
    ndim = len(chunks)
    dropped = tuple(i in drop_axes or not isinstance(indices[0][i], slice | np.ndarray) for i in range(ndim))
    kept = [axis for axis in range(ndim) if not dropped[axis]]
    tables: list[dict[str, tuple[Any, Any]]] = [{} for _ in range(ndim)]
    for item, where, index in zip(items, coords, indices, strict=True):
        place = item.place if isinstance(item.place, tuple) else (item.place,)
        if len(place) != len(kept):
            return None
        places: list[Any] = [None] * ndim
        for axis, entry in zip(kept, place, strict=True):
            places[axis] = entry
        for axis, table in enumerate(tables):
            seen = table.setdefault(where[axis], (index[axis], places[axis]))
            if not _same(seen[0], index[axis]) or not _same(seen[1], places[axis]):
                return None
    if len(items) != prod(map(len, tables)) or len(set(coords)) != len(items):
        return None
    axes = [_axis(table, chunks[i], dropped[i]) for i, table in enumerate(tables)]
    found = [entry for entry in axes if entry is not None]
    return None if len(found) < ndim else Box(tuple(found), (False,) * ndim, dropped)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is other or np.array_equal(one, other)
    return bool(one == other)


def _axis(table: dict[str, tuple[Any, Any]], length: int, dropped: bool) -> Span | Points | None:
    """One axis of a box, of what is taken of each of its chunks, and where that goes."""
    taken: list[tuple[int, Any, Any]] = []
    for name, (index, place) in table.items():
        chosen = _numbers(index, length)
        if chosen is None:
            return None
        taken.append((int(name) * length, chosen, place))
    if dropped:
        (start, chosen, _), *more = taken
        return None if more or len(chosen) != 1 else Span(start + int(chosen[0]), 1, 1)
    taken.sort(key=lambda entry: entry[0])
    return _span(taken) or _listed(taken)


def _numbers(index: Any, length: int) -> Any:
    """The indices in a chunk, as a range or as an array; None where they are not all in it."""
    if isinstance(index, slice):
        chosen = range(*index.indices(length))
        return chosen if chosen.step > 0 else None
    if isinstance(index, np.ndarray):
        numbers = np.flatnonzero(index) if index.dtype == bool else index.ravel()
        return numbers if numbers.size and numbers.min() >= 0 and numbers.max() < length else None
    return range(int(index), int(index) + 1) if 0 <= index < length else None


def _span(taken: Sequence[tuple[int, Any, Any]]) -> Span | None:
    """The axis where its chunks follow each other in the result, evenly."""
    if not all(isinstance(chosen, range) and isinstance(place, slice) for _, chosen, place in taken):
        return None
    start, first = taken[0][0] + taken[0][1].start, taken[0][1]
    count = 0
    for origin, chosen, place in taken:
        low, high = place.start, place.stop
        if (low, high - low) != (count, len(chosen)) or place.step not in (None, 1):
            return None
        if chosen.step != first.step or origin + chosen.start != start + count * first.step:
            return None
        count = high
    return Span(start, count, first.step)


def _listed(taken: Sequence[tuple[int, Any, Any]]) -> Points | None:
    """The axis as the list of its indices."""
    return _in_places([(origin + np.asarray(chosen, np.int64), place) for origin, chosen, place in taken])


def _in_places(parts: Sequence[tuple[np.ndarray[Any, Any], Any]]) -> Points | None:
    """Indices put where the result has them; None where some place has none, or several."""
    count = sum(len(indices) for indices, _ in parts)
    found = np.full(count, -1, np.int64)
    for indices, place in parts:
        where = place.ravel() if isinstance(place, np.ndarray) else place
        if isinstance(where, np.ndarray) and (where.dtype == bool or where.size != indices.size):
            return None
        if isinstance(where, slice) and len(range(*where.indices(count))) != indices.size:
            return None
        if isinstance(where, np.ndarray) and (where.min() < 0 or where.max() >= count):
            return None
        found[where] = indices
    return None if (found < 0).any() else Points(frozen(found))


def _points(
    items: Sequence[Item],
    coords: Sequence[tuple[str, ...]],
    indices: Sequence[tuple[Any, ...]],
    chunks: tuple[int, ...],
) -> Coordinates | None:
    """Points, in the order of the result, so that of two values for one element the last one is written."""
    places = [item.place[0] if isinstance(item.place, tuple) else item.place for item in items]
    if len(set(coords)) != len(items):
        return None
    axes: list[np.ndarray[Any, Any]] = []
    for axis, length in enumerate(chunks):
        parts = []
        for where, index, place in zip(coords, indices, places, strict=True):
            chosen = _numbers(index[axis], length)
            if chosen is None or isinstance(chosen, range) or len(chosen) != len(index[0]):
                return None
            parts.append((int(where[axis]) * length + chosen.astype(np.int64), place))
        found = _in_places(parts)
        if found is None:
            return None
        axes.append(found.indices)
    return Coordinates(tuple(axes), (len(axes[0]),))


def _shape(
    items: Sequence[Item],
    coords: Sequence[tuple[str, ...]],
    indices: Sequence[tuple[Any, ...]],
    chunks: tuple[int, ...],
) -> tuple[int, ...]:
    """The shape of the array: where a chunk that is complete ends early, the array ends."""
    shape = [length * max(1, MOST_INDEX // length) for length in chunks]
    ends: dict[int, int] = {}
    whole = tuple(slice(0, length, 1) for length in chunks)
    for item, where, index in zip(items, coords, indices, strict=True):
        if not item.complete or index == whole:
            continue
        for axis, (entry, length) in enumerate(zip(index, chunks, strict=True)):
            stop = entry.indices(length)[1] if isinstance(entry, slice) else length
            if stop < length:
                ends[axis] = max(ends.get(axis, 0), int(where[axis]) * length + stop)
    for axis, end in ends.items():
        if end > max(int(where[axis]) for where in coords) * chunks[axis]:  # no chunk lies behind the last one
            shape[axis] = end
    return tuple(shape)
