"""FsspecStore: any fsspec filesystem (https://filesystem-spec.readthedocs.io): HTTP, S3, GCS, memory, SFTP, ...

Several objects or ranges are fetched in one call, which an asynchronous filesystem runs concurrently. Only what
the filesystem calls "not found" is absent; a refusal, a timeout or a server error raises. Lengths are compared
with what was asked for, since HTTP servers may ignore ranges or cut them short.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

from gpuzarr.errors import KeyValidationError, ObjectChangedError, ShortReadError, StoreReadError, StoreWriteError
from gpuzarr.storage.atomic import temporary_name
from gpuzarr.storage.contract import (
    Buffer,
    Pieces,
    Span,
    Store,
    byte_view,
    check_limit,
    copy_into,
    resolve_spans,
    validate_key,
    validate_prefix,
)
from gpuzarr.storage.locks import thread_lock

ALLOWED_EXCEPTIONS: tuple[type[Exception], ...] = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class FsspecStore(Store):
    """Objects below `path` of the filesystem `fs`, which may be of the asynchronous kind (its blocking twin is
    taken). `allowed_exceptions` are those that say that an object is absent."""

    def __init__(
        self,
        fs: Any,
        *,
        read_only: bool = False,
        path: str = "",
        allowed_exceptions: tuple[type[Exception], ...] = ALLOWED_EXCEPTIONS,
    ) -> None:
        super().__init__(read_only=read_only)
        self._fs = _blocking(fs)
        self._process = os.getpid()
        self.path: str = self._fs._strip_protocol(path).rstrip("/")
        self.allowed_exceptions = allowed_exceptions

    @classmethod
    def from_url(
        cls,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        read_only: bool = False,
        allowed_exceptions: tuple[type[Exception], ...] = ALLOWED_EXCEPTIONS,
    ) -> Self:
        """The place that a URL names; `storage_options` go to its filesystem."""
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url, **(storage_options or {}))
        return cls(fs, read_only=read_only, path=path, allowed_exceptions=allowed_exceptions)

    @classmethod
    def from_mapper(
        cls,
        fs_map: Any,
        read_only: bool = False,
        allowed_exceptions: tuple[type[Exception], ...] = ALLOWED_EXCEPTIONS,
    ) -> Self:
        """The filesystem and the root of an `FSMap` (`s3fs.S3Map`, `gcsfs.GCSMap`, `fsspec.get_mapper`)."""
        return cls(fs_map.fs, read_only=read_only, path=fs_map.root, allowed_exceptions=allowed_exceptions)

    @classmethod
    def from_upath(
        cls,
        upath: Any,
        read_only: bool = False,
        allowed_exceptions: tuple[type[Exception], ...] = ALLOWED_EXCEPTIONS,
    ) -> Self:
        """The place of a `upath.UPath`."""
        return cls(upath.fs, read_only=read_only, path=upath.path, allowed_exceptions=allowed_exceptions)

    @property
    def fs(self) -> Any:
        """The filesystem, of the blocking kind and of this process."""
        if self._process != os.getpid():  # its connections and its event loop are those of the parent
            self._fs = _again(self._fs)
            self._process = os.getpid()
        return self._fs

    def __str__(self) -> str:
        return str(self._fs.unstrip_protocol(self.path))

    def __repr__(self) -> str:
        return f"FsspecStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FsspecStore) and self.path == other.path and bool(self._fs == other._fs)

    def __hash__(self) -> int:
        return hash((FsspecStore, self.path, hash(self._fs)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _process=os.getpid())  # a filesystem that was unpickled is of this process

    def with_read_only(self, read_only: bool = True) -> FsspecStore:
        return type(self)(self.fs, read_only=read_only, path=self.path, allowed_exceptions=self.allowed_exceptions)

    def _at(self, key: str) -> str:
        return f"{self.path}/{validate_key(key)}" if self.path else validate_key(key)

    # ---- reading

    def get(self, key: str, *, limit: int | None = None) -> bytes | None:
        return self.get_many([key], limit=limit)[0]

    def get_many(
        self, keys: Sequence[str], room: bytearray | None = None, *, limit: int | None = None
    ) -> builtins.list[bytes | None]:
        found = self._cat(keys, [None] * len(keys), [None] * len(keys))
        for key, value in zip(keys, found, strict=True):
            check_limit(key, 0 if value is None else len(value), limit)
        return found

    def _cat(
        self, keys: Sequence[str], starts: Sequence[int | None], stops: Sequence[int | None]
    ) -> builtins.list[bytes | None]:
        # Not `cat`, which takes the names for patterns.
        paths = [self._at(key) for key in keys]
        try:
            found = self.fs.cat_ranges(paths, list(starts), list(stops), on_error="return")
        except Exception as error:
            raise StoreReadError(f"cannot read {keys[0]!r} in {self}: {error!r}") from error
        values: builtins.list[bytes | None] = []
        for key, value in zip(keys, found, strict=True):
            if isinstance(value, BaseException):
                self._raise_unless_absent(key, value)
                values.append(None)
            else:
                values.append(bytes(value))
        return values

    def _raise_unless_absent(self, key: str, error: BaseException) -> None:
        """Pass where `error` says that there is no such object; else raise a StoreReadError."""
        if not isinstance(error, Exception):
            raise error
        if not isinstance(error, self.allowed_exceptions) or _hides_a_failure(error, self.allowed_exceptions):
            raise StoreReadError(f"cannot read {key!r} in {self}: {error!r}") from error

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        wanted = [span for span in spans if span.stop is None or span.stop > span.start]
        found = self._cat([key] * len(wanted), [s.start for s in wanted], [s.stop for s in wanted])
        if not wanted:
            return Pieces([b""] * len(spans), None, None) if self.exists(key) else None
        if all(data is None for data in found):
            return None
        pieces = iter(found)
        buffers: list[Buffer] = []
        for span in spans:
            data = next(pieces) if span.stop is None or span.stop > span.start else b""
            if data is None:
                raise ObjectChangedError(f"{key!r} in {self} vanished between two reads that must agree")
            buffers.append(self._exactly(key, span, data))
        if into is not None:
            buffers = [copy_into(byte_view(piece), room) for piece, room in zip(buffers, into, strict=True)]
        return Pieces(buffers, None, None)

    def _exactly(self, key: str, span: Span, data: bytes) -> Buffer:
        """What was asked for out of what came, where they differ in length."""
        start, stop = span
        if len(data) == (-start if start < 0 else (-1 if stop is None else stop - start)):
            return data
        size = self.size(key)
        if size is None:
            raise ObjectChangedError(f"{key!r} in {self} vanished between two reads that must agree")
        start, stop = resolve_spans(key, [span], size)[0]
        if len(data) == stop - start:
            return data
        if len(data) == size:  # the server ignored the range and sent everything
            return memoryview(data)[start:stop]
        raise ShortReadError(f"{key!r} in {self}: expected {stop - start} bytes from {start} on, got {len(data)}")

    def size(self, key: str) -> int | None:
        path = self._at(key)
        try:
            info = self.fs.info(path)
        except Exception as error:  # noqa: BLE001  whatever a filesystem raises
            self._raise_unless_absent(key, error)
            return None
        if info["type"] == "directory":
            return None
        if info.get("size") is not None:
            return int(info["size"])
        value = self.get(key)  # an HTTP server that does not tell
        return None if value is None else len(value)

    # ---- writing

    def set(self, key: str, value: Buffer) -> None:
        self.check_writable(key)
        self._put(key, value)

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        """As atomic as the filesystem's `pipe_file(mode="create")`; between the threads of this process, always."""
        self.check_writable(key)
        with self.lock(key):
            if self.exists(key):
                return False
            try:
                self._put(key, value, mode="create")
            except FileExistsError:
                return False
            return True

    def _put(self, key: str, value: Buffer, **options: Any) -> None:
        path, data = self._at(key), bytes(byte_view(value))
        try:
            try:
                self._pipe(path, data, options)
            except FileNotFoundError:  # a filesystem with real directories
                self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._pipe(path, data, options)
        except FileExistsError:
            raise
        except Exception as error:
            raise StoreWriteError(f"cannot write {key!r} in {self}: {error!r}") from error

    def _pipe(self, path: str, data: bytes, options: Mapping[str, Any]) -> None:
        if not is_local(self.fs):
            self.fs.pipe_file(path, data, **options)
            return
        temporary = f"{path.rpartition('/')[0]}/{temporary_name()}"  # local files would be seen half written
        try:
            self.fs.pipe_file(temporary, data)
            self.fs.mv(temporary, path)
        except BaseException:
            if self.fs.exists(temporary):
                self.fs.rm_file(temporary)
            raise

    def delete(self, key: str) -> None:
        self.check_writable(key)
        path = self._at(key)
        try:
            self.fs.rm_file(path)
        except Exception as error:
            if not isinstance(error, self.allowed_exceptions):
                raise StoreWriteError(f"cannot delete {key!r} in {self}: {error!r}") from error

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        return thread_lock((FsspecStore, hash(self._fs), self.path, validate_key(key)), timeout)

    # ---- listing

    def list(self, prefix: str = "") -> Iterator[str]:
        for key, _ in self._find(prefix):
            yield key

    def list_sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        for key, info in self._find(prefix):
            size = info.get("size")
            yield key, self.size(key) or 0 if size is None else int(size)

    def _find(self, prefix: str) -> builtins.list[tuple[str, dict[str, Any]]]:
        prefix = validate_prefix(prefix)
        base = self.fs._strip_protocol(self._at(prefix)) if prefix else self.path
        found = self._listing("find", base) or {}
        start = f"{base}/" if base else ""
        keys = []
        for name, info in found.items():
            # A prefix may match "foobar" for "foo", and directories may be listed as empty objects.
            below = name[len(start) :].removeprefix("" if start else "/")
            if name.startswith(start) and info.get("type") != "directory" and _is_key(below):
                keys.append((f"{prefix}/{below}" if prefix else below, info))
        return keys

    def list_dir(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        base = self.fs._strip_protocol(self._at(prefix)) if prefix else self.path
        seen = {base.rstrip("/")}
        for info in self._listing("ls", base) or ():
            path = info["name"].rstrip("/")
            name = path.rpartition("/")[2]
            if path not in seen and _is_key(name):
                seen.add(path)
                yield name

    def _listing(self, method: str, path: str) -> Any:
        fs = self.fs
        fs.invalidate_cache()  # a listing that somebody made earlier may be stale, and so may ours be later
        try:
            return getattr(fs, method)(path, detail=True)
        except Exception as error:  # noqa: BLE001  whatever a filesystem raises
            self._raise_unless_absent(path, error)
            return None
        finally:
            fs.invalidate_cache()


def _is_key(name: str) -> bool:
    try:
        validate_key(name)
    except KeyValidationError:
        return False
    return True


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
