"""A disk that loses power: what of the operations that were recorded may be on it afterwards.

`Recorder` notes every change that a LocalStore makes, as operations on inodes and on names in directories. A loss of
power after the first `k` of them leaves one of many states; `states` draws some, by one of two models:

- "any order": every change of a name may be lost or kept by itself, unless its directory was synced afterwards; the
  bytes of a file that was not synced may be absent, cut anywhere, zeros, or there. That is what POSIX promises, and
  no more.
- "journal": changes of names are lost from the last one backwards only, as by the journals of ext4, XFS and Btrfs;
  the bytes of files as before.

In both, a rename is done or not done, a sync of a file keeps its bytes, and a sweep of the file system keeps
everything.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from gpuzarr.errors import KeyValidationError
from gpuzarr.storage import atomic, local_writing
from gpuzarr.storage.keys import validate_key

Model = Literal["any order", "journal"]


class Change(NamedTuple):
    """One operation. `place` is a directory's inode, or, for "write" and "sync", the inode itself."""

    kind: Literal["create", "mkdir", "write", "link", "unlink", "rename", "exchange", "sync", "sweep", "mark"]
    place: int = 0
    name: str = ""
    inode: int = 0
    data: bytes = b""
    other: str = ""  # the second name
    second: int = 0  # the second inode


NAMES = ("create", "mkdir", "link", "unlink", "rename", "exchange")


