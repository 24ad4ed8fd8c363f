"""Open what is in a store, with the modes of zarr-python: r, r+, a, w, w-.

"r" reads, "r+" reads and writes, and both need the node to be there; "a" makes it where it is not; "w" makes it and
deletes what was there; "w-" makes it and refuses where anything is there. No mode at all is "a" for `open` and
`open_group`, and for `open_array` it reads and writes but makes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gpuzarr.array import Array
from gpuzarr.attributes import as_json
from gpuzarr.creation import create
from gpuzarr.errors import ContainsNodeError, MetadataError
from gpuzarr.group import Group
from gpuzarr.making import making_node, refuse_existing
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata
from gpuzarr.nodes import UseConsolidated, describe, join, normalize_path, not_found, read_array, read_group, read_node
from gpuzarr.options import config as options
from gpuzarr.storage.contract import Store
from gpuzarr.storage.resolve import open_store

Place = tuple[Store, str]
CREATING = ("a", "w", "w-")
READING = ("r", "r+", "a", None)


def place_of(
    store: Any, path: Any = None, *, mode: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Place:
    """The store, and the path in it, of whatever a user gives for them."""
    # A zip file opened with "w" would be emptied here, before it is known whether anything can take its place.
    mode = "a" if mode in ("w", "w-") else mode
    found, prefix = open_store(store, mode=mode, storage_options=storage_options)
    return found, join(prefix, normalize_path(path))


def handle_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take out of `arguments` what says how arrays are opened; see `Group`."""
    cache_bytes = arguments.pop("chunk_cache_bytes", None)
    handle = {name: arguments.pop(name, None) for name in ("device", "synchronizer", "chunk_store", "cache_bytes")}
    if handle["cache_bytes"] is None:
        handle["cache_bytes"] = cache_bytes
    if handle["chunk_store"] is not None:
        handle["chunk_store"] = open_store(handle["chunk_store"])[0]
    return {name: value for name, value in handle.items() if value is not None}


def format_of(arguments: dict[str, Any]) -> int | None:
    """Take the Zarr format out of `arguments`, under its present or its former name."""
    zarr_format: int | None = arguments.pop("zarr_format", None)
    zarr_version: int | None = arguments.pop("zarr_version", None)
    if zarr_format is not None and zarr_version not in (None, zarr_format):
        raise MetadataError(f"zarr_format is {zarr_format}, but zarr_version, its former name, is {zarr_version}")
    return zarr_format if zarr_version is None else zarr_version


def open_node(place: Place, mode: str | None, *, config: Any, arguments: dict[str, Any]) -> Array | Group:
    """`gpuzarr.open`: an array or a group, whichever is there; where one is made, `shape` says that it is an array."""
    store, path = place
    if mode is None:
        mode = "r" if store.read_only else "a"
    if mode not in READING:
        makes_array = arguments.get("shape") is not None
        return (open_array if makes_array else open_group)(place, mode, config=config, arguments=arguments)
    arguments = dict(arguments)
    zarr_format = format_of(arguments)
    node = read_node(store, path, zarr_format, use_consolidated=arguments.get("use_consolidated"))
    if isinstance(node, ArrayMetadata):
        return Array(store, path, node, config=config, **handle_of(arguments))
    if isinstance(node, GroupMetadata):
        _refuse_config(config, place)
        return Group(store, path, node, **handle_of(arguments))
    if mode == "a" and not store.read_only:
        arguments["zarr_format"] = zarr_format
        makes_array = arguments.get("shape") is not None
        if makes_array:
            return _make_array(place, config, arguments)
        _refuse_config(config, place)
        return make_group(place, arguments)
    raise not_found(store, path, None, zarr_format)


def open_array(place: Place, mode: str | None, *, config: Any, arguments: dict[str, Any]) -> Array:
    """`gpuzarr.open_array`; `arguments` are those of `gpuzarr.create` for an array that is made."""
    store, path = place
    arguments = dict(arguments)
    zarr_format = format_of(arguments)
    if mode in READING:
        node = read_array(store, path, zarr_format)
        if node is not None:
            return Array(store, path, node, config=config, **handle_of(arguments))
        if mode != "a" or store.read_only or arguments.get("shape") is None:
            raise not_found(store, path, "array", zarr_format)
    if mode == "w-":
        refuse_anything(store, path)
    arguments["zarr_format"] = zarr_format
    return _make_array(place, config, arguments, overwrite=mode == "w")


def open_group(place: Place, mode: str | None, *, config: Any = None, arguments: dict[str, Any]) -> Group:
    """`gpuzarr.open_group`."""
    _refuse_config(config, place)
    store, path = place
    arguments = dict(arguments)
    zarr_format = format_of(arguments)
    if mode in READING:
        use_consolidated: UseConsolidated = arguments.get("use_consolidated")
        node = read_group(store, path, zarr_format, use_consolidated=use_consolidated)
        if node is not None:
            return Group(store, path, node, **handle_of(arguments))
        if mode not in CREATING or store.read_only:
            raise not_found(store, path, "group", zarr_format)
    if mode == "w-":
        refuse_anything(store, path)
    arguments["zarr_format"] = zarr_format
    return make_group(place, arguments, overwrite=mode == "w")


def refuse_anything(store: Store, path: str) -> None:
    """FileExistsError where any object is at or under `path`."""
    refuse_existing(store, path)
    if store.supports_listing and next(iter(store.list(path)), None) is not None:
        raise ContainsNodeError(f"there is data at {describe(store, path)}; overwrite=True, or mode 'w', replaces it")


def _make_array(place: Place, config: Any, arguments: dict[str, Any], *, overwrite: bool = False) -> Array:
    handle = handle_of(arguments)
    arguments.pop("use_consolidated", None)
    overwrite = bool(arguments.pop("overwrite", False)) or overwrite
    if arguments.get("shape") is None:
        raise TypeError("give the shape of the array that is to be made")
    return create(*place, config=config, overwrite=overwrite, handle=handle, **arguments)


def make_group(place: Place, arguments: dict[str, Any], *, overwrite: bool = False) -> Group:
    """A new group with the `attributes` and `zarr_format` among `arguments`."""
    handle = handle_of(arguments)
    with making_group(place, arguments, overwrite=overwrite) as group:
        return Group(*place, group.metadata, **handle)


@contextmanager
def making_group(place: Place, arguments: dict[str, Any], *, overwrite: bool = False) -> Iterator[Group]:
    """Context manager: a new group, to put members into; it takes its place when the block ends (`making_node`)."""
    overwrite = bool(arguments.pop("overwrite", False)) or overwrite
    zarr_format = arguments.pop("zarr_format", None) or options.get("default_zarr_format")
    attributes = as_json(arguments.pop("attributes", None) or {})
    unknown = set(arguments) - {"use_consolidated", "cache_attrs", "meta_array"}
    if unknown:
        raise TypeError(f"a group takes no {', '.join(sorted(unknown))}; an array to be made needs a shape")
    if zarr_format not in (2, 3):
        raise MetadataError(f"zarr_format must be 2 or 3, got {zarr_format!r}")
    metadata = GroupMetadata(zarr_format=zarr_format, attributes=attributes)
    with making_node(*place, metadata, overwrite=overwrite) as inside:
        yield Group(*inside, metadata)


def _refuse_config(config: Any, place: Place) -> None:
    if config is not None:
        raise TypeError(f"config is how an array behaves, but {describe(*place)} is a group")
