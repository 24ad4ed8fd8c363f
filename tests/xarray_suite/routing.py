"""xarray's own tests, sent our way: whatever they write and open by xarray and zarr-python is done by gpuzarr.

`zarr` in xarray's test modules is `gpuzarr`; `to_zarr` of datasets, arrays and trees is ours, `engine="zarr"` too.
xarray's own Zarr store and zarr-python's groups and arrays refuse to be made meanwhile.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import xarray as xr
from xarray.backends.common import BACKEND_ENTRYPOINTS

import gpuzarr
from gpuzarr.xarray import GpuzarrBackendEntrypoint, GpuzarrStore, backend, to_zarr
from gpuzarr.xarray.reading import StoredVariable


class AsyncReads:
    """What xarray's tests watch in the place of zarr-python's asyncio classes: our asynchronous reads."""

    getitem = StoredVariable.async_getitem


class Zarr:
    """`gpuzarr`, with what xarray's tests want of zarr-python's asyncio."""

    AsyncArray = AsyncOIndex = AsyncVIndex = AsyncReads

    class config:
        """Options, and the attribute by which the tests look at one."""

        set, get = gpuzarr.config.set, gpuzarr.config.get

        class config:
            def __class_getitem__(cls, key: str) -> Any:
                return gpuzarr.config.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(gpuzarr, name)


NOT_OURS = {
    "xarray.backends.zarr": ("ZarrStore", "ZarrArrayWrapper"),
    "zarr.core.group": ("AsyncGroup", "Group"),
    "zarr.core.array": ("AsyncArray", "Array"),
}


def route(monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
    """Send the tests in these modules our way, until `monkeypatch` is undone."""
    for module in modules:
        for name, ours in {
            "zarr": Zarr(),
            "import_module": lambda _: Zarr(),
            "ZarrStore": GpuzarrStore,
        }.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, ours)
    for kind in (xr.Dataset, xr.DataArray, xr.DataTree):
        monkeypatch.setattr(kind, "to_zarr", lambda self, *args, **more: to_zarr(self, *args, **more))
    monkeypatch.setattr(StoredVariable, "async_getitem", lambda self, key: AsyncReads.getitem(self, key))
    monkeypatch.setattr(xr.backends, "ZarrStore", GpuzarrStore)
    monkeypatch.setitem(BACKEND_ENTRYPOINTS, "zarr", (None, GpuzarrBackendEntrypoint))
    monkeypatch.setattr(backend, "find_spec", lambda _: None)  # zarr-python is not there, so paths are taken
    for place, names in NOT_OURS.items():
        for name in names:
            kind = getattr(import_module(place), name)  # before `ZarrStore` was replaced elsewhere: the class itself
            monkeypatch.setattr(kind, "__init__", _refuse(name))


def _refuse(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{name} took part in a test that is to run by gpuzarr")

    return refuse
