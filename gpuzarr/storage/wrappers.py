"""Stores around a store: read-only, logging, counting. A wrapper does one thing and passes all else on."""

from __future__ import annotations

import builtins
import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any, Self, TypeVar

from gpuzarr.storage.contract import Buffer, Leftover, Pieces, Span, Store

T = TypeVar("T")


class WrapperStore(Store):
    """Passes everything on to `store`; to be subclassed."""

    def __init__(self, store: Store, *, read_only: bool | None = None) -> None:
        super().__init__(read_only=store.read_only if read_only is None else read_only)
        self._store = store
        self.supports_writes = store.supports_writes
        self.supports_deletes = store.supports_deletes
        self.supports_listing = store.supports_listing
        self.deletes_at_once = store.deletes_at_once
        self.reads_into = store.reads_into
        self.scatters = store.scatters
        self.coalesce_gap = store.coalesce_gap
        self.swaps = store.swaps
        self.lasting = store.lasting
        self.in_flight = store.in_flight
        self.shares_after_pickle = store.shares_after_pickle

    def __str__(self) -> str:
        return str(self._store)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._store == other._store

    def __hash__(self) -> int:
        return hash((type(self), self._store))

    def _named_by(self) -> tuple[object, ...]:
        return (self._store,)

    def with_read_only(self, read_only: bool = True) -> Self:
        return self._around(self._store.with_read_only(read_only))

    def _around(self, store: Store) -> Self:
        """This wrapper around another store."""
        return type(self)(store)

    def get(self, key: str, *, limit: int | None = None) -> Buffer | None:
        return self._store.get(key, limit=limit)

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[Buffer | None]:
        return self._store.get_many(keys, room, limit=limit)

    def read_into(
        self, keys: Sequence[str], room: Buffer, stride: int, *, checked: bool = False, packed: bool = False
    ) -> builtins.list[int | None]:
        return self._store.read_into(keys, room, stride, checked=checked, packed=packed)

    def read_parts(
        self, keys: Sequence[str], starts: Sequence[int], outs: Sequence[Buffer], *, checked: bool = False
    ) -> builtins.list[int | None]:
        return self._store.read_parts(keys, starts, outs, checked=checked)

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        return self._store.get_ranges(key, spans, version=version, into=into)

    def size(self, key: str) -> int | None:
        return self._store.size(key)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def set(self, key: str, value: Buffer) -> None:
        self.check_writable(key)
        self._store.set(key, value)

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        self.check_writable("")
        self._store.set_many(items)

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self.check_writable(key)
        return self._store.set_if_absent(key, value)

    def delete(self, key: str) -> None:
        self.check_writable(key)
        self._store.delete(key)

    def delete_prefix(self, prefix: str) -> None:
        self.check_writable(prefix)
        self._store.delete_prefix(prefix)

    def update(
        self,
        key: str,
        change: Callable[[Buffer | None], Buffer | None],
        *,
        timeout: float = 60.0,
        limit: int | None = None,
    ) -> None:
        self.check_writable(key)
        if self.swaps:
            self._store.update(key, change, timeout=timeout, limit=limit)
        else:  # by this store's own `get` and `set`, which a subclass may have replaced
            super().update(key, change, timeout=timeout, limit=limit)

    @contextmanager
    def replacing(self, prefix: str) -> Iterator[tuple[Store, str]]:
        self.check_writable(prefix)
        with self._store.replacing(prefix) as (place, path):
            yield self if place is self._store else self._around(place), path

    def move(self, source: str, target: str) -> bool:
        self.check_writable(target)
        return self._store.move(source, target)

    def flush(self) -> None:
        self._store.flush()

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        return self._store.leftovers(prefix)

    def remove_leftover(self, leftover: Leftover) -> None:
        self.check_writable(leftover.name)
        self._store.remove_leftover(leftover)

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        self.check_writable(key)
        return self._store.lock(key, timeout=timeout)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self._store.list(prefix)

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return self._store.list_sizes(prefix)

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        return self._store.list_dir(prefix)

    def close(self) -> None:
        self._store.close()


class ReadOnlyStore(WrapperStore):
    """A view of `store` that refuses writes."""

    supports_writes = supports_deletes = False

    def __init__(self, store: Store) -> None:
        super().__init__(store, read_only=True)
        self.supports_writes = self.supports_deletes = False

    def with_read_only(self, read_only: bool = True) -> Store:  # type: ignore[override]
        return self if read_only else self._store.with_read_only(False)


