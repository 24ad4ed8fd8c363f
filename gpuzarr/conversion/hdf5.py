"""HDF5 files as sources, NetCDF 4 among them, through h5py.

- Groups, data sets and attributes; dimension labels and scales become dimension names, and the bookkeeping of scales
  and of NetCDF is left behind. Strings of variable length are text, enumerations the numbers with an attribute
  "enumeration" beside them, records are stored without padding.
- A data set that several links lead to is copied for each of them. A group is entered once, so that a cycle ends.
- Nothing outside of the file is read: external links, external storage, virtual data sets over other files. These, and
  references, opaque elements, arrays in elements and links that lead nowhere, are Problems.

The file is read by the HDF5 library, which is not made for files of somebody who means harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gpuzarr.attributes import plain
from gpuzarr.conversion import netcdf4
from gpuzarr.conversion.contract import (
    DAMAGE,
    Found,
    FoundArray,
    FoundGroup,
    Note,
    Problem,
    Region,
    Source,
    file_identity,
    file_place,
    understanding,
    unreadable,
)
from gpuzarr.conversion.hdf5_types import Element, Unsupported, element_of
from gpuzarr.create import DEFAULT_FILL_VALUE
from gpuzarr.errors import ConversionError, EncodeError
from gpuzarr.missing import MISSING
from gpuzarr.nodes import join
from gpuzarr.storage.resolve import StorePath

MOST_TURNS = 16  # soft links on the way of a soft link
CHUNK_CACHE = 1 << 20  # bytes that the HDF5 library keeps for each open data set


class Hdf5Source(Source):
    """A file, or a group or a data set in it. What is given open is left open."""

    def __init__(self, place: Any, inner: str = "") -> None:
        self._opened = None if isinstance(place, h5py.HLObject) else _open(place)
        self._entered: set[tuple[int, int]] = set()
        top = place if self._opened is None else self._opened
        try:
            self._file = top.file
            self._top = _inside(top, inner) if inner else top
            with understanding(self._file.filename):
                self.labelled = netcdf4.is_netcdf(self._file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def place(self) -> StorePath:
        return file_place(str(self._file.filename))

    def identity(self) -> dict[str, Any]:
        path = str(self._file.filename)
        state = file_identity(path, os.stat(path)) if Path(path).exists() else {"file": path}
        return state | {"inside": self._top.name}

    def nodes(self) -> Iterator[Found]:
        with understanding(self._file.filename):
            if isinstance(self._top, h5py.Dataset):
                yield from self._dataset("", self._top)
            else:
                yield from self._below()

    def _below(self) -> Iterator[Found]:
        waiting: list[tuple[str, Any]] = [("", self._top)]
        while waiting:
            path, group = waiting.pop()
            self._entered.add(_identity(group))
            yield from self._group(path, group)
            below = []
            for name in sorted(group):
                here = join(path, netcdf4.variable_name(name))
                node, reason = self._follow(group, name)
                if reason is not None:
                    yield Problem(here, reason)
                elif isinstance(node, h5py.Datatype):
                    yield Note(here, "a named data type; the data sets that use it say what it is")
                elif isinstance(node, h5py.Group):
                    below.append((here, node))
                    self._entered.add(_identity(node))
                elif not netcdf4.is_bookkeeping(node):
                    yield from self._dataset(here, node)
            waiting.extend(reversed(below))

    def _follow(self, group: Any, name: str) -> tuple[Any, str | None]:
        """What a link leads to, or why it is not followed."""
        try:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                return None, f"a link to {link.path!r} in another file, {link.filename!r}, which is not opened"
            if isinstance(link, h5py.SoftLink) and _leads_out(group, link.path):
                return None, f"a link to {link.path!r}, on whose way is a link to another file, which is not opened"
            node = group[name]
        except DAMAGE as error:
            return None, f"a link that cannot be followed: {error}"
        if isinstance(node, h5py.Group) and _identity(node) in self._entered:
            return None, f"one more link to a group that is there already ({node.name})"
        return node, None

    def _group(self, path: str, group: Any) -> Iterator[Found]:
        attributes, problems = self._attributes(path, group)
        yield FoundGroup(path=path, attributes=attributes)
        yield from problems

    def _attributes(self, path: str, node: Any) -> tuple[dict[str, Any], list[Problem]]:
        found: dict[str, Any] = {}
        problems = []
        for name in netcdf4.kept_attributes(node):
            try:
                found[plain(name)] = self._attribute(node.attrs[name])
            except DAMAGE as error:
                problems.append(Problem(path, str(error), str(name)))
        return found, problems

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, h5py.Empty):
            return "" if value.dtype.kind in "SO" else None
        if self.labelled and getattr(value, "shape", None) == (1,):  # so NetCDF writes scalars
            value = value[0]
        return plain(value)

    def _dataset(self, path: str, dataset: Any) -> Iterator[Found]:
        try:
            element = element_of(dataset)
            _refuse_storage(dataset)
            fill_value = _fill_value(dataset, element)
        except Unsupported as error:
            yield Problem(path, str(error))
            return
        attributes, problems = self._attributes(path, dataset)
        attributes.pop(MISSING, None)
        yield from (problem for problem in problems if problem.attribute != MISSING)
        missing, reason = _missing(dataset)
        if reason is not None:
            yield Problem(path, reason, MISSING)
        if element.enumeration is not None:
            attributes.setdefault("enumeration", element.enumeration)
        shape = dataset.shape
        if shape is None:
            yield Note(path, "a data set of no values and no shape; an array of shape (0,)")
        yield FoundArray(
            path=path,
            shape=(0,) if shape is None else shape,
            dtype=element.dtype,
            read=partial(_read, dataset, element, f"{dataset.name} in {self._file.filename}"),
            chunks=dataset.chunks,
            fill_value=fill_value,
            attributes=attributes,
            dimension_names=None if shape is None else netcdf4.dimension_names(dataset),
            missing=missing,
            scratch=CHUNK_CACHE + 2 * _chunk_bytes(dataset),
        )


def _open(path: str) -> Any:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ConversionError(f"{path} cannot be opened as HDF5: {error}") from error


def _inside(top: Any, path: str) -> Any:
    """What is at a path below an object of the file."""
    try:
        if not _leads_out(top, path):
            return top[path]
        reason = "the way leads through another file"
    except DAMAGE as error:
        reason = str(error)
    raise ConversionError(f"there is no {path!r} in {top.name} of {top.file.filename}: {reason}")


def _identity(node: Any) -> tuple[int, int]:
    """File and address of an object, however it was come by."""
    info = h5py.h5o.get_info(node.id)
    return info.fileno, info.addr


def _leads_out(group: Any, path: str, turns: int = 0) -> bool:
    """Whether the way of a soft link goes through another file. RuntimeError where it goes in circles, KeyError where
    it ends."""
    if turns > MOST_TURNS:
        raise RuntimeError(f"too many links on the way to {path!r}")
    node = group.file if path.startswith("/") else group
    for part in (part for part in path.split("/") if part not in ("", ".")):
        link = node.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return True
        if isinstance(link, h5py.SoftLink) and _leads_out(node, link.path, turns + 1):
            return True
        node = node[part]
    return False


def _refuse_storage(dataset: Any) -> None:
    """Unsupported where the values are not in the file, or cannot be decoded."""
    if dataset.external:
        raise Unsupported(f"its values are in other files, such as {dataset.external[0][0]!r}, which are not opened")
    if dataset.is_virtual:
        others = {source.file_name for source in dataset.virtual_sources()} - {"."}
        if others:
            raise Unsupported(f"a view of data in other files, such as {min(others)!r}, which are not opened")
    chosen = dataset.id.get_create_plist()
    for i in range(chosen.get_nfilters()):
        number, _, _, name = chosen.get_filter(i)
        if not h5py.h5z.filter_avail(number):
            raise Unsupported(f"the HDF5 filter {name.decode(errors='replace')!r} ({number}) is not installed here")


def _chunk_bytes(dataset: Any) -> int:
    return int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize if dataset.chunks else 0


def _fill_value(dataset: Any, element: Element) -> Any:
    """The fill value, where the file has one. Unsupported."""
    if dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED or dataset.shape is None:
        return DEFAULT_FILL_VALUE
    value = dataset.fillvalue
    if element.text:
        try:
            return value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            raise Unsupported(f"a fill value that is no UTF-8: {value!r:.50}") from None
    return np.asarray(value).astype(element.dtype)[()]


def _missing(dataset: Any) -> tuple[Any, str | None]:
    """CF's value for missing elements, if there is one, and what is wrong with it."""
    if MISSING not in dataset.attrs:
        return None, None
    try:
        value = np.asarray(dataset.attrs[MISSING])
    except DAMAGE as error:
        return None, str(error)
    if value.size != 1 or not isinstance(value.reshape(-1)[0], np.generic | str | bytes):
        return None, f"the value for missing elements is not one value: {value!r:.50}"
    return value.reshape(-1)[0], None


def _read(dataset: Any, element: Element, name: str, region: Region) -> np.ndarray[Any, Any]:
    try:
        if dataset.shape is None:
            return np.empty((0,), element.dtype)
        if element.text:
            return np.asarray(dataset.asstr()[region], dtype=object)
        return np.asarray(dataset[region])
    except UnicodeDecodeError as error:
        raise EncodeError(f"{name} at {region} holds text that is no UTF-8: {error}") from error
    except DAMAGE as error:
        raise unreadable(f"{name} at {region} cannot be read", error) from error
