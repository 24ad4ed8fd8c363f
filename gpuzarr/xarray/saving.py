"""`to_zarr`: a Dataset, a DataArray or a DataTree into a store."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from importlib import import_module
from typing import Any

from xarray import DataArray, Dataset, DataTree
from xarray.backends.common import ArrayWriter
from xarray.conventions import encode_dataset_coordinates
from xarray.namedarray.pycompat import is_chunked_array

from gpuzarr.dask import refuse_own_source
from gpuzarr.opening import place_of
from gpuzarr.storage.contract import Store
from gpuzarr.storage.memory import MemoryStore
from gpuzarr.xarray.datastore import GpuzarrStore
from gpuzarr.xarray.region import resolved
from gpuzarr.xarray.writing import Plan, refuse_names

ARRAY = "__xarray_dataarray_variable__"  # what xarray calls the variable of an array that has no name of its own,
NAME = "__xarray_dataarray_name__"  # and the attribute that says the name that it could not have
MODES = ("w", "w-", "a", "a-", "r+")


def to_zarr(
    data: Dataset | DataArray | DataTree,
    store: Any = None,
    mode: str | None = None,
    group: str | None = None,
    encoding: Mapping[Any, Any] | None = None,
    *,
    compute: bool = True,
    consolidated: bool | None = None,
    append_dim: Hashable | None = None,
    region: Any = None,
    safe_chunks: bool = True,
    align_chunks: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    zarr_format: int | None = None,
    write_empty_chunks: bool | None = None,
    chunkmanager_store_kwargs: dict[str, Any] | None = None,
    write_inherited_coords: bool = False,
) -> Any:
    """Write a dataset, an array or a tree; arguments as of xarray's own `to_zarr`, with the same outcome.

    `store` is whatever `gpuzarr.open_group` takes. `mode`: "w" replaces what is there, "w-" (the default) refuses to,
    "a" adds variables and overwrites stored ones, "a-" with an `append_dim` leaves those alone that do not have it,
    "r+" (the default with a `region`) changes values only. `append_dim` lets stored arrays grow along a dimension;
    `region` (a slice for each dimension, "auto" for one or all) writes into a part of them. `encoding` says, for each
    variable (of a tree: for each group, for each variable), how it is stored. Values on a GPU are brought down.

    Returns the data store, or with `compute=False` a dask Delayed that writes the values of dask's arrays; all else is
    written at once. Consolidated metadata are written last, when the values are there, unless `consolidated=False`.
    Raises ChunkAlignmentError where dask would write two parts of one chunk (or shard) at the same time, unless
    `safe_chunks=False`; `align_chunks` merges dask's chunks until they fit.
    """
    mode = _mode(mode, append_dim, region, tree=isinstance(data, DataTree))
    if isinstance(data, DataTree) and (group is not None or append_dim is not None):
        raise ValueError("a tree is written into the root of a store, and not behind what is there")
    if write_inherited_coords and not isinstance(data, DataTree):
        raise TypeError("write_inherited_coords is for trees")
    datasets = list(_datasets(data, encoding or {}, inherit=write_inherited_coords))
    how: dict[str, Any] = {
        "mode": mode,
        "zarr_format": zarr_format,
        "append_dim": append_dim,
        "safe_chunks": safe_chunks,
        "align_chunks": align_chunks,
        "write_empty": write_empty_chunks,
    }
    plans = []
    if mode in ("w", "w-"):  # opening deletes what is there, or makes a group: plan before, on a blank one
        blank = GpuzarrStore.open_group(MemoryStore(), **how)
        plans = [_plan(dataset, blank, region, its_encoding) for _, dataset, its_encoding in datasets]
    if mode == "w":
        _refuse_own_source(plans, store, group, storage_options)
    root = GpuzarrStore.open_group(
        store,
        group=group,
        consolidated=consolidated if mode == "r+" else False,
        consolidate_on_close=mode != "r+" and consolidated is not False,
        storage_options=storage_options,
        **how,
    )
    return _written(root, datasets, plans, region, compute, chunkmanager_store_kwargs)


def _written(
    root: GpuzarrStore,
    datasets: list[Any],
    plans: list[Plan],
    region: Any,
    compute: bool,
    options: dict[str, Any] | None,
) -> Any:
    """Write datasets, as it was planned or is planned now; what `to_zarr` returns."""
    writer = ArrayWriter()
    try:
        stores = [root if path in (".", "/") else root.get_child_store(path) for path, _, _ in datasets]
        if not plans:
            plans = [_plan(dataset, at, region, its) for at, (_, dataset, its) in zip(stores, datasets, strict=True)]
        for at, plan in zip(stores, plans, strict=True):
            at.carry_out(plan, writer)
        if not compute:
            root.consolidate()
        writes = writer.sync(compute=compute, chunkmanager_store_kwargs=options)
        if compute:
            root.consolidate()
    except BaseException:
        for target in writer.targets:
            target.end()  # dask leaves other tasks running, which write to what is closed here
        root.close()
        raise
    if compute:
        root.close()
        return root
    return import_module("dask").delayed(_closed)(writes, root.zarr_group.store if root.owned else None)


def _refuse_own_source(plans: list[Plan], store: Any, group: str | None, options: Mapping[str, Any] | None) -> None:
    """ValueError where dask would read what is replaced; values that are in memory may come from there."""
    lazily = [step.data for plan in plans for step in plan.steps.values() if is_chunked_array(step.data)]
    lazily = [data for data in lazily if hasattr(data, "dask")]
    if lazily:
        place, path = place_of(store, group, mode="w", storage_options=options)
        for data in lazily:
            refuse_own_source(data, place, path)


def _closed(_: Any, store: Store | None) -> None:
    if store is not None:
        store.close()


def _mode(mode: str | None, append_dim: Hashable | None, region: Any, *, tree: bool) -> str:
    if mode is None:
        mode = "a" if append_dim is not None else "r+" if region is not None else "w-"
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if append_dim is not None and mode not in ("a", "a-"):
        raise ValueError(f"cannot set append_dim unless mode='a', mode='a-' or mode=None, got {mode!r}")
    if region is not None and mode not in ("a", "a-", "r+"):
        raise ValueError(f"cannot set region unless mode='a', mode='a-', mode='r+' or mode=None, got {mode!r}")
    return mode


def _datasets(data: Any, encoding: Mapping[Any, Any], *, inherit: bool) -> Iterator[tuple[str, Dataset, Any]]:
    """Path, dataset and encoding of each group that is to be written."""
    if isinstance(data, DataTree):
        unknown = set(encoding) - set(data.groups)
        if unknown:
            raise ValueError(f"unexpected encoding group name(s) provided: {sorted(unknown)}")
        for path, node in data.subtree_with_keys:
            dataset = node.to_dataset(inherit=inherit or node is data)
            yield path, dataset, encoding.get(node.path, {})
        return
    yield ".", _as_dataset(data) if isinstance(data, DataArray) else data, encoding


def _as_dataset(array: DataArray) -> Dataset:
    if array.name is None:
        return array.to_dataset(name=ARRAY)
    if array.name in array.coords or array.name in array.dims:
        return array.to_dataset(name=ARRAY).assign_attrs({NAME: array.name})
    return array.to_dataset()


def _plan(dataset: Dataset, store: GpuzarrStore, region: Any, encoding: Mapping[Any, Any]) -> Plan:
    """How to write a dataset to a store."""
    refuse_names(dataset.variables)
    writing = store.writing
    if region is not None:

        def values_of(dim: Hashable) -> Any:
            return store.decoded([str(dim)])[dim].values

        store.in_region(resolved(region, dataset, values_of, mode=writing.mode, append_dim=writing.append_dim))
        dataset = dataset.drop_vars(dataset.indexes)  # a region has the indexes that are stored
    stored = [name for name in store.array_keys() if name in encoding]
    if stored and writing.mode in ("a", "a-", "r+"):
        raise ValueError(f"variable {stored[0]!r} already exists, but encoding was provided for it")
    variables, attributes = encode_dataset_coordinates(dataset)
    missing = [name for name in encoding if name not in variables]
    if missing:
        raise KeyError(f"encoding was given for {missing!r}, but there are {list(variables)}")
    for name, its_encoding in encoding.items():
        variables[name] = variables[name].copy(deep=False)
        variables[name].encoding = its_encoding
    return store.plan(variables, attributes, set(encoding))
