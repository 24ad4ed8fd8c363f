"""Reading: what is absent, what is damaged, what changes under the reader, and what it costs."""

from __future__ import annotations

import gzip
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr import stored as stored_module
from gpuzarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from gpuzarr.devices import Lane, get_device
from gpuzarr.errors import ChunkNotFoundError, CorruptChunkError, LimitError, StoreReadError
from gpuzarr.storage import LocalStore, MappingStore, MemoryStore
from gpuzarr.storage.contract import Pieces, Span, Store
from gpuzarr.storage.wrappers import CountingStore, WrapperStore
from tests.oracle import same


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path)


def change(store: Store, key: str, edit: Callable[[bytearray], Any]) -> None:
    """Edit an object in place."""
    data = store.get(key)
    assert data is not None
    edited = bytearray(data)
    edit(edited)
    store.set(key, bytes(edited))


# ---- absent


@pytest.mark.parametrize("compressors", [None, ZstdCodec()], ids=str)
def test_absent_chunks_among_others_are_the_fill_value(store: Store, compressors: Any) -> None:
    z = gpuzarr.create_array(store, shape=(20, 20), chunks=(4, 5), dtype="i4", fill_value=-3, compressors=compressors)
    want = np.full((20, 20), -3, "i4")
    want[4:8, 5:10], want[16:, :5] = 1, 2
    z[4:8, 5:10], z[16:, :5] = 1, 2
    assert same(z[...], want)
    assert same(z[3:18, 2:9], want[3:18, 2:9])
    assert same(z.vindex[[0, 5, 17], [0, 6, 2]], want[[0, 5, 17], [0, 6, 2]])


@pytest.mark.parametrize("shards", [None, (6,)], ids=str)
def test_an_absent_chunk_is_an_error_where_that_was_asked_for(store: Store, shards: Any) -> None:
    z = gpuzarr.create_array(
        store, shape=(12,), chunks=(2,), shards=shards, dtype="i4", config={"read_missing_chunks": False}
    )
    z[2:4] = 5
    assert z[2:4].tolist() == [5, 5]
    with pytest.raises(ChunkNotFoundError, match="c/0, inner chunk" if shards else "c/0'"):
        z[0:4]
    with pytest.raises(ChunkNotFoundError, match="c/1" if shards else "c/5"):
        z[10:]


# ---- damaged

BREAKS: dict[str, Callable[[bytearray], Any]] = {
    "flip": lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 0x55),
    "cut": lambda data: data.__delitem__(slice(-3, None)),
    "empty": lambda data: data.clear(),
    "longer": lambda data: data.extend(b"\0" * 7),
}
CODECS = {"zstd": ZstdCodec(checksum=True), "gzip": GzipCodec(), "blosc": BloscCodec(), "crc32c": Crc32cCodec()}


# Blosc has no checksum, and zeros after a gzip stream are padding.
SEEN = [
    (codec, how) for codec in CODECS for how in BREAKS if (codec, how) not in (("blosc", "flip"), ("gzip", "longer"))
]


@pytest.mark.parametrize(("codec", "how"), SEEN)
def test_a_damaged_chunk_names_its_key_and_the_codec_that_found_it(store: Store, codec: str, how: str) -> None:
    z = gpuzarr.create_array(store, name="a/b", shape=(64,), chunks=(16,), dtype="i4", compressors=CODECS[codec])
    z[...] = np.arange(64) ** 2 % 61
    change(store, "a/b/c/2", BREAKS[how])
    with pytest.raises(CorruptChunkError) as caught:
        z[...]
    assert caught.value.key == "a/b/c/2"
    assert codec in str(caught.value.codec)
    assert "a/b/c/2" in str(caught.value)
    assert z[:32].shape == (32,)


@pytest.mark.parametrize("how", ["cut", "empty", "longer"])
def test_a_chunk_of_plain_elements_must_have_their_size(store: Store, how: str) -> None:
    for size in (16, 1 << 15):  # the larger is read in parts
        z = gpuzarr.create_array(
            store, name=f"a{size}", shape=(2 * size,), chunks=(size,), dtype="i4", compressors=None
        )
        z[...] = 1
        change(store, f"a{size}/c/1", BREAKS[how])
        for read in (lambda z=z: z[...], lambda z=z, size=size: z[size : size + 3], lambda z=z: z.vindex[[0, -1]]):
            with pytest.raises(CorruptChunkError, match=f"a{size}/c/1") as caught:
                read()
            assert caught.value.codec == "bytes"
        assert z[3] == 1


