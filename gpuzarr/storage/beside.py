"""A directory that is replaced whole: the new one is filled beside it, under a hidden name, and they change places."""

from __future__ import annotations

import os
import stat
from typing import Self

from gpuzarr.storage.atomic import open_directory, remove_hidden, replace_directory, temporary_name


class Beside:
    """Context manager: an empty directory at `path`, removed at the end unless it took the place of the old one."""

    def __init__(self, directory: int, place: str, name: str, mode: int) -> None:
        self._directory, self._name = directory, name
        self._temporary = temporary_name(name)
        self.path = f"{place}/{self._temporary}"
        try:
            os.mkdir(self._temporary, dir_fd=directory)
            os.chmod(self._temporary, mode, dir_fd=directory)
        except BaseException:
            remove_hidden(directory, self._temporary)
            raise

    @classmethod
    def of(cls, root: str, prefix: str) -> Self | None:
        """Room beside the directory `root`/`prefix`; None where nothing is there to be replaced, or it cannot be
        replaced in this way. StoreWriteError where a link is on the way to it."""
        if prefix:
            parent, _, name = prefix.rpartition("/")
            place = f"{root}/{parent}" if parent else root
        else:
            place, name = os.path.split(os.path.realpath(root))
            parent = ""
        if not name:
            return None
        try:
            base = root if prefix else place
            directory = open_directory(base, parent.split("/") if parent else [], create=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if _replaceable(directory, f"{place}/{name}", found):
                return cls(directory, place, name, stat.S_IMODE(found.st_mode))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except BaseException:
            os.close(directory)
            raise
        os.close(directory)
        return None

    def __enter__(self) -> Self:
        return self

    def take_place(self, *, sync: bool) -> None:
        """Swap the directories and remove the old one."""
        replace_directory(self._directory, self._temporary, self._name, sync=sync)

    def __exit__(self, *exc: object) -> None:
        try:
            remove_hidden(self._directory, self._temporary)
        finally:
            os.close(self._directory)


def _replaceable(directory: int, path: str, found: os.stat_result) -> bool:
    """Whether it is a directory that holds something, in a directory that may be written to, and neither a mount
    point nor one that this process stands in, which would then stand in the old one."""
    if not stat.S_ISDIR(found.st_mode) or found.st_dev != os.stat(".", dir_fd=directory).st_dev:
        return False
    with os.scandir(path) as entries:
        if next(entries, None) is None:
            return False
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory):
        return False
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:
        return True
    return not f"{here}/".startswith(f"{os.path.realpath(path)}/")
