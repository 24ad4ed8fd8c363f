"""Files that are replaced whole (POSIX): what LocalStore and ZipStore write with.

A file is written under a temporary name in its own directory and renamed when it is complete, so that a reader
sees the old bytes or the new ones, and a process that dies leaves at most a hidden temporary. Directories below
the store's root are opened one by one and never through a symbolic link, so that nothing is written or deleted
outside the root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from gpuzarr.errors import StoreWriteError
from gpuzarr.storage.contract import TEMPORARY_PREFIX

_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_TEMPORARY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def temporary_name() -> str:
    """A fresh name that is never a key and never listed."""
    return f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}.tmp"


def open_directory(root: str, parts: Sequence[str], *, create: bool, sync: bool = False) -> int:
    """A descriptor of `root`/`parts`..., to be closed by the caller; `root` itself may be a symbolic link.

    Raises FileNotFoundError or NotADirectoryError where there is no such directory and `create` is False,
    StoreWriteError where one of `parts` is a symbolic link. `sync` makes new directories durable.
    """
    try:
        current = os.open(root, _DIRECTORY)
    except FileNotFoundError:
        if not create:
            raise
        os.makedirs(root, exist_ok=True)
        current = os.open(root, _DIRECTORY)
    try:
        for part in parts:
            below = _open_below(current, part, create=create, sync=sync)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def _open_below(directory: int, name: str, *, create: bool, sync: bool) -> int:
    flags = _DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        if not create:
            raise
        with suppress(FileExistsError):  # another writer made it just now
            os.mkdir(name, dir_fd=directory)
        if sync:
            sync_directory(directory)
        return os.open(name, flags, dir_fd=directory)
    except OSError:
        if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise StoreWriteError(
                f"{name!r} is a symbolic link; writes do not follow links below the root of a store"
                " (open the link's target as a store of its own)"
            ) from None
        raise


def write_temporary(directory: int, value: memoryview, *, sync: bool) -> str:
    """Write all of `value` to a new temporary file in `directory`; its name. Nothing is left on failure."""
    name = temporary_name()
    descriptor = os.open(name, _TEMPORARY, 0o666, dir_fd=directory)
    try:
        try:
            written = os.write(descriptor, value)
            while written < len(value):
                written += os.write(descriptor, value[written:])
            if sync:
                os.fsync(descriptor)  # where this fails the file is discarded, never synced again
        finally:
            os.close(descriptor)  # some file systems report a failed write only here
    except BaseException:
        discard(directory, name)
        raise
    return name


def replace_file(directory: int, name: str, value: memoryview, *, sync: bool) -> None:
    """Put `value` at `name` in `directory`: the old file or the new one, never a part."""
    temporary = write_temporary(directory, value, sync=sync)
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        discard(directory, temporary)
        raise
    if sync:
        sync_directory(directory)


def create_file(directory: int, name: str, value: memoryview, *, sync: bool) -> bool:
    """Put `value` at `name` where nothing is there; False where something is.

    Raises PermissionError or OSError where the file system has no hard links.
    """
    temporary = write_temporary(directory, value, sync=sync)
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        discard(directory, temporary)
    if sync:
        sync_directory(directory)
    return True


def discard(directory: int, name: str) -> None:
    """Remove a temporary file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def sync_directory(directory: int) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