def test_a_damaged_inner_chunk_is_named_and_its_neighbours_read(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(8, 8), chunks=(2, 4), shards=(4, 8), dtype="i4", compressors=CODECS["zstd"])
    z[...] = np.arange(64).reshape(8, 8)
    change(store, "c/1/0", lambda data: data.__setitem__(10, data[10] ^ 0xFF))
    bad = []
    for i in range(4):
        for j in range(2):
            try:
                assert same(
                    z.get_basic_selection(np.s_[2 * i : 2 * i + 2, 4 * j : 4 * j + 4])[0, 0], np.int32(16 * i + 4 * j)
                )
            except CorruptChunkError as error:
                bad.append((i, j))
                assert error.key == f"c/1/0, inner chunk {(i, j)}"  # noqa: PT017
                assert "zstd" in str(error)  # noqa: PT017
    assert len(bad) == 1


def test_a_damaged_index_is_named(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(8,), chunks=(2,), shards=(8,), dtype="i4")
    z[...] = np.arange(8)
    change(store, "c/0", lambda data: data.__setitem__(len(data) - 10, data[-10] ^ 1))
    with pytest.raises(CorruptChunkError, match="index") as caught:
        gpuzarr.open_array(store)[3]
    assert caught.value.key == "c/0"


def test_a_chunk_may_be_stored_larger_than_any_encoder_makes_it(store: Store) -> None:
    raw = np.arange(8, dtype="i4").tobytes()
    z = gpuzarr.create_array(store, shape=(8,), chunks=(4,), dtype="i4", compressors=GzipCodec())
    for key, part in (("c/0", raw[:16]), ("c/1", raw[16:])):
        store.set(key, gzip.compress(b"") * 1000 + gzip.compress(part))
    assert z[...].tolist() == list(range(8))


def test_a_chunk_that_says_it_is_huge_takes_no_memory(store: Store) -> None:
    z = gpuzarr.create_array(store, name="z", shape=(4,), chunks=(4,), dtype="i4", compressors=GzipCodec())
    store.set("z/c/0", gzip.compress(b"\0" * (64 << 20), 9))
    with pytest.raises(CorruptChunkError, match="gzip"):
        z[...]
    t = gpuzarr.create_array(store, name="t", shape=(4,), chunks=(4,), dtype=str, compressors=GzipCodec())
    with gpuzarr.config.set({"array.max_chunk_bytes": 1 << 20}):
        t = gpuzarr.open_array(store, path="t")
        store.set("t/c/0", gzip.compress(b"\0" * (8 << 20), 9))
        with pytest.raises(CorruptChunkError, match="gzip"):
            t[...]


# ---- replaced under a read


