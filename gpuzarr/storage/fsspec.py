"""FsspecStore: any fsspec filesystem (https://filesystem-spec.readthedocs.io): HTTP, S3, GCS, memory, SFTP, ...

What is common to all of them stands in `remote`. S3, GCS and HTTP have clients of their own (`clients`), which use
the filesystem's session, credentials and options but make the requests themselves, as the filesystem's methods lose
what is needed here: versions, sizes, conditions and the difference between kinds of failure.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Hashable, Iterator, Mapping
from importlib import import_module
from typing import Any, Self

from gpuzarr.errors import MissingPackageError, StoreError, StoreReadError
from gpuzarr.storage.clients.contract import Client
from gpuzarr.storage.clients.fsspec import FsspecClient
from gpuzarr.storage.event_loop import run
from gpuzarr.storage.keys import is_key, validate_key, validate_prefix
from gpuzarr.storage.remote import RemoteStore

ALLOWED_EXCEPTIONS: tuple[type[Exception], ...] = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

_CLIENTS = {  # by the class of the filesystem
    ("fsspec.implementations.http", "HTTPFileSystem"): ("http", "HttpClient"),
    ("s3fs.core", "S3FileSystem"): ("s3", "S3Client"),
    ("gcsfs.core", "GCSFileSystem"): ("gcs", "GcsClient"),
}
_EXTRAS = {  # that bring what fsspec wants for these schemes
    **dict.fromkeys(("http", "https"), "http"),
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "azure"),
}


class FsspecStore(RemoteStore):
    """Objects below `path` of the filesystem `fs`, which may be of the asynchronous kind (its blocking twin is
    taken). `allowed_exceptions` are those that say that an object is absent; the other arguments are RemoteStore's."""

    def __init__(
        self,
        fs: Any,
        *,
        read_only: bool = False,
        path: str = "",
        allowed_exceptions: tuple[type[Exception], ...] = ALLOWED_EXCEPTIONS,
        timeout: float | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
    ) -> None:
        super().__init__(read_only=read_only, timeout=timeout, retries=retries, concurrency=concurrency)
        self._fs = _wide(_blocking(fs), self.concurrency)
        self._web = _class_of(self._fs) == ("fsspec.implementations.http", "HTTPFileSystem")
        self.path: str = _clean_url(path) if self._web else self._fs._strip_protocol(path).rstrip("/")
        self.allowed_exceptions = allowed_exceptions
        self._home = 0  # the process whose memory it is, where it was pickled

    @classmethod
    def from_url(
        cls, url: str, storage_options: Mapping[str, Any] | None = None, read_only: bool = False, **options: Any
    ) -> Self:
        """The place that a URL names; `storage_options` go to its filesystem, other options to the store.
        MissingPackageError where the filesystem's package is not installed."""
        from fsspec.core import url_to_fs

        try:
            fs, path = url_to_fs(url, **(storage_options or {}))
        except ImportError as error:  # fsspec's, whose cause says what was not found
            raise _missing(url, error) from error
        return cls(fs, read_only=read_only, path=path, **options)

    @classmethod
    def from_mapper(cls, fs_map: Any, read_only: bool = False, **options: Any) -> Self:
        """The filesystem and the root of an `FSMap` (`s3fs.S3Map`, `gcsfs.GCSMap`, `fsspec.get_mapper`)."""
        return cls(fs_map.fs, read_only=read_only, path=fs_map.root, **options)

    @classmethod
    def from_upath(cls, upath: Any, read_only: bool = False, **options: Any) -> Self:
        """The place of a `upath.UPath`."""
        return cls(upath.fs, read_only=read_only, path=upath.path, **options)

    @property
    def fs(self) -> Any:
        """The filesystem, of the blocking kind and of this process."""
        self.client  # noqa: B018  makes it anew after a fork
        return self._fs

    def connect(self) -> Client:
        if self._home not in (0, os.getpid()):  # where all chunks would read as absent
            raise StoreError(f"{self} is in the memory of process {self._home}, and this is process {os.getpid()}")
        if self._process:  # the connections and the event loop of the one that is here are those of the parent
            self._fs = _again(self._fs)
        for kind in type(self._fs).__mro__:
            module, name = _CLIENTS.get((kind.__module__, kind.__name__), ("", ""))
            if module:
                return getattr(import_module(f"gpuzarr.storage.clients.{module}"), name)(self._fs)  # type: ignore[no-any-return]
        return FsspecClient(self._fs)

    def __str__(self) -> str:
        # What signs a URL is nobody's business.
        return self.path.partition("?")[0] if self._web else str(self._fs.unstrip_protocol(self.path))

    def __repr__(self) -> str:
        return f"FsspecStore({str(self)!r})"

    def _identity(self) -> Hashable:
        return (FsspecStore, self.path, self._fs)

    @property
    def shares_after_pickle(self) -> bool:  # type: ignore[override]
        """False for the filesystem that each process has in its memory."""
        return _class_of(self._fs) != ("fsspec.implementations.memory", "MemoryFileSystem")

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_home": 0 if self.shares_after_pickle else self._home or os.getpid()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_process": 0})  # a filesystem that was unpickled is of this process

    def _named_by(self) -> tuple[object, ...]:
        fs = self._fs  # whose own token counts processes and threads
        return (self.path, *_class_of(fs), fs.storage_args, fs.storage_options)

    def with_read_only(self, read_only: bool = True) -> FsspecStore:
        return type(self)(
            self.fs,
            read_only=read_only,
            path=self.path,
            allowed_exceptions=self.allowed_exceptions,
            timeout=self.patience.timeout,
            retries=self.patience.retries,
            concurrency=self.concurrency,
        )

    def _at(self, key: str) -> str:
        validate_key(key)
        if self._web:
            from gpuzarr.storage.clients.http import url_of

            return url_of(self.path, key)
        return f"{self.path}/{key}" if self.path else key

    def _is_absence(self, error: Exception) -> bool:
        return isinstance(error, self.allowed_exceptions) and not _hides_a_failure(error, self.allowed_exceptions)

    # ---- listing

    def list(self, prefix: str = "") -> Iterator[str]:
        for key, _ in self._find(prefix):
            yield key

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        for key, info in self._find(prefix):
            size = info.get("size")
            yield key, self.size(key) or 0 if size is None else int(size)

    def _find(self, prefix: str) -> builtins.list[tuple[str, dict[str, Any]]]:
        prefix, base = self._base(prefix)
        found = dict(self._walked(base)) if _walks(self._fs) else self._listing("find", base) or {}
        start = f"{base}/" if base else ""
        keys = []
        for name, info in found.items():
            # A prefix may match "foobar" for "foo", and directories may be listed as empty objects.
            below = name[len(start) :].removeprefix("" if start else "/")
            if name.startswith(start) and info.get("type") != "directory" and is_key(below):
                keys.append((f"{prefix}/{below}" if prefix else below, info))
        return keys

    def _walked(self, base: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and facts of all objects below `base`, directory by directory."""
        todo, seen = [base], {base.rstrip("/")}
        while todo:
            for info in self._listing("ls", todo.pop()) or ():
                name = info["name"].rstrip("/")
                if info.get("type") != "directory":
                    yield info["name"], info
                elif name not in seen and is_key(name.rpartition("/")[2]):
                    seen.add(name)
                    todo.append(name)

    def _base(self, prefix: str) -> tuple[str, str]:
        """The prefix, checked, and its whole name."""
        prefix = validate_prefix(prefix)
        return prefix, self._fs._strip_protocol(self._at(prefix)) if prefix else self.path

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        _, base = self._base(prefix)
        seen = {base.rstrip("/")}
        for info in self._listing("ls", base) or ():
            path = info["name"].rstrip("/")
            name = path.rpartition("/")[2]
            if path not in seen and is_key(name):
                seen.add(path)
                yield name

    def _listing(self, method: str, path: str) -> Any:
        fs, caller = self.fs, FsspecClient(self._fs)
        fs.invalidate_cache()  # a listing that somebody made earlier may be stale, and so may ours be later
        what = f"list {path.partition('?')[0]!r} in {self}"

        async def listing() -> Any:
            return await self.patience.call(
                lambda: caller.call(method, path, detail=True), what=what, kind=StoreReadError
            )

        try:
            return run(listing(), None, caller.loop())
        except StoreError:
            raise
        except Exception as error:
            if not self._is_absence(error):
                raise StoreReadError(f"cannot {what}: {error!r}") from error
            return None
        finally:
            fs.invalidate_cache()


def _missing(url: str, error: ImportError) -> MissingPackageError:
    scheme = url.partition("://")[0]
    extra = _EXTRAS.get(scheme)
    what = str(error) if extra is None else f"what reads it is not installed: pip install 'gpuzarr[{extra}]' ({error})"
    return MissingPackageError(f"{scheme}://...: {what}", name=getattr(error.__cause__, "name", None))


def _class_of(fs: Any) -> tuple[str, str]:
    return type(fs).__module__, type(fs).__name__


def _clean_url(url: str) -> str:
    """A base URL without a fragment, and without slashes at the end of its path."""
    place, mark, query = url.partition("#")[0].partition("?")
    return f"{place.rstrip('/')}{mark}{query}"


def is_local(fs: Any) -> bool:
    """Whether this is fsspec's filesystem of local files."""
    return "file" in (fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,))


