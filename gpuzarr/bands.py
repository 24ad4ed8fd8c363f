"""A selection in bands along chunk edges, so that values which are elsewhere come over a band at a time.

No chunk is cut in two: what writes one band need not read what another one wrote. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gpuzarr.grid import RectilinearGrid, RegularGrid, RunsAxis, UniformAxis
from gpuzarr.indices import Span
from gpuzarr.selection import Box


def bands(
    box: Box, grid: RegularGrid | RectilinearGrid, itemsize: int, nbytes: int
) -> Iterator[tuple[Box, tuple[slice, ...]]]:
    """Parts of a box of about `nbytes` bytes, or of one chunk where that has more; and where each lies in the values,
    which have all axes of the array. Axes of listed indices are not cut."""
    room = nbytes // max(1, itemsize)
    if box.size > room:
        for axis, entry in enumerate(box.axes):
            if isinstance(entry, Span) and entry.count > 1:
                cuts = _cuts(entry, grid.axis(axis), max(1, room // (box.size // entry.count)))
                if len(cuts) > 2:
                    for low, high in pairwise(cuts):
                        yield from _inside(_part(box, axis, low, high), axis, low, grid, itemsize, nbytes)
                    return
    yield box, tuple(slice(0, entry.count) for entry in box.axes)


def _inside(
    box: Box, axis: int, low: int, grid: RegularGrid | RectilinearGrid, itemsize: int, nbytes: int
) -> Iterator[tuple[Box, tuple[slice, ...]]]:
    """Bands of a part that begins at `low` of an axis."""
    for part, places in bands(box, grid, itemsize, nbytes):
        there = slice(places[axis].start + low, places[axis].stop + low)
        yield part, (*places[:axis], there, *places[axis + 1 :])


def _part(box: Box, axis: int, low: int, high: int) -> Box:
    entry = box.axes[axis]
    assert isinstance(entry, Span)
    part = Span(entry.start + low * entry.step, high - low, entry.step)
    return box._replace(axes=(*box.axes[:axis], part, *box.axes[axis + 1 :]))


def _cuts(span: Span, axis: UniformAxis | RunsAxis, most: int) -> list[int]:
    """Where to cut a span so that the parts have at most `most` elements, or one chunk; 0 and the count included."""
    cuts = [0]
    while cuts[-1] < span.count:
        begin, end = cuts[-1], min(span.count, cuts[-1] + most)
        if end < span.count:
            edge = axis.bounds(axis.locate(span.start + end * span.step)[0])[0]
            end = -(-(edge - span.start) // span.step)
            if end <= begin:  # the chunk alone has more
                edge = axis.bounds(axis.locate(span.start + begin * span.step)[0])[1]
                end = min(span.count, -(-(edge - span.start) // span.step))
        cuts.append(end)
    return cuts
