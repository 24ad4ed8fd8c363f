"""LocalStore: a directory; the key is the path of a file below it.

Reading follows symbolic links; writing and deleting never do below the root. A key whose file cannot exist (no
such directory, a directory of that name, a name that is too long) is absent; a file that cannot be read is an
error, and so is anything else than a regular file (files are opened non-blocking, so that a FIFO cannot hang).

Temporary and lock files (`.gz-*`, `*.__gzlock`) are hidden from listings.
"""

from __future__ import annotations

import builtins
import errno
import os
import shutil
import stat
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, time_ns
from typing import Literal, NoReturn

from gpuzarr.errors import ObjectChangedError, ShortReadError, StoreError, StoreReadError, StoreWriteError
from gpuzarr.storage.atomic import create_file, open_directory, replace_file, temporary_name
from gpuzarr.storage.contract import (
    LOCK_SUFFIX,
    Buffer,
    Pieces,
    Span,
    Store,
    byte_view,
    check_limit,
    resolve_spans,
    validate_key,
    validate_prefix,
)
from gpuzarr.storage.locks import FileLock, thread_lock
from gpuzarr.storage.walk import listable, walk

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_ROOT = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV})
_YOUNG = 100_000_000  # nanoseconds
_LONGEST_READ = 0x7FFFF000  # bytes; Linux gives no more in one call


class _Version(tuple[int, int, int]):
    """State of a file: inode, size, and time of its last change.

    A file system may give the number of a deleted file to the next one at once, and clocks of files tick in
    milliseconds, so a file that was just written could be replaced by another of the same state. A version of
    such a young file therefore keeps its inode from being used again.
    """

    _pin: int | None = None

    def pin(self, descriptor: int) -> None:
        """Hold the file that is open at `descriptor`, if it is young."""
        if time_ns() - self[2] < _YOUNG:
            self._pin = os.dup(descriptor)

    def __del__(self) -> None:
        if self._pin is not None:
            os.close(self._pin)


