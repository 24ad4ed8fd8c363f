"""LocalStore: what is particular to files."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pickle
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpuzarr
from gpuzarr.errors import (
    LimitError,
    LockTimeoutError,
    ObjectChangedError,
    ShortReadError,
    StoreReadError,
    StoreWriteError,
)
from gpuzarr.storage import LocalStore, Span
from gpuzarr.storage.atomic import temporary_name
from gpuzarr.storage.contract import Store
from gpuzarr.storage.file_state import MOST_PINS

READS: list[Callable[[Store, str], Any]] = [
    lambda store, key: store.get(key),
    lambda store, key: store.get_many([key], bytearray(64))[0],
    lambda store, key: store.read_into([key], bytearray(64), 64)[0],
    lambda store, key: store.read_parts([key], [0], [bytearray(64)])[0],
    lambda store, key: store.get_ranges(key, [Span(0, 1)]),
    lambda store, key: store.size(key),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# ---- what a file is


def test_nothing_is_made_by_reading(store: LocalStore, root: Path) -> None:
    assert all(read(store, "a/zarr.json") is None for read in READS)
    assert list(store.list()) == list(store.list_dir()) == []
    store.delete("a")
    store.delete_prefix("a")
    store.delete_prefix("")
    assert not root.exists()


def test_files_lie_at_their_keys(store: LocalStore, root: Path) -> None:
    store.set("a/c/0/1", b"xyz")
    assert (root / "a" / "c" / "0" / "1").read_bytes() == b"xyz"
    assert store.root == root
    assert str(store) == f"file://{root}"
    assert LocalStore(str(root)) == store != LocalStore(root / "a")


def test_modes_follow_the_umask(store: LocalStore, root: Path) -> None:
    before = os.umask(0o027)
    try:
        store.set("a/k", b"")
        store.set_if_absent("a/l", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "a" / "k").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "a" / "l").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o750


@pytest.mark.parametrize("read", READS)
def test_a_fifo_neither_hangs_nor_reads(store: LocalStore, root: Path, read: Callable[[Store, str], Any]) -> None:
    root.mkdir()
    os.mkfifo(root / "k")
    signal.alarm(20)
    try:
        with pytest.raises(StoreReadError, match=r"'k'.*not a regular file"):
            read(store, "k")
    finally:
        signal.alarm(0)
    assert list(store.list()) == list(store.list_dir()) == []


@pytest.mark.parametrize("read", READS)
def test_a_device_is_refused(store: LocalStore, root: Path, read: Callable[[Store, str], Any]) -> None:
    root.mkdir()
    (root / "k").symlink_to("/dev/zero")
    with pytest.raises(StoreReadError, match="'k'"):
        read(store, "k")


@pytest.mark.parametrize("read", READS)
def test_a_refusal_is_not_absence(store: LocalStore, root: Path, read: Callable[[Store, str], Any]) -> None:
    root.mkdir()
    (root / "k").symlink_to("k")  # ELOOP, which even root meets
    with pytest.raises(StoreReadError, match="'k'") as caught:
        read(store, "k")
    assert caught.value.errno == errno.ELOOP
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("read", READS)
def test_permission_denied_is_not_absence(
    store: LocalStore, read: Callable[[Store, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set("k", b"1")

    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(StoreReadError, match="Permission denied") as caught:
        read(store, "k")
    assert caught.value.errno == errno.EACCES


def test_a_name_that_no_file_can_have_is_absent(store: LocalStore) -> None:
    store.set("k", b"1")
    for key in ("x" * 300, "k/below/a/file"):
        assert all(read(store, key) is None for read in READS)
        store.delete(key)
        with pytest.raises(StoreWriteError, match=key[:20]):
            store.set(key, b"")


def test_a_huge_sparse_file_is_not_read(store: LocalStore, root: Path) -> None:
    root.mkdir()
    with open(root / "k", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(LimitError):
        store.get("k", limit=1 << 20)
    assert store.read_into(["k"], bytearray(8), 8) == [1 << 40]
    assert store.read_parts(["k"], [1 << 39], [bytearray(8)]) == [1 << 40]
    with pytest.raises(ShortReadError):
        store.get_ranges("k", [Span(0, (1 << 40) + 1)])


def test_room_must_be_large_enough(store: LocalStore) -> None:
    with pytest.raises(ValueError, match="room"):
        store.read_into(["a", "b"], bytearray(7), 4)
    with pytest.raises(ValueError, match="room"):
        store.read_into(["a"], bytearray(7), 0)


def test_reads_that_stop_early_go_on(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("k", b"abcdefgh")
    readv, preadv, read = os.readv, os.preadv, os.read
    monkeypatch.setattr(os, "readv", lambda fd, buffers: readv(fd, [memoryview(buffers[0])[:3]]))
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: preadv(fd, [memoryview(buffers[0])[:3]], at))
    monkeypatch.setattr(os, "read", lambda fd, count: read(fd, min(3, count)))
    assert store.get("k") == b"abcdefgh"
    out = bytearray(8)
    assert store.read_parts(["k"], [0], [out]) == [8]
    assert out == b"abcdefgh"
    pieces = store.get_ranges("k", [Span(1, 8)])
    assert pieces is not None
    assert bytes(pieces.buffers[0]) == b"bcdefgh"


def test_a_file_that_shrinks_while_it_is_read(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("k", b"abcdefgh")
    fstat = os.fstat

    def shrink_after(descriptor: int) -> os.stat_result:
        state = fstat(descriptor)
        os.truncate(root / "k", 4)
        return state

    monkeypatch.setattr(os, "fstat", shrink_after)
    with pytest.raises(ShortReadError, match="'k'"):
        store.get_ranges("k", [Span(2, 8)])


def test_a_file_that_grows_is_capped(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("k", b"ab")
    fstat = os.fstat

    def grow_after(descriptor: int) -> os.stat_result:
        state = fstat(descriptor)
        with open(root / "k", "ab") as file:
            file.write(b"c" * 100)
        return state

    monkeypatch.setattr(os, "fstat", grow_after)
    with pytest.raises(LimitError):
        store.get("k", limit=50)
    value = store.get("k")
    assert value is not None
    assert len(value) == 202


def test_what_was_not_read_does_not_count_though_the_file_has_it_a_moment_later(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while a writer that does not replace files whole is at it: the room holds what it held before."""
    readv = os.readv

    def then(nbytes: int, buffers: Any, descriptor: int) -> int:
        got = readv(descriptor, buffers)
        (root / "k").write_bytes(b"x" * nbytes)
        return got

    store.set("k", b"")
    monkeypatch.setattr(os, "readv", lambda descriptor, buffers: then(8, buffers, descriptor))
    assert store.read_into(["k"], bytearray(8), 8) == [0]
    store.set("k", b"abcdefghi")
    monkeypatch.setattr(os, "readv", lambda descriptor, buffers: then(4, buffers, descriptor))
    assert store.read_into(["k"], bytearray(8), 8) == [9]


