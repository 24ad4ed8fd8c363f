"""MappingStore: any mapping from keys to bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gpuzarr.errors import KeyValidationError, StoreError, StoreReadError, StoreWriteError
from gpuzarr.storage.contract import Buffer, Pieces, Span, Store, byte_view, check_limit, pieces_of
from gpuzarr.storage.keys import is_key, validate_key, validate_prefix
from gpuzarr.storage.locks import thread_lock
from gpuzarr.storage.memory import object_bytes


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
        if value is None:
            return None
        # Whoever keeps a version must not keep the object with it, which a mapping may make anew at every look.
        return pieces_of(key, value, spans, into, ((len(value), hash(value)), version))

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
        yield from [key for key in list(self._mapping) if key.startswith(start) and is_key(key)]
