"""What a store is: a small, blocking contract.

A store maps keys ("a/zarr.json", "a/c/0/1") to objects (bytes). Missing is `None`; every other failure raises
a `StoreError` that names the key and chains the cause. Every byte count is compared with what was asked for.
Keys are checked once (`keys.validate_key`), by every store in every operation. The two batch reads of the
corridor, `read_into` and `read_parts`, can be told that it was done already.

A store writes `get`, `get_ranges`, `size`, `set`, `set_if_absent`, `delete`, `list` and `with_read_only`; all else
has a plain version here, to be replaced where the store can do better.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeVar

from gpuzarr.errors import LimitError, ObjectChangedError, ReadOnlyError, ShortReadError
from gpuzarr.extras import load
from gpuzarr.storage.keys import validate_prefix
from gpuzarr.storage.locks import thread_lock

Buffer: TypeAlias = Any  # any C-contiguous bytes-like object; `collections.abc.Buffer` from Python 3.12 on


def byte_view(value: Any) -> memoryview:
    """The bytes of any C-contiguous bytes-like object, flat."""
    view = memoryview(value)
    if view.ndim == 1 and view.format == "B":
        return view
    return view.cast("B") if view.nbytes else memoryview(b"")


def check_limit(key: str, size: int, limit: int | None) -> None:
    """Raise LimitError where an object is larger than the caller takes."""
    if limit is not None and size > limit:
        raise LimitError(f"object {key!r} has {size} bytes; at most {limit} are read here")


def resolve_spans(key: str, spans: Sequence[Span], size: int) -> list[tuple[int, int]]:
    """[start, stop) of every span in an object of `size` bytes; ShortReadError where the object ends before."""
    resolved = []
    for start, stop in spans:
        if start < 0:
            start, stop = max(0, size + start), size
        elif stop is None:
            stop = size
        if not start <= stop <= size:
            raise ShortReadError(f"{key!r} has {size} bytes; bytes [{start}, {stop}) were asked for")
        resolved.append((start, stop))
    return resolved


def pieces_of(
    key: str, value: Buffer, spans: Sequence[Span], into: Sequence[Buffer] | None, state: tuple[Hashable, Hashable]
) -> Pieces:
    """Ranges of an object that is in memory; `state` is its version and the one that is wanted."""
    version, wanted = state
    if wanted is not None and version != wanted:
        raise ObjectChangedError(f"{key!r} was replaced between two reads that must agree")
    view = byte_view(value)
    buffers: list[Buffer] = [view[start:stop] for start, stop in resolve_spans(key, spans, len(view))]
    if into is not None:
        buffers = [copy_into(piece, room) for piece, room in zip(buffers, into, strict=True)]
    return Pieces(buffers, len(view), version)


def copy_into(piece: Buffer, room: Buffer) -> memoryview:
    """`piece` copied to the front of `room`; the filled part of `room`."""
    view = byte_view(room)[: len(piece)]
    view[:] = piece
    return view


class Span(NamedTuple):
    """Bytes [start, stop) of an object. A negative start with stop None is the last -start bytes."""

    start: int
    stop: int | None


class Pieces(NamedTuple):
    """Ranges of one object, all read from one state of it."""

    buffers: list[Buffer]
    size: int | None  # bytes of the whole object, where the store knows
    version: Hashable  # identity of the object's state (ETag, inode + size + mtime); None where there is none


class OpenFile(NamedTuple):
    """An object that is a local file, held open."""

    descriptor: int
    path: str
    size: int  # bytes


class Leftover(NamedTuple):
    """A file or directory that is no object, and is hidden from listings."""

    kind: Literal["temporary", "lock"]
    name: str  # its place, as a key would be written
    nbytes: int  # of a file; of a directory, all that is in it
    dead: bool  # nobody uses it any more


S = TypeVar("S", bound="Store")


class Store(ABC):
    """A place for objects. Stores are safe for threads, can be pickled unless they hold memory, and may be used
    as context managers."""

    supports_writes: bool = True
    supports_deletes: bool = True
    supports_listing: bool = True
    has_files: bool = False  # objects are local files, which `steady` opens
    deletes_at_once: bool = False  # `delete_prefix` removes everything in one step, as readers see it
    reads_into: bool = False  # `read_into` reads straight into the room it is given, without a copy of its own
    lasting: bool = True  # what was put is there for good; False where that is only so once the store is closed
    gathers: bool = False  # an object may be put as a list of buffers
    scatters: bool = False  # `get_ranges` takes several buffers for one span
    coalesce_gap: int = 1 << 20  # bytes that are cheaper to read over than to ask for again
    in_flight: int = 0  # requests that are worth having under way; 0 where nothing is waited for
    swaps: bool = False  # `update` compares and swaps, so that it needs no lock between processes; it never deletes
    shares_after_pickle: bool = True  # what a pickle becomes, in another process too, is on the same objects

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
    def get(self, key: str, *, limit: int | None = None) -> Buffer | None:
        """The whole object, or None where the key is absent. LimitError where it has more than `limit` bytes."""

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> list[Buffer | None]:
        """Whole objects, None for absent keys, in the order of `keys`. LimitError where one has more than `limit`
        bytes.

        `room` is scratch memory of the calling thread: a store may put the bytes there and return views of it,
        which are valid until the caller uses `room` again. A store that talks to a network runs the requests
        concurrently.
        """
        get = self.get
        return [get(key, limit=limit) for key in keys]

    def read_into(
        self, keys: Sequence[str], room: Buffer, stride: int, *, checked: bool = False, packed: bool = False
    ) -> list[int | None]:
        """Read whole objects into `room` (writable, 1-D, uint8), object i at `room[i * stride:]`.

        Returns the size of every object, None for absent keys. A size greater than `stride` says that the object
        did not fit, and that its place in `room` holds nothing of use (`get` reads it). `checked=True` is the
        caller's word that every key passed `validate_key`, or was joined from one that did and integers.

        With `packed`, an object of at most `stride` bytes begins where the one before ended, as long as it fits what is
        left of the room; one that does not, or is absent, takes no place.
        """
        view = byte_view(room)
        sizes: list[int | None] = []
        end = 0
        for i, value in enumerate(self.get_many(keys)):
            size = None if value is None else memoryview(value).nbytes
            sizes.append(size)
            start = end if packed else i * stride
            if size is not None and size <= min(stride, len(view) - start):
                end = start + size
                view[start:end] = byte_view(value)
        return sizes

    def read_parts(
        self, keys: Sequence[str], starts: Sequence[int], outs: Sequence[Buffer], *, checked: bool = False
    ) -> list[int | None]:
        """Read a part of each of several objects: from its start on, as many bytes as its out (writable, uint8) has.

        Returns the bytes of the whole objects, None where a key is absent. An out holds nothing of use where the object
        ends before its part. `checked` as in `read_into`.
        """
        sizes: list[int | None] = []
        for key, start, out in zip(keys, starts, outs, strict=True):
            try:
                pieces = self.get_ranges(key, [Span(start, start + len(out))], into=[out])
            except ShortReadError:
                size = self.size(key)
                if size is not None and size >= start + len(out):
                    raise  # it has grown since, and its part was not read
                sizes.append(size)
            else:
                sizes.append(None if pieces is None else self.size(key) if pieces.size is None else pieces.size)
        return sizes

    @abstractmethod
    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        """Byte ranges of one object, or None where the key is absent.

        Every buffer has exactly the length asked for, or ShortReadError where the object ends before; a suffix
        longer than the object is the whole object. Where `version` is not None and the object is in another state,
        ObjectChangedError.

        `into` are writable buffers, one a span and each large enough, that take the bytes: the buffers that come
        back are their filled parts. Where the store `scatters`, a list of buffers may stand for one: they are filled
        one after another, have the length of the span together, and come back as they are.
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
        """Put the whole object; readers see the old one or the new one, never a part. Where the store `gathers`, a list
        of buffers may stand for what they hold one after another (in `update` and `set_many`, too)."""

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        """Put several objects, in order. Each value is good only until the next one is taken from `items`."""
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

    def update(
        self,
        key: str,
        change: Callable[[Buffer | None], Buffer | None],
        *,
        timeout: float = 60.0,
        limit: int | None = None,
    ) -> None:
        """Put what `change` makes of the object (None for an absent one), with no other update of it in between.

        Where `change` gives None, the object is deleted; a store that `swaps` may call it repeatedly and is not to be
        given None, since few services delete under a condition. LimitError where the object has more than `limit`
        bytes; LockTimeoutError after `timeout` seconds; ConflictError where others are quicker again and again;
        StoreWriteError where the store cannot keep writers in other processes apart.
        """
        with self.lock(key, timeout=timeout):
            value = change(self.get(key, limit=limit))
            if value is None:
                self.delete(key)
            else:
                self.set(key, value)

    @contextmanager
    def replacing(self, prefix: str) -> Iterator[tuple[Store, str]]:
        """Context manager: a store, and a prefix in it, where the objects are written that shall take the place of
        all that is under `prefix`.

        Where the store can (`LocalStore`, `MemoryStore`), they take it when the block ends, in one step, and on an
        error all stays as it was. Where not, what is there is deleted first.
        """
        self.delete_prefix(prefix)
        yield self, prefix

    def move(self, source: str, target: str) -> bool:
        """Rename everything under the prefix `source` in one step; False, and nothing done, where that cannot be.
        Nothing may be under `target`."""
        return False

    def flush(self) -> None:  # noqa: B027  most stores are done when a write returns
        """Wait until what was written is as safe as this store can make it."""

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        """What processes that died left under `prefix`, hidden from readers: temporaries and lock files."""
        yield from ()

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove one of `leftovers`."""
        raise NotImplementedError

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        """Mutual exclusion of partial writes to `key`, as far as this store can give it (at least the threads
        of this process). LockTimeoutError after `timeout` seconds."""
        return thread_lock((id(self), key), timeout)

    # ---- listing

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Every key that starts with `prefix` + "/" (all keys for ""), in no order."""

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Every key of `list(prefix)` with the bytes of its object."""
        for key in self.list(prefix):
            size = self.size(key)
            if size is not None:  # else removed while we were listing
                yield key, size

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        """Names directly under `prefix`, of objects and of further prefixes, each once, in no order."""
        prefix = validate_prefix(prefix)
        start = len(prefix) + 1 if prefix else 0
        seen: set[str] = set()
        for key in self.list(prefix):
            name = key[start:].partition("/")[0]
            if name not in seen:
                seen.add(name)
                yield name

    # ---- other handles

    @cached_property
    def _alone(self) -> str:
        """The name of a store that no place names; never given twice, as the address of a dict that is gone is."""
        return os.urandom(16).hex()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_alone"}

    def _named_by(self) -> tuple[object, ...]:
        """What tells these objects from those of other stores of this class, for whoever keeps what it read: the same
        in every process where the objects are; where no place names them, the same for handles of this store only."""
        return (self._alone,)

    def __dask_tokenize__(self) -> object:
        # dask takes what it gets here as text, and the text of a store or of its options may leave something out.
        return load("dask.base", "dask").normalize_token((type(self).__qualname__, *self._named_by()))

    def _on_the_same(self, other: S) -> S:
        """`other`, a handle on the objects of this store."""
        other.__dict__["_alone"] = self._alone
        return other

    # ---- life

    @abstractmethod
    def with_read_only(self, read_only: bool = True) -> Store:
        """A store on the same objects with this access."""

    def close(self) -> None:  # noqa: B027  most stores hold nothing
        """Finish writing and let go of what the store holds; the store is not used after it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
