"""Stores: where the bytes lie. `contract.py` says what a store is; each other file is one kind of store.

The kinds that are not a directory or a dict are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpuzarr.storage.contract import Pieces, Span, Store
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.memory import ManagedMemoryStore, MemoryStore
from gpuzarr.storage.resolve import StorePath, open_store

if TYPE_CHECKING:
    from gpuzarr.storage.fsspec import FsspecStore
    from gpuzarr.storage.mapping import MappingStore
    from gpuzarr.storage.obstore import ObjectStore
    from gpuzarr.storage.wrappers import CountingStore, LoggingStore, ReadOnlyStore, WrapperStore
    from gpuzarr.storage.zarr_python import ZarrPythonStore
    from gpuzarr.storage.zip import ZipStore

_MODULES = {
    "CountingStore": "wrappers",
    "FsspecStore": "fsspec",
    "LoggingStore": "wrappers",
    "MappingStore": "mapping",
    "ObjectStore": "obstore",
    "ReadOnlyStore": "wrappers",
    "WrapperStore": "wrappers",
    "ZarrPythonStore": "zarr_python",
    "ZipStore": "zip",
}

__all__ = [
    "CountingStore",
    "FsspecStore",
    "LocalStore",
    "LoggingStore",
    "ManagedMemoryStore",
    "MappingStore",
    "MemoryStore",
    "ObjectStore",
    "Pieces",
    "ReadOnlyStore",
    "Span",
    "Store",
    "StorePath",
    "WrapperStore",
    "ZarrPythonStore",
    "ZipStore",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    if name in _MODULES.values():
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
