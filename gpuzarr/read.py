"""Reading: select -> plan -> fetch -> decode -> place, wave by wave.

    read(stored, selection, dest)

fills `dest`, whose axes are the array's (length 1 where an integer was the index, see `plan`). Every wave is an
independent task; the device walks them on its lanes. The first error stops the read and is raised; `dest` then
holds a mixture and must be thrown away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from gpuzarr import pieces, place
from gpuzarr.cache import ChunkCache
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.devices import Device, Lane
from gpuzarr.errors import ObjectChangedError, ShortReadError
from gpuzarr.fetch import Encoded, fetch_objects, fetch_ranges, nothing
from gpuzarr.grid import RectilinearGrid
from gpuzarr.plan import BoxPlan, PointRows, PointSplit, SplitPlan, plan_chunks, plan_shards
from gpuzarr.selection import Selection
from gpuzarr.shards import linear, read_index
from gpuzarr.storage.memory import MemoryStore
from gpuzarr.stored import StoredArray
from gpuzarr.waves import Wave

ATTEMPTS = 4  # to read a shard in pieces that is being replaced again and again


def read(stored: StoredArray, selection: Selection, dest: np.ndarray[Any, Any]) -> None:
    """Fill `dest` with the selected region."""
    if stored.sharding is not None:
        _read_shards(stored, selection, dest)
    else:
        _read_chunks(stored, selection, dest)


def _read_chunks(stored: StoredArray, selection: Selection, dest: np.ndarray[Any, Any]) -> None:
    plan = plan_chunks(stored.grid, selection)
    rows, lanes, cuts = stored.pace(plan.size, selection)
    limit, spec, straight = stored.largest_chain.encoded_limit, stored.chain.spec, _straight(stored)

    def one_wave(i: int, lane: Lane) -> None:
        wave = plan.wave(range(i * rows, min(plan.size, (i + 1) * rows)))
        keys = stored.keys(wave.coords)
        parts = pieces.cut(wave, spec, stored.ceiling) if cuts and stored.cuts else None
        if parts is not None and spec.nbytes is not None:
            encoded = pieces.fetch(stored.store, keys, parts, spec.nbytes, lane)
            pieces.place(encoded, parts, wave, spec, dest, stored.fill)
            return

        def fetch(rows: Sequence[int]) -> Encoded:
            chosen = [keys[i] for i in rows]
            landed = None if straight is None else straight.objects(chosen, lane)
            return fetch_objects(stored.store, chosen, limit, lane) if landed is None else landed

        _deliver(stored, stored.chain, wave, keys.__getitem__, fetch, dest, lane, cuts)

    stored.device.run(one_wave, ceil(plan.size / rows), lanes)


def _read_shards(stored: StoredArray, selection: Selection, dest: np.ndarray[Any, Any]) -> None:
    split = plan_shards(stored.inner_grid, stored.grid, selection)
    rows, lanes, cuts = stored.pace(split.rows, selection)
    waves = ceil(split.largest / rows)  # of one shard
    shards = _Shards(stored, split, waves, cuts)

    def one_wave(i: int, lane: Lane) -> None:
        number, part = divmod(i, waves)
        shards.take(number).read(part * rows, rows, dest, lane)
        shards.done(number)

    stored.device.run(one_wave, split.size * waves, lanes)


class _Shards:
    """The shards of one read. Each is located once, however many waves it is cut into: all its waves must go by
    one order of its rows, or a shard that is replaced meanwhile would leave rows unread."""

    def __init__(self, stored: StoredArray, split: SplitPlan | PointSplit, waves: int, cuts: bool) -> None:
        self._stored, self._split, self._waves, self._cuts = stored, split, waves, cuts
        self._straight = _straight(stored)
        self._lock = threading.Lock()
        self._open: dict[int, _Shard] = {}
        self._left: dict[int, int] = {}

    def take(self, number: int) -> _Shard:
        with self._lock:
            shard = self._open.get(number)
            if shard is None:
                shard = self._open[number] = _Shard(
                    self._stored, self._straight, self._cuts, *self._split.shard(number)
                )
                self._left[number] = self._waves
        return shard

    def done(self, number: int) -> None:
        with self._lock:
            self._left[number] -= 1
            if self._left[number] == 0:
                del self._open[number], self._left[number]


class _Shard:
    """The rows that a read takes of one shard."""

    def __init__(
        self, stored: StoredArray, straight: Any, cuts: bool, coords: tuple[int, ...], plan: BoxPlan | PointRows
    ) -> None:
        self.stored, self.coords, self.plan, self.straight, self.cuts = stored, coords, plan, straight, cuts
        self.key = stored.keys([coords])[0]
        self._lock = threading.Lock()
        self._located: _Located | None = None
        self._bounded = False  # the index must be checked against the shard's size

    def read(self, start: int, count: int, dest: np.ndarray[Any, Any], lane: Lane) -> None:
        """Read `count` rows from `start` on, in the order in which they are stored."""
        if start >= self.plan.size:
            return
        with self._lock:
            if self._located is None:
                self._located = self._locate()
        try:
            self._wave(self._located, start, count, dest, lane)
        except ObjectChangedError:
            self._read_again(count, dest, lane)
        except ShortReadError:
            if self._located.bounded:
                raise
            self._bounded = True  # perhaps it is the index that is wrong, about one chunk
            self._read_again(count, dest, lane)

    def _read_again(self, count: int, dest: np.ndarray[Any, Any], lane: Lane) -> None:
        """The shard was replaced under this wave, so its rows may lie in another order: read all of them by the new
        index (waves that went by the old one gave values that were committed too)."""
        for _ in range(ATTEMPTS):
            self.stored.shard_indexes.pop(self.key, None)
            try:
                self._every_wave(count, dest, lane)
                return
            except ObjectChangedError:
                continue
        # It is replaced faster than it can be read in pieces: one read of all of it is of one state.
        data = self.stored.store.get(self.key)
        held = MemoryStore({} if data is None else {self.key: data})
        copy = replace(self.stored, store=held, shard_indexes={})
        _Shard(copy, None, self.cuts, self.coords, self.plan)._every_wave(count, dest, lane)

    def _every_wave(self, count: int, dest: np.ndarray[Any, Any], lane: Lane) -> None:
        located = self._locate()
        for start in range(0, self.plan.size, count):
            self._wave(located, start, count, dest, lane)
            lane.settle()  # since the next one is fetched to the same room

    def _locate(self) -> _Located:
        cache = self.stored.cache
        generation = 0 if cache is None else cache.generation  # before the shard is found to be absent, or as it is
        index = read_index(self.stored, self.key, self.coords, bounded=self._bounded)
        if index is None:
            return _Located(None, np.arange(self.plan.size), None, None, generation)
        rows = linear(self.stored, self.coords, self.plan.coords())
        index.check(self.key, rows)
        order = np.argsort(index.starts[rows], kind="stable") if rows.size > 1 else rows - rows
        rows = rows[order]
        return _Located(index.version, order, index.starts[rows], index.sizes[rows], generation, index.bounded)

    def _wave(self, located: _Located, start: int, count: int, dest: np.ndarray[Any, Any], lane: Lane) -> None:
        order = located.order[start : start + count]
        starts, sizes = located.starts, located.sizes
        if starts is not None and sizes is not None:
            starts, sizes = starts[start : start + count], sizes[start : start + count]
            if order.size > 1:  # rows as the plan has them, since neighbours are placed together
                ascending = np.argsort(order)
                order, starts, sizes = order[ascending], starts[ascending], sizes[ascending]
        wave = self.plan.wave(order)
        if self._pieces(located, starts, sizes, wave, dest, lane):
            return

        def fetch(rows: Sequence[int]) -> Encoded:
            if starts is None or sizes is None:
                return nothing(len(rows))
            limit, found = self.stored.inner_chain.encoded_limit, (self.key, located.version, starts[rows], sizes[rows])
            landed = None if self.straight is None else self.straight.ranges(*found, lane)
            return fetch_ranges(self.stored.store, *found, limit, lane) if landed is None else landed

        def name(i: int) -> str:
            return f"{self.key}, inner chunk {wave.coords[i]}"

        chain = self.stored.inner_chain
        _deliver(self.stored, chain, wave, name, fetch, dest, lane, self.cuts, located.generation)

    def _pieces(
        self,
        located: _Located,
        starts: np.ndarray[Any, Any] | None,
        sizes: np.ndarray[Any, Any] | None,
        wave: Wave,
        dest: np.ndarray[Any, Any],
        lane: Lane,
    ) -> bool:
        """Read the parts of uncompressed inner chunks where they lie; False where whole chunks are as good."""
        spec = self.stored.inner_chain.spec
        if starts is None or sizes is None or not (self.cuts and self.stored.cuts):
            return False
        parts = pieces.cut(wave, spec, self.stored.ceiling)
        if parts is None or (sizes[starts >= 0] != spec.nbytes).any():
            return False
        places = np.where(starts < 0, -1, starts + parts.starts)
        wanted = np.where(starts < 0, 0, parts.sizes)
        encoded = fetch_ranges(self.stored.store, self.key, located.version, places, wanted, spec.nbytes or 0, lane)
        pieces.place(encoded, parts, wave, spec, dest, self.stored.fill)
        return True


class _Located(NamedTuple):
    """Rows of a shard in stored order, by one state of its index."""

    version: Any
    order: np.ndarray[Any, Any]  # row numbers of the plan
    starts: np.ndarray[Any, Any] | None  # byte ranges; None where there is no shard, start -1 where no chunk
    sizes: np.ndarray[Any, Any] | None
    generation: int  # of the cache, when this was found out
    bounded: bool = True  # all of it lies in the shard, as far as an index can say


def _deliver(
    stored: StoredArray,
    chain: CodecChain,
    wave: Wave,
    name: Callable[[int], str],
    fetch: Callable[[Sequence[int]], Encoded],
    dest: np.ndarray[Any, Any],
    lane: Lane,
    cuts: bool,
    generation: int | None = None,
) -> None:
    """Fetch, decode and place one wave; by way of the cache, if there is one."""
    strict, deliver = stored.missing_is_error, _placer(stored.device).deliver
    rows = range(wave.count)
    largest = chain.nbytes if stored.sharding is not None else stored.largest_chain.nbytes
    huge = largest is not None and largest > stored.ceiling
    if huge:
        fetch = _refusing(fetch, wave, stored, chain)
    if stored.cache is not None and not huge:  # which would make room for absent chunks, too
        if generation is None:
            generation = stored.cache.generation
        _deliver_cached(stored, stored.cache, chain, wave, name, fetch, dest, lane, generation)
    elif stored.sharding is None and isinstance(stored.grid, RectilinearGrid):
        encoded = fetch(rows)
        for i in rows:  # chunks differ in shape, so each has its own chain
            one = chain.for_shape(stored.grid.chunk_shape(wave.coords[i]))
            deliver(
                one,
                wave.part(range(i, i + 1)),
                _named(name, i),
                encoded.part(range(i, i + 1)),
                dest,
                stored.fill,
                lane,
                strict,
            )
    else:
        encoded = fetch(rows)
        if not cuts or not pieces.deliver(chain, wave, encoded, dest, lane):
            deliver(chain, wave, name, encoded, dest, stored.fill, lane, strict)


def _straight(stored: StoredArray) -> Any:
    """The way of files straight to the array's device (`fetch_to_gpu`), None where there is none."""
    return None if stored.device.kind == "cpu" else import_module("gpuzarr.fetch_to_gpu").straight(stored)


