"""Listing a directory tree as keys: links are followed (reads follow them too), but never in a circle."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gpuzarr.errors import KeyValidationError
from gpuzarr.storage.atomic import is_dead, open_directory, remove_hidden, stands_for
from gpuzarr.storage.contract import Leftover
from gpuzarr.storage.keys import LOCK_SUFFIX, TEMPORARY_PREFIX, validate_key
from gpuzarr.storage.locks import is_held


def listable(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a file or directory whose name can be a part of a key."""
    try:
        validate_key(entry.name).encode()
    except (KeyValidationError, UnicodeEncodeError):
        return False
    return entry.is_file() or entry.is_dir()


def walk(root: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(key, entry) of every file below `root`/`prefix`. OSError where that is no directory that can be read;
    directories below that vanish meanwhile are passed over."""
    waiting: list[tuple[str, tuple[str, ...]]] = [(prefix, ())]  # directory as a key, links on the way to it
    while waiting:
        directory, trail = waiting.pop()
        path = f"{root}/{directory}"
        try:
            with os.scandir(path) as entries:
                found = [entry for entry in entries if listable(entry)]
        except FileNotFoundError:
            if directory == prefix:
                raise
            continue
        for entry in found:
            key = f"{directory}/{entry.name}" if directory else entry.name
            if entry.is_file():
                yield key, entry
            elif not entry.is_symlink():
                waiting.append((key, trail))
            else:
                here, target = os.path.realpath(path), os.path.realpath(entry.path)
                # A link into a directory that we are in, or that holds one, would lead round and round.
                if not any(_within(place, target) for place in (*trail, here)):
                    waiting.append((key, (*trail, here)))


def _within(place: str, directory: str) -> bool:
    return place == directory or place.startswith(directory.rstrip("/") + "/")


def hidden(root: str, prefix: str) -> Iterator[Leftover]:
    """Temporaries and lock files below `root`/`prefix`; links are not followed. OSError for a directory that cannot
    be read; one that is not there is empty."""
    waiting = [prefix]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(f"{root}/{directory}") as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in found:
            key = f"{directory}/{entry.name}" if directory else entry.name
            try:
                if entry.name.startswith(TEMPORARY_PREFIX):
                    changed = entry.stat(follow_symlinks=False).st_mtime
                    yield Leftover("temporary", key, _nbytes(entry), is_dead(entry.name, changed))
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(key)
                elif entry.name.endswith(LOCK_SUFFIX):
                    yield Leftover("lock", key, 0, not is_held(entry.path))
            except FileNotFoundError:
                continue  # it was in use, and is done


def hidden_beside(path: str) -> Iterator[Leftover]:
    """Temporaries that stand in for the file or directory at `path`, in its parent; their names begin with "../"."""
    parent, name = os.path.split(os.path.realpath(path))
    try:
        with os.scandir(parent) as entries:
            found = sorted((entry for entry in entries if stands_for(entry.name, name)), key=lambda entry: entry.name)
        for entry in found:
            changed = entry.stat(follow_symlinks=False).st_mtime
            yield Leftover("temporary", f"../{entry.name}", _nbytes(entry), is_dead(entry.name, changed))
    except OSError:
        return  # the parent is not ours to look into


def remove_beside(path: str, name: str) -> None:
    """Remove what `hidden_beside` has found."""
    parent, mine = os.path.split(os.path.realpath(path))
    if stands_for(name, mine):
        directory = open_directory(parent, [], create=False)
        try:
            remove_hidden(directory, name)
        finally:
            os.close(directory)


def _nbytes(entry: os.DirEntry[str]) -> int:
    if not entry.is_dir(follow_symlinks=False):
        return entry.stat(follow_symlinks=False).st_size
    total = 0
    for directory, _, names in os.walk(entry.path):
        total += sum(os.lstat(f"{directory}/{name}").st_size for name in names)
    return total
