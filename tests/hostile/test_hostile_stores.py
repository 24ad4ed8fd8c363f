"""Hostile keys, files and archives: nothing outside of a store is read or written, and nothing hangs."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import GpuzarrError, KeyValidationError, LimitError, StoreError, StoreReadError
from gpuzarr.storage import FsspecStore, LocalStore, MappingStore, MemoryStore, ZipStore
from gpuzarr.storage.contract import Span, Store
from tests.hostile.bounds import bounded
from tests.hostile.documents import V3, chunked, v3
from tests.hostile.test_hostile_metadata import everything

RAW = np.arange(4, dtype="<i4").tobytes()
BAD_KEYS = [
    "", "/", "..", "../x", "a/../x", "a/..", ".", "a/./b", "...", "/etc/hostname", "a//b", "a/", "a\0b", "a\\b",
    "..\\x", ".gz-0123456789abcdef.tmp", "a/.gz-x", "c/0.__gzlock", "x" * 1025, "é" * 600,
]  # fmt: skip

STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda root: LocalStore(root / "store"),
    "memory": lambda root: MemoryStore(),
    "zip": lambda root: ZipStore(root / "store.zip", mode="w"),
    "mapping": lambda root: MappingStore({}),
    "fsspec": lambda root: FsspecStore(fsspec.filesystem("memory"), path="/hostile"),
}
OPERATIONS: dict[str, Callable[[Store, str], Any]] = {
    "get": lambda store, key: store.get(key),
    "get_many": lambda store, key: store.get_many(["a", key]),
    "get_ranges": lambda store, key: store.get_ranges(key, [Span(0, 1)]),
    "read_parts": lambda store, key: store.read_parts([key], [0], [bytearray(4)]),
    "read_into": lambda store, key: store.read_into([key], bytearray(4), 4),
    "size": lambda store, key: store.size(key),
    "exists": lambda store, key: store.exists(key),
    "set": lambda store, key: store.set(key, b"x"),
    "set_if_absent": lambda store, key: store.set_if_absent(key, b"x"),
    "delete": lambda store, key: store.delete(key),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", STORES)
def test_keys_that_no_store_takes(name: str, operation: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"outside")
    store = STORES[name](tmp_path)
    store.set("a", b"inside")
    for key in BAD_KEYS:
        with pytest.raises(KeyValidationError):
            OPERATIONS[operation](store, key)
    assert sorted(store.list()) == ["a"]
    assert (tmp_path / "x").read_bytes() == b"outside"
    store.close()


@pytest.mark.parametrize("name", STORES)
def test_prefixes_that_no_store_takes(name: str, tmp_path: Path) -> None:
    store = STORES[name](tmp_path)
    for prefix in ("..", "a/../..", "a/..", "a\0", "a\\b"):
        for call in (store.delete_prefix, lambda p: list(store.list(p)), lambda p: list(store.list_dir(p))):
            with pytest.raises(KeyValidationError):
                call(prefix)
    store.close()


# ---- links and special files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory store of four elements in one chunk, beside a directory of somebody else's."""
    place = tmp_path / "store"
    (place / "c").mkdir(parents=True)
    (place / "zarr.json").write_bytes(chunked([4])["zarr.json"])
    (place / "c/0").write_bytes(RAW)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/0").write_bytes(RAW[::-1])
    return place


def test_a_linked_chunk_is_read_and_replaced(root: Path, warm_device: str) -> None:
    (root / "c/0").unlink()
    (root / "c/0").symlink_to(root.parent / "other/0")
    assert everything(root, warm_device).tolist() == np.frombuffer(RAW[::-1], "<i4").tolist()
    gpuzarr.open_array(root, mode="r+")[...] = 7
    assert not (root / "c/0").is_symlink()
    assert (root.parent / "other/0").read_bytes() == RAW[::-1]


