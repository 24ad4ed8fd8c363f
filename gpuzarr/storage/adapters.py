"""Other people's stores: any mapping, and zarr-python's stores and their relatives (icechunk, ...).

zarr-python is never imported here. A store is recognised by its asynchronous methods; where its class comes from
zarr-python, that is loaded already and what its methods want is taken from there.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from gpuzarr.errors import KeyValidationError, ShortReadError, StoreError, StoreReadError, StoreWriteError
from gpuzarr.options import config
from gpuzarr.storage.contract import (
    Buffer,
    Pieces,
    Span,
    Store,
    byte_view,
    check_limit,
    copy_into,
    pieces_of,
    resolve_spans,
    validate_key,
    validate_prefix,
)
from gpuzarr.storage.event_loop import run
from gpuzarr.storage.locks import thread_lock
from gpuzarr.storage.memory import object_bytes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # slow to import

T = TypeVar("T")
_AT_HAND = ("LocalStore", "MemoryStore", "ZipStore")  # of zarr-python: nothing to wait for


class MappingStore(Store):
    """Objects in any mapping from keys to bytes; read-only where it is not a MutableMapping."""

    shares_after_pickle = False  # which no mapping says of itself

    def __init__(self, mapping: Mapping[str, Any], *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only or not isinstance(mapping, MutableMapping))
        self._mapping: Any = mapping

    def __str__(self) -> str:
        return f"mapping://{type(self._mapping).__name__}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MappingStore) and self._mapping is other._mapping

    def __hash__(self) -> int:
        return hash((MappingStore, id(self._mapping)))

    def with_read_only(self, read_only: bool = True) -> MappingStore:
        return self._on_the_same(type(self)(self._mapping, read_only=read_only))

    def get(self, key: str, *, limit: int | None = None) -> bytes | None:
        try:
            value = object_bytes(key, self._mapping[validate_key(key)])
        except KeyValidationError:
            raise
        except KeyError:
            return None
        except StoreError:
            raise
        except Exception as error:
            raise StoreReadError(f"cannot read {key!r} in {self}: {error!r}") from error
        check_limit(key, len(value), limit)
        return value

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        value = self.get(key)
        return None if value is None else pieces_of(key, value, spans, into, (value, version))

    def size(self, key: str) -> int | None:
        value = self.get(key)
        return None if value is None else len(value)

    def exists(self, key: str) -> bool:
        return validate_key(key) in self._mapping

    def set(self, key: str, value: Buffer) -> None:
        self.check_writable(key)
        self._change("write", key, lambda: self._mapping.__setitem__(validate_key(key), bytes(byte_view(value))))

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self.check_writable(key)
        with self.lock(key):
            if self.exists(key):
                return False
            self.set(key, value)
            return True

    def delete(self, key: str) -> None:
        self.check_writable(key)
        self._change("delete", key, lambda: self._mapping.pop(validate_key(key), None))

    def _change(self, verb: str, key: str, change: Callable[[], object]) -> None:
        try:
            change()
        except (KeyValidationError, StoreError):
            raise
        except Exception as error:
            raise StoreWriteError(f"cannot {verb} {key!r} in {self}: {error!r}") from error

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        return thread_lock((MappingStore, id(self._mapping), validate_key(key)), timeout)

    def list(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        start = f"{prefix}/" if prefix else ""
        yield from [key for key in list(self._mapping) if key.startswith(start) and _is_key(key)]


def is_zarr_python_store(value: Any) -> bool:
    """Whether `value` has the asynchronous methods of a zarr-python store."""
    return all(iscoroutinefunction(getattr(value, name, None)) for name in ("get", "set", "delete", "exists")) and all(
        hasattr(value, name) for name in ("list", "list_dir", "list_prefix")
    )


def from_zarr_python(store: Any) -> Store:
    """A store of ours for one of zarr-python's: on the same filesystem or obstore store where it is made of one, since
    its methods give neither versions nor conditions; else a ZarrPythonStore."""
    kind = (type(store).__module__.partition(".")[0], type(store).__name__)
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
        self.shares_after_pickle = "Memory" not in type(store).__name__
        self.in_flight = 0 if type(store).__name__ in _AT_HAND else int(config.get("async.concurrency"))
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

    def get(self, key: str, *, limit: int | None = None) -> bytes | None:
        return self.get_many([key], limit=limit)[0]

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[bytes | None]:
        found = self._get_all([validate_key(key) for key in keys], [None] * len(keys))
        for key, value in zip(keys, found, strict=True):
            check_limit(key, 0 if value is None else len(value), limit)
        return found

    def _get_all(self, keys: Sequence[str], ranges: Sequence[Any]) -> builtins.list[bytes | None]:
        types = _types_of(self._store)
        get = self._store.get

        async def get_all() -> Any:
            import asyncio  # slow to import, and nobody else here needs it

            return await asyncio.gather(
                *(get(key, types.prototype, byte_range=r) for key, r in zip(keys, ranges, strict=True))
            )

        if not keys:
            return []
        found = self._read(keys[0], get_all())
        return [None if value is None else object_bytes(key, value) for key, value in zip(keys, found, strict=True)]

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        types = _types_of(self._store)
        size = None
        if any(stop is None for _, stop in spans) or not spans:
            # A suffix or an open end has no length to compare with; with the object's size it has.
            size = self.size(key)
            if size is None:
                return None
            spans = [Span(*span) for span in resolve_spans(key, spans, size)]
        wanted = [span for span in spans if span.stop != span.start]  # stores differ about empty ranges
        found = self._get_all([validate_key(key)] * len(wanted), [types.range(*span) for span in wanted])
        if wanted and all(data is None for data in found):
            return None
        parts = iter(found)
        buffers: list[Buffer] = []
        for start, stop in spans:
            data = next(parts) if stop != start else b""
            length = (stop or 0) - start
            if data is None or len(data) != length:
                got = "nothing" if data is None else len(data)
                raise ShortReadError(f"{key!r} in {self}: expected {length} bytes from {start} on, got {got}")
            buffers.append(data)
        if into is not None:
            buffers = [copy_into(byte_view(piece), room) for piece, room in zip(buffers, into, strict=True)]
        return Pieces(buffers, size, None)

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
        buffer = _types_of(self._store).buffer(bytes(byte_view(value)))
        self._write("write", key, lambda: self._store.set(key, buffer))

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        """As atomic as the store's `set_if_not_exists`; between the threads of this process, always."""
        self.check_writable(key)
        buffer = _types_of(self._store).buffer(bytes(byte_view(value)))
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
        yield from sorted({key for key in found if key.startswith(start) and _is_key(key)})

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        found = self._read(prefix, _collect(self._store.list_dir(prefix)))
        names = {name.rstrip("/").rpartition("/")[2] for name in found}
        yield from sorted(name for name in names if name and _is_key(name))

    def close(self) -> None:
        self._store.close()


async def _collect(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


def _is_key(name: str) -> bool:
    try:
        validate_key(name)
    except KeyValidationError:
        return False
    return True


class _Types(NamedTuple):
    """What the methods of a store want to be given."""

    prototype: Any
    buffer: Callable[[bytes], Any]
    range: Callable[[int, int | None], Any]


def _types_of(store: Any) -> _Types:
    """zarr-python's own classes where `store` is built on them, ours of the same form where not."""
    if any(kind.__module__.partition(".")[0] == "zarr" for kind in type(store).__mro__):
        prototype = sys.modules["zarr.core.buffer"].default_buffer_prototype()
        cpu = sys.modules["zarr.core.buffer.cpu"].buffer_prototype
        return _Types(cpu or prototype, cpu.buffer.from_bytes, sys.modules["zarr.abc.store"].RangeByteRequest)
    return _Types(_Prototype(), _Bytes.from_bytes, _RangeByteRequest)


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