class LocalStore(Store):
    """Objects as files below the directory `root`, which is made by the first write.

    `durability`: "rename" (the default) replaces files atomically, safe against the death of the process;
    "fsync" also waits for the disk, safe against the loss of power.
    """

    reads_into = True
    coalesce_gap = 16 << 10

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        read_only: bool = False,
        durability: Literal["rename", "fsync"] = "rename",
    ) -> None:
        super().__init__(read_only=read_only)
        if durability not in ("rename", "fsync"):
            raise ValueError(f"durability is 'rename' or 'fsync', not {durability!r}")
        self.root = Path(root)
        self.durability = durability
        self._root = os.fspath(self.root)

    def __str__(self) -> str:
        return f"file://{self.root.as_posix()}"

    def __repr__(self) -> str:
        return f"LocalStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore) and self.root == other.root

    def __hash__(self) -> int:
        return hash((LocalStore, self.root))

    def with_read_only(self, read_only: bool = True) -> LocalStore:
        return type(self)(self.root, read_only=read_only, durability=self.durability)

    # ---- reading

    def get(self, key: str, *, limit: int | None = None) -> bytes | None:
        try:
            descriptor = os.open(f"{self._root}/{validate_key(key)}", _READ)
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        try:
            size = self._state(descriptor, key).st_size
            check_limit(key, size, limit)
            data = os.read(descriptor, size + 1)
            if len(data) != size:
                data = self._read_on(descriptor, key, data, limit)
            return data
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        finally:
            os.close(descriptor)

    def _read_on(self, descriptor: int, key: str, data: bytes, limit: int | None) -> bytes:
        """The rest of a file that is longer than one read gives, or that grows while we read."""
        parts, total = [data], len(data)
        while data := os.read(descriptor, 1 << 24):
            parts.append(data)
            total += len(data)
            check_limit(key, total, limit)
        return b"".join(parts)

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[Buffer | None]:
        stride = len(room) // len(keys) if room and keys else 0
        if not stride:
            return [self.get(key, limit=limit) for key in keys]
        view = memoryview(room or b"")
        found: list[Buffer | None] = []
        for i, size in enumerate(self.read_into(keys, view, stride)):
            if size is None:
                found.append(None)
            elif size <= stride:
                check_limit(keys[i], size, limit)
                found.append(view[i * stride : i * stride + size])
            else:
                found.append(self.get(keys[i], limit=limit))
        return found

    def read_into(
        self, keys: Sequence[str], room: Buffer, stride: int, *, checked: bool = False
    ) -> builtins.list[int | None]:
        # The hot path of small chunks: open, readv and close are all that is done for a key. The root is opened
        # once a call, not once a store, as it may be renamed or made anew at any time.
        view = byte_view(room)
        if stride < 1 or len(view) < stride * len(keys):
            raise ValueError(f"room for {len(view)} bytes, {len(keys)} x {stride} are needed")
        if stride >= _LONGEST_READ:
            return super().read_into(keys, room, stride)
        if not checked:
            for key in keys:
                validate_key(key)
        root = self._open_root()
        if root is None:
            return [None] * len(keys)
        open_, readv, close = os.open, os.readv, os.close
        sizes: list[int | None] = []
        append = sizes.append
        beyond = bytearray(1)  # takes a byte where the file is longer than its place
        start = 0
        try:
            for key in keys:
                size: int | None
                try:
                    descriptor = open_(key, _READ, dir_fd=root)
                    try:
                        size = readv(descriptor, (view[start : start + stride], beyond))
                        if not 0 < size <= stride:
                            size = self._state(descriptor, key).st_size
                    finally:
                        close(descriptor)
                except OSError as error:
                    self._raise_unless_absent(key, error)
                    size = None
                append(size)
                start += stride
        finally:
            close(root)
        return sizes

    def get_into(self, key: str, out: Buffer) -> int | None:
        try:
            descriptor = os.open(f"{self._root}/{validate_key(key)}", _READ)
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        try:
            size = os.readv(descriptor, (out, bytearray(1)))
            return size if size == len(out) and size else self._fill(descriptor, key, byte_view(out), size)
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        finally:
            os.close(descriptor)

    def get_into_many(
        self, keys: Sequence[str], outs: Sequence[Buffer], *, checked: bool = False
    ) -> builtins.list[int | None]:
        if not checked:
            for key in keys:
                validate_key(key)
        root = self._open_root()
        if root is None:
            return [None] * len(keys)
        open_, readv, close = os.open, os.readv, os.close
        sizes: list[int | None] = []
        beyond = bytearray(1)
        try:
            for key, out in zip(keys, outs, strict=True):
                size: int | None
                try:
                    descriptor = open_(key, _READ, dir_fd=root)
                    try:
                        size = readv(descriptor, (out, beyond))
                        if size != len(out) or not size:
                            size = self._fill(descriptor, key, byte_view(out), size)
                    finally:
                        close(descriptor)
                except OSError as error:
                    self._raise_unless_absent(key, error)
                    size = None
                sizes.append(size)
        finally:
            close(root)
        return sizes

    def _fill(self, descriptor: int, key: str, out: memoryview, size: int) -> int:
        """Read on where the first read did not give what `out` wants; the size of the object."""
        while 0 < size < len(out):
            more = os.readv(descriptor, (out[size:],))
            if not more:
                return size
            size += more
        if size == len(out) and size and not os.read(descriptor, 1):
            return size
        return self._state(descriptor, key).st_size

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        try:
            descriptor = os.open(f"{self._root}/{validate_key(key)}", _READ)
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        try:
            state = self._state(descriptor, key)
            found = _Version((state.st_ino, state.st_size, state.st_mtime_ns))
            if version is None:
                found.pin(descriptor)
            elif version != found:
                raise ObjectChangedError(f"{key!r} in {self} was replaced between two reads that must agree")
            buffers: list[Buffer] = []
            for i, (start, stop) in enumerate(resolve_spans(key, spans, state.st_size)):
                room = memoryview(bytearray(stop - start)) if into is None else byte_view(into[i])[: stop - start]
                buffers.append(self._read_range(descriptor, key, start, room))
            return Pieces(buffers, state.st_size, found)
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        finally:
            os.close(descriptor)

    def _read_range(self, descriptor: int, key: str, start: int, room: memoryview) -> memoryview:
        done = os.preadv(descriptor, (room,), start) if len(room) else 0
        while done < len(room):
            more = os.preadv(descriptor, (room[done:],), start + done)
            if not more:
                raise ShortReadError(f"{key!r} in {self} gave {done} of {len(room)} bytes from {start} on")
            done += more
        return room

    def size(self, key: str) -> int | None:
        try:
            state = os.stat(f"{self._root}/{validate_key(key)}")
            return None if stat.S_ISDIR(state.st_mode) else self._regular(state, key).st_size
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None

    def _open_root(self) -> int | None:
        try:
            return os.open(self._root, _ROOT)
        except OSError as error:
            self._raise_unless_absent("", error)
            return None

    def _state(self, descriptor: int, key: str) -> os.stat_result:
        return self._regular(os.fstat(descriptor), key)

    def _regular(self, state: os.stat_result, key: str) -> os.stat_result:
        if stat.S_ISREG(state.st_mode):
            return state
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        raise StoreReadError(f"{key!r} in {self} is a FIFO, device or socket, not a regular file")

    def _raise_unless_absent(self, key: str, error: OSError) -> None:
        """Pass where `error` proves that there is no such object; else raise a StoreReadError."""
        if error.errno not in _ABSENT:
            self._fail(StoreReadError, "read", key, error)

    def _fail(self, kind: type[StoreError], verb: str, key: str, error: OSError) -> NoReturn:
        if isinstance(error, StoreError):
            raise error  # ours already
        failure = kind(f"cannot {verb} {key!r} in {self}: {error.strerror or error}")
        failure.errno = error.errno
        raise failure from error

    # ---- writing

    def set(self, key: str, value: Buffer) -> None:
        self.set_many(((key, value),))

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        # Neighbours mostly lie in one directory, which is then opened only once.
        sync = self.durability == "fsync"
        directory, opened = -1, None
        key = ""
        try:
            for key, value in items:
                self.check_writable(key)
                parent, _, name = validate_key(key).rpartition("/")
                if parent != opened:
                    if opened is not None:
                        opened = None
                        os.close(directory)
                    directory = self._open_parent(parent, create=True)
                    opened = parent
                replace_file(directory, name, byte_view(value), sync=sync)
        except OSError as error:
            self._fail(StoreWriteError, "write", key, error)
        finally:
            if opened is not None:
                os.close(directory)

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self.check_writable(key)
        parent, _, name = validate_key(key).rpartition("/")
        try:
            directory = self._open_parent(parent, create=True)
            try:
                return create_file(directory, name, byte_view(value), sync=self.durability == "fsync")
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                self._fail(StoreWriteError, "write", key, error)
        with self.lock(key):  # no hard links here: only writers that take the lock are kept apart
            if self.exists(key):
                return False
            self.set(key, value)
            return True

    def delete(self, key: str) -> None:
        self.check_writable(key)
        parent, _, name = validate_key(key).rpartition("/")
        try:
            directory = self._open_parent(parent, create=False)
            try:
                os.unlink(name, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._fail(StoreWriteError, "delete", key, error)

    def delete_prefix(self, prefix: str) -> None:
        """Remove the directory `prefix` (what is in the root, for ""); readers see all of it or nothing."""
        prefix = validate_prefix(prefix)
        self.check_writable(prefix)
        parent, _, name = prefix.rpartition("/")
        try:
            directory = self._open_parent(parent, create=False)
            try:
                for victim in [name] if name else os.listdir(self._root):
                    _remove_tree(directory, victim, files=not name)
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._fail(StoreWriteError, "delete", prefix, error)

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        """Mutual exclusion between threads and between processes, by a lock file beside the object."""
        self.check_writable(key)
        return self._lock(validate_key(key), timeout)

    @contextmanager
    def _lock(self, key: str, timeout: float) -> Iterator[None]:
        deadline = monotonic() + timeout
        parent, _, name = key.rpartition("/")
        with (
            thread_lock((LocalStore, os.path.realpath(self._root), key), timeout),
            FileLock(
                lambda: self._open_parent(parent, create=True),
                name + LOCK_SUFFIX,
                timeout=max(0.0, deadline - monotonic()),
                what=f"{key!r} in {self}",
            ),
        ):
            yield

    def _open_parent(self, parent: str, *, create: bool) -> int:
        parts = parent.split("/") if parent else []
        return open_directory(self._root, parts, create=create, sync=create and self.durability == "fsync")

    # ---- listing

    def list(self, prefix: str = "") -> Iterator[str]:
        for key, _ in self._walk(prefix):
            yield key

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        for key, entry in self._walk(prefix):
            try:
                yield key, entry.stat().st_size
            except FileNotFoundError:
                continue  # removed while we were listing

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        try:
            with os.scandir(f"{self._root}/{prefix}") as entries:
                names = [entry.name for entry in entries if listable(entry)]
        except OSError as error:
            self._raise_unless_absent(prefix, error)
            return
        yield from names

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        prefix = validate_prefix(prefix)
        try:
            yield from walk(self._root, prefix)
        except OSError as error:
            self._raise_unless_absent(prefix, error)


def _remove_tree(directory: int, name: str, *, files: bool) -> None:
    """Remove the directory `name`; with `files`, a plain file as well. A link is removed, not followed."""
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        grave = temporary_name()  # hidden in one step, so that nobody sees half of the tree
        os.rename(name, grave, src_dir_fd=directory, dst_dir_fd=directory)
        shutil.rmtree(grave, dir_fd=directory)
    elif files or stat.S_ISLNK(mode):
        os.unlink(name, dir_fd=directory)
