"""Writing: select -> plan -> gather -> encode -> put; the corridor of `read`, walked back.

    write(stored, selection, source)

puts `source` (a 0-d array, or one whose axes are the array's) into the selected region. A chunk that is wholly
covered is encoded and put with no read and no lock. A chunk that is partly covered is read, merged and put under
the store's lock for its key. The shard is the unit of writing: built whole, checked, put at once; inner chunks
that are not touched go over as they are. A chunk full of the fill value is deleted, unless the array keeps empty
chunks. On an error the chunks that were put so far stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from math import ceil, prod
from typing import Any

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.sharding_indexed import LOST
from gpuzarr.devices import Lane, get_device
from gpuzarr.errors import CorruptChunkError, CorruptShardError
from gpuzarr.fetch import most_encoded
from gpuzarr.plan import BoxPlan, PointRows, plan_chunks, plan_shards
from gpuzarr.selection import Selection
from gpuzarr.shards import inner_counts, linear, parse
from gpuzarr.storage.contract import Pieces, Span
from gpuzarr.stored import StoredArray
from gpuzarr.waves import Wave

LEAST_WAVE = 256 << 10  # bytes that are worth a lane of their own


def write(stored: StoredArray, selection: Selection, source: np.ndarray[Any, Any]) -> None:
    """Put `source` into the selected region."""
    stored.store.check_writable(stored.path)
    if stored.sharding is not None:
        _write_shards(stored, selection, source)
    else:
        _write_chunks(stored, selection, source)


def _write_chunks(stored: StoredArray, selection: Selection, source: np.ndarray[Any, Any]) -> None:
    plan = plan_chunks(stored.grid, selection)
    rows = _wave_rows(stored, plan.size)

    def one_wave(i: int, lane: Lane) -> None:
        wave = plan.wave(range(i * rows, min(plan.size, (i + 1) * rows)))
        try:
            _write_wave(stored, wave, source, lane)
        finally:  # of a wave that fails, some chunks were put, perhaps even the one that failed
            _forget(stored, wave)

    get_device("cpu").run(one_wave, ceil(plan.size / rows), stored.waiting_lanes(rows))


def _wave_rows(stored: StoredArray, parts: int) -> int:
    """Chunks, or inner chunks of a shard, that are encoded one after another by one lane."""
    device = get_device("cpu")
    waves = max(1, min(2 * device.lanes, parts * stored.part_bytes // LEAST_WAVE))
    return stored.wave_rows(parts, stored.part_bytes, device, waves)


def _write_wave(stored: StoredArray, wave: Wave, source: np.ndarray[Any, Any], lane: Lane) -> None:
    keys = stored.keys(wave.coords)
    whole = [row for row in range(len(keys)) if wave.covers[row]]
    empty: list[str] = []
    stored.store.set_many(_encoded_chunks(stored, wave, keys, whole, source, lane, empty))
    for key in empty:
        stored.store.delete(key)
    if len(whole) < len(keys):
        for row in sorted(set(range(len(keys))) - set(whole)):
            _update_chunk(stored, keys[row], wave, row, source)


def _forget(stored: StoredArray, wave: Wave) -> None:
    """Drop what the cache holds of these chunks."""
    if stored.cache is not None:
        for coords in wave.coords:
            stored.cache.drop(coords)


def _encoded_chunks(
    stored: StoredArray,
    wave: Wave,
    keys: list[str],
    rows: list[int],
    source: np.ndarray[Any, Any],
    lane: Lane,
    empty: list[str],
) -> Iterator[tuple[str, Any]]:
    """Keys and bytes of chunks that are wholly covered, one at a time as they are put; the keys of those that hold
    nothing but the fill value go to `empty`."""
    for row in rows:
        chain = stored.chain.for_shape(stored.grid.chunk_shape(wave.coords[row]))
        chunk = gather(stored, chain, wave, row, source, lane)
        if not stored.write_empty and chain.spec.is_fill(chunk):
            empty.append(keys[row])
        else:
            yield keys[row], chain.encode(chunk, write_empty=stored.write_empty)


def _update_chunk(stored: StoredArray, key: str, wave: Wave, row: int, source: np.ndarray[Any, Any]) -> None:
    """Read, merge and put a chunk that is partly covered."""
    chain = stored.chain.for_shape(stored.grid.chunk_shape(wave.coords[row]))

    def change(old: Any) -> Any:
        try:
            chunk = merge(stored, chain, old, wave, row, source)
        except CorruptChunkError as error:
            raise error.at(key) from error.__cause__
        if not keeps_empty(stored) and chain.spec.is_fill(chunk):
            return None
        return chain.encode(chunk, write_empty=stored.write_empty)

    update(stored, key, change)


def keeps_empty(stored: StoredArray) -> bool:
    """Whether a partial write that leaves nothing but the fill value puts it, rather than deletes the object."""
    return stored.write_empty or stored.store.swaps


def update(stored: StoredArray, key: str, change: Callable[[Any], Any]) -> None:
    """Put what `change` makes of the object, with no other partial write of this key meanwhile."""
    with nullcontext() if stored.synchronizer is None else stored.synchronizer[key]:
        limit = most_encoded(stored.largest_chain.encoded_limit)
        stored.store.update(key, change, timeout=stored.lock_timeout, limit=limit)


def gather(
    stored: StoredArray, chain: CodecChain, wave: Wave, row: int, source: np.ndarray[Any, Any], lane: Lane | None
) -> np.ndarray[Any, Any]:
    """The whole chunk out of the source: a view of it where that is contiguous, else in `lane`'s scratch, or in memory
    of its own."""
    spec = chain.spec
    part: np.ndarray[Any, Any] = source[wave.in_dest[row]] if source.ndim else source
    if wave.full[row] and part.ndim == len(spec.shape) and part.dtype == spec.dtype and part.flags.c_contiguous:
        return part
    chunk: np.ndarray[Any, Any]
    stored.check_ceiling("a chunk", spec.nbytes)
    chunk = np.empty(spec.shape, spec.dtype) if lane is None else lane.scratch(spec.shape, spec.dtype)[0]
    if not wave.full[row]:
        chunk[...] = stored.fill  # what lies beyond the array's edge
    _put_in(chunk, wave.in_chunk[row], part)
    return chunk


def merge(
    stored: StoredArray, chain: CodecChain, old: Any, wave: Wave, row: int, source: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The chunk as stored (`old` encoded, None where absent) with its part of the source put in."""
    spec = chain.spec
    stored.check_ceiling("a chunk", spec.nbytes)
    if old is None:
        chunk = np.empty(spec.shape, spec.dtype)
        chunk[...] = stored.fill
    elif old is LOST:
        raise CorruptShardError("the shard's index does not say where the inner chunk lies")
    else:
        chunk = np.array(chain.decode(old), spec.dtype, order="C", copy=True)
        if stored.committed is not None:
            _clear_beyond(stored, stored.committed, chunk, wave.coords[row])
    _put_in(chunk, wave.in_chunk[row], source[wave.in_dest[row]] if source.ndim else source)
    return chunk


