"""Growing and shrinking an array: what must be done besides the new shape in the metadata.

Growing writes the metadata last, shrinking writes them first, so whatever happens in between, the array has its old
shape or its new one. Then a shrink removes what was cut off; a process that dies before that leaves it in the store,
where growing again would show it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from gpuzarr.errors import LimitError, MetadataError
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.selection import Box, Span
from gpuzarr.stored import StoredArray
from gpuzarr.write import write

MOST_KEYS = 10**7  # that are deleted one by one where the store cannot list


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
    if stored.store.supports_listing:
        yield from stored.store.list(stored.path)
        return
    total = np.prod([float(n) for n in stored.grid.counts])
    if total > MOST_KEYS:
        raise LimitError(f"{stored.store} cannot list, and of {total:.0f} chunks at most {MOST_KEYS} are tried")
    for place in product(*map(range, stored.grid.counts)):
        yield from stored.keys([place])
