"""Hostile chunk bytes: every threat of the list, and the test that it is met by.

Each case is an array of four int32 in one chunk (or shard), what the chunk holds, and what must come of it: the
values, or an error of our own. All of them run on the CPU and on the emulated device, within bounds of memory and
time. What is expected of bytes in general, without knowing the damage, is in `tests/fuzz`.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import (
    ChecksumError,
    CorruptChunkError,
    CorruptShardError,
    GpuzarrError,
    LimitError,
)
from gpuzarr.storage import LocalStore, MemoryStore, Store
from gpuzarr.storage.wrappers import WrapperStore
from tests.hostile.bounds import bounded
from tests.hostile.documents import PLAIN, chunked, coded, compressed, sharding, v2
from tests.hostile.test_hostile_metadata import everything, host

VALUES = [1, 2, 3, 4]
RAW = np.array(VALUES, "<i4").tobytes()
ABSENT = 2**64 - 1
BOMB = bytes(300 << 20)  # of which nothing may come; never written to, so it takes no memory of its own
CRC = {"name": "crc32c"}
ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
GZIP = {"name": "gzip", "configuration": {"level": 5}}
BLOSC = {"name": "blosc", "configuration": {
    "typesize": 4, "cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}}  # fmt: skip
LZ4 = {"name": "numcodecs.lz4", "configuration": {}}
TEXT = {"name": "vlen-utf8"}


def blosc(nbytes: int, *, flags: int = 2, blocksize: int = 16, cbytes: int = 0, more: bytes = b"") -> bytes:
    """A Blosc header that says what one likes, and what stands behind it."""
    return struct.pack("<BBBBiii", 2, 1, flags, 4, nbytes, blocksize, cbytes or 16 + len(more)) + more


def zstd_frame(size: int, blocks: bytes = b"") -> bytes:
    """A Zstandard frame that claims `size` bytes; without blocks, one that is empty."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + (blocks or b"\1\0\0")


