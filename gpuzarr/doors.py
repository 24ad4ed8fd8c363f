"""The ways into an array other than `array[...]`: `oindex`, `vindex`, `blocks`, `lazy`, and `get_*_selection`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from gpuzarr.devices import Device
from gpuzarr.devices.borrowing import destination
from gpuzarr.facts import ArrayFacts
from gpuzarr.selection import (
    Box,
    Selection,
    Span,
    basic,
    block,
    coordinate,
    index,
    orthogonal,
    split_fields,
    vindex,
)
from gpuzarr.selection import mask as points_of
from gpuzarr.views import compose


class ArrayDoors(ArrayFacts):
    """An array's ways in other than `array[...]`; all of them end in its `get_selection` and `set_selection`."""

    device: Device

    def get_selection(self, selection: Selection, *, fields: Any = None, out: Any = None) -> Any:
        """Read a selection in normal form."""
        raise NotImplementedError

    def set_selection(self, selection: Selection, value: Any, *, fields: Any = None) -> None:
        """Write a selection in normal form."""
        raise NotImplementedError

    def explain(self, selection: Any = Ellipsis) -> str:
        """The plan of reading a selection."""
        raise NotImplementedError

    # ---- doors

    @property
    def oindex(self) -> OIndex:
        """Orthogonal indexing."""
        return OIndex(self)

    @property
    def vindex(self) -> VIndex:
        """Coordinate and mask indexing."""
        return VIndex(self)

    @property
    def blocks(self) -> Blocks:
        """Indexing by chunk."""
        return Blocks(self)

    @property
    def lazy(self) -> Lazy:
        """Views that are not read until they are asked for their values."""
        return Lazy(self)

    def astype(self, dtype: Any) -> LazyArray:
        """A view whose values are cast when they are read."""
        return LazyArray(self, everything(self.shape), np.dtype(dtype))

    # ---- reading

    def get_basic_selection(self, selection: Any = Ellipsis, *, out: Any = None, fields: Any = None) -> Any:
        """Read by integers and slices; one element alone is a scalar, where the device's library has scalars."""
        found = self.get_selection(basic(selection, self.shape), out=out, fields=fields)
        return found if out is not None or found.ndim else found[()]

    def get_orthogonal_selection(self, selection: Any, *, out: Any = None, fields: Any = None) -> Any:
        """Read the cross product of one index an axis."""
        return self.get_selection(orthogonal(selection, self.shape), out=out, fields=fields)

    def get_coordinate_selection(self, selection: Any, *, out: Any = None, fields: Any = None) -> Any:
        """Read points: one integer array an axis, broadcast together."""
        return self.get_selection(coordinate(selection, self.shape), out=out, fields=fields)

    def get_mask_selection(self, mask: Any, *, out: Any = None, fields: Any = None) -> Any:
        """Read where a boolean array of this array's shape is true."""
        return self.get_selection(points_of(mask, self.shape), out=out, fields=fields)

    def get_block_selection(self, selection: Any, *, out: Any = None, fields: Any = None) -> Any:
        """Read whole chunks."""
        return self.get_selection(block(selection, self.write_grid), out=out, fields=fields)

    # ---- writing

    def set_basic_selection(self, selection: Any, value: Any, *, fields: Any = None) -> None:
        """Write by integers and slices."""
        self.set_selection(basic(selection, self.shape), value, fields=fields)

    def set_orthogonal_selection(self, selection: Any, value: Any, *, fields: Any = None) -> None:
        """Write the cross product of one index an axis."""
        self.set_selection(orthogonal(selection, self.shape), value, fields=fields)

    def set_coordinate_selection(self, selection: Any, value: Any, *, fields: Any = None) -> None:
        """Write points; of several values for one element the last one stays."""
        self.set_selection(coordinate(selection, self.shape), value, fields=fields)

    def set_mask_selection(self, mask: Any, value: Any, *, fields: Any = None) -> None:
        """Write where a boolean array of this array's shape is true."""
        self.set_selection(points_of(mask, self.shape), value, fields=fields)

    def set_block_selection(self, selection: Any, value: Any, *, fields: Any = None) -> None:
        """Write whole chunks."""
        self.set_selection(block(selection, self.write_grid), value, fields=fields)


class _Door:
    """`array.<door>[key]` reads, `array.<door>[key] = value` writes."""

    def __init__(self, array: ArrayDoors) -> None:
        self.array = array

    def select(self, key: Any) -> Selection:
        """The normal form of `key`."""
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        fields, key = split_fields(key)
        return self.array.get_selection(self.select(key), fields=fields)

    def __setitem__(self, key: Any, value: Any) -> None:
        fields, key = split_fields(key)
        self.array.set_selection(self.select(key), value, fields=fields)


