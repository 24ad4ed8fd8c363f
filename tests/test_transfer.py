"""Nodes from store to store as they are stored: byte for byte, all or nothing, and within a bound of memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr import transfer as module
from gpuzarr.cli import main
from gpuzarr.errors import (
    ContainsArrayError,
    ContainsGroupError,
    ContainsNodeError,
    LimitError,
    NodeNotFoundError,
    ReadOnlyError,
    StoreWriteError,
)
from gpuzarr.storage import LocalStore, MemoryStore, Store, WrapperStore, ZipStore
from gpuzarr.transfer import Cargo, carry, transfer
from tests.faults.faulty_store import Failing

DATA = np.arange(120.0).reshape(10, 12)


def filled(store: Any, path: str = "", zarr_format: int = 3) -> Store:
    """A group with attributes, an array, and a group with another, which lacks chunks; sharded in format 3."""
    root = gpuzarr.open_group(store, path=path, mode="w", zarr_format=zarr_format, attributes={"title": "t"})
    more: dict[str, Any] = {"shards": (4, 6)} if zarr_format == 3 else {}
    root.create_array("a", data=DATA, chunks=(2, 3), attributes={"units": "K"}, **more)
    below = root.create_group("below/deep", attributes={"n": 1})
    below.create_array("part", shape=(10, 12), chunks=(4, 5), dtype="f8", fill_value=-1)[:4] = DATA[:4]
    return root.store


def objects(store: Store, path: str = "") -> dict[str, bytes]:
    """Everything that is stored under a path, by key relative to it."""
    start = len(path) + 1 if path else 0
    return {key[start:]: bytes(store.get(key) or b"") for key in store.list(path)}


class Plain(WrapperStore):
    """A store that replaces nothing in one step."""

    @contextmanager
    def replacing(self, prefix: str) -> Iterator[tuple[Store, str]]:
        self.delete_prefix(prefix)
        yield self, prefix


class Unlisted(WrapperStore):
    """A store that cannot list."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.supports_listing = False

    def list(self, prefix: str = "") -> Iterator[str]:
        raise NotImplementedError

    list_sizes = list_dir = list  # type: ignore[assignment]