def zstd_runs(count: int) -> bytes:
    """Blocks of 128 KiB of one byte each, four bytes a block."""
    blocks = [(1 << 17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"] * count
    return b"".join(blocks) + b"\1\0\0"


def inflates(compress: Any) -> bytes:
    return bytes(compress(BOMB))


def items(count: int, *lengths: int, rest: bytes = b"") -> bytes:
    return struct.pack(f"<{1 + len(lengths)}I", count, *lengths) + rest


def text(chunk: bytes, *codecs: Any) -> dict[str, bytes]:
    return coded(chunk, TEXT, *codecs, plain=False, data_type="string", fill_value="")


def shard(
    entries: list[tuple[int, int]], data: bytes = RAW, *, more: Any = (), **configuration: Any
) -> dict[str, bytes]:
    """A shard of two inner chunks of two elements, with this index."""
    index = struct.pack(f"<{2 * len(entries)}Q", *(number for entry in entries for number in entry))
    if CRC in more:
        index += google_crc32c.value(index).to_bytes(4, "little")
    codec = sharding([2], index_codecs=[*PLAIN, *more], **configuration)
    return coded(index + data if configuration.get("index_location") == "start" else data + index, codec, plain=False)


GOOD_SHARD = [(0, 8), (8, 8)]
CHECKED = shard(GOOD_SHARD, more=(CRC,))
Case = tuple[str, dict[str, bytes], Any]

# threat, store, what must come of it: the values, or an error
CASES: list[Case] = [
    # truncated, overlong, empty
    ("good", coded(RAW), VALUES),
    ("truncated", coded(RAW[:-1]), CorruptChunkError),
    ("overlong", coded(RAW + b"\0"), CorruptChunkError),
    ("empty", coded(b""), CorruptChunkError),
    *[("empty", coded(b"", codec), CorruptChunkError) for codec in (ZSTD, GZIP, BLOSC, LZ4, CRC)],
    *[("one byte", coded(b"\1", codec), CorruptChunkError) for codec in (ZSTD, GZIP, BLOSC, LZ4, CRC)],
    ("empty text", text(b""), CorruptChunkError),
    ("huge object for a small chunk", coded(bytes(64 << 20)), LimitError),
    # shards that are cut
    ("empty shard", coded(b"", sharding(), plain=False), CorruptShardError),
    ("shard without its index", coded(RAW, sharding(), plain=False), CorruptShardError),
    ("shard with half of its index", coded(shard(GOOD_SHARD)["c/0"][-31:], sharding(), plain=False), CorruptShardError),
    ("good shard", shard(GOOD_SHARD), VALUES),
    ("good shard, index at the start", shard([(32, 8), (40, 8)], index_location="start"), VALUES),
    # headers that lie, and bombs
    ("zstd frame of 2^60 bytes", coded(zstd_frame(2**60), ZSTD), CorruptChunkError),
    ("zstd frame of 3 GiB", coded(zstd_frame(3 << 30), ZSTD), CorruptChunkError),
    ("zstd frame of another size", coded(bytes(numcodecs.Zstd().encode(RAW + RAW)), ZSTD), CorruptChunkError),
    ("zstd frame that holds more than it says", coded(zstd_frame(16, zstd_runs(2400)), ZSTD), CorruptChunkError),
    ("zstd bomb of 300 MiB in 9.6 KB", coded(zstd_frame(300 << 20, zstd_runs(2400)), ZSTD), CorruptChunkError),
    ("zstd bomb without its size", coded(b"\x28\xb5\x2f\xfd\0\x58" + zstd_runs(2400), ZSTD), CorruptChunkError),
    ("zstd with a window of 2 TiB", coded(b"\x28\xb5\x2f\xfd\0\xf8\1\0\0", ZSTD), CorruptChunkError),
    ("zstd with a dictionary", coded(b"\x28\xb5\x2f\xfd\x23\1\2\3\4\x10\1\0\0", ZSTD), CorruptChunkError),
    ("zstd, a million empty frames", coded(zstd_frame(0) * 4000, ZSTD), CorruptChunkError),
    ("gzip bomb", coded(inflates(gzip.compress), GZIP), LimitError),
    ("gzip bomb of 40 MiB", coded(gzip.compress(BOMB[: 40 << 20]), GZIP), CorruptChunkError),
    ("gzip, very many empty members", coded(gzip.compress(b"", mtime=0) * 4000, GZIP), CorruptChunkError),
    ("gzip, another size at the end", coded(gzip.compress(RAW)[:-4] + b"\xff\xff\xff\x7f", GZIP), CorruptChunkError),
    ("zlib bomb", compressed(zlib.compress(BOMB[: 40 << 20], 9), {"id": "zlib"}), CorruptChunkError),
    ("zlib with bytes behind it", compressed(zlib.compress(RAW) + b"\0", {"id": "zlib"}), CorruptChunkError),
    ("bz2 bomb", compressed(bz2.compress(BOMB[: 90 << 20]), {"id": "bz2"}), CorruptChunkError),
    ("bz2, very many empty streams", compressed(bz2.compress(b"") * 4600, {"id": "bz2"}), CorruptChunkError),
    ("lzma bomb", compressed(lzma.compress(BOMB[: 90 << 20], preset=0), {"id": "lzma"}), CorruptChunkError),
    ("lzma with a dictionary of 3 GiB", compressed(
        b"\x5d" + (3 << 30).to_bytes(4, "little") + b"\xff" * 8 + b"\0" * 8, {"id": "lzma", "format": 2}),
     CorruptChunkError),
    ("lz4 prefix of 2 GiB", coded(b"\xff\xff\xff\x7f" + RAW, LZ4), CorruptChunkError),
    ("negative lz4 prefix", coded(b"\xff\xff\xff\xff" + RAW, LZ4), CorruptChunkError),
    ("lz4 bomb", coded(b"\x10\0\0\0\x1f\0\1\0" + b"\xff" * 60_000 + b"\0\x50\0\0\0\0\0", LZ4), CorruptChunkError),
    ("lz4 match before the start", coded(b"\x10\0\0\0\x10\1\xff\xff\x50\0\0\0\0\0", LZ4), CorruptChunkError),
    # Blosc: 16 bytes that make the C decoder copy what lies behind them, and its kin
    ("blosc of 16 bytes", coded(blosc(60_000, cbytes=60_016), BLOSC), CorruptChunkError),
    ("blosc of 16 bytes, right size", coded(blosc(16, cbytes=32), BLOSC), CorruptChunkError),
    ("blosc of 16 bytes, its true length", coded(blosc(16), BLOSC), CorruptChunkError),
    ("blosc with negative size", coded(blosc(-1), BLOSC), CorruptChunkError),
    ("blosc with bytes behind it", coded(blosc(16, more=RAW, cbytes=32) + b"\0", BLOSC), CorruptChunkError),
    ("blosc that is stored", coded(blosc(16, more=RAW), BLOSC), VALUES),
    ("blosc block of size 0", coded(blosc(16, flags=0x30, blocksize=0, more=bytes(20)), BLOSC), CorruptChunkError),
    ("blosc block of negative size", coded(blosc(16, flags=0x30, blocksize=-4, more=bytes(20)), BLOSC),
     CorruptChunkError),
    ("blosc block outside", coded(blosc(16, flags=0x30, more=b"\xff\xff\xff\x7f" + RAW), BLOSC), CorruptChunkError),
    ("blosc block at a negative place", coded(blosc(16, flags=0x30, more=b"\xff\xff\xff\xff" + RAW), BLOSC),
     CorruptChunkError),
    ("blosc stream longer than its block", coded(blosc(16, flags=0x30, more=struct.pack("<ii", 20, 2**31 - 1) + RAW),
                                                 BLOSC), CorruptChunkError),
    ("blosc bomb", coded(numcodecs.blosc.compress(bytes(1 << 20), b"zstd", 9), BLOSC), CorruptChunkError),
    ("blosc of no known format", coded(blosc(16, flags=0xB0, more=bytes(24)), BLOSC), GpuzarrError),
    ("blosc of another version", coded(b"\5" + blosc(16, more=RAW)[1:], BLOSC), CorruptChunkError),
    # elements of variable length
    ("text, 2^31 items", text(items(2**31)), CorruptChunkError),
    ("text, fewer items", text(items(3, 0, 0, 0)), CorruptChunkError),
    ("text, cut", text(items(4, 0, 0)), CorruptChunkError),
    ("text, an item beyond the end", text(items(4, 0, 0, 0, 2**32 - 1, rest=b"ab")), CorruptChunkError),
    ("text, bytes behind it", text(items(4, 0, 0, 0, 0, rest=b"ab")), CorruptChunkError),
    ("text that is no UTF-8", text(items(4, 0, 0, 0, 1, rest=b"\xff")), CorruptChunkError),
    ("text that is good", text(items(4, 0, 0, 0, 1, rest=b"x")), ["", "", "", "x"]),
    ("text, 2^40 items in a chunk", chunked([2**40], codecs=[TEXT], data_type="string", fill_value="")
     | {"c/0": items(2**31)}, CorruptChunkError),
    ("json, a shape that lies", v2(dtype="|O", fill_value=None, chunks=[4], filters=[{"id": "json2"}])
     | {"0": json.dumps([1, "|O", [2**40]]).encode()}, CorruptChunkError),
    ("json, deep", v2(dtype="|O", fill_value=None, chunks=[4], filters=[{"id": "json2"}])
     | {"0": b"[" * 100_000}, CorruptChunkError),
    ("msgpack, a list of 2^32", v2(dtype="|O", fill_value=None, chunks=[4], filters=[{"id": "msgpack2"}])
     | {"0": b"\xdd\xff\xff\xff\xff"}, GpuzarrError),
    # checksums
    ("checksum", coded(RAW + bytes(4), CRC), ChecksumError),
    ("checksum before decompression", coded(blosc(60_000, cbytes=60_016) + bytes(4), BLOSC, CRC), ChecksumError),
    ("checksum of an index", CHECKED | {"c/0": CHECKED["c/0"][:-1] + b"\0"}, ChecksumError),
    ("index with a good checksum", CHECKED, VALUES),
    # entries of a shard's index
    ("entry beyond the shard", shard([(0, 8), (48, 8)]), CorruptShardError),
    ("entry that overflows 64 bits", shard([(0, 8), (2**64 - 8, 16)]), CorruptShardError),
    ("entry of 2^63 bytes", shard([(0, 8), (8, 2**63)]), CorruptShardError),
    ("entry at 2^63", shard([(0, 8), (2**63, 8)]), CorruptShardError),
    ("entry that points into the index", shard([(0, 8), (16, 8)]), CorruptShardError),
    ("entry that points into an index at the start", shard([(0, 8), (32, 8)], index_location="start"),
     CorruptShardError),
    ("entries that overlap", shard([(0, 8), (4, 8)]), CorruptShardError),
    ("entries that are the same", shard([(0, 8), (0, 8)]), [1, 2, 1, 2]),
    ("half absent", shard([(0, 8), (ABSENT, 8)]), CorruptShardError),
    ("half absent", shard([(0, 8), (8, ABSENT)]), CorruptShardError),
    ("absent", shard([(0, 8), (ABSENT, ABSENT)]), [1, 2, 0, 0]),
    ("inner chunk of another size", shard([(0, 8), (8, 4)]), CorruptChunkError),
    ("empty inner chunk", shard([(0, 8), (8, 0)]), CorruptChunkError),
    ("huge inner chunk", shard([(0, 8), (8, 64 << 20)], RAW + bytes(64 << 20)), GpuzarrError),
    ("inner chunk that is a bomb", shard([(0, 8), (8, 9617)], RAW[:8] + zstd_frame(300 << 20, zstd_runs(2400)),
                                         codecs=[*PLAIN, ZSTD]), CorruptChunkError),
]  # fmt: skip


@pytest.fixture(scope="module", params=["cpu", "emulated"])
def warm_device(request: pytest.FixtureRequest) -> str:
    """A device that has read something of every kind, so that what it sets up once is not counted."""
    for _, store, expected in CASES:
        if isinstance(expected, list) and b'"string"' not in store["zarr.json"]:
            assert everything(store, request.param).tolist() == expected
    return str(request.param)


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_chunk(case: Case, warm_device: str) -> None:
    _, store, expected = case
    if warm_device != "cpu" and (b'"string"' in store.get("zarr.json", b"") or b'"|O"' in store.get(".zarray", b"")):
        expected = GpuzarrError  # no such elements on devices, whatever the bytes say
    with bounded():
        if isinstance(expected, type):
            with pytest.raises(expected) as caught:
                everything(store, warm_device)
            assert isinstance(caught.value, GpuzarrError)
            assert len(str(caught.value)) < 2000
        else:
            assert everything(store, warm_device).tolist() == expected


class Swapping(WrapperStore):
    """Puts another object in the place of the one that was read, once, right after the first range of it."""

    def __init__(self, store: Store, swap: Callable[[], None]) -> None:
        super().__init__(store)
        self.swap: Callable[[], None] | None = swap

    def with_read_only(self, read_only: bool = True) -> Swapping:
        return self

    def get_ranges(self, key: str, spans: Any, **more: Any) -> Any:
        pieces = super().get_ranges(key, spans, **more)
        if self.swap is not None:
            self.swap, swap = None, self.swap
            swap()
        return pieces


@pytest.mark.parametrize("local", [False, True])
def test_a_shard_that_is_replaced_behind_its_index(local: bool, warm_device: str, tmp_path: Path) -> None:
    store = LocalStore(tmp_path) if local else MemoryStore()
    for key, value in shard(GOOD_SHARD).items():
        store.set(key, value)
    turned = shard([(8, 8), (0, 8)])["c/0"]  # of the same size, but its chunks lie the other way round
    swapping = Swapping(store, lambda: store.set("c/0", turned))
    assert everything(swapping, warm_device).tolist() == [3, 4, 1, 2]
    assert swapping.swap is None


def test_a_damaged_inner_chunk_leaves_its_neighbours_alone(warm_device: str) -> None:
    store = shard([(0, 8), (8, 4)])
    a = gpuzarr.open_array(store, mode="r", device=warm_device)
    assert host(a[:2]).tolist() == [1, 2]
    with pytest.raises(CorruptChunkError, match="c/0"):
        a[2:]


def test_a_flipped_bit_is_found_where_there_is_a_checksum(warm_device: str) -> None:
    good = coded(RAW + google_crc32c.value(RAW).to_bytes(4, "little"), CRC)
    assert everything(good, warm_device).tolist() == VALUES
    for bit in range(8 * len(good["c/0"])):
        chunk = bytearray(good["c/0"])
        chunk[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChecksumError):
            everything(good | {"c/0": bytes(chunk)}, warm_device)
