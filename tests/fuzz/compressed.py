"""Compressed chunks in front of the CPU's decoders.

The chunk lies against a forbidden page, and so does the room for what it decodes to, which has exactly the expected
size. What a decoder accepts is decoded again into memory with other rubbish in it, and by numcodecs: it must be the
same bytes, or some of them came from elsewhere.
"""

from __future__ import annotations

import bz2
import ctypes
import gzip
import lzma
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, ClassVar

import numcodecs
import numpy as np

from gpuzarr.codecs import numcodecs as nc
from gpuzarr.codecs.blosc import BloscCodec
from gpuzarr.codecs.contract import BytesBytesCodec
from gpuzarr.codecs.gzip import GzipCodec
from gpuzarr.codecs.zstd import ZstdCodec
from gpuzarr.errors import GpuzarrError
from tests.fuzz.memory import Guarded
from tests.fuzz.mutators import Seed, mutate_bytes
from tests.fuzz.target import Finding, Target
from tests.streams import contents

LARGEST = 1 << 16  # bytes of an input
SIZES = (64, 300, 1000, 2048)
KINDS = ("walk", "runs", "noise", "zeros")
AGAIN = 8  # one in so many accepted inputs is decoded again


class Compressed(Target):
    """A bytes->bytes codec."""

    codec: ClassVar[BytesBytesCodec]
    unknown: ClassVar[bool] = False  # decode as where the decoded size is not known beforehand

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        """Ways to make a good chunk."""
        raise NotImplementedError

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        """Where the numbers of a good chunk are."""
        return ()

    def repair(self, data: bytearray, nbytes: int) -> None:
        """Make a mutant consistent on its outside, so that the inside is reached."""

    def reference(self, data: bytes) -> Any:
        """What numcodecs makes of it."""
        raise NotImplementedError

    def prepare(self) -> None:
        raw = [contents(kind, size, i) for size in SIZES for i, kind in enumerate(KINDS)]
        made = [(encode(data), data) for encode in self.encoders() for data in raw]
        self.seeds = [Seed(bytes(data), plain, self.fields(bytes(data))) for data, plain in made]
        self.source, self.room = Guarded(LARGEST), Guarded(max(SIZES))
        self.decoders = {size: self.codec.decoder(size) for size in SIZES}
        self.turn = 0

    def generate(self, rng: Random) -> bytes:
        random, seeds = rng.random, self.seeds
        seed, other = seeds[int(random() * len(seeds))], seeds[int(random() * len(seeds))]
        data = mutate_bytes(seed, other, rng)
        nbytes = len(seed.decoded)
        if random() < 0.6:
            self.repair(data, nbytes)
        return nbytes.to_bytes(4, "little") + bytes(data[: LARGEST - 4])

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        nbytes, chunk = int.from_bytes(data[:4], "little"), data[4:]
        if self.unknown:
            return self._unknown(nbytes, chunk, tally)
        self.turn += 1
        source = self.source.put(chunk, at_start=not self.turn & 7)
        decode = self.decoders.get(nbytes) or self.codec.decoder(nbytes)
        try:
            decode(source, len(chunk), self.room.end - nbytes)
        except GpuzarrError:
            tally["refused"] += 1
            return None
        tally["decoded"] += 1
        if not tally["decoded"] % AGAIN:
            self._again(decode, source, chunk, nbytes)
        return None

    def _again(self, decode: Any, source: int, chunk: bytes, nbytes: int) -> None:
        results = []
        for rubbish in (0xA5, 0x5A):
            where = self.room.take(nbytes, rubbish)
            decode(source, len(chunk), where)
            results.append(ctypes.string_at(where, nbytes))
        if results[0] != results[1]:
            raise Finding("decoded bytes that the decoder did not write")
        self._compare(chunk, results[0])

    def _compare(self, chunk: bytes, decoded: bytes) -> None:
        try:
            other = bytes(np.asarray(memoryview(self.reference(chunk))).reshape(-1).view(np.uint8))
        except Exception:
            return  # numcodecs refuses more, or less; where it answers, it answers the same
        if other != decoded:
            raise Finding("numcodecs decodes other bytes")

    def _unknown(self, limit: int, chunk: bytes, tally: Counter[str]) -> None:
        self.turn += 1
        self.source.put(chunk)
        try:
            decoded = bytes(self.codec.decode(_at(self.source.end - len(chunk), len(chunk)), limit))
        except GpuzarrError:
            tally["refused"] += 1
            return
        tally["decoded"] += 1
        if len(decoded) > limit:
            raise Finding(f"{len(decoded)} bytes where at most {limit} may come")
        if not tally["decoded"] % AGAIN:
            self._compare(chunk, decoded)


def _at(address: int, size: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_ubyte * size).from_address(address), np.uint8)


