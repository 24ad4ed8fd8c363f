"""Writing: partial writes and their locks, what is deleted, what a failure leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import BytesCodec, ShardingCodec, ZstdCodec
from gpuzarr.errors import CorruptChunkError, EncodeError, LockTimeoutError, StoreWriteError
from gpuzarr.storage import LocalStore, MemoryStore
from gpuzarr.storage.contract import Store
from gpuzarr.storage.wrappers import CountingStore, WrapperStore
from tests.oracle import same


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path)


def in_threads(count: int, work: Callable[[int], None]) -> None:
    failed: list[BaseException] = []

    def guarded(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# ---- several writers


@pytest.mark.parametrize("layout", ["plain", "sharded", "format 2"])
@pytest.mark.parametrize("own", [True, False], ids=["own handles", "one handle"])
def test_partial_writes_of_several_threads_lose_nothing(store: Store, layout: str, own: bool) -> None:
    more: dict[str, Any] = {"plain": {}, "sharded": {"shards": (48,)}, "format 2": {"zarr_format": 2}}[layout]
    z = gpuzarr.create_array(store, shape=(96,), chunks=(24,), dtype="i4", **more)
    handles = [gpuzarr.open_array(store) if own else z for _ in range(4)]

    def write(worker: int) -> None:
        for i in range(worker, 96, 4):  # neighbours, so that all of them are always in one chunk
            handles[worker][i] = i + 1

    in_threads(4, write)
    assert z[...].tolist() == list(range(1, 97))


class Synchronizer:
    """Locks of our own, which remember for what they were taken."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.held = 0

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        self.taken.append(key)
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    def __getitem__(self, key: str) -> Any:
        return self._lock(key)


@pytest.mark.parametrize("shards", [None, (4, 4)], ids=str)
def test_a_synchronizer_is_asked_for_partial_writes_only(store: Store, shards: Any) -> None:
    synchronizer = Synchronizer()
    z = gpuzarr.create_array(
        store, name="a", shape=(8, 6), chunks=(2, 2), shards=shards, dtype="i4", synchronizer=synchronizer
    )
    z[...] = 1  # the edge of the array counts as covered
    assert synchronizer.taken == []
    z[1, 1] = 2
    z[0:4, 0:4] = 3
    assert synchronizer.taken == ["a/c/0/0"]
    assert synchronizer.held == 0
    z.attrs["x"] = 1
    assert z[1, 1] == 3


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_the_synchronizers_that_are_here_keep_writers_apart(tmp_path: Path, kind: str) -> None:
    synchronizer: Any = gpuzarr.ThreadSynchronizer()
    if kind == "process":
        synchronizer = gpuzarr.ProcessSynchronizer(tmp_path / "locks")
    z = gpuzarr.create_array(tmp_path / "a", shape=(40,), chunks=(40,), dtype="i4", synchronizer=synchronizer)

    def write(worker: int) -> None:
        for i in range(worker, 40, 4):
            z[i] = i

    in_threads(4, write)
    assert z[...].tolist() == list(range(40))


def test_a_lock_that_is_never_free_is_an_error() -> None:
    store = MemoryStore()
    with gpuzarr.config.set({"array.lock_timeout": 0.05}):
        z = gpuzarr.create_array(store, shape=(4,), chunks=(4,), dtype="i4")

    def wait(_: int) -> None:
        with pytest.raises(LockTimeoutError):
            z[0] = 1

    with store.lock("c/0"):
        in_threads(1, wait)
        z[...] = 2  # a whole chunk waits for nobody
    assert z[...].tolist() == [2] * 4


def test_readers_of_a_shard_that_is_rewritten_see_one_of_its_states(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(512,), chunks=(16,), shards=(256,), dtype="i4", compressors=ZstdCodec())
    z[...] = 0
    done = threading.Event()
    odd: list[Any] = []

    def work(worker: int) -> None:
        reader = gpuzarr.open_array(store)
        if worker == 0:
            try:
                for state in range(1, 60):
                    values = np.full(512, state, "i4")
                    if state % 3 == 0:  # sizes differ, so that an old index does not fit by chance
                        values[::2] = state + 1000 * (np.arange(256) % 7)
                    z[...] = values
            finally:
                done.set()
            return
        while not done.is_set():
            shard = reader[32:240] if worker == 1 else reader.vindex[np.arange(255, 0, -3)]
            states = set((shard % 1000).tolist())
            if len(states) != 1:
                odd.append(states)

    in_threads(3, work)
    assert odd == []


# ---- damage


def test_a_damaged_inner_chunk_does_not_stop_writes_of_its_neighbours(store: Store) -> None:
    z = gpuzarr.create_array(
        store, shape=(16,), chunks=(4,), shards=(16,), dtype="i4", compressors=ZstdCodec(checksum=True)
    )
    z[...] = np.arange(16)
    shard = bytearray(store.get("c/0"))  # type: ignore[arg-type]
    shard[12] ^= 0xFF  # in the first inner chunk
    store.set("c/0", bytes(shard))
    z[5] = 50
    z[8:12] = 80
    assert z[4:].tolist() == [4, 50, 6, 7, *[80] * 4, 12, 13, 14, 15]
    with pytest.raises(CorruptChunkError, match=r"inner chunk \(0,\)"):
        z[0]
    with pytest.raises(CorruptChunkError, match="c/0"):
        z[1] = 1  # what cannot be read cannot be merged
    z[:4] = 7  # but it can be replaced
    assert z[:6].tolist() == [7, 7, 7, 7, 4, 50]


