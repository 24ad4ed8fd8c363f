"""A group in a store as xarray's data store: what `open_dataset` reads from and `to_zarr` writes to."""

from __future__ import annotations

import os
import warnings
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

from xarray import Variable
from xarray.backends import AbstractDataStore
from xarray.backends.common import ArrayWriter
from xarray.conventions import decode_cf_variables

from gpuzarr.api import consolidate_metadata, open_group
from gpuzarr.array import Array
from gpuzarr.errors import ZarrRuntimeWarning
from gpuzarr.group import Group
from gpuzarr.storage.resolve import StorePath
from gpuzarr.xarray.reading import dimensions_of, variable_of
from gpuzarr.xarray.writing import Plan, Step, Writing, existing_step, new_step, plain_attributes

UNNAMED = "__values__"  # what xarray calls the array of a variable without a name


class GpuzarrStore(AbstractDataStore):
    """The variables and attributes of one group.

    Made by `open_group` or `open_groups`. `members` are read once, where `cache_members`; arrays that are made later,
    by others or by this store, are not among them then. Closing closes a store that was given by its path or URL.
    """

    def __init__(
        self,
        group: Group,
        writing: Writing | None = None,
        *,
        root: str = "",
        consolidate: bool = False,
        fill_is_mask: bool | None = None,
        cache_members: bool = True,
        owned: bool = False,
    ) -> None:
        self.zarr_group = group
        self.writing = writing or Writing()
        self._root, self._consolidate, self.owned = root, consolidate, owned
        # In format 2 the fill value has always been the one of CF; in format 3 an attribute says that one.
        self._fill_is_mask = group.metadata.zarr_format == 2 if fill_is_mask is None else fill_is_mask
        self._cache_members = cache_members
        self._members = dict(group.members()) if cache_members else {}

    @classmethod
    def open_group(cls, store: Any, *, group: str | None = None, **arguments: Any) -> Self:
        """The group `group` of a store. Arguments as of `open_groups`."""
        return next(cls._opened(store, group, deep=False, **arguments))[1]

    @classmethod
    def open_groups(cls, store: Any, *, group: str | None = None, **arguments: Any) -> dict[str, Self]:
        """The group and all below it, by paths from the root that begin with a slash.

        `mode`, `zarr_format` and `storage_options` are as of `gpuzarr.open_group`. `consolidated`: None takes
        consolidated metadata where they are, and warns where they are not; True needs them, False passes them by.
        `use_zarr_fill_value_as_mask` is by default so for format 2 only. `device`: where arrays are read to. The rest
        says how to write: see `to_zarr`. Raises GroupNotFoundError, ContainsArrayError.
        """
        return dict(cls._opened(store, group, deep=True, **arguments))

    @classmethod
    def _opened(
        cls,
        store: Any,
        group: str | None,
        *,
        deep: bool,
        mode: str = "r",
        consolidated: bool | None = False,
        consolidate_on_close: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        zarr_format: int | None = None,
        use_zarr_fill_value_as_mask: bool | None = None,
        cache_members: bool = True,
        **writing: Any,
    ) -> Iterator[tuple[str, Self]]:
        if not getattr(store, "supports_consolidated_metadata", True):
            consolidated = consolidate_on_close = False
        how: dict[str, Any] = {
            "mode": "a" if mode == "a-" else mode,
            "storage_options": storage_options,
            "zarr_format": zarr_format,
            "device": "cpu",
        }
        inside = (group or "").strip("/")
        opened = _consolidated(store, inside, consolidated, how) if consolidated is not False else None
        if opened is None:
            opened = open_group(store, path=inside, use_consolidated=False, **how)
        root = opened.path.removesuffix(inside).rstrip("/")
        for path, found in _walk(f"/{inside}", opened) if deep else [(f"/{inside}", opened)]:
            yield (
                path,
                cls(
                    found,
                    Writing(mode, **writing),
                    root=root,
                    consolidate=consolidate_on_close,
                    fill_is_mask=use_zarr_fill_value_as_mask,
                    cache_members=cache_members,
                    owned=isinstance(store, str | os.PathLike),
                ),
            )

    def get_child_store(self, group: str) -> GpuzarrStore:
        """The group below this one, made where it is not there, written to in the same way."""
        return type(self)(
            self.zarr_group.require_group(group),
            self.writing,
            root=self._root,
            fill_is_mask=self._fill_is_mask,
            cache_members=self._cache_members,
        )

    # ---- reading

    @property
    def ds(self) -> Group:
        """The group; the name that xarray's data stores have for it."""
        return self.zarr_group

    @property
    def members(self) -> dict[str, Array | Group]:
        """Direct members of the group."""
        return self._members if self._cache_members else dict(self.zarr_group.members())

    def arrays(self) -> tuple[tuple[str, Array], ...]:
        """Names and arrays."""
        return tuple((name, node) for name, node in self.members.items() if isinstance(node, Array))

    def array_keys(self) -> tuple[str, ...]:
        """Names of arrays."""
        return tuple(name for name, _ in self.arrays())

    def open_store_variable(self, name: str) -> Variable:
        """An array as a variable, lazily and as it is stored."""
        array = self.members[name]
        assert isinstance(array, Array)
        return variable_of(array, fill_is_mask=self._fill_is_mask)

    def get_variables(self) -> dict[str, Variable]:
        """All arrays as variables."""
        return {name: self.open_store_variable(name) for name in self.array_keys()}

    def get_attrs(self) -> dict[str, Any]:
        """The group's attributes, without those of NetCDF's C library."""
        attributes = self.zarr_group.attrs.asdict()
        return {key: value for key, value in attributes.items() if not key.lower().startswith("_nc")}

    def get_dimensions(self) -> dict[str, int]:
        """Lengths of all dimensions. ValueError where arrays disagree."""
        found: dict[str, int] = {}
        for name, array in self.arrays():
            for dim, size in zip(dimensions_of(array)[0], array.shape, strict=True):
                if found.setdefault(dim, size) != size:
                    raise ValueError(f"dimension {dim!r} has length {size} in {name!r}, but {found[dim]} elsewhere")
        return found

    def decoded(self, names: list[str]) -> dict[Hashable, Variable]:
        """Stored variables, decoded lazily."""
        found, _, _ = decode_cf_variables({name: self.open_store_variable(name) for name in names}, {})
        return dict(found)

    # ---- writing

    def store(
        self,
        variables: Mapping[Hashable, Variable],
        attributes: Mapping[Any, Any],
        check_encoding_set: Any = frozenset(),
        writer: ArrayWriter | None = None,
        unlimited_dims: Any = None,
    ) -> None:
        """Write variables and attributes; `writer` takes what is to be computed (dask's arrays) along."""
        if unlimited_dims:
            raise ValueError(f"Zarr's arrays can all be resized; they have no unlimited dimensions ({unlimited_dims})")
        self.carry_out(self.plan(variables, attributes, check_encoding_set), writer or ArrayWriter())

    def plan(self, variables: Mapping[Hashable, Variable], attributes: Mapping[Any, Any], strict: Any) -> Plan:
        """How to write variables and attributes; nothing is changed yet. Variables in `strict` have encodings that were
        given for this store, which must be understood completely. Raises ValueError, TypeError and their kin for what
        cannot be written."""
        writing = self.writing
        named = {UNNAMED if name is None else str(name): (name, variable) for name, variable in variables.items()}
        there = {} if writing.mode == "w" else dict(self.arrays())
        new = {name: variable for name, (_, variable) in named.items() if name not in there}
        if writing.mode == "r+" and new:
            raise ValueError(
                f"dataset contains non-pre-existing variables {list(new)!r}; mode 'r+' changes stored ones, 'a' adds"
                " new ones"
            )
        self._check_append_dim(there, new)
        steps = self._steps(named, there, strict)
        if writing.mode == "a-" and writing.append_dim is not None:
            untouched = [n for n in there if n in named and writing.append_dim not in named[n][1].dims]
            steps = {name: step for name, step in steps.items() if name not in untouched}
        return Plan(None if writing.mode == "r+" else plain_attributes(attributes), steps)

    def _steps(self, named: Mapping[str, Any], there: Mapping[str, Array], strict: Any) -> dict[str, Step]:
        """What is to be done for each variable; nothing is done yet."""
        stored = self.decoded([name for name in named if name in there])
        form, mask = self.zarr_group.metadata.zarr_format, self._fill_is_mask
        steps = {}
        for name, (given, variable) in named.items():
            try:
                if name in there:
                    steps[name] = existing_step(name, variable, stored[name], there[name], self.writing)
                else:
                    steps[name] = new_step(
                        name, variable, form, self.writing, fill_is_mask=mask, strict=given in strict
                    )
            except Exception as error:
                error.add_note(f"while variable {name!r} was encoded")
                raise
        return steps

    def carry_out(self, plan: Plan, writer: ArrayWriter) -> None:
        """Write what is in memory, and hand dask's arrays to `writer`."""
        if plan.attributes is not None:
            self.zarr_group.attrs.put(plan.attributes)
        self.set_variables(plan.steps, writer)

    def set_variables(self, steps: Mapping[str, Step], writer: ArrayWriter) -> None:
        """The same for variables."""
        for name, step in steps.items():
            step.write(self.zarr_group, name, writer)

    def _check_append_dim(self, there: Mapping[str, Array], new: Mapping[str, Variable]) -> None:
        dim = self.writing.append_dim
        if dim is None:
            return
        found = self.get_dimensions()
        if dim not in found:
            raise ValueError(f"append_dim={dim!r} does not match any existing dataset dimensions, {found}")
        late = [name for name, variable in new.items() if dim in variable.dims]
        if late and found[dim]:
            raise ValueError(
                f"variables {late!r} are not stored yet, so there is nothing of them before index {found[dim]} of"
                f" {dim!r}, where this would be appended"
            )

    def in_region(self, region: Mapping[Hashable, slice]) -> None:
        """Write what comes into this region."""
        self.writing = replace(self.writing, region=region)

    def consolidate(self) -> None:
        """Write consolidated metadata into the root of the store, where this store was opened to do so."""
        if self._consolidate:
            place = StorePath(self.zarr_group.store, self._root)
            consolidate_metadata(place, zarr_format=self.zarr_group.metadata.zarr_format)

    def close(self) -> None:
        """Close the store, where it was opened here."""
        if self.owned:
            self.zarr_group.store.close()


def _consolidated(store: Any, inside: str, needed: bool | None, how: dict[str, Any]) -> Group | None:
    """The group as the root's consolidated metadata have it; None, and a warning, where the root has none."""
    root = open_group(store, use_consolidated=needed, **how)
    if root.metadata.consolidated is not None:
        return root.get_group(inside) if inside else root
    warnings.warn(
        f"Failed to open Zarr store with consolidated metadata: {root!r} has none, so that those of every array are"
        " read, which takes a request for each. Write some with gpuzarr.consolidate_metadata(), or say consolidated="
        "False (or True, to make this an error)",
        ZarrRuntimeWarning,
        stacklevel=5,
    )
    return None


def _walk(path: str, group: Group) -> Iterator[tuple[str, Group]]:
    yield path, group
    for name, member in group.members(max_depth=None):
        if isinstance(member, Group):
            yield f"{path.rstrip('/')}/{name}", member
