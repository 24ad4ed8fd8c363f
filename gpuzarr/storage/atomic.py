"""Files that are replaced whole (POSIX): what LocalStore and ZipStore write with.

A file is written under a temporary name in its own directory and renamed when it is complete, so that a reader
sees the old bytes or the new ones, and a process that dies leaves at most a hidden temporary. Directories below
the store's root are opened one by one and never through a symbolic link, so that nothing is written or deleted
outside the root.

A temporary's name says who made it (".gz-<host>-<process>-<random>.tmp"), so that those of the dead can be told from
those of the living: `is_dead`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from gpuzarr.errors import StoreWriteError
from gpuzarr.storage.keys import TEMPORARY_PREFIX
from gpuzarr.storage.syscalls import exchange

_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_TEMPORARY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_TEMPORARY_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"([0-9a-f]{8})-([0-9a-f]{1,16})-([0-9a-f]{12})\.tmp")
BATCH = 256 << 10  # bytes
_SILENCE = 3600.0  # seconds


@cache
def _host() -> str:
    """Where process numbers mean the same: this boot of this machine, and the container that we are in."""
    parts = [os.uname().nodename]
    with suppress(OSError):  # no Linux
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return f"{zlib.crc32(repr(parts).encode()):08x}"


def temporary_name(beside: str | None = None) -> str:
    """A fresh name that is never a key and never listed; `beside` is the name of the file or directory that it stands
    in for, where that is to be found out again (`stands_for`)."""
    last = os.urandom(6).hex() if beside is None else _mark(beside) + os.urandom(2).hex()
    return f"{TEMPORARY_PREFIX}{_host()}-{os.getpid():x}-{last}.tmp"


def stands_for(name: str, beside: str) -> bool:
    """Whether `temporary_name(beside)` may have given this name."""
    found = _TEMPORARY_NAME.fullmatch(name)
    return found is not None and found[3].startswith(_mark(beside))


def _mark(name: str) -> str:
    return f"{zlib.crc32(os.fsencode(name)):08x}"


def is_dead(name: str, changed: float) -> bool:
    """Whether whoever made a temporary of this name, last changed at `changed` (seconds since 1970), is gone.

    A process of this machine is looked for; one of another machine counts as gone when nothing has happened for an
    hour.
    """
    found = _TEMPORARY_NAME.fullmatch(name)
    if found is None or found[1] != _host():
        return time.time() - changed > _SILENCE
    try:
        os.kill(int(found[2], 16), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


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
        _make_root(root, sync=sync)
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


def _make_root(root: str, *, sync: bool) -> None:
    """Make a directory and those above it; `sync` makes each of them durable in the one above."""
    above = os.path.dirname(os.path.abspath(root))
    if not os.path.isdir(above):
        _make_root(above, sync=sync)
    with suppress(FileExistsError):
        os.mkdir(root)
    if sync:
        directory = os.open(above, _DIRECTORY)
        try:
            sync_directory(directory)
        finally:
            os.close(directory)


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


def write_temporary(directory: int, value: Sequence[memoryview], *, sync: bool) -> str:
    """Write all of `value`, one buffer after another, to a new temporary file in `directory`; its name. Nothing is left
    on failure."""
    name = temporary_name()
    descriptor = os.open(name, _TEMPORARY, 0o666, dir_fd=directory)
    try:
        try:
            for part in value if len(value) == 1 else _batches(value):
                written = os.write(descriptor, part)
                while written < len(part):
                    written += os.write(descriptor, part[written:])
            if sync:
                os.fsync(descriptor)  # where this fails the file is discarded, never synced again
        finally:
            os.close(descriptor)  # some file systems report a failed write only here
    except BaseException:
        discard(directory, name)
        raise
    return name


def _batches(parts: Sequence[memoryview]) -> Iterator[memoryview | bytes]:
    """The same bytes in fewer parts: it is quicker to copy small ones than to write them one by one."""
    small: list[memoryview] = []
    for part in parts:
        if len(part) < BATCH:
            small.append(part)
        if small and (len(part) >= BATCH or sum(map(len, small)) >= BATCH):
            yield b"".join(small)
            small = []
        if len(part) >= BATCH:
            yield part
    if small:
        yield b"".join(small)


def replace_file(directory: int, name: str, value: Sequence[memoryview], *, sync: bool, sync_name: bool) -> None:
    """Put `value` at `name` in `directory`: the old file or the new one, never a part.

    `sync` waits until the bytes are on the disk, before the name is theirs; `sync_name` until the name is there too.
    """
    temporary = write_temporary(directory, value, sync=sync)
    try:
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        discard(directory, temporary)
        raise
    if sync_name:
        sync_directory(directory)


def replace_directory(directory: int, new: str, name: str, *, sync: bool) -> None:
    """Put the directory `new` at `name`, in one step where the file system can exchange names; what was at `name` is
    removed. All or nothing but for the removal: what is left of that is hidden. `sync` makes the names durable before
    anything is removed."""
    if exchange(directory, new, name):
        old = new
    else:  # two steps, undone where the second one fails
        old = temporary_name()
        os.rename(name, old, src_dir_fd=directory, dst_dir_fd=directory)
        try:
            os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.rename(old, name, src_dir_fd=directory, dst_dir_fd=directory)
            raise
    if sync:
        sync_directory(directory)
    remove_hidden(directory, old)


def remove_hidden(directory: int, name: str) -> None:
    """Remove a temporary of any kind with all that is in it, as far as that is possible: nobody sees it."""
    try:
        shutil.rmtree(name, dir_fd=directory)
    except OSError:  # a file, or a link; what cannot be removed stays hidden, for `recover`
        discard(directory, name)


def create_file(directory: int, name: str, value: Sequence[memoryview], *, sync: bool, sync_name: bool) -> bool:
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
    if sync_name:
        sync_directory(directory)
    return True


def discard(directory: int, name: str) -> None:
    """Remove a temporary file, if it is there and as far as that is possible: it is hidden, and another failure may
    be on its way up."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


def sync_directory(directory: int) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
