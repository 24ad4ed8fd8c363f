"""Creation arguments -> the metadata of a new array (Zarr v2 and v3). Pure: nothing is written.

The defaults are zarr-python 3's, so that the same arguments make the same documents and the same chunk bytes:
format 3 has `bytes` (little-endian) and `zstd` (level 0, no checksum), format 2 has numcodecs' Zstd (level 0).
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpuzarr.attributes import as_json
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec, Codec, Kind
from gpuzarr.codecs.registry import codec_from
from gpuzarr.create_v2 import compressor_config, filter_configs, object_codec_of
from gpuzarr.dtypes import DataType, data_type_from_v2, parse_dtype
from gpuzarr.errors import MetadataError
from gpuzarr.grid import Grid, KeyEncoding, RectilinearGrid, RegularGrid
from gpuzarr.layout import Layout, chunk_layout, grid_of, is_regular, regular, shard_layout
from gpuzarr.metadata.model import ArrayMetadata, NamedConfig
from gpuzarr.options import config


class Default:
    """The fill value that nobody chose: the data type's own."""

    def __repr__(self) -> str:
        return "the data type's default"

    def __reduce__(self) -> str:
        return "DEFAULT_FILL_VALUE"


DEFAULT_FILL_VALUE = Default()


def array_metadata(
    *,
    shape: Any,
    dtype: Any = None,
    chunks: Any = "auto",
    shards: Any = None,
    filters: Any = "auto",
    serializer: Any = "auto",
    compressors: Any = "auto",
    codecs: Any = None,
    fill_value: Any = DEFAULT_FILL_VALUE,
    order: str | None = None,
    zarr_format: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    chunk_key_encoding: Any = None,
    dimension_names: Iterable[str | None] | None = None,
    compressor: Any = "auto",
    object_codec: Any = None,
    dimension_separator: str | None = None,
) -> ArrayMetadata:
    """The metadata of a new array. The data type is float64 where none is given.

    `codecs` is a whole chain (format 3; `bytes` is put in where it has no array -> bytes codec) and excludes
    `filters`, `serializer` and `compressors`. `compressor` and `object_codec` are format 2's spellings.
    Raises MetadataError (or a kind of it) for arguments that make no array, TypeError for wrong kinds.
    """
    zarr_format = config.get("default_zarr_format") if zarr_format is None else zarr_format
    if zarr_format not in (2, 3) or isinstance(zarr_format, bool):
        raise MetadataError(f"zarr_format must be 2 or 3, got {zarr_format!r}")
    if not _is_auto(compressor):
        if not _is_auto(compressors):
            raise MetadataError("give one of `compressor` and `compressors`, not both")
        compressors = compressor if compressor is None or isinstance(compressor, tuple | list) else (compressor,)
    extent = parse_shape(shape)
    stored_attributes = as_json(attributes or {})
    encoding = key_encoding(chunk_key_encoding, dimension_separator, zarr_format)
    if zarr_format == 2:
        for name, given in (("shards", shards), ("codecs", codecs), ("dimension_names", dimension_names)):
            if given is not None:
                raise MetadataError(f"Zarr format 2 has no {name}; got {name}={given!r}")
        if not _is_auto(serializer):
            raise MetadataError(f"Zarr format 2 has no serializer; got {serializer!r}")
        return _format_2(
            extent, dtype, chunks, filters, compressors, object_codec, fill_value, order, encoding, stored_attributes
        )
    if object_codec is not None:
        raise MetadataError("object_codec is for Zarr format 2; format 3 has the data types string and bytes")
    if codecs is not None and not all(map(_is_auto, (filters, serializer, compressors))):
        raise MetadataError("`codecs` is the whole chain: give it, or `filters`, `serializer` and `compressors`")
    data_type = parse_dtype(dtype, 3)
    fill = (
        data_type.default_fill() if _is_default(fill_value) or fill_value is None else data_type.cast_fill(fill_value)
    )
    if codecs is not None:
        chain = _whole_chain(codecs, data_type)
    else:
        chain = _chain(filters, serializer, compressors, data_type)
    grid, inner = grids(chunks, shards, extent, data_type.itemsize)
    if inner is not None:
        chain = [_sharding(inner, settled(chain, ChunkSpec(inner, data_type, fill)), shards)]
    return ArrayMetadata(
        zarr_format=3,
        shape=extent,
        data_type=data_type,
        grid=grid,
        key_encoding=encoding,
        fill_value=fill,
        codecs=settled(chain, ChunkSpec(grid.largest_chunk, data_type, fill)),
        order="C",
        filters=(),
        compressor=None,
        attributes=stored_attributes,
        dimension_names=_dimension_names(dimension_names, len(extent)),
        storage_transformers=(),
        extra={},
    )


