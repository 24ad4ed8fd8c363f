"""Arrays made by NumPy's words (`zeros`, `full_like`, `array`, ...), by `create` and by `open_like`.

Their arguments are zarr-python 3's, which are zarr-python 2's; `gpuzarr.api` says what all of them take beside these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpuzarr import creation, opening
from gpuzarr.array import Array
from gpuzarr.create import DEFAULT_FILL_VALUE
from gpuzarr.nodes import read_node
from gpuzarr.opening import format_of, handle_of, place_of, refuse_anything
from gpuzarr.options import config as options

Store = Any  # whatever a user may give as a store


def create(
    shape: Any,
    *,
    chunks: Any = None,
    dtype: Any = None,
    compressor: Any = "auto",
    fill_value: Any = DEFAULT_FILL_VALUE,
    order: str | None = None,
    store: Store = None,
    synchronizer: Any = None,
    overwrite: bool = False,
    path: str | None = None,
    chunk_store: Store = None,
    filters: Any = None,
    cache_metadata: bool | None = None,
    cache_attrs: bool | None = None,
    read_only: bool | None = None,
    object_codec: Any = None,
    dimension_separator: str | None = None,
    write_empty_chunks: bool | None = None,
    zarr_format: int | None = None,
    meta_array: Any = None,
    attributes: Mapping[str, Any] | None = None,
    chunk_shape: Any = None,
    chunk_key_encoding: Any = None,
    codecs: Any = None,
    dimension_names: Iterable[str | None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    config: Any = None,
    mode: str | None = None,
    data: Any = None,
    **more: Any,
) -> Array:
    """Make an array, with the argument names of zarr-python 2. `create_array` has the newer ones.

    `compressor`, `object_codec` and `dimension_separator` are for Zarr format 2, `codecs`, `chunk_shape` and
    `chunk_key_encoding` for format 3. `cache_metadata`, `cache_attrs` and `meta_array` change nothing here.
    """
    given = {
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype,
        "compressor": compressor,
        "fill_value": fill_value,
        "order": order,
        "filters": filters,
        "object_codec": object_codec,
        "dimension_separator": dimension_separator,
        "attributes": attributes,
        "chunk_shape": chunk_shape,
        "chunk_key_encoding": chunk_key_encoding,
        "codecs": codecs,
        "dimension_names": dimension_names,
        "write_empty_chunks": write_empty_chunks,
        "data": data,
        **more,
    }
    return _make(
        creation.create,
        given,
        store=store,
        path=path,
        mode=mode,
        storage_options=storage_options,
        overwrite=overwrite,
        config=config,
        read_only=read_only,
        zarr_format=zarr_format,
        synchronizer=synchronizer,
        chunk_store=chunk_store,
    )


def _make(
    make: Any,
    given: dict[str, Any],
    *,
    store: Store = None,
    path: str | None = None,
    mode: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    read_only: bool | None = None,
    synchronizer: Any = None,
    chunk_store: Store = None,
    **more: Any,
) -> Array:
    """Where `mode` and `read_only` of the older functions are understood, before `make` makes the array."""
    given = {**given, **more, "synchronizer": synchronizer, "chunk_store": chunk_store}
    place = place_of(store, path, mode="a" if mode is None else mode, storage_options=storage_options)
    if mode == "w-":
        refuse_anything(*place)
    given["zarr_format"] = format_of(given)
    handle = handle_of(given)
    made: Array = make(*place, overwrite=overwrite or mode == "w", handle=handle, **given)
    if not read_only:
        return made
    return Array(made.store.with_read_only(True), made.path, made.metadata, config=made.config, **handle)


def array(data: Any, **arguments: Any) -> Array:
    """Make an array with the values of `data`: anything array-like, Zarr and HDF5 arrays included, which are copied
    about 64 MiB at a time. Other arguments as of `create`."""
    return _make(creation.create_like, {"data": data}, **arguments)


def empty(shape: Any, **arguments: Any) -> Array:
    """Make an array whose values are not said. Arguments as of `create`."""
    return create(shape, **arguments)


def zeros(shape: Any, **arguments: Any) -> Array:
    """Make an array of zeros. Arguments as of `create`."""
    return create(shape, **{"fill_value": 0, **arguments})


def ones(shape: Any, **arguments: Any) -> Array:
    """Make an array of ones. Arguments as of `create`."""
    return create(shape, **{"fill_value": 1, **arguments})


def full(shape: Any, fill_value: Any, **arguments: Any) -> Array:
    """Make an array of `fill_value`. Arguments as of `create`."""
    return create(shape, fill_value=fill_value, **arguments)


def empty_like(a: Any, *, zarr_format: int | None = None, **arguments: Any) -> Array:
    """Make an array of the shape, data type, chunks and codecs of `a`, whose values are not said."""
    return _make(creation.create_like, {"data": a, "write_data": False}, zarr_format=zarr_format, **arguments)


def zeros_like(a: Any, *, zarr_format: int | None = None, **arguments: Any) -> Array:
    """Make an array of zeros like `a`."""
    return empty_like(a, zarr_format=zarr_format, **{"fill_value": 0, **arguments})


def ones_like(a: Any, *, zarr_format: int | None = None, **arguments: Any) -> Array:
    """Make an array of ones like `a`."""
    return empty_like(a, zarr_format=zarr_format, **{"fill_value": 1, **arguments})


def full_like(a: Any, *, zarr_format: int | None = None, **arguments: Any) -> Array:
    """Make an array of `fill_value` (by default that of `a`) like `a`."""
    return empty_like(a, zarr_format=zarr_format, **arguments)


def open_like(a: Any, path: str, *, zarr_format: int | None = None, **arguments: Any) -> Array:
    """Open the array at `path`, or make it like `a` where it is not there (mode "a")."""
    mode = arguments.pop("mode", None) or "a"
    store, storage_options = arguments.pop("store", None), arguments.pop("storage_options", None)
    place = place_of(store, path, mode=mode, storage_options=storage_options)
    node = None if mode in ("w", "w-") else read_node(*place, zarr_format, use_consolidated=False)
    if node is not None or mode in ("r", "r+"):
        config = arguments.pop("config", None)
        return opening.open_array(place, mode, config=config, arguments={**arguments, "zarr_format": zarr_format})
    if mode == "w-":
        refuse_anything(*place)
    zarr_format = zarr_format or options.get("default_zarr_format")
    handle = handle_of(arguments)
    given = {"zarr_format": zarr_format, "overwrite": mode == "w", **arguments}
    return creation.create_like(*place, data=a, write_data=False, handle=handle, **given)
