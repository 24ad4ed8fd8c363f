"""The functions of `import gpuzarr as zarr` that make and open, with the signatures of zarr-python 3.

Those that NumPy has, too (`zeros`, `array`, ...), and `create` are in `gpuzarr.api_numpy`.

Beside zarr-python's arguments, every function that gives an array or a group takes `device` (by default what
`with gpuzarr.device(...)` says, or "cpu"), `synchronizer` (what keeps writers of one chunk apart), `chunk_store`
(where the chunks lie, if elsewhere) and `cache_bytes` (of decoded chunks that an open array keeps; 0 is none).

`store` is a path, a URL, a mapping, a store of ours, of zarr-python, of fsspec or of obstore, or None for memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpuzarr import creation, opening
from gpuzarr.array import Array
from gpuzarr.create import DEFAULT_FILL_VALUE
from gpuzarr.group import Group
from gpuzarr.hierarchy import make_nodes
from gpuzarr.making import consolidate
from gpuzarr.metadata.model import ArrayMetadata, Node
from gpuzarr.nodes import UseConsolidated, not_found, read_node
from gpuzarr.opening import handle_of, place_of
from gpuzarr.tree import Tree

Store = Any  # whatever a user may give as a store


def create_array(
    store: Store,
    *,
    name: str | None = None,
    shape: Any = None,
    dtype: Any = None,
    data: Any = None,
    chunks: Any = "auto",
    shards: Any = None,
    filters: Any = "auto",
    compressors: Any = "auto",
    serializer: Any = "auto",
    codecs: Any = None,
    fill_value: Any = DEFAULT_FILL_VALUE,
    order: str | None = None,
    zarr_format: int | None = 3,
    attributes: Mapping[str, Any] | None = None,
    chunk_key_encoding: Any = None,
    dimension_names: Iterable[str | None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    config: Any = None,
    write_data: bool = True,
    **handle: Any,
) -> Array:
    """Make an array of `shape` and `dtype` (float64 where none is given), or with the values of `data`.

    `chunks`: an int, one size an axis (-1: the whole axis), nested sizes for a rectilinear grid, or "auto".
    `shards`: the shape of shards of several chunks. `codecs`: the whole chain, in which `bytes` may be left out;
    or else `filters` (array -> array), `serializer` (array -> bytes), `compressors` (bytes -> bytes).
    `config`: see `gpuzarr.array.ArrayConfig`. Raises ContainsArrayError or ContainsGroupError where a node is there
    and `overwrite` is not set, MetadataError for arguments that make no array.
    """
    place = place_of(store, name, mode="a", storage_options=storage_options)
    options_of_handle = handle_of(handle)
    return creation.create_array(
        *place,
        shape=shape,
        dtype=dtype,
        data=data,
        chunks=chunks,
        shards=shards,
        filters=filters,
        compressors=compressors,
        serializer=serializer,
        codecs=codecs,
        fill_value=fill_value,
        order=order,
        zarr_format=zarr_format,
        attributes=attributes,
        chunk_key_encoding=chunk_key_encoding,
        dimension_names=dimension_names,
        overwrite=overwrite,
        config=config,
        write_data=write_data,
        handle=options_of_handle,
        **handle,
    )


def from_array(
    store: Store,
    *,
    data: Any,
    write_data: bool = True,
    name: str | None = None,
    chunks: Any = "keep",
    shards: Any = "keep",
    filters: Any = "keep",
    compressors: Any = "keep",
    serializer: Any = "keep",
    fill_value: Any = DEFAULT_FILL_VALUE,
    order: str | None = None,
    zarr_format: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    chunk_key_encoding: Any = None,
    dimension_names: Iterable[str | None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    config: Any = None,
    **handle: Any,
) -> Array:
    """Make an array with the values of `data`, and where that is a Zarr array, with all else that is not given.

    Copies about 64 MiB at a time. ValueError where the copy would overwrite its own source.
    """
    place = place_of(store, name, mode="a", storage_options=storage_options)
    options_of_handle = handle_of(handle)
    return creation.from_array(
        *place,
        data=data,
        write_data=write_data,
        chunks=chunks,
        shards=shards,
        filters=filters,
        compressors=compressors,
        serializer=serializer,
        fill_value=fill_value,
        order=order,
        zarr_format=zarr_format,
        attributes=attributes,
        chunk_key_encoding=chunk_key_encoding,
        dimension_names=dimension_names,
        overwrite=overwrite,
        config=config,
        handle=options_of_handle,
        **handle,
    )


def open(
    store: Store = None,
    *,
    mode: str | None = None,
    zarr_format: int | None = None,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    config: Any = None,
    **arguments: Any,
) -> Array | Group:
    """Open the array or group that is there; where it is made, `shape` says that it is to be an array.

    `mode`: "r" reads, "r+" reads and writes, "a" (the default) also makes what is missing, "w" replaces, "w-" makes
    and never replaces. Raises NodeNotFoundError, which says what is there instead.
    """
    place = place_of(store, path, mode=mode, storage_options=storage_options)
    return opening.open_node(place, mode, config=config, arguments={"zarr_format": zarr_format, **arguments})


def open_array(
    store: Store = None,
    *,
    zarr_format: int | None = None,
    path: str | None = "",
    storage_options: Mapping[str, Any] | None = None,
    config: Any = None,
    mode: str | None = None,
    **arguments: Any,
) -> Array:
    """Open an array; without `mode` for reading and writing, if it is there. Arguments for one that is made as of
    `create`. Raises ArrayNotFoundError, NodeTypeValidationError where a group is."""
    place = place_of(store, path, mode=mode, storage_options=storage_options)
    return opening.open_array(place, mode, config=config, arguments={"zarr_format": zarr_format, **arguments})


def open_group(
    store: Store = None,
    *,
    mode: str = "a",
    cache_attrs: bool | None = None,
    synchronizer: Any = None,
    path: str | None = None,
    chunk_store: Store = None,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    meta_array: Any = None,
    attributes: Mapping[str, Any] | None = None,
    use_consolidated: UseConsolidated = None,
    **more: Any,
) -> Group:
    """Open a group, or make it with `attributes` where `mode` allows that.

    `use_consolidated`: None takes consolidated metadata where they are, True needs them, False does not look at
    them, a string is their key in format 2. Raises GroupNotFoundError, ContainsArrayError.
    """
    place = place_of(store, path, mode=mode, storage_options=storage_options)
    arguments = {
        "synchronizer": synchronizer,
        "chunk_store": chunk_store,
        "zarr_format": zarr_format,
        "attributes": attributes,
        "use_consolidated": use_consolidated,
        **more,
    }
    return opening.open_group(place, mode, arguments=arguments)


def open_consolidated(*args: Any, use_consolidated: UseConsolidated = True, **arguments: Any) -> Group:
    """`open_group` with consolidated metadata, which must be there: one read for the whole hierarchy."""
    if not use_consolidated:
        raise TypeError("open_consolidated uses consolidated metadata; open_group has use_consolidated=False")
    return open_group(*args, use_consolidated=use_consolidated, **arguments)


def group(store: Store = None, *, overwrite: bool = False, **arguments: Any) -> Group:
    """Open a group, or make it where it is not there; with `overwrite`, make it anew. As `open_group`."""
    return open_group(store, mode="w" if overwrite else "a", **arguments)


def create_group(
    store: Store,
    *,
    path: str | None = None,
    zarr_format: int | None = None,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **handle: Any,
) -> Group:
    """Make a group. Raises ContainsArrayError or ContainsGroupError where a node is there, unless `overwrite`."""
    place = place_of(store, path, mode="a", storage_options=storage_options)
    return opening.make_group(
        place, {"zarr_format": zarr_format, "attributes": attributes, **handle}, overwrite=overwrite
    )


def create_hierarchy(
    *, store: Store, nodes: Mapping[str, Node], overwrite: bool = False, **handle: Any
) -> Iterator[tuple[str, Array | Group]]:
    """Make several nodes (metadata by path), with the groups above them; yields each path and node."""
    place, prefix = place_of(store)
    opened = handle_of(handle)
    if handle:
        raise TypeError(f"create_hierarchy takes no {', '.join(sorted(handle))}")
    full = {f"{prefix}/{path}" if prefix else path: node for path, node in nodes.items()}
    for path, node in make_nodes(place, full, overwrite=overwrite):
        kind: Any = Array if isinstance(node, ArrayMetadata) else Group
        yield path, kind(place, path, node, **opened)


def consolidate_metadata(
    store: Store, path: str | None = None, zarr_format: int | None = None, **more: Any
) -> Group | Array:
    """Write copies of all metadata below a group into the group's own, so that one read opens the whole hierarchy.

    They are as of now: do it again after changes. An array has nothing to consolidate, and is returned as it is.
    """
    storage_options, handle = more.pop("storage_options", None), handle_of(more)
    if more.pop("metadata_key", ".zmetadata") != ".zmetadata" or more:
        raise TypeError("consolidated metadata of Zarr format 2 are written at .zmetadata, those of 3 in zarr.json")
    place = place_of(store, path, mode="r+", storage_options=storage_options)
    node = read_node(*place, zarr_format, use_consolidated=False)
    if node is None:
        raise not_found(*place, "group", zarr_format)
    if isinstance(node, ArrayMetadata):
        return Array(*place, node, **handle)
    place[0].check_writable(".zmetadata" if node.zarr_format == 2 else "zarr.json")
    return Group(*place, consolidate(*place, node), **handle)


def tree(grp: Any, expand: bool | None = None, level: int | None = None) -> Tree:
    """A drawing of a group, or of the group at a store, and what is below it."""
    group = grp if isinstance(grp, Group) else open_group(grp, mode="r")
    return group.tree(expand=expand, level=level)
