"""From a dataset's variables to arrays in a group: all of it is thought out first, and refused before anything is made.

A variable is new (its array is made), or stored already, and then written as it was: with the stored encoding, onto
the stored axes, whole, into a region, or behind what is there (`append_dim`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xarray import Variable
from xarray.backends.common import ArrayWriter
from xarray.namedarray.pycompat import is_chunked_array

from gpuzarr.array import Array
from gpuzarr.attributes import as_json
from gpuzarr.blocks import realigned
from gpuzarr.dask import Target
from gpuzarr.devices.borrowing import home, on_host
from gpuzarr.grid import normalize_chunks
from gpuzarr.group import Group
from gpuzarr.missing import fill_to_json
from gpuzarr.xarray.chunking import check_pieces
from gpuzarr.xarray.encoding import check_units, creation_arguments, encoded, stored_dtype
from gpuzarr.xarray.reading import DIMENSIONS


@dataclass(frozen=True)
class Writing:
    """How a dataset is written; the fields are arguments of `to_zarr`."""

    mode: str = "r"
    append_dim: Hashable | None = None
    region: Mapping[Hashable, slice] | None = None
    safe_chunks: bool = True
    align_chunks: bool = False
    write_empty: bool | None = None


@dataclass(frozen=True)
class Step:
    """One variable on its way: `data` go into `region` of an array that is made with `arguments`, or is there and
    perhaps has to grow to `shape`."""

    data: Any
    region: tuple[slice, ...]
    shape: tuple[int, ...]
    existing: Array | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def write(self, group: Group, name: str, writer: ArrayWriter) -> None:
        """Write what is in memory, and hand dask's arrays to `writer`."""
        array = group.create_array(name, **self.arguments) if self.existing is None else self.existing
        place = home(getattr(self.data, "_meta", self.data))
        if not on_host(place):
            array = array.to_device(str(place))  # which brings values down as it writes them
        grown = [i for i, (old, new) in enumerate(zip(array.shape, self.shape, strict=True)) if old != new]
        if is_chunked_array(self.data):
            if grown:
                array.resize(self.shape)
            writer.add(self.data, Target(array), self.region)
        elif grown:
            array.append(self.data, axis=grown[0])  # the values first, and then the shape that shows them
        else:
            writer.add(self.data, array, self.region)


@dataclass(frozen=True)
class Plan:
    """What is to be written to a group. `attributes`: None leaves those of the group."""

    attributes: dict[str, Any] | None
    steps: dict[str, Step]


def new_step(
    name: str, variable: Variable, zarr_format: int, writing: Writing, *, fill_is_mask: bool, strict: bool
) -> Step:
    """The step of a variable whose array is to be made. `strict`: the user gave this encoding, so all of it counts."""
    variable = encoded(variable.copy(deep=False), name)
    variable, fill_value = _without_fill(variable, name, fill_is_mask=fill_is_mask)
    arguments = creation_arguments(variable, name, zarr_format, strict=strict)
    attributes = dict(variable.attrs)
    if zarr_format == 3:
        arguments["dimension_names"] = variable.dims
    else:
        attributes[DIMENSIONS] = list(variable.dims)
    arguments |= {
        "shape": variable.shape,
        "dtype": stored_dtype(variable.dtype),
        "fill_value": fill_value,
        "attributes": plain_attributes(attributes),
        "overwrite": writing.mode == "w",
        "config": _config(arguments.pop("write_empty_chunks", None), writing.write_empty, name),
    }
    region = dict(writing.region or {})
    if any(region[dim].indices(size)[:2] != (0, size) for dim, size in variable.sizes.items() if dim in region):
        raise ValueError(f"variable {name!r} is not stored yet, so there is no region of it that could be written")
    step = Step(variable.data, (slice(None),) * variable.ndim, variable.shape, None, arguments)
    if variable.chunks is None:
        return step
    units = arguments.get("shards") or arguments["chunks"]
    return _in_pieces(step, variable, normalize_chunks(units, variable.shape, 1), writing, name)


def existing_step(name: str, variable: Variable, stored: Variable, array: Array, writing: Writing) -> Step:
    """The step of a variable that is stored in `array`, which decodes to `stored`."""
    _check_dtype(name, variable, stored)
    variable = _onto_axes(name, variable, stored, writing)
    variable.encoding = dict(stored.encoding)
    if array.dtype.kind in "mM":
        variable.encoding["dtype"] = array.dtype
    variable = encoded(variable, name)
    check_units(name, variable, stored)
    if writing.write_empty is not None:
        array = array.with_config({"write_empty_chunks": writing.write_empty})
    region, shape = [], []
    for dim, length, old in zip(variable.dims, variable.shape, array.shape, strict=True):
        grows = dim == writing.append_dim
        where = dict(writing.region or {}).get(dim, slice(None))
        region.append(slice(old, old + length) if grows else slice(*where.indices(old)))  # dask counts from no end
        shape.append(old + length if grows else old)
    step = Step(variable.data, tuple(region), tuple(shape), array)
    grid = array.metadata.with_shape(step.shape).grid
    return step if variable.chunks is None else _in_pieces(step, variable, grid, writing, name)


