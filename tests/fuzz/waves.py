"""Waves of chunks in front of the checks that stand before nvCOMP (`codecs.engines.streams`), by thousands.

An input is a wave: many mutants of good chunks, one behind another. Tables of streams that come out must stay within
their chunks and cover what they decode to. `tests/test_streams_hostile.py` judges fewer of them in full.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from random import Random
from typing import Any

import numpy as np

from gpuzarr.codecs.engines import streams as st
from tests.fuzz.compressed import BloscTarget, Compressed, GzipTarget, Lz4Target, ZlibTarget, ZstdTarget
from tests.fuzz.memory import Guarded
from tests.fuzz.mutators import Seed, mutate_bytes
from tests.fuzz.target import Finding, Target

ROWS = 2000
NBYTES = 1000
MOST = 500  # bytes of a chunk: a wave must fit the memory that is shared with the supervisor
SPLIT: dict[str, Any] = {
    "zstd": st.split_zstd, "lz4": st.split_lz4, "gzip": st.split_gzip, "zlib": st.split_zlib, "blosc": st.split_blosc,
}  # fmt: skip


class Waves(Target):
    """One format."""

    step = ROWS

    def __init__(self, made_by: type[Compressed]) -> None:
        self.made_by = made_by()
        self.format = self.made_by.name
        self.name = f"wave-{self.format}"  # type: ignore[misc]

    def prepare(self) -> None:
        self.made_by.prepare()
        self.seeds: list[Seed] = [seed for seed in self.made_by.seeds if len(seed.decoded) == NBYTES]
        self.memory = Guarded(1 << 20)

    def generate(self, rng: Random) -> bytes:
        """The head says how long each chunk is. A pool of mutants is made one by one; the wave is drawn from it, and
        numbers and bytes of its chunks are then changed all at once."""
        pool = [self._mutant(rng) for _ in range(64)]
        draw = np.random.default_rng(rng.getrandbits(63))
        picked = draw.integers(0, len(pool), ROWS)
        blobs = [pool[i] for i in picked.tolist()]
        sizes = np.array([len(blob) for blob in blobs], np.int64)
        wave = np.frombuffer(bytearray(b"".join(blobs)), np.uint8)
        starts = np.cumsum(sizes) - sizes
        rows = np.flatnonzero((draw.random(ROWS) < 0.7) & (sizes > 0))
        for reach in (40, 1 << 16):  # heads first, then anywhere
            places = starts[rows] + draw.integers(0, np.minimum(sizes[rows], reach))
            flipped = wave[places] ^ (1 << draw.integers(0, 8))
            wave[places] = np.where(draw.random(len(rows)) < 0.5, draw.integers(0, 256, len(rows)), flipped)
            rows = rows[::3]
        return len(sizes).to_bytes(8, "little") + sizes.tobytes() + wave.tobytes()

    def _mutant(self, rng: Random) -> bytes:
        seed, other = rng.choice(self.seeds), rng.choice(self.seeds)
        if rng.random() < 0.3 and len(seed.data) <= MOST:
            return seed.data
        data = mutate_bytes(seed, other, rng)
        if rng.random() < 0.7:
            self.made_by.repair(data, NBYTES)
        return bytes(data[:MOST])

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        count = int.from_bytes(data[:8], "little")
        sizes = np.frombuffer(data, np.int64, count, 8)
        starts = np.cumsum(sizes) - sizes
        blob = data[8 + 8 * count :]
        self.memory.put(blob)
        encoded = _array_at(self.memory.end - len(blob), len(blob))
        if self.format == "blosc":
            split = st.split_blosc(encoded, starts, sizes, NBYTES)
            streams, unfit = split.streams, split.unfit
            self._covers(split)
        else:
            one, unfit = SPLIT[self.format](encoded, starts, sizes, NBYTES, trusted=self.format == "zlib")
            streams = (one,)
            if np.flatnonzero(~unfit).tolist() != one.row.tolist():
                raise Finding("a chunk is neither fit nor unfit")
        tally["fit"] += int((~unfit).sum())
        tally["unfit"] += int(unfit.sum())
        for table in streams:
            first, end = starts[table.row], (starts + sizes)[table.row]
            inside = (table.size > 0) & (table.source >= first) & (table.source + table.size <= end)
            lands = (table.offset >= 0) & (table.capacity > 0) & (table.offset + table.capacity <= NBYTES)
            if not inside.all() or not lands.all() or unfit[table.row].any():
                raise Finding(f"a {table.format} stream reaches out of its chunk")

    def _covers(self, split: st.BloscWave) -> None:
        fit = ~split.unfit
        held = np.zeros(len(fit), np.int64)
        for table in (*split.streams, split.stored, split.plain):
            np.add.at(held, table.row, table.capacity if isinstance(table, st.Streams) else table.size)
        if (held != np.where(fit, NBYTES, 0)).any():
            raise Finding("streams and copies do not cover a chunk once")
        block, typesize, kind = (column[fit] for column in split.filters)
        whole = (block > 0) & (block <= NBYTES) & (typesize >= 1) & (typesize <= 255) & (kind >= 0) & (kind <= 2)
        if not whole.all():
            raise Finding("a filter that there is not, or of blocks that there are not")


def _array_at(address: int, size: int) -> np.ndarray:
    import ctypes

    return np.frombuffer((ctypes.c_ubyte * size).from_address(address), np.uint8)


@cache
def targets() -> list[Target]:
    """All of them."""
    return [Waves(kind) for kind in (ZstdTarget, Lz4Target, GzipTarget, ZlibTarget, BloscTarget)]
