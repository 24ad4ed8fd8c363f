"""One axis of an index: from what a user writes for it to a `Span` or `Points`, checked.

Indices that leave this module are in range, not negative, and cannot be changed
afterwards; errors name the axis, the index and the size.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from gpuzarr.errors import ArrayIndexError, BoundsCheckError, NegativeStepError, SelectionError

Indices: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Span:
    """`count` indices of one axis: start, start + step, ...; `step` is at least 1."""

    start: int
    count: int
    step: int

    @property
    def stop(self) -> int:
        """One past the last index."""
        return self.start + (self.count - 1) * self.step + 1 if self.count else self.start


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Indices of one axis in any order, duplicates allowed: 1-D, int64, contiguous, read-only."""

    indices: Indices

    @property
    def count(self) -> int:
        """How many indices."""
        return len(self.indices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Points) and np.array_equal(self.indices, other.indices)

    def __hash__(self) -> int:
        return hash(self.indices.tobytes())


# A frozen dataclass costs five times a cache hit, and one small read needs one span an axis.
span_of = lru_cache(maxsize=4096)(Span)
EMPTY = Span(0, 0, 1)


def from_slice(item: slice, length: int, axis: int) -> tuple[Span, bool]:
    """The slice as an ascending span, and whether it runs backwards."""
    try:
        start, stop, step = item.indices(length)
    except TypeError as error:
        raise SelectionError(f"axis {axis}: slices take integers or None, got {item!r}") from error
    except ValueError as error:
        raise NegativeStepError(f"axis {axis}: a slice step cannot be zero, got {item!r}") from error
    if step > 0:
        count = (stop - start + step - 1) // step
        if count > 1:
            # Unary plus: a bool among the slice's members would stay one.
            return span_of(+start, count, +step), False
    else:
        count = (stop - start + step + 1) // step
        if count > 1:
            return span_of(start + (count - 1) * step, count, -step), True
    return (span_of(+start, 1, 1) if count == 1 else EMPTY), False


def integer(item: Any, length: int, axis: int, what: str = "index") -> int:
    """An integer of any kind, counted from the end where negative, checked."""
    if type(item) is not int:
        if isinstance(item, bool | np.bool_):
            raise not_an_index(item, axis)
        try:
            item = operator.index(item)
        except TypeError as error:
            raise not_an_index(item, axis) from error
    found: int = item + length if item < 0 else item
    if 0 <= found < length:
        return found
    raise BoundsCheckError(f"{what} {item} is out of bounds for axis {axis} with size {length}")


def not_an_index(item: Any, axis: int | None) -> SelectionError:
    """The error for what is neither an integer nor a slice."""
    if item is None:
        return SelectionError("np.newaxis (None) is not supported: add the axis to what was read")
    if isinstance(item, np.ndarray | list | tuple | range):
        kind = type(item).__name__  # and not the items, of which there may be a million
        return ArrayIndexError(f"axis {axis}: an index array is not possible here, use oindex or vindex; got a {kind}")
    return SelectionError(f"axis {axis}: expected an integer or a slice, got {item!r} ({type(item).__name__})")


def is_index_array(item: Any) -> bool:
    """A sequence, or any array that is not 0-d (that is an integer)."""
    if isinstance(item, list | tuple | range):
        return True
    shape = getattr(item, "shape", None)
    return isinstance(shape, tuple) and bool(shape) and hasattr(item, "dtype")


def index_array(item: Any, axis: int | None) -> np.ndarray[Any, Any]:
    """A copy (what is checked below must not change afterwards) of integers or bools."""
    where = "index" if axis is None else f"axis {axis}"
    try:
        if isinstance(item, range):
            array = np.arange(item.start, item.stop, item.step, dtype=np.int64)
        else:
            array = np.array(item)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArrayIndexError(f"{where}: cannot be made an index array: {error}") from error
    if not array.size and not hasattr(item, "dtype"):
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise ArrayIndexError(f"{where}: index arrays hold integers or bools, got {array.dtype}")
    return array


def in_range(array: np.ndarray[Any, Any], length: int, axis: int) -> Indices:
    """Integers (an array of our own) as int64, counted from the end where negative, checked."""
    # A large unsigned value turns negative here, and is told apart by `lowest`.
    indices: Indices = array.astype(np.int64, copy=False)
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        lowest = 0 if array.dtype.kind == "u" else -length
        if low < lowest or high >= length:
            worst = int(array.max()) if high >= length or lowest == 0 else low
            raise BoundsCheckError(f"index {worst} is out of bounds for axis {axis} with size {length}")
        if low < 0:
            np.add(indices, length, out=indices, where=indices < 0)
    return indices


def from_array(array: np.ndarray[Any, Any], length: int, axis: int) -> Span | Points:
    """What a 1-D array (our own) of integers, or of as many bools as the axis is long, selects along it."""
    if array.ndim != 1:
        raise ArrayIndexError(
            f"axis {axis}: index arrays of an orthogonal selection are 1-D, got {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind != "b":
        return axis_of(in_range(array, length, axis))
    if len(array) != length:
        raise ArrayIndexError(f"axis {axis}: expected a bool array of length {length}, got {len(array)}")
    return axis_of(np.flatnonzero(array))


def axis_of(indices: Indices) -> Span | Points:
    """A span where the indices are evenly spaced, since runs are read faster than points."""
    count = len(indices)
    if count < 2:
        return span_of(int(indices[0]), 1, 1) if count else EMPTY
    first, step = int(indices[0]), int(indices[1] - indices[0])
    if step > 0 and first + step * (count - 1) == indices[-1] and bool((np.diff(indices) == step).all()):
        return span_of(first, count, step)
    return Points(frozen(indices))


def frozen(indices: np.ndarray[Any, Any]) -> Indices:
    """Contiguous and read-only, as the normal form promises."""
    indices = np.ascontiguousarray(indices, np.int64)
    indices.setflags(write=False)
    return indices
