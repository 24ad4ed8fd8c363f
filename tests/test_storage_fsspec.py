"""FsspecStore: what filesystems do to one, and a real HTTP server where aiohttp is installed."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from gpuzarr.errors import ObjectChangedError, ShortReadError, StoreReadError, StoreWriteError
from gpuzarr.storage import FsspecStore, Span


class StrangeFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A filesystem that misbehaves as told."""

    protocol = "strange"
    cachable = False
    store: dict[str, Any] = {}  # noqa: RUF012  a class attribute in fsspec
    pseudo_dirs = [""]  # noqa: RUF012
    whole = short = vanish = False
    failure: Exception | None = None

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        if self.failure is not None:
            raise self.failure
        data: bytes = super().cat_file(path, None if self.whole else start, None if self.whole else end)
        if self.vanish:
            self.rm_file(path)
        return data[:-1] if self.short else data

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        return {**super().info(path), **({"size": None} if self.whole else {})}

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if self.failure is not None:
            raise self.failure
        super().pipe_file(path, value, mode)

    rm_file = MemoryFileSystem._rm

    def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        found = super().find(path, *args, **kwargs)
        marker = f"{path}/marker/"  # as object stores show directories that somebody "made"
        return {**found, marker: {"name": marker, "size": 0, "type": "file"}}


@pytest.fixture
def fs() -> StrangeFileSystem:
    return StrangeFileSystem()


@pytest.fixture
def store(fs: StrangeFileSystem) -> FsspecStore:
    store = FsspecStore(fs, path=f"/{uuid4().hex}", retries=1)
    store.set("k", b"abcdef")
    return store


# ---- absence and failure


@pytest.mark.parametrize("failure", [PermissionError("403"), TimeoutError(), ValueError("odd"), ConnectionResetError()])
def test_a_failure_is_not_absence(store: FsspecStore, fs: StrangeFileSystem, failure: Exception) -> None:
    fs.failure = failure
    for read in (store.get, store.size, store.exists, lambda key: store.get_ranges(key, [Span(0, 1)])):
        with pytest.raises(StoreReadError, match="'k'") as caught:
            read("k")
        assert type(caught.value.__cause__) is type(failure)
    with pytest.raises(StoreReadError):
        list(store.list())
    with pytest.raises(StoreWriteError, match="'k'"):
        store.set("k", b"")


def test_a_failure_dressed_as_absence_is_found_out(store: FsspecStore, fs: StrangeFileSystem) -> None:
    class Response(Exception):
        def __init__(self, status: int) -> None:
            self.status = status

    for cause, absent in [
        (Response(404), True),
        (Response(410), True),
        (Response(403), False),
        (Response(503), False),
        (TimeoutError(), False),
        (ConnectionResetError(), False),
        (FileNotFoundError(), True),
        (KeyError("NoSuchKey"), True),
    ]:
        failure = FileNotFoundError("k")
        failure.__cause__ = cause
        fs.failure = failure
        if absent:
            assert store.size("k") is None
        else:
            with pytest.raises(StoreReadError):
                store.size("k")


def test_what_counts_as_absent_can_be_told(fs: StrangeFileSystem) -> None:
    store = FsspecStore(fs, path="/x", allowed_exceptions=(FileNotFoundError, PermissionError))
    fs.failure = PermissionError("a bucket without the right to list")
    assert store.get("k") is None
    assert store.with_read_only().get("k") is None


# ---- lengths


def test_a_server_that_ignores_ranges(store: FsspecStore, fs: StrangeFileSystem) -> None:
    fs.whole = True
    pieces = store.get_ranges("k", [Span(1, 3), Span(4, None), Span(-2, None), Span(-100, None), Span(2, 2)])
    assert pieces is not None
    assert [bytes(piece) for piece in pieces.buffers] == [b"bc", b"ef", b"ef", b"abcdef", b""]
    with pytest.raises(ShortReadError):
        store.get_ranges("k", [Span(5, 7)])


@pytest.mark.parametrize("span", [Span(1, 3), Span(4, None), Span(-2, None), Span(-100, None)])
def test_a_short_answer(store: FsspecStore, fs: StrangeFileSystem, span: Span) -> None:
    fs.short = True
    with pytest.raises(StoreReadError, match=r"'k'.*expected \d bytes.*got"):
        store.get_ranges("k", [span])


def test_an_object_that_vanishes_between_ranges(store: FsspecStore, fs: StrangeFileSystem) -> None:
    fs.vanish = True
    with pytest.raises(ObjectChangedError, match="'k'"):
        store.get_ranges("k", [Span(0, 1), Span(1, 2)])
    store.set("k", b"abcdef")
    with pytest.raises(ObjectChangedError, match="'k'"):
        store.get_ranges("k", [Span(0, 9)])


def test_no_range_is_asked_for_nothing(store: FsspecStore) -> None:
    pieces = store.get_ranges("k", [Span(3, 3)])
    assert pieces is not None
    assert pieces.buffers == [b""]
    assert store.get_ranges("missing", [Span(3, 3)]) is None


# ---- names


def test_directory_markers_are_not_listed(store: FsspecStore) -> None:
    assert list(store.list()) == ["k"]
    assert dict(store.list_sizes()) == {"k": 6}