def _format_2(
    shape: tuple[int, ...],
    dtype: Any,
    chunks: Any,
    filters: Any,
    compressors: Any,
    object_codec: Any,
    fill_value: Any,
    order: Any,
    encoding: KeyEncoding,
    attributes: dict[str, Any],
) -> ArrayMetadata:
    data_type = _data_type_2(dtype, filters, object_codec)
    grid, _ = grids(chunks, None, shape, data_type.itemsize)
    if isinstance(grid, RectilinearGrid):
        raise MetadataError(f"Zarr format 2 has no rectilinear chunk grids; got chunks={chunks!r}")
    order = config.get("array.order") if order is None else order
    if order not in ("C", "F"):
        raise MetadataError(f"order must be 'C' or 'F', got {order!r}")
    fill = fill_value
    if _is_default(fill_value):
        fill = data_type.default_fill()
    elif fill_value is not None:
        fill = data_type.cast_fill(fill_value)
    return ArrayMetadata(
        zarr_format=2,
        shape=shape,
        data_type=data_type,
        grid=grid,
        key_encoding=encoding,
        fill_value=fill,
        codecs=(),
        order=order,
        filters=filter_configs(filters, data_type, object_codec),
        compressor=compressor_config(compressors),
        attributes=attributes,
        dimension_names=None,
        storage_transformers=(),
        extra={},
    )


def parse_shape(shape: Any) -> tuple[int, ...]:
    """A shape from an int or a sequence of ints. TypeError, MetadataError where it is none."""
    entries: Sequence[Any]
    try:
        entries = (operator.index(shape),)
    except TypeError:
        if isinstance(shape, str) or not isinstance(shape, Iterable):
            raise TypeError(f"shape must be an int or a sequence of ints, got {shape!r}") from None
        entries = tuple(shape)
    extents = tuple(operator.index(entry) for entry in entries)
    if any(extent < 0 for extent in extents):
        raise MetadataError(f"shape must have no negative extents, got {extents}")
    return extents


def grids(
    chunks: Any, shards: Any, shape: tuple[int, ...], itemsize: int | None
) -> tuple[Grid, tuple[int, ...] | None]:
    """The grid of what one key holds, and the shape of the inner chunks where that is a shard.

    A grid of another array stands for itself, as `chunks` or as `shards`.
    """
    if shards is None:
        if isinstance(chunks, RegularGrid | RectilinearGrid):
            return chunks, None
        return _declared(chunk_layout(chunks, shape, itemsize), shape), None
    location = shards.get("shape") if isinstance(shards, Mapping) else shards
    layout = chunk_layout(chunks, shape, itemsize, sharded=True)
    if not is_regular(layout):
        raise MetadataError("inner chunks are of one shape: give rectilinear `shards` with regular `chunks`")
    inner = regular(layout)
    if isinstance(location, RegularGrid | RectilinearGrid):
        return location, inner
    target = config.get("array.target_shard_size_bytes")
    return _declared(shard_layout(location, shape, inner, itemsize, target), shape), inner


def _declared(layout: Layout, shape: tuple[int, ...]) -> Grid:
    if not is_regular(layout) and not config.get("array.rectilinear_chunks"):
        raise MetadataError("rectilinear chunks are switched off by the option array.rectilinear_chunks")
    return grid_of(layout, shape)


