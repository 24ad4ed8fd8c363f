"""Deflate streams (RFC 1950 to 1952) to and from memory of a known size; what `gzip` and `numcodecs.zlib` share."""

from __future__ import annotations

import zlib
from ctypes import memmove
from typing import Any, cast

from gpuzarr.codecs.contract import Decoder
from gpuzarr.codecs.engines.memory import memory_at, octets
from gpuzarr.codecs.members import decode_members
from gpuzarr.errors import CorruptChunkError

GZIP, ZLIB = 31, 15  # zlib's `wbits` for the two wrappings


def zlib_stream(wbits: int) -> Any:
    """A decompressor of the standard library's."""
    return zlib.decompressobj(wbits)


def isal_stream(wbits: int) -> Any:
    """A decompressor of ISA-L's (package `isal`): the same results in half the time."""
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP if wbits == GZIP else igzip_lib.DECOMP_ZLIB)


ERRORS: tuple[type[Exception], ...] = (zlib.error,)
try:
    from isal import igzip_lib
except ImportError:  # there are no wheels of it for some machines
    open_stream = zlib_stream
else:
    open_stream = isal_stream
    ERRORS = (zlib.error, cast("type[Exception]", igzip_lib.error))  # its stubs say an instance


def inflate(data: Any, limit: int, wbits: int, codec: str) -> bytes:
    """Decode to at most `limit` bytes. gzip may have several members, and zeros behind them; bytes behind a zlib
    stream are damage."""
    try:
        return decode_members(data, limit, lambda: open_stream(wbits), codec, one=wbits != GZIP, padded=wbits == GZIP)
    except ERRORS as error:
        raise CorruptChunkError(str(error), codec=codec, expected=f"{limit} bytes") from error


def inflater(nbytes: int, wbits: int, codec: str) -> Decoder:
    """decode(source, size, destination) for streams of exactly `nbytes` decoded bytes."""

    def decode(source: int | bytes, size: int, destination: int) -> None:
        data, stream = memory_at(source, size), open_stream(wbits)
        try:
            decoded = stream.decompress(data, nbytes + 1)
        except ERRORS as error:
            raise CorruptChunkError(str(error), codec=codec, expected=f"{nbytes} bytes") from error
        if not stream.eof or stream.unused_data:  # several members, or damage
            decoded = inflate(data, nbytes, wbits, codec)
        if len(decoded) != nbytes:
            raise CorruptChunkError("wrong decoded size", codec=codec, expected=nbytes, got=len(decoded))
        memmove(destination, decoded, nbytes)

    return decode


def gzip_member(data: Any, level: int) -> bytes:
    """One gzip member with the header that Python's gzip module writes, but for the time of day, which is left
    out so that the same data always give the same bytes."""
    raw: Any = octets(data)
    flags = {1: b"\x04", 9: b"\x02"}.get(level, b"\0")
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, 8, 0)
    body = stream.compress(raw) + stream.flush()
    tail = zlib.crc32(raw).to_bytes(4, "little") + (raw.size & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((b"\x1f\x8b\x08\0\0\0\0\0", flags, b"\xff", body, tail))
