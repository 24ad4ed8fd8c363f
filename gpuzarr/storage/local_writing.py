"""The writing half of LocalStore: files replaced whole, locks, and what is waited for.

What can be on the disk at every moment is told in `atomic.py` and `beside.py`.
"""

from __future__ import annotations

import builtins
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Literal, NoReturn, TypeAlias

from gpuzarr.errors import StoreError, StoreReadError, StoreWriteError
from gpuzarr.storage.atomic import (
    create_file,
    open_directory,
    remove_hidden,
    replace_file,
    sync_directory,
    temporary_name,
)
from gpuzarr.storage.beside import Beside
from gpuzarr.storage.contract import Buffer, Leftover, Store, byte_view
from gpuzarr.storage.keys import DOCUMENTS, LOCK_SUFFIX, TEMPORARY_PREFIX, validate_key, validate_prefix
from gpuzarr.storage.locks import FileLock, thread_lock
from gpuzarr.storage.syscalls import sync_file_system
from gpuzarr.storage.walk import hidden, hidden_beside, remove_beside

Durability: TypeAlias = Literal["rename", "batch", "fsync"]
Locking: TypeAlias = Literal["files", "threads"]

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_NOT_IN_ONE_STEP = frozenset({errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV})


class WritableDirectory(Store):
    """A directory that objects are written to, as files; see `LocalStore`."""

    deletes_at_once = True
    gathers = True

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        read_only: bool = False,
        durability: Durability = "rename",
        locking: Locking = "files",
    ) -> None:
        super().__init__(read_only=read_only)
        if durability not in ("rename", "batch", "fsync"):
            raise ValueError(f"durability is 'rename', 'batch' or 'fsync', not {durability!r}")
        if locking not in ("files", "threads"):
            raise ValueError(f"locking is 'files' or 'threads', not {locking!r}")
        self.root = Path(root)
        self.durability, self.locking = durability, locking
        self._root = os.fspath(self.root)
        self._unswept = False  # "batch": something was written that was not waited for

    def __getstate__(self) -> dict[str, Any]:
        # Where it is unpickled another directory may be the current one.
        return {**super().__getstate__(), "root": self.root.absolute(), "_root": os.path.abspath(self._root)}

    def _named_by(self) -> tuple[object, ...]:
        return (os.path.abspath(self._root),)

    def set(self, key: str, value: Buffer) -> None:
        self.set_many(((key, value),))

    def set_many(self, items: Iterable[tuple[str, Buffer]]) -> None:
        # Neighbours mostly lie in one directory, which is then opened only once.
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
                sync, sync_name = self._waits(directory, name)
                replace_file(directory, name, _views(value), sync=sync, sync_name=sync_name)
        except OSError as error:
            self._fail(StoreWriteError, "write", key, error)
        finally:
            if opened is not None:
                os.close(directory)

    def _waits(self, directory: int, name: str) -> tuple[bool, bool]:
        """Whether the bytes of a new file are waited for, and whether its name is.

        With "batch", a document says that what lies under it is there, and that what it does not speak of is not: so
        a sweep comes before it, and what is done after it (a shrink deletes) finds its name on the disk. What takes
        the place of something is waited for too, or a loss of power could cost both.
        """
        document = name in DOCUMENTS
        if self.durability != "batch":
            return document or self.durability == "fsync", self.durability == "fsync"
        if document:
            self.flush()
        self._unswept = True
        return document or _is_there(directory, name), document

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self.check_writable(key)
        parent, _, name = validate_key(key).rpartition("/")
        try:
            directory = self._open_parent(parent, create=True)
            try:
                sync, sync_name = self._waits(directory, name)
                return create_file(directory, name, _views(value), sync=sync, sync_name=sync_name)
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
                self._note_removal(directory)
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno not in ABSENT:
                self._fail(StoreWriteError, "delete", key, error)

    def _note_removal(self, directory: int) -> None:
        """A name was taken out of this directory."""
        self._unswept = True
        if self.durability == "fsync":
            sync_directory(directory)

    def delete_prefix(self, prefix: str) -> None:
        """Remove the directory `prefix` (what is in the root, for ""); readers see all of it or nothing."""
        prefix = validate_prefix(prefix)
        self.check_writable(prefix)
        parent, _, name = prefix.rpartition("/")
        try:
            directory = self._open_parent(parent, create=False)
            try:
                for victim in (
                    [name] if name else sorted(os.listdir(self._root), key=lambda each: each not in DOCUMENTS)
                ):
                    self._remove_tree(directory, victim, files=not name)
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno not in ABSENT:
                self._fail(StoreWriteError, "delete", prefix, error)

    def _remove_tree(self, directory: int, name: str, *, files: bool) -> None:
        """Remove the directory `name`; with `files`, a plain file as well. A link is removed, not followed."""
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            grave = temporary_name()  # hidden in one step, so that nobody sees half of the tree
            os.rename(name, grave, src_dir_fd=directory, dst_dir_fd=directory)
            if self.durability != "rename":  # or what is in it could be gone, and it still be there
                sync_directory(directory)
            remove_hidden(directory, grave)
        elif files or stat.S_ISLNK(mode):
            os.unlink(name, dir_fd=directory)
            self._note_removal(directory)

    @contextmanager
    def replacing(self, prefix: str) -> Iterator[tuple[Store, str]]:
        """The new objects are written beside the directory `prefix` (the root, for "") and change places with it.

        What is there is deleted first only where that cannot be: where the root is the current directory or a mount
        point, or lies in a directory that may not be written to.
        """
        prefix = validate_prefix(prefix)
        self.check_writable(prefix)
        try:
            beside = Beside.of(self._root, prefix)
        except OSError as error:
            self._fail(StoreWriteError, "replace", prefix, error)
        if beside is None:
            self.delete_prefix(prefix)
            yield self, prefix
            return
        with beside:
            staged = type(self)(beside.path, durability=self.durability, locking=self.locking)
            yield staged, ""
            staged.flush()
            try:
                beside.take_place(sync=self.durability != "rename")
            except OSError as error:
                self._fail(StoreWriteError, "replace", prefix, error)
            self._unswept = True

    def move(self, source: str, target: str) -> bool:
        source, target = validate_key(source), validate_key(target)
        self.check_writable(target)
        try:
            with self._parent(source, create=False) as (old, name), self._parent(target, create=True) as (new, wanted):
                os.rename(name, wanted, src_dir_fd=old, dst_dir_fd=new)
                self._unswept = True
                if self.durability != "rename":
                    sync_directory(new)
                    sync_directory(old)
        except OSError as error:
            if error.errno not in _NOT_IN_ONE_STEP:
                self._fail(StoreWriteError, "move", source, error)
            return False
        return True

    @contextmanager
    def _parent(self, key: str, *, create: bool) -> Iterator[tuple[int, str]]:
        """The directory in which `key` is a name, open, and that name."""
        parent, _, name = key.rpartition("/")
        directory = self._open_parent(parent, create=create)
        try:
            yield directory, name
        finally:
            os.close(directory)

    def flush(self) -> None:
        """With `durability="batch"`, wait until all that was written is on the disk."""
        if self.durability != "batch" or not self._unswept:
            return
        self._unswept = False
        try:
            directory = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_file_system(directory)
            finally:
                os.close(directory)
        except OSError as error:
            self._unswept = True
            if error.errno not in ABSENT:
                self._fail(StoreWriteError, "flush", "", error)

    def close(self) -> None:
        self.flush()

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        prefix = validate_prefix(prefix)
        try:
            if not prefix:
                yield from hidden_beside(self._root)
            yield from hidden(self._root, prefix)
        except OSError as error:
            self._fail(StoreReadError, "look for leftovers in", prefix, error)

    def remove_leftover(self, leftover: Leftover) -> None:
        self.check_writable(leftover.name)
        parent, _, name = leftover.name.rpartition("/")
        try:
            if parent == "..":
                remove_beside(self._root, name)
                return
            directory = self._open_parent(parent, create=False)
            try:
                if leftover.kind == "temporary" and name.startswith(TEMPORARY_PREFIX):
                    remove_hidden(directory, name)
                elif name.endswith(LOCK_SUFFIX):
                    with FileLock(lambda: os.dup(directory), name, timeout=0, what=leftover.name):
                        pass  # who lets go of a lock removes its file
            finally:
                os.close(directory)
        except OSError as error:
            if error.errno not in ABSENT:
                self._fail(StoreWriteError, "remove", leftover.name, error)

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        """Mutual exclusion between threads and, by a lock file beside the object, between processes."""
        self.check_writable(key)
        return self._lock(validate_key(key), timeout)

    @contextmanager
    def _lock(self, key: str, timeout: float) -> Iterator[None]:
        deadline = monotonic() + timeout
        parent, _, name = key.rpartition("/")
        with thread_lock((WritableDirectory, os.path.realpath(self._root), key), timeout):
            if self.locking == "threads":
                yield
                return
            with FileLock(
                lambda: self._open_parent(parent, create=True),
                name + LOCK_SUFFIX,
                timeout=max(0.0, deadline - monotonic()),
                what=f"{key!r} in {self}",
            ):
                yield

    def _open_parent(self, parent: str, *, create: bool) -> int:
        parts = parent.split("/") if parent else []
        return open_directory(self._root, parts, create=create, sync=create and self.durability == "fsync")

    def _fail(self, kind: type[StoreError], verb: str, key: str, error: OSError) -> NoReturn:
        if isinstance(error, StoreError):
            raise error  # ours already
        failure = kind(f"cannot {verb} {key!r} in {self}: {error.strerror or error}")
        failure.errno = error.errno
        raise failure from error


def _views(value: Buffer | list[Buffer]) -> list[memoryview]:
    return [byte_view(part) for part in value] if isinstance(value, builtins.list) else [byte_view(value)]


def _documents_first(names: list[str]) -> list[str]:
    """So that no node is found of which a part is gone."""
    return sorted(names, key=lambda name: name not in DOCUMENTS)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
