"""The cache of decoded chunks: bounded, never stale to its own array, never shared with the caller."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cache import ChunkCache
from gpuzarr.errors import StoreWriteError
from gpuzarr.storage import MemoryStore
from gpuzarr.storage.wrappers import CountingStore
from tests.oracle import same


def array(shards: Any = None, cache_bytes: int = 1 << 20) -> tuple[gpuzarr.Array, CountingStore, np.ndarray]:
    """20 x 20 int32 in chunks of 5 x 5 (100 bytes each), with a store that counts."""
    store = CountingStore(MemoryStore())
    z = gpuzarr.create_array(store, shape=(20, 20), chunks=(5, 5), shards=shards, dtype="i4", cache_bytes=cache_bytes)
    values = np.arange(400, dtype="i4").reshape(20, 20)
    z[...] = values
    store.reset()
    return z, store, values


LAYOUTS = pytest.mark.parametrize("shards", [None, (10, 10)], ids=str)


@LAYOUTS
def test_what_was_read_is_not_fetched_again(shards: Any) -> None:
    z, store, values = array(shards)
    assert same(z[3:9, 4:6], values[3:9, 4:6])
    assert store.keys != []
    store.reset()
    assert same(z[0:10, 0:10], values[:10, :10])
    assert same(z.vindex[[9, 0], [0, 9]], values[[9, 0], [0, 9]])
    assert same(z[::-3, ::2][3:], values[::-3, ::2][3:])
    data = [key for operation, key in store.keys if key.startswith("c")]
    assert not {"c/0/0", "c/0/1", "c/1/0", "c/1/1"} & set(data) or shards
    assert z.cache is not None
    assert z.cache.hits > 0
    store.reset()
    assert same(z[...], values)
    store.reset()
    assert same(z[...], values)
    assert store.bytes_read == 0 or shards  # the index of a shard is looked at, its chunks are not


@LAYOUTS
def test_it_holds_no_more_than_it_may(shards: Any) -> None:
    z, _, values = array(shards, cache_bytes=350)
    for _ in range(3):
        assert same(z[...], values)
    assert z.cache is not None
    assert 0 < z.cache.nbytes <= 350
    small, _, _ = array(shards, cache_bytes=99)
    assert same(small[...], values)
    assert small.cache is not None
    assert small.cache.nbytes == 0
    assert gpuzarr.create_array({}, shape=(1,), dtype="i4").cache is None


@LAYOUTS
def test_writes_drop_what_they_change(shards: Any) -> None:
    z, _, values = array(shards)
    assert same(z[...], values)
    values = values.copy()
    z[2, 3] = values[2, 3] = -1
    z[5:10, 5:10] = values[5:10, 5:10] = -2
    z.vindex[[0, 19], [19, 0]] = values[[0, 19], [19, 0]] = -3
    z[10:] = values[10:] = 0  # chunks that are deleted
    assert same(z[...], values)
    z.resize((8, 25))
    values = np.pad(values[:8], ((0, 0), (0, 5)))
    assert same(z[...], values)
    z.append(np.ones((4, 25), "i4"))
    assert same(z[...], np.concatenate([values, np.ones((4, 25), "i4")]))


class _Doubtful(MemoryStore):
    """A store whose answer to a put is lost."""

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        if not key.endswith("zarr.json"):
            raise StoreWriteError(f"no answer about {key!r}")


@LAYOUTS
@pytest.mark.parametrize("rows", [slice(0, 10), slice(0, 3)], ids=["whole", "part"])
def test_a_write_that_fails_drops_what_it_may_have_put(shards: Any, rows: slice) -> None:
    z, store, values = array(shards)
    objects = dict(store._store._objects)  # type: ignore[attr-defined]
    z = gpuzarr.open_array(_Doubtful(objects), cache_bytes=1 << 20)
    assert same(z[...], values)
    with pytest.raises(StoreWriteError):
        z[rows, :10] = -1
    assert same(z[...], gpuzarr.open_array(MemoryStore(objects))[...])
    assert z[0, 0] == -1


def test_what_the_caller_does_with_a_result_does_not_reach_the_cache() -> None:
    z, _, values = array()
    for _ in range(2):
        got = z[0:5, 0:5]
        assert same(got, values[:5, :5])
        got[...] = -1


def test_another_handle_is_seen_after_clear() -> None:
    z, _, values = array()
    assert same(z[...], values)
    gpuzarr.open_array(z.store)[0, 0] = -1
    assert z[0, 0] == 0
    assert z.cache is not None
    z.cache.clear()
    assert z[0, 0] == -1
    assert z.cache.nbytes == 100


def test_a_chunk_that_was_read_before_a_drop_is_not_kept_after_it() -> None:
    cache = ChunkCache(1000)
    before = cache.generation
    cache.drop((0,))
    cache.put((0,), np.zeros(3), before)
    assert cache.get((0,)) is None
    cache.put((0,), np.zeros(3), cache.generation)
    assert cache.get((0,)) is not None
    assert (cache.hits, cache.misses, cache.nbytes) == (1, 1, 24)
    cache.put((0,), np.zeros(4), cache.generation)
    assert cache.nbytes == 32


def test_the_least_used_goes_first() -> None:
    cache = ChunkCache(30)
    for i in range(3):
        cache.put((i,), np.zeros(10, "u1"), cache.generation)
    cache.get((0,))
    cache.put((3,), np.zeros(10, "u1"), cache.generation)
    assert [cache.get((i,)) is not None for i in range(4)] == [True, False, True, True]


def test_a_pickled_cache_is_empty_and_as_large() -> None:
    cache = ChunkCache(30)
    cache.put((0,), np.zeros(10, "u1"), cache.generation)
    again = pickle.loads(pickle.dumps(cache))
    assert (again.limit, again.nbytes) == (30, 0)


@LAYOUTS
def test_readers_beside_a_writer_end_with_what_was_written_last(shards: Any) -> None:
    z, _, _ = array(shards, cache_bytes=600)
    z[...] = 0
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            now = int(z[7, 7])
            if now < last:
                wrong.append((last, now))
            last = now

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(1, 200):
        z[7, 7] = i
        if int(z[7, 7]) != i:
            wrong.append(i)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert z[7, 7] == 199


def test_absent_chunks_are_cached_too() -> None:
    store = CountingStore(MemoryStore())
    z = gpuzarr.create_array(store, shape=(10,), chunks=(5,), dtype="i4", fill_value=3, cache_bytes=1000)
    assert z[...].tolist() == [3] * 10
    store.reset()
    assert z[2:].tolist() == [3] * 8
    assert store.keys == []
    z[0] = 1
    assert z[...].tolist() == [1, *[3] * 9]


@pytest.mark.parametrize("compressors", [None, "auto"])
def test_an_array_without_axes(compressors: Any) -> None:
    z = gpuzarr.create_array({}, shape=(), dtype="i4", compressors=compressors, cache_bytes=1000)
    for value in (5, 6):
        z[...] = value
        assert [int(z[...]), int(z[()])] == [value, value]
    assert z.cache is not None
    assert z.cache.hits