class OIndex(_Door):
    """Orthogonal indexing: the cross product of one index an axis."""

    def select(self, key: Any) -> Selection:
        return orthogonal(key, self.array.shape)


class VIndex(_Door):
    """Coordinate indexing: one integer array an axis, broadcast together, or one mask."""

    def select(self, key: Any) -> Selection:
        return vindex(key, self.array.shape)


class Blocks(_Door):
    """Indexing by chunk, or by shard where the array has them: integers and slices count those."""

    def select(self, key: Any) -> Selection:
        return block(key, self.array.write_grid)

    def __iter__(self) -> Iterator[Any]:
        counts = self.array.write_grid.counts
        return (self[coords] for coords in np.ndindex(*counts))


class Lazy:
    """`array.lazy[key]` is a view: nothing is read until it is asked for its values."""

    def __init__(self, array: ArrayDoors) -> None:
        self._view = LazyArray(array, everything(array.shape))

    def __getitem__(self, key: Any) -> LazyArray:
        return self._view[key]

    @property
    def oindex(self) -> _ViewDoor:
        """The view door for orthogonal indexing."""
        return self._view.oindex

    @property
    def vindex(self) -> _ViewDoor:
        """The view door for coordinate indexing."""
        return self._view.vindex


class LazyArray:
    """A selection of an array: it has not been read, and may be selected from further.

    `result()` (or `numpy.asarray(view)`) reads it; `view[key]` is another view; `view[key] = value` writes
    through to the array. `astype` gives a view whose values are cast when they are read.
    """

    def __init__(self, array: ArrayDoors, selection: Selection, dtype: np.dtype[Any] | None = None) -> None:
        self._array = array
        self._selection = selection
        self._dtype = array.dtype if dtype is None else dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self._selection.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._selection.size

    @property
    def nbytes(self) -> int:
        """Bytes of the values in memory."""
        return self.size * self._dtype.itemsize

    @property
    def oindex(self) -> _ViewDoor:
        """Orthogonal indexing of the view."""
        return _ViewDoor(self, orthogonal)

    @property
    def vindex(self) -> _ViewDoor:
        """Coordinate indexing of the view."""
        return _ViewDoor(self, vindex)

    def _inner(self, selection: Selection) -> LazyArray:
        return LazyArray(self._array, compose(self._selection, selection), self._dtype)

    def __getitem__(self, key: Any) -> LazyArray:
        return self._inner(index(key, self.shape))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._inner(index(key, self.shape)).write(value)

    def write(self, value: Any) -> None:
        """Put `value` (broadcast to the view's shape) into the array."""
        self._array.set_selection(self._selection, value)

    def result(self, *, out: Any = None) -> Any:
        """Read the values: an array of the array's device, or `out`, which they fill."""
        if self._dtype == self._array.dtype:
            return self._array.get_selection(self._selection, out=out)
        values = self._array.get_selection(self._selection).astype(self._dtype)
        if out is None:
            return values
        destination(out, self.shape, self._array.device)[...] = values
        return out

    def astype(self, dtype: Any) -> LazyArray:
        """The same view with values of another dtype, cast when they are read."""
        return LazyArray(self._array, self._selection, np.dtype(dtype))

    def explain(self) -> str:
        """The plan of reading it, as `Array.explain` prints it."""
        return self._array.explain(self._selection)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("a lazy view has no memory that could be shared without a copy")
        return np.asarray(self._array.device.download(self.result()), dtype=dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a view with no axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[LazyArray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<LazyArray of {self._array!r} shape={self.shape} dtype={self._dtype}>"

    def _repr_html_(self) -> str:
        return str(
            import_module("gpuzarr.notebook").view_html(
                self.shape, self._dtype, self._dtype.itemsize, repr(self._array)
            )
        )


class _ViewDoor:
    def __init__(self, view: LazyArray, select: Any) -> None:
        self._view, self._select = view, select

    def __getitem__(self, key: Any) -> LazyArray:
        return self._view._inner(self._select(key, self._view.shape))

    def __setitem__(self, key: Any, value: Any) -> None:
        self[key].write(value)


def everything(shape: tuple[int, ...]) -> Box:
    """The selection of a whole array."""
    none = (False,) * len(shape)
    return Box(tuple(Span(0, s, 1) for s in shape), none, none)
