"""Group: a place in a hierarchy, with arrays and groups as its members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Self

import numpy as np

from gpuzarr.array import Array
from gpuzarr.attributes import Attributes, Change, as_json
from gpuzarr.creation import HANDLE, create, create_array, create_like, from_array
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import MetadataError, ReadOnlyError
from gpuzarr.facts import ArrayConfig
from gpuzarr.hierarchy import make_nodes, move_node
from gpuzarr.info import GroupInfo
from gpuzarr.making import change_attributes, changing, delete_node, make_node
from gpuzarr.members import GroupMembers
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.nodes import UseConsolidated, join, normalize_path, not_found, parents, read_group
from gpuzarr.storage.contract import Store
from gpuzarr.storage.resolve import open_store


class Group(GroupMembers):
    """A group in a store: a mapping from names, or paths such as "a/b", to arrays and groups.

    Made by `gpuzarr.open_group`, `gpuzarr.create_group` and their kin. Where it was opened with consolidated
    metadata, its members are found in those, without a request; they are as they were when they were consolidated.
    `handle` is how arrays below are opened: `device`, `synchronizer`, `chunk_store`, `cache_bytes`. Without a `device`
    it is the one that `with gpuzarr.device(...)` chose when the group was opened, or else when the array is.
    """

    @classmethod
    def open(
        cls, store: Any, zarr_format: int | None = None, use_consolidated: UseConsolidated = None, **handle: Any
    ) -> Self:
        """The group at a store or a StorePath. GroupNotFoundError, ContainsArrayError."""
        place, path = open_store(store)
        metadata = read_group(place, path, zarr_format, use_consolidated=use_consolidated)
        if metadata is None:
            raise not_found(place, path, "group", zarr_format)
        return cls(place, path, metadata, **handle)

    @classmethod
    def from_store(
        cls,
        store: Any,
        *,
        attributes: Mapping[str, Any] | None = None,
        zarr_format: int = 3,
        overwrite: bool = False,
        **handle: Any,
    ) -> Self:
        """A new group at a store or a StorePath."""
        place, path = open_store(store)
        return cls._make(place, path, attributes, zarr_format, overwrite=overwrite, **handle)

    @classmethod
    def _make(
        cls,
        store: Store,
        path: str,
        attributes: Mapping[str, Any] | None,
        zarr_format: int,
        *,
        overwrite: bool = False,
        **handle: Any,
    ) -> Self:
        if zarr_format not in (2, 3):
            raise MetadataError(f"zarr_format must be 2 or 3, got {zarr_format!r}")
        metadata = GroupMetadata(zarr_format=zarr_format, attributes=as_json(attributes or {}))  # type: ignore[arg-type]
        make_node(store, path, metadata, overwrite=overwrite)
        return cls(store, path, metadata, **handle)

    # ---- what it is

    @property
    def attrs(self) -> Attributes:
        """The user's attributes; a mutable mapping, written at every change."""
        return Attributes(lambda: self.metadata.attributes, self._change_attributes)

    def _change_attributes(self, change: Change) -> None:
        self._check_writable("change the attributes of")
        self.metadata = change_attributes(self.store, self.path, self.metadata, change)

    def update_attributes(self, new_attributes: Mapping[str, Any]) -> Self:
        """Add to the attributes, in one write; returns this group."""
        self.attrs.update(new_attributes)
        return self

    @property
    def info(self) -> GroupInfo:
        """A summary that prints well; reads nothing."""
        return self._info()

    def info_complete(self) -> GroupInfo:
        """The summary with the numbers of members at all depths; reads all their metadata."""
        kinds = [isinstance(node, ArrayMetadata) for _, node in self._descendants(None)]
        return self._info(count_members=len(kinds), count_arrays=sum(kinds), count_groups=len(kinds) - sum(kinds))

    def _info(self, **counts: int) -> GroupInfo:
        return GroupInfo(
            name=self.path,
            zarr_format=self.metadata.zarr_format,
            read_only=self.read_only,
            store_type=type(self.store).__name__,
            **counts,
        )

    # ---- making and removing members

    def create_group(self, name: str, *, overwrite: bool = False, attributes: Mapping[str, Any] | None = None) -> Group:
        """A new group below this one, with the groups between. ContainsArrayError, ContainsGroupError."""
        path = self._place(name)
        form = self.metadata.zarr_format
        made = self._make(self.store, path, attributes, form, overwrite=overwrite, **self._handle)
        self._note(made)
        return made

    def require_group(self, name: str, overwrite: bool = False, **more: Any) -> Group:
        """The group called `name`, made where it is not there. TypeError where an array is."""
        found: Array | Group | None = None if overwrite else self.get(name)
        if isinstance(found, Array):
            raise TypeError(f"{found.name!r} is an array, so it cannot be required as a group")
        return self.create_group(name, overwrite=overwrite, **more) if found is None else found

    def require_groups(self, *names: str) -> tuple[Group, ...]:
        """`require_group` for several names."""
        return tuple(self.require_group(name) for name in names)

    def create_array(self, name: str, **arguments: Any) -> Array:
        """A new array below this group; arguments as of `gpuzarr.create_array`."""
        automatic = {"compressor", "compressors"}.isdisjoint(k for k, v in arguments.items() if not _is_auto(v))
        if automatic and self.metadata.zarr_format == 2:
            arguments["compressors"] = {"id": "blosc"}  # as zarr-python's groups do, unlike its create_array
        return self._new(create_array, name, arguments)

    create = create_array

    def create_dataset(self, name: str, *, data: Any = None, **arguments: Any) -> Array:
        """`create_array` with the arguments of zarr-python 2."""
        if data is None:
            return self._new(create, name, arguments)
        arguments.pop("shape", None)
        return self.array(name, data, **arguments)

    def array(self, name: str, data: Any, **arguments: Any) -> Array:
        """A new array with this data; arguments as of `gpuzarr.create`."""
        return self._new(create_like, name, {"data": data, **arguments})

    def require_array(
        self,
        name: str,
        *,
        shape: Any,
        dtype: Any = None,
        exact: bool = False,
        config: Mapping[str, Any] | ArrayConfig | None = None,
        **arguments: Any,
    ) -> Array:
        """The array called `name`, made where it is not there.

        TypeError where what is there is a group, or has another shape, or a data type that cannot be cast to
        `dtype` safely (with `exact`: another data type).
        """
        found = self.get(name)
        if found is None:
            return self.create_array(name, shape=shape, dtype=dtype, config=config, **arguments)
        if isinstance(found, Group):
            raise TypeError(f"{found.name!r} is a group, so it cannot be required as an array")
        wanted = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        if found.shape != wanted:
            raise TypeError(f"{found.name!r} is there with shape {found.shape}, not {wanted}")
        expected = parse_dtype(dtype, self.metadata.zarr_format).numpy
        if found.dtype != expected if exact else not np.can_cast(found.dtype, expected):
            raise TypeError(f"{found.name!r} is there with data type {found.dtype}, not {expected}")
        return found if config is None else found.with_config(config)  # type: ignore[no-any-return]

    require_dataset = require_array

    def empty(self, name: str, shape: Any, **arguments: Any) -> Array:
        """A new array whose values are not said."""
        return self._new(create, name, {"shape": shape, **arguments})

    def zeros(self, name: str, shape: Any, **arguments: Any) -> Array:
        """A new array of zeros."""
        return self._new(create, name, {"shape": shape, "fill_value": 0, **arguments})

    def ones(self, name: str, shape: Any, **arguments: Any) -> Array:
        """A new array of ones."""
        return self._new(create, name, {"shape": shape, "fill_value": 1, **arguments})

    def full(self, name: str, shape: Any, fill_value: Any, **arguments: Any) -> Array:
        """A new array of `fill_value`."""
        return self._new(create, name, {"shape": shape, "fill_value": fill_value, **arguments})

    def empty_like(self, name: str, data: Any, **arguments: Any) -> Array:
        """A new array of the shape, data type and chunks of `data`, whose values are not said."""
        return self._new(create_like, name, {"data": data, "write_data": False, **arguments})

    def zeros_like(self, name: str, data: Any, **arguments: Any) -> Array:
        """A new array of zeros like `data`."""
        return self.empty_like(name, data, **{"fill_value": 0, **arguments})

    def ones_like(self, name: str, data: Any, **arguments: Any) -> Array:
        """A new array of ones like `data`."""
        return self.empty_like(name, data, **{"fill_value": 1, **arguments})

    def full_like(self, name: str, data: Any, **arguments: Any) -> Array:
        """A new array of `fill_value` (which is of `data`, where none is given) like `data`."""
        return self.empty_like(name, data, **arguments)

    def create_hierarchy(
        self, nodes: Mapping[str, Node], *, overwrite: bool = False
    ) -> Iterator[tuple[str, Array | Group]]:
        """Make several nodes below this group, with the groups between; yields their paths and the nodes."""
        self._check_writable("make members of")
        for path, node in nodes.items():
            if not normalize_path(path):
                raise MetadataError("the root of the nodes is this group; give the nodes below it")
            if node.zarr_format != self.metadata.zarr_format:
                raise MetadataError(
                    f"the node {path!r} has Zarr format {node.zarr_format}, the group {self.metadata.zarr_format}"
                )
        full = {join(self.path, normalize_path(path)): node for path, node in nodes.items()}
        start = len(self.path) + 1 if self.path else 0
        for path, node in make_nodes(self.store, full, overwrite=overwrite):
            if path != self.path and not self.path.startswith(f"{path}/") and path:
                made = self._open(path[start:], node)
                self._note(made)
                yield path[start:], made

    def __setitem__(self, name: str, value: Any) -> None:
        data = value if hasattr(value, "shape") and hasattr(value, "dtype") else np.asarray(value)
        self._new(from_array, name, {"data": data, "overwrite": True})

    def __delitem__(self, name: str) -> None:
        self._check_writable("delete from")
        path = normalize_path(name)
        if not path or self._find(path) is None:
            raise KeyError(name)
        self._forget(path)  # first: readers of consolidated metadata would take a deleted array for one of fill values
        delete_node(self.store, join(self.path, path))

    def move(self, source: str, dest: str) -> None:
        """Rename a member and everything below it; `dest` is relative to this group. KeyError,
        ContainsArrayError, ContainsGroupError."""
        self._check_writable("move members of")
        old, new = normalize_path(source), normalize_path(dest)
        move_node(self.store, join(self.path, old), join(self.path, new))
        known = self.metadata.consolidated
        if known is not None:
            moved = {new + path[len(old) :]: node for path, node in known.items() if f"{path}/".startswith(f"{old}/")}
            self.metadata = self.metadata.with_consolidated({**known, **moved})
        self._forget(old)

    def _place(self, name: str) -> str:
        self._check_writable("make members of")
        path = normalize_path(name)
        if not path:
            raise MetadataError(f"a member needs a name, got {name!r}")
        return join(self.path, path)

    def _new(self, make: Callable[..., Array], name: str, arguments: dict[str, Any]) -> Array:
        path = self._place(name)
        form = arguments.pop("zarr_format", None)
        if form not in (None, self.metadata.zarr_format):
            raise ValueError(f"a Zarr format {self.metadata.zarr_format} group has no members of format {form}")
        arguments.pop("storage_options", None)
        given = {name: arguments.pop(name, None) for name in HANDLE}
        handle = {name: value for name, value in given.items() if value is not None}
        made = make(
            self.store, path, zarr_format=self.metadata.zarr_format, handle={**self._handle, **handle}, **arguments
        )
        self._note(made)
        return made

    def _note(self, made: Array | Group) -> None:
        """Let this handle's copy of consolidated metadata know a new member too."""
        known = self.metadata.consolidated
        if known is not None:
            start = len(self.path) + 1 if self.path else 0
            path = made.path[start:]
            above = {group: GroupMetadata(self.metadata.zarr_format) for group in parents(path)[1:]}
            self.metadata = self.metadata.with_consolidated({**above, **known, path: made.metadata})

    def _forget(self, path: str) -> None:
        known = self.metadata.consolidated
        if known is not None:
            left = {name: node for name, node in known.items() if not f"{name}/".startswith(f"{path}/")}
            with changing(self.store, self.path, self.metadata) as (now, replace_by):
                replace_by(now.with_consolidated(left))
            self.metadata = self.metadata.with_consolidated(left)

    def _check_writable(self, what: str) -> None:
        if self.read_only:
            raise ReadOnlyError(f"cannot {what} {self!r}: it was opened read-only")

    # ---- Python's protocols

    def __repr__(self) -> str:
        return f"<Group {self.store_path}>"

    def _handle_token(self) -> tuple[object, ...]:
        return (self.device.name, self._handle.get("chunk_store"))

    def _repr_html_(self) -> str:
        return str(
            import_module("gpuzarr.notebook").group_html(self.metadata, str(self.store_path), self._descendants(0))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        handle = dict(self._handle)
        if "device" in handle:
            handle["device"] = handle["device"].name
        return (_rebuild, (type(self), self.store, self.path, self.metadata, handle))


def _rebuild(kind: type[Group], store: Store, path: str, metadata: GroupMetadata, handle: dict[str, Any]) -> Group:
    return kind(store, path, metadata, **handle)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