def _put_in(chunk: np.ndarray[Any, Any], index: tuple[Any, ...], part: Any) -> None:
    """Set a part of a chunk. NumPy would put an array without axes itself into a single place for objects."""
    single = chunk.dtype.hasobject and isinstance(part, np.ndarray) and not part.ndim and type(index[0]) is int
    chunk[index] = part[()] if single else part


def _clear_beyond(
    stored: StoredArray, shape: tuple[int, ...], chunk: np.ndarray[Any, Any], coords: tuple[int, ...]
) -> None:
    """Set what a chunk holds beyond this shape of the array to the fill value."""
    grid = stored.grid if stored.sharding is None else stored.inner_grid
    for axis, (start, size) in enumerate(zip(grid.chunk_origin(coords), shape, strict=True)):
        if start + chunk.shape[axis] > size:
            chunk[(slice(None),) * axis + (slice(max(0, size - start), None),)] = stored.fill


def _write_shards(stored: StoredArray, selection: Selection, source: np.ndarray[Any, Any]) -> None:
    split = plan_shards(stored.inner_grid, stored.grid, selection)
    sharding = stored.sharding
    assert sharding is not None

    def one_shard(i: int, lane: Lane) -> None:
        coords, plan = split.shard(i)
        key = stored.keys([coords])[0]
        wave = plan.wave(range(plan.size))
        counts = inner_counts(stored, coords)
        stored.check_ceiling(f"the index of shard {key!r}", sharding.index_size(counts))
        try:
            if all(wave.covers) and plan.size == _inside(stored, coords):
                _put_shard(stored, key, counts, _encoded(stored, coords, plan, wave, [None] * prod(counts), source))
            else:
                update(stored, key, lambda old: _changed(stored, coords, plan, wave, old, source))
        finally:  # what fails may have been put all the same
            stored.shard_indexes.pop(key, None)
            _forget(stored, wave)

    get_device("cpu").run(one_shard, split.size, stored.waiting_lanes(max(1, split.largest)))