class Unlisted(MemoryFileSystem):
    """A filesystem, one directory of which cannot be listed."""

    protocol = "unlisted"
    cachable = False
    failure: Exception | None = None
    find = AbstractFileSystem.find

    def ls(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if self.failure is not None and path.endswith("/b"):
            raise self.failure
        return super().ls(path, *args, **kwargs)


@pytest.mark.parametrize("failure", [ConnectionResetError(), TimeoutError(), PermissionError("not you")], ids=repr)
@pytest.mark.parametrize("wrap", ["plain", "dir", "async"])
def test_what_could_not_be_listed_is_not_left_out(failure: Exception, wrap: str) -> None:
    fs = Unlisted()
    root = f"/{uuid4().hex}"
    wrapped = {"dir": lambda: fsspec.filesystem("dir", path=root, fs=fs), "async": lambda: AsyncFileSystemWrapper(fs)}
    store = FsspecStore(wrapped.get(wrap, lambda: fs)(), path="" if wrap == "dir" else root, retries=1)
    for key in ("a/k", "a/b/k", "a/b/c/k", "c/k"):
        store.set(key, b"1")
    assert sorted(store.list()) == ["a/b/c/k", "a/b/k", "a/k", "c/k"]
    assert sorted(store.list_sizes("a")) == [("a/b/c/k", 1), ("a/b/k", 1), ("a/k", 1)]
    fs.failure = failure
    for listing in (store.list, store.list_sizes):
        with pytest.raises(StoreReadError, match="list"):
            list(listing())
    assert list(store.list("c")) == ["c/k"]
    fs.failure = FileNotFoundError()  # deleted meanwhile
    assert sorted(store.list()) == ["a/k", "c/k"]


def test_a_root_without_a_name() -> None:
    store = FsspecStore(fsspec.filesystem("memory"))
    name = uuid4().hex
    store.set(f"{name}/k", b"1")
    assert fsspec.filesystem("memory").cat_file(f"/{name}/k") == b"1"
    assert list(store.list(name)) == [f"{name}/k"]
    assert name in store.list_dir()
    store.delete_prefix(name)


def test_other_ways_in() -> None:
    name = uuid4().hex
    url = FsspecStore.from_url(f"memory://{name}/")
    url.set("k", b"1")
    mapper = FsspecStore.from_mapper(fsspec.get_mapper(f"memory://{name}"), read_only=True)
    assert mapper.get("k") == b"1"
    assert mapper == url
    assert hash(mapper) == hash(url)
    assert mapper.read_only
    assert str(url) == f"memory:///{name}"
    assert mapper != FsspecStore.from_url("memory://other")


def test_an_asynchronous_filesystem() -> None:
    wrapped = AsyncFileSystemWrapper(fsspec.filesystem("memory"), asynchronous=True)
    store = FsspecStore(wrapped, path=f"/{uuid4().hex}")
    store.set("a/k", b"1")
    assert store.get_many(["a/k", "a/l"]) == [b"1", None]
    assert pickle.loads(pickle.dumps(store)).get("a/k") == b"1"


def test_stale_listings_are_not_used(tmp_path: Path) -> None:
    fs = fsspec.filesystem("dir", path=str(tmp_path), target_protocol="file")
    calls: list[object] = []
    fs.invalidate_cache = lambda *args: calls.append(args)
    store = FsspecStore(fs, path="")
    store.set("k", b"1")
    assert list(store.list_dir()) == ["k"]
    assert len(calls) >= 2


def test_local_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("file", skip_instance_cache=True)
    store = FsspecStore(fs, path=str(tmp_path))
    store.set("a/k", b"old")

    def fail(*args: object) -> None:
        raise OSError("disk trouble")

    monkeypatch.setattr(fs, "mv", fail)
    with pytest.raises(StoreWriteError, match="disk trouble"):
        store.set("a/k", b"new")
    assert store.get("a/k") == b"old"
    assert os.listdir(tmp_path / "a") == ["k"]


# ---- HTTP


class Handler(SimpleHTTPRequestHandler):
    """Files, but 403, 503 and honest short answers for the names that ask for them."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name in ("403", "503"):
            self.send_error(int(name))
        elif name == "short":
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"abc")
        else:
            super().do_GET()  # ignores ranges

    def do_HEAD(self) -> None:
        name = self.path.rpartition("/")[2]
        if name in ("403", "503"):
            self.send_error(int(name))
        else:
            super().do_HEAD()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "k").write_bytes(b"abcdef")
    (tmp_path / "a" / "short").write_bytes(b"abcdef")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_http(web: str) -> None:
    store = FsspecStore.from_url(web)
    assert store.get_many(["a/k", "a/missing", "missing"]) == [b"abcdef", None, None]
    assert store.size("a/k") == 6
    assert not store.exists("a/missing")
    assert sorted(store.list()) == ["a/k", "a/short"]
    pieces = store.get_ranges("a/k", [Span(1, 3), Span(-2, None)])
    assert pieces is not None
    assert [bytes(piece) for piece in pieces.buffers] == [b"bc", b"ef"]
    with pytest.raises(StoreWriteError, match="'a/new'"):
        store.set("a/new", b"")
    with pytest.raises(StoreWriteError, match="'a/k'"):
        store.delete("a/k")


def test_http_failures_are_not_absence(web: str) -> None:
    nobody = FsspecStore.from_url("http://127.0.0.1:9/x.zarr", retries=1)
    with pytest.raises(StoreReadError, match="list"):
        list(nobody.list())
    store = FsspecStore.from_url(web, retries=1)
    for key in ("a/403", "a/503"):
        for read in (store.get, store.size, lambda key: store.get_ranges(key, [Span(0, 1)])):
            with pytest.raises(StoreReadError, match=key):
                read(key)
    with pytest.raises(StoreReadError, match="a/short"):
        store.get_ranges("a/short", [Span(0, 5)])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_http_after_a_fork(web: str) -> None:
    store = FsspecStore.from_url(web)
    assert store.get("a/k") == b"abcdef"
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if store.get("a/k") == b"abcdef" else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get("a/k") == b"abcdef"
