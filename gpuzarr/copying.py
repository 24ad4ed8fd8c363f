"""`copy`, `copy_all` and `copy_store`, as zarr-python 2 had them: between stores, and from HDF5 files.

Arrays of one format are copied as the bytes that are stored; others are read and written again, piece by piece.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpuzarr.array import Array
from gpuzarr.attributes import plain
from gpuzarr.creation import create_like, metadata_of
from gpuzarr.errors import ContainsNodeError
from gpuzarr.group import Group
from gpuzarr.making import making_node
from gpuzarr.nodes import join, normalize_path
from gpuzarr.opening import place_of
from gpuzarr.storage.contract import Store
from gpuzarr.transfer import Cargo, carry, chunk_cargo

Report = tuple[int, int, int]
IF_EXISTS = ("raise", "replace", "skip", "skip_initialized")


def copy(
    source: Any,
    dest: Group,
    name: str | None = None,
    shallow: bool = False,
    without_attrs: bool = False,
    log: Any = None,
    if_exists: str = "raise",
    dry_run: bool = False,
    **create_kws: Any,
) -> Report:
    """Copy an array, or a group with what is below it, of Zarr or of h5py, into the group `dest` as `name`.

    `if_exists`: "raise", "replace", "skip", or "skip_initialized" (arrays that have every chunk). `log`: a function,
    an open file, or the path of a file. `create_kws` as of `gpuzarr.create`, for arrays. Returns how many arrays and
    groups were copied, how many skipped, and the bytes of the values copied. Raises ContainsArrayError or
    ContainsGroupError.
    """
    if if_exists not in IF_EXISTS:
        raise ValueError(f"if_exists is one of {', '.join(map(repr, IF_EXISTS))}, not {if_exists!r}")
    name = name or str(getattr(source, "name", None) or "").strip("/").rpartition("/")[2]
    if not name:
        raise TypeError("the root has no name: give the name of the copy")
    with _logger(log) as write:
        job = _Job(write, shallow, without_attrs, if_exists, dry_run, create_kws)
        job.copy(source, dest, name)
        return job.report()


def copy_all(
    source: Any,
    dest: Group,
    shallow: bool = False,
    without_attrs: bool = False,
    log: Any = None,
    if_exists: str = "raise",
    dry_run: bool = False,
    **create_kws: Any,
) -> Report:
    """`copy` every member of the group `source` into the group `dest`, and its attributes."""
    if if_exists not in IF_EXISTS:
        raise ValueError(f"if_exists is one of {', '.join(map(repr, IF_EXISTS))}, not {if_exists!r}")
    with _logger(log) as write:
        job = _Job(write, shallow, without_attrs, if_exists, dry_run, create_kws)
        for name in list(source.keys()):
            job.copy(source[name], dest, name)
        if not without_attrs and not dry_run and len(source.attrs):
            dest.attrs.update(_attributes(source))
        return job.report()


class _Job:
    """One call: what was asked for, and what has been done."""

    def __init__(
        self,
        write: Callable[[str], object],
        shallow: bool,
        without_attrs: bool,
        if_exists: str,
        dry_run: bool,
        create_kws: Mapping[str, Any],
    ) -> None:
        self.write = write
        self.shallow, self.without_attrs, self.if_exists, self.dry_run = shallow, without_attrs, if_exists, dry_run
        self.create_kws = dict(create_kws)
        self.copied = self.skipped = self.nbytes = 0

    def report(self) -> Report:
        """What `copy` returns; the last line of the log says the same."""
        verb = "dry run: " if self.dry_run else "all done: "
        self.write(f"{verb}{self.copied:,} copied, {self.skipped:,} skipped, {self.nbytes:,} bytes copied")
        return self.copied, self.skipped, self.nbytes

    def copy(self, source: Any, dest: Group | None, name: str) -> None:
        """One node; `dest` is None below a group that a dry run did not make."""
        if hasattr(source, "shape"):
            self._array(source, dest, name)
        else:
            self._group(source, dest, name)

    def _array(self, source: Any, dest: Group | None, name: str) -> None:
        there = None if dest is None else dest.get(name)
        if there is not None and self._skips(there, name):
            self.skipped += 1
            self.write(f"skip {source.name} {tuple(source.shape)} {source.dtype}")
            return
        self.write(f"copy {source.name} {tuple(source.shape)} {source.dtype}")
        if dest is not None and not self.dry_run:
            with_attrs = {} if self.without_attrs else _attributes(source)
            if isinstance(source, Array) and not self.create_kws and _same_format(source, dest):
                _copy_objects(source, dest, name, with_attrs)
            else:
                _copy_values(source, dest, name, with_attrs, self.create_kws)
        self.copied += 1
        self.nbytes += 0 if self.dry_run else int(source.size) * source.dtype.itemsize

    def _skips(self, there: Array | Group, name: str) -> bool:
        if self.if_exists == "raise":
            raise ContainsNodeError(f"cannot copy: there is a node at {there.name!r} already (see if_exists)")
        if self.if_exists == "skip":
            return True
        return (
            self.if_exists == "skip_initialized"
            and isinstance(there, Array)
            and int(there.nchunks_initialized) == there.nchunks
        )

    def _group(self, source: Any, dest: Group | None, name: str) -> None:
        there = None if dest is None else dest.get(name)
        if isinstance(there, Array):
            if self._skips(there, name):
                self.skipped += 1
                self.write(f"skip {source.name}")
                return
            there = None
        self.write(f"copy {source.name}")
        made = there
        if dest is not None and not self.dry_run:
            if made is None:
                made = dest.create_group(name, overwrite=name in dest)
            if not self.without_attrs and len(source.attrs):
                made.attrs.update(_attributes(source))
        self.copied += 1
        if not self.shallow:
            for member in list(source.keys()):
                self.copy(source[member], made, member)


def _same_format(source: Array, dest: Group) -> bool:
    return source.metadata.zarr_format == dest.metadata.zarr_format


def _copy_objects(source: Array, dest: Group, name: str, attributes: dict[str, Any]) -> None:
    """The stored chunks as they are."""
    path = join(dest.path, normalize_path(name))
    metadata = source.metadata.with_attributes(attributes)
    with making_node(dest.store, path, metadata, overwrite=True) as (place, inside):
        cargo = chunk_cargo(source.chunk_store, source.path, {source.path: source.metadata})
        carry(source.chunk_store, place, (each._replace(target=join(inside, each.target)) for each in cargo))


def _copy_values(
    source: Any, dest: Group, name: str, attributes: dict[str, Any], create_kws: Mapping[str, Any]
) -> None:
    given = {"zarr_format": dest.metadata.zarr_format, "attributes": attributes, **create_kws}
    if metadata_of(source) is None and getattr(source, "fillvalue", None) is not None:  # h5py
        given.setdefault("fill_value", source.fillvalue)
    create_like(dest.store, join(dest.path, normalize_path(name)), data=source, overwrite=True, **given)


def _attributes(source: Any) -> dict[str, Any]:
    """As JSON; h5py's attributes are NumPy scalars and arrays, and bytes."""
    return {key: plain(value) for key, value in source.attrs.items()}


