"""Where the inner chunks of a shard lie (codec "sharding_indexed").

A shard index says at which byte range of the shard each inner chunk is. It is read before the data, checked whole
(an entry that cannot be true makes its own inner chunk unreadable, and no other), and kept for as long as the array
is open; it is used only for an object that is still in the state in which the index was read, so that a shard that
was replaced meanwhile is never read by an old index.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpuzarr.codecs.sharding_indexed import ShardingCodec
from gpuzarr.errors import CorruptChunkError, CorruptShardError, ShortReadError
from gpuzarr.storage.contract import Pieces, Span
from gpuzarr.stored import StoredArray


class ShardIndex(NamedTuple):
    """The index of one shard in one state; a row an inner chunk, in C order."""

    version: Any  # of the object, as the store gave it
    starts: np.ndarray[Any, Any]  # int64, -1 where there is no chunk
    sizes: np.ndarray[Any, Any]  # int64
    lost: np.ndarray[Any, Any] | None = None  # rows whose entry cannot be true; None: there is none
    bounded: bool = True  # entries beyond the shard's end are among them

    def check(self, key: str, rows: np.ndarray[Any, Any]) -> None:
        """CorruptShardError where one of these rows is lost."""
        if self.lost is not None and self.lost[rows].any():
            row = int(rows[self.lost[rows]][0])
            raise CorruptShardError(
                f"the shard's index does not say where inner chunk {row} lies", key=key, codec="sharding_indexed"
            )


def inner_counts(stored: StoredArray, coords: tuple[int, ...]) -> tuple[int, ...]:
    """Inner chunks along each axis of the shard at this place."""
    sharding = stored.sharding
    assert sharding is not None
    shape = stored.grid.chunk_shape(coords)
    return tuple([s // c for s, c in zip(shape, sharding.chunk_shape, strict=True)])


def linear(stored: StoredArray, coords: tuple[int, ...], places: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Rows of the shard's index for inner chunks at these places of the inner grid."""
    sharding = stored.sharding
    assert sharding is not None
    alone = not places or places[0].size == 1  # then integers do, which are quicker than arrays of one
    row: Any = 0
    for axis, (place, count) in enumerate(zip(places, inner_counts(stored, coords), strict=True)):
        first = stored.grid.axis(axis).bounds(coords[axis])[0] // sharding.chunk_shape[axis]
        row = row * count + ((int(place[0]) if alone else place) - first)
    return np.array([row], np.int64) if alone else np.asarray(row)


def read_index(stored: StoredArray, key: str, coords: tuple[int, ...], *, bounded: bool = False) -> ShardIndex | None:
    """The shard's index, None where there is no shard. Raises CorruptShardError, ChecksumError, LimitError.

    `bounded`: check it against the shard's size, even where that must be asked for.
    """
    sharding = stored.sharding
    assert sharding is not None
    kept = stored.shard_indexes.get(key)
    if kept is not None:
        return kept  # type: ignore[no-any-return]
    counts = inner_counts(stored, coords)
    nbytes = sharding.index_size(counts)
    if nbytes > stored.ceiling:
        if not stored.store.exists(key):
            return None
        stored.check_ceiling(f"the index of shard {key!r}", nbytes)
    at_end = sharding.index_location == "end"
    try:
        pieces = stored.store.get_ranges(key, [Span(-nbytes, None) if at_end else Span(0, nbytes)])
    except ShortReadError as error:
        raise CorruptShardError("the shard is too short to hold its index", key=key, expected=nbytes) from error
    if pieces is None:
        return None
    size = stored.store.size(key) if bounded and pieces.size is None else pieces.size
    index = parse(sharding, key, counts, pieces, size)
    if pieces.version is not None:
        if len(stored.shard_indexes) >= stored.most_indexes:
            stored.shard_indexes.clear()
        stored.shard_indexes[key] = index
    return index


def parse(sharding: ShardingCodec, key: str, counts: tuple[int, ...], pieces: Pieces, size: int | None) -> ShardIndex:
    """Check and read an index. Raises ChecksumError, and CorruptShardError where it is no index at all."""
    try:
        table, lost = sharding.survey_index(pieces.buffers[0], counts, size)
    except CorruptChunkError as error:
        raise error.at(key) from None
    starts = table[:, 0].astype(np.int64)  # the missing mark becomes -1
    none = not lost.any()
    if not none:
        starts[lost] = -1
    sizes = np.where(starts < 0, 0, table[:, 1]).astype(np.int64)
    return ShardIndex(pieces.version, starts, sizes, None if none else lost, size is not None)
