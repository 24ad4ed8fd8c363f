"""Documents of a hierarchy: paths, requests, order of writing, what a message says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpuzarr import making, nodes
from gpuzarr.create import array_metadata
from gpuzarr.errors import (
    ContainsArrayError,
    ContainsGroupError,
    KeyValidationError,
    MetadataError,
    NodeTypeValidationError,
    ReadOnlyError,
)
from gpuzarr.hierarchy import make_nodes, move_node
from gpuzarr.metadata import ArrayMetadata, GroupMetadata
from gpuzarr.storage import CountingStore, MemoryStore


def array(zarr_format: int = 3, **more: Any) -> ArrayMetadata:
    return array_metadata(**{"shape": (4,), "chunks": (2,), "dtype": "i4", "zarr_format": zarr_format, **more})


class Order(MemoryStore):
    """Notes the keys in the order in which they are written and deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def set(self, key: str, value: Any) -> None:
        self.keys.append(key)
        super().set(key, value)

    def set_if_absent(self, key: str, value: Any) -> bool:
        self.keys.append(key)
        return super().set_if_absent(key, value)

    def delete(self, key: str) -> None:
        self.keys.append("-" + key)
        super().delete(key)


@pytest.mark.parametrize(
    ("given", "path"),
    [(None, ""), ("", ""), ("/", ""), ("/a//b/", "a/b"), ("a\\b", "a/b"), ("a.b", "a.b"), ("..a", "..a"), ("é", "é")],
)
def test_paths_have_one_spelling(given: str | None, path: str) -> None:
    assert nodes.normalize_path(given) == path


@pytest.mark.parametrize("given", ["..", "a/../b", ".", "a/...", "/./a"])
def test_paths_do_not_climb(given: str) -> None:
    with pytest.raises(KeyValidationError, match="dots"):
        nodes.normalize_path(given)


@pytest.mark.parametrize("name", ["zarr.json", "a/.zarray", ".zmetadata/b"])
def test_names_of_documents_are_no_names_of_nodes(name: str) -> None:
    with pytest.raises(KeyValidationError, match="metadata document"):
        making.make_node(MemoryStore(), name, array())


@pytest.mark.parametrize("path", ["", "a", "a/b"])
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["array", "group"])
def test_what_is_written_is_read(kind: str, zarr_format: Any, path: str) -> None:
    store = MemoryStore()
    attributes = {"a": [1, None]}
    metadata = array(zarr_format, attributes=attributes) if kind == "array" else GroupMetadata(zarr_format, attributes)
    making.make_node(store, path, metadata)
    assert nodes.read_node(store, path) == metadata
    assert nodes.read_node(store, path, zarr_format) == metadata
    assert nodes.read_node(store, path, 5 - zarr_format) is None
    assert nodes.read_node(store, f"{path}/x".lstrip("/")) is None
    assert nodes.kinds_at(store, path) == [(kind, zarr_format)]


def test_format_3_comes_first() -> None:
    store = MemoryStore()
    making.write_metadata(store, "", array(2))
    making.write_metadata(store, "", array(3))
    assert nodes.read_node(store, "").zarr_format == 3  # type: ignore[union-attr]
    assert nodes.read_node(store, "", 2).zarr_format == 2  # type: ignore[union-attr]


def test_a_node_of_format_3_is_one_request() -> None:
    store = CountingStore(MemoryStore())
    making.make_node(store, "a/b", array())
    store.reset()
    assert nodes.read_array(store, "a/b") is not None
    assert store.counts == {"get": 1}


def test_a_node_of_format_2_is_three_more() -> None:
    store = CountingStore(MemoryStore())
    making.make_node(store, "a/b", array(2))
    store.reset()
    assert nodes.read_array(store, "a/b") is not None
    assert store.counts == {"get": 4}  # three of them in one call


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_document_of_a_node_comes_last(zarr_format: Any) -> None:
    store = Order()
    making.make_node(store, "a/b", array(zarr_format))
    documents = ["zarr.json"] if zarr_format == 3 else [".zattrs", ".zgroup"]
    last = ["zarr.json"] if zarr_format == 3 else [".zattrs", ".zarray"]
    assert store.keys == [*documents, *(f"a/{d}" for d in documents), *(f"a/b/{d}" for d in last)]


def test_the_document_of_a_node_goes_first() -> None:
    store = Order()
    making.make_node(store, "a", array())
    store.set("a/c/0", b"x")
    store.keys.clear()
    making.delete_node(store, "a")
    assert store.keys[0] == "-a/zarr.json"
    assert list(store.list("a")) == []