def copy_store(
    source: Any,
    dest: Any,
    source_path: str = "",
    dest_path: str = "",
    excludes: str | list[str] | None = None,
    includes: str | list[str] | None = None,
    flags: int = 0,
    if_exists: str = "raise",
    dry_run: bool = False,
    log: Any = None,
) -> Report:
    """Copy objects from store to store as they are: no decoding.

    `excludes` and `includes` are regular expressions that are searched for in keys, `flags` those of `re`; what is
    included is copied even if it is excluded. Returns how many objects were copied, how many skipped, and their
    bytes. With `if_exists="raise"` nothing is copied where a key is there: ContainsNodeError.
    """
    if if_exists not in ("raise", "replace", "skip"):
        raise ValueError(f"if_exists is 'raise', 'replace' or 'skip', not {if_exists!r}")
    old, old_path = place_of(source, source_path, mode=None)
    new, new_path = place_of(dest, dest_path, mode="a")
    if old == new and (f"{old_path}/".startswith(f"{new_path}/") or f"{new_path}/".startswith(f"{old_path}/")):
        raise ValueError("cannot copy a store onto itself")
    wanted = _matcher(excludes, includes, flags)
    start = len(old_path) + 1 if old_path else 0
    cargo = [
        Cargo(key, join(new_path, key[start:]), size)
        for key, size in sorted(old.list_sizes(old_path))
        if wanted(key[start:])
    ]
    there = {each.target for each in cargo if new.exists(each.target)} if if_exists != "replace" else set()
    if there and if_exists == "raise" and not dry_run:
        raise ContainsNodeError(f"key {min(there)!r} is in {new} already (see if_exists)")
    if if_exists == "raise":
        there = set()
    with _logger(log) as write:
        return _copy_keys(old, new, cargo, there, dry_run, write)


def _copy_keys(
    old: Store, new: Store, cargo: list[Cargo], skipped: set[str], dry_run: bool, write: Callable[[str], object]
) -> Report:
    for each in cargo:
        write(f"{'skip' if each.target in skipped else 'copy'} {each.key}")
    chosen = [each for each in cargo if each.target not in skipped]
    _, nbytes = (0, 0) if dry_run else carry(old, new, chosen)
    verb = "dry run: " if dry_run else "all done: "
    write(f"{verb}{len(chosen):,} copied, {len(skipped):,} skipped, {nbytes:,} bytes copied")
    return len(chosen), len(skipped), nbytes


def _matcher(excludes: Any, includes: Any, flags: int) -> Callable[[str], bool]:
    out, back = (
        [re.compile(pattern, flags) for pattern in ([given] if isinstance(given, str) else given or ())]
        for given in (excludes, includes)
    )

    def wanted(key: str) -> bool:
        return not any(pattern.search(key) for pattern in out) or any(pattern.search(key) for pattern in back)

    return wanted


@contextmanager
def _logger(log: Any) -> Iterator[Callable[[str], object]]:
    """A function that takes one line of the log."""
    if log is None:
        yield lambda line: None
    elif callable(log):
        yield log
    elif hasattr(log, "write"):
        yield lambda line: log.write(line + "\n")
    elif log in (1, "stdout"):
        yield lambda line: sys.stdout.write(line + "\n")
    else:
        with Path(log).open("w", encoding="utf-8") as file:
            yield lambda line: file.write(line + "\n")
