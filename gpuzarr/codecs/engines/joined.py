"""The encoded chunks of a wave as one: what lets a C decoder walk them all in a single call.

A small chunk decodes in a few microseconds, about what it costs two threads to hand the interpreter over. Both
formats here allow what lies side by side in memory to be read as one thing: a Blosc container is a header and a
table of where its blocks start, so a table over the blocks of all chunks makes one container of them; Zstandard
frames may follow one another, with skippable frames over what lies between. The chunks decode one behind another.

Only chunks that are alike are joined, and only where every block and stream ends inside its own chunk, so that
no chunk reads what is not its own; for others the functions give None. They then go one by one, with every error
told of the chunk that has it.

Formats: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst, RFC 8878.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpuzarr.codecs.engines.blosc_header import BLOSCLZ_LIMIT, HEADER_SIZE, MAX_SIZE, check_header, is_stored, splits
from gpuzarr.devices.cpu import APRON
from gpuzarr.errors import GpuzarrError

_FRAME, _SKIPPABLE = 0xFD2FB528 - (1 << 32), 0x184D2A50  # magic numbers as int32
_SKIPPABLE_HEADER = 8
_MOST_BLOCKS = 8  # of a frame; chunks of so many are large enough to go one by one

Room: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def _words(room: Room) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The int32 at every byte of `room`, little-endian."""
    return np.ndarray((room.size - 3,), "<i4", room, 0, (1,))


class Container(NamedTuple):
    """Blocks of several Blosc containers, to be read as those of one."""

    head: bytes  # what all the headers begin with
    blocksize: int  # bytes
    table: Integers  # where in the room each block starts, those of a row together
    stop: int  # where in the room the last container ends

    def front(self, first: int, count: int) -> bytes:
        """What makes one container of the blocks of some rows, when it stands right before the room."""
        table = self.table[first : first + count]
        size = HEADER_SIZE + 4 * table.size
        sums = np.array([self.blocksize * table.size, self.blocksize, size + self.stop], "<i4")
        return self.head + sums.tobytes() + (table + size).astype("<i4").tobytes()


def blosc_container(
    room: Room, offsets: Integers, sizes: Integers, nbytes: int, spans: tuple[Integers, Integers] | None = None
) -> Container | None:
    """One container of the blocks of all containers which lie in `room` and hold `nbytes` bytes each. With `spans`,
    only of those blocks of each that have some of its decoded bytes from spans[0] to spans[1]."""
    stop = int((offsets + sizes).max())
    if int(sizes.min()) < HEADER_SIZE or stop > MAX_SIZE - APRON:
        return None
    words = _words(room)
    header = words[offsets[:, None] + _HEADER_WORDS]  # four words: bytes of flags, nbytes, blocksize, cbytes
    if (header[:, :3] != header[0, :3]).any() or (header[:, 3] != sizes).any():
        return None
    start = int(offsets[0])
    first = room[start : start + HEADER_SIZE].tobytes()
    try:
        flags = check_header(first, int(sizes[0]), nbytes)
    except GpuzarrError:
        return None
    blocksize = int(header[0, 2])
    longest = MAX_SIZE if flags >> 5 else BLOSCLZ_LIMIT  # of which `check_streams` would have to look at each stream
    if is_stored(flags) or nbytes % blocksize or int(sizes.max()) > longest:
        return None
    blocks = nbytes // blocksize
    if int(sizes.min()) < HEADER_SIZE + 4 * blocks:
        return None
    base, ends, entries = offsets[:, None], (offsets + sizes)[:, None], np.arange(blocks)
    if spans is not None:
        low, high = spans[0] // blocksize, (spans[1] - 1) // blocksize + 1
        rows = np.repeat(np.arange(len(offsets)), high - low)
        entries = np.arange(len(rows)) - np.repeat(np.cumsum(high - low) - high, high - low)
        base, ends = offsets[rows], (offsets + sizes)[rows]
    table = words[base + HEADER_SIZE + 4 * entries] + base  # where each block starts in the room
    too_long = HEADER_SIZE + 4 * table.size > APRON
    if too_long or not _inside(words, table, base, ends, splits(flags, first[3], blocksize)):
        return None
    return Container(first[:4], blocksize, table, stop)


def _inside(words: Any, table: Integers, base: Integers, ends: Integers, streams: int) -> bool:
    """Whether all streams of the blocks that start at `table` lie in their own container."""
    at, last = table, ends - 4
    for _ in range(streams):
        if (at < base).any() or (at > last).any():
            return False
        length = words[at]
        at = at + length + 4
        if (length < 0).any():
            return False
    return not (at > ends).any()


def zstd_frames(room: Room, offsets: Integers, sizes: Integers, nbytes: int) -> bool:
    """Make the frames that lie in `room` and hold `nbytes` bytes each follow one another, in the order of the rows.
    False where they cannot: what is between two frames must have room for a skippable one."""
    ends = offsets + sizes
    gaps = offsets[1:] - ends[:-1]
    if int(sizes.min()) < 10 or ((gaps != 0) & (gaps < _SKIPPABLE_HEADER)).any():
        return False
    words = _words(room)
    descriptor = int(room[offsets[0] + 4])
    single, content, checksum = descriptor & 0x20, descriptor >> 6, descriptor & 0x04
    if descriptor & 0x0B or not (single or content) or content == 3:  # a dictionary, reserved, or no size
        return False
    if (words[offsets] != _FRAME).any() or (room[offsets + 4] != descriptor).any():
        return False
    at = offsets + (5 if single else 6)
    claimed = words[at]
    if (claimed & _SIZE_MASKS[content] != nbytes - (256 if content == 1 else 0)).any():
        return False
    at = at + _SIZE_BYTES[content]
    stop = ends - (4 if checksum else 0)
    more = np.ones(len(at), np.bool_)
    for _ in range(_MOST_BLOCKS):
        if (at[more] > stop[more] - 3).any():
            return False
        # Three bytes, and perhaps the last of the room: the word from one byte earlier has them.
        block = words[np.where(more, at - 1, offsets)] >> 8 & 0xFFFFFF
        size = np.where(block & 6 == 2, 1, block >> 3)  # a run-length block is one byte
        at = np.where(more, at + 3 + size, at)
        more &= block & 1 == 0
        if not more.any():
            break
    if (at != stop).any():
        return False
    if gaps.any():
        places = ends[:-1][gaps > 0]
        words[places] = _SKIPPABLE
        words[places + 4] = gaps[gaps > 0] - _SKIPPABLE_HEADER
    return True


_HEADER_WORDS = 4 * np.arange(4)
_SIZE_BYTES = (1, 2, 4)  # of the content size, by its flag
_SIZE_MASKS = (0xFF, 0xFFFF, -1)