def test_wrong_kinds() -> None:
    store = MemoryStore()
    making.make_node(store, "a", array())
    making.make_node(store, "g", GroupMetadata())
    with pytest.raises(ContainsArrayError, match="'a' in memory"):
        nodes.read_group(store, "a")
    with pytest.raises(NodeTypeValidationError, match="'g' in memory"):
        nodes.read_array(store, "g")
    with pytest.raises(MetadataError, match="zarr_format"):
        nodes.read_node(store, "a", 4)


@pytest.mark.parametrize("there", [2, 3])
@pytest.mark.parametrize("new", [2, 3])
def test_nothing_is_made_where_something_is(there: Any, new: Any) -> None:
    store = MemoryStore()
    making.make_node(store, "a", array(there))
    making.make_node(store, "g", GroupMetadata(there))
    before = {key: store.get(key) for key in store.list()}
    with pytest.raises(ContainsArrayError, match=f"format {there} array"):
        making.make_node(store, "a", GroupMetadata(new))
    with pytest.raises(ContainsGroupError, match=f"format {there} group"):
        making.make_node(store, "g", array(new))
    with pytest.raises(ContainsArrayError, match="only groups have members"):
        making.make_node(store, "a/b/c", array(new))
    assert {key: store.get(key) for key in store.list()} == before


def test_overwriting_takes_all_that_is_below() -> None:
    store = MemoryStore()
    making.make_node(store, "a/b/c", array())
    making.make_node(store, "ab", array())
    making.make_node(store, "a", array(2), overwrite=True)
    left = {".zattrs", ".zgroup", "a/.zarray", "a/.zattrs", "ab/zarr.json", "zarr.json"}
    assert set(store.list()) == left


def test_a_read_only_store_stays_as_it_is() -> None:
    store = MemoryStore()
    making.make_node(store, "a", array())
    with pytest.raises(ReadOnlyError):
        making.make_node(store.with_read_only(True), "a", array(2), overwrite=True)
    assert nodes.kinds_at(store, "a") == [("array", 3)]


def test_two_writers_cannot_both_make_a_node() -> None:
    store = MemoryStore()
    assert making.write_metadata_if_absent(store, "a", array())
    assert not making.write_metadata_if_absent(store, "a", array(shape=(9,)))
    assert nodes.read_array(store, "a") == array()


def test_messages_say_what_is_there() -> None:
    store = MemoryStore()
    assert "the store is empty" in str(nodes.not_found(store, "a/b", "array"))
    making.make_node(store, "a/b", array(2))
    for i in range(20):
        making.make_node(store, f"g/n{i:02}", GroupMetadata())
    assert "there is a Zarr format 2 array" in str(nodes.not_found(store, "a/b", "array", 3))
    assert "'a' holds '.zattrs', '.zgroup', 'b'" in str(nodes.not_found(store, "a/c", "array"))
    assert "'n00', 'n01'" in str(nodes.not_found(store, "g/x/y", "group"))
    assert "and 11 more" in str(nodes.not_found(store, "g/x/y", "group"))
    store.set("g/zarr.json", b"{")
    assert "could not be found out" in str(nodes.not_found(store, "g", "group"))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_children(zarr_format: Any) -> None:
    store = MemoryStore()
    for path in ("b", "a", "c/d/e"):
        making.make_node(store, path, array(zarr_format))
    store.set("stray", b"")
    store.set("dir/stray", b"")
    found = list(nodes.children(store, "", zarr_format))
    assert [name for name, _ in found] == ["a", "b", "c"]
    assert isinstance(found[2][1], GroupMetadata)
    assert list(nodes.children(store, "", 5 - zarr_format)) == []
    root = GroupMetadata(zarr_format)
    deep = [path for path, _ in nodes.descendants(store, "", root)]
    assert deep == ["a", "b", "c", "c/d", "c/d/e"]
    assert [path for path, _ in nodes.descendants(store, "", root, 1)] == ["a", "b", "c", "c/d"]


