"""A wave's bytes: encoded chunks, or pieces of shards, from the store into host memory.

What comes back is one buffer a row, None where the store proved the chunk absent. Buffers may lie in the lane's
room and are then good until the lane's next wave.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from gpuzarr.devices import Lane
from gpuzarr.errors import ObjectChangedError
from gpuzarr.options import config
from gpuzarr.storage.contract import Span, Store

Encoded = list[Any]  # one bytes-like object a row; None where there is no chunk


def fetch_ranges(
    store: Store, key: str, version: Hashable, starts: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any], lane: Lane
) -> Encoded:
    """Byte ranges of one object, ascending by start; neighbours are read together.

    Raises ObjectChangedError where the object is no longer in the state `version`.
    """
    ends = starts + sizes
    gap = min(store.coalesce_gap, int(config.get("array.sharding_coalesce_max_gap_bytes")))
    far = starts[1:] - np.maximum.accumulate(ends)[:-1] > gap
    cuts = [0, *(np.flatnonzero(far) + 1).tolist(), starts.size] if starts.size else [0]
    spans = [Span(int(starts[a]), int(ends[a:b].max())) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    pieces = store.get_ranges(key, spans, version=version, into=_rooms(spans, lane))
    if pieces is None:
        raise ObjectChangedError(f"{key!r} was deleted while it was read")
    encoded: Encoded = []
    for buffer, span, a, b in zip(pieces.buffers, spans, cuts[:-1], cuts[1:], strict=True):
        view = memoryview(buffer)
        low = span.start
        encoded.extend(
            view[start - low : end - low]
            for start, end in zip(starts[a:b].tolist(), ends[a:b].tolist(), strict=True)
        )
    return encoded


def _rooms(spans: Sequence[Span], lane: Lane) -> list[memoryview]:
    """A part of the lane's room for each span."""
    sizes = [span.stop - span.start for span in spans if span.stop is not None]
    room, _ = lane.room(sum(sizes))
    view, ends = memoryview(room), list(accumulate(sizes))
    return [view[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def fetch_objects(store: Store, keys: Sequence[str], limit: int, lane: Lane) -> Encoded:
    """Whole objects, each usually of at most `limit` bytes. The keys are joined from a checked path and integers."""
    if not store.reads_into:
        return store.get_many(keys)
    room, _ = lane.room(limit * len(keys))
    view = memoryview(room)
    sizes = store.read_into(keys, view, limit, checked=True)
    encoded: Encoded = []
    start = 0
    for key, size in zip(keys, sizes, strict=True):
        if size is None:
            encoded.append(None)
        elif size <= limit:
            encoded.append(view[start : start + size])
        else:  # legal, though no encoder that we know needs so much; the decoder bounds what comes of it
            encoded.append(store.get(key))
        start += limit
    return encoded
