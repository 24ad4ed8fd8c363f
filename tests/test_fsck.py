"""`fsck` and `recover`: what is found, what is mended, and what is left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cli import main
from gpuzarr.errors import ReadOnlyError
from gpuzarr.fsck import fsck
from gpuzarr.recover import recover
from gpuzarr.storage import LocalStore, MemoryStore, ZipStore
from gpuzarr.storage.atomic import temporary_name


def made(store: Any, **more: Any) -> gpuzarr.Array:
    z = gpuzarr.create_array(store, name="a/z", shape=(10, 6), chunks=(4, 3), dtype="i4", compressors=None, **more)
    z[...] = np.arange(1, 61).reshape(10, 6)
    return z


def found(store: Any, **more: Any) -> list[tuple[str, str]]:
    return [(finding.kind, finding.key) for finding in fsck(store, **more)]


def dead_temporary(root: Path, beside: str | None = None) -> str:
    """A name that a process which is gone gave."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.write(into, temporary_name(beside).encode())
        os._exit(0)
    os.waitpid(child, 0)
    name = os.read(out, 200).decode()
    os.close(out)
    os.close(into)
    (root / name).write_bytes(b"rest")
    return name


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, False), (3, False), (3, True)])
def test_a_sound_store_is_clean(tmp_path: Path, zarr_format: int, shards: bool) -> None:
    more: dict[str, Any] = {"shards": (8, 6)} if shards else {}
    for store in (MemoryStore(), LocalStore(tmp_path / "root")):
        z = made(store, zarr_format=zarr_format, **more)
        gpuzarr.consolidate_metadata(store)
        gpuzarr.create_array(store, name="b", shape=(), dtype="f8", zarr_format=zarr_format)[...] = 1
        gpuzarr.consolidate_metadata(store)
        z.resize(3, 3)
        gpuzarr.consolidate_metadata(store)
        assert found(store, deep=True) == []
        assert list(recover(store)) == []


