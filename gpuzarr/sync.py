"""Synchronizers, as in zarr-python 2: `synchronizer[key]` is a lock for partial writes to the chunk at `key`.

A LocalStore keeps threads and processes apart by itself, other stores keep threads apart. A ProcessSynchronizer
adds processes for every kind of store whose users share a directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Any

from gpuzarr.storage.atomic import open_directory
from gpuzarr.storage.keys import LOCK_SUFFIX, validate_key
from gpuzarr.storage.locks import FileLock, thread_lock


class ThreadSynchronizer:
    """Locks between the threads of this process; LockTimeoutError after `timeout` seconds. A pickle is a new one."""

    keeps_keys_apart = True  # the lock of one key may be taken while that of another is held

    def __init__(self, *, timeout: float = 60.0) -> None:
        self.timeout = timeout

    def __getitem__(self, key: str) -> AbstractContextManager[None]:
        return thread_lock((id(self), key), self.timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_thread_synchronizer, (self.timeout,))


def _thread_synchronizer(timeout: float) -> ThreadSynchronizer:
    return ThreadSynchronizer(timeout=timeout)


class ProcessSynchronizer:
    """Locks between threads and processes, by lock files below the directory `path` (a file system that all of
    them see); LockTimeoutError after `timeout` seconds."""

    keeps_keys_apart = True

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 60.0) -> None:
        self.path = os.fspath(path)
        self.timeout = timeout

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProcessSynchronizer) and self.path == other.path

    def __hash__(self) -> int:
        return hash((ProcessSynchronizer, self.path))

    def __getitem__(self, key: str) -> AbstractContextManager[None]:
        return self._lock(validate_key(key))

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        deadline = monotonic() + self.timeout
        parent, _, name = key.rpartition("/")
        parts = parent.split("/") if parent else []
        with (
            thread_lock((ProcessSynchronizer, os.path.realpath(self.path), key), self.timeout),
            FileLock(
                lambda: open_directory(self.path, parts, create=True),
                name + LOCK_SUFFIX,
                timeout=max(0.0, deadline - monotonic()),
                what=f"{key!r} in {self.path}",
            ),
        ):
            yield
