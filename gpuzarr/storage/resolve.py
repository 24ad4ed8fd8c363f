"""What a user may give as a store, and what becomes of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gpuzarr.errors import ReadOnlyError
from gpuzarr.storage.contract import Buffer, Store
from gpuzarr.storage.keys import validate_key, validate_prefix
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.memory import MemoryStore

MODES = ("r", "r+", "a", "w", "w-")
_LOCAL_PROTOCOLS = ("", "file", "local")


class StorePath:
    """A place in a store: `StorePath(store, "a") / "b"`."""

    __slots__ = ("path", "store")

    def __init__(self, store: Store, path: str = "") -> None:
        self.store = store
        self.path = validate_prefix(path)

    def __truediv__(self, other: str) -> StorePath:
        return StorePath(self.store, f"{self.path}/{other.strip('/')}")

    def __str__(self) -> str:
        return f"{self.store}/{self.path}".rstrip("/")

    def __repr__(self) -> str:
        return f"StorePath({self.store!r}, {self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and (self.store, self.path) == (other.store, other.path)

    def __hash__(self) -> int:
        return hash((self.store, self.path))

    @property
    def read_only(self) -> bool:
        """Whether the store refuses writes."""
        return self.store.read_only

    def overlaps(self, other: StorePath) -> bool:
        """Whether one of two places lies in the other, or they are the same, as far as stores and their URLs tell."""
        if self.store == other.store:
            return _nested(self.path, other.path)
        if not (self.store.shares_after_pickle and other.store.shares_after_pickle):
            return False
        return _nested(_real(str(self)), _real(str(other)))

    def get(self) -> Buffer | None:
        """The object here, or None."""
        return self.store.get(validate_key(self.path))

    def set(self, value: Buffer) -> None:
        """Put the object here."""
        self.store.set(validate_key(self.path), value)

    def delete(self) -> None:
        """Remove the object here."""
        self.store.delete(validate_key(self.path))

    def exists(self) -> bool:
        """Whether an object is here."""
        return self.store.exists(validate_key(self.path))


def _nested(one: str, other: str) -> bool:
    one, other = one and f"{one}/", other and f"{other}/"
    return one.startswith(other) or other.startswith(one)


def _real(url: str) -> str:
    """The URL; of what lies on this machine the path, whatever links lead there."""
    scheme, found, path = url.partition("://")
    return os.path.realpath(path) if found and scheme in ("file", "zip") else url


def open_store(
    value: Any, *, mode: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> tuple[Store, str]:
    """A store, and a path in it, for whatever a user may give:

    a path or a `file://` URL (a file `*.zip` is an archive), another URL, a mapping, a store or StorePath of ours or
    of zarr-python, an obstore store, an `FSMap`, an fsspec filesystem, a `UPath`, or None for a new MemoryStore.

    `mode` is zarr's: with "r" the store refuses writes. Nothing is made or deleted here. `storage_options` belong to
    a URL. Raises TypeError for anything else, ValueError for an unknown mode, ReadOnlyError where a mode that writes
    meets a store that does not.
    """
    if mode is not None and mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(map(repr, MODES))}, not {mode!r}")
    url = isinstance(value, str) and _protocol(value) not in _LOCAL_PROTOCOLS
    if storage_options and not url:
        raise TypeError(f"storage_options belong to a URL such as 's3://bucket/data.zarr'; the store is {value!r}")
    if url:
        return _kind("fsspec").FsspecStore.from_url(value, storage_options, read_only=mode == "r"), ""
    store, path = _from_object(value, mode)
    return _with_mode(store, mode), path


def _from_object(value: Any, mode: str | None) -> tuple[Store, str]:
    if value is None:
        return MemoryStore(), ""
    if isinstance(value, Store):
        return value, ""
    if isinstance(value, StorePath):
        return value.store, value.path
    if isinstance(value, str | Path):
        return _from_path(value, mode), ""
    if isinstance(value, dict):
        return MemoryStore(value), ""
    zarr_python, inner = _kind("zarr_python"), getattr(value, "store", None)
    if _kind("obstore").is_obstore(value):
        return _kind("obstore").ObjectStore(value), ""
    if zarr_python.is_zarr_python_store(value):
        return zarr_python.from_zarr_python(value), ""
    if isinstance(getattr(value, "path", None), str) and zarr_python.is_zarr_python_store(inner):
        return zarr_python.from_zarr_python(inner), validate_prefix(value.path)
    return _from_place(value, mode), ""


def _kind(module: str) -> Any:
    """A module of stores that most programs do not need."""
    return import_module(f"gpuzarr.storage.{module}")


def _from_place(value: Any, mode: str | None) -> Store:
    if hasattr(value, "fs") and hasattr(value, "protocol") and hasattr(value, "path"):  # UPath
        return _from_filesystem(value.fs, value.path)
    if hasattr(value, "fs") and hasattr(value, "root"):  # FSMap
        return _from_filesystem(value.fs, value.root)
    if isinstance(value, os.PathLike):
        return _from_path(value, mode)
    if isinstance(value, Mapping):
        return _kind("mapping").MappingStore(value)  # type: ignore[no-any-return]
    fsspec = sys.modules.get("fsspec")  # else nobody can have a filesystem of it
    if fsspec is not None and isinstance(value, fsspec.AbstractFileSystem):
        return _kind("fsspec").FsspecStore(value)  # type: ignore[no-any-return]
    raise TypeError(
        f"a store is a path, a URL, a mapping, a store object or None, not {type(value).__name__}: {value!r:.100}"
    )


def _from_filesystem(fs: Any, path: str) -> Store:
    # Ours replaces files atomically and locks them, which fsspec's local filesystem does not.
    module = _kind("fsspec")
    return LocalStore(path) if module.is_local(fs) else module.FsspecStore(fs, path=path)


def _from_path(value: Any, mode: str | None) -> Store:
    text = os.fspath(value)
    if isinstance(text, bytes):
        raise TypeError(f"a path is a str or os.PathLike of str, not bytes: {text!r:.100}")
    protocol = _protocol(text)
    path = Path(text.split("://", 1)[1] if protocol else text).expanduser()
    if path.suffix == ".zip" and not path.is_dir():
        archive: Store = _kind("zip").ZipStore(path, mode={"r": "r", "w": "w", "w-": "x"}.get(mode or "a", "a"))
        return archive
    return LocalStore(path)


def _protocol(text: str) -> str:
    """The scheme of a URL ("s3", or "simplecache::s3" where they are chained); "" for a path."""
    scheme, separator, _ = text.partition("://")
    return scheme if separator and "/" not in scheme else ""


def _with_mode(store: Store, mode: str | None) -> Store:
    if mode == "r" and not store.read_only:
        return store.with_read_only(True)
    if mode in ("r+", "w", "w-") and store.read_only:
        raise ReadOnlyError(f"mode {mode!r} writes, and {store} is read-only")
    return store
