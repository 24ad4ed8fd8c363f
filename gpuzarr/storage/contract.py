"""What a store is: a small, blocking contract.

A store maps keys ("a/zarr.json", "a/c/0/1") to objects (bytes). Missing is `None`; every other failure raises
a `StoreError` that names the key and chains the cause. Every byte count is compared with what was asked for.
Keys are checked once, here (`validate_key`), by every store in every operation.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]
else:
    Buffer = Any

from gpuzarr.errors import KeyValidationError, ReadOnlyError

MAX_KEY_BYTES = 1024
TEMPORARY_PREFIX = ".gz-"  # our temporary files; never a key, never listed
LOCK_SUFFIX = ".__gzlock"  # our lock files; never a key, never listed

# One pass in C for the common case: path segments without NUL or backslash, none empty, none only dots,
# none that starts like our temporaries.
_PLAIN_KEY = re.compile(r"(?!.*\.__gzlock(?:/|$))(?:(?!\.+(?:/|$))(?!\.gz-)[^/\\\0]+(?:/(?!$)|$))+", re.DOTALL)


def validate_key(key: str) -> str:
    """`key` itself, where a store may hold it; KeyValidationError where not.

    Refused: the empty key, absolute keys, empty segments, segments of dots only ('.', '..'), NUL, backslash,
    names that are reserved for temporary and lock files, and more than 1024 bytes of UTF-8.
    """
    if not _PLAIN_KEY.fullmatch(key) or (len(key) > 255 and len(key.encode()) > MAX_KEY_BYTES):
        raise KeyValidationError(
            f"key {key[:100]!r} is not allowed: a key is segments joined by '/', none empty or of dots only, without"
            f" NUL or backslash, none reserved ({TEMPORARY_PREFIX}*, *{LOCK_SUFFIX}), at most {MAX_KEY_BYTES} bytes"
        )
    return key


def validate_prefix(prefix: str) -> str:
    """`prefix` without slashes around it; "" is the root. KeyValidationError as for a key."""
    prefix = prefix.strip("/")
    return validate_key(prefix) if prefix else ""


class Span(NamedTuple):
    """Bytes [start, stop) of an object. A negative start with stop None is the last -start bytes."""

    start: int
    stop: int | None


class Pieces(NamedTuple):
    """Ranges of one object, all read from one state of it."""

    buffers: list[Buffer]
    size: int | None  # bytes of the whole object, where the store knows
    version: Hashable  # identity of the object's state (ETag, inode + size + mtime); None where there is none


class Store(ABC):
    """A place for objects. Stores are safe for threads, can be pickled unless they hold memory, and may be used
    as context managers."""

    supports_writes: bool = True
    supports_deletes: bool = True
    supports_listing: bool = True

    def __init__(self, *, read_only: bool = False) -> None:
        self._read_only = read_only

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self._read_only

    def check_writable(self, key: str) -> None:
        """Raise ReadOnlyError where this store does not take writes."""
        if self._read_only:
            raise ReadOnlyError(f"cannot write {key!r}: {self} was opened read-only")

    # ---- reading

    @abstractmethod
    def get(self, key: str) -> Buffer | None:
        """The whole object, or None where the key is absent."""

    def get_many(self, keys: Sequence[str], room: bytearray | None = None) -> list[Buffer | None]:
        """Whole objects, None for absent keys, in the order of `keys`.

        `room` is scratch memory of the calling thread: a store may put the bytes there and return views of it,
        which are valid until the caller uses `room` again. A store that talks to a network runs the requests
        concurrently.
        """
        get = self.get
        return [get(key) for key in keys]

    @abstractmethod
    def get_ranges(self, key: str, spans: Sequence[Span], *, version: Hashable = None) -> Pieces | None:
        """Byte ranges of one object, or None where the key is absent.

        Every buffer has exactly the length asked for, or ShortReadError; a suffix longer than the object is
        the whole object. Where `version` is not None and the object is in another state, ObjectChangedError.
        """

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Bytes of the object, or None where the key is absent."""

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        return self.size(key) is not None

    # ---- writing

    @abstractmethod
    def set(self, key: str, value: Buffer) -> None:
        """Put the whole object; readers see the old one or the new one, never a part."""

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        """Put several objects, in order."""
        for key, value in items:
            self.set(key, value)

    @abstractmethod
    def set_if_absent(self, key: str, value: Buffer) -> bool:
        """Put the object where the key is absent; False (and nothing written) where it is not."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error where the key is absent."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every object whose key starts with `prefix` + "/" (all of them for "")."""
        for key in list(self.list(prefix)):
            self.delete(key)

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        """Mutual exclusion of partial writes to `key`, as far as this store can give it (at least the threads
        of this process). LockTimeoutError after `timeout` seconds."""
        from gpuzarr.storage.locks import thread_lock

        return thread_lock((id(self), key), timeout)

    # ---- listing

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts with `prefix` + "/" (all keys for ""), in no order."""

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        """Names directly under `prefix`, of objects and of further prefixes, each once, in no order."""
        start = len(prefix) + 1 if prefix else 0
        seen: set[str] = set()
        for key in self.list(prefix):
            name = key[start:].partition("/")[0]
            if name not in seen:
                seen.add(name)
                yield name

    # ---- life

    def with_read_only(self, read_only: bool = True) -> Store:
        """A store on the same objects with this access."""
        raise NotImplementedError(f"{type(self).__name__} cannot change its access")

    def close(self) -> None:
        """Finish writing and let go of what the store holds; the store is not used after it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
