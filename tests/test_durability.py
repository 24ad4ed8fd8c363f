"""What a failure leaves behind: overwriting, growing, several writers of metadata, and what is waited for."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import BytesCodec, ShardingCodec
from gpuzarr.errors import (
    ConflictError,
    ContainsNodeError,
    CorruptChunkError,
    CorruptShardError,
    EncodeError,
    LockTimeoutError,
    ReadOnlyError,
    StoreWriteError,
)
from gpuzarr.storage import LocalStore, MemoryStore, atomic, beside, local_writing
from gpuzarr.storage.contract import Store
from gpuzarr.storage.wrappers import CountingStore
from tests.faults.faulty_store import Failing
from tests.oracle import same


@pytest.fixture(params=["memory", "local", "wrapped"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    local = LocalStore(tmp_path / "root")
    return CountingStore(local) if request.param == "wrapped" else local


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.name.startswith(".gz-") or path.name.endswith("gzlock")]


# ---- overwriting

CAST = {"name": "cast_value", "configuration": {"data_type": "int8"}}  # refuses what does not fit


@pytest.mark.parametrize("path", ["", "a", "a/b"])
def test_an_overwrite_that_fails_leaves_what_was_there(store: Store, path: str, tmp_path: Path) -> None:
    old = gpuzarr.create_array(store, name=path or None, shape=(6,), chunks=(2,), dtype="i4", attributes={"n": 1})
    old[...] = np.arange(6)
    bad = np.array([1.0, 2.0, 1000.0])
    with pytest.raises(EncodeError):
        gpuzarr.create_array(store, name=path or None, data=bad, chunks=(1,), codecs=[CAST], overwrite=True)
    with pytest.raises(ValueError, match="odd"):
        gpuzarr.create(store=store, path=path, shape=(6,), dtype="i4", overwrite=True, data=_Odd())
    again = gpuzarr.open_array(store, path=path)
    assert again[...].tolist() == list(range(6))
    assert dict(again.attrs) == {"n": 1}
    assert hidden(tmp_path) == []
    new = gpuzarr.create_array(store, name=path or None, data=np.ones((2, 2), "u1"), overwrite=True)
    assert new[...].tolist() == [[1, 1], [1, 1]]
    assert same(gpuzarr.open_array(store, path=path)[...], new[...])
    assert dict(new.attrs) == {}
    assert hidden(tmp_path) == []
    new[0, 0] = 5
    assert gpuzarr.open_array(store, path=path)[0, 0] == 5


class _Odd:
    """Data that cannot be read."""

    shape = (6,)
    dtype = np.dtype("i4")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise ValueError("odd")

    def __getitem__(self, key: Any) -> np.ndarray:
        raise ValueError("odd")


def test_a_group_that_is_not_saved_whole_leaves_the_old_one(store: Store, tmp_path: Path) -> None:
    gpuzarr.save_group(store, a=np.arange(3), b=np.arange(4))
    with pytest.raises(ValueError, match="odd"):
        gpuzarr.save_group(store, a=np.arange(9), c=_Odd())
    loaded = gpuzarr.load(store)
    assert {name: loaded[name].tolist() for name in loaded} == {"a": [0, 1, 2], "b": [0, 1, 2, 3]}
    gpuzarr.save_group(store, c=np.arange(2))
    assert list(gpuzarr.load(store)) == ["c"]
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("why", ["current directory", "parent", "empty", "mount point"])
def test_a_root_that_cannot_change_places_is_emptied(tmp_path: Path, monkeypatch: Any, why: str) -> None:
    root = tmp_path / "root"
    if why == "empty":
        root.mkdir()
    else:
        gpuzarr.save(root, np.arange(5))
    if why == "current directory":
        monkeypatch.chdir(root)
    elif why == "parent":
        monkeypatch.setattr(os, "access", lambda *args, **kwargs: False)
    elif why == "mount point":
        here = os.stat

        def elsewhere(path: Any, **kwargs: Any) -> Any:
            found = here(path, **kwargs)
            return os.stat_result([*found[:2], 12345, *found[3:]]) if path == "." else found

        monkeypatch.setattr(os, "stat", elsewhere)
    monkeypatch.setattr(beside, "replace_directory", None)
    gpuzarr.save_array(root, np.arange(3), mode="w")
    assert gpuzarr.load(root).tolist() == [0, 1, 2]


def test_directories_change_places_without_the_system_call(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(atomic, "exchange", lambda *names: False)
    gpuzarr.save(tmp_path / "a", np.arange(5))
    gpuzarr.save_array(tmp_path / "a", np.arange(3), mode="w")
    assert gpuzarr.load(tmp_path / "a").tolist() == [0, 1, 2]
    rename, calls = os.rename, []

    def second_fails(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(*args, **kwargs)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(StoreWriteError, match="replace"), LocalStore(tmp_path / "a").replacing(""):
        pass
    assert len(calls) == 3
    assert gpuzarr.load(tmp_path / "a").tolist() == [0, 1, 2]
    assert hidden(tmp_path) == []


def test_what_takes_a_place_keeps_its_mode(tmp_path: Path) -> None:
    gpuzarr.save(tmp_path / "a", np.arange(5))
    (tmp_path / "a").chmod(0o750)
    (tmp_path / "link").symlink_to("a")
    gpuzarr.save_array(tmp_path / "link", np.arange(3), mode="w")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "link").is_symlink()
    assert gpuzarr.load(tmp_path / "a").tolist() == [0, 1, 2]


@pytest.mark.parametrize("more", [{}, {"zarr_format": 2}, {"zarr_format": 2, "dimension_separator": "/"}], ids=str)
def test_chunks_without_metadata_are_not_taken_for_those_of_a_new_array(store: Store, more: dict[str, Any]) -> None:
    z = gpuzarr.create(store=store, path="a", shape=(4, 4), chunks=(2, 2), dtype="i4", **more)
    z[...] = 1
    for name in ("zarr.json", ".zarray", ".zattrs"):
        store.delete(f"a/{name}")
    with pytest.raises(ContainsNodeError, match=r"chunks at 'a'.*overwrite"):
        gpuzarr.create(store=store, path="a", shape=(4, 4), chunks=(2, 2), dtype="i4", **more)
    gpuzarr.create_group(store, path="a")
    z = gpuzarr.create(store=store, path="a", shape=(4, 4), chunks=(2, 2), dtype="i4", overwrite=True, **more)
    assert not z[...].any()
    gpuzarr.create_array(store, name="b/c/0", shape=(4,), dtype="i4")
    store.delete("b/zarr.json")
    store.delete("b/c/zarr.json")
    gpuzarr.create_array(store, name="b", shape=(4,), chunks=(2,), dtype="i4")  # "c/0" is an array there, no chunk


# ---- growing

LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"chunks": (4, 3)},
    "format 2": {"chunks": (4, 3), "zarr_format": 2},
    "sharded": {"chunks": (2, 3), "shards": (4, 6)},
    "rectilinear": {"chunks": [[3, 1, 6], [4, 4, 1]]},
}
SHAPE = (10, 9)


def grown(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    out = np.full(shape, -1, "i4")
    common = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, shape, strict=True))
    out[common] = values[common]
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("change", ["shrink", "append"])
def test_growing_never_shows_what_a_failure_left(layout: str, change: str) -> None:
    values = np.arange(90, dtype="i4").reshape(SHAPE)
    for good in range(100):
        for more in ((11, 9), (10, 10), (20, 20), *[(300, 301)] * (good == 3)):
            z = gpuzarr.create_array({}, shape=SHAPE, dtype="i4", fill_value=-1, **LAYOUTS[layout])
            z[...] = values
            failing = gpuzarr.open_array(Failing(z.store, good))
            try:
                failing.resize(5, 4) if change == "shrink" else failing.append(np.full((7, 9), 7, "i4"))
            except StoreWriteError:
                done = False
            else:
                done = True
            z.refresh()
            want = grown(z[...], more)
            z.resize(more)
            assert same(z[...], want), (good, more)
            z.resize(40, 9)
            assert z.append(np.full((1, 9), 3, "i4")) == (41, 9)
            assert same(z[...], np.concatenate([grown(want, (40, 9)), np.full((1, 9), 3, "i4")])), (good, more)
        if done:
            break
    assert 2 < good < 30


def test_growing_looks_at_the_boundary_only() -> None:
    store = CountingStore(MemoryStore())
    z = gpuzarr.create_array(store, shape=(8, 8), chunks=(4, 4), dtype="i4")
    z[...] = 1
    store.reset()
    z.resize(12, 8)  # the boundary is one of chunks: nothing to look at but what is new
    assert store.counts == {"get": 1, "delete": 2, "set": 1}
    z.resize(13, 8)
    store.reset()
    z.resize(14, 8)
    assert store.counts == {"get": 3, "set": 1}


# ---- several writers


def test_changes_of_attributes_by_two_handles_both_stand(store: Store) -> None:
    for make in (gpuzarr.create_group, lambda *a, **k: gpuzarr.create_array(*a, shape=(4,), dtype="i4", **k)):
        for form in (2, 3):
            one = make(store, overwrite=True, zarr_format=form, attributes={"a": 1})
            two = gpuzarr.open(store)
            one.attrs["b"] = 2
            two.attrs["c"] = 3
            assert dict(two.attrs) == {"a": 1, "b": 2, "c": 3}
            del one.attrs["a"]
            two.attrs.update(d=4)
            assert dict(gpuzarr.open(store).attrs) == {"b": 2, "c": 3, "d": 4}
            one.attrs.put({"e": 5})
            assert dict(gpuzarr.open(store).attrs) == {"e": 5}


def test_a_stale_handle_does_not_take_back_a_new_shape(store: Store) -> None:
    z = gpuzarr.create_array(store, shape=(4,), chunks=(2,), dtype="i4")
    stale = gpuzarr.open_array(store)
    z.append(np.ones(3, "i4"))
    stale.attrs["a"] = 1
    assert stale.shape == (4,)
    assert gpuzarr.open_array(store).shape == (7,)
    with pytest.raises(ConflictError, match=r"shape \(7,\).*refresh"):
        stale.append(np.zeros(2, "i4"))
    with pytest.raises(ConflictError):
        stale.resize(3)
    assert gpuzarr.open_array(store)[...].tolist() == [0, 0, 0, 0, 1, 1, 1]
    stale.refresh().append(np.full(2, 2, "i4"))
    assert gpuzarr.open_array(store)[...].tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2]


def test_of_appends_at_once_none_is_lost(store: Store) -> None:
    gpuzarr.create_array(store, shape=(0,), chunks=(5,), dtype="i4")
    conflicts = []

    def work(worker: int) -> None:
        mine = gpuzarr.open_array(store)
        for i in range(8):
            while True:
                try:
                    mine.append(np.full(3, 100 * worker + i, "i4"))
                    break
                except ConflictError:
                    conflicts.append(worker)
                    mine.refresh()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    found = gpuzarr.open_array(store)[...].reshape(-1, 3)
    assert sorted(found[:, 0].tolist()) == sorted(100 * w + i for w in range(4) for i in range(8))
    assert (found == found[:, :1]).all()


def test_a_synchronizer_with_one_lock_for_all_does_not_wait_for_itself(store: Store) -> None:
    class One:
        lock = threading.Lock()

        def __getitem__(self, key: str) -> Any:
            assert self.lock.acquire(timeout=5), "it waits for itself"
            return closing(SimpleNamespace(close=self.lock.release))

    z = gpuzarr.create_array(store, shape=(5,), chunks=(4,), dtype="i4", synchronizer=One())
    z.append(np.ones(2, "i4"))
    z.resize(6)
    z.resize(9)
    z.attrs["a"] = 1
    assert z[...].tolist() == [0] * 5 + [1] + [0] * 3


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_the_synchronizers_that_are_here_keep_appends_apart(tmp_path: Path, kind: str) -> None:
    class Blind(MemoryStore):
        """Whose own locks are of no use, as those of a store that other machines share."""

        def lock(self, key: str, *, timeout: float = 60.0) -> Any:
            return nullcontext()

    store = Blind()
    synchronizer: Any = gpuzarr.ThreadSynchronizer()
    if kind == "process":
        synchronizer = gpuzarr.ProcessSynchronizer(tmp_path / "locks")
    z = gpuzarr.create_array(store, shape=(0,), chunks=(5,), dtype="i4", synchronizer=synchronizer)

    def work(worker: int) -> None:
        mine = gpuzarr.open_array(store, synchronizer=synchronizer)
        for _ in range(10):
            while True:
                try:
                    mine.append(np.full(3, worker, "i4"))
                    break
                except ConflictError:
                    mine.refresh()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
    assert np.bincount(z.refresh()[...], minlength=3).tolist() == [30, 30, 30]


def test_what_was_removed_cannot_be_changed(store: Store) -> None:
    root = gpuzarr.open_group(store, mode="w")
    z = root.create_array("a", shape=(4,), dtype="i4")
    del root["a"]
    for change in (lambda: z.attrs.update(b=1), lambda: z.append(np.zeros(1)), lambda: z.resize(9)):
        with pytest.raises(ConflictError, match="removed"):
            change()
    assert "a" not in root


def test_metadata_wait_for_a_deadline(store: Store) -> None:
    with gpuzarr.config.set({"array.lock_timeout": 0.02}):
        z = gpuzarr.create_array(store, shape=(4,), dtype="i4")
    with store.lock("zarr.json"), pytest.raises(LockTimeoutError):
        z.append(np.zeros(1, "i4"))
    assert z.append(np.zeros(1, "i4")) == (5,)


# ---- shards


def damaged(store: Store, location: str = "end") -> gpuzarr.Array:
    """A shard of six inner chunks of which 1 lies outside, 2 is half absent, and 3 and 4 overlap."""
    sharding = ShardingCodec(
        chunk_shape=(2,), codecs=[BytesCodec()], index_codecs=[BytesCodec()], index_location=location
    )
    z = gpuzarr.create_array(store, shape=(12,), chunks=(12,), dtype="<u2", serializer=sharding, compressors=None)
    z[...] = np.arange(1, 13)
    shard = bytearray(store.get("c/0"))  # type: ignore[arg-type]
    start = 0 if location == "start" else 24
    index = np.frombuffer(shard, "<u8", 12, start).copy()
    index[2], index[5], index[6] = 10**6, 2**64 - 1, index[8] - np.uint64(1)
    shard[start : start + 96] = index.tobytes()
    store.set("c/0", bytes(shard))
    return gpuzarr.open_array(store)


@pytest.mark.parametrize("location", ["start", "end"])
def test_a_wrong_index_entry_harms_no_neighbour(location: str) -> None:
    z = damaged(MemoryStore(), location)
    assert z[:2].tolist() == [1, 2]
    assert z[10:].tolist() == [11, 12]
    for i in (2, 5, 6, 9):
        with pytest.raises(CorruptShardError, match="inner chunk"):
            z[i]
    with pytest.raises(CorruptShardError):
        z[...]
    z[0] = 50  # rewrites the shard; the lost ones stay lost
    z[10:] = 60
    again = gpuzarr.open_array(z.store)
    assert again[:2].tolist() == [50, 2]
    for i in (2, 5, 6, 9):
        with pytest.raises(CorruptShardError, match="inner chunk"):
            again[i]
    with pytest.raises(CorruptShardError, match="inner chunk"):
        z[2] = 1  # what cannot be read cannot be merged
    z[2:10] = 7  # but replaced
    assert gpuzarr.open_array(z.store)[...].tolist() == [50, 2, *[7] * 8, 60, 60]


def test_chunks_that_overlap_are_found_however_far_apart_they_are() -> None:
    sharding = ShardingCodec(chunk_shape=(1,), codecs=[BytesCodec()], index_codecs=[BytesCodec()])
    table = np.array([[0, 100], [10, 5], [30, 5], [100, 5], [200, 8], [200, 8], [204, 1], [50, 0]], "<u8")
    _, wrong = sharding.survey_index(table.tobytes(), (8,), 300 + 128)
    assert wrong.tolist() == [True, True, True, False, True, True, True, False]


def test_a_shard_with_a_wrong_index_is_not_stored(monkeypatch: Any) -> None:
    store = MemoryStore()
    z = gpuzarr.create_array(store, shape=(8,), chunks=(2,), shards=(8,), dtype="i4")
    z[...] = 1
    build = ShardingCodec.build_shard
    for wrong in (
        lambda shard: [b"x", *shard],
        lambda shard: [bytes(shard[0])[1:], *shard[1:]],
        lambda shard: [*shard[:-1], bytes(shard[-1])[:-1] + b"\0"],
    ):
        monkeypatch.setattr(ShardingCodec, "build_shard", lambda *args, wrong=wrong: wrong(build(*args)))
        with pytest.raises(CorruptChunkError):
            z[...] = 2 + np.arange(8)
        assert z[...].tolist() == [1] * 8


# ---- what is waited for


@pytest.fixture
def calls(monkeypatch: Any) -> list[str]:
    made: list[str] = []
    fsync, sweep = os.fsync, local_writing.sync_file_system

    def noted(descriptor: int) -> None:
        made.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def swept(descriptor: int) -> None:
        made.append("sweep")
        sweep(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(local_writing, "sync_file_system", swept)
    return made


BOTH = ["file", "directory"]
WAITS: dict[str, list[list[str]]] = {  # by making an array, writing two chunks, appending one, closing
    "rename": [["file"], [], ["file"], []],
    "batch": [BOTH, [], ["sweep", *BOTH], ["sweep"]],
    "fsync": [["directory", *BOTH], ["directory", *BOTH * 2], BOTH * 2, []],
}


@pytest.mark.parametrize("durability", WAITS)
def test_what_is_waited_for(tmp_path: Path, calls: list[str], durability: Any) -> None:
    found = []
    with LocalStore(tmp_path / "a", durability=durability) as store:
        z = gpuzarr.create_array(store, shape=(4,), chunks=(2,), dtype="i4")
        found.append([*calls])
        z[...] = 1
        found.append([*calls])
        z.append(np.ones(2, "i4"))
        found.append([*calls])
    found.append([*calls])
    steps = [now[len(before) :] for before, now in zip([[], *found], found, strict=False)]
    assert steps == WAITS[durability]


def test_what_is_deleted_is_waited_for(tmp_path: Path, calls: list[str]) -> None:
    store = LocalStore(tmp_path / "a", durability="fsync")
    z = gpuzarr.create_array(store, shape=(4,), chunks=(4,), dtype="i4")
    z[...] = 1
    calls.clear()
    z[...] = 0
    assert calls == ["directory"]


def test_words_for_durability_and_locking(tmp_path: Path) -> None:
    for wrong in ({"durability": "none"}, {"locking": "none"}):
        with pytest.raises(ValueError, match="none"):
            LocalStore(tmp_path, **wrong)  # type: ignore[arg-type]
    store = LocalStore(tmp_path, durability="batch", locking="threads").with_read_only()
    assert (store.durability, store.locking) == ("batch", "threads")
    with LocalStore(tmp_path, locking="threads").lock("k"):
        assert hidden(tmp_path) == []
        with pytest.raises(LockTimeoutError), LocalStore(tmp_path, locking="threads").lock("k", timeout=0.01):
            pass


# ---- leftovers


def test_leftovers_of_the_dead_are_told_from_those_of_the_living(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.set("a/c/0", b"1")
    mine = atomic.temporary_name()
    child = os.fork()
    if not child:
        (tmp_path / "a" / atomic.temporary_name()).write_bytes(b"12")
        (tmp_path / atomic.temporary_name()).mkdir()
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / mine).write_bytes(b"123")
    for name, age in ((".gz-00000000-1-000000000000.tmp", 7200), (".gz-odd", 7200), (".gz-new", 0)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (os.stat(tmp_path).st_mtime - age,) * 2)
    (tmp_path / "a" / "c" / "1.__gzlock").touch()
    with store.lock("a/c/2"):
        found = {each.name: each for each in store.leftovers()}
        assert {name for name, each in found.items() if not each.dead} == {mine, ".gz-new", "a/c/2.__gzlock"}
        assert sorted((each.kind, each.nbytes) for each in found.values() if each.dead) == [
            ("lock", 0),
            ("temporary", 0),
            ("temporary", 0),
            ("temporary", 0),
            ("temporary", 2),
        ]
        assert [each.kind for each in store.leftovers("a")].count("temporary") == 1
        assert list(store.leftovers("nothing")) == []
        for each in found.values():
            if each.dead:
                store.remove_leftover(each)
        with pytest.raises(LockTimeoutError):
            store.remove_leftover(found["a/c/2.__gzlock"])
    left = sorted(each.name for each in store.leftovers())
    assert left == sorted([mine, ".gz-new"])
    assert list(store.list()) == ["a/c/0"]


def test_a_file_system_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z = gpuzarr.create_array(LocalStore(tmp_path), shape=(4,), chunks=(4,), dtype="i4")

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", none)
    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(StoreWriteError, match=r"No locks available.*`locking`"):
        z[0] = 1
    gpuzarr.open_array(LocalStore(tmp_path, locking="threads"))[0] = 1
    assert z[0] == 1


def test_a_member_is_forgotten_before_it_is_deleted() -> None:
    for good in range(10):
        store = MemoryStore()
        for name in ("a", "b"):
            gpuzarr.create_array(store, name=name, shape=(4,), dtype="i4")[...] = 1
        gpuzarr.consolidate_metadata(store)
        group = gpuzarr.open_group(Failing(store, good))
        try:
            del group["a"]
        except StoreWriteError:
            now = gpuzarr.open_group(store)
            assert "a" not in now or now["a"][...].tolist() == [1] * 4
        else:
            break
    assert sorted(gpuzarr.open_group(store)) == ["b"]
    assert good > 2


class Swapping(MemoryStore):
    """Compares and swaps, and has no locks; `meddle` is called once, when an update has begun."""

    swaps = True
    meddle: Any = None

    def lock(self, key: str, *, timeout: float = 60.0) -> Any:
        return nullcontext()

    def update(self, key: str, change: Any, **more: Any) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        self.set(key, change(self.get(key)))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_that_swaps_loses_no_change_of_metadata(zarr_format: Any) -> None:
    store = Swapping()
    gpuzarr.create_array(store, shape=(4,), chunks=(2,), dtype="i4", zarr_format=zarr_format)
    one, two = gpuzarr.open_array(store), gpuzarr.open_array(store)
    store.meddle = lambda: two.attrs.update(b=2)
    one.attrs["a"] = 1
    assert dict(gpuzarr.open_array(store).attrs) == {"a": 1, "b": 2}
    store.meddle = lambda: two.append(np.ones(2, "i4"))
    with pytest.raises(ConflictError, match="at this moment"):
        one.resize(3)
    assert gpuzarr.open_array(store)[...].tolist() == [0, 0, 0, 0, 1, 1]
    assert one.shape == (4,)
    one.refresh().resize(3)
    assert gpuzarr.open_array(store).shape == (3,)


def test_a_store_that_swaps_gives_up_when_others_are_always_quicker() -> None:
    store = Swapping()
    z = gpuzarr.create_array(store, shape=(4,), dtype="i4")
    other = gpuzarr.open_array(store)
    count = iter(range(1000))

    def again() -> None:
        other.attrs["n"] = next(count)
        store.meddle = again

    store.meddle = again
    with pytest.raises(ConflictError, match="at this moment"):
        z.attrs["a"] = 1
    store.meddle = None
    assert "a" not in gpuzarr.open_array(store).attrs


@pytest.mark.parametrize("durability", ["rename", "batch", "fsync"])
def test_a_directory_is_moved_in_one_step(tmp_path: Path, durability: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path, durability=durability)
    gpuzarr.create_array(store, name="a/z", shape=(4,), chunks=(2,), dtype="i4")[...] = 1
    group = gpuzarr.open_group(store)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "set", None)
        assert store.move("a/z", "b")
    group.move("b", "c/d/e")
    assert gpuzarr.open_array(store, path="c/d/e")[...].tolist() == [1] * 4
    assert sorted(store.list()) == sorted(
        [
            "zarr.json",
            "a/zarr.json",
            "c/zarr.json",
            "c/d/zarr.json",
            *(f"c/d/e/{key}" for key in ("zarr.json", "c/0", "c/1")),
        ]
    )
    store.set("full/k", b"1")
    assert not store.move("c", "full")
    assert store.exists("c/d/e/zarr.json")
    with pytest.raises(StoreWriteError, match="move 'nothing'"):
        store.move("nothing", "x")
    with pytest.raises(ReadOnlyError):
        store.with_read_only().move("c", "x")