def _blocking(fs: Any) -> Any:
    """The filesystem with blocking methods: itself, the one that it wraps, or its twin."""
    if hasattr(fs, "sync_fs"):
        return fs.sync_fs
    if getattr(fs, "asynchronous", False):
        return type(fs)(*fs.storage_args, **{**fs.storage_options, "asynchronous": False})
    return fs


def _walks(fs: Any) -> bool:
    """Whether `find` of this filesystem is fsspec's own walk, which leaves out directories that it fails to list."""
    from fsspec.asyn import AsyncFileSystem
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.spec import AbstractFileSystem

    while isinstance(fs, DirFileSystem) or hasattr(fs, "sync_fs"):  # what wraps another, and asks that one
        fs = getattr(fs, "sync_fs", None) or fs.fs
    if isinstance(fs, AsyncFileSystem):
        return type(fs)._find is AsyncFileSystem._find
    return type(fs).find is AbstractFileSystem.find


def _wide(fs: Any, connections: int) -> Any:
    """The filesystem, or for S3 its twin with as many connections; unless its user said how many, there are ten."""
    if _class_of(fs) != ("s3fs.core", "S3FileSystem") or "max_pool_connections" in fs.config_kwargs:
        return fs
    settings = {**fs.config_kwargs, "max_pool_connections": connections}
    return type(fs)(*fs.storage_args, **{**fs.storage_options, "config_kwargs": settings})


def _again(fs: Any) -> Any:
    """The same filesystem, made in this process."""
    return type(fs)(*fs.storage_args, **fs.storage_options) if getattr(fs, "async_impl", False) else fs


def _hides_a_failure(error: BaseException, allowed: tuple[type[Exception], ...]) -> bool:
    """Whether a "not found" was made of another error. fsspec's HTTP `info` does so with every error there is."""
    cause = error.__cause__
    if cause is None or isinstance(cause, allowed):
        return False
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return status not in (404, 410)
    return isinstance(cause, (OSError, TimeoutError)) or type(cause).__module__.startswith("aiohttp")