def test_a_store_that_cannot_list_says_so() -> None:
    store = MemoryStore()
    store.supports_listing = False
    with pytest.raises(ValueError, match="cannot list"):
        list(nodes.children(store, "", 3))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_answer_for_the_store(zarr_format: Any) -> None:
    store = CountingStore(MemoryStore())
    paths = ["A", "a", "b/a", "b/c/d", "b2"]  # interleaved, and different only in case
    for path in paths:
        making.make_node(store, path, array(zarr_format, attributes={"path": path}))
    written = making.consolidate(store, "", GroupMetadata(zarr_format))
    root = nodes.read_group(store, "")
    assert root == written
    store.reset()
    found = dict(nodes.descendants(store, "", root))
    assert set(found) == {*paths, "b", "b/c"}
    assert all(found[path].attributes == {"path": path} for path in paths)
    assert [path for path, _ in nodes.descendants(store, "", root, 0)] == ["A", "a", "b", "b2"]
    below = nodes.below(root, "b")
    assert isinstance(below, GroupMetadata)
    assert set(below.consolidated or {}) == {"a", "c", "c/d"}
    assert not store.counts
    plain = nodes.read_group(store, "", use_consolidated=False)
    assert plain is not None
    assert plain.consolidated is None


def test_consolidated_metadata_that_are_not_there() -> None:
    store = MemoryStore()
    for zarr_format in (2, 3):
        making.make_node(store, f"g{zarr_format}", GroupMetadata(zarr_format))
        with pytest.raises(MetadataError, match="no consolidated metadata"):
            nodes.read_group(store, f"g{zarr_format}", use_consolidated=True)
    with pytest.raises(TypeError, match="no key to choose"):
        nodes.read_group(store, "g3", use_consolidated=".other")


def test_consolidated_metadata_under_another_key() -> None:
    store = MemoryStore()
    making.make_node(store, "a", array(2))
    making.consolidate(store, "", GroupMetadata(2))
    store.set(".other", store.get(".zmetadata"))
    store.delete(".zmetadata")
    assert nodes.read_group(store, "").consolidated is None  # type: ignore[union-attr]
    assert set(nodes.read_group(store, "", use_consolidated=".other").consolidated) == {"a"}  # type: ignore[union-attr, arg-type]


def test_hierarchies() -> None:
    store = MemoryStore()
    made = make_nodes(store, {"/a/b": array(), "c": GroupMetadata(attributes={"x": 1})})
    assert [path for path, _ in made] == ["", "a", "c", "a/b"]
    assert make_nodes(store, {}) == []
    again = make_nodes(store, {"a/d": array()})
    assert [path for path, _ in again] == ["a/d"]
    with pytest.raises(ContainsArrayError):
        make_nodes(store, {"e": array(), "a/b": array()})
    assert nodes.kinds_at(store, "e") == []
    with pytest.raises(ContainsArrayError, match="only groups"):
        make_nodes(store, {"a/b/f": array()})
    make_nodes(store, {"a/b": GroupMetadata()}, overwrite=True)
    assert nodes.kinds_at(store, "a/b") == [("group", 3)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": array(2), "b": array(3)}, "one Zarr format"),
        ({"a": array(), "a/b": array()}, "only groups"),
        ({"a": array(), "/a/": array()}, "two nodes"),
    ],
)
def test_impossible_hierarchies(wrong: Any, message: str) -> None:
    store = MemoryStore()
    with pytest.raises(MetadataError, match=message):
        make_nodes(store, wrong)
    assert list(store.list()) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_moving(zarr_format: Any) -> None:
    store = MemoryStore()
    making.make_node(store, "a/b", array(zarr_format))
    store.set("a/b/chunk", b"1")
    making.make_node(store, "ab", array(zarr_format))
    move_node(store, "a", "x/y")
    assert nodes.kinds_at(store, "a") == []
    assert nodes.read_array(store, "x/y/b") == array(zarr_format)
    assert store.get("x/y/b/chunk") == b"1"
    assert nodes.kinds_at(store, "x") == [("group", zarr_format)]
    with pytest.raises(KeyError):
        move_node(store, "nope", "z")
    with pytest.raises(ContainsArrayError):
        move_node(store, "x", "ab")
    with pytest.raises(ValueError, match="lies in the other"):
        move_node(store, "x", "x/z")


def test_damaged_documents_are_named() -> None:
    store = MemoryStore()
    store.set("a/zarr.json", b"{nope")
    with pytest.raises(MetadataError, match=r"a/zarr\.json"):
        nodes.read_node(store, "a")
    store.set("b/.zarray", json.dumps({"zarr_format": 2}).encode())
    with pytest.raises(MetadataError, match=r"b/\.zarray"):
        nodes.read_node(store, "b")