def test_an_equal_sized_replacement_is_another_state(store: LocalStore) -> None:
    store.set("k", b"abc")
    pieces = store.get_ranges("k", [Span(0, 1)])
    assert pieces is not None
    store.set("k", b"xyz")
    with pytest.raises(ObjectChangedError, match="'k'"):
        store.get_ranges("k", [Span(1, 2)], version=pieces.version)


def test_no_descriptor_is_left_open(store: LocalStore, root: Path) -> None:
    gc.collect()  # versions of young files hold them open
    before = len(os.listdir("/proc/self/fd"))
    store.set("a/k", b"abc")
    (root / "a" / "d").mkdir()
    os.mkfifo(root / "f")
    for key in ("a/k", "a/d", "missing/x"):
        for read in READS:
            read(store, key)
    for read in READS:
        with pytest.raises(StoreReadError):
            read(store, "f")
    with store.lock("a/k"):
        pass
    with pytest.raises(StoreWriteError):
        store.set("a/k/below", b"")
    store.delete_prefix("a")
    list(store.list())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


# ---- atomic replacement


@pytest.mark.parametrize("call", ["write", "close", "rename", "fsync"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_object_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    store = LocalStore(root, durability="fsync")
    store.set("a/k", b"old")
    real = getattr(os, call)
    armed = True

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal armed
        if armed and (call != "close" or stat.S_ISREG(os.fstat(args[0]).st_mode)):
            armed = False
            if call == "close":
                real(*args, **kwargs)
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else StoreWriteError
    with pytest.raises(expected) as caught:
        store.set("a/k", b"new")
    assert not armed
    if expected is StoreWriteError:
        assert caught.value.errno == errno.ENOSPC
        assert "a/k" in str(caught.value)
    assert store.get("a/k") == b"old"
    assert names(root / "a") == ["k"]


def test_a_write_that_takes_several_calls(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    store.set("k", bytes(range(100)))
    assert store.get("k") == bytes(range(100))


def test_an_open_reader_keeps_the_old_object(store: LocalStore, root: Path) -> None:
    store.set("k", b"old")
    with open(root / "k", "rb") as file:
        store.set("k", b"new!")
        assert file.read() == b"old"


def test_temporaries_and_locks_are_hidden(store: LocalStore, root: Path) -> None:
    store.set("a/k", b"1")
    (root / "a" / temporary_name()).write_bytes(b"left over")
    (root / temporary_name()).mkdir()
    with store.lock("a/k"):
        assert "k.__gzlock" in names(root / "a")
        assert list(store.list()) == ["a/k"]
        assert list(store.list_dir("a")) == ["k"]
        assert list(store.list_dir()) == ["a"]
        assert dict(store.list_sizes()) == {"a/k": 1}
    assert "k.__gzlock" not in names(root / "a")


def test_set_if_absent_without_hard_links(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert store.set_if_absent("a/k", b"1")
    assert not store.set_if_absent("a/k", b"2")
    assert store.get("a/k") == b"1"
    assert names(root / "a") == ["k"]


def test_durability_syncs_file_and_directories(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    LocalStore(root).set("a/k", b"")
    assert synced == []
    LocalStore(root, durability="fsync").set("b/c/k", b"")
    assert synced == ["directory", "directory", "file", "directory"]
    with pytest.raises(ValueError, match="durability"):
        LocalStore(root, durability="maybe")  # type: ignore[arg-type]


# ---- symbolic links


def test_reads_follow_links_and_writes_replace_them(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    root.mkdir()
    (root / "k").symlink_to(tmp_path / "outside")
    assert store.get("k") == b"outside"
    assert list(store.list()) == ["k"]
    store.set("k", b"mine")
    assert store.get("k") == b"mine"
    assert (tmp_path / "outside").read_bytes() == b"outside"


def test_writes_never_go_through_a_linked_directory(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "k").write_bytes(b"1")
    root.mkdir()
    (root / "d").symlink_to(outside)
    assert store.get("d/k") == b"1"
    assert list(store.list()) == ["d/k"]
    writes: list[Callable[[], object]] = [
        lambda: store.set("d/k", b"2"),
        lambda: store.set("d/e/k", b"2"),
        lambda: store.set_if_absent("d/new", b"2"),
        lambda: store.delete("d/k"),
        lambda: store.delete_prefix("d/e"),
        lambda: store.lock("d/k").__enter__(),
    ]
    for write in writes:
        with pytest.raises(StoreWriteError, match="symbolic link"):
            write()
    assert names(outside) == ["k"]
    store.delete_prefix("d")  # the link is ours, what it leads to is not
    assert names(root) == []
    assert (outside / "k").read_bytes() == b"1"


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    root.symlink_to(tmp_path / "real")
    LocalStore(root).set("a/k", b"1")
    assert (tmp_path / "real" / "a" / "k").read_bytes() == b"1"
    LocalStore(root).delete_prefix("")
    assert root.is_symlink()
    assert names(tmp_path / "real") == []


def test_links_in_a_circle_are_walked_once(store: LocalStore, root: Path) -> None:
    store.set("a/k", b"1")
    store.set("b/k", b"1")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "b").symlink_to(root / "b")
    (root / "b" / "a").symlink_to(root / "a")
    (root / "dangling").symlink_to(root / "nowhere")
    keys = list(store.list())
    assert sorted(keys) == ["a/b/k", "a/k", "b/a/k", "b/k"]


def test_files_that_can_be_no_key_are_not_listed(store: LocalStore, root: Path) -> None:
    store.set("a/k", b"1")
    (root / "a" / "back\\slash").write_bytes(b"")
    (root / "a" / "...").write_bytes(b"")
    (root / "a" / os.fsdecode(b"\xff\xfe")).write_bytes(b"")
    assert list(store.list()) == ["a/k"]
    assert list(store.list_dir("a")) == ["k"]


# ---- deleting trees


def test_readers_see_all_of_a_tree_or_nothing(store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("g/a/c/0", b"1")
    seen: list[list[str]] = []
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: seen.append(list(store.list())))
    store.delete_prefix("g")
    assert seen == [[]]


def test_empty_directories_go_with_the_tree_only(store: LocalStore, root: Path) -> None:
    store.set("g/a/k", b"1")
    store.delete("g/a/k")
    assert (root / "g" / "a").is_dir()
    store.delete_prefix("g")
    assert names(root) == []


def test_a_store_that_is_made_anew_is_seen(store: LocalStore, root: Path, tmp_path: Path) -> None:
    room = bytearray(8)
    store.set("k", b"1")
    assert store.read_into(["k"], room, 8) == [1]
    os.rename(root, tmp_path / "old")
    assert store.read_into(["k"], room, 8) == [None]
    LocalStore(root).set("k", b"22")
    assert store.read_into(["k"], room, 8) == [2]


# ---- other processes


def count_up(root: Path, times: int) -> None:
    store = LocalStore(root)
    for _ in range(times):
        with store.lock("a/n"):
            store.set("a/n", str(int(store.get("a/n") or b"0") + 1).encode())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_lock_keeps_processes_apart(store: LocalStore, root: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    workers = [context.Process(target=count_up, args=(root, 40)) for _ in range(2)]
    for worker in workers:
        worker.start()
    count_up(root, 40)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert store.get("a/n") == b"120"
    assert list(store.list()) == ["a/n"]


def hold(root: Path, held: Any) -> None:
    with LocalStore(root).lock("k"):
        held.set()
        signal.pause()


def test_a_lock_dies_with_its_holder(store: LocalStore, root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=hold, args=(root, held))
    holder.start()
    assert held.wait(30)
    with pytest.raises(LockTimeoutError, match=r"k\.__gzlock.*'k'"), store.lock("k", timeout=0.05):
        pass
    holder.kill()
    holder.join(30)
    with store.lock("k", timeout=5):
        pass
    assert names(root) == []


def in_child(work: Callable[[], None]) -> int:
    """Exit status of a forked child that runs `work`."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_does_not_hold_its_parents_lock(store: LocalStore) -> None:
    def cannot_lock() -> None:
        with pytest.raises(LockTimeoutError), store.lock("k", timeout=0.05):
            pass
        with store.lock("other", timeout=5):
            pass

    with store.lock("k"):
        assert in_child(cannot_lock) == 0
        with pytest.raises(LockTimeoutError), store.lock("k", timeout=0.05):
            pass
    with store.lock("k", timeout=5):
        pass


def test_a_fork_that_leaves_the_block_unlocks_nothing(store: LocalStore, root: Path) -> None:
    lock = store.lock("k")
    lock.__enter__()
    assert in_child(lambda: lock.__exit__(None, None, None) and None) == 0
    assert names(root) == ["k.__gzlock"]
    with pytest.raises(LockTimeoutError), store.lock("k", timeout=0.05):
        pass
    lock.__exit__(None, None, None)
    assert names(root) == []


def test_a_failure_to_lock_says_so(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.fcntl", refuse)
    with pytest.raises(StoreWriteError, match="No locks available"), store.lock("k"):
        pass


def test_flock_stands_in_where_there_are_no_ofd_locks(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuzarr.storage.locks._OFD_SETLK", None)
    with store.lock("k"):
        child = in_child(lambda: store.lock("k", timeout=0.05).__enter__())
        assert child == 1
    with store.lock("k", timeout=0.05):
        pass


def test_the_inode_of_a_young_file_is_not_given_away_while_its_version_is_held(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    reused = 0
    for _ in range(50):  # without the pin the file system gives the same inode again in nearly every round
        store.set("k", b"A")
        pieces = store.get_ranges("k", [Span(0, 1)])
        assert pieces is not None
        store.set("k", b"B")
        store.set("k", b"C")
        reused += (tmp_path / "k").stat().st_ino == pieces.version[0]  # type: ignore[index]
    assert reused == 0


def test_few_young_files_are_held_open_and_the_others_are_looked_at_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    versions: dict[str, Any] = {}
    for i in range(3 * MOST_PINS):
        store.set(f"{i}", b"abc")
        os.utime(tmp_path / f"{i}", ns=(time.time_ns() + (1 << 40),) * 2)  # young for long
        pieces = store.get_ranges(f"{i}", [Span(0, 1)])
        assert pieces is not None
        versions[f"{i}"] = pieces.version
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + MOST_PINS
    assert store.get_ranges(f"{3 * MOST_PINS - 1}", [Span(1, 2)], version=versions[f"{3 * MOST_PINS - 1}"]) is not None
    with pytest.raises(ObjectChangedError):
        store.get_ranges("0", [Span(1, 2)], version=versions["0"])


def test_a_file_is_held_open_only_while_it_is_young(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.set("old", b"abc")
    pieces = store.get_ranges("old", [Span(0, 1)])
    assert pieces is not None
    assert pieces.version is not None
    pin = pieces.version._pin  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while pin._open and time.monotonic() < deadline:  # until another young file is read
        time.sleep(0.02)
        store.set("new", b"abc")
        store.get_ranges("new", [Span(0, 1)])
    assert not pin._open
    assert store.get_ranges("old", [Span(1, 2)], version=pieces.version) is not None  # and is known again


def test_a_path_is_one_store_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, absolute = LocalStore("data/x"), LocalStore(tmp_path / "data" / "x")
    assert here == absolute == pickle.loads(pickle.dumps(here))
    assert len({here, absolute, LocalStore("data/../data/x")}) == 1
    assert here != LocalStore("data")
    array = gpuzarr.create_array("data/y", shape=(3,), dtype="i4")
    assert pickle.loads(pickle.dumps(array)) == array
