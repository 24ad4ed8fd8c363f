"""Growing and shrinking an array: what must be done besides the new shape in the metadata.

Growing writes the metadata last, shrinking writes them first, so whatever happens in between, the array has its old
shape or its new one. Then a shrink removes what was cut off. A process that dies before that leaves it in the store,
and so does an append that dies, and so do libraries that never trim a boundary chunk: growing therefore looks at what
it is about to show. That takes a read of the boundary chunks, and a look for chunks in the region that is new.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from gpuzarr.devices import get_device
from gpuzarr.errors import LimitError, MetadataError
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.nodes import can_list
from gpuzarr.read import read
from gpuzarr.selection import Box, Span
from gpuzarr.stored import StoredArray
from gpuzarr.write import write

MOST_KEYS = 10**7  # that are deleted one by one where the store cannot list
ONE_BY_ONE = 1000  # new chunks that are looked for by name, rather than by listing all that the array has


def grown(metadata: ArrayMetadata, shape: Any) -> ArrayMetadata:
    """The metadata with another shape. MetadataError where that is no shape for this array."""
    try:
        wanted = (operator.index(shape),) if hasattr(shape, "__index__") else tuple(map(operator.index, shape))
    except TypeError as error:
        raise MetadataError(f"a shape is integers, not {shape!r}") from error
    if len(wanted) != len(metadata.shape) or any(s < 0 for s in wanted):
        raise MetadataError(f"an array of shape {metadata.shape} cannot be resized to {wanted}")
    return metadata.with_shape(wanted)


def trim(old: StoredArray, shape: tuple[int, ...]) -> None:
    """Set to the fill value what boundary chunks hold beyond the new shape, so that growing again does not bring
    it back. `old` is the array before it shrank."""
    fill = np.asarray(old.fill, dtype=old.metadata.dtype)
    kept: list[Span] = [Span(0, s, 1) for s in old.metadata.shape]
    for axis, size in enumerate(shape):
        if size >= old.metadata.shape[axis] or size == 0:
            continue
        _, end = old.grid.axis(axis).bounds(old.grid.axis(axis).locate(size - 1)[0])
        end = min(end, old.metadata.shape[axis])
        if end > size:
            spans = [*kept]
            spans[axis] = Span(size, end - size, 1)
            none = (False,) * len(shape)
            write(old, Box(tuple(spans), none, none), fill)
        kept[axis] = Span(0, size, 1)


def clear_exposed(old: StoredArray, new: StoredArray) -> None:
    """Make all that growing from `old` to `new` shows the fill value, whatever is left in the store there."""
    shape = new.metadata.shape
    if all(n <= o for n, o in zip(shape, old.metadata.shape, strict=True)):
        return
    _remove_new(old, new)
    new = replace(new, device=get_device("cpu"), cache=None, missing_is_error=False)
    fill = np.asarray(new.fill, dtype=new.metadata.dtype)
    for box in _exposed_boundary(old, new):
        shown = np.empty(box.shape, new.metadata.dtype)
        read(new, box, shown)
        if not new.chain.spec.is_fill(shown):
            write(new, box, fill)


def _exposed_boundary(old: StoredArray, new: StoredArray) -> Iterator[Box]:
    """What growing shows of chunks that lie partly in the old array, a box a chunk and axis."""
    shape = new.metadata.shape
    common = tuple(map(min, shape, old.metadata.shape))  # an axis may shrink while another one grows
    if 0 in common:
        return
    lasts = [new.grid.axis(i).locate(size - 1)[0] for i, size in enumerate(common)]
    for axis, size in enumerate(common):
        end = min(new.grid.axis(axis).bounds(lasts[axis])[1], shape[axis])
        if end == size:
            continue
        for place in product(*(range(n if i == axis else 0, n + 1) for i, n in enumerate(lasts))):
            bounds = [new.grid.axis(i).bounds(c) for i, c in enumerate(place)]
            spans = [Span(low, min(high, s) - low, 1) for (low, high), s in zip(bounds, shape, strict=True)]
            spans[axis] = Span(size, end - size, 1)
            yield Box(tuple(spans), *((False,) * len(shape),) * 2)


def _remove_new(old: StoredArray, new: StoredArray) -> None:
    """Delete chunks of the new grid that lie wholly outside of the old one."""
    before, after = old.grid.counts, new.grid.counts
    fresh = prod(after) - prod(map(min, before, after))
    if fresh > ONE_BY_ONE and new.store.supports_listing:
        for key in list(stored_keys(new)):
            place = new.metadata.key_encoding.coords(key[len(new.key_base) :], after)
            if place is not None and any(i >= n for i, n in zip(place, before, strict=True)):
                new.store.delete(key)
        return
    if fresh > MOST_KEYS:
        raise LimitError(f"{new.store} cannot list, and of {fresh} new chunks at most {MOST_KEYS} are looked for")
    for axis, (n, m) in enumerate(zip(before, after, strict=True)):
        inside = [range(min(i, j)) for i, j in zip(before[:axis], after[:axis], strict=True)]
        for place in product(*inside, range(n, m), *map(range, after[axis + 1 :])):
            new.store.delete(new.keys([place])[0])


def remove_outside(stored: StoredArray, old: StoredArray) -> None:
    """Delete the chunks that lie wholly outside of the array; `old` is the array before it shrank."""
    counts = stored.grid.counts
    encoding = stored.metadata.key_encoding
    for key in list(stored_keys(old)):
        place = encoding.coords(key[len(stored.key_base) :], (2**63,) * len(counts))
        if place is not None and any(i >= n for i, n in zip(place, counts, strict=True)):
            stored.store.delete(key)


def stored_keys(stored: StoredArray) -> Iterator[str]:
    """Every key in the store under the array's path; without listing, every key that a chunk may have."""
    if can_list(stored.store, stored.path):
        yield from stored.store.list(stored.path)
        return
    total = np.prod([float(n) for n in stored.grid.counts])
    if total > MOST_KEYS:
        raise LimitError(f"{stored.store} cannot list, and of {total:.0f} chunks at most {MOST_KEYS} are tried")
    for place in product(*map(range, stored.grid.counts)):
        yield from stored.keys([place])
