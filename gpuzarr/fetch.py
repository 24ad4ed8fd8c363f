"""A wave's bytes: encoded chunks, or pieces of shards, from the store into host memory.

What comes back are columns, one entry a row: where the bytes are and how many. They lie in the lane's room or in
objects of the store's, and are good until the lane's next wave.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from gpuzarr.codecs.engines.memory import size_of
from gpuzarr.devices import Lane
from gpuzarr.errors import ObjectChangedError
from gpuzarr.storage.contract import Span, Store, byte_view, check_limit

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

MOST_ROOM = 64 << 20  # bytes for encoded chunks; objects that may be larger (such as strings) get memory of their own
MOST_PACKED = MOST_ROOM + MOST_ROOM // 8  # where they lie one behind another: a GPU's wave, though nothing shrank in it

MOST_PIECES = 500  # that one read is scattered to: systems take 1024 buffers, and there may be a gap between any two


def most_encoded(limit: int) -> int:
    """The most bytes that are read of a chunk that an encoder makes no larger than `limit`. One beyond `limit` is legal
    (members that hold nothing, long headers), though no encoder that we know writes it; the decoder bounds what
    comes of it."""
    return limit + min(3 * limit, MOST_ROOM) + (64 << 10)


@dataclass(eq=False)
class Encoded:
    """Encoded chunks of a wave, as columns."""

    sources: list[Any]  # address of the bytes in the room, or an object that holds them; None for no chunk
    sizes: list[int]  # bytes; 0 where there is no chunk
    room: Any  # uint8 array; None where everything lies elsewhere
    base: int  # address of the room

    def part(self, rows: range) -> Encoded:
        """Neighbouring rows."""
        return Encoded(self.sources[rows.start : rows.stop], self.sizes[rows.start : rows.stop], self.room, self.base)

    def packed(self) -> tuple[Integers, Integers] | None:
        """Where in the room each chunk is, and its bytes; None where some chunk is not in the room."""
        return None


class Packed(Encoded):
    """Encoded chunks that all lie in the room, told by arrays."""

    def __init__(self, offsets: Integers, lengths: Integers, room: Any, base: int) -> None:
        self._offsets, self._lengths, self.room, self.base = offsets, lengths, room, base

    @cached_property
    def sources(self) -> list[Any]:  # type: ignore[override]
        sources: list[Any] = (self._offsets + self.base).tolist()
        return sources

    @cached_property
    def sizes(self) -> list[int]:  # type: ignore[override]
        sizes: list[int] = self._lengths.tolist()
        return sizes

    def packed(self) -> tuple[Integers, Integers]:
        return self._offsets, self._lengths


def nothing(rows: int) -> Encoded:
    """No chunk in any row."""
    return Encoded([None] * rows, [0] * rows, None, 0)


def fetch_objects(store: Store, keys: Sequence[str], limit: int, lane: Lane) -> Encoded:
    """Whole objects, each usually of at most `limit` bytes; LimitError for one far beyond. The keys are joined from a
    checked path and integers."""
    packed = lane.packs and len(keys) > 1 and limit <= MOST_PACKED
    nbytes = min(limit * len(keys), MOST_PACKED) if packed else limit * len(keys)
    if not store.reads_into or (nbytes > MOST_ROOM and not packed):
        found = store.get_many(keys, limit=most_encoded(limit))
        return Encoded(found, [0 if data is None else size_of(data) for data in found], None, 0)
    room, start = lane.room(nbytes)
    sizes = store.read_into(keys, room, limit, checked=True, packed=packed)
    if None in sizes or max(sizes, default=0) > limit:  # type: ignore[type-var, operator]
        return _fetched(store, keys, limit, sizes, start, room, packed)
    if len(keys) == 1:
        return Encoded([start], sizes, room, start)  # type: ignore[arg-type]
    lengths = np.array(sizes, np.int64)
    if not packed:
        return Packed(np.arange(len(keys)) * limit, lengths, room, start)
    ends = np.cumsum(lengths)
    if ends[-1] > room.size:
        return _fetched(store, keys, limit, sizes, start, room, packed)
    return Packed(ends - lengths, lengths, room, start)


def _fetched(
    store: Store, keys: Sequence[str], limit: int, sizes: list[int | None], start: int, room: Any, packed: bool
) -> Encoded:
    """The columns where some objects are absent or larger than their place."""
    sources: list[Any] = []
    end = 0
    for i, size in enumerate(sizes):
        place = end if packed else i * limit
        if size is None:
            sources.append(None)
        elif size <= min(limit, room.size - place):
            sources.append(start + place)
            end = place + size
        else:
            sources.append(store.get(keys[i], limit=most_encoded(limit)))
    fetched = [0 if s is None else n if type(s) is int else size_of(s) for s, n in zip(sources, sizes, strict=True)]
    return Encoded(sources, fetched, room, start)  # type: ignore[arg-type]


def fetch_ranges(
    store: Store, key: str, version: Hashable, starts: Integers, sizes: Integers, limit: int, lane: Lane
) -> Encoded:
    """Byte ranges of one object (start -1 for no chunk), each usually of at most `limit` bytes; neighbours are read
    together.

    In the room they lie in the order of the rows where the store can scatter what it reads, else in that of the
    object. Raises LimitError for a range far beyond `limit`, and ObjectChangedError where the object is no longer in
    the state `version`.
    """
    if starts.size == 1 and starts[0] >= 0:  # one small read should cost no more than it must
        start, size = int(starts[0]), int(sizes[0])
        check_limit(key, size, most_encoded(limit))
        room, base = lane.room(size)
        _get(store, key, version, [Span(start, start + size)], [room])
        return Encoded([base], [size], room, base)
    check_limit(key, int(sizes.max(initial=0)), most_encoded(limit))
    order = np.argsort(starts, kind="stable")
    order = order[np.searchsorted(starts, 0, sorter=order) :]
    low, lengths = starts[order], sizes[order]
    spans, first = _together(low, low + lengths, store.coalesce_gap)
    if store.scatters and 0 < order.size <= MOST_PIECES and (low[1:] >= low[:-1] + lengths[:-1]).all():
        places = np.cumsum(sizes) - sizes
        total = int(sizes.sum())
        room, base = lane.room(total + store.coalesce_gap)
        view, at = byte_view(room), places[order]
        if len(spans) == order.size:  # no neighbours
            into: list[Any] = [view[a:b] for a, b in zip(at.tolist(), (at + lengths).tolist(), strict=True)]
        else:
            into = _pieces(low, lengths, at, first, view, view[total:])
    else:
        if sum(stop - start for start, stop in spans) > MOST_ROOM + 4 * int(lengths.sum()):
            spans, first = _together(low, low + lengths, 0)  # mostly gaps, which are not worth their memory
        widths = [stop - start for start, stop in spans]
        room, base = lane.room(sum(widths))
        view, ends = byte_view(room), [*accumulate(widths)]
        into = [view[end - width : end] for width, end in zip(widths, ends, strict=True)]
        shifts = [end - stop for end, (_, stop) in zip(ends, spans, strict=True)]  # from object to room
        places = starts.copy()
        places[order] += np.repeat(np.array(shifts, np.int64), np.diff([*first, low.size]))
    _get(store, key, version, [Span(*s) for s in spans], into)
    if order.size == starts.size:
        return Packed(places, sizes, room, base)
    sources = [None if start < 0 else base + at for start, at in zip(starts.tolist(), places.tolist(), strict=True)]
    return Encoded(sources, sizes.tolist(), room, base)


def _get(store: Store, key: str, version: Hashable, spans: list[Span], into: list[Any]) -> None:
    if store.get_ranges(key, spans, version=version, into=into) is None:
        raise ObjectChangedError(f"{key!r} was deleted while it was read")


def _pieces(
    starts: Integers,
    sizes: Integers,
    places: Integers,
    first: list[int],
    room: memoryview,
    spare: memoryview,
) -> list[list[memoryview]]:
    """Where ascending ranges go, with those between them that nobody wants: for each span (see `_together`), the
    buffers that it fills one after another."""
    gaps = np.zeros(starts.size, np.int64)  # in front of each
    gaps[1:] = starts[1:] - (starts + sizes)[:-1]
    ends = places + sizes
    begins = gaps != 0  # a buffer
    begins[1:] |= places[1:] != ends[:-1]
    begins[first] = True
    rows = np.flatnonzero(begins)
    stops = ends[np.append(rows[1:], starts.size) - 1].tolist()
    spans, into = set(first), []
    for row, gap, start, stop in zip(rows.tolist(), gaps[rows].tolist(), places[rows].tolist(), stops, strict=True):
        if row in spans:
            into.append([room[start:stop]])
        elif gap:
            into[-1] += (spare[:gap], room[start:stop])
        else:
            into[-1].append(room[start:stop])
    return into


def _together(starts: Integers, ends: Integers, gap: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Ranges joined over gaps of at most `gap` bytes: (start, stop) of each, and its first row."""
    if not starts.size:
        return [], []
    reach = np.maximum.accumulate(ends)  # ranges may lie inside each other
    cuts = [0, *(np.flatnonzero(starts[1:] - reach[:-1] > gap) + 1).tolist()]
    stops = reach[[*(c - 1 for c in cuts[1:]), starts.size - 1]].tolist()
    return list(zip(starts[cuts].tolist(), stops, strict=True)), cuts
