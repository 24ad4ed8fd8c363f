"""Data types: what an array element is, in memory and in JSON (Zarr v3 core, "Data types")."""

from gpuzarr.dtypes.model import DataType
from gpuzarr.dtypes.parse import data_type_from_numpy, data_type_from_v2, data_type_from_v3, parse_dtype
from gpuzarr.dtypes.variable import OBJECT_CODECS

__all__ = [
    "OBJECT_CODECS",
    "DataType",
    "data_type_from_numpy",
    "data_type_from_v2",
    "data_type_from_v3",
    "parse_dtype",
]