def key_encoding(given: Any, separator: Any, zarr_format: int) -> KeyEncoding:
    """A chunk key encoding from a name, a (name, separator) pair, an object with these fields, or None."""
    if given is not None and separator is not None:
        raise MetadataError("give one of `chunk_key_encoding` and `dimension_separator`, not both")
    if zarr_format == 3 and separator is not None:
        raise MetadataError("dimension_separator is for Zarr format 2; format 3 has chunk_key_encoding")
    name: Any
    if given is None:
        name = "default" if zarr_format == 3 else "v2"
    elif isinstance(given, str):
        name = given
    elif isinstance(given, Mapping):
        name = given.get("name", "default" if zarr_format == 3 else "v2")
        separator = (given.get("configuration") or given).get("separator")
    elif isinstance(given, tuple | list) and len(given) == 2:
        name, separator = given
    else:
        name, separator = getattr(given, "name", None), getattr(given, "separator", None)
    if name not in ("default", "v2"):
        raise MetadataError(f'chunk_key_encoding must be "default" or "v2", got {given!r}')
    if zarr_format == 2 and name != "v2":
        raise MetadataError(f'the chunk_key_encoding of Zarr format 2 is "v2", got {name!r}')
    if separator is None:
        separator = "/" if name == "default" else "."
    if separator not in ("/", "."):
        raise MetadataError(f'the separator of chunk keys must be "/" or ".", got {separator!r}')
    return KeyEncoding(name, separator)


# ---- the chain of format 3


def _whole_chain(codecs: Any, data_type: DataType) -> list[Codec]:
    if isinstance(codecs, str | Mapping | Codec) or not isinstance(codecs, Iterable):
        codecs = (codecs,)
    chain = [as_codec(codec) for codec in codecs]
    if not any(codec.kind is Kind.ARRAY_TO_BYTES for codec in chain):
        first = next((i for i, codec in enumerate(chain) if codec.kind is Kind.BYTES_TO_BYTES), len(chain))
        chain.insert(first, default_serializer(data_type))
    kinds = [codec.kind for codec in chain]
    if kinds != sorted(kinds, key=list(Kind).index) or kinds.count(Kind.ARRAY_TO_BYTES) != 1:
        raise MetadataError(
            "codecs must be array -> array codecs, then one array -> bytes codec, then bytes -> bytes codecs; got "
            + ", ".join(f"{codec.name} ({codec.kind.value})" for codec in chain)
        )
    return chain


def _chain(filters: Any, serializer: Any, compressors: Any, data_type: DataType) -> list[Codec]:
    head = [] if _is_auto(filters) else _of_kind("filters", filters, Kind.ARRAY_TO_ARRAY)
    if serializer is None or _is_auto(serializer):
        middle: list[Codec] = [default_serializer(data_type)]
    else:
        middle = _of_kind("serializer", serializer, Kind.ARRAY_TO_BYTES)
    if _is_auto(compressors):
        tail = [codec_from({"name": "zstd", "configuration": {"level": 0, "checksum": False}})]
    else:
        tail = _of_kind("compressors", compressors, Kind.BYTES_TO_BYTES)
    return [*head, *middle, *tail]


def _of_kind(what: str, given: Any, kind: Kind) -> list[Codec]:
    if given is None:
        return []
    if isinstance(given, str | Mapping | Codec) or not isinstance(given, Iterable):
        given = (given,)
    found = [as_codec(codec) for codec in given]
    for codec in found:
        if codec.kind is not kind:
            raise TypeError(f"{what} must be codecs of kind {kind.value}; {codec.name} is {codec.kind.value}")
    return found


def as_codec(value: Any) -> Codec:
    """A codec from whatever names one. What zarr-python's Blosc leaves to the array's data type stays open."""
    return codec_from(_document(value))


