"""Compressed streams to ask nvCOMP about: sound ones, legal ones that a decoder may refuse, and damaged ones."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

SIZES = (1, 2, 15, 64, 4095, 65536, 131072, 131073, 1 << 20, 3_000_001)
BLOCK = 128 << 10


@dataclass
class Question:
    """Streams of one format, and what they should decode to."""

    name: str
    format: str
    streams: list[bytes]
    plains: list[bytes]
    shift: int = 0  # of every stream from a multiple of 16
    slack: int = 0  # bytes of room beyond the decoded size


def walk(nbytes: int) -> bytes:
    """A random walk of int32: compressible, not trivial, the same every time."""
    steps = np.random.default_rng(nbytes).integers(-2, 3, nbytes // 4 + 1)
    return np.cumsum(steps).astype("<i4").tobytes()[:nbytes]


def zstd(data: bytes, level: int = 3, checksum: bool = False) -> bytes:
    """One frame with its size, as numcodecs writes it."""
    import numcodecs

    return bytes(numcodecs.Zstd(level, checksum).encode(data))


def raw_frame(data: bytes, block: int, sized: bool) -> bytes:
    """A Zstd frame of raw blocks of this length, with or without the size of its content."""
    head = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data)) if sized else struct.pack("<IBB", 0xFD2FB528, 0, 10 << 3)
    parts = [data[i : i + block] for i in range(0, len(data), block)]
    blocks = [int((i == len(parts) - 1) | len(p) << 3).to_bytes(3, "little") + p for i, p in enumerate(parts)]
    return head + b"".join(blocks)


def lz4(data: bytes) -> bytes:
    """A block without the size that numcodecs puts before it."""
    import numcodecs

    return bytes(numcodecs.LZ4().encode(data))[4:]


def gzip(data: bytes) -> bytes:
    """One member, as numcodecs writes it."""
    import numcodecs

    return bytes(numcodecs.GZip(5).encode(data))


def deflate(data: bytes) -> bytes:
    """A zlib stream without its header and its checksum."""
    return zlib.compress(data, 6)[2:-4]


def snappy(data: bytes) -> bytes:
    """Literals only."""
    length, rest = b"", len(data)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    parts = [data[i : i + 60] for i in range(0, len(data), 60)]
    return length + bytes([rest]) + b"".join(bytes([(len(p) - 1) << 2]) + p for p in parts)


def sound() -> list[Question]:
    """What every decoder should be able to do."""
    many, two = [walk(n) for n in SIZES], [walk(n) for n in (1000, 300_000)]
    asked = [Question(f"zstd level {n}", "zstd", [zstd(d, n) for d in many], many, 1) for n in (-5, 1, 3, 9)]
    asked += [Question(f"zstd level {n}", "zstd", [zstd(d, n) for d in many[:9]], many[:9]) for n in (19, 22)]
    asked.append(Question("zstd of blocks of 512 bytes", "zstd", [raw_frame(d, 512, sized=True) for d in two], two))
    for shift in (0, 1, 3, 5):
        asked.append(Question(f"lz4 shifted by {shift}", "lz4", [lz4(d) for d in many], many, shift))
    asked.append(Question("lz4 with room to spare", "lz4", [lz4(d) for d in many], many, slack=100))
    asked.append(Question("snappy shifted by 1", "snappy", [snappy(d) for d in many], many, 1))
    for shift in (0, 4):
        asked.append(Question(f"deflate shifted by {shift}", "deflate", [deflate(d) for d in many], many, shift))
    asked.append(Question("gzip shifted by 3", "gzip", [gzip(d) for d in many], many, 3))
    return asked


def odd() -> list[Question]:
    """Legal streams that a decoder may refuse, or not be made for."""
    data = walk(300_000)
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"abcd"
    member = gzip(data)
    streams = {
        "zstd with a checksum": zstd(data, 3, True),
        "zstd without its size": raw_frame(data, BLOCK, sized=False),
        "zstd of two frames": zstd(data[:500]) + zstd(data[500:]),
        "zstd behind a skippable frame": skippable + zstd(data),
        "zstd before a skippable frame": zstd(data) + skippable,
        "deflate with its Adler-32": zlib.compress(data, 6)[2:],
        "gzip with a file name": member[:3] + b"\x08" + member[4:10] + b"name.bin\0" + member[10:],
    }
    return [Question(name, name.partition(" ")[0], [stream], [data]) for name, stream in streams.items()]


def dangerous() -> list[Question]:
    """Damaged streams, which gpuzarr's checks are there to stop; behaviour is not defined."""
    data, asked = walk(300_000), []
    for name, encode in (("zstd", zstd), ("deflate", deflate), ("gzip", gzip), ("lz4", lz4), ("snappy", snappy)):
        good = encode(data)
        for at in (len(good) // 3, len(good) // 2):
            bad = good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :]
            asked.append(Question(f"{name}, byte {at} flipped", name, [bad], [data]))
        asked.append(Question(f"{name}, cut short", name, [good[:-100]], [data]))
    wrong = [gzip(data)[:-8] + bytes(4) + gzip(data)[-4:]]
    asked.append(Question("gzip with a wrong CRC-32", "gzip", wrong, [data]))
    asked.append(Question("deflate shifted by 1", "deflate", [deflate(data)], [data], 1))
    return asked