def _in_pieces(step: Step, variable: Variable, grid: Any, writing: Writing, name: str) -> Step:
    pieces, region, shape = variable.chunks, step.region, step.shape
    starts = [where.indices(size)[0] for where, size in zip(region, shape, strict=True)]
    if writing.align_chunks:
        together = realigned(grid, starts, pieces)
        data = variable.chunk(dict(zip(variable.dims, together, strict=True))).data
        return Step(data, region, shape, step.existing, step.arguments)
    if writing.safe_chunks and variable.size:
        check_pieces(pieces, starts, grid, whole=writing.mode == "r+", name=name)
    return step


def _without_fill(variable: Variable, name: str, *, fill_is_mask: bool) -> tuple[Variable, Any]:
    """The variable without what it says of a fill value, or with that as its attribute, and the array's own."""
    attributes, encoding = dict(variable.attrs), dict(variable.encoding)
    if encoding.pop("_FillValue", None) is not None:
        raise ValueError(f"variable {name!r}: _FillValue is left over in the encoding; Zarr has no place for it")
    if fill_is_mask:
        fill_value = attributes.pop("_FillValue", None)
    else:
        fill_value = encoding.pop("fill_value", None)
        if fill_value is None and variable.dtype.kind == "f":
            fill_value = np.nan  # xarray's choice; Zarr's would be 0
        mask = attributes.pop("_FillValue", None)
        if mask is not None:
            attributes["_FillValue"] = fill_to_json(mask, variable.dtype, name)
    return Variable(variable.dims, variable.data, attributes, encoding, fastpath=True), fill_value


def _config(encoded: bool | None, given: bool | None, name: str) -> dict[str, Any]:
    if given is not None and encoded not in (None, given):
        raise ValueError(f"variable {name!r}: write_empty_chunks is {encoded} in its encoding, but {given} was given")
    found = encoded if given is None else given
    return {} if found is None else {"write_empty_chunks": found}


def _plain(value: Any) -> Any:
    """An attribute's value without NumPy."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """A dataset's or a variable's attributes as JSON has them. TypeError where it cannot."""
    try:
        return as_json({key: _plain(value) for key, value in attributes.items()})
    except TypeError as error:
        raise TypeError(f"Invalid attribute in Dataset.attrs. {error}") from error


def _check_dtype(name: str, variable: Variable, stored: Variable) -> None:
    """ValueError where values would be cut, or taken for others, when they are written as the stored ones are."""
    new, old = variable.dtype, stored.dtype
    if new.kind in "mM":
        fits = old.kind in (new.kind, "O")
    elif new.kind in "SU":
        fits = new == old or old.kind in ("OT" if new.kind == "U" else "O")
    elif new.kind in "biufc":
        fits = old.kind not in "mMOSUT"
    else:
        fits = new.kind != "V" or new == old
    if not fits:
        raise ValueError(f"Mismatched dtypes for variable {name!r}: {old} is stored, {new} is to be written")


def _onto_axes(name: str, variable: Variable, stored: Variable, writing: Writing) -> Variable:
    """A copy of the variable with its axes as they are stored. ValueError where they do not fit."""
    if set(variable.dims) != set(stored.dims):
        raise ValueError(
            f"variable {name!r} already exists with different dimension names: expected {stored.dims},"
            f" got {variable.dims}"
        )
    region = dict(writing.region or {})
    expected = {
        dim: len(range(*region.get(dim, slice(None)).indices(size)))
        for dim, size in stored.sizes.items()
        if dim != writing.append_dim
    }
    found = {dim: variable.sizes[dim] for dim in expected}
    if found != expected:
        raise ValueError(
            f"variable {name!r} already exists with different dimension sizes: expected {expected}, got {found}. What"
            " is stored grows along `append_dim` only; a part of it is written by `region`"
        )
    return variable.copy(deep=False) if variable.dims == stored.dims else variable.transpose(*stored.dims)


def refuse_names(names: Iterable[Hashable]) -> None:
    """TypeError or ValueError for names that no array can have."""
    for name in names:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name of a variable must be either a string or None, got {name!r}")
        if name == "":
            raise ValueError("the name of a variable, a string must be length 1 or longer, got ''")
        if name is not None and "/" in name:
            raise ValueError(f"the name of a variable has no slash, which would put it into another group: {name!r}")
