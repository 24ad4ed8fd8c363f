"""What can be converted: a source gives its nodes one by one, parents first, and arrays by region.

A source writes `nodes` and `identity`; adding a format is adding one file and a line in `sources.py`. What it holds
that Zarr has no form for is a `Problem`, and never left out in silence.
"""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

from gpuzarr.attributes import plain
from gpuzarr.create import DEFAULT_FILL_VALUE
from gpuzarr.errors import ConversionError, CorruptChunkError, GpuzarrError, StoreReadError
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.resolve import StorePath

Region: TypeAlias = tuple[slice, ...]
VARIABLE_ITEM = 128  # bytes that an element of variable length is taken to have in memory


class Problem(NamedTuple):
    """Something in the source that Zarr has no form for: a node, or an attribute of one."""

    path: str
    reason: str
    attribute: str | None = None

    def __str__(self) -> str:
        of = "" if self.attribute is None else f", attribute {self.attribute!r}"
        return f"{self.path or '/'}{of}: {self.reason}"


class Note(NamedTuple):
    """Something that takes another form in the target, with no value lost, or a choice that is for nothing there."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path or '/'}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class FoundGroup:
    """A group of the source. `attributes` are JSON; `like` is set where it is Zarr's."""

    path: str
    attributes: dict[str, Any] = field(default_factory=dict)
    like: GroupMetadata | None = None


@dataclass(frozen=True, kw_only=True)
class FoundArray:
    """An array of the source.

    `dtype` is what `gpuzarr.create_array` takes; `read` gives a region as a NumPy array, may be called by several
    threads, and raises StoreReadError and CorruptChunkError. `missing` is the value that stands for missing ones (CF's
    `_FillValue`), None where there is none. `like` is set where it is Zarr's, and is then what is kept. `scratch` are
    the bytes that one `read` needs beside what it returns. `release` lets go of what reading held.
    """

    path: str
    shape: tuple[int, ...]
    dtype: Any
    read: Callable[[Region], np.ndarray[Any, Any]]
    chunks: tuple[int, ...] | None = None
    fill_value: Any = DEFAULT_FILL_VALUE
    attributes: dict[str, Any] = field(default_factory=dict)
    dimension_names: tuple[str | None, ...] | None = None
    missing: Any = None
    like: ArrayMetadata | None = None
    scratch: int = 0
    release: Callable[[], object] = lambda: None


Found: TypeAlias = FoundGroup | FoundArray | Problem | Note


DAMAGE = (
    *(
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
    ),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What libraries raise where a file is not as it should be."""


@contextmanager
def understanding(name: str) -> Iterator[None]:
    """Context manager: what a library finds wrong with the file `name` is a ConversionError."""
    try:
        yield
    except GpuzarrError:
        raise
    except DAMAGE as error:
        raise ConversionError(
            f"{name} cannot be read as what it seems to be: {type(error).__name__}: {error}"
        ) from error


def unreadable(what: str, error: Exception) -> GpuzarrError:
    """The error for values that a library could not read: StoreReadError where the system failed, which gives a number,
    and CorruptChunkError where the bytes were there and are damaged."""
    said = f"{what}: {type(error).__name__}: {error}"
    return StoreReadError(said) if getattr(error, "errno", None) else CorruptChunkError(said)


class Source(ABC):
    """Something to convert. As a context manager it closes what it opened."""

    labelled = False  # its arrays are variables with named dimensions, as xarray sees them (NetCDF)

    @property
    def consolidated(self) -> bool:
        """Whether its readers expect consolidated metadata of the target."""
        return self.labelled

    @abstractmethod
    def nodes(self) -> Iterator[Found]:
        """Every node, parents before their members; paths are relative to the root, which is "". ConversionError where
        the source cannot be understood at all."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """As JSON, what differs when the source is another one, or was changed, as far as that is cheap to know."""

    @property
    @abstractmethod
    def place(self) -> StorePath:
        """Where it lies; a file is the root of a store of its own."""

    def close(self) -> None:  # noqa: B027  some hold nothing
        """Let go of what was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FileSource(Source):
    """A source that is one local file."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def place(self) -> StorePath:
        return file_place(self._path)

    def identity(self) -> dict[str, Any]:
        return file_identity(self._path, os.stat(self._path))


def piece_shape(metadata: ArrayMetadata) -> tuple[int, ...]:
    """Shape of what is decoded at once: an inner chunk, or a chunk; along each axis the longest where they differ."""
    try:
        return metadata.chunks
    except NotImplementedError:
        return metadata.grid.largest_chunk


def file_place(path: str) -> StorePath:
    """The place of a file."""
    return StorePath(LocalStore(path))


def file_identity(path: str, state: Any) -> dict[str, Any]:
    """The identity of a file, from its name and its `os.stat`."""
    return {"file": path.rpartition("/")[2], "size": state.st_size, "mtime_ns": state.st_mtime_ns}


def plain_attributes(path: str, attributes: Mapping[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Attributes as JSON, and those that JSON has no form for."""
    found: dict[str, Any] = {}
    problems = []
    for name, value in attributes.items():
        try:
            found[str(name)] = plain(value)
        except TypeError as error:
            problems.append(Problem(path, str(error), str(name)))
    return found, problems
