"""Make arrays: write the metadata of a new one, and copy data into it without loading all of it.

A new array is put together completely, its codec chain included, before anything that it replaces is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gpuzarr.array import Array
from gpuzarr.create import DEFAULT_FILL_VALUE, array_metadata, settings_of
from gpuzarr.errors import MetadataError
from gpuzarr.making import making_node
from gpuzarr.metadata import array_from_v2, array_from_v3
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.regions import regions
from gpuzarr.storage.contract import Store
from gpuzarr.storage.resolve import StorePath

COPY_BYTES = 64 << 20  # about this much of a source is in memory at a time
HANDLE = ("device", "synchronizer", "chunk_store", "cache_bytes")
"""What says how an array is opened, not what is stored."""
CHAIN = ("filters", "serializer", "compressors")
NONE_MEANS_NONE = {"shards", "filters", "compressors"}  # for other arguments None is "not given"
NONE_SAYS_NONE = {"shards", "compressor", "compressors"}  # the same, for the older spellings
IGNORED = {"cache_metadata", "cache_attrs", "meta_array", "synchronizer", "chunk_store", "read_only", "storage_options"}
REPLACES = {"codecs": CHAIN, "compressor": ("compressors",), "dimension_separator": ("chunk_key_encoding",)}
"""What makes an argument of the source give way."""


def new_array(
    store: Store,
    path: str,
    metadata: ArrayMetadata,
    *,
    overwrite: bool = False,
    write: Callable[[Array], object] | None = None,
    **handle: Any,
) -> Array:
    """Write the metadata of a new array, let `write` put data into it, and open it; `handle` is what Array takes.

    As `nodes.making_node`: where something is replaced, and the store can, that is when the data are written.
    """
    array = Array(store, path, metadata, **handle)  # refuses a chain that could not be run, while all is still there
    apart = array.chunk_store is not store
    with making_node(store, path, metadata, overwrite=overwrite) as (place, inside):
        if overwrite and apart:
            array.chunk_store.delete_prefix(path)
        if write is not None:
            staged = place is not store and not apart
            write(Array(place, inside, metadata, **{**handle, "chunk_store": None}) if staged else array)
    return array


def create_array(
    store: Store,
    path: str,
    *,
    data: Any = None,
    write_data: bool = True,
    overwrite: bool = False,
    config: Any = None,
    order: str | None = None,
    handle: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Array:
    """A new array from `create.array_metadata`'s arguments, or from `data`, which then gives shape and data type."""
    if data is not None:
        given = [name for name in ("shape", "dtype") if arguments.pop(name, None) is not None]
        if given:
            raise MetadataError(f"`data` says what {' and '.join(given)} are; give one of them, not both")
        return from_array(
            store,
            path,
            data=data,
            write_data=write_data,
            overwrite=overwrite,
            config=config,
            order=order,
            handle=handle,
            **arguments,
        )
    if arguments.get("shape") is None:
        raise MetadataError("give the shape of the array, or data")
    metadata = array_metadata(order=order, **arguments)
    config = config_with(config, order if metadata.zarr_format == 3 else None)
    return new_array(store, path, metadata, overwrite=overwrite, config=config, **(handle or {}))


def config_with(config: Any, order: str | None = None, write_empty_chunks: bool | None = None) -> Any:
    """An array's run-time configuration with the older spellings of two of its fields."""
    given = {"order": order, "write_empty_chunks": write_empty_chunks}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return config
    if config is None or isinstance(config, Mapping):
        return {**changes, **(config or {})} if write_empty_chunks is None else {**(config or {}), **changes}
    return replace(config, **changes)


