"""The engine "gpuzarr" of `xr.open_dataset`, `open_mfdataset`, `open_datatree`, ...

https://docs.xarray.dev/en/stable/internals/how-to-add-new-backend.html
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import xarray
from xarray import Dataset, DataTree
from xarray.backends import BackendEntrypoint, StoreBackendEntrypoint

from gpuzarr.devices import Device, get_device
from gpuzarr.xarray.datastore import UNNAMED, GpuzarrStore
from gpuzarr.xarray.on_device import in_dask, on_device

PLACE = ("mode", "consolidated", "storage_options", "zarr_format", "use_zarr_fill_value_as_mask", "cache_members")


class GpuzarrBackendEntrypoint(BackendEntrypoint):
    """Zarr stores through gpuzarr: whatever `gpuzarr.open_group` takes.

    Beside xarray's arguments for decoding, `open_dataset` takes `group`, `mode` ("r"), `consolidated` (None: where they
    are), `storage_options`, `zarr_format`, `use_zarr_fill_value_as_mask` (None: in format 2), `cache_members`, and
    `device`, by default the one that `with gpuzarr.device(...)` or the option says. Paths that end in `.zarr` are
    opened without `engine=` only where zarr-python, and so xarray's own engine for them, is not installed.
    """

    description = "Open Zarr stores (.zarr) by gpuzarr, on the CPU or a GPU"
    supports_groups = True
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "mask_and_scale", "decode_times", "concat_characters", "decode_coords",
        "use_cftime", "decode_timedelta", "group", "device", *PLACE,
    )  # fmt: skip

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this looks like a Zarr store, and no other engine is there for it."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return os.fspath(filename_or_obj).rstrip("/").endswith(".zarr") and find_spec("zarr") is None

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        group: str | None = None,
        device: str | Device | None = None,
        mode: str = "r",
        consolidated: bool | None = None,
        **arguments: Any,
    ) -> Dataset:
        """A group's arrays as a lazy dataset. Raises GroupNotFoundError, ContainsArrayError, DimensionNamesError."""
        place, decoders = _sorted(arguments, mode=mode, consolidated=consolidated)
        store = GpuzarrStore.open_group(_expanded(filename_or_obj), group=group, **place)
        return _dataset(store, get_device(device), decoders)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        group: str | None = None,
        device: str | Device | None = None,
        mode: str = "r",
        consolidated: bool | None = None,
        **arguments: Any,
    ) -> dict[str, Dataset]:
        """The group and all below it as datasets, by paths from that group."""
        place, decoders = _sorted(arguments, mode=mode, consolidated=consolidated)
        stores = GpuzarrStore.open_groups(_expanded(filename_or_obj), group=group, **place)
        start = len((group or "").strip("/"))
        on = get_device(device)
        return {
            path[start + 1 if start else 0 :] or "/": _dataset(found, on, decoders) for path, found in stores.items()
        }

    def open_datatree(self, filename_or_obj: Any, **arguments: Any) -> DataTree:
        """The group and all below it as a tree. ValueError where dimensions of groups do not fit each other."""
        datasets = self.open_groups_as_dict(filename_or_obj, **arguments)
        try:
            tree = DataTree.from_dict(datasets)
        except ValueError:
            for dataset in datasets.values():
                dataset.close()
            raise
        for path, dataset in datasets.items():
            tree[path].set_close(dataset.close)
        return tree


def open_zarr(store: Any, *, chunks: Any = None, **arguments: Any) -> Dataset:
    """`xr.open_dataset` by this engine. Unlike xarray's function of this name it does not ask for dask by itself:
    `chunks={}` does, in the chunks (or shards) that are stored. And it has dask's arrays on a GPU, where xarray's
    function would fail when they are computed."""
    on_host = get_device(arguments.get("device")).kind == "cpu"
    how = {"engine": GpuzarrBackendEntrypoint, "chunks": chunks if on_host else None, **arguments}
    dataset = xarray.open_dataset(store, **how)
    return dataset if on_host or chunks is None else in_dask(dataset, chunks)


def _expanded(place: Any) -> Any:
    return os.path.expanduser(place) if isinstance(place, str) and place.startswith("~") else place


def _sorted(arguments: dict[str, Any], **place: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that say what is opened, and those that say how it is decoded."""
    place |= {name: arguments.pop(name) for name in PLACE if name in arguments}
    return place, arguments


def _dataset(store: GpuzarrStore, device: Device, decoders: dict[str, Any]) -> Dataset:
    try:
        dataset = StoreBackendEntrypoint().open_dataset(store, **decoders)
        if device.kind != "cpu":
            arrays = {None if name == UNNAMED else name: array for name, array in store.arrays()}
            dataset = on_device(dataset, arrays, device)
    except Exception:
        store.close()
        raise
    dataset.set_close(store.close)
    return dataset
