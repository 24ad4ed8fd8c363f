"""Shards: the index, the order of inner chunks, shards as a unit, and indexes that lie."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import numpy as np
import pytest

from gpuzarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec, codec_from
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.codecs.crc32c import crc32c
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import ChecksumError, CorruptChunkError, CorruptShardError, MetadataError

ABSENT = 2**64 - 1
SPEC = ChunkSpec((3, 6, 8), parse_dtype("int16"), np.int16(0))
CHUNK = np.random.default_rng(5).integers(1, 1000, (3, 6, 8)).astype("i2")
COUNTS = (3, 2, 2)  # unequal on purpose: equal ones hide a wrong order of the index (trap 2)


def sharding(**more: Any) -> ShardingCodec:
    return ShardingCodec(**{"chunk_shape": (1, 3, 4), "codecs": [BytesCodec(), ZstdCodec()], **more})


def index_bytes(entries: list[tuple[int, int]]) -> bytes:
    raw = b"".join(struct.pack("<QQ", *e) for e in entries)
    return raw + crc32c(raw).to_bytes(4, "little")


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize("order", ["morton", "unordered", "lexicographic", "colexicographic"])
def test_round_trip_and_order(location: Any, order: Any) -> None:
    codec = sharding(index_location=location, subchunk_write_order=order)
    chain = CodecChain.build([codec], SPEC)
    data = bytes(chain.encode(CHUNK))
    np.testing.assert_array_equal(chain.decode(data), CHUNK)
    settled = chain.sharding
    assert settled is not None
    size = settled.index_size(COUNTS)
    assert size == 16 * 12 + 4
    start, stop = settled.index_span(COUNTS)
    table = settled.parse_index(data[start:stop], COUNTS, len(data))
    assert table.shape == (12, 2)
    inner = settled.inner_chain(SPEC)
    for row, place in enumerate(itertools.product(*map(range, COUNTS))):
        offset, nbytes = map(int, table[row])
        part = tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, (1, 3, 4), strict=True))
        np.testing.assert_array_equal(inner.decode(data[offset : offset + nbytes]), CHUNK[part])
    rows = np.argsort(table[:, 0]).tolist()
    places = list(itertools.product(*map(range, COUNTS)))
    if order == "colexicographic":
        assert [places[r][::-1] for r in rows] == sorted(p[::-1] for p in places)
    elif order != "morton":
        assert rows == sorted(rows)
    else:
        # Axes of 3, 2 and 2 have 2, 1 and 1 bits: bit 0 of each axis, then bit 1 of the first.
        def code(p: tuple[int, ...]) -> int:
            return p[0] & 1 | p[1] << 1 | p[2] << 2 | (p[0] >> 1) << 3

        assert [code(places[r]) for r in rows] == sorted(code(p) for p in places)


@pytest.mark.parametrize("location", ["start", "end"])
def test_absent_inner_chunks(location: Any) -> None:
    """Trap 3: the mark of absence is not shifted when the index comes first."""
    chunk = CHUNK.copy()
    chunk[1] = 0
    chain = CodecChain.build([sharding(index_location=location)], SPEC)
    data = bytes(chain.encode(chunk))
    codec = chain.sharding
    assert codec is not None
    start, stop = codec.index_span(COUNTS)
    table = codec.parse_index(data[start:stop], COUNTS, len(data))
    assert (table[4:8] == ABSENT).all()
    assert (table[:4] != ABSENT).all()
    np.testing.assert_array_equal(chain.decode(data), chunk)
    full = bytes(chain.encode(chunk, write_empty=True))
    assert (codec.parse_index(full[start:stop], COUNTS, len(full)) != ABSENT).all()
    nothing = bytes(chain.encode(np.zeros_like(chunk)))
    assert len(nothing) == 16 * 12 + 4
    assert not chain.decode(nothing).any()
    assert b"".join(codec.build_shard([None] * 12, COUNTS)) == nothing


def test_nested_and_surrounded() -> None:
    inner = ShardingCodec(chunk_shape=(1, 1, 4), codecs=[BytesCodec(endian="big"), GzipCodec()], index_location="start")
    outer = sharding(codecs=[inner])
    chunk = CHUNK.copy()
    chunk[0, :2] = 0
    for codecs in (
        [outer],
        [outer, Crc32cCodec()],
        [TransposeCodec(order=(0, 2, 1)), ShardingCodec(chunk_shape=(3, 4, 3))],
        [sharding(codecs=[TransposeCodec(order=(2, 1, 0)), BytesCodec()]), ZstdCodec()],
    ):
        chain = CodecChain.build(codecs, SPEC)
        np.testing.assert_array_equal(chain.decode(chain.encode(chunk)), chunk)
    other = CodecChain.build([outer], SPEC).for_shape((1, 12, 8))
    flat = chunk.reshape(-1)[:96].reshape(1, 12, 8)
    np.testing.assert_array_equal(other.decode(other.encode(flat)), flat)
    deep: Any = BytesCodec()
    for _ in range(4):
        deep = ShardingCodec(chunk_shape=(1, 3, 4), codecs=[deep])
    assert deep.depth == 4
    with pytest.raises(MetadataError, match="deep"):
        ShardingCodec(chunk_shape=(1, 3, 4), codecs=[deep])


def test_zero_dimensions() -> None:
    spec = ChunkSpec((), parse_dtype("int32"), np.int32(0))
    chain = CodecChain.build([ShardingCodec(chunk_shape=())], spec)
    value = np.array(7, "i4")
    assert chain.decode(chain.encode(value)) == value


@pytest.mark.parametrize("location", ["start", "end"])
def test_indexes_that_lie(location: Any) -> None:
    codec = ShardingCodec(chunk_shape=(2,), index_location=location)
    spec = ChunkSpec((6,), parse_dtype("int16"), np.int16(0))
    chain = CodecChain.build([codec], spec)
    payload = np.arange(6, dtype="i2").tobytes()
    size = 3 * 16 + 4
    base = size if location == "start" else 0

    def shard(*entries: tuple[int, int]) -> bytes:
        index = index_bytes([(o + base if o < 2**62 else o, n) for o, n in entries])
        return index + payload if location == "start" else payload + index

    good = shard((0, 4), (4, 4), (8, 4))
    np.testing.assert_array_equal(chain.decode(good), np.arange(6))
    np.testing.assert_array_equal(chain.decode(shard((8, 4), (ABSENT, ABSENT), (0, 4))), [4, 5, 0, 0, 0, 1])
    np.testing.assert_array_equal(chain.decode(shard((4, 4), (4, 4), (4, 4))), [2, 3] * 3)
    into_index = 12 if location == "end" else -size
    for entries in (
        ((0, 4), (4, 4), (9, 4)),
        ((0, 4), (4, 4), (12, 4)),
        ((0, 4), (4, 4), (into_index, 4)),
        ((0, 4), (2, 4), (8, 4)),
        ((0, 5), (4, 4), (8, 4)),
        ((0, 4), (4, 4), (2**64 - 3, 4)),
        ((0, 4), (4, 4), (8, 2**64 - 2)),
        ((0, 4), (4, 4), (ABSENT, 4)),
        ((0, 4), (4, 4), (0, ABSENT)),
        ((0, 4), (4, 4), (2**63, 4)),
    ):
        with pytest.raises(CorruptShardError):
            chain.decode(shard(*entries))
    # Trap 6: short and empty shards are no fill values.
    for short in (b"", good[: size - 1], b"\0" * (size - 1)):
        with pytest.raises(CorruptShardError, match="too short"):
            chain.decode(short)
    for at in (0, len(good) - 1) if location == "end" else (0, size - 1):
        broken = bytearray(good)
        broken[at if location == "start" else -1 - at % size] ^= 1
        with pytest.raises(ChecksumError, match="shard index"):
            chain.decode(bytes(broken))
    # An inner chunk of the wrong length is that chunk's error.
    with pytest.raises(CorruptChunkError, match="bytes"):
        chain.decode(shard((0, 3), (4, 4), (8, 4)))


def test_parse_without_the_shards_size() -> None:
    codec = ShardingCodec(chunk_shape=(2,))
    table = codec.parse_index(index_bytes([(0, 4), (2**40, 4)]), (2,))
    assert table.tolist() == [[0, 4], [2**40, 4]]
    with pytest.raises(CorruptShardError):
        codec.parse_index(index_bytes([(0, 4), (2**63, 4)]), (2,))


def test_mutated_shards(long_form: bool) -> None:
    chain = CodecChain.build([sharding()], SPEC)
    data = bytes(chain.encode(CHUNK))
    rng = np.random.default_rng(2)
    for _ in range(5000 if long_form else 150):
        changed = bytearray(data)
        where = rng.integers(len(changed))
        changed[where] = rng.integers(256)
        if where >= len(data) - 196:  # keep the checksum right, so that the entries are what is tested
            changed[-4:] = crc32c(bytes(changed[-196:-4])).to_bytes(4, "little")
        try:
            assert chain.decode(bytes(changed)).shape == CHUNK.shape
        except CorruptChunkError:
            pass


def test_configuration() -> None:
    codec = sharding()
    assert codec_from(codec.to_dict()) == codec
    assert "subchunk_write_order" not in codec.configuration()
    for bad in (
        {"chunk_shape": [0]},
        {"chunk_shape": [True]},
        {"chunk_shape": ["a"]},
        {"chunk_shape": [2], "index_location": "middle"},
        {
            "chunk_shape": [2],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
        },
        {"chunk_shape": [2], "codecs": "bytes"},
        {"chunk_shape": [2], "subchunk_write_order": "morton"},
        {"chunk_shape": [2], "odd": 1},
        {},
    ):
        with pytest.raises(MetadataError):
            ShardingCodec.from_configuration(bad)
    with pytest.raises(MetadataError):
        ShardingCodec(chunk_shape=(2,), subchunk_write_order="odd")  # type: ignore[arg-type]
    for shape in ((2, 3, 4), (1, 3), (1, 3, 5)):
        with pytest.raises(MetadataError, match="divide"):
            CodecChain.build([ShardingCodec(chunk_shape=shape)], SPEC)
    assert ShardingCodec(chunk_shape=4).chunk_shape == (4,)


def test_no_fill_value() -> None:
    """Trap 8: format 2's null has no inner chunks to leave out, and absent ones read as the type's default."""
    chain = CodecChain.build([sharding()], ChunkSpec((3, 6, 8), parse_dtype("int16"), None))
    assert not chain.decode(b"".join(chain.serializer.build_shard([None] * 12, COUNTS))).any()  # type: ignore[attr-defined]
    full = bytes(chain.encode(np.zeros((3, 6, 8), "i2")))
    assert len(full) > 16 * 12 + 4
