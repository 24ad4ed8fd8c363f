"""The outline of Zstandard data, read without decoding (RFC 8878, section 3.1)."""

from __future__ import annotations

from gpuzarr.errors import CorruptChunkError

_MAGIC = 0xFD2FB528
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_BLOCK = 128 << 10  # a block never decodes to more


def decoded_bounds(data: bytes) -> tuple[int, int]:
    """The least and the most bytes that `data` can decode to: equal where every frame tells its size.

    Raises CorruptChunkError where `data` is not a whole number of frames.
    """
    at = least = most = 0
    try:
        while at < len(data):
            magic = int.from_bytes(data[at : at + 4], "little")
            if magic in _SKIPPABLE:
                at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
                continue
            if magic != _MAGIC:
                raise CorruptChunkError(f"not a zstd frame at byte {at}", codec="zstd")
            at, size, low, high = _frame(data, at + 4)
            least, most = least + (low if size is None else size), most + (high if size is None else size)
    except IndexError:
        at = len(data) + 1
    if at != len(data):
        raise CorruptChunkError("a zstd frame is cut short", codec="zstd", got=len(data))
    return least, most


def _frame(data: bytes, at: int) -> tuple[int, int | None, int, int]:
    """(end, content size or None, least, most) of the frame whose header starts at `at`."""
    descriptor = data[at]
    single = bool(descriptor & 0x20)
    at += 1 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    width = (int(single), 2, 4, 8)[descriptor >> 6]
    size = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0) if width else None
    at += width
    least = most = 0
    last = False
    while not last:
        data[at + 2]  # IndexError where the block header is cut
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3:
            raise CorruptChunkError("a reserved zstd block", codec="zstd")
        at += 3 + (1 if kind == 1 else length)
        least, most = (least, most + _BLOCK) if kind == 2 else (least + length, most + length)
    return at + (4 if descriptor & 4 else 0), size, least, most