@pytest.fixture(params=["memory", "local", "zip", "plain"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    kinds = {
        "memory": MemoryStore,
        "local": lambda: LocalStore(tmp_path / "target"),
        "zip": lambda: ZipStore(tmp_path / "target.zip", mode="w"),
        "plain": lambda: Plain(MemoryStore()),
    }
    found: Store = kinds[request.param]()
    return found


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("path", ["", "above/here"])
def test_a_copy_is_the_same_to_the_last_byte(target: Store, path: str, zarr_format: int) -> None:
    source = filled({}, "x", zarr_format)
    told: list[tuple[str, int]] = []
    most: list[int] = []
    report = transfer((source, "x"), (target, path), begin=most.append, done=lambda *each: told.append(each))
    expected = objects(source, "x")
    assert objects(target, path) == expected
    absent = 6 + (3 if zarr_format == 2 else 0)  # chunks, and `.zmetadata` of groups
    assert most == [len(expected) + absent]
    assert (report.arrays, report.groups, report.left) == (2, 3, 0)
    assert (report.objects, report.nbytes) == (len(expected), sum(map(len, expected.values())))
    assert sum(size for _, size in told) == report.nbytes
    copied = gpuzarr.open_group(target, path=path, mode="r")
    np.testing.assert_array_equal(copied["a"][...], DATA)
    np.testing.assert_array_equal(copied["below/deep/part"][4:], np.full((6, 12), -1.0))
    if path:
        assert gpuzarr.open_group(target, path="above", mode="r", zarr_format=zarr_format).attrs == {}


def test_nothing_is_decoded_and_no_document_is_rewritten() -> None:
    source = filled({}, zarr_format=2)
    document = json.loads(bytes(source.get("a/.zarray") or b""))
    document["compressor"] = {"id": "of nobody's knowledge"}
    source.set("a/.zarray", json.dumps(document).encode() + b"\n\n")
    target = MemoryStore()
    transfer((source, ""), (target, "t"))
    assert objects(target, "t") == objects(source)


def test_an_array_alone_and_one_without_axes() -> None:
    source = filled({})
    gpuzarr.create_array(source, name="scalar", data=np.float32(5))
    target = MemoryStore()
    assert transfer((source, "scalar"), (target, "s")).objects == 2
    assert gpuzarr.open_array(target, path="s", mode="r")[()] == 5
    transfer((source, "a"), (target, "b"))
    np.testing.assert_array_equal(gpuzarr.open_array(target, path="b", mode="r")[...], DATA)


def test_what_belongs_to_no_node_is_left_and_counted() -> None:
    source = filled({})
    strays = ["a/c/9/9", "a/notes", "below/x", "c/0/0", "other/.zarray", "a/.zarray"]
    for key in strays:
        source.set(key, b"{}")
    target = MemoryStore()
    report = transfer((source, ""), (target, ""))
    assert report.left == len(strays)
    assert set(report.examples) == set(strays)
    assert set(objects(target)) == set(objects(source)) - set(strays)


def test_copies_of_metadata_that_are_out_of_date_hide_nothing() -> None:
    source = filled({})
    gpuzarr.consolidate_metadata(source)
    plain = gpuzarr.open_group(source, use_consolidated=False)
    plain.create_array("late", data=DATA)
    target = MemoryStore()
    assert transfer((source, ""), (target, "")).arrays == 3
    assert "late/zarr.json" in objects(target)


def test_groups_above_that_are_consolidated_know_the_copy() -> None:
    source, target = filled({}), filled({})
    gpuzarr.consolidate_metadata(target)
    transfer((source, "a"), (target, "below/new"))
    assert "below/new" in gpuzarr.open_consolidated(target)
    assert list(gpuzarr.open_group(target, path="below", mode="r")) == ["deep", "new"]


@pytest.mark.parametrize("path", ["", "g"])
def test_a_store_that_cannot_list_is_read_by_name(path: str) -> None:
    source = filled({}, path)
    gpuzarr.consolidate_metadata(source, path=path)
    target = MemoryStore()
    transfer((Unlisted(source), path), (target, "t"))
    assert objects(target, "t") == objects(source, path)
    vast = gpuzarr.create_array(source, name="vast", shape=(2**40,), chunks=(1,), dtype="u1")
    with pytest.raises(LimitError, match="cannot list"):
        transfer((Unlisted(source), vast.path), (target, "v"))


def test_what_is_in_the_way_is_kept_unless_it_is_to_be_overwritten(target: Store) -> None:
    source = filled({})
    transfer((source, "a"), (target, "x"))
    with pytest.raises(ContainsArrayError):
        transfer((source, "below"), (target, "x"))
    transfer((source, "below"), (target, "x"), overwrite=True)
    assert objects(target, "x") == objects(source, "below")
    with pytest.raises(ContainsGroupError):
        transfer((source, "a"), (target, "x"))
    target.set("junk/c/0", b"1")
    with pytest.raises(ContainsNodeError, match="junk/c/0"):
        transfer((source, "a"), (target, "junk"))
    with pytest.raises(ContainsArrayError):
        transfer((source, "a"), (target, "x/deep/part/y"))


def test_wrong_places() -> None:
    source = filled({})
    with pytest.raises(NodeNotFoundError):
        transfer((source, "nothing"), (MemoryStore(), ""))
    with pytest.raises(ReadOnlyError):
        transfer((source, ""), (MemoryStore().with_read_only(), ""))
    for old, new in (("", "a"), ("a", ""), ("below", "below/x"), ("below/deep", "below"), ("a", "a")):
        with pytest.raises(ValueError, match="onto itself"):
            transfer((source, old), (source, new), overwrite=True)
    transfer((source, "below"), (source, "below2"))
    assert objects(source, "below2") == objects(source, "below")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_copy_that_is_cut_short_is_no_node(zarr_format: int) -> None:
    source = filled({}, zarr_format=zarr_format)
    count = len(objects(source))
    for good in range(count):
        target = Failing(Plain(MemoryStore()), good)
        with pytest.raises(StoreWriteError):
            transfer((source, ""), (target, ""), overwrite=True)
        with pytest.raises(NodeNotFoundError):
            gpuzarr.open(target._store, mode="r")
        for node in ("a", "below/deep/part"):  # an array that can be opened is whole
            try:
                found = gpuzarr.open_array(target._store, path=node, mode="r")
            except NodeNotFoundError:
                continue
            np.testing.assert_array_equal(found[...], gpuzarr.open_array(source, path=node, mode="r")[...])
    transfer((source, ""), (Failing(Plain(MemoryStore()), count + 1), ""), overwrite=True)


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_what_was_there_stands_until_the_copy_is_whole(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = filled({})
    target: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "t")
    gpuzarr.create_array(target, name="x", data=np.arange(5))
    before = objects(target)
    for good in (0, 1, 5):
        left = iter(range(good))

        def count(*_: object, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise StoreWriteError("no room")

        with pytest.raises(StoreWriteError, match="no room"):
            transfer((source, ""), (target, "x"), overwrite=True, done=count)
        assert objects(target) == before
    monkeypatch.setattr(module, "_check_counts", lambda *_: (_ for _ in ()).throw(StoreWriteError("miscounted")))
    with pytest.raises(StoreWriteError, match="miscounted"):
        transfer((source, ""), (target, "x"), overwrite=True)
    assert objects(target) == before


def test_a_store_that_forgets_what_was_put_there() -> None:
    class Forgetful(Plain):
        def set_many(self, items: Any) -> None:
            super().set_many([(key, value) for key, value in items if not key.endswith("c/0/0")])

    with pytest.raises(StoreWriteError, match=r"expected 14 objects of \d+ bytes, got 12 of"):
        transfer((filled({}), ""), (Forgetful(MemoryStore()), ""))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Asked(WrapperStore):
        def get_many(self, keys: Sequence[str], room: Any = None, *, limit: int | None = None) -> Any:
            found = super().get_many(keys, room, limit=limit)
            asked.append(sum(len(each) for each in found if each is not None))
            return found

    monkeypatch.setattr(module, "BATCH_BYTES", 1000)
    source = MemoryStore()
    sizes = [1, 999, 1, 500, 500, 5000, 10] + [0] * 200
    for i, size in enumerate(sizes):
        source.set(f"k{i:03}", b"x" * size)
    target = MemoryStore()
    cargo = (Cargo(key, f"t/{key}", size) for key, size in sorted(source.list_sizes()))
    assert carry(Asked(source), target, cargo) == (len(sizes), sum(sizes))
    assert objects(target, "t") == objects(source)
    assert asked[:4] == [1000, 501, 500, 5000]
    assert len(asked) > len(sizes) / module.BATCH


def test_what_is_gone_meanwhile_is_left_out() -> None:
    source, target = MemoryStore(), MemoryStore()
    source.set("a", b"1")
    assert carry(source, target, [Cargo("a", "a", 1), Cargo("b", "b", 1)]) == (1, 1)
    assert objects(target) == {"a": b"1"}


# ---- on the command line


def test_copy_says_what_was_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = filled(tmp_path / "a.zarr")
    source.set("stray", b"1")
    assert main(["copy", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2 arrays, 3 groups: 14 objects of ")
    assert err == "1 objects belong to no node and were not copied, such as 'stray'\n"
    source.delete("stray")
    assert objects(LocalStore(tmp_path / "b.zarr")) == objects(source)
    assert main(["copy", str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]) == 2
    assert "--overwrite replaces" in capsys.readouterr().err
    assert main(["copy", "--json", "--overwrite", str(tmp_path / "a.zarr/a"), str(tmp_path / "b.zarr")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in ("arrays", "groups", "left", "rewritten")} == {
        "arrays": 1,
        "groups": 0,
        "left": 0,
        "rewritten": False,
    }
    assert objects(LocalStore(tmp_path / "b.zarr")) == objects(source, "a")


def test_copy_into_a_hierarchy_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "a.zarr")
    filled(tmp_path / "b.zarr")
    gpuzarr.consolidate_metadata(tmp_path / "b.zarr")
    assert main(["copy", str(tmp_path / "a.zarr/a"), str(tmp_path / "b.zarr/below/between/x")]) == 0
    assert "between/x" in gpuzarr.open_consolidated(tmp_path / "b.zarr")["below"]
    assert main(["fsck", str(tmp_path / "b.zarr")]) == 0
    assert main(["copy", str(tmp_path / "a.zarr/a"), str(tmp_path / "b.zarr/a/x")]) == 2
    assert "is an array" in capsys.readouterr().err
    assert not (tmp_path / "b.zarr/a/x").exists()


def test_copy_into_a_group_of_the_other_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "v2.zarr", zarr_format=2)
    gpuzarr.open_group(tmp_path / "v3.zarr", mode="w")
    words = ["copy", str(tmp_path / "v2.zarr"), str(tmp_path / "v3.zarr/new")]
    assert main(words) == 0
    assert "2 arrays, 3 groups" in (out := capsys.readouterr().out)
    assert "written anew in the format of the group above" in out
    copied = gpuzarr.open_group(tmp_path / "v3.zarr", mode="r")["new"]
    assert copied.metadata.zarr_format == 3
    np.testing.assert_array_equal(copied["a"][...], DATA)
    assert copied["a"].attrs == {"units": "K"}
    assert main(words) == 2
    assert main([*words, "--overwrite"]) == 0


@pytest.mark.parametrize(("old", "new"), [("a.zarr", "a.zarr"), ("a.zarr", "a.zarr/x"), ("a.zarr/below", "a.zarr")])
def test_copy_refuses_a_copy_of_itself(old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = filled(tmp_path / "a.zarr")
    before = objects(source)
    (tmp_path / "link").symlink_to(tmp_path)
    assert main(["copy", "--overwrite", str(tmp_path / old), str(tmp_path / "link" / new)]) == 2
    assert "one lies in the other" in capsys.readouterr().err
    assert objects(source) == before


def test_an_archive_stands_where_a_copy_over_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path / "a.zarr")
    archive = tmp_path / "b.zip"
    assert main(["copy", str(tmp_path / "a.zarr/a"), str(archive)]) == 0
    before = archive.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_check_counts", lambda *_: (_ for _ in ()).throw(StoreWriteError("miscounted")))
        assert main(["copy", "--overwrite", str(tmp_path / "a.zarr"), str(archive)]) == 2
        assert main(["copy", str(tmp_path / "a.zarr"), str(tmp_path / "new.zip")]) == 2
    assert "miscounted" in capsys.readouterr().err
    assert archive.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zip"]
    assert main(["copy", "--overwrite", str(tmp_path / "a.zarr"), str(archive)]) == 0
    assert objects(ZipStore(archive)) == objects(LocalStore(tmp_path / "a.zarr"))


def test_copy_between_urls_with_options_on_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "a.zarr")
    cache, url = tmp_path / "cache", f"simplecache::file://{tmp_path}/a.zarr"
    words = ["copy", url, "memory://copied/a.zarr", "--source-option", f"cache_storage={cache}"]
    assert main([*words, "--target-option", "skip_instance_cache=true"]) == 0
    assert len(list(cache.iterdir())) >= 10
    assert main(["verify", "memory://copied/a.zarr"]) == 0
    assert "2 arrays" in capsys.readouterr().out