def test_writes_do_not_leave_by_a_linked_directory(root: Path) -> None:
    (root / "c/0").unlink()
    (root / "c").rmdir()
    (root / "c").symlink_to(root.parent / "other")
    a = gpuzarr.open_array(root, mode="r+")
    for write in (lambda: a.__setitem__(..., 7), lambda: a.__setitem__(0, 7), lambda: a.resize((0,))):
        try:
            write()
        except GpuzarrError:
            pass
        assert os.listdir(root.parent / "other") == ["0"]
        assert (root.parent / "other/0").read_bytes() == RAW[::-1]


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
@pytest.mark.parametrize("where", ["zarr.json", "c/0"])
def test_what_is_no_file_is_refused_at_once(root: Path, where: str, kind: str, warm_device: str) -> None:
    (root / where).unlink()
    if kind == "fifo":
        os.mkfifo(root / where)
    else:
        try:
            os.mknod(root / where, (stat.S_IFCHR if kind == "device" else stat.S_IFSOCK) | 0o666, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("device files need rights that this process does not have")
    with bounded(), pytest.raises((StoreError, GpuzarrError)):
        everything(root, warm_device)


def test_a_sparse_file_of_a_terabyte_is_not_read_to_write_a_part_of_it(root: Path) -> None:
    os.truncate(root / "c/0", 1 << 40)
    a = gpuzarr.open_array(root, mode="r+")
    with bounded(), pytest.raises(LimitError):
        a[0] = 7
    a[...] = 7  # all of it needs nothing of the old one
    assert a[...].tolist() == [7] * 4


@pytest.mark.parametrize("where", ["zarr.json", "c/0"])
def test_a_sparse_file_of_a_terabyte_is_not_read(root: Path, where: str, warm_device: str) -> None:
    os.truncate(root / where, 1 << 40)
    with bounded(), pytest.raises((LimitError, GpuzarrError)):
        everything(root, warm_device)


def test_a_sparse_shard_of_a_terabyte(root: Path, warm_device: str) -> None:
    """Its index is small and may be read; one that says that an inner chunk has half of it is refused."""
    codec = {"name": "sharding_indexed", "configuration": {
        "chunk_shape": [2], "codecs": V3["codecs"], "index_codecs": V3["codecs"]}}  # fmt: skip
    (root / "zarr.json").write_bytes(chunked([4], codecs=[codec])["zarr.json"])
    os.truncate(root / "c/0", 1 << 40)
    with (root / "c/0").open("ab") as file:
        file.write(struct.pack("<4Q", 0, 8, 8, 8))
    with bounded():
        assert everything(root, warm_device).tolist() == [0, 1, 2, 3]
    with (root / "c/0").open("ab") as file:
        file.write(struct.pack("<4Q", 0, 1 << 39, 1 << 39, 1 << 39))
    with bounded(), pytest.raises(GpuzarrError):
        everything(root, warm_device)


def test_long_documents_of_many_members_are_not_held_at_once(tmp_path: Path) -> None:
    group = gpuzarr.create_group(tmp_path)
    for i in range(100):
        (tmp_path / f"a{i}").mkdir()
        (tmp_path / f"a{i}/zarr.json").write_bytes(v3()["zarr.json"] + b" " * (20 << 20 if i == 37 else 100_000))
    assert len(dict(group.members())) == 100
    for i in range(100):
        os.truncate(tmp_path / f"a{i}/zarr.json", 20 << 20)
    with bounded(), pytest.raises(GpuzarrError, match=r"a0/zarr\.json"):
        dict(group.members())


# ---- archives


def archive(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            file.writestr(info, data)
    return path


GOOD = [(key, value) for key, value in (chunked([4]) | {"c/0": RAW}).items()]


def test_members_that_lead_outside_are_inert(tmp_path: Path, warm_device: str) -> None:
    names = ("../../evil", "/etc/evil", "a\\..\\evil", "..")
    path = archive(tmp_path / "a.zip", [*GOOD, *((name, b"evil") for name in names)])
    with ZipStore(path) as store:
        assert sorted(store.list()) == ["c/0", "zarr.json"]
        assert everything(store, warm_device).tolist() == [0, 1, 2, 3]
    assert os.listdir(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_a_bomb(tmp_path: Path, method: int, warm_device: str) -> None:
    bomb = bytes(150 << 20 if method == zipfile.ZIP_DEFLATED else 16 << 20)
    path = archive(tmp_path / "a.zip", [GOOD[0], ("c/0", bomb)], method)
    with ZipStore(path) as store, bounded(), pytest.raises(LimitError):
        everything(store, warm_device)


def test_a_member_that_is_there_twice(tmp_path: Path, warm_device: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = archive(tmp_path / "a.zip", [*GOOD, ("c/0", RAW[::-1])])
    with ZipStore(path) as store:  # the last one counts, as for every reader of archives
        assert everything(store, warm_device).tolist() == np.frombuffer(RAW[::-1], "<i4").tolist()
    with ZipStore(path, duplicates="refuse") as store, pytest.raises(StoreReadError):
        everything(store, warm_device)


def test_members_that_are_encrypted_or_overlap(tmp_path: Path, warm_device: str) -> None:
    path = archive(tmp_path / "a.zip", GOOD)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    encrypted, overlapping = bytearray(data), bytearray(data)
    encrypted[second + 8] |= 1
    overlapping[second + 42 : second + 46] = struct.pack("<I", 4)
    for damaged in (encrypted, overlapping):
        path.write_bytes(damaged)
        with bounded(), pytest.raises(GpuzarrError):
            everything(ZipStore(path), warm_device)


def test_an_archive_of_very_many_members_is_opened_once(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", [*GOOD, *((f"m/{i}", b"") for i in range(5000))])
    with bounded(), ZipStore(path) as store:
        assert sum(1 for _ in store.list("m")) == 5000


# ---- what a store says is not followed


def test_nothing_in_a_store_is_followed(tmp_path: Path, warm_device: str) -> None:
    """An address or a path in a document or chunk stays a value."""
    (tmp_path / "secret").write_bytes(RAW)
    for chunk in (f"file://{tmp_path}/secret", f"{tmp_path}/secret", '["/secret", 0, 16]'):
        with pytest.raises(GpuzarrError):
            everything(chunked([4]) | {"c/0": chunk.encode()}, warm_device)
    attributes = {"store": f"file://{tmp_path}/secret", "consolidated_metadata": "http://192.0.2.1/"}
    assert everything(v3(attributes=attributes), warm_device).tolist() == [0, 0, 0, 0]


@pytest.fixture(scope="module", params=["cpu", "emulated"])
def warm_device(request: pytest.FixtureRequest) -> str:
    """A device that has read something, so that what it sets up once is not counted."""
    everything(chunked([4]) | {"c/0": RAW}, request.param)
    return str(request.param)
