"""Locks for partial writes: between the threads of a process, and between processes on one file system.

Both kinds have a deadline, are not re-entrant, and survive a fork: the child starts with no lock held, and what
the parent holds stays the parent's.

The file lock: open or create the lock file, take an advisory lock on it, then look whether the file that was
locked still has the name (its last holder removed it otherwise, and the turn starts again). It is removed before
it is unlocked. The kernel drops the lock when its holder dies, so that no lock outlives a crash; a lock file that
is left over by one is harmless and is taken over by the next holder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Hashable

from gpuzarr.errors import LockTimeoutError, StoreWriteError

_FIRST_WAIT, _LONGEST_WAIT = 0.0005, 0.02  # seconds between two looks at a file that is locked
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL})
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _Entry:
    """A lock and the number of threads that hold it or wait for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0


class _State:
    """Everything that a forked child must start anew."""

    def __init__(self) -> None:
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """As in a fresh process."""
        self.generation += 1
        self.guard = threading.Lock()
        self.entries: dict[Hashable, _Entry] = {}
        self.held_files: set[FileLock] = set()


class ThreadLock:
    """Context manager: mutual exclusion between the threads of this process."""

    __slots__ = ("_entry", "_generation", "_identity", "_timeout")

    def __init__(self, identity: Hashable, timeout: float) -> None:
        self._identity, self._timeout = identity, timeout

    def __enter__(self) -> None:
        with _state.guard:
            self._generation = _state.generation
            entry = self._entry = _state.entries.setdefault(self._identity, _Entry())
            entry.users += 1
        try:
            if entry.lock.acquire(timeout=max(0.0, self._timeout)):
                return
        except BaseException:
            self._leave()
            raise
        self._leave()
        raise LockTimeoutError(f"the lock of {self._identity!r} was not free within {self._timeout} s")

    def __exit__(self, *exc: object) -> None:
        self._entry.lock.release()
        self._leave()

    def _leave(self) -> None:
        if self._generation != _state.generation:
            return  # forked within the block: the table of this entry is the parent's
        with _state.guard:
            self._entry.users -= 1
            if not self._entry.users:
                del _state.entries[self._identity]


def thread_lock(identity: Hashable, timeout: float = 60.0) -> ThreadLock:
    """Context manager: one thread of this process at a time for one `identity`. LockTimeoutError after
    `timeout` seconds. Exact (no stripes): two identities never wait for one another."""
    return ThreadLock(identity, timeout)


class FileLock:
    """Context manager: mutual exclusion through a lock file, between processes and between threads.

    `open_directory` opens the directory that holds the file `name`; `what` names the thing that is locked.
    """

    def __init__(self, open_directory: Callable[[], int], name: str, *, timeout: float, what: str) -> None:
        self._open_directory, self._name, self._timeout, self._what = open_directory, name, timeout, what
        self._directory = self._file = -1
        self._process = 0

    def __enter__(self) -> None:
        try:
            self._directory = self._open_directory()
            self._acquire(time.monotonic() + self._timeout)
        except BaseException as error:
            self._close()
            if isinstance(error, OSError) and not isinstance(error, (LockTimeoutError, StoreWriteError)):
                hint = " (LocalStore has `locking` for such file systems)" if error.errno in _NO_LOCKS else ""
                raise StoreWriteError(f"cannot lock {self._what}: {error}{hint}") from error
            raise
        self._process = os.getpid()
        _state.held_files.add(self)

    def _acquire(self, deadline: float) -> None:
        wait = _FIRST_WAIT
        while True:
            if self._file < 0:
                self._file = os.open(self._name, _OPEN_FLAGS, 0o666, dir_fd=self._directory)
            if _try_lock(self._file):
                if self._still_named():
                    return
                os.close(self._file)
                self._file = -1
            elif time.monotonic() >= deadline:
                raise LockTimeoutError(
                    f"the lock file {self._name!r} of {self._what} was not free within {self._timeout} s"
                )
            else:
                time.sleep(min(wait, max(0.0, deadline - time.monotonic())))
                wait = min(2 * wait, _LONGEST_WAIT)

    def _still_named(self) -> bool:
        try:
            named = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        locked = os.fstat(self._file)
        return (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)

    def __exit__(self, *exc: object) -> None:
        if self._process != os.getpid():
            return  # forked within the block: the lock is the parent's
        _state.held_files.discard(self)
        try:
            os.unlink(self._name, dir_fd=self._directory)
        except OSError:
            pass  # its directory was deleted under us, or it stays: a lock file that nobody holds is free
        finally:
            _unlock(self._file)
            self._close()

    def _close(self) -> None:
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1


def _flock_bytes(kind: int) -> bytes:
    """The C `struct flock` for the whole file (64-bit Linux)."""
    return struct.pack("hh4xqqi4x", kind, os.SEEK_SET, 0, 0, 0)


# Open-file-description locks belong to the open file and not to the process, hence work between threads, and
# unlike flock they work over NFS. Where the platform has none, flock has the same meaning on local disks.
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_OFD_GETLK: int | None = getattr(fcntl, "F_OFD_GETLK", None)


def _try_lock(descriptor: int) -> bool:
    try:
        if _OFD_SETLK is not None:
            fcntl.fcntl(descriptor, _OFD_SETLK, _flock_bytes(fcntl.F_WRLCK))
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: somebody else has it
        return False
    return True


def _unlock(descriptor: int) -> None:
    # Explicitly: a child that was forked meanwhile may share the open file, and would keep the lock alive.
    if _OFD_SETLK is not None:
        fcntl.fcntl(descriptor, _OFD_SETLK, _flock_bytes(fcntl.F_UNLCK))
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_held(path: str) -> bool:
    """Whether somebody holds the lock file at `path`. FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _OFD_GETLK is not None:
            answer = fcntl.fcntl(descriptor, _OFD_GETLK, _flock_bytes(fcntl.F_WRLCK))
            return bool(struct.unpack("hh4xqqi4x", answer)[0] != fcntl.F_UNLCK)
        return not _try_lock(descriptor)  # closing it gives it back
    finally:
        os.close(descriptor)


def _after_fork_in_child() -> None:
    inherited = _state.held_files
    _state.reset()
    for lock in inherited:
        lock._close()


_state = _State()
os.register_at_fork(after_in_child=_after_fork_in_child)
