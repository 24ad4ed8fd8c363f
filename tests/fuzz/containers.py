"""What holds several things: shard indexes, elements of variable length, ZIP archives."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from functools import cache
from random import Random
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from gpuzarr.codecs.bytes import BytesCodec
from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec
from gpuzarr.codecs.crc32c import Crc32cCodec
from gpuzarr.codecs.sharding_indexed import ABSENT, ShardingCodec
from gpuzarr.codecs.v2 import codec_from_v2
from gpuzarr.dtypes import data_type_from_v2, data_type_from_v3
from gpuzarr.errors import GpuzarrError
from gpuzarr.storage import ZipStore
from gpuzarr.storage.contract import Span
from tests.fuzz.mutators import Seed, mutate_bytes
from tests.fuzz.target import Finding, Target

COUNTS = (3, 4)
ITEMS = (7,)


class ShardIndex(Target):
    """Indexes of twelve inner chunks, at either end, with and without checksum. What passes is judged entry by entry,
    by the words of the specification."""

    name = "shard-index"
    size = 5000  # of the shard

    def prepare(self) -> None:
        little, big, crc = BytesCodec(endian="little"), BytesCodec(endian="big"), Crc32cCodec()
        self.codecs = [
            ShardingCodec(chunk_shape=(2, 2), index_codecs=codecs, index_location=location)
            for codecs in ((little,), (little, crc), (big, crc), (big,))
            for location in ("start", "end")
        ]
        self.seeds = [self._seed(i, codec) for i in range(6) for codec in self.codecs]

    def _seed(self, i: int, codec: ShardingCodec) -> Seed:
        rng = Random(i)
        order = ">" if codec.index_codecs[0].endian == "big" else "<"  # type: ignore[attr-defined]
        at = codec.index_size(COUNTS) if codec.index_location == "start" else 0
        entries: list[int] = []
        for row in range(12):
            size = rng.randrange(300)
            entries += [ABSENT, ABSENT] if (row + i) % 4 == 3 else [at, size]
            at += 0 if (row + i) % 4 == 3 else size
        data = struct.pack(f"{order}24Q", *entries)
        if len(codec.index_codecs) == 2:
            data += google_crc32c.value(data).to_bytes(4, "little")
        return Seed(data, bytes([self.codecs.index(codec)]), tuple((8 * k, 8) for k in range(24)))

    def generate(self, rng: Random) -> bytes:
        seed, other = rng.choice(self.seeds), rng.choice(self.seeds)
        data = mutate_bytes(seed, other, rng)
        if len(data) == 196 and rng.random() < 0.9:
            data[192:] = google_crc32c.value(bytes(data[:192])).to_bytes(4, "little")
        return seed.decoded + bytes(data)

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        codec, index = self.codecs[data[0] % len(self.codecs)], data[1:]
        try:
            table = codec.parse_index(index, COUNTS, self.size)
        except GpuzarrError:
            tally["refused"] += 1
            return
        tally["accepted"] += 1
        first = codec.index_size(COUNTS) if codec.index_location == "start" else 0
        end = self.size if first else self.size - codec.index_size(COUNTS)
        held = []
        for offset, nbytes in table.tolist():
            if (offset, nbytes) == (ABSENT, ABSENT):
                continue
            if not first <= offset <= offset + nbytes <= end:
                raise Finding(f"an inner chunk at {offset}, {nbytes} bytes, is not in [{first}, {end})")
            held.append((offset, offset + nbytes))
        for (_, stop), (start, _) in zip(ranges := sorted({h for h in held if h[0] < h[1]}), ranges[1:], strict=False):
            if start < stop:
                raise Finding("inner chunks overlap")


class Items(Target):
    """Elements of variable length."""

    name = "vlen"

    def prepare(self) -> None:
        text, octets = data_type_from_v3("string"), data_type_from_v3("bytes")
        objects = {name: data_type_from_v2("|O", object_codec=name) for name in ("json2", "msgpack2", "vlen-array")}
        self.cases: list[tuple[ArrayBytesCodec, ChunkSpec, Any]] = []
        for config, data_type, judge in (
            ({"id": "vlen-utf8"}, text, numcodecs.VLenUTF8()),
            ({"id": "vlen-bytes"}, octets, numcodecs.VLenBytes()),
            ({"id": "vlen-array", "dtype": "<i2"}, objects["vlen-array"], None),
            ({"id": "json2"}, objects["json2"], None),
            ({"id": "msgpack2"}, objects["msgpack2"], None),
        ):
            codec = codec_from_v2(config)
            assert isinstance(codec, ArrayBytesCodec)
            self.cases.append((codec, ChunkSpec(ITEMS, data_type, None), judge))
        self.seeds = [seed for i in range(len(self.cases)) for seed in self._seeds(i)]

    def _seeds(self, case: int) -> list[Seed]:
        codec, spec, _ = self.cases[case]
        made = []
        for words in (["a", "", "é", "0123456789" * 5, "\0", "x", "y"], [""] * 7, ["日本語"] * 7):
            items: list[Any] = [word.encode() for word in words] if case == 1 else [*words]
            if case == 2:
                items = [np.arange(len(word), dtype="<i2") for word in words]
            chunk = np.empty(ITEMS, object)
            chunk[:] = items
            data = bytes(codec.encode(chunk.astype(spec.dtype) if case == 0 else chunk, spec))
            fields, at = [(0, 4)], 4
            while case < 3 and at + 4 <= len(data):
                fields.append((at, 4))
                at += 4 + int.from_bytes(data[at : at + 4], "little")
            made.append(Seed(data, bytes([case]), tuple(fields)))
        return made

    def generate(self, rng: Random) -> bytes:
        seed, other = rng.choice(self.seeds), rng.choice(self.seeds)
        return seed.decoded + bytes(mutate_bytes(seed, other, rng))

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        codec, spec, judge = self.cases[data[0] % len(self.cases)]
        try:
            chunk = codec.decode(data[1:], spec)
        except GpuzarrError:
            tally["refused"] += 1
            return
        tally["accepted"] += 1
        if chunk.shape != spec.shape or chunk.dtype != spec.dtype:
            raise Finding(f"{chunk.dtype} {chunk.shape} where {spec.dtype} {spec.shape} was expected")
        if judge is not None:
            try:
                theirs = judge.decode(data[1:]).tolist()
            except Exception:
                return
            if theirs != chunk.tolist():
                raise Finding("numcodecs decodes other items")


class Archives(Target):
    """ZIP archives of every method; every key that is listed is read."""

    name, suffix = "zip", ".zip"

    def prepare(self) -> None:
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        self.seeds = [self._seed(methods[i % 4 : i % 4 + 2] or methods[:1], i) for i in range(8)]

    def _seed(self, methods: tuple[int, ...], i: int) -> Seed:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for k, key in enumerate(("zarr.json", "c/0", "c/1")):
                info = zipfile.ZipInfo(key)
                info.compress_type = methods[k % len(methods)]
                archive.writestr(info, json.dumps({"a": [i] * 20 * k}))
        data = file.getvalue()
        end = data.rindex(b"PK\5\6")
        fields = [(end + 8, 2), (end + 10, 2), (end + 12, 4), (end + 16, 4), (end + 20, 2)]
        at = data.index(b"PK\1\2")
        while at < end:
            name, extra, comment = struct.unpack_from("<HHH", data, at + 28)
            fields += [(at + k, w) for k, w in ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4))]
            at += 46 + name + extra + comment
        return Seed(data, b"", tuple(fields))

    def generate(self, rng: Random) -> bytes:
        return bytes(mutate_bytes(rng.choice(self.seeds), rng.choice(self.seeds), rng))

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                store = ZipStore(io.BytesIO(data))
        except GpuzarrError:
            tally["refused"] += 1
            return
        tally["opened"] += 1
        with store:
            for key in store.list():
                try:
                    whole = store.get(key)
                    pieces = store.get_ranges(key, [Span(0, None)])
                except GpuzarrError:
                    tally["members refused"] += 1
                    continue
                tally["members read"] += 1
                if whole is None or pieces is None or bytes(pieces.buffers[0]) != whole:
                    raise Finding(f"{key!r} reads as two things")
                if zlib.crc32(whole) != store._archive._members[key].CRC:
                    raise Finding(f"{key!r} does not have its checksum")


@cache
def targets() -> list[Target]:
    """All of them."""
    return [ShardIndex(), Items(), Archives()]
