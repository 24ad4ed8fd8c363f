"""zarr-python's stores and their relatives (icechunk, ...).

zarr-python is never imported here. A store is recognised by its asynchronous methods; where its class comes from
zarr-python, that is loaded already and what its methods want is taken from there.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from gpuzarr.errors import ShortReadError, StoreError, StoreReadError, StoreWriteError
from gpuzarr.options import config
from gpuzarr.storage.contract import Buffer, Pieces, Span, Store, byte_view, check_limit, copy_into, resolve_spans
from gpuzarr.storage.event_loop import gather, run
from gpuzarr.storage.keys import is_key, validate_key, validate_prefix
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.locks import thread_lock
from gpuzarr.storage.memory import object_bytes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # slow to import

T = TypeVar("T")
# Stores of zarr-python which have nothing to wait for; those whose `get` is a coroutine in name only come first.
_AT_ONCE = ("MemoryStore", "ManagedMemoryStore", "GpuMemoryStore", "ZipStore")
_AT_HAND = (*_AT_ONCE, "LocalStore")


def is_zarr_python_store(value: Any) -> bool:
    """Whether `value` has the asynchronous methods of a zarr-python store."""
    return all(iscoroutinefunction(getattr(value, name, None)) for name in ("get", "set", "delete", "exists")) and all(
        hasattr(value, name) for name in ("list", "list_dir", "list_prefix")
    )


def from_zarr_python(store: Any) -> Store:
    """A store of ours for one of zarr-python's: on the same directory, filesystem or obstore store where it is made of
    one, since its methods give neither versions nor conditions; else a ZarrPythonStore."""
    kind = (type(store).__module__.partition(".")[0], type(store).__name__)
    if kind == ("zarr", "LocalStore"):
        return LocalStore(store.root, read_only=store.read_only)
    if kind == ("zarr", "FsspecStore"):
        from gpuzarr.storage.fsspec import FsspecStore

        allowed = tuple(store.allowed_exceptions)
        return FsspecStore(store.fs, path=store.path, read_only=store.read_only, allowed_exceptions=allowed)
    if kind == ("zarr", "ObjectStore"):
        from gpuzarr.storage.obstore import ObjectStore

        return ObjectStore(store.store, read_only=store.read_only)
    return ZarrPythonStore(store)


class ZarrPythonStore(Store):
    """A zarr-python store, or one with the same asynchronous methods, run on a private event loop, or on `loop`, which
    runs in another thread.

    `timeout`: seconds that one call may take.
    """

    coalesce_gap = 1 << 20

    def __init__(
        self,
        store: Any,
        *,
        read_only: bool | None = None,
        timeout: float = 600.0,
        loop: AbstractEventLoop | None = None,
    ) -> None:
        its_own = bool(getattr(store, "read_only", False))
        super().__init__(read_only=its_own if read_only is None else read_only or its_own)
        self._store, self.timeout, self._loop = store, timeout, loop
        name = type(store).__name__ if type(store).__module__.startswith("zarr.storage.") else ""
        self._at_once = name in _AT_ONCE
        self.shares_after_pickle = "Memory" not in type(store).__name__
        self.in_flight = 0 if name in _AT_HAND else int(config.get("async.concurrency"))
        self.supports_writes = bool(getattr(store, "supports_writes", True))
        self.supports_deletes = bool(getattr(store, "supports_deletes", True))
        self.supports_listing = bool(getattr(store, "supports_listing", True))

    def __str__(self) -> str:
        return str(self._store)

    def __repr__(self) -> str:
        return f"ZarrPythonStore({self._store!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZarrPythonStore) and bool(self._store == other._store)

    def __hash__(self) -> int:
        return hash((ZarrPythonStore, str(self._store)))

    def with_read_only(self, read_only: bool = True) -> ZarrPythonStore:
        store = self._store
        if not read_only and getattr(store, "read_only", False):
            store = store.with_read_only(False)
        return self._on_the_same(type(self)(store, read_only=read_only, timeout=self.timeout, loop=self._loop))

    # ---- reading

    def _read(self, key: str, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return run(coroutine, self.timeout, self._loop)
        except Exception as error:  # noqa: BLE001  whatever such a store raises
            self._fail(StoreReadError, "read", key, error)

    def _fail(self, kind: type[StoreError], verb: str, key: str, error: Exception) -> NoReturn:
        raise kind(f"cannot {verb} {key!r} in {self}: {error!r}") from error

    def get(self, key: str, *, limit: int | None = None) -> Buffer | None:
        return self.get_many([key], limit=limit)[0]

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[Buffer | None]:
        found = self._get_all([validate_key(key) for key in keys], [None] * len(keys))
        for key, value in zip(keys, found, strict=True):
            check_limit(key, 0 if value is None else len(value), limit)
        return found

    def _get_all(self, keys: Sequence[str], ranges: Sequence[Any]) -> builtins.list[Buffer | None]:
        if not keys:
            return []
        get, prototype = self._store.get, _types_of(self._store).prototype
        # Opening a store is for the loop, where nothing comes between a look at `_is_open` and what follows.
        if self._at_once and getattr(self._store, "_is_open", False):
            found = [self._at(key, get(key, prototype, byte_range=r)) for key, r in zip(keys, ranges, strict=True)]
        else:
            requests = [get(key, prototype, byte_range=r) for key, r in zip(keys, ranges, strict=True)]
            found = self._read(keys[0], gather(requests))
        return [None if value is None else _memory_of(key, value) for key, value in zip(keys, found, strict=True)]

    def _at(self, key: str, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that waits for nothing, which needs no loop nor the way to its thread and back."""
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001  whatever such a store raises
            self._fail(StoreReadError, "read", key, error)
        coroutine.close()
        raise StoreReadError(f"cannot read {key!r} in {self}: it waits, where such stores do not")

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        types = _types_of(self._store)
        size = None
        if any(stop is None and (start >= 0 or types.suffix is None) for start, stop in spans) or not spans:
            # An open end has no length to compare with; with the object's size it has.
            size = self.size(key)
            if size is None:
                return None
            spans = [Span(*span) for span in resolve_spans(key, spans, size)]
        wanted = [span for span in spans if span.stop != span.start]  # stores differ about empty ranges
        found = self._get_all([validate_key(key)] * len(wanted), [types.request(span) for span in wanted])
        if wanted and all(data is None for data in found):
            return None
        parts = iter(found)
        buffers: list[Buffer] = []
        for span in spans:
            data = next(parts) if span.stop != span.start else b""
            self._check(key, span, data)
            buffers.append(data)
        if into is not None:
            buffers = [copy_into(byte_view(piece), room) for piece, room in zip(buffers, into, strict=True)]
        return Pieces(buffers, size, None)

    def _check(self, key: str, span: Span, data: Buffer | None) -> None:
        """ShortReadError where these are not all bytes of a range."""
        start, stop = span
        length, got = -start if stop is None else stop - start, "nothing" if data is None else len(data)
        if got == length or (stop is None and got == self.size(key)):  # a suffix may be all of a shorter object
            return
        raise ShortReadError(f"{key!r} in {self}: expected {length} bytes from {start} on, got {got}")

    def size(self, key: str) -> int | None:
        if not self.exists(key):  # zarr-python's LocalStore tells a size for directories, too
            return None
        if not hasattr(self._store, "getsize"):
            value = self.get(key)
            return None if value is None else len(value)
        try:
            return int(run(self._store.getsize(key), self.timeout, self._loop))
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  whatever such a store raises
            self._fail(StoreReadError, "read", key, error)

    def exists(self, key: str) -> bool:
        return bool(self._read(key, self._store.exists(validate_key(key))))

    # ---- writing

    def _write(self, verb: str, key: str, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.check_writable(key)
        validate_key(key)
        try:
            return run(make(), self.timeout, self._loop)
        except Exception as error:  # noqa: BLE001  whatever such a store raises
            self._fail(StoreWriteError, verb, key, error)

    def set(self, key: str, value: Buffer) -> None:
        buffer = _types_of(self._store).buffer(value)
        self._write("write", key, lambda: self._store.set(key, buffer))

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        """As atomic as the store's `set_if_not_exists`; between the threads of this process, always."""
        self.check_writable(key)
        buffer = _types_of(self._store).buffer(value)
        with self.lock(key):
            if self.exists(key):
                return False
            put = getattr(self._store, "set_if_not_exists", self._store.set)
            self._write("write", key, lambda: put(key, buffer))
            return True

    def delete(self, key: str) -> None:
        self.check_writable(key)
        if not self.exists(key):  # zarr-python's LocalStore would delete all that is below a prefix
            return
        try:
            self._write("delete", key, lambda: self._store.delete(key))
        except StoreWriteError as error:
            if not isinstance(error.__cause__, (FileNotFoundError, KeyError)):
                raise

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        return thread_lock((ZarrPythonStore, id(self._store), validate_key(key)), timeout)

    # ---- listing and life

    def list(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        start = f"{prefix}/" if prefix else ""
        found = self._read(prefix, _collect(self._store.list_prefix(start) if prefix else self._store.list()))
        # Stores differ on whether a listed key begins with the prefix, and on "foobar" below "foo".
        yield from sorted({key for key in found if key.startswith(start) and is_key(key)})

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        found = self._read(prefix, _collect(self._store.list_dir(prefix)))
        names = {name.rstrip("/").rpartition("/")[2] for name in found}
        yield from sorted(name for name in names if name and is_key(name))

    def close(self) -> None:
        self._store.close()


def _memory_of(key: str, value: Any) -> Buffer:
    """The bytes of an answer: where they lie, in a buffer of zarr-python's; else a copy."""
    array = value.as_numpy_array() if hasattr(value, "as_numpy_array") else None
    if array is None or array.itemsize != 1 or not array.flags.c_contiguous:
        return object_bytes(key, value)
    return byte_view(array.view(np.uint8)).toreadonly()


async def _collect(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


class _Types(NamedTuple):
    """What the methods of a store want to be given."""

    prototype: Any
    buffer: Callable[[Buffer], Any]  # of a value that may change, so of a copy
    range: Callable[[int, int | None], Any]
    suffix: Callable[[int], Any] | None  # None: nobody says how to ask for one

    def request(self, span: Span) -> Any:
        """A range, as the methods want it."""
        start, stop = span
        return self.suffix(-start) if self.suffix is not None and stop is None else self.range(start, stop)


def _types_of(store: Any) -> _Types:
    """zarr-python's own classes where `store` is built on them, ours of the same form where not."""
    if any(kind.__module__.partition(".")[0] == "zarr" for kind in type(store).__mro__):
        prototype = sys.modules["zarr.core.buffer"].default_buffer_prototype()
        cpu = sys.modules["zarr.core.buffer.cpu"].buffer_prototype
        requests = sys.modules["zarr.abc.store"]
        return _Types(
            cpu or prototype,
            lambda value: cpu.buffer.from_bytes(_copy(value)),
            requests.RangeByteRequest,
            requests.SuffixByteRequest,
        )
    return _Types(_Prototype(), _Bytes.from_bytes, _RangeByteRequest, None)


def _copy(value: Buffer) -> Buffer:
    """The bytes of a value, in memory of their own; NumPy's, as the system gives that in large pages."""
    return value if type(value) is bytes else np.array(byte_view(value))


@dataclass(frozen=True)
class _RangeByteRequest:
    start: int
    end: int | None


class _Bytes:
    """The least that a zarr-python buffer can be."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def from_bytes(cls, data: Buffer) -> _Bytes:
        return cls(bytes(byte_view(data)))

    @classmethod
    def from_buffer(cls, buffer: Any) -> _Bytes:
        return cls(buffer.to_bytes())

    def to_bytes(self) -> bytes:
        return self._data

    def as_buffer_like(self) -> bytes:
        return self._data

    def __len__(self) -> int:
        return len(self._data)


class _Prototype:
    buffer = nd_buffer = _Bytes