class WatchingStore(WrapperStore):
    """Tells `note` about every operation: its name, its keys, the bytes that went through, the seconds it took."""

    def note(self, operation: str, keys: Sequence[str], nbytes: int, seconds: float) -> None:
        """Called after every operation that did not raise."""
        raise NotImplementedError

    def _watch(self, operation: str, keys: Sequence[str], nbytes: Callable[[T], int], run: Callable[[], T]) -> T:
        start = perf_counter()
        result = run()
        self.note(operation, keys, nbytes(result), perf_counter() - start)
        return result

    def get(self, key: str, *, limit: int | None = None) -> Buffer | None:
        return self._watch("get", [key], _nbytes, lambda: super(WatchingStore, self).get(key, limit=limit))

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[Buffer | None]:
        def run() -> builtins.list[Buffer | None]:
            return super(WatchingStore, self).get_many(keys, room, limit=limit)

        return self._watch("get", keys, lambda found: sum(map(_nbytes, found)), run)

    def read_into(
        self, keys: Sequence[str], room: Buffer, stride: int, *, checked: bool = False, packed: bool = False
    ) -> builtins.list[int | None]:
        def run() -> builtins.list[int | None]:
            return super(WatchingStore, self).read_into(keys, room, stride, checked=checked, packed=packed)

        return self._watch("get", keys, _total, run)

    def read_parts(
        self, keys: Sequence[str], starts: Sequence[int], outs: Sequence[Buffer], *, checked: bool = False
    ) -> builtins.list[int | None]:
        return self._watch(
            "get_ranges",
            keys,
            lambda sizes: sum(len(out) for out, size in zip(outs, sizes, strict=True) if size is not None),
            lambda: super(WatchingStore, self).read_parts(keys, starts, outs, checked=checked),
        )

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        return self._watch(
            "get_ranges",
            [key],
            lambda pieces: 0 if pieces is None else sum(map(_nbytes, pieces.buffers)),
            lambda: super(WatchingStore, self).get_ranges(key, spans, version=version, into=into),
        )

    def size(self, key: str) -> int | None:
        return self._watch("size", [key], _nothing, lambda: super(WatchingStore, self).size(key))

    def exists(self, key: str) -> bool:
        return self._watch("exists", [key], _nothing, lambda: super(WatchingStore, self).exists(key))

    def set(self, key: str, value: Buffer) -> None:
        self._watch("set", [key], lambda _: _nbytes(value), lambda: super(WatchingStore, self).set(key, value))

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        for key, value in items:
            self.set(key, value)

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        return self._watch(
            "set_if_absent",
            [key],
            lambda done: _nbytes(value) if done else 0,
            lambda: super(WatchingStore, self).set_if_absent(key, value),
        )

    def update(
        self,
        key: str,
        change: Callable[[Buffer | None], Buffer | None],
        *,
        timeout: float = 60.0,
        limit: int | None = None,
    ) -> None:
        if self.swaps:
            run = super().update
            self._watch("update", [key], _nothing, lambda: run(key, change, timeout=timeout, limit=limit))
        else:
            super().update(key, change, timeout=timeout, limit=limit)

    def delete(self, key: str) -> None:
        self._watch("delete", [key], _nothing, lambda: super(WatchingStore, self).delete(key))

    def delete_prefix(self, prefix: str) -> None:
        self._watch("delete_prefix", [prefix], _nothing, lambda: super(WatchingStore, self).delete_prefix(prefix))

    def list(self, prefix: str = "") -> Iterator[str]:
        self.note("list", [prefix], 0, 0.0)
        return super().list(prefix)

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        self.note("list", [prefix], 0, 0.0)
        return super().list_sizes(prefix)

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        self.note("list_dir", [prefix], 0, 0.0)
        return super().list_dir(prefix)


class LoggingStore(WatchingStore):
    """Logs every operation on `store` with its keys, bytes and duration, to the logger "gpuzarr.storage"."""

    def __init__(
        self, store: Store, log_level: str | int = "DEBUG", log_handler: logging.Handler | None = None
    ) -> None:
        super().__init__(store)
        self.log_level, self.log_handler = log_level, log_handler
        self.logger = logging.Logger("gpuzarr.storage", log_level)
        self.logger.parent = logging.getLogger()  # not registered: two stores may log at two levels
        if log_handler is not None:
            self.logger.addHandler(log_handler)
            self.logger.propagate = False

    def _around(self, store: Store) -> Self:
        return type(self)(store, self.log_level, self.log_handler)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self._store, self.log_level))  # handlers hold files and locks

    def note(self, operation: str, keys: Sequence[str], nbytes: int, seconds: float) -> None:
        what = repr(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"
        level = self.logger.level
        self.logger.log(level, "%s %s: %d bytes, %.3f ms, %s", operation, what, nbytes, seconds * 1e3, self._store)


class CountingStore(WatchingStore):
    """Counts what goes through: `counts` of requested keys by operation, `bytes_read`, `bytes_written`, and the
    `keys` that were asked for, in order."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._guard = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.counts: Counter[str] = Counter()
        self.keys: builtins.list[tuple[str, str]] = []
        self.bytes_read = self.bytes_written = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self._store,))

    def note(self, operation: str, keys: Sequence[str], nbytes: int, seconds: float) -> None:
        with self._guard:
            self.counts[operation] += len(keys)
            self.keys += [(operation, key) for key in keys]
            if operation.startswith("set"):
                self.bytes_written += nbytes
            else:
                self.bytes_read += nbytes


def _nbytes(value: Buffer | None) -> int:
    return 0 if value is None else memoryview(value).nbytes


def _total(sizes: Sequence[int | None]) -> int:
    return sum(size for size in sizes if size is not None)


def _nothing(_: object) -> int:
    return 0
