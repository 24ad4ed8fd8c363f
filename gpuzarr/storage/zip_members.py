"""Reading members of a ZIP archive (APPNOTE 6.3) by position, without a shared file pointer and without trust.

The archive's directory is read with `zipfile`; what is checked here: names (only valid keys are seen), members
that are encrypted, stored twice or overlapping, the local header, sizes before anything is inflated, and the
CRC-32 of every member that is read whole.
"""

from __future__ import annotations

import bz2
import lzma
import os
import struct
import zlib
from contextlib import AbstractContextManager
from typing import IO, Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

from gpuzarr.errors import KeyValidationError, ShortReadError, StoreReadError
from gpuzarr.storage.contract import check_limit
from gpuzarr.storage.keys import validate_key

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1


class Source:
    """Bytes at a position of a file, for any number of threads. `lock` keeps readers of a file-like object apart
    from one another and from the writer of the archive."""

    def __init__(self, file: IO[bytes], lock: AbstractContextManager[Any]) -> None:
        self._file, self._lock = file, lock
        try:
            self._descriptor: int | None = file.fileno()
        except (OSError, AttributeError):
            self._descriptor = None  # a file-like object: one thread at a time

    def read(self, start: int, count: int) -> bytes:
        """Exactly `count` bytes from `start` on; ShortReadError where the file ends before."""
        parts = []
        missing = count
        while missing:
            try:
                part = self._read_some(start + count - missing, missing)
            except (OSError, ValueError) as error:
                raise StoreReadError(f"cannot read bytes [{start}, {start + count}) of the archive: {error}") from error
            if not part:
                raise ShortReadError(f"the archive ends within bytes [{start}, {start + count})")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, start: int, count: int) -> bytes:
        if self._descriptor is not None:
            return os.pread(self._descriptor, count, start)
        with self._lock:
            position = self._file.tell()  # the writer of the archive goes on from there
            self._file.seek(start)
            data = self._file.read(count)
            self._file.seek(position)
            return data


def members_of(archive: ZipFile, end: int) -> tuple[dict[str, ZipInfo], dict[str, int]]:
    """The members of an archive of `end` bytes by key, and how often those are in it that are there repeatedly.

    Of the latter the last one is given. StoreReadError where members overlap or lie outside of the archive.
    """
    members: dict[str, ZipInfo] = {}
    repeated: dict[str, int] = {}
    stop = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < stop:
            raise StoreReadError(f"member {info.filename!r} of the archive overlaps another one")
        stop = info.header_offset + _LOCAL_HEADER.size + info.compress_size
        if stop > end:
            raise StoreReadError(f"member {info.filename!r} of the archive reaches beyond its end")
        try:
            key = validate_key(info.filename)
        except KeyValidationError:
            continue  # a directory, or a name that reaches out of the archive: no key, so nobody can ask for it
        if key in members:
            repeated[key] = repeated.get(key, 1) + 1
        members[key] = info
    return members, repeated


def locate(source: Source, key: str, info: ZipInfo) -> int:
    """Where the stored bytes of a member begin."""
    if info.flag_bits & _ENCRYPTED:
        raise StoreReadError(f"{key!r} is encrypted in the archive")
    magic, name_size, extra_size = _LOCAL_HEADER.unpack(source.read(info.header_offset, _LOCAL_HEADER.size))
    if magic != b"PK\x03\x04":
        raise StoreReadError(f"no member begins where the archive says that {key!r} does")
    return info.header_offset + _LOCAL_HEADER.size + int(name_size) + int(extra_size)


def read_member(source: Source, key: str, info: ZipInfo, limit: int | None) -> bytes:
    """A whole member, checked; never more bytes than the archive says that it has, and LimitError before anything
    is inflated where that is more than `limit`."""
    check_limit(key, info.file_size, limit)
    data = source.read(locate(source, key, info), info.compress_size)
    if info.compress_type != ZIP_STORED:
        data = _inflate(key, info, data)
    if len(data) != info.file_size:
        raise StoreReadError(f"{key!r} is damaged in the archive: expected {info.file_size} bytes, got {len(data)}")
    if zlib.crc32(data) != info.CRC:
        raise StoreReadError(f"{key!r} is damaged in the archive: its CRC-32 does not match")
    return data


def _inflate(key: str, info: ZipInfo, data: bytes) -> bytes:
    # One byte more than announced is enough to notice a member that inflates to more; a bomb gets no further.
    room = info.file_size + 1
    try:
        if info.compress_type == ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, room)
        if info.compress_type == ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(data, room)
        if info.compress_type == ZIP_LZMA:
            return _raw_lzma(data).decompress(data[_lzma_start(data) :], room)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, struct.error) as error:
        raise StoreReadError(f"{key!r} is damaged in the archive: {error}") from error
    raise StoreReadError(f"{key!r} is compressed by ZIP method {info.compress_type}, which is not supported")


def _lzma_start(data: bytes) -> int:
    """Bytes before the LZMA stream: version (2), size of the properties (2), properties."""
    return 4 + int(struct.unpack_from("<xxH", data)[0])


def _raw_lzma(data: bytes) -> lzma.LZMADecompressor:
    # The five bytes of properties are (pb * 5 + lp) * 9 + lc, and the size of the dictionary.
    packed, dictionary = struct.unpack_from("<BI", data, 4)
    rest, lc = divmod(packed, 9)
    pb, lp = divmod(rest, 5)
    # The dictionary is allocated beforehand, so its size is not taken from the file beyond what ZIP writers use.
    if dictionary > 1 << 28:
        raise lzma.LZMAError(f"a dictionary of {dictionary} bytes")
    steps: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": dictionary}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=steps)
