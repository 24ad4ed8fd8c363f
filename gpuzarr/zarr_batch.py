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
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.grid import KeyEncoding
from gpuzarr.indices import Points, Span, frozen
from gpuzarr.selection import Box, Coordinates, Selection

MOST_INDEX = 1 << 62  # how far an axis goes whose length nobody says


class Listed(NamedTuple):
    """Chunks, as columns."""

    keys: Sequence[str]  # in the store
    taken: Sequence[Any]  # of each chunk: an index for each axis
    places: Sequence[Any]  # in the result
    complete: Sequence[bool]  # all of the chunk that lies in the array


class Batch(NamedTuple):
    """What a list of chunks stands for."""

    path: str  # of the array in the store
    selection: Selection
    # As far as the list shows it. A pipeline is not told when its array is resized, so where no chunk is seen to end
    # early, the array is taken to go on.
    shape: tuple[int, ...]


def batch_of(
    listed: Listed, encoding: KeyEncoding, chunks: tuple[int, ...], drop_axes: Sequence[int] = ()
) -> Batch | None:
    """The selection of these chunks, of shape `chunks`; None where they are not what an indexer makes.

    `drop_axes`: axes of which the result has nothing, beside those whose index is an integer.
    """
    located = _located(listed.keys, encoding, len(chunks))
    if located is None:
        return None
    path, coords = located
    taken = [index if isinstance(index, tuple) else (index,) for index in listed.taken]
    if set(map(len, taken)) != {len(chunks)}:
        return None
    if len(chunks) > 1 and all(isinstance(entry, np.ndarray) and entry.ndim == 1 for entry in taken[0]):
        selection: Selection | None = _points(coords, taken, listed.places, chunks)
    else:
        selection = _box(coords, taken, listed.places, chunks, drop_axes)
    if selection is None:
        return None
    return Batch(path, selection, _shape(coords, taken, listed.complete, chunks))


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
    coords: Sequence[tuple[str, ...]],
    taken: Sequence[tuple[Any, ...]],
    places: Sequence[Any],
    chunks: tuple[int, ...],
    drop_axes: Sequence[int],
) -> Box | None:
    """The box whose chunks these are, in the order in which indexers give them: the last axis goes round first."""
    ndim = len(chunks)
    dropped = tuple(i in drop_axes or not isinstance(taken[0][i], slice | np.ndarray) for i in range(ndim))
    kept = [axis for axis in range(ndim) if not dropped[axis]]
    places = [place if isinstance(place, tuple) else (place,) for place in places]
    names = [list(dict.fromkeys(column)) for column in zip(*coords, strict=True)] if ndim else []
    counts = [len(column) for column in names]
    if coords != list(product(*names)) or set(map(len, places)) != {len(kept)}:
        return None
    steps = [prod(counts[axis + 1 :]) for axis in range(ndim)]  # from one chunk of an axis to the next
    firsts = [range(0, count * step, step) for count, step in zip(counts, steps, strict=True)]
    indices = [[taken[i][axis] for i in firsts[axis]] for axis in range(ndim)]
    wheres = {axis: [places[i][n] for i in firsts[axis]] for n, axis in enumerate(kept)}
    if not _is_product(taken, indices) or not _is_product(places, list(wheres.values())):
        return None
    axes = [_axis(names[i], indices[i], wheres.get(i), chunks[i]) for i in range(ndim)]
    found = [entry for entry in axes if entry is not None]
    return None if len(found) < ndim else Box(tuple(found), (False,) * ndim, dropped)


def _is_product(rows: Sequence[tuple[Any, ...]], columns: Sequence[Sequence[Any]]) -> bool:
    """Whether the rows are all combinations of the columns' entries, in order."""
    expected = list(product(*columns))
    if len(rows) != len(expected):
        return False
    try:
        return rows == expected  # most entries are the very same objects, which costs next to nothing
    except ValueError:  # of arrays
        return all(all(map(_same, row, other)) for row, other in zip(rows, expected, strict=True))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is other or np.array_equal(one, other)
    return bool(one == other)


def _axis(
    names: Sequence[str], indices: Sequence[Any], places: Sequence[Any] | None, length: int
) -> Span | Points | None:
    """One axis of a box, of what is taken of each of its chunks, and where that goes; None where it is dropped."""
    taken: list[tuple[int, Any, Any]] = []
    for i, name in enumerate(names):
        chosen = _numbers(indices[i], length)
        if chosen is None:
            return None
        taken.append((int(name) * length, chosen, None if places is None else places[i]))
    if places is None:
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
    coords: Sequence[tuple[str, ...]],
    taken: Sequence[tuple[Any, ...]],
    places: Sequence[Any],
    chunks: tuple[int, ...],
) -> Coordinates | None:
    """Points, in the order of the result, so that of two values for one element the last one is written."""
    places = [place[0] if isinstance(place, tuple) else place for place in places]
    if len(set(coords)) != len(coords):
        return None
    axes: list[np.ndarray[Any, Any]] = []
    for axis, length in enumerate(chunks):
        parts = []
        for where, index, place in zip(coords, taken, places, strict=True):
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
    coords: Sequence[tuple[str, ...]],
    taken: Sequence[tuple[Any, ...]],
    complete: Sequence[bool],
    chunks: tuple[int, ...],
) -> tuple[int, ...]:
    """The shape of the array: where a chunk that is complete ends early, the array ends."""
    shape = [length * max(1, MOST_INDEX // length) for length in chunks]
    ends: dict[int, int] = {}
    whole = tuple(slice(0, length, 1) for length in chunks)
    early = [
        row for row, (all_of_it, index) in enumerate(zip(complete, taken, strict=True)) if all_of_it and index != whole
    ]
    for row in early:
        for axis, (entry, length) in enumerate(zip(taken[row], chunks, strict=True)):
            stop = entry.indices(length)[1] if isinstance(entry, slice) else length
            if stop < length:
                ends[axis] = max(ends.get(axis, 0), int(coords[row][axis]) * length + stop)
    for axis, end in ends.items():
        if end > max(int(where[axis]) for where in coords) * chunks[axis]:  # no chunk lies behind the last one
            shape[axis] = end
    return tuple(shape)
