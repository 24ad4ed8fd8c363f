"""What may be given as a store; adapters, wrappers, synchronizers."""

from __future__ import annotations

import asyncio
import io
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import gpuzarr.storage.zarr_python
from gpuzarr.errors import (
    KeyValidationError,
    LockTimeoutError,
    MissingPackageError,
    ReadOnlyError,
    ShortReadError,
    StoreError,
    StoreReadError,
    StoreWriteError,
)
from gpuzarr.storage import (
    CountingStore,
    FsspecStore,
    LocalStore,
    LoggingStore,
    ManagedMemoryStore,
    MappingStore,
    MemoryStore,
    ReadOnlyStore,
    Span,
    StorePath,
    WrapperStore,
    ZarrPythonStore,
    ZipStore,
    open_store,
)
from gpuzarr.storage.event_loop import run
from gpuzarr.sync import ProcessSynchronizer, ThreadSynchronizer

# ---- what may be given


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "a.zarr"
    for value in (root, str(root), f"file://{root}", f"local://{root}"):
        store, path = open_store(value)
        assert store == LocalStore(root)
        assert path == ""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/a.zarr")[0] == LocalStore(root)
    assert open_store("a b/c:d.zarr")[0] == LocalStore("a b/c:d.zarr")
    assert not root.exists()


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with open_store(path, mode="w")[0] as store:
        assert isinstance(store, ZipStore)
        store.set("k", b"1")
    with open_store(str(path))[0] as store:
        store.set("l", b"2")
    with open_store(f"file://{path}", mode="r")[0] as store:
        assert isinstance(store, ZipStore)
        assert store.read_only
        assert sorted(store.list()) == ["k", "l"]
    with pytest.raises(FileExistsError):
        open_store(path, mode="w-")
    with pytest.raises(FileNotFoundError):
        open_store(tmp_path / "none.zip", mode="r")
    (tmp_path / "directory.zip").mkdir()
    assert isinstance(open_store(tmp_path / "directory.zip")[0], LocalStore)


def test_urls() -> None:
    name = uuid4().hex
    store, path = open_store(f"memory://{name}", mode="r", storage_options={"skip_instance_cache": True})
    assert isinstance(store, FsspecStore)
    assert store.read_only
    assert path == ""
    with pytest.raises(TypeError, match="storage_options"):
        open_store("a.zarr", storage_options={"anon": True})
    with pytest.raises(ValueError, match="nosuchprotocol"):
        open_store("nosuchprotocol://x")


def test_mappings() -> None:
    objects: dict[str, bytes] = {}
    store = open_store(objects)[0]
    store.set("k", b"1")
    assert isinstance(store, MemoryStore)
    assert objects == {"k": b"1"}
    frozen = open_store(MappingProxyType(objects))[0]
    assert isinstance(frozen, MappingStore)
    assert frozen.read_only
    assert frozen.get("k") == b"1"
    assert isinstance(open_store(None)[0], MemoryStore)
    assert open_store(None)[0] != open_store(None)[0]


def test_filesystems(tmp_path: Path) -> None:
    name = uuid4().hex
    store = open_store(fsspec.get_mapper(f"memory://{name}"))[0]
    assert store == FsspecStore.from_url(f"memory://{name}")
    assert open_store(fsspec.get_mapper(str(tmp_path)))[0] == LocalStore(tmp_path)
    assert isinstance(open_store(fsspec.filesystem("memory"))[0], FsspecStore)
    upath = SimpleNamespace(fs=fsspec.filesystem("memory"), path=f"/{name}", protocol="memory")
    assert open_store(upath)[0] == FsspecStore.from_upath(upath) == store
    upath = SimpleNamespace(fs=fsspec.filesystem("file"), path=str(tmp_path), protocol="")
    assert open_store(upath)[0] == LocalStore(tmp_path)


def test_a_real_upath(tmp_path: Path) -> None:
    UPath = pytest.importorskip("upath").UPath
    assert open_store(UPath(tmp_path))[0] == LocalStore(tmp_path)
    assert isinstance(open_store(UPath("memory://x"))[0], FsspecStore)


