"""NPY and NPZ files as sources (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).

An NPY file is mapped into memory for each region that is read. The members of an NPZ archive are unpacked to a
temporary file first, one at a time, so that their checksums are verified whether or not they are compressed. Pickled
objects are refused: they are code.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from gpuzarr.conversion.contract import (
    DAMAGE,
    FileSource,
    Found,
    FoundArray,
    FoundGroup,
    Problem,
    Region,
    understanding,
    unreadable,
)
from gpuzarr.errors import ConversionError, CorruptChunkError

_SUFFIX = ".npy"


class _Header(NamedTuple):
    """What is in front of the values, and how long it is."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int  # bytes

    @property
    def nbytes(self) -> int:
        """Bytes that the whole file has."""
        return self.offset + self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


def _header(file: IO[bytes], name: str) -> _Header:
    with understanding(name):
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ConversionError(f"{name} is of version {version[0]}.{version[1]} of NPY; expected 1.0 or 2.0")
        shape, fortran, dtype = read(file)
    return _Header(tuple(shape), fortran, dtype, file.tell())


def _found(path: str, header: _Header, size: int, name: str, body: Any, release: Any) -> FoundArray | Problem:
    if header.dtype.hasobject:
        return Problem(path, "its elements are pickled Python objects, which are code and are never loaded")
    if size != header.nbytes:
        raise CorruptChunkError(f"{name} has not the bytes that its header tells", expected=header.nbytes, got=size)

    def read(region: Region) -> np.ndarray[Any, Any]:
        try:
            mapped = np.memmap(body(), header.dtype, "r", header.offset, header.shape, "F" if header.fortran else "C")
        except (OSError, ValueError) as error:
            raise unreadable(f"{name} cannot be read", error) from error
        return np.array(mapped[region])

    return FoundArray(path=path, shape=header.shape, dtype=header.dtype, read=read, release=release)


class NpySource(FileSource):
    """One array."""

    def nodes(self) -> Iterator[Found]:
        with open(self._path, "rb") as file:
            header = _header(file, self._path)
            size = os.fstat(file.fileno()).st_size
        yield _found("", header, size, self._path, lambda: self._path, lambda: None)


class NpzSource(FileSource):
    """A group of arrays."""

    def nodes(self) -> Iterator[Found]:
        yield FoundGroup(path="")
        with understanding(self._path), zipfile.ZipFile(self._path) as archive:
            for member in archive.infolist():
                path = member.filename.removesuffix(_SUFFIX)
                if member.is_dir() or path == member.filename:
                    yield Problem(member.filename, "a member of the archive that is no NPY file")
                    continue
                name = f"{member.filename} in {self._path}"
                with archive.open(member) as file:
                    header = _header(file, name)
                body = _Unpacked(self._path, member)
                yield _found(path, header, member.file_size, name, body, body.release)


class _Unpacked:
    """A member of an archive as a temporary file, made when it is first asked for."""

    def __init__(self, archive: str, member: zipfile.ZipInfo) -> None:
        self._archive, self._member = archive, member
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def __call__(self) -> str:
        with self._lock:
            if self._file is None:
                self._file = self._unpack()
            return self._file.name

    def _unpack(self) -> IO[bytes]:
        file = tempfile.NamedTemporaryFile(prefix="gpuzarr-", suffix=_SUFFIX)  # noqa: SIM115  closed by `release`
        try:
            with zipfile.ZipFile(self._archive) as archive, archive.open(self._member) as packed:
                shutil.copyfileobj(packed, file, 1 << 20)
            file.flush()
        except DAMAGE as error:
            file.close()
            raise unreadable(f"{self._member.filename} in {self._archive} cannot be unpacked", error) from error
        return file

    def release(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
