"""Between xarray's variables and Zarr's arrays: CF coding, and what arrays are created with.

xarray's Zarr encoding (https://docs.xarray.dev/en/stable/internals/zarr-encoding-spec.html): in format 2 an array's
fill value is CF's `_FillValue`; in format 3 they are two things, and `_FillValue` is an attribute: floats as base64 of
a little-endian double, complex numbers as two of these, bytes as base64, other values as JSON has them.
"""

from __future__ import annotations

from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from xarray import Variable
from xarray.backends.common import ensure_dtype_not_object
from xarray.coding.strings import EncodedStringCoder, check_vlen_dtype, ensure_fixed_length_bytes
from xarray.conventions import decode_cf_variable, encode_cf_variable

from gpuzarr.codecs.contract import Codec
from gpuzarr.devices.borrowing import home, on_host
from gpuzarr.xarray.chunking import chunk_shape

ARGUMENTS = ("chunks", "shards", "compressors", "filters", "serializer", "chunk_key_encoding", "write_empty_chunks")
"""What an encoding may hold for the creation of an array; `fill_value` too in format 3."""
NO_ARGUMENTS = {"source", "original_shape", "preferred_chunks", "cache_metadata"}
TIME_UNITS = ("units", "calendar")
COMPUTED = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "dtype")
"""What in an encoding makes the CF conventions compute with the values."""


def encoded(variable: Variable, name: Any) -> Variable:
    """The variable as it is stored: coded by the CF conventions, without Python objects.

    Values in the memory of a GPU stay there where nothing is to be computed; else they are coded on the host. Times
    whose encoding has a data type of times are stored in that, not in CF's units since a date; ValueError where they
    would be cut.
    """
    if variable.dtype.kind in "mM" and np.dtype(variable.encoding.get("dtype")).kind in "mM":
        return _times(variable, np.dtype(variable.encoding["dtype"]), name)
    if not on_host(home(getattr(variable.data, "_meta", variable.data))) and _computes(variable):
        variable = variable.copy(deep=False, data=_brought_down(variable))
    if variable.dtype == object and np.dtype(variable.encoding.get("dtype")).kind == "T":
        variable = variable.copy(deep=False, data=variable.values)  # as when it was new: by no piece of dask's
    found = encode_cf_variable(variable, name=name)
    if variable.dtype == bool and found.attrs.get("dtype") == "bool":  # NetCDF has no booleans, but Zarr has
        attributes = {key: value for key, value in found.attrs.items() if key != "dtype"}
        found = Variable(found.dims, found.data.astype(bool), attributes, found.encoding, fastpath=True)
    found = ensure_dtype_not_object(found, name=name)
    if found.dtype.kind == "T" and found.dtype == np.dtypes.StringDType():
        return found  # of variable length; with an encoding for such strings, where it was read from a store
    return ensure_fixed_length_bytes(EncodedStringCoder(allows_unicode=True).encode(found, name=name))


def _times(variable: Variable, dtype: np.dtype[Any], name: Any) -> Variable:
    # xarray would store counts of whichever units it finds as if they were counts of the data type's.
    encoding = {key: value for key, value in variable.encoding.items() if key not in (*TIME_UNITS, *COMPUTED)}
    exact = partial(_exactly, dtype=dtype, name=name)
    data = (
        exact(np.asarray(variable.values)) if variable.chunks is None else variable.data.map_blocks(exact, dtype=dtype)
    )
    return Variable(variable.dims, data, variable.attrs, encoding, fastpath=True)


def _exactly(values: Any, dtype: np.dtype[Any], name: Any) -> Any:
    if values.dtype.kind == dtype.kind:
        found = values.astype(dtype)
        if found.dtype == dtype and np.array_equal(found.astype(values.dtype), values, equal_nan=True):
            return found
    raise ValueError(f"variable {name!r}: these values of {values.dtype} cannot be said exactly in {dtype}")


def _brought_down(variable: Variable) -> Any:
    if variable.chunks is None:
        return variable.data.get()
    nothing = np.empty((0,) * variable.ndim, variable.dtype)
    return variable.data.map_blocks(methodcaller("get"), dtype=variable.dtype, meta=nothing)


def _computes(variable: Variable) -> bool:
    given = {key: value for key, value in variable.encoding.items() if key in COMPUTED and value is not None}
    if np.dtype(given.pop("dtype", variable.dtype)) != variable.dtype:
        return True
    fills = [given.pop(key, np.nan) for key in ("_FillValue", "missing_value")]
    return bool(given) or not all(np.isscalar(fill) and fill != fill for fill in fills)


def check_units(name: Any, coded: Variable, stored: Variable) -> None:
    """ValueError where times were coded in other units than those that are stored (which have no such fine steps):
    what is read again is decoded by the stored ones. `stored` is the variable that is there, decoded."""
    if not coded.size or coded.dtype.kind in "mM":
        return  # of no dates xarray has no units; and times that are stored as such need none
    if stored.dtype.kind not in "mM" and "calendar" not in stored.encoding:
        return
    told = [{key: of[key] for key in TIME_UNITS if key in of} for of in (coded.attrs, stored.encoding)]
    if told[0] == told[1] or np.array_equal(*(_first_two(units, stored.dtype.kind) for units in told)):
        return
    raise ValueError(
        f"variable {name!r} is stored in {told[1].get('units')!r}, in which these values cannot be said exactly:"
        f" expected values in whole units, got such as need {told[0].get('units')!r}. Round them, or write the variable"
        " anew with `units` in its encoding that are fine enough"
    )


def _first_two(units: dict[str, Any], kind: str) -> Any:
    """What 0 and 1 stand for in these units, which may be written in many ways."""
    attributes = units | ({"dtype": "timedelta64[ns]"} if kind == "m" else {})
    return decode_cf_variable("units", Variable("n", np.arange(2), attributes)).values


def stored_dtype(dtype: np.dtype[Any]) -> Any:
    """The data type to create an array with."""
    return str if check_vlen_dtype(dtype) is str else dtype


def creation_arguments(variable: Variable, name: Any, zarr_format: int, *, strict: bool) -> dict[str, Any]:
    """What `variable.encoding` says of chunks and codecs. With `strict`, ValueError for what it has beyond that."""
    encoding = {key: value for key, value in variable.encoding.items() if key not in NO_ARGUMENTS}
    known = {*ARGUMENTS, "fill_value"} if zarr_format == 3 else {*ARGUMENTS}
    unknown = sorted(set(encoding) - known)
    if strict and unknown:
        hint = "; in format 2 the fill value is called _FillValue" if "fill_value" in unknown else ""
        raise ValueError(f"unexpected encoding of variable {name!r}, which Zarr does not take: {unknown!r}{hint}")
    arguments = {key: encoding[key] for key in ARGUMENTS if key in encoding}
    arguments["chunks"] = chunk_shape(encoding.get("chunks"), variable.chunks, variable.ndim, name)
    return arguments


def as_plain(codecs: Any) -> Any:
    """Codecs for a variable's encoding: of format 3 as the dicts that metadata have, which zarr-python takes too when
    the dataset is written by it."""
    if isinstance(codecs, tuple):
        return tuple(map(as_plain, codecs))
    return codecs.to_dict() if isinstance(codecs, Codec) else codecs