def _placer(device: Device) -> Any:
    """The module that places chunks on this device; what only GPUs need is imported when there is one."""
    return place if device.kind == "cpu" else import_module("gpuzarr.place_on_gpu")


def _deliver_cached(
    stored: StoredArray,
    cache: ChunkCache,
    chain: CodecChain,
    wave: Wave,
    name: Callable[[int], str],
    fetch: Callable[[Sequence[int]], Encoded],
    dest: np.ndarray[Any, Any],
    lane: Lane,
    generation: int,
) -> None:
    held = [cache.get(c) for c in wave.coords]
    absent = [i for i, chunk in enumerate(held) if chunk is None]
    encoded, made = fetch(absent) if absent else nothing(0), []
    for n, i in enumerate(absent):
        shape = chain.spec.shape if stored.sharding is not None else stored.grid.chunk_shape(wave.coords[i])
        chunk = held[i] = stored.device.empty(shape, chain.spec.dtype)
        every = tuple(slice(0, n) for n in shape) or (Ellipsis,)  # () would index a scalar, not a view
        whole = Wave(1, [wave.coords[i]], [every], [every], [True], [True])
        one = chain.for_shape(shape)
        deliver, strict = _placer(stored.device).deliver, stored.missing_is_error
        deliver(one, whole, _named(name, i), encoded.part(range(n, n + 1)), chunk, stored.fill, lane, strict)
        made.append((wave.coords[i], chunk))
    if made:
        lane.settle()  # whoever finds a chunk in the cache does not wait for this lane
    for coords, chunk in made:
        cache.put(coords, chunk, generation)
    move = _placer(stored.device).move
    for i, chunk in enumerate(held):
        move(chunk, wave.in_chunk[i], wave.in_dest[i], dest, lane)


def _refusing(
    fetch: Callable[[Sequence[int]], Encoded], wave: Wave, stored: StoredArray, chain: CodecChain
) -> Callable[[Sequence[int]], Encoded]:
    """`fetch` where some chunks are too large to decode: of those, only absent ones pass."""

    def refuse(rows: Sequence[int]) -> Encoded:
        encoded = fetch(rows)
        for row, source in zip(rows, encoded.sources, strict=True):
            one = chain if stored.sharding is not None else chain.for_shape(stored.grid.chunk_shape(wave.coords[row]))
            if source is not None:
                stored.check_ceiling("a chunk", one.nbytes)
        return encoded

    return refuse


def _named(name: Callable[[int], str], row: int) -> Callable[[int], str]:
    """The names of a wave that is only this row."""
    return lambda _: name(row)
