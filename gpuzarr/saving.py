"""`save` and `load`: whole arrays in one call, as `numpy.save` and `numpy.load`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gpuzarr import creation, opening
from gpuzarr.array import Array
from gpuzarr.dtypes import parse_dtype
from gpuzarr.group import Group
from gpuzarr.nodes import normalize_path
from gpuzarr.opening import Place, handle_of, place_of
from gpuzarr.options import config as options

Store = Any  # whatever a user may give as a store


def save(
    store: Store,
    *args: Any,
    zarr_format: int | None = None,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Save one array as an array, or several as a group (of `arr_0`, `arr_1`, ... and of the names given), in place
    of what is there."""
    more: dict[str, Any] = {"zarr_format": zarr_format, "path": path, "storage_options": storage_options}
    if len(args) == 1 and not kwargs:
        save_array(store, args[0], **more)
    else:
        save_group(store, *args, **more, **kwargs)


def save_array(
    store: Store,
    arr: Any,
    *,
    zarr_format: int | None = None,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Save an array. Other arguments as of `create`; with neither `overwrite` nor `mode="w"`, ContainsArrayError
    where one is there."""
    if not hasattr(arr, "shape") or not hasattr(arr, "dtype"):
        raise TypeError(f"save takes arrays, not {type(arr).__name__}")
    mode = kwargs.pop("mode", "a")
    overwrite = bool(kwargs.pop("overwrite", False)) or mode == "w"
    with _place(store, path, mode, storage_options) as place:
        if mode == "w-":
            opening.refuse_anything(*place)
        form = zarr_format or options.get("default_zarr_format")
        handle = handle_of(kwargs)
        creation.create_like(*place, data=arr, zarr_format=form, overwrite=overwrite, handle=handle, **kwargs)


def save_group(
    store: Store,
    *args: Any,
    zarr_format: int | None = None,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Save arrays as the members of a group, in place of what is there."""
    arrays = {**{f"arr_{i}": array for i, array in enumerate(args)}, **kwargs}
    if not arrays:
        raise ValueError("give at least one array to save")
    form = zarr_format or options.get("default_zarr_format")
    for name, array in arrays.items():
        if not hasattr(array, "shape") or not hasattr(array, "dtype"):
            raise TypeError(f"save takes arrays, and {name!r} is a {type(array).__name__}")
        normalize_path(name)
        parse_dtype(array.dtype, form)  # all of this before what is there is deleted
    with _place(store, path, "a", storage_options) as place:
        for array in arrays.values():
            creation.refuse_self(array, *place)
        with opening.making_group(place, {"zarr_format": form}, overwrite=True) as group:
            for name, array in arrays.items():
                group[name] = array


class Loaded(Mapping[str, Any]):
    """The arrays of a group by name, each read when it is asked for."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def __getitem__(self, name: str) -> Any:
        found = self._group[name]
        if not isinstance(found, Array):
            raise KeyError(f"{name!r} is a group")
        return found[...]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and isinstance(self._group.get(name), Array)

    def __iter__(self) -> Iterator[str]:
        return self._group.array_keys()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<Loaded {', '.join(self)}>"


def load(
    store: Store,
    path: str | None = None,
    zarr_format: int | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    **handle: Any,
) -> Any:
    """Read a whole array; or the arrays of a group, as a mapping that reads each when it is asked for."""
    place = place_of(store, path, mode="r", storage_options=storage_options)
    node = opening.open_node(place, "r", config=None, arguments={"zarr_format": zarr_format, **handle})
    return node[...] if isinstance(node, Array) else Loaded(node)


@contextmanager
def _place(store: Store, path: str | None, mode: str, storage_options: Mapping[str, Any] | None) -> Iterator[Place]:
    """A store that is closed again, where it was not open before: a zip file is complete only then."""
    place = place_of(store, path, mode=mode, storage_options=storage_options)
    try:
        yield place
    finally:
        if isinstance(store, str | os.PathLike):
            place[0].close()
