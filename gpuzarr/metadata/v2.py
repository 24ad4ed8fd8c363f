"""Format 2 documents (`.zarray`, `.zgroup`, `.zattrs`) into the model (Zarr v2 spec, "Metadata").

Unknown keys are ignored, and written back. A chunk length of 0 on an axis of length 0, which zarr-python once wrote,
is read as 1. Pickle, anywhere among the codecs, is refused before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpuzarr.dtypes import OBJECT_CODECS, data_type_from_v2
from gpuzarr.errors import MetadataError, PickleCodecDisabledError
from gpuzarr.grid import KeyEncoding, RegularGrid
from gpuzarr.metadata.documents import bad
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata
from gpuzarr.metadata.v3 import chunks_from_json, shape_from_json

_REQUIRED = ("shape", "chunks", "dtype", "fill_value", "order")
_FIELDS = frozenset([*_REQUIRED, "zarr_format", "compressor", "filters", "dimension_separator"])


def array_from_v2(zarray: Mapping[str, Any], zattrs: Mapping[str, Any] | None, *, key: str) -> ArrayMetadata:
    """The array of a `.zarray` and a `.zattrs`, if there is one. `key` begins the message of every error.

    MetadataError; PickleCodecDisabledError where a codec is pickle.
    """
    try:
        return _array(zarray, zattrs)
    except (MetadataError, PickleCodecDisabledError) as error:
        raise type(error)(f"{key}: {error}") from error


def group_from_v2(zgroup: Mapping[str, Any], zattrs: Mapping[str, Any] | None, *, key: str) -> GroupMetadata:
    """The group of a `.zgroup` and a `.zattrs`, if there is one."""
    try:
        _check_format(zgroup)
    except MetadataError as error:
        raise MetadataError(f"{key}: {error}") from error
    # zarr-python writes its own consolidated_metadata here, inside `.zmetadata`; it says nothing.
    extra = {k: v for k, v in zgroup.items() if k not in ("zarr_format", "consolidated_metadata")}
    return GroupMetadata(2, dict(zattrs or {}), None, extra)


def _array(zarray: Mapping[str, Any], zattrs: Mapping[str, Any] | None) -> ArrayMetadata:
    _check_format(zarray)
    missing = [name for name in _REQUIRED if name not in zarray]
    if missing:
        raise MetadataError(f"{missing[0]}: this field is required")
    filters = _filters(zarray.get("filters"))
    compressor = None if zarray.get("compressor") is None else _codec(zarray["compressor"], "compressor")
    shape = shape_from_json(zarray["shape"])
    try:
        data_type = data_type_from_v2(zarray["dtype"], object_codec=_object_codec(filters, compressor))
        stored = zarray["fill_value"]
        fill = None if stored is None else data_type.fill_from_json(stored, 2)
    except MetadataError as error:
        raise type(error)(f"dtype and fill_value: {error}") from error
    if zarray["order"] not in ("C", "F"):
        raise bad("order", '"C" or "F"', zarray["order"])
    separator = zarray.get("dimension_separator", ".")
    if separator not in (".", "/"):
        raise bad("dimension_separator", '"." or "/"', separator)
    return ArrayMetadata(
        zarr_format=2,
        shape=shape,
        data_type=data_type,
        grid=RegularGrid(shape, chunks_from_json(zarray["chunks"], shape, "chunks")),
        key_encoding=KeyEncoding("v2", separator),
        fill_value=fill,
        order=zarray["order"],
        filters=filters,
        compressor=compressor,
        attributes=dict(zattrs or {}),
        extra={name: value for name, value in zarray.items() if name not in _FIELDS},
    )


def _check_format(document: Mapping[str, Any]) -> None:
    found = document.get("zarr_format")
    if type(found) is not int or found != 2:
        raise bad("zarr_format", "2", found)


def _filters(value: Any) -> tuple[dict[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise bad("filters", "a list, or null", value)
    return tuple(_codec(codec, f"filters[{i}]") for i, codec in enumerate(value))


def _codec(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise bad(path, "an object with the id of a codec", value)
    if value["id"] == "pickle":
        raise PickleCodecDisabledError(f"{path}: pickle runs code from the store, so it is never decoded")
    return value


def _object_codec(filters: tuple[dict[str, Any], ...], compressor: dict[str, Any] | None) -> str | None:
    codecs = [*filters, *([compressor] if compressor else [])]
    return next((codec["id"] for codec in codecs if codec["id"] in OBJECT_CODECS), None)
