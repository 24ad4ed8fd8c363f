"""ZipStore: what is particular to archives."""

from __future__ import annotations

import gc
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from gpuzarr.errors import (
    KeyValidationError,
    LimitError,
    ReadOnlyError,
    ShortReadError,
    StoreReadError,
    StoreWriteError,
)
from gpuzarr.storage import Span, ZipStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.zip"


def make(path: Path, members: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # names that are there twice are meant
        for name, value in members:
            archive.writestr(name, value)
    return path


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(set(archive.namelist())) == len(archive.namelist())
        return {name: archive.read(name) for name in archive.namelist()}


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


# ---- writing


def test_other_programs_read_what_we_write(path: Path) -> None:
    with ZipStore(path, mode="w", compression=zipfile.ZIP_DEFLATED) as store:
        store.set("a/c/0", b"x" * 1000)
        store.set("a/zarr.json", b"{}")
    assert contents(path) == {"a/c/0": b"x" * 1000, "a/zarr.json": b"{}"}
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("a/c/0").compress_type == zipfile.ZIP_DEFLATED
        assert archive.getinfo("a/c/0").external_attr >> 16 == 0o644


@pytest.mark.parametrize("mode", ["w", "a"])
def test_the_old_archive_stands_until_the_new_one_is_whole(path: Path, mode: Literal["w", "a"]) -> None:
    make(path, [("old", b"1")])
    store = ZipStore(path, mode=mode)
    store.set("new", b"2")
    assert contents(path) == {"old": b"1"}
    assert store.get("new") == b"2"
    assert store.get("old") == (b"1" if mode == "a" else None)
    store.close()
    assert contents(path) == ({"old": b"1", "new": b"2"} if mode == "a" else {"new": b"2"})
    assert names(path.parent) == ["data.zip"]


def test_a_process_that_is_killed_leaves_the_old_archive(path: Path) -> None:
    make(path, [("old", b"1")])
    script = (
        "import os, sys; from gpuzarr.storage import ZipStore; s = ZipStore(sys.argv[1], mode='a');"
        "s.set('new', b'2' * 100000); s.set('zarr.json', b'{}'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert done.returncode == -9
    assert contents(path) == {"old": b"1"}


def test_a_store_that_is_not_closed_is_finished_all_the_same(path: Path) -> None:
    store = ZipStore(path, mode="w")
    store.set("k", b"1")
    del store
    gc.collect()
    assert contents(path) == {"k": b"1"}
    script = "import sys; from gpuzarr.storage import ZipStore; s = ZipStore(sys.argv[1], mode='a'); s.set('l', b'2')"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    assert contents(path) == {"k": b"1", "l": b"2"}


def test_a_view_keeps_the_archive_open(path: Path) -> None:
    store = ZipStore(path, mode="w")
    view = store.with_read_only()
    store.set("k", b"1")
    del store
    gc.collect()
    assert view.get("k") == b"1"
    assert not path.exists()
    view.close()
    assert contents(path) == {"k": b"1"}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_does_not_finish_its_parents_archive(path: Path, tmp_path: Path) -> None:
    make(tmp_path / "other.zip", [("k", b"other")])
    reading = ZipStore(tmp_path / "other.zip", mode="a")
    store = ZipStore(path, mode="w")
    store.set("k", b"1")
    child = os.fork()
    if child == 0:
        try:
            assert reading.get("k") == b"other"
            with pytest.raises(StoreWriteError):
                store.set("k", b"from the child")
            writer = store._archive._writer
            store.close()
            del store
            assert writer is not None
            writer.__del__()
            os._exit(int(path.exists()))
        except BaseException:
            os._exit(2)
    store.set("l", b"2" * 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()
    assert contents(path) == {"k": b"1", "l": b"2" * 1000}


def test_replaced_objects_are_there_once(path: Path) -> None:
    with ZipStore(path, mode="w") as store:
        for i in range(5):
            store.set("zarr.json", b"[%d]" % i)
            store.set("c/0", bytes([i]) * 10)
            store.set("c/1", b"one")
        store.delete("c/1")
        assert store.get("c/0") == b"\4" * 10
    assert contents(path) == {"c/0": b"\4" * 10, "zarr.json": b"[4]"}


def test_an_archive_that_is_mostly_dead_is_compacted(path: Path) -> None:
    with ZipStore(path, mode="w") as store:
        store.set("keep", b"k" * 1000)
        for _ in range(50):
            store.set("c/0", os.urandom(10_000))
        last = store.get("c/0")
    assert path.stat().st_size < 20_000
    assert contents(path) == {"keep": b"k" * 1000, "c/0": last}


def test_an_archive_with_few_dead_bytes_is_not_copied(path: Path) -> None:
    with ZipStore(path, mode="w") as store:
        store.set("big", bytes(100_000))
        store.set("c/0", b"old")
        store.set("c/0", b"new")
    assert b"old" in path.read_bytes()
    assert contents(path) == {"big": bytes(100_000), "c/0": b"new"}


def test_append_keeps_what_it_does_not_know(path: Path) -> None:
    make(path, [("dir/", b""), ("../odd", b"1"), ("k", b"1"), ("l", b"1")])
    with ZipStore(path, mode="a") as store:
        store.set("k", b"2")
        store.delete("l")
    assert contents(path) == {"dir/": b"", "../odd": b"1", "k": b"2"}


def test_append_that_only_deletes(path: Path) -> None:
    make(path, [("k", b"1" * 1000), ("l", b"1")])
    with ZipStore(path, mode="a") as store:
        store.delete("l")
    assert contents(path) == {"k": b"1" * 1000}


def test_append_that_only_reads_writes_nothing(path: Path) -> None:
    make(path, [("k", b"1")])
    before = path.stat().st_ino
    with ZipStore(path, mode="a") as store:
        assert store.get("k") == b"1"
        store.delete("missing")
    assert path.stat().st_ino == before


def test_an_empty_archive_is_an_archive(path: Path) -> None:
    ZipStore(path, mode="w").close()
    assert contents(path) == {}
    with ZipStore(path) as store:
        assert list(store.list()) == []


@pytest.mark.parametrize("mode", ["w", "a"])
def test_a_failed_write_leaves_the_rest_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: Literal["w", "a"]
) -> None:
    make(path, [("old", b"0")])
    store = ZipStore(path, mode=mode)
    store.set("k", b"1")
    real = zipfile.ZipFile.writestr

    def fail(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
        real(archive, info, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", fail)
        with pytest.raises(StoreWriteError, match=r"'l'.*No space left"):
            store.set("l", b"abcdef")
        with pytest.raises(StoreWriteError, match="'k'"):
            store.set("k", b"abcdef")
    assert store.get("l") is None
    assert store.get("k") == b"1"
    if mode == "a":
        store.close()
        assert contents(path) == {"old": b"0", "k": b"1"}
        return
    with pytest.raises(StoreWriteError, match=r"not replaced, since writing 'k' failed"):
        store.close()
    assert contents(path) == {"old": b"0"}
    assert names(path.parent) == ["data.zip"]


def test_a_failed_write_that_is_done_again_is_no_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ZipStore(path, mode="w")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    for key in ("k", "l"):
        with monkeypatch.context() as patch:
            patch.setattr(zipfile.ZipFile, "writestr", fail)
            with pytest.raises(StoreWriteError, match="No space left"):
                store.set(key, b"1")
    store.set("k", b"2")
    store.delete("l")
    store.close()
    assert contents(path) == {"k": b"2"}


def test_an_archive_whose_directory_cannot_be_read_again_is_not_begun_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, [("old", b"0")])
    store = ZipStore(path, mode="a")
    monkeypatch.setattr(zipfile, "_EndRecData", lambda file: None)  # what it makes of an error of the disk
    with pytest.raises(StoreWriteError, match="read again"):
        store.set("k", b"1")
    with pytest.raises(StoreWriteError):
        store.close()
    monkeypatch.undo()
    assert contents(path) == {"old": b"0"}
    assert names(path.parent) == ["data.zip"]


def test_a_failure_to_finish_leaves_no_temporary(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(path, [("old", b"1")])
    store = ZipStore(path, mode="w")
    store.set("k", b"1")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(StoreWriteError, match="cannot finish"):
            store.close()
    assert contents(path) == {"old": b"1"}
    assert names(path.parent) == ["data.zip"]


def test_modes(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ZipStore(path)
    with ZipStore(path, mode="x") as store:
        store.set("k", b"1")
    with pytest.raises(FileExistsError):
        ZipStore(path, mode="x")
    with pytest.raises(ValueError, match="mode"):
        ZipStore(path, mode="r+")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode 'r'"):
        ZipStore(path, mode="r", read_only=False)
    with ZipStore(path) as store:
        assert store.read_only
        with pytest.raises(ReadOnlyError):
            store.set("k", b"2")
        with pytest.raises(ValueError, match="mode 'r'"):
            store.with_read_only(False)
    with ZipStore(path, mode="a", read_only=True) as store, pytest.raises(ReadOnlyError):
        store.set("k", b"2")


def test_a_closed_store_is_not_used(path: Path) -> None:
    store = ZipStore(path, mode="w")
    store.close()
    store.close()
    with pytest.raises(StoreReadError, match="closed"):
        store.get("k")
    with pytest.raises(StoreWriteError, match="closed"):
        store.set("k", b"")
    with pytest.raises(StoreWriteError, match="closed"):
        store.delete("k")


def test_a_reading_store_can_be_pickled(path: Path) -> None:
    make(path, [("k", b"1")])
    with ZipStore(path) as store, pickle.loads(pickle.dumps(store)) as twin:
        assert twin.get("k") == b"1"
        assert twin == store


def test_file_objects(path: Path) -> None:
    file = io.BytesIO()
    with ZipStore(file, mode="w") as store:
        store.set("k", b"1")
    with ZipStore(file, mode="a") as store:
        store.set("l", b"2")
    with ZipStore(file) as store:
        assert {key: store.get(key) for key in store.list()} == {"k": b"1", "l": b"2"}
        assert "file" in str(store)
    make(path, [("k", b"1")])
    with open(path, "rb") as real, ZipStore(real) as store:
        assert store.get("k") == b"1"
    with ZipStore(file, mode="w"):
        pass
    with ZipStore(file) as store:
        assert list(store.list()) == []


# ---- reading without trust


def test_names_that_are_no_keys_cannot_be_reached(path: Path) -> None:
    make(path, [("../secret", b"1"), ("/etc/passwd", b"1"), ("a//b", b"1"), ("dir/", b""), ("k", b"1")])
    with ZipStore(path) as store:
        assert list(store.list()) == ["k"]
        for name in ("../secret", "/etc/passwd", "a//b"):
            with pytest.raises(KeyValidationError):
                store.get(name)


def test_of_members_that_are_there_twice_the_last_counts_unless_they_are_refused(path: Path) -> None:
    make(path, [("k", b"first"), ("other", b"1"), ("k", b"second"), ("k", b"third")])
    with ZipStore(path, duplicates="refuse") as store:
        for read in (store.get, store.size, lambda key: store.get_ranges(key, [Span(0, 1)])):
            with pytest.raises(StoreReadError, match=r"'k' is 3 times .*duplicates='last'"):
                read("k")
        assert store.get("other") == b"1"
        assert sorted(store.list()) == ["k", "other"]
    with ZipStore(path) as store:
        assert store.get("k") == b"third"
    with ZipStore(path, mode="a") as store:
        store.set("k", b"fourth")
        assert store.get("k") == b"fourth"
    assert contents(path) == {"other": b"1", "k": b"fourth"}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_not_inflated(path: Path, method: int) -> None:
    make(path, [("c/0", bytes(4 << 20))], method)
    assert path.stat().st_size < 40_000
    with ZipStore(path) as store, pytest.raises(LimitError, match="c/0"):
        store.get("c/0", limit=1 << 20)
    with ZipStore(path, max_member_bytes=1 << 20) as store:
        for read in (store.get, lambda key: store.get_ranges(key, [Span(0, 1)])):
            with pytest.raises(LimitError, match="c/0"):
                read("c/0")


def patched(path: Path, old: bytes, new: bytes, count: int = 1) -> Path:
    data = path.read_bytes()
    assert data.count(old) == count
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_inflates_to_more_than_announced(path: Path, method: int) -> None:
    make(path, [("c/0", bytes(1 << 20))], method)
    patched(path, struct.pack("<I", 1 << 20), struct.pack("<I", 100), 2)
    with ZipStore(path) as store, pytest.raises(StoreReadError, match=r"'c/0'.*expected 100 bytes, got 101"):
        store.get("c/0")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_changed_byte_is_found_or_harmless(path: Path, method: int) -> None:
    value = bytes(range(200))
    make(path, [("c/0", value), ("c/1", value)], method)
    original = path.read_bytes()
    found = 0
    for i in range(0, len(original), 7):
        damaged = bytearray(original)
        damaged[i] ^= 0x55
        path.write_bytes(damaged)
        try:
            with ZipStore(path) as store:
                assert store.get("c/0") in (value, None)
                assert store.get("c/1") in (value, None)
        except (StoreReadError, LimitError, KeyValidationError):
            found += 1
    assert found > len(original) // 14


@pytest.mark.parametrize("cut", [0, 1, 30, 100, 200])
def test_a_cut_archive_is_an_error(path: Path, cut: int) -> None:
    make(path, [("c/0", bytes(range(200)))])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StoreReadError, match=r"data\.zip"):
        ZipStore(path)


def test_encrypted_members_are_refused(path: Path) -> None:
    make(path, [("c/0", b"abc")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with ZipStore(path) as store, pytest.raises(StoreReadError, match="encrypted"):
        store.get("c/0")


def test_overlapping_members_are_refused(path: Path) -> None:
    make(path, [("a", b"abc"), ("b", b"abc")])
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 10)
    path.write_bytes(data)
    with pytest.raises(StoreReadError, match="overlaps"):
        ZipStore(path)


def test_a_member_beyond_the_end_is_refused(path: Path) -> None:
    make(path, [("a", b"abc")])
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 24] = struct.pack("<I", 1 << 31)
    path.write_bytes(data)
    with pytest.raises(StoreReadError, match="beyond its end"):
        ZipStore(path)


def test_an_unknown_method_is_refused(path: Path) -> None:
    make(path, [("a", b"abc")])
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 10 : entry + 12] = struct.pack("<H", 99)
    path.write_bytes(data)
    with ZipStore(path) as store, pytest.raises(StoreReadError, match="method 99"):
        store.get("a")


def test_an_archive_that_is_cut_after_opening(path: Path) -> None:
    make(path, [("a", b"abc" * 100)])
    with ZipStore(path) as store:
        os.truncate(path, 50)
        with pytest.raises(ShortReadError):
            store.get("a")


def test_not_a_regular_file(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StoreReadError, match="not a regular file"):
        ZipStore(path)


def test_a_path_is_one_store_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ZipStore("x.zip", mode="w").close()
    here, absolute = ZipStore("x.zip", mode="r"), ZipStore(tmp_path / "x.zip", mode="r")
    assert here == absolute == pickle.loads(pickle.dumps(here))
    assert len({here, absolute}) == 1
