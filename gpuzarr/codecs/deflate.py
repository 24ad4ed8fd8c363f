"""Deflate streams (RFC 1950 to 1952) to and from memory of a known size; what `gzip` and `numcodecs.zlib` share."""

from __future__ import annotations

import zlib
from typing import Any

from gpuzarr.codecs.engines.memory import octets
from gpuzarr.errors import CorruptChunkError

GZIP, ZLIB = 31, 15  # zlib's `wbits` for the two wrappings

# ISA-L (package `isal`) has zlib's interface and decodes faster; it is used for decoding where it is installed.
_inflater: Any
try:
    from isal import isal_zlib as _inflater
except ImportError:
    _inflater = zlib


def inflate(data: Any, limit: int, wbits: int, codec: str) -> bytes:
    """Decode to at most `limit` bytes. gzip may have several members; bytes behind a zlib stream are damage."""
    pieces: list[bytes] = []
    got = 0
    rest: Any = octets(data)
    try:
        while True:
            stream = _inflater.decompressobj(wbits)
            # One byte more than may come: a stream that fills it is too long, and a stream that is just right
            # has room to read on to its end mark.
            piece = stream.decompress(rest, limit - got + 1)
            pieces.append(piece)
            got += len(piece)
            if got > limit:
                raise CorruptChunkError("decodes to more bytes than expected", codec=codec, expected=limit)
            if not stream.eof:
                raise CorruptChunkError("the stream is cut short", codec=codec, expected=limit, got=got)
            rest = stream.unused_data
            if not rest or (wbits == GZIP and not rest.strip(b"\0")):  # gzip allows zero padding at the end
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if wbits != GZIP:
                raise CorruptChunkError(f"{len(rest)} bytes behind the stream", codec=codec)
    except (zlib.error, _inflater.error) as error:
        raise CorruptChunkError(str(error), codec=codec, expected=f"{limit} bytes") from error


def inflate_into(data: Any, out: Any, wbits: int, codec: str) -> None:
    """Decode to exactly the bytes of `out`."""
    target = octets(out)
    decoded = inflate(data, target.size, wbits, codec)
    if len(decoded) != target.size:
        raise CorruptChunkError("wrong decoded size", codec=codec, expected=target.size, got=len(decoded))
    target[:] = octets(decoded)


def gzip_member(data: Any, level: int) -> bytes:
    """One gzip member with the header that Python's gzip module writes, but for the time of day, which is left
    out so that the same data always give the same bytes."""
    raw: Any = octets(data)
    flags = {1: b"\x04", 9: b"\x02"}.get(level, b"\0")
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, 8, 0)
    body = stream.compress(raw) + stream.flush()
    tail = zlib.crc32(raw).to_bytes(4, "little") + (raw.size & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join((b"\x1f\x8b\x08\0\0\0\0\0", flags, b"\xff", body, tail))
