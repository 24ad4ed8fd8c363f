"""Groups as mappings, and what they make, move, consolidate and refuse."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr as zarr
from gpuzarr.errors import (
    ArrayNotFoundError,
    ContainsArrayError,
    ContainsGroupError,
    GroupNotFoundError,
    MetadataError,
    ReadOnlyError,
)
from gpuzarr.storage import CountingStore, LocalStore, MemoryStore


@pytest.fixture(params=[2, 3])
def root(request: pytest.FixtureRequest) -> zarr.Group:
    group = zarr.create_group(MemoryStore(), zarr_format=request.param, attributes={"title": "all"})
    group.create_array("x", shape=(4,), chunks=(2,), dtype="i2", fill_value=3)
    group.create_group("sub", attributes={"n": 1}).create_array("deep/y", shape=(2, 2), dtype="f4")
    return group


def test_a_group_is_a_mapping(root: zarr.Group) -> None:
    assert list(root) == list(root.keys()) == ["sub", "x"]
    assert len(root) == root.nmembers() == 2
    assert "x" in root
    assert "sub/deep/y" in root
    assert "/sub//deep/" in root
    assert "nope" not in root
    assert 5 not in root
    assert isinstance(root["x"], zarr.Array)
    assert isinstance(root["sub/deep"], zarr.Group)
    assert root["sub"]["deep"]["y"] == root["sub/deep/y"]
    assert root["/"] == root
    assert dict(root.items()) == {"sub": root["sub"], "x": root["x"]}
    assert list(root.values()) == [root["sub"], root["x"]]
    assert [root.get("nope"), root.get("nope", 5), root.get("x", 5)] == [None, 5, root["x"]]
    with pytest.raises(KeyError, match="nope"):
        root["nope"]


def test_kinds_of_members(root: zarr.Group) -> None:
    assert list(root.array_keys()) == ["x"]
    assert list(root.arrays()) == [("x", root["x"])]
    assert list(root.array_values()) == [root["x"]]
    assert list(root.group_keys()) == ["sub"]
    assert list(root.groups()) == [("sub", root["sub"])]
    assert list(root.group_values()) == [root["sub"]]
    assert root.get_array("sub/deep/y").shape == (2, 2)
    assert root.get_group("sub").attrs["n"] == 1
    with pytest.raises(ContainsGroupError):
        root.get_array("sub")
    with pytest.raises(ContainsArrayError):
        root.get_group("x")
    with pytest.raises(ArrayNotFoundError, match="holds"):
        root.get_array("nope")
    with pytest.raises(GroupNotFoundError, match=r"format [23] array"):
        zarr.open_group(root.store, zarr_format=5 - root.metadata.zarr_format, mode="r", path="x")


def test_depths(root: zarr.Group) -> None:
    def paths(depth: int | None) -> list[str]:
        return [path for path, _ in root.members(max_depth=depth)]

    assert paths(0) == ["sub", "x"]
    assert paths(1) == ["sub", "sub/deep", "x"]
    assert paths(None) == paths(2) == ["sub", "sub/deep", "sub/deep/y", "x"]
    assert root.nmembers(max_depth=None) == 4
    with pytest.raises(ValueError, match="max_depth"):
        root.members(max_depth=-1)


def test_names(root: zarr.Group) -> None:
    deep = root["sub/deep"]
    assert (deep.name, deep.path, deep.basename) == ("/sub/deep", "sub/deep", "deep")
    assert (root.name, root.path, root.basename) == ("/", "", "")
    assert str(deep.store_path) == f"{root.store}/sub/deep"
    assert repr(deep) == f"<Group {root.store}/sub/deep>"
    assert not root.read_only
    assert root.synchronizer is None


def test_what_a_group_tells(root: zarr.Group) -> None:
    assert "Type        : Group" in str(root.info)
    assert "No. arrays  : 2" in str(root.info_complete())
    assert "No. groups  : 2" in str(root.info_complete())
    assert str(root.tree(level=0)) == str(zarr.tree(root, level=0)) == "/\n├── sub\n└── x (4,) int16\n"
    assert str(zarr.tree(root.store)).count("\n") == 5
    assert "Truncated" in str(root.tree(max_nodes=1))


def test_visits(root: zarr.Group) -> None:
    paths: list[str] = []
    assert root.visit(paths.append) is None
    assert paths == ["sub", "sub/deep", "sub/deep/y", "x"]
    assert root.visit(lambda path: path if path.endswith("deep") else None) == "sub/deep"
    assert root.visitvalues(lambda node: getattr(node, "shape", None)) == (2, 2)
    assert root.visititems(lambda path, node: path if isinstance(node, zarr.Array) else None) == "sub/deep/y"


def test_making_groups(root: zarr.Group) -> None:
    with pytest.raises(ContainsGroupError):
        root.create_group("sub")
    with pytest.raises(ContainsArrayError):
        root.create_group("x")
    with pytest.raises(ContainsArrayError, match="only groups"):
        root.create_group("x/y")
    with pytest.raises(MetadataError, match="name"):
        root.create_group("/")
    assert root.require_group("sub").attrs["n"] == 1
    assert [group.path for group in root.require_groups("sub", "new/one")] == ["sub", "new/one"]
    assert root.require_groups() == ()
    assert len(root.create_group("sub", overwrite=True)) == 0
    assert len(root.require_group("new", overwrite=True)) == 0
    with pytest.raises(TypeError, match="is an array"):
        root.require_group("x")


def test_making_arrays(root: zarr.Group) -> None:
    data = np.arange(6.0).reshape(2, 3)
    made = {
        "data": root.create_array("data", data=data),
        "create": root.create("create", shape=(2, 3), dtype="i4"),
        "dataset": root.create_dataset("dataset", shape=(2, 3), chunks=(1, 3), dtype="i4"),
        "dataset2": root.create_dataset("dataset2", data=data, chunks=(1, 3)),
        "array": root.array("array", data),
        "empty": root.empty(name="empty", shape=(2, 3)),
        "zeros": root.zeros(name="zeros", shape=(2, 3)),
        "ones": root.ones(name="ones", shape=(2, 3)),
        "full": root.full(name="full", shape=(2, 3), fill_value=7),
        "empty_like": root.empty_like(name="empty_like", data=data),
        "zeros_like": root.zeros_like(name="zeros_like", data=data),
        "ones_like": root.ones_like(name="ones_like", data=data),
        "full_like": root.full_like(name="full_like", data=data, fill_value=7),
    }
    for name, array in made.items():
        assert root[name] == array
        assert array.shape == (2, 3)
        assert array.metadata.zarr_format == root.metadata.zarr_format
    for name in ("data", "dataset2", "array"):
        np.testing.assert_array_equal(root[name][:], data)
    for name, value in {"zeros": 0, "ones": 1, "full": 7, "zeros_like": 0, "ones_like": 1, "full_like": 7}.items():
        assert (root[name][:] == value).all()
    assert root["dataset2"].chunks == (1, 3)
    with pytest.raises(ValueError, match="no members of format"):
        root.create_array("other", shape=(1,), zarr_format=5 - root.metadata.zarr_format)
    with pytest.raises(TypeError):
        root.create_array("other", shape=(1,), nonsense=1)
    with pytest.raises(ContainsArrayError):
        root.create_array("data", shape=(1,))
    assert root.create_array("data", shape=(1,), overwrite=True).shape == (1,)


def test_requiring_arrays(root: zarr.Group) -> None:
    assert root.require_array("x", shape=(4,), dtype="i4") == root["x"]
    assert root.require_array("new", shape=4, dtype="i4", chunks=(2,)).chunks == (2,)
    assert root.require_dataset("new", shape=4, dtype="i4", config={"order": "F"}).order == "F"
    for wrong in ({"shape": (5,)}, {"shape": (4,), "dtype": "i1"}, {"shape": (4,), "dtype": "i4", "exact": True}):
        with pytest.raises(TypeError, match="'/x' is there with"):
            root.require_array("x", **wrong)
    with pytest.raises(TypeError, match="is a group"):
        root.require_array("sub", shape=(4,))


def test_setting_members(root: zarr.Group) -> None:
    root["new/one"] = np.arange(5)
    np.testing.assert_array_equal(root["new/one"][:], np.arange(5))
    root["x"] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(root["x"][:], [[1, 2], [3, 4]])
    root["copy"] = root["x"]
    np.testing.assert_array_equal(root["copy"][:], [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="its own source"):
        root["x"] = root["x"]
    np.testing.assert_array_equal(root["x"][:], [[1, 2], [3, 4]])


def test_deleting_members(root: zarr.Group) -> None:
    del root["sub/deep"]
    assert list(root["sub"]) == []
    del root["x"]
    assert list(root) == ["sub"]
    assert not [key for key in root.store.list() if key.startswith("x/")]
    for name in ("x", "", "sub/deep/y"):
        with pytest.raises(KeyError):
            del root[name]


def test_moving_members(root: zarr.Group) -> None:
    root["x"][:] = 5
    root.move("x", "sub/z")
    assert "x" not in root
    assert (root["sub/z"][:] == 5).all()
    root.move("sub", "other")
    assert sorted(path for path, _ in root.members(max_depth=None)) == [
        "other",
        "other/deep",
        "other/deep/y",
        "other/z",
    ]
    assert root["other"].attrs["n"] == 1
    assert (root["other/z"][:] == 5).all()


def test_attributes(root: zarr.Group) -> None:
    root.attrs["k"] = (1, {"a": None})
    assert root.attrs["k"] == [1, {"a": None}]
    root.update_attributes({"m": 2})
    reopened = zarr.open_group(root.store)
    assert reopened.attrs.asdict() == {"title": "all", "k": [1, {"a": None}], "m": 2}
    root.attrs.put({})
    assert dict(zarr.open_group(root.store).attrs) == {}


def test_hierarchies(root: zarr.Group) -> None:
    node = root["x"].metadata
    made = dict(root["sub"].create_hierarchy({"p/q": node, "r": zarr.GroupMetadata(root.metadata.zarr_format)}))
    assert set(made) == {"p", "p/q", "r"}
    assert made["p/q"].name == "/sub/p/q"
    with pytest.raises(ContainsArrayError):
        list(root.create_hierarchy({"x": node}))
    assert [path for path, _ in root.create_hierarchy({"x": node}, overwrite=True)] == ["x"]
    with pytest.raises(MetadataError, match="this group"):
        list(root.create_hierarchy({"": node}))
    with pytest.raises(MetadataError, match="format"):
        list(root.create_hierarchy({"w": zarr.GroupMetadata(5 - root.metadata.zarr_format)}))  # type: ignore[arg-type]


def test_read_only_groups_refuse_every_change(root: zarr.Group) -> None:
    group = zarr.open_group(root.store, mode="r")
    changes: list[Any] = [
        lambda: group.create_group("new"),
        lambda: group.create_array("new", shape=(1,)),
        lambda: group.move("x", "y"),
        lambda: group.attrs.update(a=1),
        lambda: group.__delitem__("x"),
        lambda: group.__setitem__("x", np.arange(3)),
        lambda: list(group.create_hierarchy({"new": group["x"].metadata})),
        lambda: group["sub"].create_group("new"),
        lambda: group["x"].__setitem__(0, 1),
        lambda: group["x"].attrs.put({}),
    ]
    before = {key: root.store.get(key) for key in root.store.list()}
    for change in changes:
        with pytest.raises(ReadOnlyError, match="read-only"):
            change()
    assert {key: root.store.get(key) for key in root.store.list()} == before
    assert group.read_only


def test_consolidated_groups_ask_the_store_nothing(root: zarr.Group) -> None:
    root["x"].attrs["units"] = "K"
    zarr.consolidate_metadata(root.store)
    store = CountingStore(root.store)
    group = zarr.open_consolidated(store)
    assert sum(store.counts.values()) == (1 if root.metadata.zarr_format == 3 else 5)
    store.reset()
    assert [path for path, _ in group.members(max_depth=None)] == ["sub", "sub/deep", "sub/deep/y", "x"]
    assert group["x"].attrs["units"] == "K"
    assert group["sub/deep/y"].shape == group["sub"]["deep"]["y"].shape == (2, 2)
    assert "nope" not in group
    assert len(group["sub/deep"]) == 1
    assert str(group.tree()).count("\n") == 5
    assert not store.counts
    with pytest.raises(KeyError):
        group["sub/nope"]
    with pytest.raises(ArrayNotFoundError, match="consolidated"):
        group.get_array("nope")
    (group["x"][:] == 3).all()
    assert store.counts


def test_consolidated_groups_know_what_they_change(root: zarr.Group) -> None:
    zarr.consolidate_metadata(root.store)
    group = zarr.open_group(root.store)
    group.create_array("new", shape=(3,), dtype="i1")
    group.create_group("made/below")
    assert {"new", "made/below"} <= {path for path, _ in group.members(max_depth=None)}
    group.move("new", "moved")
    assert "moved" in group
    assert "new" not in group
    del group["sub"]
    assert "sub/deep/y" not in group
    reopened = zarr.open_group(root.store)
    assert "sub" not in reopened
    assert "sub" not in zarr.open_group(root.store, use_consolidated=False)


def test_consolidating_below_the_root(root: zarr.Group) -> None:
    zarr.consolidate_metadata(root.store, path="sub")
    assert zarr.open_group(root.store).metadata.consolidated is None
    sub = zarr.open_consolidated(root.store, path="sub")
    assert set(sub.metadata.consolidated or {}) == {"deep", "deep/y"}
    assert sub["deep/y"].name == "/sub/deep/y"


def test_pickles_and_context_managers(tmp_path: Path) -> None:
    with zarr.open_group(tmp_path / "g.zarr", device="cpu", cache_bytes=1000) as group:
        group.create_array("x", shape=(4,), dtype="i2")[:] = 1
        again = pickle.loads(pickle.dumps(group))
        assert again == group
        assert isinstance(again.store, LocalStore)
        assert (again["x"][:] == 1).all()
        assert again["x"].cache is not None
    assert group != "group"


def test_how_arrays_are_opened_is_handed_down() -> None:
    synchronizer = zarr.ThreadSynchronizer()
    group = zarr.open_group({}, synchronizer=synchronizer, cache_bytes=1000)
    array = group.create_group("a").create_array("x", shape=(4,), dtype="i2")
    assert array.synchronizer is synchronizer
    assert group["a/x"].synchronizer is group["a"].synchronizer is synchronizer
    assert group["a/x"].cache is not None
    assert group.create_array("y", shape=(4,), synchronizer=None, cache_bytes=5).cache is not None


def test_groups_from_stores() -> None:
    store = MemoryStore()
    group = zarr.Group.from_store(store, attributes={"a": 1})
    assert zarr.Group.open(store) == group
    assert (
        zarr.Group.open(zarr.Group.from_store(group.create_group("b").store_path, overwrite=True).store_path).path
        == "b"
    )
    with pytest.raises(GroupNotFoundError, match="the store is empty"):
        zarr.Group.open(MemoryStore())
    with pytest.raises(MetadataError, match="zarr_format"):
        zarr.Group.from_store(store, zarr_format=4)
