"""A wave's bytes: encoded chunks, or pieces of shards, from the store into host memory.

What comes back are columns, one entry a row: where the bytes are and how many. They lie in the lane's room or in
objects of the store's, and are good until the lane's next wave.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.codecs.engines.memory import size_of
from gpuzarr.devices import Lane
from gpuzarr.errors import ObjectChangedError
from gpuzarr.storage.contract import Span, Store, byte_view, check_limit

MOST_ROOM = 64 << 20  # bytes for encoded chunks; objects that may be larger (such as strings) get memory of their own


def most_encoded(limit: int) -> int:
    """The most bytes that are read of a chunk that an encoder makes no larger than `limit`. One beyond `limit` is legal
    (members that hold nothing, long headers), though no encoder that we know writes it; the decoder bounds what
    comes of it."""
    return limit + min(3 * limit, MOST_ROOM) + (64 << 10)


class Encoded(NamedTuple):
    """Encoded chunks of a wave."""

    sources: list[Any]  # address of the bytes in the room, or an object that holds them; None for no chunk
    sizes: list[int]  # bytes; 0 where there is no chunk
    room: Any  # uint8 array; None where everything lies elsewhere
    base: int  # address of the room

    def part(self, rows: range) -> Encoded:
        """Neighbouring rows."""
        return Encoded(self.sources[rows.start : rows.stop], self.sizes[rows.start : rows.stop], self.room, self.base)


def nothing(rows: int) -> Encoded:
    """No chunk in any row."""
    return Encoded([None] * rows, [0] * rows, None, 0)


def fetch_objects(store: Store, keys: Sequence[str], limit: int, lane: Lane) -> Encoded:
    """Whole objects, each usually of at most `limit` bytes; LimitError for one far beyond. The keys are joined from a
    checked path and integers."""
    if not store.reads_into or limit * len(keys) > MOST_ROOM:
        found = store.get_many(keys, limit=most_encoded(limit))
        return Encoded(found, [0 if data is None else size_of(data) for data in found], None, 0)
    room, start = lane.room(limit * len(keys))
    sizes = store.read_into(keys, room, limit, checked=True)
    if None not in sizes and max(sizes, default=0) <= limit:  # type: ignore[type-var, operator]
        return Encoded(list(range(start, start + limit * len(keys), limit)), sizes, room, start)  # type: ignore[arg-type]
    return _fetched(store, keys, limit, sizes, start, room)


def _fetched(store: Store, keys: Sequence[str], limit: int, sizes: list[int | None], start: int, room: Any) -> Encoded:
    """The columns where some objects are absent or larger than their place."""
    sources: list[Any] = []
    for i, size in enumerate(sizes):
        if size is not None and size > limit:
            sources.append(store.get(keys[i], limit=most_encoded(limit)))
        else:
            sources.append(None if size is None else start + i * limit)
    fetched = [0 if s is None else n if type(s) is int else size_of(s) for s, n in zip(sources, sizes, strict=True)]
    return Encoded(sources, fetched, room, start)  # type: ignore[arg-type]


def fetch_ranges(
    store: Store,
    key: str,
    version: Hashable,
    starts: np.ndarray[Any, Any],
    sizes: np.ndarray[Any, Any],
    limit: int,
    lane: Lane,
) -> Encoded:
    """Byte ranges of one object, ascending by start (-1 for no chunk), each usually of at most `limit` bytes;
    neighbours are read together.

    Raises LimitError for a range far beyond `limit`, and ObjectChangedError where the object is no longer in the state
    `version`.
    """
    check_limit(key, int(sizes.max(initial=0)), most_encoded(limit))
    if starts.size == 1 and starts[0] >= 0:  # one small read should cost no more than it must
        start, size = int(starts[0]), int(sizes[0])
        room, base = lane.room(size)
        if store.get_ranges(key, [Span(start, start + size)], version=version, into=[room]) is None:
            raise ObjectChangedError(f"{key!r} was deleted while it was read")
        return Encoded([base], [size], room, base)
    absent = int(np.searchsorted(starts, 0))
    low = starts[absent:]
    ends = low + sizes[absent:]
    spans, first = _together(low, ends, store.coalesce_gap)
    if sum(stop - start for start, stop in spans) > MOST_ROOM + 4 * int(sizes.sum()):
        spans, first = _together(low, ends, 0)  # mostly gaps, which are not worth their memory
    lengths = np.array([stop - start for start, stop in spans], np.int64)
    room, base = lane.room(int(lengths.sum()))
    places = np.cumsum(lengths) - lengths  # where each span begins in the room
    view = byte_view(room)
    into = [view[end - size : end] for size, end in zip(lengths.tolist(), accumulate(lengths.tolist()), strict=True)]
    if store.get_ranges(key, [Span(*s) for s in spans], version=version, into=into) is None:
        raise ObjectChangedError(f"{key!r} was deleted while it was read")
    span_of = np.repeat(np.arange(len(spans)), np.diff([*first, low.size]))
    offsets = low - np.array([s for s, _ in spans], np.int64)[span_of] + places[span_of] if spans else low
    return Encoded([None] * absent + (offsets + base).tolist(), sizes.tolist(), room, base)


def _together(
    starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], gap: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """Ranges joined over gaps of at most `gap` bytes: (start, stop) of each, and its first row."""
    if not starts.size:
        return [], []
    reach = np.maximum.accumulate(ends)  # ranges may lie inside each other
    cuts = [0, *(np.flatnonzero(starts[1:] - reach[:-1] > gap) + 1).tolist()]
    stops = reach[[*(c - 1 for c in cuts[1:]), starts.size - 1]].tolist()
    return list(zip(starts[cuts].tolist(), stops, strict=True)), cuts
