"""Classic NetCDF files as sources, through xarray and whichever of its engines is installed (scipy, netCDF4).

NetCDF 4 files are HDF5 files and are read as such (`hdf5.py`), with the same result: values as they are stored,
nothing decoded, so that xarray decodes the target as it would have decoded the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gpuzarr.conversion.contract import (
    DAMAGE,
    FileSource,
    Found,
    FoundArray,
    FoundGroup,
    Region,
    plain_attributes,
    understanding,
    unreadable,
)
from gpuzarr.extras import load


class NetcdfSource(FileSource):
    """A data set with its variables."""

    labelled = True

    def __init__(self, path: str) -> None:
        xarray = load("xarray", "xarray")
        super().__init__(path)
        with understanding(path):
            self._data = xarray.open_dataset(path, decode_cf=False, cache=False)

    def close(self) -> None:
        self._data.close()

    def nodes(self) -> Iterator[Found]:
        attributes, problems = plain_attributes("", self._data.attrs)
        yield FoundGroup(path="", attributes=attributes)
        yield from problems
        for name, variable in self._data.variables.items():
            path = str(name)
            attributes, problems = plain_attributes(path, variable.attrs)
            yield from problems
            attributes.pop("_FillValue", None)
            yield FoundArray(
                path=path,
                shape=variable.shape,
                dtype=_plain(variable.dtype),
                read=partial(_read, variable, f"{path} in {self._path}"),
                attributes=attributes,
                dimension_names=tuple(map(str, variable.dims)),
                missing=variable.attrs.get("_FillValue"),
            )


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype; of characters, which SciPy gives as NumPy's "c" that takes a string apart, as strings of one byte."""
    return np.dtype("S1") if dtype.char == "c" else dtype


def _read(variable: Any, name: str, region: Region) -> np.ndarray[Any, Any]:
    try:
        values = np.asarray(variable[region].values)
        return values.view(_plain(values.dtype))
    except DAMAGE as error:
        raise unreadable(f"{name} at {region} cannot be read", error) from error
