"""Chunks that are decoded by one call (`codecs.engines.joined`): where it answers, each chunk is what it is alone.

An input is a few alike chunks, some of them mutants, with gaps between them. They lie against a forbidden page, as does
the room for what they decode to.
"""

from __future__ import annotations

import ctypes
import struct
from collections import Counter
from functools import cache
from random import Random

import numpy as np

from gpuzarr.codecs.engines import native
from gpuzarr.devices.cpu import APRON
from gpuzarr.errors import GpuzarrError
from tests.fuzz.compressed import KINDS, BloscTarget, Compressed, ZstdTarget
from tests.fuzz.memory import Guarded
from tests.fuzz.mutators import Seed, mutate_bytes
from tests.fuzz.target import Finding, Target
from tests.streams import contents

SIZES = (256, 1024, 2048)
MOST = 6
_HEAD = struct.Struct("<HBB")  # decoded bytes of a chunk, chunks, bytes between them


class Joined(Target):
    """One format."""

    def __init__(self, made_by: type[Compressed]) -> None:
        self.made_by = made_by()
        self.name = f"joined-{self.made_by.name}"  # type: ignore[misc]

    def prepare(self) -> None:
        made_by = self.made_by
        self.families: list[list[Seed]] = [
            [Seed(data, plain, made_by.fields(data)) for plain in raw for data in [bytes(encode(plain))]]
            for encode in made_by.encoders()
            for raw in [[contents(kind, size, i) for i, kind in enumerate(KINDS)] for size in SIZES]
        ]
        self.room, self.one, self.out, self.one_out, self.parted, self.part_out = (Guarded(1 << 17) for _ in range(6))
        self.alone = {size: made_by.codec.decoder(size) for size in SIZES}
        self.together = {size: made_by.codec.joined_decoder(size) for size in SIZES}

    def generate(self, rng: Random) -> bytes:
        family = rng.choice(self.families)
        nbytes, count = len(family[0].decoded), rng.randrange(2, MOST + 1)
        blobs = [rng.choice(family).data for _ in range(count)]
        for _ in range(rng.randrange(3)):
            data = mutate_bytes(rng.choice(family), rng.choice(family), rng)
            if rng.random() < 0.8:
                self.made_by.repair(data, nbytes)
            blobs[rng.randrange(count)] = bytes(data[:4000])
        sizes = [len(blob) for blob in blobs]
        return (
            _HEAD.pack(nbytes, count, rng.choice((0, 0, 3, 8, 40)))
            + struct.pack(f"<{count}H", *sizes)
            + b"".join(blobs)
        )

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        nbytes, count, gap = _HEAD.unpack_from(data)
        sizes = np.array(struct.unpack_from(f"<{count}H", data, _HEAD.size), np.int64)
        starts = _HEAD.size + 2 * count + np.cumsum(sizes) - sizes
        blobs = [data[at : at + size] for at, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
        together, packed = self.together[nbytes], (b"\xa5" * gap).join(blobs)
        if together is None:
            raise Finding("no decoder for chunks together")
        base = self.room.put(packed)
        ctypes.memset(base - APRON, 0xA5, APRON)
        room = np.frombuffer((ctypes.c_ubyte * len(packed)).from_address(base), np.uint8)
        where, offsets = self.out.take(nbytes * count, 0x5A), np.cumsum(sizes + gap) - sizes - gap
        if len(packed) < 16:
            return
        self._parts(room.copy(), offsets, sizes, nbytes, blobs, tally)
        decode = together(room, base, offsets, sizes)
        half = count // 2  # at once, and the rest
        if decode is None or not decode(0, half, where) or not decode(half, count - half, where + half * nbytes):
            tally["refused"] += 1
            return
        tally["decoded"] += 1
        for i, blob in enumerate(blobs):
            self._same(blob, nbytes, ctypes.string_at(where + i * nbytes, nbytes))

    def _parts(
        self,
        room: np.ndarray,
        offsets: np.ndarray,
        sizes: np.ndarray,
        nbytes: int,
        blobs: list[bytes],
        tally: Counter[str],
    ) -> None:
        """A part of each chunk, where the codec decodes parts."""
        decode = self.made_by.codec.part_decoder(nbytes)
        if decode is None:
            return
        base = self.parted.put(room.tobytes())
        ctypes.memset(base - APRON, 0xA5, APRON)
        there = np.frombuffer((ctypes.c_ubyte * len(room)).from_address(base), np.uint8)
        starts = sizes % (nbytes - 8)
        spans = starts, starts + 8

        def scratch(shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, int]:
            where = self.part_out.take(shape[0], 0x5A)
            return np.frombuffer((ctypes.c_ubyte * shape[0]).from_address(where), np.uint8), where

        found = decode(there, base, offsets, sizes, spans, scratch)
        if found is None:
            tally["parts refused"] += 1
            return
        tally["parts decoded"] += 1
        decoded, _, places = found
        for blob, start, place in zip(blobs, starts.tolist(), places.tolist(), strict=True):
            source, where = self.one.put(blob), self.one_out.take(nbytes, 0xA5)
            try:
                self.alone[nbytes](source, len(blob), where)
            except GpuzarrError:
                continue  # damage in blocks that the part has nothing of
            if ctypes.string_at(where + start, 8) != decoded[place : place + 8].tobytes():
                raise Finding("a part alone is another than that of the whole")

    def _same(self, blob: bytes, nbytes: int, got: bytes) -> None:
        source, where = self.one.put(blob), self.one_out.take(nbytes, 0xA5)
        try:
            self.alone[nbytes](source, len(blob), where)
        except GpuzarrError as error:
            raise Finding(f"alone it is refused: {error}") from error
        if ctypes.string_at(where, nbytes) != got:
            raise Finding("alone it decodes to other bytes")


@cache
def targets() -> list[Target]:
    """All of them; none where the C libraries cannot be called directly."""
    return [Joined(kind) for kind in (BloscTarget, ZstdTarget)] if native.Blosc.find() is not None else []