def test_every_kind_is_found_and_the_rest_of_the_dead_is_mended(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = LocalStore(root)
    z = made(store)
    sharded = gpuzarr.create_array(store, name="s", shape=(8,), chunks=(2,), shards=(4,), dtype="i4")
    sharded[...] = np.arange(1, 9)
    bad = gpuzarr.create_array(store, name="d", shape=(4,), chunks=(2,), dtype="i4")
    bad[...] = 1
    gpuzarr.consolidate_metadata(store)
    z.attrs["new"] = 1
    shard = bytearray(store.get("s/c/1") or b"")
    shard[-1] ^= 1
    for key, value in (
        ("a/z/c/2/7", b"x" * 48),
        ("a/z/c/0/0", b""),
        ("a/z/c/0/1", b"123"),
        ("a/z/notes", b"mine"),
        ("readme", b"mine"),
        ("s/c/0", b"short"),
        ("s/c/1", bytes(shard)),
        ("d/c/0", b"garbage"),
        ("broken/zarr.json", b"{"),
    ):
        store.set(key, value)
    temporary, lock = dead_temporary(root / "a"), "a/z/c/0/0.__gzlock"
    beside = dead_temporary(tmp_path, "root")
    dead_temporary(tmp_path, "another")
    (root / lock).touch()
    mended = [
        ("temporary", f"../{beside}"),
        ("temporary", f"a/{temporary}"),
        ("lock", lock),
        ("outside", "a/z/c/2/7"),
    ]
    left = [
        ("document", "broken/zarr.json"),
        ("empty", "a/z/c/0/0"),
        ("size", "a/z/c/0/1"),
        ("stray", "a/z/notes"),
        ("stray", "readme"),
        ("index", "s/c/0"),
        ("index", "s/c/1"),
    ]
    assert sorted(found(store)) == sorted(mended + left)  # with a document that is broken, none can be compared
    store.delete("broken/zarr.json")
    mended, left = [*mended, ("consolidated", "zarr.json")], left[1:]
    assert sorted(found(store)) == sorted(mended + left)
    assert {("damaged", "d/c/0"), ("damaged", "a/z/c/0/0"), ("damaged", "s/c/1")} <= set(found(store, deep=True))
    assert [kind for kind, _ in found(store, path="d", deep=True)] == ["damaged"]
    with pytest.raises(ReadOnlyError):
        list(recover(store.with_read_only()))
    before = dict(store.list_sizes())
    report = list(recover(store))
    assert sorted((finding.kind, finding.key) for finding, done in report if done) == sorted(mended)
    assert sorted(found(store)) == sorted(left)
    assert [done for _, done in recover(store)] == [False] * len(left)
    assert set(before) - set(dict(store.list_sizes())) == {"a/z/c/2/7"}
    assert (tmp_path / beside).exists() is False
    assert len(list(tmp_path.iterdir())) == 2  # the root, and the temporary of another store


def test_what_the_living_hold_is_no_finding(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    z = made(store)
    (tmp_path / temporary_name()).write_bytes(b"under way")
    store.set("a/z/c/0/2", b"x" * 48)
    with store.lock("a/z/c/0/0"), store.lock("a/z/zarr.json"):  # as an append has it
        assert found(store) == [("outside", "a/z/c/0/2")]
        assert [done for _, done in recover(store)] == [False]
        assert store.exists("a/z/c/0/2")
    assert [done for _, done in recover(store)] == [True]
    assert z.shape == (10, 6)
    assert found(store) == []


def test_an_index_that_is_wrong_about_some_chunks() -> None:
    store = MemoryStore()
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    shards = {"shape": (8,), "index_codecs": plain}
    z = gpuzarr.create_array(store, shape=(8,), chunks=(2,), shards=shards, dtype="i4")
    z[...] = np.arange(1, 9)
    shard = bytearray(store.get("c/0") or b"")
    shard[-16:-8] = (10**6).to_bytes(8, "little")
    store.set("c/0", bytes(shard))
    assert [(f.kind, f.message) for f in fsck(store)] == [("index", "it is wrong about 1 inner chunks")]


def test_archives_have_leftovers_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with ZipStore(path, mode="w") as store:
        made(store)
    name = dead_temporary(tmp_path, "a.zip")
    assert main(["fsck", str(path)]) == 1
    assert main(["recover", str(path)]) == 0
    assert not (tmp_path / name).exists()
    assert main(["fsck", "--deep", str(path)]) == 0


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = LocalStore(tmp_path / "s")
    made(store)
    path = str(tmp_path / "s")
    assert main(["fsck", path]) == 0
    assert capsys.readouterr().out == "nothing to be found\n"
    store.set("a/z/c/9/9", b"")
    store.set("a/z/c/0/0", b"\x1b[2J")
    assert main(["fsck", path]) == 1
    out = capsys.readouterr().out
    assert "outside a/z/c/9/9" in out
    assert "2 findings; `gpuzarr recover` mends 1" in out
    assert main(["fsck", "--json", path]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert {(f["kind"], f["key"], f["mendable"]) for f in shown["findings"]} == {
        ("outside", "a/z/c/9/9", True),
        ("size", "a/z/c/0/0", False),
    }
    assert main(["recover", path]) == 1
    out = capsys.readouterr().out
    assert "a/z/c/9/9: beyond the shape (10, 6) of the array at 'a/z'; 0 bytes: mended" in out
    assert main(["recover", "--json", path]) == 1
    assert [f["mended"] for f in json.loads(capsys.readouterr().out)["findings"]] == [False]
    assert main(["fsck", str(tmp_path / "nothing")]) == 2
    assert main(["recover", str(tmp_path / "nothing")]) == 2
    for i in range(120):
        store.set(f"x/{i}", b"")
    assert main(["fsck", path]) == 1
    assert "more (see --json)" in capsys.readouterr().err


def test_a_store_that_cannot_list_cannot_be_looked_through() -> None:
    class Blind(MemoryStore):
        supports_listing = False

    store = Blind()
    made(store)
    with pytest.raises(ValueError, match="cannot list"):
        list(fsck(store))
