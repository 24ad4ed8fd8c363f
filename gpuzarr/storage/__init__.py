"""Stores: where the bytes lie. `contract.py` says what a store is; each other file is one kind of store."""

from gpuzarr.storage.contract import Pieces, Span, Store
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.memory import ManagedMemoryStore, MemoryStore

__all__ = ["LocalStore", "ManagedMemoryStore", "MemoryStore", "Pieces", "Span", "Store"]
