"""Any NumPy or Zarr style index, in one normal form.

The doors (`basic`, `orthogonal`, `coordinate`, `mask`, `block`, `vindex` and
`index`) take what a user may write between brackets and the shape of the array,
and return a `Box` (one entry an axis, every combination of them) or
`Coordinates` (a list of points). All indices in a normal form are checked: they
are in range and not negative, so the floors above need not look again. What does
not fit raises a `SelectionError`, which is an `IndexError`.

Semantics are zarr-python's, which are NumPy's wherever NumPy's result does not
depend on the order of the axes. Beyond both: slices may run backwards in every
door that takes slices, `z[..., [0, 1]]` needs no `oindex`, and `views.compose`
puts one selection inside another without reading.

Pure: no I/O, no device; NumPy holds index arrays only. Integers and slices never
touch NumPy, because one small read must not pay for it.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from gpuzarr.errors import (
    ArrayIndexError,
    BoundsCheckError,
    NegativeStepError,
    SelectionError,
    VindexInvalidSelectionError,
)
from gpuzarr.indices import (
    EMPTY,
    Indices,
    Points,
    Span,
    from_array,
    from_slice,
    frozen,
    in_range,
    index_array,
    integer,
    is_index_array,
    not_an_index,
    span_of,
)

__all__ = [
    "Box",
    "Coordinates",
    "Indices",
    "Points",
    "Selection",
    "Span",
    "basic",
    "block",
    "coordinate",
    "index",
    "known_fields",
    "mask",
    "orthogonal",
    "split_fields",
    "vindex",
]

Shape: TypeAlias = tuple[int, ...]
_FORWARDS, _BACKWARDS = slice(None), slice(None, None, -1)


class Box(NamedTuple):  # which costs a small read a third of what a frozen dataclass would
    """Every combination of one entry an axis of the array.

    `flips[i]`: the result runs backwards along axis i (only where the entry is a
    `Span`). `dropped[i]`: an integer chose axis i, so that the entry has one
    element and the result lacks the axis.
    """

    axes: tuple[Span | Points, ...]
    flips: tuple[bool, ...]
    dropped: tuple[bool, ...]

    @property
    def full_shape(self) -> Shape:
        """One length for each axis of the array, dropped or not."""
        return tuple([entry.count for entry in self.axes])

    @property
    def shape(self) -> Shape:
        """The shape of the result."""
        return tuple([entry.count for entry, gone in zip(self.axes, self.dropped, strict=True) if not gone])

    @property
    def size(self) -> int:
        """How many elements the result has."""
        return math.prod(self.full_shape)

    @property
    def reach(self) -> int | None:
        """How many elements lie between the first and the last along every axis; None where an axis has points."""
        spans = [entry for entry in self.axes if isinstance(entry, Span)]
        return math.prod([(s.count - 1) * s.step + 1 for s in spans]) if len(spans) == len(self.axes) else None

    @property
    def to_axes(self) -> Any:
        """An index that turns an array of shape `shape` into a view with every axis of the array, ascending."""
        if not self.axes:
            return ...
        pairs = zip(self.dropped, self.flips, strict=True)
        return tuple([None if gone else _BACKWARDS if flip else _FORWARDS for gone, flip in pairs])


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """Points: one index array for each axis of the array, all of one length.

    Each is 1-D, int64, contiguous and read-only; together they are the result of
    shape `shape`, flattened in C order.
    """

    indices: tuple[Indices, ...]
    shape: Shape

    @property
    def count(self) -> int:
        """How many points."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """How many elements the result has."""
        return math.prod(self.shape)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Coordinates)
            and self.shape == other.shape
            and len(self.indices) == len(other.indices)
            and all(map(np.array_equal, self.indices, other.indices))
        )

    def __hash__(self) -> int:
        return hash((self.shape, *(axis.tobytes() for axis in self.indices)))


Selection: TypeAlias = Box | Coordinates


class AxisChunks(Protocol):
    """What `block` asks of one axis of a grid."""

    def bounds(self, chunk: int, /) -> tuple[int, int]: ...


class ChunkGrid(Protocol):
    """What `block` asks of a grid."""

    @property
    def shape(self) -> Shape: ...

    @property
    def counts(self) -> Shape: ...

    def axis(self, axis: int, /) -> AxisChunks: ...


_ALL = slice(None)
_PLAIN = frozenset((int, slice, EllipsisType))


def basic(key: Any, shape: Shape) -> Box:
    """Integers, slices and one Ellipsis; missing axes are taken whole."""
    axes: list[Span | Points] = []
    flips, dropped = [], []
    for axis, item in enumerate(_expand(key, len(shape))):
        if item is _ALL:
            axes.append(span_of(0, shape[axis], 1))
            flips.append(False)
            dropped.append(False)
        elif type(item) is slice:
            entry, flip = from_slice(item, shape[axis], axis)
            axes.append(entry)
            flips.append(flip)
            dropped.append(False)
        else:
            axes.append(span_of(integer(item, shape[axis], axis), 1, 1))
            flips.append(False)
            dropped.append(True)
    return Box(tuple(axes), tuple(flips), tuple(dropped))


def orthogonal(key: Any, shape: Shape) -> Box:
    """As `basic`, and on each axis apart a 1-D array of integers, or of bools as long as the axis."""
    axes: list[Span | Points] = []
    flips, dropped = [], []
    for axis, item in enumerate(_expand(key, len(shape))):
        entry: Span | Points
        flip = gone = False
        if isinstance(item, slice):
            entry, flip = from_slice(item, shape[axis], axis)
        elif is_index_array(item):
            entry = from_array(index_array(item, axis), shape[axis], axis)
        else:
            entry, gone = span_of(integer(item, shape[axis], axis), 1, 1), True
        axes.append(entry)
        flips.append(flip)
        dropped.append(gone)
    return Box(tuple(axes), tuple(flips), tuple(dropped))


def coordinate(key: Any, shape: Shape) -> Coordinates:
    """One integer or integer array an axis, broadcast together; only integers give shape (1,)."""
    items = key if isinstance(key, tuple) else (key,)
    if len(items) != len(shape) or not shape:
        raise VindexInvalidSelectionError(
            f"coordinates: expected one integer array for each of the {len(shape)} axes, got {len(items)}"
        )
    arrays = []
    for axis, (item, length) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice) or item is Ellipsis:
            raise VindexInvalidSelectionError(
                f"coordinates: expected an integer array for axis {axis}, got {item!r}; use oindex for slices"
            )
        if not is_index_array(item):
            arrays.append(np.array([integer(item, length, axis)], np.int64))
            continue
        array = index_array(item, axis)
        if array.dtype.kind == "b":
            raise VindexInvalidSelectionError(
                f"coordinates: expected an integer array for axis {axis}, got a bool array; "
                "a mask is one bool array of the shape of the whole array"
            )
        arrays.append(in_range(array, length, axis))
    try:
        broadcast = np.broadcast_arrays(*arrays)
    except ValueError as error:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ArrayIndexError(f"coordinates: index arrays of shapes {shapes} do not broadcast together") from error
    return Coordinates(tuple(frozen(array.reshape(-1)) for array in broadcast), broadcast[0].shape)


def mask(key: Any, shape: Shape) -> Coordinates:
    """The points where one bool array of the shape of the whole array is true, in C order."""
    if isinstance(key, tuple) and len(key) == 1:
        key = key[0]
    if not shape or not is_index_array(key):
        raise ArrayIndexError(f"mask: expected a bool array of shape {shape}, got {type(key).__name__}")
    array = index_array(key, None)
    if array.dtype.kind != "b" or array.shape != shape:
        raise VindexInvalidSelectionError(
            f"mask: expected a bool array of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    found = np.nonzero(array)
    return Coordinates(tuple(frozen(axis) for axis in found), (len(found[0]),))


def vindex(key: Any, shape: Shape) -> Coordinates:
    """A mask where the key is one bool array, else coordinates."""
    items = key if isinstance(key, tuple) else (key,)
    if len(items) == 1 and is_index_array(items[0]) and index_array(items[0], None).dtype.kind == "b":
        return mask(items[0], shape)
    return coordinate(items, shape)


def index(key: Any, shape: Shape) -> Selection:
    """What `z[key]` means: plain, else one array an axis orthogonally, else a mask or coordinates.

    Several index arrays beside slices raise: NumPy's order of the result's axes
    surprises, so the caller has to say `oindex` or `vindex`.
    """
    items = key if isinstance(key, tuple) else (key,)
    for item in items:
        if type(item) not in _PLAIN:
            break
    else:
        return basic(items, shape)
    items = tuple([index_array(item, axis) if is_index_array(item) else item for axis, item in enumerate(items)])
    arrays = [item for item in items if isinstance(item, np.ndarray) and item.ndim]
    if not arrays:
        return basic(items, shape)
    if len(items) == 1 and arrays[0].dtype.kind == "b" and arrays[0].ndim == len(shape) > 1:
        return mask(arrays[0], shape)
    items = _expand(items, len(shape))
    bools = any(array.dtype.kind == "b" for array in arrays)
    slices = any(isinstance(item, slice) for item in items)
    # One array on one axis has no other meaning, and an axis of points is cheaper to plan than loose points.
    if (len(arrays) == 1 and (arrays[0].ndim == 1 or bools or slices)) or (bools and len(arrays) == len(shape)):
        return orthogonal(items, shape)
    if not (bools or slices):
        return coordinate(items, shape)
    raise SelectionError(
        "more than one index array beside slices, integers or bool arrays: "
        "use oindex for every combination of them, or vindex for points"
    )


def block(key: Any, grid: ChunkGrid) -> Box:
    """Whole chunks by their place in the grid: integers (no axis is dropped) and slices of step 1."""
    axes: list[Span | Points] = []
    for axis, item in enumerate(_expand(key, len(grid.shape))):
        chunks, count = grid.axis(axis), grid.counts[axis]
        if isinstance(item, slice):
            first, last = _block_range(item, count, axis)
        else:
            first = integer(item, count, axis, "block index")
            last = first + 1
        if first >= last:
            axes.append(EMPTY)
            continue
        start = chunks.bounds(first)[0]
        stop = min(chunks.bounds(last - 1)[1], grid.shape[axis])
        axes.append(span_of(start, stop - start, 1))
    none = (False,) * len(axes)
    return Box(tuple(axes), none, none)


def split_fields(key: Any) -> tuple[str | list[str] | None, Any]:
    """Field names of a structured type, and the rest of the key.

    One name alone is a string; a list of names, or several names, is a list.
    """
    if isinstance(key, str):
        return key, ()
    if _is_names(key):
        return list(key), ()
    if not isinstance(key, tuple):
        return None, key
    names: list[str] = []
    rest: list[Any] = []
    several = False
    for item in key:
        if isinstance(item, str):
            names.append(item)
        elif _is_names(item):
            names.extend(item)
            several = True
        else:
            rest.append(item)
    if not names:
        return None, key
    return (names if several or len(names) > 1 else names[0]), tuple(rest)


def known_fields(fields: Any, dtype: np.dtype[Any]) -> str | list[str]:
    """The names of fields in the form that NumPy takes. SelectionError for those that the data type does not have."""
    names = [fields] if isinstance(fields, str) else list(fields)
    unknown = [name for name in names if name not in (dtype.names or ())]
    if unknown:
        there = ", ".join(map(repr, dtype.names)) if dtype.names else "none"
        raise SelectionError(f"no field {unknown[0]!r} in data type {dtype}; its fields are: {there}")
    return fields if isinstance(fields, str) else names


def _is_names(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(name, str) for name in item)


def _expand(key: Any, ndim: int) -> tuple[Any, ...]:
    """One item an axis: the Ellipsis and missing axes become whole slices."""
    items: tuple[Any, ...] = key if isinstance(key, tuple) else (key,)
    at = -1
    for place, item in enumerate(items):
        if item is Ellipsis:
            if at >= 0:
                raise SelectionError("an index can only have a single Ellipsis ('...')")
            at = place
    missing = ndim - len(items)
    if at >= 0:
        missing += 1
        items = items[:at] + (_ALL,) * missing + items[at + 1 :]
    elif missing > 0:
        items = items + (_ALL,) * missing
    if missing < 0:
        if any(item is None for item in items):
            raise not_an_index(None, None)
        raise SelectionError(f"too many indices: expected at most {ndim} for {ndim} dimensions, got {len(items)}")
    return items


def _block_range(item: slice, count: int, axis: int) -> tuple[int, int]:
    """First chunk and one past the last; as zarr-python, a start beyond the grid is an error."""
    try:
        step = 1 if item.step is None else operator.index(item.step)
        first = 0 if item.start is None else operator.index(item.start)
        last = count if item.stop is None else operator.index(item.stop)
    except TypeError as error:
        raise SelectionError(f"axis {axis}: slices take integers or None, got {item!r}") from error
    if step != 1:
        raise NegativeStepError(f"axis {axis}: blocks take slices of step 1, got {item!r}")
    start = first + count if first < 0 else first
    if start < 0 or start >= max(count, 1):
        raise BoundsCheckError(f"block index {first} is out of bounds for axis {axis} with size {count}")
    return start, min(last + count if last < 0 else last, count)
