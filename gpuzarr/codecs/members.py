"""Compressed streams one behind another in one chunk: gzip members, bzip2 and xz streams.

Time and memory go with the bytes stored and the bytes expected, whatever the streams say: a decoder is given no more
room than may come, and no more input than the stream that it is in can be expected to need. (A decoder hands back a
copy of all that it did not use, so a chunk of a million empty streams would be copied a million times.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpuzarr.codecs.engines.memory import byte_view
from gpuzarr.errors import CorruptChunkError

FIRST_STEP = 1 << 10  # bytes of input that a second and further stream is given at first; then twice as much, ...


def decode_members(
    data: Any, limit: int, open_stream: Callable[[], Any], codec: str, *, one: bool = False, padded: bool = False
) -> bytes:
    """Decode all streams in `data`, to at most `limit` bytes together.

    `one`: there is only one. `padded`: zeros may follow the last. Raises CorruptChunkError, and what the decoder
    raises.
    """
    view = byte_view(data)
    end, at, got, step = len(view), 0, 0, len(view)
    pieces: list[bytes] = []
    while True:
        # One byte more than may come: a stream that fills it is too long, and a stream that is just right has room
        # to read on to its end mark.
        piece, at = _member(view, at, step, limit - got + 1, open_stream(), codec)
        pieces.append(piece)
        got += len(piece)
        if got > limit:
            raise CorruptChunkError("decodes to more bytes than expected", codec=codec, expected=limit)
        if at == end or (padded and view[at] == 0 and not bytes(view[at:]).strip(b"\0")):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if one:
            raise CorruptChunkError(f"{end - at} bytes behind the stream", codec=codec)
        step = FIRST_STEP


def _member(view: memoryview, at: int, step: int, room: int, stream: Any, codec: str) -> tuple[bytes, int]:
    """The first bytes, up to `room`, of the stream at `at`, and where it ends."""
    piece = stream.decompress(view[at : at + step], room)
    at += step
    while not stream.eof and len(piece) < room:
        if at < len(view):
            step *= 2
            piece += stream.decompress(view[at : at + step], room - len(piece))
            at += step
        elif not (more := _rest(stream, room - len(piece))):
            raise CorruptChunkError(f"the stream is cut short after {len(piece)} decoded bytes", codec=codec)
        else:
            piece += more
    return piece, min(at, len(view)) - len(stream.unused_data)


def _rest(stream: Any, room: int) -> bytes:
    """What a decoder that has all its input still holds back. zlib's holds nothing back while there is room."""
    return b"" if getattr(stream, "needs_input", True) else stream.decompress(b"", room)
