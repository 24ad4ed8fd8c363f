"""What an array of the source becomes: its metadata in the target.

Whatever is not chosen is kept, as far as the target's format has it: shape, data type, chunks, fill value, attributes
and dimension names always; shards and codecs from Zarr into the same format, and the compressor into the other, too.
Format 2 has no dimension names: there they are xarray's attribute `_ARRAY_DIMENSIONS`. The value for missing elements
(CF's `_FillValue`) is where xarray looks for it: in format 2 it is the fill value, in format 3 an attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from gpuzarr.codecs.contract import Kind
from gpuzarr.conversion.contract import FoundArray, Note
from gpuzarr.create import array_metadata, as_codec, settings_of
from gpuzarr.create_v2 import numcodecs_config
from gpuzarr.dtypes import DataType, parse_dtype
from gpuzarr.errors import MetadataError
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.missing import DIMENSIONS, MISSING, fill_from_json, fill_to_json

_CHAIN = ("filters", "serializer", "compressors")
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user chose; "keep" stands for what the source has.

    `chunks` and `shards` may be mappings from patterns of paths to what is for them; one size an axis is for arrays of
    as many axes.
    """

    zarr_format: int
    chunks: Any = "keep"
    shards: Any = "keep"
    filters: Any = "keep"
    serializer: Any = "keep"
    compressors: Any = "keep"
    codecs: Any = None

    def metadata(self, found: FoundArray, data_type: DataType, *, labelled: bool) -> ArrayMetadata:
        """The metadata of the target. MetadataError, naming the array, where the choices make none."""
        settings = self._kept(found, data_type, labelled)
        for name in ("chunks", "shards"):
            chosen = _for_array(getattr(self, name), found)
            if not _is_keep(chosen):
                settings[name] = chosen
        if self.codecs is not None:
            settings = {k: v for k, v in settings.items() if k not in _CHAIN} | {"codecs": self.codecs}
        settings |= {name: getattr(self, name) for name in _CHAIN if not _is_keep(getattr(self, name))}
        try:
            return array_metadata(**settings)
        except MetadataError as error:
            raise type(error)(f"array {found.path or '/'!r}: {error}") from error

    def unused(self, paths: list[str]) -> Iterator[Note]:
        """A note for every pattern of `chunks` and `shards` that is no array's, as one that is mistyped."""
        for name in ("chunks", "shards"):
            chosen = getattr(self, name)
            for pattern in chosen if _is_by_path(chosen) else ():
                if not any(fnmatchcase(path, pattern) for path in paths):
                    yield Note(pattern, f"no array that is converted has such a path, for which there are {name}")

    def _kept(self, found: FoundArray, data_type: DataType, labelled: bool) -> dict[str, Any]:
        if found.like is not None and found.like.zarr_format == self.zarr_format:
            return settings_of(found.like, self.zarr_format)
        names, attributes = _names(found)
        fill_value = found.fill_value
        if self.zarr_format == 2:
            if names is not None:
                attributes = {DIMENSIONS: list(names)} | attributes
            fill_value = found.missing if found.missing is not None else None if labelled else fill_value
        elif found.missing is not None:
            attributes = {MISSING: fill_to_json(found.missing, data_type.numpy, found.path)} | attributes
        settings = {
            "shape": found.shape,
            "dtype": data_type,
            "chunks": "auto" if found.chunks is None else tuple(found.chunks),
            "fill_value": fill_value,
            "attributes": attributes,
            "zarr_format": self.zarr_format,
        }
        if found.like is not None:
            settings |= _translated(found.like, self.zarr_format)
        return settings if self.zarr_format == 2 else settings | {"dimension_names": names}


def data_type_of(found: FoundArray, zarr_format: int) -> DataType:
    """The data type in the target. DataTypeValidationError where its format has none for it."""
    data_type = parse_dtype(found.dtype, zarr_format)
    if zarr_format == 3:
        data_type.to_v3()
    return data_type


def unplaced_missing(found: FoundArray, data_type: DataType, zarr_format: int) -> str | None:
    """Why the value for missing elements has no place in the target; None where it has."""
    if found.missing is None or (found.like is not None and found.like.zarr_format == zarr_format):
        return None
    try:
        if zarr_format == 2 and data_type.numpy.kind not in "biufc":
            kept = data_type.cast_fill(found.missing)
            if data_type.numpy.kind in "SU" and kept != found.missing:
                return f"_FillValue: {found.missing!r:.50} is no {data_type.numpy}"
        else:  # of numbers nothing may be rounded or wrapped, in either format
            fill_from_json(fill_to_json(found.missing, data_type.numpy, found.path), data_type.numpy, found.path)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _is_by_path(chosen: Any) -> bool:
    return isinstance(chosen, Mapping) and "shape" not in chosen


def _for_array(chosen: Any, found: FoundArray) -> Any:
    """What is chosen for this array."""
    if _is_by_path(chosen):
        chosen = next((value for pattern, value in chosen.items() if fnmatchcase(found.path, pattern)), "keep")
    if isinstance(chosen, tuple | list) and len(chosen) != len(found.shape):
        return "keep"
    return chosen


def _names(found: FoundArray) -> tuple[tuple[str | None, ...] | None, dict[str, Any]]:
    """Dimension names, and the attributes without them."""
    attributes = dict(found.attributes)
    names = attributes.get(DIMENSIONS)
    if found.dimension_names is not None or found.like is None or not isinstance(names, list):
        return found.dimension_names, attributes
    if len(names) != len(found.shape) or not all(isinstance(name, str) for name in names):
        return None, attributes
    del attributes[DIMENSIONS]
    return tuple(names) or None, attributes


def _translated(source: ArrayMetadata, zarr_format: int) -> dict[str, Any]:
    """The compressors of one format in the other, where it has them; else they are chosen."""
    if zarr_format == 3:
        return {"compressors": None if source.compressor is None else _as_format_3(source.compressor)}
    kept = settings_of(source, 3)["compressors"]
    try:
        config = None if not kept else numcodecs_config(kept[0]) if len(kept) == 1 else "auto"
    except MetadataError:
        config = "auto"
    return {"compressors": config}


def _as_format_3(config: Mapping[str, Any]) -> Any:
    """A compressor of format 2; "auto" where format 3 has none like it."""
    name, rest = config["id"], {k: v for k, v in config.items() if k != "id"}
    document: dict[str, Any]
    if name == "zstd":
        chosen = {"level": rest.get("level", 0), "checksum": bool(rest.get("checksum"))}
        document = {"name": "zstd", "configuration": chosen}
    elif name == "gzip":
        document = {"name": "gzip", "configuration": {"level": rest.get("level", 1)}}
    elif name == "blosc" and rest.get("shuffle") in (0, 1, 2):
        kept = {key: rest[key] for key in ("cname", "clevel", "blocksize") if key in rest}
        document = {"name": "blosc", "configuration": {**kept, "shuffle": _SHUFFLES[rest["shuffle"]]}}
    else:
        document = {"name": f"numcodecs.{name}", "configuration": rest}
    try:
        codec = as_codec(document)
    except MetadataError:
        return "auto"
    return codec if codec.kind is Kind.BYTES_TO_BYTES else "auto"


def _is_keep(value: Any) -> bool:
    return isinstance(value, str) and value == "keep"
