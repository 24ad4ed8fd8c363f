"""MemoryStore: a dict of bytes; and ManagedMemoryStore: one that all of the process finds by its name."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakValueDictionary

from gpuzarr.errors import StoreError, StoreReadError
from gpuzarr.storage.contract import Buffer, Pieces, Span, Store, byte_view, check_limit, pieces_of
from gpuzarr.storage.keys import validate_key, validate_prefix
from gpuzarr.storage.locks import thread_lock


def object_bytes(key: str, value: Any) -> bytes:
    """The bytes of a value that a mapping holds: bytes-like, or a zarr-python Buffer."""
    if type(value) is bytes:
        return value
    try:
        if hasattr(value, "to_bytes") and not isinstance(value, int):
            return bytes(value.to_bytes())
        return bytes(byte_view(value))
    except (TypeError, ValueError) as error:
        raise StoreReadError(f"{key!r} holds {type(value).__name__}, not bytes") from error


class MemoryStore(Store):
    """Objects in the mapping `store_dict` (a new one by default), as `bytes`: writing copies, reading does not.

    A pickle carries a copy of the objects, as that of a dict does.
    """

    coalesce_gap = 0
    shares_after_pickle = False

    def __init__(self, store_dict: MutableMapping[str, Any] | None = None, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self._objects: MutableMapping[str, Any] = {} if store_dict is None else store_dict

    def __str__(self) -> str:
        return f"memory://{id(self._objects)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryStore) and self._objects is other._objects

    def __hash__(self) -> int:
        return hash((MemoryStore, id(self._objects)))

    def with_read_only(self, read_only: bool = True) -> MemoryStore:
        return self._on_the_same(MemoryStore(self._objects, read_only=read_only))

    # ---- reading

    def _find(self, key: str) -> bytes | None:
        try:
            value = self._objects[key]
        except KeyError:
            return None
        return object_bytes(key, value)

    def get(self, key: str, *, limit: int | None = None) -> bytes | None:
        value = self._find(validate_key(key))
        if value is not None:
            check_limit(key, len(value), limit)
        return value

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        value = self._find(validate_key(key))
        # The bytes are their own version: the same object, or equal to it, is the same state.
        return None if value is None else pieces_of(key, value, spans, into, (value, version))

    def size(self, key: str) -> int | None:
        value = self._find(validate_key(key))
        return None if value is None else len(value)

    # ---- writing

    def set(self, key: str, value: Buffer) -> None:
        self.check_writable(key)
        self._objects[validate_key(key)] = bytes(byte_view(value))

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self.check_writable(key)
        mine = bytes(byte_view(value))
        return self._objects.setdefault(validate_key(key), mine) is mine

    def delete(self, key: str) -> None:
        self.check_writable(key)
        self._objects.pop(validate_key(key), None)

    @contextmanager
    def replacing(self, prefix: str) -> Iterator[tuple[Store, str]]:
        prefix = validate_prefix(prefix)
        self.check_writable(prefix)
        start, staged = f"{prefix}/" if prefix else "", MemoryStore()
        yield staged, prefix
        with thread_lock((MemoryStore, id(self._objects), "")):
            self.delete_prefix(prefix)
            for key in staged.list():
                if key.startswith(start):
                    self._objects[key] = staged._objects[key]

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        return thread_lock((MemoryStore, id(self._objects), validate_key(key)), timeout)

    # ---- listing

    def list(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        start = f"{prefix}/" if prefix else ""
        yield from [key for key in tuple(self._objects) if key.startswith(start)]


class _Objects(dict[str, bytes]):
    """A dict that can be found as long as somebody holds it."""

    __slots__ = ("__weakref__", "token")

    def __init__(self) -> None:
        super().__init__()
        self.token = os.urandom(16).hex()


class _Elsewhere(MutableMapping[str, bytes]):
    """What another process holds: every use is a StoreError. (Unpickling is none, or it would end dask's workers.)"""

    def __init__(self, where: str) -> None:
        self.where = self.token = where

    def _refuse(self, *_: object) -> Any:
        raise StoreError(f"{self.where}, and this is process {os.getpid()}")

    __getitem__ = __setitem__ = __delitem__ = __iter__ = __len__ = __contains__ = _refuse


_named: WeakValueDictionary[str, _Objects] = WeakValueDictionary()


class ManagedMemoryStore(MemoryStore):
    """A MemoryStore that has a name: all stores of one name in a process share their objects, which live as long
    as one of the stores does. A pickle carries the name only; in another process every use of it is a StoreError."""

    def __init__(self, name: str = "", *, read_only: bool = False) -> None:
        self._objects: _Objects | _Elsewhere
        super().__init__(_named.setdefault(name, _Objects()), read_only=read_only)
        self.name = name
        self._home = os.getpid()

    def __str__(self) -> str:
        return f"memory://{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_managed, (type(self), self.name, self.read_only, self._home))

    def _named_by(self) -> tuple[object, ...]:
        return (self._objects.token,)

    def with_read_only(self, read_only: bool = True) -> ManagedMemoryStore:
        return _managed(type(self), self.name, read_only, self._home)


def _managed(kind: type[ManagedMemoryStore], name: str, read_only: bool, home: int) -> ManagedMemoryStore:
    store = kind(name, read_only=read_only)
    if home != os.getpid():  # where chunks that are elsewhere would read as absent
        store._objects = _Elsewhere(f"memory://{name} is in the memory of process {home}")
        store._home = home
    return store
