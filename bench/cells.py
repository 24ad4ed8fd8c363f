"""What is measured: the data, the layouts and codecs, and the questions asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np

KIB, MIB = 1 << 10, 1 << 20
CODECS = ("none", "zstd", "blosc", "gzip")
QUESTIONS = ("read", "slices", "small", "points", "write")


@dataclass(frozen=True)
class Layout:
    """Bytes of a chunk and, where sharded, of a shard. Both are squares of float32."""

    chunk: int
    shard: int | None = None

    @property
    def chunks(self) -> tuple[int, int]:
        """Shape of a chunk."""
        return _square(self.chunk)

    @property
    def shards(self) -> tuple[int, int] | None:
        """Shape of a shard, None where there are none."""
        return None if self.shard is None else _square(self.shard)

    def __str__(self) -> str:
        return size(self.chunk) if self.shard is None else f"{size(self.chunk)} in {size(self.shard)}"


PLAIN = [Layout(n) for n in (16 * KIB, 64 * KIB, 256 * KIB, MIB, 16 * MIB)]
SHARDED = [Layout(16 * KIB, 16 * MIB), Layout(64 * KIB, 16 * MIB), Layout(MIB, 64 * MIB)]


@dataclass(frozen=True)
class Cell:
    """One question asked of one store."""

    what: str
    codec: str
    layout: Layout

    def __str__(self) -> str:
        return f"{self.what} {self.codec} {self.layout}"


def field(mebibytes: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A square of float32: waves of several lengths and noise, rounded as an instrument would, the same every time.

    Zstd makes it about 1.6 times smaller, Blosc (LZ4, shuffle) about 1.5 times.
    """
    edge = isqrt(mebibytes * MIB // 4)
    if edge * edge * 4 != mebibytes * MIB:
        raise SystemExit(f"--size {mebibytes}: must be a power of four (1, 4, 16, 64, 256, 1024)")
    rng = np.random.default_rng(20260101)
    data = rng.standard_normal((edge, edge), dtype=np.float32)
    data *= 0.05
    x = np.linspace(0, 1, edge, dtype=np.float32)
    for length in (1, 5, 11):
        data += np.outer(np.sin(2 * np.pi * length * x), np.cos(2 * np.pi * (length + 2) * x)) / np.float32(length)
    np.round(data * 16384, out=data)
    data /= 16384
    return data


def slabs(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Eight bands of 32 rows, spread over the array."""
    starts = np.linspace(0, shape[0] - 32, 8, dtype=int)
    return [(slice(int(i), int(i) + 32), slice(None)) for i in starts]


def windows(shape: tuple[int, ...], count: int) -> list[tuple[slice, slice]]:
    """`count` random windows of 8 x 8."""
    corners = np.random.default_rng(1).integers(0, np.array(shape) - 8, (count, 2))
    return [(slice(int(i), int(i) + 8), slice(int(j), int(j) + 8)) for i, j in corners]


def points(shape: tuple[int, ...]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """1000 random places."""
    rows, columns = np.random.default_rng(2).integers(0, shape, (1000, 2)).T
    return rows, columns


def size(nbytes: int) -> str:
    """16384 -> "16K"."""
    return f"{nbytes // MIB}M" if nbytes % MIB == 0 else f"{nbytes // KIB}K"


def parse_size(text: str) -> int:
    """ "16K" -> 16384."""
    factor = {"K": KIB, "M": MIB}.get(text[-1:].upper())
    return int(text) if factor is None else int(text[:-1]) * factor


def _square(nbytes: int) -> tuple[int, int]:
    edge = isqrt(nbytes // 4)
    return edge, edge
