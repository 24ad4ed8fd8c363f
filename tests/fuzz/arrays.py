"""Arrays read through the front door: mutants of metadata with good chunks, and of chunks with good metadata.

Whatever they say, a small selection gives an array of the right shape and data type or an error of our own. The
emulated device gives the same values as the CPU, and none where the CPU gives none.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from random import Random
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.errors import DeviceError, GpuzarrError
from gpuzarr.storage import MemoryStore
from tests.fuzz.documents import ARRAYS_V2, ARRAYS_V3, Documents
from tests.fuzz.mutators import Seed, mutate_bytes, mutate_json
from tests.fuzz.target import Finding, Target
from tests.hostile.documents import PLAIN, V2, V3, sharding

CEILING = 1 << 20  # bytes of a chunk
ON_DEVICE = 8  # one in so many arrays is read on the emulated device as well
AS_IS = 0xFFFF  # a good chunk, instead of the size of another

_SIZES = {"shape": [64, 40], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [16, 20]}}}
_COMPRESSORS: list[list[dict[str, Any]]] = [
    [{"name": "blosc", "configuration": {
        "typesize": 4, "cname": cname, "clevel": 5, "shuffle": shuffle, "blocksize": blocksize}}]
    for cname, shuffle, blocksize in (
        ("lz4", "shuffle", 0), ("zstd", "bitshuffle", 0), ("zlib", "shuffle", 512), ("blosclz", "noshuffle", 0))
] + [
    [{"name": "zstd", "configuration": {"level": 3, "checksum": checksum}}] for checksum in (False, True)
] + [
    [{"name": "gzip", "configuration": {"level": 5}}], [{"name": "numcodecs.lz4", "configuration": {}}],
    [{"name": "numcodecs.zlib", "configuration": {"level": 3}}],
    [{"name": "zstd", "configuration": {"level": 1, "checksum": False}}, {"name": "crc32c"}],
]  # fmt: skip
COMPRESSED_V3 = [V3 | _SIZES | {"codecs": [*PLAIN, *codecs]} for codecs in _COMPRESSORS]
SHARDED_V3 = [V3 | _SIZES | {"codecs": [sharding([8, 10], codecs=[*PLAIN, *codecs])]} for codecs in _COMPRESSORS]
COMPRESSED_V2 = [
    V2 | {"shape": [64, 40], "chunks": [16, 20], "compressor": compressor}
    for compressor in ({"id": "blosc"}, {"id": "zstd"}, {"id": "lz4"}, {"id": "zlib", "level": 1}, {"id": "bz2"})
]


class Arrays(Documents):
    """Arrays of one format."""

    def prepare(self) -> None:
        super().prepare()
        self.chunks = [self._chunks(document) for document in self.documents]
        self.texts = [json.dumps(document).encode() for document in self.documents]
        gpuzarr.config.set({"array.max_chunk_bytes": CEILING})

    def _chunks(self, document: dict[str, Any]) -> dict[str, bytes]:
        """The chunks of a good array with something in it, the first one first."""
        store = MemoryStore({self.key: json.dumps(document).encode()})
        a = gpuzarr.open_array(store, mode="r+")
        if a.dtype.kind in "iuf":
            a[...] = (np.arange(a.size).reshape(a.shape) // 3 % 50).astype(a.dtype)
        return {key: bytes(store.get(key) or b"") for key in sorted(store.list()) if key != self.key}

    def generate(self, rng: Random) -> bytes:
        of = other = rng.randrange(len(self.seeds))
        if rng.random() < 0.1:
            other = rng.randrange(len(self.seeds))
        if self.chunks[of] and rng.random() < 0.5:
            first, second = (
                Seed(next(iter(chunks.values()), b""), b"") for chunks in (self.chunks[of], self.chunks[other])
            )
            data = bytes(mutate_bytes(first, second, rng))[: AS_IS - 1]
            return bytes([of]) + len(data).to_bytes(2, "little") + data + self.texts[of]
        text = mutate_json(self.seeds[of], rng.choice(self.seeds), rng)
        return bytes([other]) + AS_IS.to_bytes(2, "little") + text

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        objects = dict(self.chunks[data[0] % len(self.chunks)])
        size, rest = int.from_bytes(data[1:3], "little"), data[3:]
        if size != AS_IS and objects:
            objects[next(iter(objects))], rest = rest[:size], rest[size:]
        store = MemoryStore({**objects, self.key: rest})
        try:
            a = gpuzarr.open_array(store, mode="r")
        except GpuzarrError:
            tally["refused"] += 1
            return
        key = tuple(slice(0, 3) for _ in a.shape)
        try:
            values = a[key]
        except GpuzarrError:
            tally["unreadable"] += 1
            values = None
        else:
            tally["accepted"] += 1
            self._judge(a, key, values)
        if not (tally["accepted"] + tally["unreadable"]) % ON_DEVICE:
            self._there(store, key, values, tally)

    def _judge(self, a: gpuzarr.Array, key: Any, values: np.ndarray) -> None:
        if values.shape != tuple(min(3, size) for size in a.shape) or values.dtype != a.dtype:
            raise Finding(f"{values.dtype} {values.shape} of an array {a.dtype} {a.shape}")
        if values.size and a.dtype.kind in "biu" and a[tuple(0 for _ in a.shape)] != values[(0,) * a.ndim]:
            raise Finding(f"another first element alone than in {values!r}")

    def _there(self, store: MemoryStore, key: Any, values: np.ndarray | None, tally: Counter[str]) -> None:
        try:
            there = gpuzarr.open_array(store, mode="r", device="emulated")[key].get()
        except DeviceError:
            tally["not for devices"] += 1
            return
        except GpuzarrError as error:
            if values is not None:
                raise Finding(f"{values!r} here, and on a device {error!r}") from error
            tally["unreadable on a device"] += 1
            return
        tally["read on a device"] += 1
        if values is None:
            raise Finding(f"{there!r} on a device, and unreadable here")
        if there.shape != values.shape or there.tobytes() != values.astype(there.dtype).tobytes():
            raise Finding(f"{there!r} on a device, {values!r} here")


@cache
def targets() -> list[Target]:
    """Both formats."""
    return [
        Arrays("array-v3", [*ARRAYS_V3, *COMPRESSED_V3, *SHARDED_V3], "zarr.json"),
        Arrays("array-v2", [*ARRAYS_V2, *COMPRESSED_V2], ".zarray"),
    ]