def test_a_damaged_chunk_is_not_written_over_in_part(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(8,), chunks=(4,), dtype="i4")
    z[...] = 1
    store.set("c/0", b"rubbish")
    with pytest.raises(CorruptChunkError, match="c/0"):
        z[0] = 2
    assert bytes(store.get("c/0")) == b"rubbish"  # type: ignore[arg-type]
    z[:4] = 3
    assert z[...].tolist() == [3] * 4 + [1] * 4


# ---- what is stored


def test_a_chunk_over_the_edge_is_stored_whole_and_padded_with_the_fill_value(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(5, 3), chunks=(4, 2), dtype="u1", fill_value=9, compressors=None)
    z[...] = np.arange(15).reshape(5, 3)
    assert bytes(store.get("c/1/1")) == bytes([14, 9, 9, 9, 9, 9, 9, 9])  # type: ignore[arg-type]
    z[4, 2] = 1
    z[0:2, 2] = [7, 8]
    assert bytes(store.get("c/1/1")) == bytes([1, 9, 9, 9, 9, 9, 9, 9])  # type: ignore[arg-type]
    assert bytes(store.get("c/0/1")) == bytes([7, 9, 8, 9, 8, 9, 11, 9])  # type: ignore[arg-type]


@pytest.mark.parametrize("shards", [None, (4, 4)], ids=str)
def test_an_array_is_covered_by_what_lies_in_it(store: Store, shards: Any) -> None:
    counting = CountingStore(store)
    z = gpuzarr.create_array(counting, shape=(7, 5), chunks=(2, 2), shards=shards, dtype="i4")
    z[...] = 1
    counting.reset()
    z[...] = np.arange(35).reshape(7, 5)
    z[4:, :] = 3
    assert {operation for operation, _ in counting.keys} == {"set"}


def test_inner_chunks_full_of_the_fill_value_are_not_stored(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(16,), chunks=(4,), shards=(16,), dtype="u1", compressors=None)
    z[...] = 1
    assert store.size("c/0") == 16 + 4 * 16 + 4
    z[4:8] = 0
    assert store.size("c/0") == 12 + 4 * 16 + 4
    keeping = z.with_config({"write_empty_chunks": True})
    keeping[4:8] = 0
    assert store.size("c/0") == 16 + 4 * 16 + 4
    z[...] = 0
    assert not store.exists("c/0")
    keeping[...] = 0
    assert store.size("c/0") == 16 + 4 * 16 + 4


def test_nested_shards_keep_empty_chunks_where_that_was_asked_for() -> None:
    inner = ShardingCodec(chunk_shape=(2,), codecs=[BytesCodec()])
    middle = ShardingCodec(chunk_shape=(4,), codecs=[inner])
    sizes = []
    for keep in (False, True):
        store = MemoryStore()
        z = gpuzarr.create_array(
            store,
            shape=(8,),
            chunks=(8,),
            dtype="u1",
            serializer=middle,
            compressors=None,
            config={"write_empty_chunks": keep},
        )
        z[...] = [1, *[0] * 7]
        assert z[...].tolist() == [1, *[0] * 7]
        sizes.append(store.size("c/0"))
    assert sizes == [2 + 36 + 36, 8 + 2 * 36 + 36]


def test_values_are_cast_as_numpy_casts_them(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(4,), chunks=(2,), dtype="i2")
    z[...] = np.array([1.9, -1.9, 3.0, True])
    assert z[...].tolist() == [1, -1, 3, 1]
    z[1:3] = [7, 8]
    assert z[...].tolist() == [1, 7, 8, 1]
    for bad in ("word", ["a", "b", "c", "d"], None):
        with pytest.raises((TypeError, ValueError)):
            z[...] = bad
    assert z[...].tolist() == [1, 7, 8, 1]


@pytest.mark.parametrize(
    ("dtype", "value", "error"),
    [
        ("u1", 300, OverflowError),
        ("u1", -1, OverflowError),
        ("u1", [1, 2, 300, 4], OverflowError),
        (">i2", 1 << 40, OverflowError),
        ("u8", 1 << 64, OverflowError),
        ("i4", float("nan"), ValueError),
        ("i4", float("inf"), OverflowError),
        ("f4", 1 + 2j, TypeError),
        ("M8[s]", 2.5, ValueError),
    ],
)
def test_values_of_python_that_do_not_fit_are_refused_as_by_numpy(
    store: Store, dtype: str, value: Any, error: type[Exception]
) -> None:
    z = gpuzarr.create_array(store, shape=(4,), chunks=(2,), dtype=dtype)
    z[...] = before = np.arange(4).astype(dtype)
    for write in (
        lambda: z.__setitem__(..., value),
        lambda: z.oindex.__setitem__(slice(None), value),
        lambda: z.lazy[:].write(value),
        lambda: z.append(np.broadcast_to(value, 4).tolist()),
    ):
        with pytest.raises(error):
            np.zeros(4, dtype)[...] = value  # the judge
        with pytest.raises(error):
            write()
    assert z.shape == (4,)
    np.testing.assert_array_equal(z[...], before)


