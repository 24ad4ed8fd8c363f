"""ZipStore: a ZIP archive; the key is the name of a member.

Nothing is written into an archive that exists. A writing store builds a new archive under a temporary name
beside it (mode "a" copies the old one first) and renames that when it is closed, so that a reader, or a process
that dies, finds the old archive or the new one. Metadata documents are kept in memory until then, since they are
rewritten often; other objects that were replaced or deleted are left out of the archive's directory, and out of
the archive where they would be a good part of it.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Literal, cast
from zipfile import ZIP_STORED

from gpuzarr.storage.contract import Buffer, Leftover, Pieces, Span, Store, byte_view
from gpuzarr.storage.keys import validate_key, validate_prefix
from gpuzarr.storage.locks import thread_lock
from gpuzarr.storage.walk import hidden_beside, remove_beside
from gpuzarr.storage.zip_archive import Archive


class ZipStore(Store):
    """The archive at `path` (or in a seekable binary file).

    mode: "r" reads, "w" makes a new archive, "a" adds to one or makes it, "x" makes one where no file is.
    `compression` is zipfile's, for what is written. Writing is complete when `close` returns; a store that is
    dropped without it is closed when it is collected or when the interpreter ends.

    Of a member that an archive holds twice the last one counts, as every ZIP reader has it (zarr-python writes such
    archives); `duplicates="refuse"` raises StoreReadError for it. A compressed
    member of more than `max_member_bytes` is refused with LimitError before it is inflated.
    """

    lasting = False

    def __init__(
        self,
        path: str | os.PathLike[str] | IO[bytes],
        *,
        mode: Literal["r", "w", "a", "x"] = "r",
        read_only: bool | None = None,
        compression: int = ZIP_STORED,
        allowZip64: bool = True,  # noqa: N803  the name in zipfile and zarr-python
        duplicates: Literal["refuse", "last"] = "last",
        max_member_bytes: int = 2 << 30,
    ) -> None:
        if mode not in ("r", "w", "a", "x"):
            raise ValueError(f"mode is 'r', 'w', 'a' or 'x', not {mode!r}")
        super().__init__(read_only=mode == "r" if read_only is None else read_only)
        if mode == "r" and not self.read_only:
            raise ValueError("mode 'r' does not write; take mode 'a' or read_only=True")
        self.path = Path(path) if isinstance(path, (str, os.PathLike)) else None
        self.mode, self.compression, self.duplicates = mode, compression, duplicates
        self.max_member_bytes = max_member_bytes
        self._archive = Archive(
            self.path or cast("IO[bytes]", path),
            mode,
            compression=compression,
            zip64=allowZip64,
            strict=duplicates == "refuse",
            max_member_bytes=max_member_bytes,
        )
        # Also when the store is dropped or the interpreter ends: what was set is not lost for want of a `close`.
        weakref.finalize(self, self._archive.close)

    def __str__(self) -> str:
        return f"zip://{self.path.as_posix()}" if self.path is not None else f"zip://<file {id(self._archive)}>"

    def __repr__(self) -> str:
        return f"ZipStore({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipStore) and (
            self._archive is other._archive or (self.path is not None and self._place() == other._place())
        )

    def __hash__(self) -> int:
        return hash((ZipStore, self._place()))

    def _place(self) -> object:
        return id(self._archive) if self.path is None else os.path.abspath(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.mode != "r" or self.path is None:
            raise TypeError(f"{self} is being written, or is no file that has a path: it cannot be pickled")
        return (_reopen, (self.path.absolute(), self.duplicates, self.max_member_bytes))

    @property
    def shares_after_pickle(self) -> bool:  # type: ignore[override]
        """Whether it can be pickled: an archive that is being written cannot, and a file without a path."""
        return self.mode == "r" and self.path is not None

    def _named_by(self) -> tuple[object, ...]:
        if not self.shares_after_pickle or self.path is None:
            return super()._named_by()
        found = os.stat(self.path)
        return (os.path.abspath(self.path), found.st_ino, found.st_size, found.st_mtime_ns)

    def with_read_only(self, read_only: bool = True) -> ZipStore:
        """The same archive with other access; closing one of them closes all."""
        if not read_only and self.mode == "r":
            raise ValueError(f"{self} was opened with mode 'r'; open the path again with mode 'a'")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _read_only=read_only, _first=self)  # dropping the first one closes
        return other

    # ---- reading

    def get(self, key: str, *, limit: int | None = None) -> bytes | None:
        return self._archive.read(validate_key(key), limit)

    def get_ranges(
        self, key: str, spans: Sequence[Span], *, version: Hashable = None, into: Sequence[Buffer] | None = None
    ) -> Pieces | None:
        return self._archive.read_ranges(validate_key(key), spans, version, into)

    def size(self, key: str) -> int | None:
        return self._archive.size(validate_key(key))

    # ---- writing

    def set(self, key: str, value: Buffer) -> None:
        self.check_writable(key)
        self._archive.write(validate_key(key), bytes(byte_view(value)), only_new=False)

    def set_if_absent(self, key: str, value: Buffer) -> bool:
        self.check_writable(key)
        return self._archive.write(validate_key(key), bytes(byte_view(value)), only_new=True)

    def delete(self, key: str) -> None:
        self.check_writable(key)
        self._archive.remove(validate_key(key))

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        return iter(()) if self.path is None or prefix else hidden_beside(str(self.path))

    def remove_leftover(self, leftover: Leftover) -> None:
        self.check_writable(leftover.name)
        if self.path is not None:
            remove_beside(str(self.path), leftover.name.removeprefix("../"))

    def lock(self, key: str, *, timeout: float = 60.0) -> AbstractContextManager[None]:
        return thread_lock((ZipStore, id(self._archive), validate_key(key)), timeout)

    # ---- listing and life

    def list(self, prefix: str = "") -> Iterator[str]:
        prefix = validate_prefix(prefix)
        start = f"{prefix}/" if prefix else ""
        yield from [key for key in self._archive.all_keys() if key.startswith(start)]

    def close(self) -> None:
        """Write what is waiting and put the archive in its place."""
        self._archive.close()

    def abandon(self) -> None:
        """Close, and leave the archive (or its absence) as it was before anything was written."""
        self._archive.abandon()


def _reopen(path: Path, duplicates: Literal["refuse", "last"], max_member_bytes: int) -> ZipStore:
    return ZipStore(path, duplicates=duplicates, max_member_bytes=max_member_bytes)
