"""Arrays as xarray's variables: lazily indexed, with dimensions, attributes and an encoding."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from xarray import Variable
from xarray.backends import BackendArray
from xarray.core import indexing

from gpuzarr.array import Array
from gpuzarr.errors import DimensionNamesError
from gpuzarr.grid import RectilinearGrid
from gpuzarr.missing import fill_from_json
from gpuzarr.xarray.encoding import as_plain

DIMENSIONS = "_ARRAY_DIMENSIONS"  # the attribute of format 2 arrays
COORDINATE_BYTES = 16 << 20  # decoded chunks of a dimension's coordinate that are kept


class StoredVariable(BackendArray):
    """An array that xarray indexes, one read for each time that values are asked for.

    `source` (xarray would evaluate what is called `array`) is indexed. `decode`: what to do with values that were read,
    which makes them of `dtype`.
    """

    __slots__ = ("decode", "dtype", "shape", "source")

    def __init__(
        self, array: Array, decode: Callable[[Any], Any] | None = None, dtype: np.dtype[Any] | None = None
    ) -> None:
        self.source = array
        self.decode = decode
        self.shape = array.shape
        self.dtype = array.dtype if dtype is None else dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            value = self.source.vindex[key.tuple]
        elif isinstance(key, indexing.OuterIndexer):
            value = self.source.oindex[key.tuple]
        else:
            value = self.source[key.tuple]
        if isinstance(value, str | bytes | np.generic):  # an element, which xarray would give another data type
            value = np.asarray(value, dtype=self.source.dtype)
        return value if self.decode is None else self.decode(value)

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """The same in a thread."""
        return await asyncio.to_thread(partial(self.__getitem__, key))


def dimensions_of(array: Array) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of an array's axes, and its attributes without what says them. DimensionNamesError where nothing does.

    Stores of NetCDF's C library say it in a field `_NCZARR_ARRAY` of format 2's metadata.
    """
    attributes = array.attrs.asdict()
    if array.metadata.zarr_format == 3:
        names: Any = array.metadata.dimension_names or ()
    else:
        names = attributes.pop(DIMENSIONS, None)
        if names is None:
            names = _nczarr_dimensions(array)
            attributes = {key: value for key, value in attributes.items() if not key.lower().startswith("_nc")}
    if not isinstance(names, tuple | list) or len(names) != array.ndim or not all(isinstance(n, str) for n in names):
        where = "`dimension_names`" if array.metadata.zarr_format == 3 else f"the attribute `{DIMENSIONS}`"
        raise DimensionNamesError(
            f"{array!r} has no names for its axes, which xarray needs: expected {array.ndim} in {where}, got {names!r}"
        )
    return tuple(names), attributes


def _nczarr_dimensions(array: Array) -> list[str]:
    found = array.metadata.extra.get("_NCZARR_ARRAY", {})
    references = found.get("dimrefs") if isinstance(found, Mapping) else None
    return [str(reference).rpartition("/")[2] for reference in references] if isinstance(references, list) else []


def variable_of(array: Array, *, fill_is_mask: bool) -> Variable:
    """An array as a variable, not decoded yet. `fill_is_mask`: whether its fill value stands for missing values."""
    dimensions, attributes = dimensions_of(array)
    if dimensions == (array.basename,):  # of an index that is times xarray reads the ends first, and then all
        array = array.with_cache(COORDINATE_BYTES)
    chunks, units = _lengths(array, array.read_grid), _lengths(array, array.write_grid)
    encoding: dict[str, Any] = {
        "chunks": chunks,
        # What dask takes for `chunks={}`: units of writing, so that a dataset can be written as it was opened.
        "preferred_chunks": dict(zip(dimensions, units, strict=True)),
        "compressors": as_plain(array.compressors),
        "filters": as_plain(array.filters),
        "shards": None if array.read_grid is array.write_grid else units,
    }
    if array.dtype.kind == "T":
        encoding["dtype"] = array.dtype
    if array.metadata.zarr_format == 3:
        encoding["serializer"] = as_plain(array.serializer)
    if array.dtype.kind in "mM":
        pass  # nothing is masked where there is a NaT; and written again, they may become numbers, as CF has them
    elif fill_is_mask:
        if array.fill_value is not None:
            attributes["_FillValue"] = array.fill_value
    elif array.metadata.zarr_format == 3:
        encoding["fill_value"] = array.fill_value
        if "_FillValue" in attributes:
            attributes["_FillValue"] = fill_from_json(attributes["_FillValue"], array.dtype, array.name)
    data = indexing.LazilyIndexedArray(StoredVariable(array))
    return Variable(dimensions, data, attributes, encoding)


def _lengths(array: Array, grid: Any) -> tuple[int | tuple[int, ...], ...]:
    """Of each axis the length of its chunks, or the lengths where they differ."""
    if not isinstance(grid, RectilinearGrid):
        return tuple(grid.chunks)
    return tuple(
        edge if isinstance(edge, int) else lengths
        for edge, lengths in zip(grid.edges, array.write_chunk_sizes, strict=True)
    )
