"""What can be told of an LZ4 or a Snappy stream without decoding it.

LZ4 block: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
Snappy: https://github.com/google/snappy/blob/main/format_description.txt
"""

from __future__ import annotations

import numpy as np

from gpuzarr.codecs.engines.streams_table import Bools, Integers, Octets, unsigned


def lz4_fit(encoded: Octets, at: Integers, size: Integers, nbytes: Integers) -> Bools:
    """Which streams can be one LZ4 block of `nbytes` bytes.

    A byte of a block adds at most 255 decoded bytes; writers store what does not shrink with one more byte in 255.
    """
    literals = unsigned(encoded, at, 1) >> 4
    more = unsigned(encoded, at + 1, 1)
    fit: Bools = (size > 0) & (nbytes <= 255 * size) & (size <= nbytes + nbytes // 255 + 16)
    # The first sequence's literals lie within the stream; the last sequence has no match, so where they reach the
    # end they are all there is.
    long = literals == 15
    counted = ~long | (more < 255)  # the length ends in its first byte; longer ones are left to the decoder
    taken = np.where(long, 2 + 15 + more, 1 + literals)
    fit &= ~counted | (taken + 2 < size) | ((taken == size) & (np.where(long, 15 + more, literals) == nbytes))
    return fit


def snappy_fit(encoded: Octets, at: Integers, size: Integers, nbytes: Integers) -> Bools:
    """Which streams can be raw Snappy of `nbytes` bytes: the size, 7 bits a byte, then elements, a literal first."""
    value, place, reading = np.zeros(len(at), np.int64), at.copy(), np.ones(len(at), bool)
    for shift in range(0, 35, 7):
        byte = unsigned(encoded, place, 1)
        value |= np.where(reading, (byte & 0x7F) << shift, 0)
        place += reading
        reading &= byte >= 0x80
    rest = at + size - place
    tag = unsigned(encoded, place, 1)
    short = (tag >> 2) < 60  # the length of a longer literal follows in bytes of its own
    # The best element is a copy: 3 bytes for 64. The worst is a literal of one byte, in two.
    fit: Bools = ~reading & (rest > 0) & (value == nbytes) & (3 * nbytes <= 64 * rest) & (rest <= 2 * nbytes + 8)
    fit &= (tag & 3 == 0) & (~short | (1 + (tag >> 2) + 1 <= rest))
    return fit