class Recorder:
    """Changes below `root`, which is inode 0 and empty at first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.changes: list[Change] = []
        self._inodes: dict[tuple[int, int], int] = {}
        self._count = 0
        self._new(os.stat(root))

    def _new(self, found: os.stat_result) -> int:
        """A number for a file that was just made; file systems use theirs again."""
        number = self._inodes[found.st_dev, found.st_ino] = self._count
        self._count += 1
        return number

    def _number(self, found: os.stat_result) -> int:
        return self._inodes[found.st_dev, found.st_ino]

    def mark(self) -> None:
        """What was written until now has been promised."""
        self.changes.append(Change("mark"))

    def _add(self, kind: Any, path: Any, dir_fd: int | None, inode: int = 0, other: str = "", second: int = 0) -> None:
        if dir_fd is None:
            place, name = os.path.split(os.path.abspath(path))
            if not f"{place}/".startswith(f"{self.root}/"):
                return
            found = self._stat(place)
        else:
            found, name = self._fstat(dir_fd), path
        self.changes.append(Change(kind, self._number(found), name, inode, other=other, second=second))

    def record(self, patch: pytest.MonkeyPatch) -> None:
        """Stand before the functions that change files."""
        self._stat, self._fstat = os.stat, os.fstat
        self._record_files(patch)
        self._record_names(patch)
        self._record_syncs(patch)

    def _record_files(self, patch: pytest.MonkeyPatch) -> None:
        open_, write = os.open, os.write

        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            file = open_(path, flags, mode, dir_fd=dir_fd)
            if flags & os.O_EXCL:
                self._add("create", path, dir_fd, self._new(os.fstat(file)))
            return file

        def wrote(file: int, data: Any) -> int:
            done = write(file, data)
            inode = self._number(os.fstat(file))
            self.changes.append(Change("write", inode, data=bytes(memoryview(data)[:done])))
            return done

        patch.setattr(os, "open", opened)
        patch.setattr(os, "write", wrote)

    def _record_names(self, patch: pytest.MonkeyPatch) -> None:
        mkdir, unlink, rmdir, rename, link, exchange = (
            os.mkdir, os.unlink, os.rmdir, os.rename, os.link, atomic.exchange,
        )  # fmt: skip

        def made(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            mkdir(path, mode, dir_fd=dir_fd)
            if dir_fd is not None or os.path.abspath(path).startswith(f"{self.root}/"):
                self._add("mkdir", path, dir_fd, self._new(os.stat(path, dir_fd=dir_fd)))

        def unlinked(path: Any, *, dir_fd: int | None = None) -> None:
            unlink(path, dir_fd=dir_fd)
            if not path.endswith("gzlock"):
                self._add("unlink", path, dir_fd)

        def removed(path: Any, *, dir_fd: int | None = None) -> None:
            rmdir(path, dir_fd=dir_fd)
            self._add("unlink", path, dir_fd)

        def renamed(old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
            rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            assert src_dir_fd == dst_dir_fd
            inode = self._number(os.stat(new, dir_fd=dst_dir_fd))
            self._add("rename", old, src_dir_fd, inode, other=new)

        def linked(old: Any, new: Any, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
            link(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
            self._add("link", new, dst_dir_fd, self._number(os.stat(new, dir_fd=dst_dir_fd)))

        def exchanged(directory: int, first: str, second: str) -> bool:
            done = exchange(directory, first, second)
            assert done, "this file system cannot exchange names"
            inodes = [self._number(os.stat(name, dir_fd=directory)) for name in (second, first)]
            self._add("exchange", first, directory, inodes[0], second, inodes[1])
            return done

        for name, function in (
            ("mkdir", made), ("unlink", unlinked), ("rmdir", removed), ("rename", renamed), ("link", linked),
        ):  # fmt: skip
            patch.setattr(os, name, function)
        patch.setattr(atomic, "exchange", exchanged)

    def _record_syncs(self, patch: pytest.MonkeyPatch) -> None:
        def synced(file: int) -> None:
            self.changes.append(Change("sync", self._number(os.fstat(file))))

        patch.setattr(os, "fsync", synced)
        patch.setattr(local_writing, "sync_file_system", lambda _: self.changes.append(Change("sweep")))


def states(changes: list[Change], k: int, model: Model, count: int, rng: random.Random) -> Iterator[dict[str, bytes]]:
    """Some of the states in which a loss of power after `k` changes may leave the disk: objects by key. First the
    one that lost all that it may, then the one that lost nothing."""
    done = changes[:k]
    sweep = max((i for i, c in enumerate(done) if c.kind == "sweep"), default=-1)
    synced = {c.place: i for i, c in enumerate(done) if c.kind == "sync"}  # the last sync of each inode
    last = max([sweep, *synced.values()])
    names = [i for i, c in enumerate(done) if c.kind in NAMES]
    loose = [i for i in names if i > max(sweep, synced.get(done[i].place, -1))]
    if model == "journal":  # a sync of anything writes the journal
        loose = [i for i in names if i > last]
    for number in range(count):
        if model == "journal":
            cut = rng.randrange(len(loose) + 1)
            kept = {0: 0, 1: len(loose)}.get(number, cut)
            lost = set(loose[kept:])
        else:
            chance = rng.random()
            lost = {i for i in loose if number == 0 or (number > 1 and rng.random() < chance)}
        yield _objects(done, lost, sweep, synced, number, rng)


def _objects(
    done: list[Change], lost: set[int], sweep: int, synced: dict[int, int], number: int, rng: random.Random
) -> dict[str, bytes]:
    entries: dict[int, dict[str, int]] = {0: {}}
    data: dict[int, bytes] = {}
    for i, change in enumerate(done):
        if change.kind == "write":
            data[change.place] = data.get(change.place, b"") + _kept(change, i, sweep, synced, number, rng)
        elif change.kind in NAMES:
            if change.kind == "mkdir":
                entries.setdefault(change.inode, {})
            if i not in lost:
                _apply(entries[change.place], change)
    found: dict[str, bytes] = {}
    waiting = [("", 0)]
    while waiting:
        prefix, place = waiting.pop()
        for name, inode in entries[place].items():
            key = prefix + name
            try:
                validate_key(key)
            except KeyValidationError:
                continue  # a temporary
            if inode in entries:
                waiting.append((f"{key}/", inode))
            else:
                found[key] = data.get(inode, b"")
    return found


def _kept(change: Change, i: int, sweep: int, synced: dict[int, int], number: int, rng: random.Random) -> bytes:
    """What is left of the bytes that were written."""
    if i < max(sweep, synced.get(change.place, -1)) or number == 1:
        return change.data
    kind = 0 if number == 0 else rng.randrange(4)
    size = rng.randrange(len(change.data) + 1)
    return (b"", change.data[:size], bytes(len(change.data)), change.data)[kind]


def _apply(directory: dict[str, int], change: Change) -> None:
    """A change of a name, where the one it builds on may be lost."""
    if change.kind in ("create", "mkdir", "link"):
        directory[change.name] = change.inode
    elif change.kind == "unlink":
        directory.pop(change.name, None)
    elif change.kind == "rename":
        directory.pop(change.name, None)
        directory[change.other] = change.inode
    else:
        directory[change.name], directory[change.other] = change.second, change.inode
