"""The archive behind a ZipStore and its read-only views: reading at any time, writing by one thread at a time.

What is on disk at every moment, and when it changes, is told in `zip.py`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
import time
import weakref
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, LargeZipFile, ZipFile, ZipInfo

from gpuzarr.errors import StoreError, StoreReadError, StoreWriteError
from gpuzarr.storage.atomic import open_directory, sync_directory, temporary_name
from gpuzarr.storage.contract import Buffer, Pieces, Span, check_limit, copy_into, pieces_of, resolve_spans
from gpuzarr.storage.keys import DOCUMENTS
from gpuzarr.storage.zip_members import Source, locate, members_of, read_member

_DOCUMENTS = frozenset(DOCUMENTS)
_COMPACT_SHARE = 4  # a new archive of which more than 1/4 is dead bytes is copied without them


class Archive:
    """One archive, in a file that has a path or in a seekable file-like object."""

    def __init__(
        self,
        target: Path | IO[bytes],
        mode: str,
        *,
        compression: int,
        zip64: bool,
        strict: bool,
        max_member_bytes: int,
    ) -> None:
        self._target = target.absolute() if isinstance(target, Path) else target
        self._compression, self._zip64 = compression, zip64
        self._strict, self._max_member_bytes = strict, max_member_bytes
        self._lock = threading.RLock()
        self._file: IO[bytes] | None = None
        self._source: Source | None = None
        self._writer: ZipFile | None = None
        self._temporary: Path | None = None
        self._members: dict[str, ZipInfo] = {}
        self._repeated: dict[str, int] = {}
        self._documents: dict[str, bytes] = {}  # metadata that waits for the end
        self._touched: set[str] = set()  # keys whose earlier members are dead
        self._dirty = mode in ("w", "x")  # an archive without members is one, too
        self._closed = False
        self._failed: set[str] = set()  # keys whose last write failed
        self._replaces = mode in ("w", "x")
        self._entries = 0  # in the directory of the archive that was opened
        if isinstance(self._target, Path):
            self._open_path(self._target, mode)
        else:
            self._open_file(self._target, mode)
        _archives.add(self)

    def __str__(self) -> str:
        return str(self._target)

    # ---- opening

    def _open_path(self, path: Path, mode: str) -> None:
        if mode == "x" and path.exists():
            raise FileExistsError(f"{path} is there already")
        if mode == "r" or (mode == "a" and path.exists()):
            try:
                file = open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # noqa: SIM115
            except FileNotFoundError:
                raise
            except OSError as error:
                raise StoreReadError(f"cannot open {path}: {error.strerror}") from error
            try:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise StoreReadError(f"{path} is not a regular file")
                self._read_directory(file)
            except BaseException:
                file.close()
                raise
        elif not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)

    def _open_file(self, file: IO[bytes], mode: str) -> None:
        self._file = file
        if mode in ("w", "x"):
            file.seek(0)
            file.truncate()
        elif mode == "r" or file.seek(0, os.SEEK_END):
            self._read_directory(file)

    def _read_directory(self, file: IO[bytes]) -> None:
        try:
            with ZipFile(file, "r") as archive:
                self._entries = len(archive.filelist)
                self._members, self._repeated = members_of(archive, file.seek(0, os.SEEK_END))
        except (BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreReadError(f"{self} is not a ZIP archive that can be read: {error}") from error
        self._file, self._source = file, Source(file, self._lock)

    # ---- reading

    def all_keys(self) -> list[str]:
        """Every key."""
        with self._lock:
            return [*{**self._members, **self._documents}]

    def _find(self, key: str) -> tuple[bytes | None, ZipInfo | None, Source | None]:
        """The object as a waiting document, or as a member."""
        with self._lock:
            if self._closed:
                raise StoreReadError(f"cannot read {key!r}: {self} is closed")
            if self._strict and key in self._repeated:
                raise StoreReadError(
                    f"{key!r} is {self._repeated[key]} times in {self};"
                    " ZipStore(..., duplicates='last') takes the last one"
                )
            return self._documents.get(key), self._members.get(key), self._source

    def size(self, key: str) -> int | None:
        """Bytes of the object."""
        document, info, _ = self._find(key)
        return len(document) if document is not None else (info.file_size if info is not None else None)

    def read(self, key: str, limit: int | None = None) -> bytes | None:
        """The whole object."""
        document, info, source = self._find(key)
        if document is not None:
            check_limit(key, len(document), limit)
            return document
        if info is None or source is None:
            return None
        if info.compress_type != ZIP_STORED:
            limit = self._max_member_bytes if limit is None else min(limit, self._max_member_bytes)
        return read_member(source, key, info, limit)

    def read_ranges(
        self, key: str, spans: Sequence[Span], version: Hashable, into: Sequence[Buffer] | None
    ) -> Pieces | None:
        """Ranges of the object; only they are read where it is stored without compression."""
        document, info, source = self._find(key)
        state: Hashable = document
        if document is None and info is not None:
            state = (info.header_offset, info.file_size, info.CRC)
        if document is not None or info is None or source is None or info.compress_type != ZIP_STORED:
            value = self.read(key)
            return None if value is None else pieces_of(key, value, spans, into, (state, version))
        pieces_of(key, b"", (), None, (state, version))  # compares the versions
        if info.compress_size != info.file_size:
            raise StoreReadError(f"{key!r} is damaged in the archive: stored, but of two sizes")
        start = locate(source, key, info)
        buffers: list[Buffer] = [
            memoryview(source.read(start + first, last - first))
            for first, last in resolve_spans(key, spans, info.file_size)
        ]
        if into is not None:
            buffers = [copy_into(piece, room) for piece, room in zip(buffers, into, strict=True)]
        return Pieces(buffers, info.file_size, state)

    # ---- writing

    def write(self, key: str, value: bytes, *, only_new: bool) -> bool:
        """Put the object; False where it is there and only a new one was wanted."""
        with self._lock:
            self._check_open(key)
            if only_new and (key in self._documents or key in self._members):
                return False
            self._dirty = True
            if key.rpartition("/")[2] in _DOCUMENTS:
                self._documents[key] = value
            else:
                self._append(key, value)
            self._repeated.pop(key, None)
            return True

    def remove(self, key: str) -> None:
        """Forget the object."""
        with self._lock:
            self._check_open(key)
            self._dirty |= key in self._documents or key in self._members
            self._touched.add(key)
            self._failed.discard(key)
            self._documents.pop(key, None)
            self._members.pop(key, None)
            self._repeated.pop(key, None)

    def _check_open(self, key: str) -> None:
        if self._closed:
            raise StoreWriteError(f"cannot write {key!r}: {self} is closed")

    def _append(self, key: str, value: bytes) -> None:
        info = ZipInfo(key, date_time=time.localtime()[:6])
        info.compress_type = self._compression
        info.external_attr = 0o644 << 16
        try:
            writer = self._start_writing()
            self._touched.add(key)
            writer.NameToInfo.pop(key, None)  # else it warns that the name is there twice; we take the first one out
            writer.writestr(info, value)
            assert writer.fp is not None
            writer.fp.flush()  # readers read past the file object
        except (OSError, LargeZipFile) as error:
            self._failed.add(key)
            raise StoreWriteError(f"cannot write {key!r} in {self}: {error}") from error
        self._members[key] = info
        self._failed.discard(key)

    def _start_writing(self) -> ZipFile:
        if self._writer is None:
            if isinstance(self._target, Path) and self._temporary is None:
                self._file = self._copy_beside(self._target)
            assert self._file is not None
            self._source = Source(self._file, self._lock)
            writer = ZipFile(self._file, "a", self._compression, self._zip64)
            if len(writer.filelist) != self._entries:
                # It takes a file whose directory cannot be read for one that is no archive, and begins a new one.
                writer.fp = None
                raise OSError(errno.EIO, "the directory of the archive could not be read again")
            self._writer = writer
        return self._writer

    def _copy_beside(self, target: Path) -> IO[bytes]:
        """A temporary beside `target`, with the archive's bytes as far as there are any."""
        temporary = target.parent / temporary_name(target.name)
        file = open(temporary, "x+b")  # noqa: SIM115  closed by `close`
        try:
            if self._file is not None:
                self._file.seek(0)
                shutil.copyfileobj(self._file, file, 1 << 20)
                self._file.close()
        except BaseException:
            temporary.unlink(missing_ok=True)
            file.close()
            raise
        self._temporary = temporary
        return file

    # ---- the end

    def leave_to_parent(self) -> None:
        """In a forked child: reading goes on, but an archive that is being written is the parent's to finish."""
        self._lock = threading.RLock()
        if self._dirty:
            self._closed = True
            self._temporary = None
            self._detach_writer()

    def _detach_writer(self) -> None:
        if self._writer is not None:
            self._writer.fp = None  # else it would write the archive's end when it is collected

    def close(self) -> None:
        """Finish the archive and put it in its place; where that fails, or a write did, the old one stands."""
        with self._lock:
            if self._closed:
                return
            try:
                if self._failed and self._replaces:
                    raise StoreWriteError(f"{self} is not replaced, since writing {min(self._failed)!r} failed")
                if self._dirty:
                    self._finish()
            except StoreWriteError:
                raise
            except (OSError, LargeZipFile, BadZipFile) as error:
                raise StoreWriteError(f"cannot finish {self}: {error}") from error
            finally:
                self._closed = True
                self._detach_writer()
                self._let_go()

    def abandon(self) -> None:
        """Let go of what was written; the old archive stands."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._detach_writer()
                self._let_go()

    def _let_go(self) -> None:
        """Close the file and remove a temporary that did not become the archive."""
        if not isinstance(self._target, Path):
            return
        steps = [self._file.close] if self._file is not None else []
        if self._temporary is not None:
            steps.append(self._temporary.unlink)
        for step in steps:
            try:
                step()
            except OSError:  # closing flushes once more what could not be written; the cause is on its way up
                pass

    def _finish(self) -> None:
        for key, value in self._documents.items():
            self._append(key, value)
        self._documents = {}
        writer = self._start_writing()
        dead = [info for info in writer.filelist if self._is_dead(info)]
        if dead:
            self._leave_out(writer, dead)
        writer.close()
        if not isinstance(self._target, Path):
            return
        assert self._file is not None
        assert self._temporary is not None
        if _COMPACT_SHARE * sum(info.compress_size for info in dead) > self._file.seek(0, os.SEEK_END):
            self._compact(self._target)
        self._file.flush()
        os.fsync(self._file.fileno())
        os.rename(self._temporary, self._target)
        self._temporary = None
        directory = open_directory(str(self._target.parent), [], create=False)
        try:
            sync_directory(directory)
        finally:
            os.close(directory)

    def _is_dead(self, info: ZipInfo) -> bool:
        now = self._members.get(info.filename)
        return info.filename in self._touched and (now is None or now.header_offset != info.header_offset)

    def _leave_out(self, writer: ZipFile, dead: list[ZipInfo]) -> None:
        """Leave members out of the archive's directory; their bytes stay."""
        gone = {id(info) for info in dead}
        writer.filelist[:] = [info for info in writer.filelist if id(info) not in gone]
        writer.NameToInfo.clear()
        writer.NameToInfo.update({info.filename: info for info in writer.filelist})
        writer.comment = writer.comment  # tells the writer that its directory has changed

    def _compact(self, target: Path) -> None:
        """Copy the members that count to another temporary."""
        assert self._file is not None
        assert self._temporary is not None
        old_file, old_path, source = self._file, self._temporary, Source(self._file, self._lock)
        self._temporary = target.parent / temporary_name(target.name)
        self._file = open(self._temporary, "x+b")  # noqa: SIM115  closed by `close`
        try:
            with ZipFile(old_file, "r") as old, ZipFile(self._file, "w", allowZip64=self._zip64) as new:
                for info in old.infolist():
                    data = b"" if info.is_dir() else read_member(source, info.filename, info, None)
                    copy = ZipInfo(info.filename, info.date_time)
                    copy.compress_type, copy.external_attr = info.compress_type, info.external_attr
                    new.writestr(copy, data)
        finally:
            old_file.close()
            old_path.unlink(missing_ok=True)


def _after_fork_in_child() -> None:
    for archive in _archives:
        archive.leave_to_parent()


_archives: weakref.WeakSet[Archive] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork_in_child)
