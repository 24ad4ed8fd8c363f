"""Which Zstandard streams are whole, one frame, and of the expected size, as far as that shows without decoding.

RFC 8878, section 3.1. A first pass reads the frame headers; then all streams walk together, block by block; a last
pass looks into all compressed blocks at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpuzarr.codecs.engines.streams_table import ZSTD_BLOCK, Bools, Integers, Octets, unsigned

_MAGIC = 0xFD2FB528
_WINDOW_LOG = 27  # decoders may refuse a larger window
_RAW, _RLE, _COMPRESSED, _RESERVED = range(4)
# Blocks for every 128 KiB of output: high levels make up to 8. Frames of far more come from writers that flush all
# the time, and nobody has seen nvCOMP decode them.
_CROWD = 16


def zstd_fit(
    encoded: Octets, at: Integers, size: Integers, nbytes: Integers, *, trusted: bool = False
) -> tuple[Bools, Integers, Integers]:
    """Which streams are one zstd frame of exactly `nbytes` bytes that a GPU decoder may see, their blocks, and the
    checksums of their contents (the low 32 bits of XXH64), -1 where there is none.

    Trusted frames' compressed blocks are not looked into.
    """
    frames = _Frames.read(encoded, at, size, nbytes)
    checksum = np.where(frames.checked, unsigned(encoded, frames.end, 4), -1)
    return frames.fit, _walk(encoded, frames, nbytes, trusted), checksum


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frame headers: which are as they should be, which tell a checksum, the first block's place, where the blocks
    end, and the most bytes of a block."""

    fit: Bools
    checked: Bools
    place: Integers
    end: Integers
    limit: Integers

    @classmethod
    def read(cls, encoded: Octets, at: Integers, size: Integers, nbytes: Integers) -> _Frames:
        start = unsigned(encoded, at, 8)
        descriptor, window = start >> 32 & 0xFF, start >> 40 & 0xFF
        single = descriptor >> 5 & 1
        log = 10 + (window >> 3)
        # The size of the content is told in 0, 1, 2, 4 or 8 bytes behind that; two bytes count from 256.
        kind, field = descriptor >> 6, at + 6 - single
        width = np.where(kind == 0, single, 1 << kind)
        content = unsigned(encoded, field, 8) & np.choose(kind, [0xFF, 0xFFFF, 0xFFFFFFFF, -1])
        content += np.where(kind == 1, 256, 0)
        place = field + width
        checked = descriptor >> 2 & 1
        end = at + size - 4 * checked
        fit = (size >= 9) & (start & 0xFFFFFFFF == _MAGIC) & (width > 0) & (content == nbytes)
        # No dictionary, no reserved bit.
        fit &= (descriptor & 0b11011 == 0) & ((single == 1) | (log <= _WINDOW_LOG)) & (place + 3 <= end)
        spread = np.where(single == 1, nbytes, (8 + (window & 7)) << (log - 3))
        return cls(fit, checked.astype(bool), place, end, np.minimum(spread, ZSTD_BLOCK))


