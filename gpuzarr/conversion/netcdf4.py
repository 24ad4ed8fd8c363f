"""What NetCDF 4 and HDF5's dimension scales say about a data set, and how NetCDF keeps its books in an HDF5 file.

Specifications: https://docs.hdfgroup.org/hdf5/latest/_h5_d_s__u_g.html (scales), and
https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html (NetCDF 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuzarr.conversion.contract import DAMAGE

_HIDDEN_NAME = "_nc4_non_coord_"  # before the name of a variable that is called as a dimension, and is none
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
_BOOKS = frozenset(
    [
        *("_NCProperties", "_nc3_strict", "_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCCoordinates", "_NCCopy"),
        *("DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"),
    ]
)
_SCALE = frozenset(["CLASS", "NAME"])  # the same, in a dimension scale


def is_netcdf(root: Any) -> bool:
    """Whether a file was written by a NetCDF library."""
    return "_NCProperties" in root.attrs or any(
        "_Netcdf4Dimid" in member.attrs for member in _datasets(root) if is_scale(member)
    )


def _datasets(group: Any) -> list[Any]:
    """Data sets that are in the group itself, not behind a link."""
    names = [name for name in group if type(group.get(name, getlink=True)).__name__ == "HardLink"]
    return [group[name] for name in names if hasattr(group[name], "shape")]


def is_scale(dataset: Any) -> bool:
    """Whether it is a dimension scale."""
    return _as_bytes(dataset.attrs.get("CLASS")) == b"DIMENSION_SCALE"


def is_bookkeeping(dataset: Any) -> bool:
    """Whether it only says that there is a dimension."""
    return is_scale(dataset) and _as_bytes(dataset.attrs.get("NAME")).startswith(_NO_VARIABLE)


def kept_attributes(node: Any) -> list[str]:
    """Names of the attributes that are the user's."""
    scale = is_scale(node)
    return [name for name in node.attrs if name not in _BOOKS and not (scale and name in _SCALE)]


def variable_name(name: str) -> str:
    """The name as NetCDF shows it."""
    return name.removeprefix(_HIDDEN_NAME)


def dimension_names(dataset: Any) -> tuple[str | None, ...] | None:
    """Names of the axes: their labels, or the names of the scales that are attached to them; None where there are
    none at all."""
    coordinates = dataset.attrs.get("_Netcdf4Coordinates")
    names = tuple(_axis_name(dataset, i) for i in range(len(dataset.shape)))
    if is_scale(dataset) and len(dataset.shape) == 1:
        names = (_basename(dataset.name),)
    elif is_scale(dataset) and coordinates is not None and np.shape(coordinates) == (len(dataset.shape),):
        names = _by_id(dataset, [int(i) for i in np.asarray(coordinates).tolist()])
    return names if any(name is not None for name in names) else None


def _axis_name(dataset: Any, i: int) -> str | None:
    try:
        axis = dataset.dims[i]
        if axis.label:
            return str(axis.label)
        return _basename(axis[0].name) if len(axis) else None
    except DAMAGE:  # a reference to nothing
        return None


def _by_id(dataset: Any, wanted: list[int]) -> tuple[str | None, ...]:
    """Names of dimensions by NetCDF's numbers, which are told by the scales of the group and of those above it."""
    names: dict[int, str | None] = {}
    group = dataset.parent
    while True:
        for scale in filter(is_scale, _datasets(group)):
            number = scale.attrs.get("_Netcdf4Dimid")
            if number is not None:
                names.setdefault(int(np.asarray(number).reshape(-1)[0]), _basename(scale.name))
        if group.name in (None, "/"):
            return tuple(names.get(i) for i in wanted)
        group = group.parent


def _basename(path: str | None) -> str | None:
    return variable_name(path.rpartition("/")[2]) if path else None


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes) else b""