def from_array(
    store: Store,
    path: str,
    *,
    data: Any,
    write_data: bool = True,
    zarr_format: int | None = None,
    fill_value: Any = DEFAULT_FILL_VALUE,
    overwrite: bool = False,
    config: Any = None,
    order: str | None = None,
    handle: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Array:
    """A new array with the data of another.

    Where `data` is a Zarr array, all that is not given, or is "keep", is as it is there; for other arrays it is
    chosen. Raises ValueError where the copy would overwrite its own source.
    """
    if not hasattr(data, "shape") or not hasattr(data, "dtype"):
        data = np.asarray(data)
    if overwrite and write_data:
        refuse_self(data, store, path)
    source = metadata_of(data)
    settings: dict[str, Any] = {"shape": tuple(data.shape), "dtype": data.dtype, "zarr_format": zarr_format}
    if source is not None:
        settings = settings_of(source, zarr_format or source.zarr_format)
    if arguments.get("codecs") is not None:
        for name in CHAIN:
            settings.pop(name, None)
    chosen = {**arguments, "order": order}
    settings |= {k: v for k, v in chosen.items() if (v is not None or k in NONE_MEANS_NONE) and not is_keep(v)}
    if fill_value is not DEFAULT_FILL_VALUE:
        settings["fill_value"] = fill_value
    metadata = array_metadata(**settings)
    config = config_with(config, order if metadata.zarr_format == 3 else None)
    write = partial(fill, data=data) if write_data else None
    return new_array(store, path, metadata, overwrite=overwrite, write=write, config=config, **(handle or {}))


def is_keep(value: Any) -> bool:
    """Whether an argument says to take over what the source has."""
    return isinstance(value, str) and value == "keep"


def create(
    store: Store,
    path: str,
    *,
    data: Any = None,
    overwrite: bool = False,
    config: Any = None,
    write_empty_chunks: bool | None = None,
    handle: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Array:
    """A new array from the arguments of `gpuzarr.create`; `data` are written into it."""
    metadata = array_metadata(**translated(arguments))
    config = config_with(config, arguments.get("order") if metadata.zarr_format == 3 else None, write_empty_chunks)

    def write(array: Array) -> None:
        if data is not None:
            array[...] = data

    return new_array(store, path, metadata, overwrite=overwrite, write=write, config=config, **(handle or {}))


def create_like(
    store: Store,
    path: str,
    *,
    data: Any,
    write_data: bool = True,
    overwrite: bool = False,
    config: Any = None,
    write_empty_chunks: bool | None = None,
    handle: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Array:
    """A new array of the shape, data type, chunks and codecs of `data`, but for the arguments of `gpuzarr.create`
    that are given; with its values and attributes where `write_data`."""
    if not hasattr(data, "shape") or not hasattr(data, "dtype"):
        data = np.asarray(data)
    if overwrite and write_data:
        refuse_self(data, store, path)
    given = translated(arguments)
    source = metadata_of(data)
    if source is not None:
        settings = settings_of(source, given.get("zarr_format") or source.zarr_format)
        if not write_data:
            settings.pop("attributes")
            settings.pop("dimension_names", None)
    else:
        settings = {"shape": tuple(data.shape), "dtype": data.dtype, "chunks": _chunks_of(data)}
    for name, replaced in REPLACES.items():
        if name in given:
            for old in replaced:
                settings.pop(old, None)
    metadata = array_metadata(**{**settings, **given})
    config = config_with(config, arguments.get("order") if metadata.zarr_format == 3 else None, write_empty_chunks)
    write = partial(fill, data=data) if write_data else None
    return new_array(store, path, metadata, overwrite=overwrite, write=write, config=config, **(handle or {}))


def translated(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `gpuzarr.create` as arguments of `array_metadata`; those that are not given are left out.

    TypeError where chunks are given twice.
    """
    given = {k: v for k, v in arguments.items() if k not in IGNORED and (v is not None or k in NONE_SAYS_NONE)}
    given = {k: v for k, v in given.items() if not (isinstance(v, str) and v == "auto" and k in REPLACES)}
    if "chunk_shape" in given:
        if "chunks" in given:
            raise MetadataError("give one of `chunks` and `chunk_shape`, not both")
        given["chunks"] = given.pop("chunk_shape")
    return given


def _chunks_of(data: Any) -> Any:
    chunks = getattr(data, "chunks", None)
    if isinstance(chunks, tuple) and len(chunks) == len(data.shape) and all(isinstance(c, int) for c in chunks):
        return chunks
    return "auto"


def refuse_self(data: Any, store: Store, path: str) -> None:
    """ValueError where `data` is an array that lies at, above or below `path` of this store."""
    if isinstance(data, Array) and data.store_path.overlaps(StorePath(store, path)):
        raise ValueError(
            f"cannot overwrite {path!r} with the array at {data.path!r} of the same store: the copy would delete its"
            " own source. Write to another path, or pass data=array[...]"
        )


def metadata_of(data: Any) -> ArrayMetadata | None:
    """The metadata of a Zarr array, ours or another library's; None for any other array."""
    found = getattr(data, "metadata", None)
    if isinstance(found, ArrayMetadata):
        return found
    if found is None or getattr(found, "zarr_format", None) not in (2, 3) or not hasattr(found, "to_dict"):
        return None
    try:
        document = json.loads(json.dumps(found.to_dict()))
        if document["zarr_format"] == 3:
            return array_from_v3(document, key="zarr.json")
        return array_from_v2(document, document.pop("attributes", None), key=".zarray")
    except (TypeError, ValueError, KeyError):
        return None  # a relative that speaks another dialect: its values can be copied all the same


def fill(array: Array, data: Any) -> None:
    """Write all of `data` (anything with a shape that can be sliced), about COPY_BYTES at a time."""
    if isinstance(data, Array):
        data = data.to_device("cpu")  # the host encodes it
        data = data if data.ndim else np.asarray(data)  # a scalar that is a list would be taken for an array
    if isinstance(data, np.ndarray) or not array.ndim:
        array[...] = data if isinstance(data, np.ndarray) else data[()]
        return
    chunks = _chunks_of(data)
    for region in regions(array.metadata.grid, array.dtype.itemsize, COPY_BYTES, None if chunks == "auto" else chunks):
        array[region] = data[region]
