"""Listing a directory tree as keys: links are followed (reads follow them too), but never in a circle."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gpuzarr.errors import KeyValidationError
from gpuzarr.storage.contract import validate_key


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
