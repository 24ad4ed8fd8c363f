"""A selection of a selection, without reading: what lazy views are made of.

`compose(outer, inner)` gives the one selection that `array[outer][inner]` is, for
any two normal forms of `gpuzarr.selection`. Boxes of spans stay boxes of spans,
so that a view of a view is planned as cheaply as the slice that it is; boxes with
points stay boxes; everything else becomes coordinates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.errors import SelectionError
from gpuzarr.indices import EMPTY, Indices, Points, Span, axis_of, frozen
from gpuzarr.selection import Box, Coordinates, Selection


def compose(outer: Selection, inner: Selection) -> Selection:
    """The selection from the array of `outer` that is `inner` of its result.

    `inner` indexes an array of shape `outer.shape`, which the dropped axes of `outer` are not in.
    """
    axes = len(inner.axes) if isinstance(inner, Box) else len(inner.indices)
    if axes != len(outer.shape):
        raise SelectionError(
            f"compose: the inner selection is of {axes} axes, but the outer one gives {len(outer.shape)}"
        )
    if isinstance(outer, Coordinates):
        return _of_coordinates(outer, inner)
    return _box_of_box(outer, inner) if isinstance(inner, Box) else _coordinates_of_box(outer, inner)


def _box_of_box(outer: Box, inner: Box) -> Box:
    axes: list[Span | Points] = []
    flips, dropped = [], []
    kept = iter(zip(inner.axes, inner.flips, inner.dropped, strict=True))
    for entry, flip, gone in zip(outer.axes, outer.flips, outer.dropped, strict=True):
        if not gone:
            chosen, backwards, gone = next(kept)
            entry, flip = _of_axis(entry, flip, chosen, backwards)
        axes.append(entry)
        flips.append(flip)
        dropped.append(gone)
    return Box(tuple(axes), tuple(flips), tuple(dropped))


def _coordinates_of_box(outer: Box, inner: Coordinates) -> Coordinates:
    kept = iter(inner.indices)
    indices = []
    for entry, flip, gone in zip(outer.axes, outer.flips, outer.dropped, strict=True):
        places = np.zeros(inner.count, np.int64) if gone else next(kept)
        indices.append(frozen(_at(entry, flip, places)))
    return Coordinates(tuple(indices), inner.shape)


def _of_coordinates(outer: Coordinates, inner: Selection) -> Coordinates:
    def pick(indices: Indices) -> Indices:
        places = indices.reshape(outer.shape)
        return frozen((_pick(places, inner) if isinstance(inner, Box) else places[inner.indices]).reshape(-1))

    return Coordinates(tuple(pick(indices) for indices in outer.indices), inner.shape)


def _of_axis(outer: Span | Points, flip: bool, inner: Span | Points, backwards: bool) -> tuple[Span | Points, bool]:
    """One axis of a box in a box: the entry, and whether it runs backwards."""
    if isinstance(outer, Points) or isinstance(inner, Points):
        return axis_of(_at(outer, flip, _at(inner, backwards, None))), False
    if inner.count < 2:
        if not inner.count:
            return EMPTY, False
        place = outer.count - 1 - inner.start if flip else inner.start
        return Span(outer.start + place * outer.step, 1, 1), False
    # Seen from the low end, a flipped outer span begins with the last place of the inner one.
    first = outer.count - inner.stop if flip else inner.start
    return Span(outer.start + first * outer.step, inner.count, outer.step * inner.step), flip != backwards


def _at(entry: Span | Points, flip: bool, places: Indices | None) -> Indices:
    """The indices at some places (None: at all) of an axis of a result."""
    if places is None:
        places = np.arange(entry.count, dtype=np.int64)
    if flip:
        places = entry.count - 1 - places
    return entry.indices[places] if isinstance(entry, Points) else entry.start + entry.step * places


def _pick(array: np.ndarray[Any, np.dtype[np.int64]], box: Box) -> np.ndarray[Any, np.dtype[np.int64]]:
    """What a box selects from a NumPy array."""
    for axis, (entry, flip) in enumerate(zip(box.axes, box.flips, strict=True)):
        array = array.take(_at(entry, flip, None), axis=axis)
    return array.reshape(box.shape)