@pytest.fixture
def fresh_fsspec() -> Iterator[None]:
    """fsspec, as if no scheme had been asked for yet."""
    known = import_module("fsspec.registry")._registry
    before = dict(known)
    known.clear()
    yield
    known.clear()
    known.update(before)


@pytest.mark.usefixtures("fresh_fsspec")
@pytest.mark.parametrize("scheme", ["az", "abfs"])
def test_azure_is_asked_through_adlfs(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package has a service of Azure's to test with, so the filesystem is one in memory under adlfs's name."""
    told: list[dict[str, Any]] = []

    class AzureBlobFileSystem(MemoryFileSystem):
        protocol = ("abfs", "az", "abfss")
        cachable = False

        def __init__(self, account_name: str, **more: Any) -> None:
            told.append({"account_name": account_name, **more})
            super().__init__()

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.partition("://")[2] or path)

    monkeypatch.setitem(sys.modules, "adlfs", SimpleNamespace(AzureBlobFileSystem=AzureBlobFileSystem))
    url, options = f"{scheme}://container/{uuid4().hex}/a.zarr", {"account_name": "me", "anon": True}
    made = gpuzarr.create_array(url, shape=(6,), chunks=(4,), dtype="i4", storage_options=options)
    made[:] = np.arange(6)
    assert told
    assert all(one == options for one in told)
    assert gpuzarr.open_array(url, mode="r", storage_options=options)[:].tolist() == list(range(6))


@pytest.mark.usefixtures("fresh_fsspec")
@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("az://container/x", "adlfs", "azure"),
        ("abfs://container@account.dfs.core.windows.net/x", "adlfs", "azure"),
        ("s3://bucket/x", "s3fs", "s3"),
        ("gs://bucket/x", "gcsfs", "gcs"),
        ("https://example.org/x", "aiohttp", "http"),
    ],
)
def test_a_package_that_is_not_there_is_named(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    with pytest.raises(MissingPackageError, match=rf"pip install 'gpuzarr\[{extra}\]'") as caught:
        gpuzarr.open_array(url, mode="r")
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == package


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        gpuzarr.open_array("nosuch://x/y", mode="r")


def test_stores_and_modes() -> None:
    store = MemoryStore()
    assert open_store(store) == (store, "")
    assert open_store(StorePath(store, "/a/b/"), mode="r+") == (store, "a/b")
    view = open_store(store, mode="r")[0]
    assert view.read_only
    assert not store.read_only
    assert open_store(view, mode="a")[0] is view
    for mode in ("r+", "w", "w-"):
        with pytest.raises(ReadOnlyError, match="read-only"):
            open_store(view, mode=mode)
    with pytest.raises(ValueError, match="mode"):
        open_store(store, mode="rw")


@pytest.mark.parametrize("value", [1, 1.5, b"path", ["a"], object(), io.BytesIO()])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"path|store"):
        open_store(value)


def test_store_path() -> None:
    store = MemoryStore()
    place = StorePath(store) / "a" / "/b/"
    assert place == StorePath(store, "a/b")
    assert len({place, StorePath(store, "a/b")}) == 1
    assert str(place) == f"{store}/a/b"
    assert repr(place) == f"StorePath({store!r}, 'a/b')"
    assert not place.read_only
    assert place.get() is None
    assert not place.exists()
    place.set(b"1")
    assert store.get("a/b") == place.get() == b"1"
    place.delete()
    assert not place.exists()
    with pytest.raises(KeyValidationError):
        place / ".."
    with pytest.raises(KeyValidationError):
        StorePath(store).get()


def test_managed_memory_lives_as_long_as_a_store() -> None:
    name = uuid4().hex
    store = ManagedMemoryStore(name)
    store.set("k", b"1")
    twin = pickle.loads(pickle.dumps(store))
    assert twin == store == store.with_read_only()
    assert str(twin) == f"memory://{name}"
    del store
    assert twin.get("k") == b"1"
    del twin
    assert ManagedMemoryStore(name).get("k") is None


# ---- mappings


class Broken(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise ConnectionError("no answer")

    def __setitem__(self, key: str, value: Any) -> None:
        raise ConnectionError("no answer")


def test_a_mapping_that_fails_is_not_empty() -> None:
    store = MappingStore(Broken())
    with pytest.raises(StoreReadError, match=r"'k'.*no answer"):
        store.get("k")
    with pytest.raises(StoreWriteError, match=r"'k'.*no answer"):
        store.set("k", b"")


@pytest.mark.parametrize("make", [MemoryStore, MappingStore])
def test_values_of_a_mapping(make: Callable[[Mapping[str, Any]], MemoryStore | MappingStore]) -> None:
    buffer = SimpleNamespace(to_bytes=lambda: b"from zarr-python")
    store = make({"a": bytearray(b"1"), "b": memoryview(b"2"), "c": buffer, "d": 5, "e": "text", "../f": b""})
    assert [store.get(key) for key in "abc"] == [b"1", b"2", b"from zarr-python"]
    assert all(type(store.get(key)) is bytes for key in "abc")
    for key in "de":
        with pytest.raises(StoreReadError, match=f"'{key}' holds"):
            store.get(key)


# ---- zarr-python's stores


class Duck:
    """The asynchronous methods of a zarr-python store, without zarr-python."""

    read_only = False

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.short = False
        self.failure: Exception | None = None

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if self.failure is not None:
            raise self.failure
        value = self.objects.get(key)
        if value is None:
            return None
        if byte_range is not None:
            value = value[byte_range.start : byte_range.end]
        return prototype.buffer.from_bytes(value[:-1] if self.short else value)

    async def set(self, key: str, value: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.objects[key] = value.to_bytes()

    async def delete(self, key: str) -> None:
        del self.objects[key]

    async def exists(self, key: str) -> bool:
        return key in self.objects

    async def list(self) -> AsyncIterator[str]:
        for key in self.objects:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in self.objects:
            if key.startswith(prefix.rstrip("/")):  # as carelessly as some do
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        for key in self.objects:
            yield key

    def close(self) -> None:
        self.objects.clear()


def test_a_duck_is_a_store() -> None:
    duck = Duck()
    store, path = open_store(duck)
    assert isinstance(store, ZarrPythonStore)
    assert path == ""
    store.set("foo/k", b"abc")
    store.set("foobar/k", b"defg")
    assert store.get_many(["foo/k", "none", "foobar/k"]) == [b"abc", None, b"defg"]
    assert store.get_many([]) == []
    assert store.size("foobar/k") == 4
    assert list(store.list("foo")) == ["foo/k"]
    pieces = store.get_ranges("foo/k", [Span(1, 2), Span(-2, None)])
    assert pieces is not None
    assert pieces.buffers == [b"b", b"bc"]
    assert store.set_if_absent("new", b"")
    assert not store.set_if_absent("new", b"")
    store.delete("new")
    assert sorted(duck.objects) == ["foo/k", "foobar/k"]
    view = open_store(duck, mode="r")[0]
    with pytest.raises(ReadOnlyError):
        view.set("k", b"")
    store.close()
    assert duck.objects == {}


def test_a_place_in_a_duck() -> None:
    duck = Duck()
    store, path = open_store(SimpleNamespace(store=duck, path="a/b"))
    assert store == ZarrPythonStore(duck)
    assert path == "a/b"


def test_a_duck_that_fails() -> None:
    duck = Duck()
    store = ZarrPythonStore(duck, timeout=30)
    store.set("k", b"abc")
    duck.short = True
    with pytest.raises(ShortReadError, match=r"'k'.*expected 2 bytes.*got 1"):
        store.get_ranges("k", [Span(0, 2)])
    duck.failure = TimeoutError("its own")
    with pytest.raises(StoreReadError, match=r"'k'.*its own"):
        store.get("k")
    with pytest.raises(StoreWriteError, match="'k'"):
        store.set("k", b"")


def test_a_duck_that_never_answers() -> None:
    async def wait() -> None:
        import asyncio

        await asyncio.sleep(60)

    with pytest.raises(StoreError, match=r"0\.05 s"):
        run(wait(), 0.05)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_duck_after_a_fork() -> None:
    store = ZarrPythonStore(Duck(), timeout=20)
    store.set("k", b"abc")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if store.get("k") == b"abc" else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("k") == b"abc"


@pytest.mark.judge
def test_zarr_pythons_own_stores(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    theirs = zarr.storage.MemoryStore()
    zarr.create_array(theirs, name="a", shape=(4,), chunks=(2,), dtype="u1", compressors=None)[:] = 7
    store, path = open_store(zarr.storage.StorePath(theirs, "a"))
    assert isinstance(store, ZarrPythonStore)
    assert path == "a"
    assert store.get("a/c/0") == b"\7\7"
    assert sorted(store.list_dir("a")) == ["c", "zarr.json"]
    with pytest.raises(ReadOnlyError):
        ZarrPythonStore(zarr.storage.LocalStore(tmp_path, read_only=True)).set("k", b"")
    for read_only in (False, True):
        local = open_store(zarr.storage.LocalStore(tmp_path, read_only=read_only))[0]
        assert local == LocalStore(tmp_path)
        assert local.read_only == read_only
    again = open_store(theirs, mode="r")[0].with_read_only(False)
    again.set("a/c/1", b"\1\2")
    assert zarr.open_array(theirs, path="a", mode="r")[:].tolist() == [7, 7, 1, 2]
    shared = theirs._store_dict  # a dict of zarr-python buffers, as users pass it about
    assert MemoryStore(shared).get("a/c/0") == b"\7\7"


@pytest.mark.judge
def test_what_zarr_python_has_in_memory_is_read_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    theirs = zarr.storage.MemoryStore()
    array = zarr.create_array(theirs, shape=(8,), chunks=(4,), dtype="u1", compressors=None)
    array[:] = np.arange(8)
    store = ZarrPythonStore(theirs)
    monkeypatch.setattr(gpuzarr.storage.zarr_python, "run", None)  # no event loop is needed
    first, second = store.get_many(["c/0", "c/1"])
    assert np.shares_memory(np.frombuffer(first, "u1"), theirs._store_dict["c/0"].as_numpy_array())
    assert memoryview(first).readonly
    assert (bytes(first), bytes(second)) == (bytes(range(4)), bytes(range(4, 8)))
    pieces = store.get_ranges("c/1", [Span(1, 3)])
    assert pieces is not None
    assert bytes(pieces.buffers[0]) == b"\5\6"
    assert store.get("c/2") is None
    monkeypatch.setattr(type(theirs), "get", _refusing)
    with pytest.raises(StoreReadError, match=r"'c/0'.*off"):
        store.get("c/0")


async def _refusing(*_: Any, **__: Any) -> Any:
    raise OSError("off")


@pytest.mark.judge
def test_one_that_is_not_open_is_opened_by_the_loop() -> None:
    """As many threads as there are cannot open it twice, which zarr-python has as an error."""
    zarr = pytest.importorskip("zarr")
    buffer = zarr.core.buffer.cpu.Buffer.from_bytes(b"abc")
    theirs = zarr.storage.MemoryStore({"k": buffer})
    assert not theirs._is_open
    store = ZarrPythonStore(theirs)
    assert store.get("k") == b"abc"
    assert theirs._is_open

    class MemoryStore(zarr.storage.MemoryStore):  # somebody else's may well wait
        async def get(self, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            return await super().get(*arguments, **options)

    waiting = MemoryStore({"k": buffer})
    waiting._is_open = True
    assert ZarrPythonStore(waiting).get("k") == b"abc"


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, gpuzarr.storage, gpuzarr.sync;"
        "print(sorted({'fsspec', 'zarr', 'asyncio', 'aiohttp', 'numpy', 'numcodecs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "fsspec" not in done.stdout
    assert "zarr" not in done.stdout
    assert "asyncio" not in done.stdout


# ---- wrappers


def test_read_only_view() -> None:
    store = MemoryStore()
    view = ReadOnlyStore(store)
    assert not view.supports_writes
    with pytest.raises(ReadOnlyError):
        view.set("k", b"")
    with pytest.raises(ReadOnlyError):
        view.lock("k")
    assert view.with_read_only() is view
    assert view.with_read_only(False) == store


def test_counting() -> None:
    store = CountingStore(MemoryStore())
    store.set("a", b"123")
    store.set_many([("b", b"4"), ("c", b"")])
    store.get("a")
    store.get_many(["a", "none"])
    store.read_into(["a", "b"], bytearray(8), 4)
    store.read_parts(["b"], [0], [bytearray(1)])
    store.get_ranges("a", [Span(0, 2)])
    store.get_ranges("none", [Span(0, 2)])
    store.exists("a")
    store.size("a")
    list(store.list())
    store.delete("c")
    assert store.counts == {"set": 3, "get": 5, "get_ranges": 3, "exists": 1, "size": 1, "list": 1, "delete": 1}
    assert (store.bytes_written, store.bytes_read) == (4, 3 + 3 + 4 + 1 + 2)
    assert store.keys[:3] == [("set", "a"), ("set", "b"), ("set", "c")]
    store.reset()
    assert not store.counts
    assert pickle.loads(pickle.dumps(store)).get("a") == b"123"


def test_logging() -> None:
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    store = LoggingStore(MemoryStore(), log_level="INFO", log_handler=Handler())
    store.set("k", b"abc")
    store.get_many(["k", "l"])
    with pytest.raises(KeyValidationError):
        store.get("..")
    assert [line.split(" bytes")[0] for line in lines] == ["INFO set 'k': 3", "INFO get 2 keys: 3"]
    view = store.with_read_only()
    view.get("k")
    assert len(lines) == 3


def test_logging_goes_to_the_root_by_default(caplog: pytest.LogCaptureFixture) -> None:
    LoggingStore(MemoryStore(), log_level=logging.WARNING).set("k", b"abc")
    assert [record.name for record in caplog.records] == ["gpuzarr.storage"]


def test_a_wrapper_of_ones_own() -> None:
    class Upper(WrapperStore):
        def get(self, key: str, *, limit: int | None = None) -> bytes | None:
            value = super().get(key, limit=limit)
            return None if value is None else bytes(value).upper()

    store = Upper(MemoryStore({"k": b"abc"}))
    assert store.get("k") == b"ABC"
    assert store.with_read_only().get("k") == b"ABC"
    assert store == Upper(store._store) != WrapperStore(store._store)


# ---- synchronizers


@pytest.fixture(params=["threads", "processes"])
def synchronizer(request: pytest.FixtureRequest, tmp_path: Path) -> ThreadSynchronizer | ProcessSynchronizer:
    if request.param == "threads":
        return ThreadSynchronizer(timeout=0.05)
    return ProcessSynchronizer(tmp_path / "locks", timeout=0.05)


def test_synchronizer(synchronizer: ThreadSynchronizer | ProcessSynchronizer) -> None:
    with synchronizer["a/0.0"], synchronizer["a/0.1"], pytest.raises(LockTimeoutError), synchronizer["a/0.0"]:
        pass
    with synchronizer["a/0.0"]:
        pass
    twin = pickle.loads(pickle.dumps(synchronizer))
    with twin["a/0.0"]:
        pass


def test_process_synchronizer_leaves_no_files(tmp_path: Path) -> None:
    locks = ProcessSynchronizer(tmp_path / "locks")
    with locks["a/0.0"]:
        assert [path.name for path in (tmp_path / "locks" / "a").iterdir()] == ["0.0.__gzlock"]
    assert list((tmp_path / "locks" / "a").iterdir()) == []
    assert locks == ProcessSynchronizer(str(tmp_path / "locks"))
    assert hash(locks) == hash(ProcessSynchronizer(str(tmp_path / "locks")))
    with pytest.raises(KeyValidationError):
        locks["../a"]


def count_up(locks: ProcessSynchronizer, file: Path, times: int) -> None:
    for _ in range(times):
        with locks["k"]:
            file.write_text(str(int(file.read_text()) + 1))


def test_process_synchronizer_keeps_processes_apart(tmp_path: Path) -> None:
    file = tmp_path / "n"
    file.write_text("0")
    locks = ProcessSynchronizer(tmp_path / "locks")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(locks, file, 50)) for _ in range(2)]
    for worker in workers:
        worker.start()
    threads = [threading.Thread(target=count_up, args=(locks, file, 25)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for worker in [*workers, *threads]:
        worker.join(60)
    assert file.read_text() == "150"