def test_values_of_python_are_cast_each_by_itself(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(2,), dtype="u8")
    z[...] = [(1 << 64) - 1, 2.5]  # not by way of an array of float64, which would round the first one
    assert z[...].tolist() == [(1 << 64) - 1, 2]
    text = gpuzarr.create_array({}, shape=(2,), dtype="U3")
    text[...] = [1, 1.5]
    assert text[...].tolist() == ["1", "1.5"]


def test_values_that_the_codecs_cannot_hold_are_refused(store: Store) -> None:
    cast = {"name": "cast_value", "configuration": {"data_type": "int8"}}
    z = gpuzarr.create_array(store, shape=(4,), chunks=(4,), dtype="f8", codecs=[cast, BytesCodec()])
    z[...] = [1, 2, 3, 4]
    for bad in (1000, np.nan):
        with pytest.raises(EncodeError):
            z[1] = bad
    assert z[...].tolist() == [1, 2, 3, 4]


# ---- failures


class FullDisk(WrapperStore):
    """Refuses to set a key."""

    def __init__(self, store: Store, key: str) -> None:
        super().__init__(store)
        self.key = key

    def set(self, key: str, value: Any) -> None:
        if key == self.key:
            raise StoreWriteError(f"{key}: no space left")
        super().set(key, value)

    def set_many(self, items: Any) -> None:
        for key, value in items:
            self.set(key, value)


@pytest.mark.parametrize("shards", [None, (4,)], ids=str)
def test_a_write_that_fails_says_so_and_leaves_the_old_value(store: Store, shards: Any) -> None:
    z = gpuzarr.create_array(store, shape=(16,), chunks=(2,), shards=shards, dtype="i4")
    z[...] = 1
    full = gpuzarr.open_array(FullDisk(store, "c/2"))
    with pytest.raises(StoreWriteError, match="c/2"):
        full[...] = 2
    width = 4 if shards else 2
    assert z[2 * width : 3 * width].tolist() == [1] * width
    assert set(z[...].tolist()) <= {1, 2}
    cached = full.with_cache(1000)
    assert set(cached[...].tolist()) <= {1, 2}
    with pytest.raises(StoreWriteError, match="c/2"):
        cached[...] = 3
    assert same(cached[...], z[...])  # it forgot what was put before the failure
    full[:width] = 5
    assert z[:width].tolist() == [5] * width


def test_the_source_of_a_write_is_not_changed(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(10,), chunks=(4,), dtype=">i4", compressors=None)
    values = np.arange(10, dtype="i4")
    values.flags.writeable = False
    z[...] = values
    z[::-1] = values
    z[1:9] = values[1:9]
    assert same(values, np.arange(10, dtype="i4"))
    assert z[...].tolist() == [9, 1, 2, 3, 4, 5, 6, 7, 8, 0]


def test_what_was_written_does_not_change_with_its_source() -> None:
    store = MemoryStore()  # which could keep a view of the caller's memory
    for more in ({}, {"shards": (8,)}, {"zarr_format": 2}):
        z = gpuzarr.create_array(store, shape=(8,), chunks=(4,), dtype="i4", compressors=None, overwrite=True, **more)
        values = np.arange(8, dtype="i4")
        z[...] = values
        values[:] = -1
        assert z[...].tolist() == list(range(8))
        got = z[...]
        got[:] = -2  # nor with what a read gave
        assert z[...].tolist() == list(range(8))
        store.delete_prefix("")


def test_a_single_object_that_comes_as_an_array_is_that_object() -> None:
    z = gpuzarr.create_array({}, shape=(5,), chunks=(2,), dtype="variable_length_bytes")
    z.vindex[[3]] = np.array(b"ccc", object)
    z.vindex[[0, 4]] = np.array(b"dd", object)
    assert z[...].tolist() == [b"dd", b"", b"", b"ccc", b"dd"]


@pytest.mark.parametrize("in_flight", [0, 8], ids=["at hand", "behind a network"])
@pytest.mark.parametrize("shards", [None, (8,)], ids=str)
def test_nothing_may_be_written_anywhere(shards: Any, in_flight: int) -> None:
    store = MemoryStore()
    store.in_flight = in_flight
    z = gpuzarr.create_array(store, shape=(20,), chunks=(4,), shards=shards, dtype="i4")
    z[...] = 1
    z[3:3] = 5
    z.oindex[np.zeros(0, int)] = 5
    z.vindex[np.zeros(0, int)] = 5
    z.vindex[np.zeros(20, bool)] = 5
    assert z[3:3].size == z.vindex[np.zeros(0, int)].size == 0
    assert z[...].tolist() == [1] * 20
