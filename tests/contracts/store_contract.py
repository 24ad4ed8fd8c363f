"""What every store must do. A test module subclasses `StoreContract` and gives a `store` fixture."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gpuzarr.errors import (
    KeyValidationError,
    LimitError,
    LockTimeoutError,
    ObjectChangedError,
    ReadOnlyError,
    ShortReadError,
    StoreError,
)
from gpuzarr.storage import Span, Store

BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "../secret",
    "a/../../secret",
    "a/./b",
    "a/...",
    "a\0b",
    "a\\b",
    ".gz-0123456789abcdef.tmp",
    "a/.gz-b",
    "a/b.__gzlock",
    "x" * 1025,
    "é" * 600,
]
OBJECTS = {"zarr.json": b"{}", "foo/zarr.json": b"[1]", "foo/c/0/0": b"abcdef", "foobar/c/0": b"", "__x/é": b"1"}


class StoreContract:
    """Subclass and give the fixture `store`: an empty store that takes writes."""

    versions = True  # whether `get_ranges` notices that an object was replaced
    shares_after_pickle: bool | None = True  # None: cannot be pickled while it takes writes

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def filled(self, store: Store) -> Store:
        store.set_many(OBJECTS.items())
        return store

    # ---- reading and writing

    def test_a_missing_object_is_none(self, store: Store) -> None:
        assert store.get("a/b") is None
        assert store.size("a/b") is None
        assert not store.exists("a/b")
        assert store.get_ranges("a/b", [Span(0, 1)]) is None
        assert store.get_ranges("a/b", [Span(-1, None)]) is None
        assert store.get_ranges("a/b", [Span(0, None)]) is None
        assert store.get_ranges("a/b", []) is None
        assert store.get_many(["a/b", "zarr.json"]) == [None, None]
        assert store.read_into(["a/b"], bytearray(4), 4) == [None]
        assert store.read_parts(["a/b"], [0], [bytearray(4)]) == [None]
        assert list(store.list()) == []
        assert list(store.list_dir("a")) == []
        store.delete("a/b")

    def test_what_was_set_is_got(self, filled: Store) -> None:
        for key, value in OBJECTS.items():
            assert bytes(filled.get(key)) == value
            assert filled.size(key) == len(value)
            assert filled.exists(key)

    def test_a_prefix_is_no_object(self, filled: Store) -> None:
        assert filled.get("foo") is None
        assert filled.get("foo/c") is None
        assert filled.size("foo/c") is None
        assert not filled.exists("foo")
        assert filled.get("foo/c/0/0/1") is None  # an object is no prefix
        filled.delete("foo/c")
        assert filled.exists("foo/c/0/0")

    @pytest.mark.parametrize("value", [b"", b"x", bytes(range(256)) * 300, bytearray(b"ab"), memoryview(b"cd")])
    def test_every_kind_of_value(self, store: Store, value: Any) -> None:
        store.set("k/v", value)
        assert bytes(store.get("k/v")) == bytes(value)

    def test_an_array_of_several_axes_is_its_bytes(self, store: Store) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.arange(12, dtype="<u2").reshape(3, 4)
        store.set("k", array)
        assert bytes(store.get("k")) == array.tobytes()
        store.set("k", array[:0])
        assert bytes(store.get("k")) == b""

    def test_the_store_keeps_its_own_copy(self, store: Store) -> None:
        value = bytearray(b"before")
        store.set("a/k", value)
        value[:] = b"after!"
        assert bytes(store.get("a/k")) == b"before"

    def test_an_object_is_replaced(self, store: Store) -> None:
        for value in (b"first", b"", b"the third one"):
            for key in ("a/k", "a/zarr.json"):
                store.set(key, value)
                assert bytes(store.get(key)) == value
        assert sorted(store.list()) == ["a/k", "a/zarr.json"]

    def test_set_if_absent(self, store: Store) -> None:
        assert store.set_if_absent("a/k", b"1")
        assert not store.set_if_absent("a/k", b"2")
        assert bytes(store.get("a/k")) == b"1"
        assert list(store.list()) == ["a/k"]

    def test_deleted_is_absent(self, filled: Store) -> None:
        filled.delete("foo/zarr.json")
        filled.delete("foo/zarr.json")
        filled.delete("no/such/thing")
        assert filled.get("foo/zarr.json") is None
        assert sorted(filled.list("foo")) == ["foo/c/0/0"]

    def test_limit(self, filled: Store) -> None:
        assert bytes(filled.get("foo/c/0/0", limit=6)) == b"abcdef"
        with pytest.raises(LimitError, match=r"foo/c/0/0.* 6 bytes"):
            filled.get("foo/c/0/0", limit=5)
        for room in (None, bytearray(100)):
            assert filled.get_many(["none", "foobar/c/0", "foo/c/0/0"], room, limit=6)[2] == b"abcdef"
            with pytest.raises(LimitError, match=r"foo/c/0/0.* 6 bytes"):
                filled.get_many(["none", "foobar/c/0", "foo/c/0/0"], room, limit=5)

    # ---- many at once

    def test_get_many_keeps_the_order(self, filled: Store) -> None:
        keys = ["foo/c/0/0", "missing", "foobar/c/0", "zarr.json", "foo/c/0/0"]
        want = [b"abcdef", None, b"", b"{}", b"abcdef"]
        for room in (None, bytearray(100), bytearray(5), bytearray(10)):
            found = filled.get_many(keys, room)
            assert [None if value is None else bytes(value) for value in found] == want
        assert filled.get_many([]) == []

    def test_read_into_puts_objects_at_a_stride(self, filled: Store) -> None:
        room = bytearray(b"." * 24)
        keys = ["foo/c/0/0", "missing", "zarr.json", "foobar/c/0"]
        assert filled.read_into(keys, room, 6) == [6, None, 2, 0]
        assert room[:6] == b"abcdef"
        assert room[12:14] == b"{}"
        assert filled.read_into(keys, room, 6, checked=True) == [6, None, 2, 0]

    def test_read_into_puts_objects_one_behind_another(self, filled: Store) -> None:
        keys = ["foo/c/0/0", "missing", "foobar/c/0", "zarr.json", "foo/c/0/0"]
        for checked in (False, True):
            room = bytearray(b"." * 20)
            assert filled.read_into(keys, room, 6, checked=checked, packed=True) == [6, None, 0, 2, 6]
            assert room[:14] == b"abcdef{}abcdef"
            room = bytearray(b"." * 9)  # too little for the last one
            assert filled.read_into(keys, room, 6, checked=checked, packed=True) == [6, None, 0, 2, 6]
            assert room[:8] == b"abcdef{}"
            room = bytearray(b"." * 8)  # just enough for what is no longer than 5
            assert filled.read_into(keys, room, 5, checked=checked, packed=True) == [6, None, 0, 2, 6]
            assert room[:2] == b"{}"
        assert filled.read_into(keys, bytearray(0), 6, packed=True) == [6, None, 0, 2, 6]

    def test_read_into_tells_that_an_object_did_not_fit(self, filled: Store) -> None:
        room = bytearray(b"." * 10)
        assert filled.read_into(["foo/c/0/0", "zarr.json"], room, 5) == [6, 2]
        assert room[5:7] == b"{}"

    def test_parts_come_with_the_size_of_the_whole(self, filled: Store) -> None:
        keys = ["foo/c/0/0", "nowhere", "zarr.json", "foo/c/0/0", "foobar/c/0"]
        outs = [bytearray(3), bytearray(3), bytearray(1), bytearray(7), bytearray(0)]
        assert filled.read_parts(keys, [2, 0, 1, 0, 0], outs) == [6, None, 2, 6, 0]
        assert (outs[0], outs[2]) == (b"cde", b"}")
        assert filled.read_parts(["foo/c/0/0"], [4], [bytearray(3)], checked=True) == [6]

    # ---- ranges

    def test_ranges(self, filled: Store) -> None:
        spans = [Span(0, 2), Span(4, 6), Span(2, None), Span(-2, None), Span(-99, None), Span(3, 3), Span(6, None)]
        pieces = filled.get_ranges("foo/c/0/0", spans)
        assert pieces is not None
        assert [bytes(piece) for piece in pieces.buffers] == [b"ab", b"ef", b"cdef", b"ef", b"abcdef", b"", b""]
        assert pieces.size in (6, None)
        empty = filled.get_ranges("foobar/c/0", [Span(-4, None), Span(0, None), Span(0, 0)])
        assert empty is not None
        assert [bytes(piece) for piece in empty.buffers] == [b"", b"", b""]

    def test_ranges_into_memory_of_the_caller(self, filled: Store) -> None:
        room = bytearray(8)
        view = memoryview(room)
        pieces = filled.get_ranges("foo/c/0/0", [Span(1, 3), Span(-2, None)], into=[view[:2], view[4:]])
        assert pieces is not None
        assert [bytes(piece) for piece in pieces.buffers] == [b"bc", b"ef"]
        assert room == b"bc\0\0ef\0\0"

    @pytest.mark.parametrize("span", [Span(0, 7), Span(7, None), Span(6, 7), Span(100, 200)])
    def test_a_range_beyond_the_end_is_an_error(self, filled: Store, span: Span) -> None:
        with pytest.raises(ShortReadError, match="foo/c/0/0"):
            filled.get_ranges("foo/c/0/0", [Span(0, 1), span])

    def test_ranges_of_another_state_are_refused(self, filled: Store) -> None:
        first = filled.get_ranges("foo/c/0/0", [Span(0, 1)])
        assert first is not None
        assert (first.version is not None) == self.versions
        again = filled.get_ranges("foo/c/0/0", [Span(1, 2)], version=first.version)
        assert again is not None
        assert bytes(again.buffers[0]) == b"b"
        filled.set("foo/c/0/0", b"ABCDEF")
        if self.versions:
            with pytest.raises(ObjectChangedError, match="foo/c/0/0"):
                filled.get_ranges("foo/c/0/0", [Span(1, 2)], version=first.version)

    # ---- keys

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused_everywhere(self, store: Store, key: str) -> None:
        operations: list[Callable[[], object]] = [
            lambda: store.get(key),
            lambda: store.get_many(["a", key]),
            lambda: store.read_into(["a", key], bytearray(2), 1),
            lambda: store.read_parts([key], [0], [bytearray(1)]),
            lambda: store.get_ranges(key, [Span(0, 1)]),
            lambda: store.size(key),
            lambda: store.exists(key),
            lambda: store.set(key, b""),
            lambda: store.set_many([(key, b"")]),
            lambda: store.set_if_absent(key, b""),
            lambda: store.delete(key),
            lambda: store.lock(key).__enter__(),
        ]
        for operation in operations:
            with pytest.raises(KeyValidationError):
                operation()
        if key.strip("/") and key not in ("/a", "a/"):
            for listing in (store.list, store.list_sizes, store.list_dir):
                with pytest.raises(KeyValidationError):
                    list(listing(key))
            with pytest.raises(KeyValidationError):
                store.delete_prefix(key)
        assert list(store.list()) == []

    @pytest.mark.parametrize("key", ["a b", "c.0.1", ".zarray", "..a", "*[?]", "a%2Fb", "__x", "日本", "gz-1.tmp"])
    def test_odd_keys_are_taken_as_they_are(self, store: Store, key: str) -> None:
        store.set(f"d/{key}", b"1")
        store.set("d/other", b"22")
        assert bytes(store.get(f"d/{key}")) == b"1"
        assert sorted(store.list("d")) == sorted([f"d/{key}", "d/other"])
        store.delete(f"d/{key}")
        assert list(store.list()) == ["d/other"]

    def test_case_is_kept(self, store: Store) -> None:
        store.set("d/A", b"1")
        assert list(store.list()) == ["d/A"]

    # ---- listing

    def test_list_takes_whole_segments(self, filled: Store) -> None:
        assert sorted(filled.list()) == sorted(OBJECTS)
        assert sorted(filled.list("foo")) == ["foo/c/0/0", "foo/zarr.json"]
        assert sorted(filled.list("/foo/")) == ["foo/c/0/0", "foo/zarr.json"]
        assert sorted(filled.list("fo")) == []
        assert dict(filled.list_sizes("foo")) == {"foo/c/0/0": 6, "foo/zarr.json": 3}

    def test_list_dir(self, filled: Store) -> None:
        assert sorted(filled.list_dir()) == ["__x", "foo", "foobar", "zarr.json"]
        assert sorted(filled.list_dir("foo")) == ["c", "zarr.json"]
        assert sorted(filled.list_dir("foo/c")) == ["0"]
        assert sorted(filled.list_dir("nothing")) == []

    def test_delete_prefix_takes_whole_segments(self, filled: Store) -> None:
        filled.delete_prefix("foo")
        assert sorted(filled.list()) == ["__x/é", "foobar/c/0", "zarr.json"]
        filled.delete_prefix("foo")
        filled.delete_prefix("zarr.json")  # an object, not a prefix
        assert filled.exists("zarr.json")
        filled.delete_prefix("")
        assert list(filled.list()) == []

    # ---- access, locks, life

    def test_read_only(self, filled: Store) -> None:
        view = filled.with_read_only()
        assert view.read_only
        assert not filled.read_only
        assert bytes(view.get("zarr.json")) == b"{}"
        writes: list[Callable[[], object]] = [
            lambda: view.set("zarr.json", b""),
            lambda: view.set_many([("zarr.json", b"")]),
            lambda: view.set_if_absent("new", b""),
            lambda: view.delete("zarr.json"),
            lambda: view.delete_prefix("foo"),
            lambda: view.check_writable("zarr.json"),
        ]
        for write in writes:
            with pytest.raises(ReadOnlyError, match="read-only"):
                write()
        assert sorted(filled.list()) == sorted(OBJECTS)
        again = view.with_read_only(False)
        again.set("zarr.json", b"new")
        assert bytes(filled.get("zarr.json")) == b"new"

    def test_equal_to_itself_only(self, store: Store) -> None:
        assert store == store.with_read_only().with_read_only(False)
        assert hash(store) == hash(store.with_read_only().with_read_only(False))
        assert store != object()

    def test_names_itself(self, store: Store) -> None:
        assert str(store)
        assert type(store).__name__ in repr(store)

    def test_pickle(self, filled: Store) -> None:
        if self.shares_after_pickle is None:
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(filled)
            return
        twin = pickle.loads(pickle.dumps(filled))
        assert sorted(twin.list()) == sorted(OBJECTS)
        twin.set("new", b"1")
        assert filled.exists("new") == self.shares_after_pickle

    def test_threads(self, store: Store) -> None:
        failures: list[BaseException] = []

        def work(worker: int) -> None:
            try:
                for i in range(20):
                    key, value = f"t/{worker}/{i}", bytes([worker]) * (i + 1)
                    store.set(key, value)
                    store.set("t/shared", bytes([worker]) * 1000)
                    assert bytes(store.get(key)) == value
                    assert len(set(bytes(store.get("t/shared")))) == 1
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert not failures
        assert len(list(store.list("t"))) == 4 * 20 + 1

    def test_lock_keeps_threads_apart(self, store: Store) -> None:
        store.set("n", b"0")

        def work() -> None:
            for _ in range(15):
                with store.lock("n"):
                    store.set("n", str(int(bytes(store.get("n"))) + 1).encode())

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert bytes(store.get("n")) == b"60"
        assert list(store.list()) == ["n"]

    def test_lock_has_a_deadline(self, store: Store) -> None:
        with store.lock("a/k"):
            with pytest.raises(LockTimeoutError), store.lock("a/k", timeout=0.01):
                pass
            with store.lock("a/other", timeout=0.01):
                pass
        with store.lock("a/k", timeout=0.01):
            pass

    def test_errors_are_of_one_tree(self, store: Store) -> None:
        with pytest.raises((StoreError, KeyValidationError)), store.with_read_only() as view:
            view.set("a", b"")
