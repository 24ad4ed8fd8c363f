"""Which source it is that a user gives, by its type or by the first bytes of the file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gpuzarr.array import Array
from gpuzarr.conversion.contract import Source, understanding
from gpuzarr.conversion.stored_nodes import ZarrSource
from gpuzarr.errors import ConversionError
from gpuzarr.extras import load
from gpuzarr.group import Group
from gpuzarr.nodes import join, normalize_path
from gpuzarr.opening import place_of

HDF5 = b"\x89HDF\r\n\x1a\n"
NPY = b"\x93NUMPY"
CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_USER_BLOCK = 512  # bytes; an HDF5 file may begin at 0 or at this times a power of two
_LARGEST_USER_BLOCK = 1 << 20


def source_of(given: Any, inner: str = "", *, storage_options: Mapping[str, Any] | None = None) -> Source:
    """The source at a path or URL, or of what is open already (of h5py or Zarr); `inner` is a path in it.

    FileNotFoundError (NodeNotFoundError), ConversionError.
    """
    if type(given).__module__.partition(".")[0] == "h5py":
        return _kind("hdf5").Hdf5Source(given, inner)  # type: ignore[no-any-return]
    if isinstance(given, Array | Group):
        return ZarrSource(given.store, join(given.path, normalize_path(inner)), closes=False)
    path = _file(given)
    if path is not None and (found := _source_in(path, inner)) is not None:
        return found
    store, place = place_of(given, inner, mode="r", storage_options=storage_options)
    try:
        return ZarrSource(store, place, closes=isinstance(given, str | os.PathLike))
    except BaseException:
        if isinstance(given, str | os.PathLike):
            store.close()
        raise


def _file(given: Any) -> str | None:
    """The path of a local file."""
    if not isinstance(given, str | os.PathLike):
        return None
    path = os.fspath(given)
    if isinstance(path, bytes):
        return None
    path = str(Path(path.removeprefix("file://")).expanduser())
    return path if os.path.isfile(path) else None


def _source_in(path: str, inner: str) -> Source | None:
    """The source in a file; None for what may be a Zarr store. ConversionError for any other file."""
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"PK") and not _is_npz(path):
        return None
    if _is_hdf5(path):
        load("h5py", "hdf5")
        return _kind("hdf5").Hdf5Source(path, inner)  # type: ignore[no-any-return]
    if inner:
        raise ConversionError(f"{path} is no hierarchy in which there could be {inner!r}; see `include`")
    if start.startswith(b"PK"):
        return _kind("npy").NpzSource(path)  # type: ignore[no-any-return]
    if start.startswith(NPY):
        return _kind("npy").NpySource(path)  # type: ignore[no-any-return]
    if start.startswith(CLASSIC):
        return _kind("netcdf").NetcdfSource(path)  # type: ignore[no-any-return]
    raise ConversionError(f"{path} is none of HDF5, NetCDF, NPY, NPZ and Zarr; it begins with {start!r}")


def _is_hdf5(path: str) -> bool:
    """Whether its signature is at one of the places where it may be."""
    with open(path, "rb") as file:
        offset = 0
        while offset <= _LARGEST_USER_BLOCK:
            file.seek(offset)
            start = file.read(len(HDF5))
            if start == HDF5:
                return True
            if len(start) < len(HDF5):
                return False
            offset = max(_USER_BLOCK, offset * 2)
    return False


def _is_npz(path: str) -> bool:
    with understanding(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _kind(module: str) -> Any:
    """A module that needs a library of its own, or is needed seldom."""
    return import_module(f"gpuzarr.conversion.{module}")
