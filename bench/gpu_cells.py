"""What `bench/gpu.py` measures: the data, made from a seed, and the stores that they are read from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from cells import KIB, MIB, field, size

import gpuzarr
from gpuzarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from gpuzarr.codecs.numcodecs import LZ4

CODECS: dict[str, Any] = {
    "none": None,
    "zstd": ZstdCodec(),
    "lz4": LZ4(),
    "blosc-lz4-shuffle": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
    "blosc-zstd-bitshuffle": BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
    "gzip": GzipCodec(level=1),
}
CHUNKS = (64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB)
SHARD = 64 * MIB
DTYPES = ("float32", "int16", "uint8")


@dataclass(frozen=True)
class Cell:
    """One store, read whole."""

    codec: str
    chunk: int  # bytes, decoded
    sharded: bool
    dtype: str = "float32"

    def __str__(self) -> str:
        layout = f"{size(self.chunk)} in {size(SHARD)}" if self.sharded else size(self.chunk)
        return f"{self.codec} {layout} {self.dtype}"

    @property
    def name(self) -> str:
        """A folder's name."""
        return str(self).replace(" ", "-")


def make(mebibytes: int, dtype: str) -> np.ndarray[Any, Any]:
    """A square of numbers, the same every time: float32 waves and noise as an instrument rounds them, the same as
    packed int16, or as the grey values of a picture."""
    edge = isqrt(mebibytes * MIB // np.dtype(dtype).itemsize)
    rows = field(mebibytes * 4 // np.dtype(dtype).itemsize)[:edge, :edge]
    if dtype == "float32":
        return rows
    if dtype == "int16":
        return np.ascontiguousarray((rows * 8000).astype(np.int16))
    return np.ascontiguousarray(((rows - rows.min()) * (255 / np.ptp(rows))).astype(np.uint8))


def store(cell: Cell, data: np.ndarray[Any, Any], folder: Path) -> Path:
    """Write the cell's store, by the CPU. Chunks are squares, or the nearest to that which the bytes allow."""
    path = folder / cell.name
    shutil.rmtree(path, ignore_errors=True)
    gpuzarr.create_array(
        path,
        data=data,
        chunks=_square(cell.chunk // data.itemsize),
        shards=_square(SHARD // data.itemsize) if cell.sharded else None,
        compressors=CODECS[cell.codec],
        device="cpu",
    )
    return path


def stored_bytes(path: Path) -> int:
    """Bytes of the files of a store."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _square(items: int) -> tuple[int, int]:
    """Two powers of two with this product, as near to each other as can be."""
    bits = items.bit_length() - 1
    return 1 << bits // 2, 1 << bits - bits // 2