def _document(value: Any) -> Any:
    if isinstance(value, Codec) or not hasattr(value, "to_dict"):
        return value
    document = value.to_dict()
    configuration = dict(document.get("configuration") or {})
    for name in getattr(value, "_tunable_attrs", ()):
        configuration.pop(name, None)
    if hasattr(value, "codecs") and "codecs" in configuration:
        configuration["codecs"] = [_document(codec) for codec in value.codecs]
    return {**document, "configuration": configuration} if configuration else document


def default_serializer(data_type: DataType) -> Codec:
    """The array -> bytes codec where none is named."""
    if data_type.itemsize is not None:
        return codec_from({"name": "bytes", "configuration": {"endian": "little"}})
    if data_type.object_codec in ("vlen-utf8", "vlen-bytes"):
        return codec_from({"name": data_type.object_codec})
    raise MetadataError(f"data type {data_type} has no default serializer in Zarr format 3")


def _sharding(inner: tuple[int, ...], chain: tuple[NamedConfig, ...], shards: Any) -> Codec:
    chosen = shards if isinstance(shards, Mapping) else {}
    location = chosen.get("index_location", "end")
    index = [as_codec(codec).to_dict() for codec in chosen.get("index_codecs") or ()] or [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "crc32c"},
    ]
    return codec_from(
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": list(inner),
                "codecs": [codec.to_json() for codec in chain],
                "index_codecs": index,
                "index_location": location,
            },
        }
    )


def settled(chain: Sequence[Codec], spec: ChunkSpec) -> tuple[NamedConfig, ...]:
    """The chain as it is stored: each codec settled for what reaches it (Blosc's typesize, the byte order)."""
    return tuple(NamedConfig(codec.name, dict(codec.configuration())) for codec in CodecChain.build(chain, spec).codecs)


# ---- arrays like others


def settings_of(source: ArrayMetadata, zarr_format: int) -> dict[str, Any]:
    """The arguments of `array_metadata` for an array like `source` in this format.

    Codecs and key encoding are of a format, and are taken over only into the same one; into format 2, shards are
    left behind.
    """
    alone = [codec.name for codec in source.codecs] == ["sharding_indexed"]
    sharding = source.codecs[0].configuration if alone else None
    grid = source.grid
    chunks: Any = grid if isinstance(grid, RectilinearGrid) else grid.chunks
    settings: dict[str, Any] = {
        "shape": source.shape,
        "dtype": source.data_type,
        "chunks": chunks if sharding is None else sharding["chunk_shape"],
        "fill_value": source.fill_value,
        "attributes": source.attributes,
        "zarr_format": zarr_format,
    }
    if zarr_format == 3:
        settings["dimension_names"] = source.dimension_names
        if sharding is not None:
            settings["shards"] = {**sharding, "shape": chunks}
    if zarr_format == 2 == source.zarr_format:
        settings |= {"order": source.order, "filters": source.filters, "compressors": source.compressor}
    elif zarr_format == source.zarr_format:
        stored = [c.to_json() for c in source.codecs] if sharding is None else sharding["codecs"]
        chain = [as_codec(codec) for codec in stored]
        for name, kind in zip(("filters", "serializer", "compressors"), Kind, strict=True):
            settings[name] = [codec for codec in chain if codec.kind is kind]
    if zarr_format == source.zarr_format:
        settings["chunk_key_encoding"] = source.key_encoding
    return settings


# ---- format 2, and small things


def _data_type_2(dtype: Any, filters: Any, object_codec: Any) -> DataType:
    codec = object_codec_of(filters, object_codec)
    if codec is not None and (dtype is object or (isinstance(dtype, str | np.dtype) and np.dtype(dtype) == object)):
        return data_type_from_v2("|O", object_codec=codec)
    return parse_dtype(dtype, 2)


def _dimension_names(names: Iterable[str | None] | None, ndim: int) -> tuple[str | None, ...] | None:
    if names is None:
        return None
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found:
        return None
    if len(found) != ndim or not all(name is None or isinstance(name, str) for name in found):
        raise MetadataError(f"dimension_names must be {ndim} strings or None, got {found!r}")
    return found


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _is_default(value: Any) -> bool:
    return isinstance(value, Default)