def _walk(encoded: Octets, frames: _Frames, nbytes: Integers, trusted: bool) -> Integers:
    """Take out of `frames.fit` what has a wrong block header, ends too soon or too late, or cannot decode to
    `nbytes` bytes. Gives the number of blocks."""
    fit, place = frames.fit, frames.place.copy()
    least, most, blocks = (np.zeros(len(fit), np.int64) for _ in range(3))
    crowd = _CROWD * -(-nbytes // ZSTD_BLOCK)
    found: list[tuple[Integers, Integers, Integers]] = []
    walking = np.flatnonzero(fit)
    while len(walking):
        here, end, limit = place[walking], frames.end[walking], frames.limit[walking]
        header = unsigned(encoded, here, 4) & 0xFFFFFF
        last, kind, length = (header & 1).astype(bool), header >> 1 & 3, header >> 3
        body = here + 3
        after = body + np.where(kind == _RLE, 1, length)
        blocks[walking] += 1
        good = (kind != _RESERVED) & (length <= limit) & (blocks[walking] <= crowd[walking])
        good &= np.where(last, after == end, after + 3 <= end)
        packed = kind == _COMPRESSED
        least[walking] += np.where(packed, 0, length)
        most[walking] += np.where(packed, limit, length)
        good &= least[walking] <= nbytes[walking]
        chosen = good & packed
        found.append((walking[chosen], body[chosen], length[chosen]))
        fit[walking[~good]] = False
        place[walking] = after
        walking = walking[good & ~last]
    if trusted or not found:
        return blocks
    row, at, size = (np.concatenate(column) for column in zip(*found, strict=True))
    within = fit[row]
    row, at, size = row[within], at[within], size[within]
    good, known = _blocks_fit(encoded, row, at, size, frames.limit[row])
    fit[row[~good]] = False
    np.add.at(least, row, known)
    fit &= (least <= nbytes) & (nbytes <= most)
    return blocks


def _blocks_fit(
    encoded: Octets, row: Integers, at: Integers, size: Integers, limit: Integers
) -> tuple[Bools, Integers]:
    """Which compressed blocks have sections that fit, and the least bytes that each decodes to.

    The blocks of a row must come in their order, others may lie between.
    """
    literals, good, tree = _literals_fit(encoded, at, size, limit)
    head = at + literals.size
    rest = size - literals.size
    start = unsigned(encoded, head, 4)
    first, second = start & 0xFF, start >> 8 & 0xFF
    many = np.where(first < 255, (first - 128 << 8) + second, (start >> 8 & 0xFFFF) + 0x7F00)
    count = np.where(first < 128, first, many)
    width = np.where(first < 128, 1, np.where(first < 255, 2, 3))
    none = first == 0
    modes = start >> 8 * width & 0xFF
    final = unsigned(encoded, at + size - 1, 1)
    # A bit stream is read from its end, which a set bit marks.
    some = (count > 0) & (rest >= width + 2) & (modes & 3 == 0) & (final != 0)
    good &= (rest >= 1) & np.where(none, rest == 1, some)
    repeats = np.zeros(len(row), bool)
    for shift in (2, 4, 6):
        repeats |= modes >> shift & 3 == 3
    good &= ~(literals.treeless & ~_seen_before(row, tree))
    good &= ~(~none & repeats & ~_seen_before(row, ~none))
    # A sequence copies at least three bytes.
    known = literals.count + np.where(none, 0, 3 * count)
    good &= known <= limit
    return good, known


@dataclass(frozen=True, slots=True)
class _Literals:
    """Literals sections: their bytes, how many literals they hold, which use an earlier block's Huffman table."""

    size: Integers
    count: Integers
    treeless: Bools


def _literals_fit(encoded: Octets, at: Integers, size: Integers, limit: Integers) -> tuple[_Literals, Bools, Bools]:
    """The literals sections at the start of these blocks, which fit, and which bring a Huffman table."""
    bits = unsigned(encoded, at, 8)  # of which a section's header is at most five bytes
    kind, form = bits & 3, bits >> 2 & 3
    plain = kind < 2
    # Raw and RLE literals: one size of 5, 12 or 20 bits. Huffman ones: two sizes of 10, 14 or 18 bits.
    one_wide = np.choose(form, [5, 12, 5, 20])
    two_wide = np.choose(form, [10, 10, 14, 18])
    header = np.where(plain, np.choose(form, [1, 2, 1, 3]), np.choose(form, [3, 3, 4, 5]))
    start = np.where(plain & (form & 1 == 0), 3, 4)
    wide = np.where(plain, one_wide, two_wide)
    count = bits >> start & (1 << wide) - 1
    packed = bits >> start + wide & (1 << wide) - 1
    body = np.where(kind == 0, count, np.where(kind == 1, 1, packed))
    good: Bools = (size >= 2) & (header + body < size) & (count <= limit)
    tree = kind == 2
    packed_ones = np.flatnonzero(good & ~plain)
    good[packed_ones] = _huffman_fit(
        encoded, (at + header)[packed_ones], body[packed_ones], tree[packed_ones], form[packed_ones] > 0
    ) & (count[packed_ones] > 0)
    return _Literals(header + body, count, kind == 3), good, tree


def _huffman_fit(encoded: Octets, at: Integers, size: Integers, tree: Bools, four: Bools) -> Bools:
    """Which Huffman-coded literals have room for what they hold: the table's description where there is one, and
    one bit stream, or four behind the sizes of the first three. A bit stream ends with a byte that is not zero."""
    first = unsigned(encoded, at, 1)
    table = np.where(tree, 1 + np.where(first < 128, first, first - 126 >> 1), 0)
    fit: Bools = (table < size) & (unsigned(encoded, at + size - 1, 1) != 0)
    these = np.flatnonzero(fit & four)
    place, left = (at + table)[these] + 6, (size - table)[these] - 6
    sizes = unsigned(encoded, place - 6, 8)
    for shift in (0, 16, 32):
        length = sizes >> shift & 0xFFFF
        place, left = place + length, left - length
        fit[these] &= (length > 0) & (left > 0) & (unsigned(encoded, place - 1, 1) != 0)
    return fit


def _seen_before(row: Integers, mark: Bools) -> Bools:
    """For every block, whether an earlier one of its row is marked."""
    order = np.argsort(row, kind="stable")
    rows, marks = row[order], mark[order]
    total: Integers = np.cumsum(marks) - marks  # marked ones before this, of all rows
    opens = np.concatenate([[True], rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, bool)
    base = np.maximum.accumulate(np.where(opens, total, 0))
    seen = np.zeros(len(row), bool)
    seen[order] = total > base
    return seen