def _changed(
    stored: StoredArray,
    coords: tuple[int, ...],
    plan: BoxPlan | PointRows,
    wave: Wave,
    old: Any,
    source: np.ndarray[Any, Any],
) -> Any:
    """The shard `old` with the rows of the plan replaced; None where nothing is left to be kept."""
    key, counts = stored.keys([coords])[0], inner_counts(stored, coords)
    chunks = _encoded(stored, coords, plan, wave, _old_chunks(stored, key, counts, old), source)
    if not keeps_empty(stored) and all(data is None for data in chunks):
        return None
    return _built(stored, chunks, counts)


def _inside(stored: StoredArray, coords: tuple[int, ...]) -> int:
    """Inner chunks of this shard that lie in the array, wholly or in part."""
    inner, count = stored.inner_grid, 1
    for i, c in enumerate(coords):
        low, high = stored.grid.axis(i).bounds(c)
        size = inner.axis(i).uniform or 1
        count *= ceil(min(high, stored.grid.axis(i).size) / size) - low // size
    return count


def _old_chunks(stored: StoredArray, key: str, counts: tuple[int, ...], old: Any) -> list[Any]:
    """The encoded inner chunks of the shard `old`, None where absent, LOST where the index is wrong about one."""
    sharding = stored.sharding
    assert sharding is not None
    if old is None:
        return [None] * prod(counts)
    data = memoryview(old).cast("B")
    nbytes = sharding.index_size(counts)
    span = Span(max(0, len(data) - nbytes), len(data)) if sharding.index_location == "end" else Span(0, nbytes)
    index = parse(sharding, key, counts, Pieces([data[span.start : span.stop]], len(data), None), len(data))
    chunks: list[Any] = [
        None if start < 0 else data[start : start + size]
        for start, size in zip(index.starts.tolist(), index.sizes.tolist(), strict=True)
    ]
    for row in () if index.lost is None else np.flatnonzero(index.lost).tolist():
        chunks[row] = LOST
    return chunks


def _encoded(
    stored: StoredArray,
    coords: tuple[int, ...],
    plan: BoxPlan | PointRows,
    wave: Wave,
    encoded: list[Any],
    source: np.ndarray[Any, Any],
) -> list[Any]:
    """All encoded inner chunks of the shard: those in `encoded`, with the rows of the plan replaced."""
    chain = stored.inner_chain
    places = linear(stored, coords, plan.coords()).tolist()
    rows = _wave_rows(stored, plan.size)

    def encode(i: int, lane: Lane) -> None:
        for row in range(i * rows, min(plan.size, (i + 1) * rows)):
            if wave.covers[row]:
                # What a chain without compressor stores is the chunk itself, which the next one must not overwrite.
                chunk = gather(stored, chain, wave, row, source, None if chain.plain else lane)
            else:
                try:
                    chunk = merge(stored, chain, encoded[places[row]], wave, row, source)
                except CorruptChunkError as error:
                    key = stored.keys([coords])[0]
                    raise error.at(f"{key}, inner chunk {wave.coords[row]}") from error.__cause__
            if not stored.write_empty and chain.spec.is_fill(chunk):
                encoded[places[row]] = None
            else:
                data = chain.encode(chunk, write_empty=stored.write_empty)
                views_scratch = not chain.plain and isinstance(data, np.ndarray | memoryview)
                encoded[places[row]] = bytes(data) if views_scratch else data

    get_device("cpu").run(encode, ceil(plan.size / rows))
    return encoded


def _put_shard(stored: StoredArray, key: str, counts: tuple[int, ...], encoded: list[Any]) -> None:
    if all(data is None for data in encoded):
        stored.store.delete(key)
    else:
        stored.store.set(key, _built(stored, encoded, counts))


def _built(stored: StoredArray, encoded: list[Any], counts: tuple[int, ...]) -> Any:
    """A new shard, as its store takes it; checked by its own index before it takes the place of the old one."""
    sharding = stored.sharding
    assert sharding is not None
    shard = sharding.build_shard(encoded, counts)
    sharding.check_shard(shard, encoded, counts)
    return shard if stored.store.gathers else b"".join(shard)
