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
import stat
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from gpuzarr.errors import ObjectChangedError, ShortReadError, StoreReadError
from gpuzarr.storage.contract import Buffer, OpenFile, Pieces, Span, byte_view, check_limit, resolve_spans
from gpuzarr.storage.file_state import FileState
from gpuzarr.storage.keys import validate_key, validate_prefix
from gpuzarr.storage.local_writing import ABSENT, WritableDirectory
from gpuzarr.storage.walk import listable, walk

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_ROOT = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_LONGEST_READ = 0x7FFFF000  # bytes; Linux gives no more in one call


class LocalStore(WritableDirectory):
    """Objects as files below the directory `root`, which is made by the first write.

    Files are replaced whole. `durability` says what is waited for:

    - "rename" (the default): for the bytes of metadata documents only. Safe against the death of the process; a loss
      of power may cost the chunks of the last seconds, which are then found damaged, or absent.
    - "batch": for metadata documents and their names, and for the bytes of objects that take the place of others; and
      before a document is put, and at `flush` and `close`, for everything that was written before, in one sweep.
      Whatever was written before one of these is safe against the loss of power; an object that is newer and had no
      predecessor may be found damaged.
    - "fsync": for every file and its name. What was written is safe when the write returns.

    `locking`: "files" (the default) keeps partial writes and changes of metadata apart between processes, by lock
    files; "threads" only between the threads of this process, for file systems without locks.
    """

    reads_into = True
    has_files = True
    scatters = True
    coalesce_gap = 16 << 10

    def __str__(self) -> str:
        return f"file://{self.root.as_posix()}"

    def __repr__(self) -> str:
        return f"LocalStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore) and self._named_by() == other._named_by()

    def __hash__(self) -> int:
        return hash((LocalStore, self._named_by()))

    def with_read_only(self, read_only: bool = True) -> LocalStore:
        return type(self)(self.root, read_only=read_only, durability=self.durability, locking=self.locking)

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
        self, keys: Sequence[str], room: Buffer, stride: int, *, checked: bool = False, packed: bool = False
    ) -> builtins.list[int | None]:
        # The hot path of small chunks: open, readv and close are all that is done for a key.
        view = byte_view(room)
        if stride < 1 or (len(view) < stride * len(keys) and not packed):
            raise ValueError(f"room for {len(view)} bytes, {len(keys)} x {stride} are needed")
        if stride >= _LONGEST_READ:
            return super().read_into(keys, room, stride, packed=packed)
        if not checked:
            for key in keys:
                validate_key(key)
        prefix, root = f"{self._root}/", None
        if len(keys) > 1:
            prefix, root = "", self._open_root()
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
                place = view[start : start + stride]
                try:
                    descriptor = open_(prefix + key, _READ, dir_fd=root)
                    try:
                        size = readv(descriptor, (place, beyond))
                        if not 0 < size <= len(place):
                            now = self._state(descriptor, key).st_size
                            size = size and max(size, now)  # what it has grown by since was not read
                    finally:
                        close(descriptor)
                except OSError as error:
                    self._raise_unless_absent(key, error)
                    size = None
                append(size)
                if not packed:
                    start += stride
                elif size is not None and size <= len(place):
                    start += size
        finally:
            if root is not None:
                close(root)
        return sizes

    def read_parts(
        self, keys: Sequence[str], starts: Sequence[int], outs: Sequence[Buffer], *, checked: bool = False
    ) -> builtins.list[int | None]:
        if not checked:
            for key in keys:
                validate_key(key)
        prefix, root = f"{self._root}/", None
        if len(keys) > 1:
            prefix, root = "", self._open_root()
            if root is None:
                return [None] * len(keys)
        sizes: list[int | None] = []
        try:
            for key, start, out in zip(keys, starts, outs, strict=True):
                try:
                    descriptor = os.open(prefix + key, _READ, dir_fd=root)
                    try:
                        size = self._state(descriptor, key).st_size
                        if size >= start + len(out):
                            self._read_range(descriptor, key, start, [byte_view(out)])
                    finally:
                        os.close(descriptor)
                except OSError as error:
                    self._raise_unless_absent(key, error)
                    sizes.append(None)
                else:
                    sizes.append(size)
        finally:
            if root is not None:
                os.close(root)
        return sizes

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
            found = FileState((state.st_ino, state.st_size, state.st_mtime_ns))
            if version is None:
                found.pin(descriptor)
            elif version != found:
                raise ObjectChangedError(f"{key!r} in {self} was replaced between two reads that must agree")
            buffers: list[Buffer] = []
            for i, (start, stop) in enumerate(resolve_spans(key, spans, state.st_size)):
                room = bytearray(stop - start) if into is None else into[i]
                if isinstance(room, builtins.list):
                    self._read_range(descriptor, key, start, room)
                else:
                    room = byte_view(room)[: stop - start]
                    self._read_range(descriptor, key, start, [room])
                buffers.append(room)
            return Pieces(buffers, state.st_size, found)
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None
        finally:
            os.close(descriptor)

    @contextmanager
    def steady(self, key: str, version: Hashable = None) -> Iterator[OpenFile | None]:
        """The object's file, held open, for libraries that read files on their own; None where it is absent.
        ObjectChangedError where it is not in the state `version`."""
        path = f"{self._root}/{validate_key(key)}"
        opened = self._opened(path, key)
        if opened is None:
            yield None
            return
        descriptor, state = opened
        try:
            if version is not None and version != (state.st_ino, state.st_size, state.st_mtime_ns):
                raise ObjectChangedError(f"{key!r} in {self} was replaced between two reads that must agree")
            yield OpenFile(descriptor, path, state.st_size)
        finally:
            os.close(descriptor)

    def _opened(self, path: str, key: str) -> tuple[int, os.stat_result] | None:
        """A file's descriptor and state; None where it is absent."""
        descriptor = None
        try:
            descriptor = os.open(path, _READ)
            return descriptor, self._state(descriptor, key)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
            self._raise_unless_absent(key, error)
            return None

    def _read_range(self, descriptor: int, key: str, start: int, rooms: builtins.list[memoryview]) -> None:
        """Fill the rooms, one after another, with what the file has from `start` on."""
        wanted = sum(map(len, rooms))
        done = os.preadv(descriptor, rooms, start) if wanted else 0
        while done < wanted:
            more = os.preadv(descriptor, _rest(rooms, done), start + done)
            if not more:
                raise ShortReadError(f"{key!r} in {self} gave {done} of {wanted} bytes from {start} on")
            done += more

    def size(self, key: str) -> int | None:
        try:
            state = os.stat(f"{self._root}/{validate_key(key)}")
            return None if stat.S_ISDIR(state.st_mode) else self._regular(state, key).st_size
        except OSError as error:
            self._raise_unless_absent(key, error)
            return None

    def _open_root(self) -> int | None:
        """The root, from which many keys are opened quicker; None where there is none. It is opened once a call, not
        once a store, as it may be renamed or made anew at any time."""
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
        if error.errno not in ABSENT:
            self._fail(StoreReadError, "read", key, error)

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


def _rest(rooms: list[memoryview], done: int) -> list[memoryview]:
    """What is left of the rooms when their first `done` bytes are filled."""
    rest = []
    for room in rooms:
        if done < len(room):
            rest.append(room[done:])
        done = max(0, done - len(room))
    return rest