class BloscTarget(Compressed):
    """Blosc containers of every format, shuffle and block size."""

    name, codec = "blosc", BloscCodec(typesize=4, shuffle="shuffle")

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        def one(cname: bytes, shuffle: int, typesize: int, blocksize: int) -> Callable[[bytes], bytes]:
            return lambda data: numcodecs.blosc.compress(data, cname, 5, shuffle, blocksize, typesize)

        names = (b"lz4", b"lz4hc", b"zlib", b"zstd", b"blosclz")
        return [
            one(name, i % 3, (1, 4, 8, 16, 3)[(i + k) % 5], (0, 256, 1024)[(i + k) % 3])
            for k, name in enumerate(names)
            for i in range(6)
        ]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        """Header, block table, and the length of every block's first stream."""
        nbytes, blocksize = struct.unpack_from("<ii", data, 4)
        found = [(2, 1), (3, 1), (4, 4), (8, 4), (8, 4), (12, 4)]
        if data[2] & 2:
            return tuple(found)
        for at in range(16, min(16 + 4 * -(-nbytes // blocksize), len(data) - 4), 4):
            start = int.from_bytes(data[at : at + 4], "little")
            found += [(at, 4), (start, 4), (start + 4, 4)]
        return tuple(found)

    def repair(self, data: bytearray, nbytes: int) -> None:
        if len(data) >= 16:
            data[0] = 2
            data[4:8] = nbytes.to_bytes(4, "little")
            data[12:16] = len(data).to_bytes(4, "little")

    def reference(self, data: bytes) -> Any:
        return numcodecs.blosc.decompress(data)


class ZstdTarget(Compressed):
    """Zstandard frames, with and without content size and checksum; several, and skippable ones."""

    name, codec = "zstd", ZstdCodec()

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        def framed(data: bytes) -> bytes:
            half = len(data) // 2
            return bytes(pack(data[:half]) + b"\x52\x2a\x4d\x18\3\0\0\0abc" + pack(data[half:]))

        def streamed(data: bytes) -> bytes:
            blocks = [(len(data) << 3 | 1).to_bytes(3, "little") + data]
            return b"\x28\xb5\x2f\xfd\0\x20" + b"".join(blocks)

        pack = numcodecs.Zstd(3).encode
        levels = [lambda data, level=level: numcodecs.Zstd(level).encode(data) for level in (1, 3, 9, 19, -5)]
        checked = numcodecs.Zstd(3, checksum=True).encode
        return [*levels, checked, framed, streamed]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        return ((0, 4), (4, 1), (5, 1), (5, 2), (6, 3), (7, 3), (8, 3), (9, 2), (10, 1), (11, 2))

    def reference(self, data: bytes) -> Any:
        return numcodecs.zstd.decompress(data)


class ZstdUnknownTarget(ZstdTarget):
    """The same where only the frame knows its decoded size."""

    name, unknown = "zstd-unknown", True


class Lz4Target(Compressed):
    """A size and an LZ4 block."""

    name, codec = "lz4", nc.LZ4()

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        return [lambda data, speed=speed: numcodecs.LZ4(speed).encode(data) for speed in (1, 10)]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        return ((0, 4), (4, 1), (5, 1), (5, 2), (len(data) - 6, 1), (len(data) - 8, 2))

    def repair(self, data: bytearray, nbytes: int) -> None:
        data[:4] = nbytes.to_bytes(4, "little")

    def reference(self, data: bytes) -> Any:
        return numcodecs.lz4.decompress(data)


class GzipTarget(Compressed):
    """gzip members, with every optional header; one or several."""

    name, codec = "gzip", GzipCodec()

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        def headed(data: bytes) -> bytes:
            plain = gzip.compress(data, 5, mtime=0)
            return plain[:3] + b"\x1c" + plain[4:10] + b"\2\0ab" + b"name\0" + b"comment\0" + plain[10:]

        def members(data: bytes) -> bytes:
            half = len(data) // 2
            return gzip.compress(data[:half], 1, mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(data[half:])

        return [lambda data, level=level: gzip.compress(data, level, mtime=0) for level in (0, 1, 9)] + [
            headed,
            members,
        ]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        return ((0, 2), (2, 1), (3, 1), (10, 2), (10, 1), (len(data) - 4, 4), (len(data) - 8, 4))

    def reference(self, data: bytes) -> Any:
        return numcodecs.GZip().decode(data)


class ZlibTarget(Compressed):
    """zlib streams."""

    name, codec = "zlib", nc.Zlib()

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        return [lambda data, level=level: zlib.compress(data, level) for level in (0, 1, 6, 9)]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        return ((0, 1), (1, 1), (2, 1), (3, 2), (len(data) - 4, 4))

    def reference(self, data: bytes) -> Any:
        return numcodecs.Zlib().decode(data)


class Bz2Target(Compressed):
    """bzip2 streams."""

    name, codec = "bz2", nc.BZ2()

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        return [bz2.compress, lambda data: bz2.compress(data[:50]) + bz2.compress(b"") + bz2.compress(data[50:])]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        return ((0, 4), (4, 4), (10, 4), (14, 4))

    def reference(self, data: bytes) -> Any:
        return numcodecs.BZ2().decode(data)


class LzmaTarget(Compressed):
    """xz streams."""

    name, codec = "lzma", nc.LZMA()

    def encoders(self) -> list[Callable[[bytes], bytes]]:
        return [lambda data, preset=preset: lzma.compress(data, preset=preset) for preset in (0, 1)]

    def fields(self, data: bytes) -> tuple[tuple[int, int], ...]:
        return ((0, 4), (6, 2), (8, 4), (12, 1), (13, 1), (14, 4), (len(data) - 12, 4))

    def reference(self, data: bytes) -> Any:
        return numcodecs.LZMA().decode(data)


@cache
def targets() -> list[Target]:
    """All of them."""
    kinds = (
        BloscTarget, ZstdTarget, ZstdUnknownTarget, Lz4Target, GzipTarget, ZlibTarget, Bz2Target, LzmaTarget,
    )  # fmt: skip
    return [kind() for kind in kinds]
