"""Raw Snappy streams, decoded in Python: for the emulated device, since numcodecs' Blosc is built without Snappy.

Format: https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

from gpuzarr.errors import CorruptChunkError


def decode_snappy(data: bytes, limit: int) -> bytes:
    """Decode; raises CorruptChunkError for damage, and where there are more than `limit` bytes."""
    size, at = _varint(data)
    if size > limit:
        raise CorruptChunkError("decoded size beyond the limit", codec="snappy", expected=limit, got=size)
    out = bytearray()
    try:
        while at < len(data) and len(out) <= size:
            at = _element(data, at, out)
    except IndexError:
        raise CorruptChunkError("an element is cut short", codec="snappy") from None
    if len(out) != size:
        raise CorruptChunkError("wrong decoded size", codec="snappy", expected=size, got=len(out))
    return bytes(out)


def _varint(data: bytes) -> tuple[int, int]:
    """The size at the start, and where it ends."""
    value = 0
    for i, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, i + 1
    raise CorruptChunkError("no size at the start", codec="snappy")


def _element(data: bytes, at: int, out: bytearray) -> int:
    """Decode the element at `at`: a literal, or a copy of earlier output; gives where it ends."""
    tag = data[at]
    kind, value = tag & 3, tag >> 2
    if kind == 0:
        extra = max(0, value - 59)
        length = (int.from_bytes(data[at + 1 : at + 1 + extra], "little") if extra else value) + 1
        end = at + 1 + extra + length
        data[end - 1]  # IndexError where the literal is cut
        out += data[end - length : end]
        return end
    if kind == 1:
        length, distance, end = (value & 7) + 4, (value >> 3 << 8) | data[at + 1], at + 2
    else:
        end = at + (3 if kind == 2 else 5)
        data[end - 1]  # as above
        length, distance = value + 1, int.from_bytes(data[at + 1 : end], "little")
    start = len(out) - distance
    if distance == 0 or start < 0:
        raise CorruptChunkError("a copy from before the start", codec="snappy")
    piece = out[start : start + length]
    out += (piece * -(-length // len(piece)))[:length]
    return end