class Meddling(WrapperStore):
    """Calls `meddle` before some reads of byte ranges."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reads = 0
        self.meddle: Callable[[int], Any] = lambda read: None

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Any] | None = None
    ) -> Pieces | None:
        self.reads += 1
        self.meddle(self.reads)
        return super().get_ranges(key, spans, version=version, into=into)


def sharded_twice(store: Store) -> tuple[Meddling, gpuzarr.Array, bytes, bytes]:
    """An array whose one shard is all 1, and its two states: all 1, and all 2 with another layout."""
    z = gpuzarr.create_array(store, shape=(64,), chunks=(4,), shards=(64,), dtype="i8")
    z[...] = np.arange(64) + 1000
    second = bytes(store.get("c/0"))  # type: ignore[arg-type]
    z[...] = 1
    first = bytes(store.get("c/0"))  # type: ignore[arg-type]
    assert len(first) != len(second)
    meddling = Meddling(store)
    return meddling, gpuzarr.open_array(meddling), first, second


def test_a_shard_that_is_replaced_under_a_read_is_read_again(store: Store) -> None:
    meddling, z, _, second = sharded_twice(store)
    meddling.meddle = lambda read: store.set("c/0", second) if read == 2 else None
    got = z[...]
    assert meddling.reads == 4  # index, data that was no longer there, index, data
    assert got.tolist() == [n + 1000 for n in range(64)]


def test_an_index_that_is_kept_is_not_used_for_another_shard(store: Store) -> None:
    _, z, first, second = sharded_twice(store)
    for state, want in ((first, 1), (second, 1003), (first, 1), (second, 1003)):
        store.set("c/0", state)
        assert z[3] == want
        assert z.vindex[[3, 60]].tolist() == [want, 1 if want == 1 else 1060]


def test_an_index_that_is_kept_does_not_keep_the_shard() -> None:
    class Anew(dict[str, bytes]):
        """As of a mapping whose values are elsewhere."""

        def __getitem__(self, key: str) -> bytes:
            return bytes(bytearray(super().__getitem__(key)))

    z = gpuzarr.create_array(
        MappingStore(Anew()),
        shape=(20, 1 << 17),
        chunks=(1, 1 << 16),
        shards=(1, 1 << 17),
        dtype="f8",
        compressors=None,
    )
    z[...] = 1
    tracemalloc.start()
    try:
        assert [z[i, 5] for i in range(20)] == [1] * 20  # of shards of 1 MiB
        assert tracemalloc.get_traced_memory()[0] < 3 << 20
    finally:
        tracemalloc.stop()


def test_keeping_an_index_looks_at_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding up what is kept made every read of a new shard slower than the last."""

    class Unseen(dict[str, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("walked through")

        values = items = keys = __iter__

    monkeypatch.setattr(stored_module, "KEPT_INDEXES", 5000)
    z = gpuzarr.create_array({}, shape=(400,), chunks=(2,), shards=(4,), dtype="i4")
    z[...] = np.arange(400)
    z._stored.shard_indexes = Unseen()
    for i in range(400):
        assert z[i] == i
        assert len(z._stored.shard_indexes) <= 5000 // 512


def test_a_shard_that_never_holds_still_is_read_in_one_piece(store: Store) -> None:
    meddling, z, first, second = sharded_twice(store)
    meddling.meddle = lambda read: store.set("c/0", (first, second)[read // 2 % 2] + b"") if read % 2 == 0 else None
    for _ in range(4):
        assert z[...].tolist() in ([1] * 64, [n + 1000 for n in range(64)])
        assert z[7:9].tolist() in ([1, 1], [1007, 1008])
    assert meddling.reads > 4 * 2 * 4  # it was tried in pieces first


def test_a_shard_that_is_deleted_under_a_read_is_absent(store: Store) -> None:
    meddling, z, _, _ = sharded_twice(store)
    meddling.meddle = lambda read: store.delete("c/0") if read == 2 else None
    assert z[...].tolist() == [0] * 64


# ---- lanes


class Failing(CountingStore):
    """Fails for one key."""

    def __init__(self, store: Store, key: str) -> None:
        super().__init__(store)
        self.key = key

    def read_into(self, keys: Sequence[str], *args: Any, **more: Any) -> list[int | None]:
        if self.key in keys:
            raise StoreReadError(f"{self.key}: no such luck")
        return super().read_into(keys, *args, **more)

    def get(self, key: str, **more: Any) -> Any:
        if key == self.key:
            raise StoreReadError(f"{key}: no such luck")
        return super().get(key, **more)

    def get_many(self, keys: Sequence[str], room: Any = None, *, limit: int | None = None) -> Any:
        return [self.get(key) for key in keys]


def test_the_first_error_stops_the_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    z = gpuzarr.create_array(store, shape=(4000,), chunks=(10,), dtype="i4")
    z[...] = 1
    monkeypatch.setattr(type(get_device("cpu")), "wave_bytes", 40)
    failing = Failing(store, "c/20")
    broken = gpuzarr.open_array(failing)
    failing.reset()
    with pytest.raises(StoreReadError, match="c/20"):
        broken[...]
    assert len(failing.keys) < 200
    assert z[...].tolist() == [1] * 4000  # the lanes are well


def test_run_within_run() -> None:
    device = get_device("cpu")
    done: list[tuple[int, int]] = []
    lock = threading.Lock()

    def outer(i: int, _: Lane) -> None:
        def inner(j: int, _: Lane) -> None:
            with lock:
                done.append((i, j))

        device.run(inner, 5)

    device.run(outer, 7)
    assert sorted(done) == [(i, j) for i in range(7) for j in range(5)]


def test_an_error_in_run_is_raised_once_and_the_rest_is_left() -> None:
    device = get_device("cpu")
    done = []

    def task(i: int, _: Lane) -> None:
        if i == 3:
            raise ZeroDivisionError(str(i))
        done.append(i)

    with pytest.raises(ZeroDivisionError, match="3"):
        device.run(task, 10_000)
    assert len(done) < 10_000
    device.run(lambda i, _: done.append(-1), 4)
    assert done[-4:] == [-1] * 4
    device.run(task, 0)


def test_many_threads_read_one_array(store: Store) -> None:
    values = np.arange(6000, dtype="i4").reshape(60, 100)
    z = gpuzarr.create_array(store, shape=(60, 100), chunks=(7, 9), shards=(14, 18), dtype="i4")
    z[...] = values
    z = gpuzarr.open_array(store)
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            low, high = sorted(rng.integers(0, 61, 2))
            rows = rng.integers(0, 60, 5)
            if not same(z[low:high], values[low:high]) or not same(z.oindex[rows, ::3], values[rows, ::3]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- what it costs


def test_a_huge_array_is_as_quick_as_a_small_one(store: Store) -> None:
    shape = (2**50, 2**45, 3)
    z = gpuzarr.create_array(store, shape=shape, chunks=(1, 2, 3), dtype="u1")
    z[2**49, 2**44 : 2**44 + 3] = 5
    again = gpuzarr.open_array(store)
    assert again[2**49, 2**44 - 1 : 2**44 + 4, 1].tolist() == [0, 5, 5, 5, 0]
    assert again.nchunks == 2**50 * 2**44
    assert again.lazy[::-1][2**49 - 1].shape == shape[1:]
    assert again.vindex[[0, 2**49], [0, 2**44], [0, 0]].tolist() == [0, 5]
    assert again.nchunks_initialized == 2
    assert "2" in str(again.info)


def test_one_point_of_a_large_plain_chunk_does_not_read_it(tmp_path: Path) -> None:
    counting = CountingStore(LocalStore(tmp_path))
    z = gpuzarr.create_array(counting, shape=(1 << 20,), chunks=(1 << 19,), dtype="u1", compressors=None)
    z[...] = 7
    counting.reset()
    assert z[5:9].tolist() == [7] * 4
    assert counting.bytes_read <= 4


def test_a_few_inner_chunks_do_not_read_the_shard(tmp_path: Path) -> None:
    counting = CountingStore(LocalStore(tmp_path))
    z = gpuzarr.create_array(
        counting, shape=(1 << 20,), chunks=(1 << 10,), shards=(1 << 20,), dtype="u1", compressors=None
    )
    z[...] = np.arange(1 << 20) % 251
    z = gpuzarr.open_array(counting)
    counting.reset()
    assert z[5000] == 5000 % 251
    index = 16 * 1024 + 4
    assert index < counting.bytes_read <= index + 1024
    counting.reset()
    assert z[5001] == 5001 % 251  # the index is kept
    assert counting.bytes_read <= 1024


def test_the_checksum_of_an_object_is_checked_by_zlib_too() -> None:
    objects: dict[str, Any] = {}
    z = gpuzarr.create_array(
        objects, shape=(4,), chunks=(4,), dtype="i4", zarr_format=2, compressors={"id": "zlib", "level": 1}
    )
    stream = bytearray(zlib.compress(b"\1" * 16))
    stream[-1] ^= 1
    objects["0"] = bytes(stream)
    with pytest.raises(CorruptChunkError, match="zlib"):
        z[...]


@pytest.mark.parametrize("chunks", [(2000,), [[10, 1990]], [[1990, 10]]], ids=str)
@pytest.mark.parametrize("shards", [False, True])
def test_a_chunk_beyond_the_limit_is_refused_and_the_others_read(store: Store, chunks: Any, shards: bool) -> None:
    more = {"shards": (4000,)} if shards and chunks == (2000,) else {}
    shape: dict[str, Any] = {"shape": (2000,), "chunks": chunks, **more}
    z = gpuzarr.create_array(store, dtype="u1", compressors=None, fill_value=3, **shape)
    with gpuzarr.config.set({"array.max_chunk_bytes": 1000}):
        assert gpuzarr.open_array(store)[...].tolist() == [3] * 2000
    z.with_config({"write_empty_chunks": True})[...] = 1
    with gpuzarr.config.set({"array.max_chunk_bytes": 1000}):
        limited = gpuzarr.open_array(store)
        for handle in (limited, limited.with_cache(1 << 20)):
            with pytest.raises(LimitError, match="max_chunk_bytes"):
                handle[...]
            if isinstance(chunks, list):
                low = 0 if chunks[0][0] == 10 else 1990
                assert handle[low : low + 10].tolist() == [1] * 10
    assert gpuzarr.open_array(store)[...].tolist() == [1] * 2000


def test_chunks_that_differ_in_size_are_fetched_by_the_largest(tmp_path: Path) -> None:
    z = gpuzarr.create_array(tmp_path, shape=(80 << 20,), chunks=[[1, (80 << 20) - 1]], dtype="u1", compressors=None)
    z[5 : 80 << 20 : 1 << 20] = 9
    assert z[4:7].tolist() == [0, 9, 0]
    assert int(z[...].sum()) == 9 * 80
