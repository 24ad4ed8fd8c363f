"""Stores: where the bytes lie. `contract.py` says what a store is; each other file is one kind of store."""

from gpuzarr.storage.adapters import MappingStore, ZarrPythonStore
from gpuzarr.storage.contract import Pieces, Span, Store
from gpuzarr.storage.fsspec import FsspecStore
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.memory import ManagedMemoryStore, MemoryStore
from gpuzarr.storage.resolve import StorePath, open_store
from gpuzarr.storage.wrappers import CountingStore, LoggingStore, ReadOnlyStore, WrapperStore
from gpuzarr.storage.zip import ZipStore

__all__ = [
    "CountingStore",
    "FsspecStore",
    "LocalStore",
    "LoggingStore",
    "ManagedMemoryStore",
    "MappingStore",
    "MemoryStore",
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
