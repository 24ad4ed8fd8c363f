"""Chunks that are decoded by one call: the same bytes as one by one, and never a byte of a neighbour's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ZstdCodec
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.codecs.engines import native
from gpuzarr.codecs.engines.blosc_header import BLOSCLZ_LIMIT
from gpuzarr.codecs.engines.joined import blosc_container, zstd_frames
from gpuzarr.devices.cpu import HostLane
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import GpuzarrError
from gpuzarr.storage import LocalStore, MemoryStore

pytestmark = pytest.mark.skipif(native.Blosc.find() is None, reason="the C libraries cannot be called directly here")

CODECS = [
    *[
        (BloscCodec(cname=cname, clevel=5, shuffle=shuffle, typesize=typesize, blocksize=blocksize),)
        for cname in ("lz4", "lz4hc", "zstd", "zlib", "blosclz")
        for shuffle in ("shuffle", "bitshuffle", "noshuffle")
        for typesize, blocksize in ((4, 0), (8, 512), (1, 1024))
    ],
    *[(ZstdCodec(level=level, checksum=checksum),) for level in (-5, 0, 19) for checksum in (False, True)],
    (BloscCodec(cname="lz4", shuffle="shuffle", typesize=4), Crc32cCodec()),
]


def chain_of(codecs: tuple[Any, ...], items: int) -> CodecChain:
    return CodecChain.build([BytesCodec(), *codecs], ChunkSpec((items,), parse_dtype("float32"), np.float32(0)))


def chunks_of(count: int, items: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    steps = rng.integers(-3, 4, (count, items)).cumsum(axis=1)
    steps[:: max(1, count // 3)] = 7  # some are a single value, over and over
    return (steps / 8).astype(np.float32)


class Wave:
    """Encoded chunks in a room, `gap` bytes apart."""

    def __init__(self, chain: CodecChain, blobs: list[bytes], gap: int) -> None:
        self.chain = chain
        self.sizes = np.array([len(b) for b in blobs], np.int64)
        self.offsets = np.cumsum(self.sizes + gap) - self.sizes - gap
        self.room, self.base = HostLane().room(int((self.sizes + gap).sum()))
        self.room[:] = 0xA5
        for blob, at in zip(blobs, self.offsets.tolist(), strict=True):
            self.room[at : at + len(blob)] = np.frombuffer(blob, np.uint8)

    def together(self) -> np.ndarray | None:
        """The chunks decoded by one call; None where they are left to the other way."""
        out = np.full((len(self.sizes), *self.chain.spec.shape), np.nan, np.float32)
        assert self.chain.decode_joined is not None
        decode = self.chain.decode_joined(self.room, self.base, self.offsets, self.sizes)
        if decode is None:
            return None
        half = len(out) // 2  # by two calls
        done = decode(0, half, out.ctypes.data) and decode(half, len(out) - half, out[half:].ctypes.data)
        return out if done else None


@pytest.mark.parametrize("gap", [0, 8, 999])
@pytest.mark.parametrize("codecs", CODECS, ids=str)
def test_the_same_chunks_as_one_by_one(codecs: tuple[Any, ...], gap: int) -> None:
    chain = chain_of(codecs, 4096)
    chunks = chunks_of(9, 4096)
    got = Wave(chain, [bytes(chain.encode(c)) for c in chunks], gap).together()
    assert got is not None
    np.testing.assert_array_equal(got, chunks)


def test_frames_too_close_for_a_skippable_one_are_left_alone() -> None:
    chain = chain_of((ZstdCodec(),), 100)
    assert Wave(chain, [bytes(chain.encode(c)) for c in chunks_of(3, 100)], 7).together() is None


@pytest.mark.parametrize("codecs", [CODECS[0], (ZstdCodec(),)], ids=str)
def test_chunks_that_are_not_alike_are_left_alone(codecs: tuple[Any, ...]) -> None:
    chain = chain_of(codecs, 4096)
    blobs = [bytes(chain.encode(c)) for c in chunks_of(4, 4096)]
    noise = np.random.default_rng(1).integers(0, 2**32, 4096, np.uint32).view(np.float32)
    other = chain_of((BloscCodec(cname="zstd", shuffle="bitshuffle"),), 4096).encode(chunks_of(1, 4096)[0])
    short = chain_of(codecs, 4000).encode(chunks_of(1, 4000)[0])
    for odd in (bytes(other), bytes(short), b"", b"\x02", blobs[0][:-1], blobs[0] + b"\0"):
        for at in (0, 2):
            assert Wave(chain, [*blobs[:at], odd, *blobs[at:]], 16).together() is None
    stored = bytes(chain.encode(noise))
    if len(stored) > noise.nbytes and codecs == CODECS[0]:  # a container that holds its bytes as they are
        assert Wave(chain, [*blobs, stored], 16).together() is None


def test_a_stream_that_reaches_into_the_next_chunk_is_left_alone() -> None:
    """Stitched together its bytes would all be there; they are the neighbour's, or what the room held before."""
    chain = chain_of((BloscCodec(cname="lz4", shuffle="noshuffle", typesize=1, blocksize=16384),), 4096)
    blobs = [bytearray(chain.encode(c)) for c in chunks_of(3, 4096, seed=3)[1:]]
    start = int.from_bytes(blobs[0][16:20], "little")
    length = int.from_bytes(blobs[0][start : start + 4], "little")
    blobs[0][start : start + 4] = (length + 1).to_bytes(4, "little")
    wave = Wave(chain, [bytes(b) for b in blobs], 0)
    assert blosc_container(wave.room, wave.offsets, wave.sizes, 16384) is None
    blobs[0][start : start + 4] = length.to_bytes(4, "little")
    blobs[0][16:20] = (len(blobs[0]) + start).to_bytes(4, "little")  # the neighbour's block
    wave = Wave(chain, [bytes(b) for b in blobs], 0)
    assert blosc_container(wave.room, wave.offsets, wave.sizes, 16384) is None


@pytest.mark.parametrize("codecs", [c for c in CODECS if c[0].name == "blosc"], ids=str)
def test_parts_are_those_of_the_whole(codecs: tuple[Any, ...]) -> None:
    chain = chain_of(codecs, 4096)
    chunks = chunks_of(7, 4096)
    wave = Wave(chain, [bytes(chain.encode(c)) for c in chunks], 3)
    rng, lane = np.random.default_rng(5), HostLane()
    decode = chain.decode_parts
    assert decode is not None
    for _ in range(20):
        starts = rng.integers(0, 16384, 7)
        stops = rng.integers(starts + 1, np.minimum(starts + rng.choice([2, 600, 16384]), 16384) + 1)
        found = decode(wave.room, wave.base, wave.offsets, wave.sizes, (starts, stops), lane.scratch)
        assert found is not None
        decoded, address, places = found
        assert address == decoded.ctypes.data
        for chunk, start, stop, at in zip(chunks, starts, stops, places, strict=True):
            np.testing.assert_array_equal(decoded[at : at + stop - start], chunk.view(np.uint8)[start:stop])


def test_small_parts_decode_few_blocks(tmp_path: Any) -> None:
    data = chunks_of(4096, 512, seed=6)
    compressors = BloscCodec(cname="lz4", shuffle="shuffle", blocksize=4096)
    z = gpuzarr.create_array(tmp_path, shape=data.shape, chunks=(2048, 512), dtype="f4", compressors=compressors)
    z[...] = data
    decoded = watched(z)
    for key in (np.s_[30:47], np.s_[2047:2050, 9:20], np.s_[100, 7], np.s_[::-1, 3], np.s_[:, 100:130:4]):
        np.testing.assert_array_equal(z[key], data[key])
    block = int.from_bytes((tmp_path / "c/0/0").read_bytes()[8:12], "little")
    assert block * 4 <= 2048 * 2048  # bytes of a chunk
    rows = range(30 * 2048 // block, (47 * 2048 - 1) // block + 1)
    assert decoded == [len(rows) * block, block, block, block]  # the other two go through nearly all of a chunk


@pytest.mark.parametrize(("cname", "found"), [("lz4", 1), ("blosclz", 0)])
def test_of_a_long_container_parts_are_decoded_unless_its_streams_must_be_looked_at(
    tmp_path: Any, cname: Any, found: int
) -> None:
    data = np.random.default_rng(2).integers(0, 1 << 20, (2304, 2048), dtype=np.int32)
    compressors = BloscCodec(cname=cname, shuffle="shuffle")
    z = gpuzarr.create_array(tmp_path, shape=data.shape, chunks=data.shape, dtype="i4", compressors=compressors)
    z[...] = data
    assert (tmp_path / "c/0/0").stat().st_size > BLOSCLZ_LIMIT
    decoded = watched(z)
    np.testing.assert_array_equal(z[1200:1203, 5:9], data[1200:1203, 5:9])
    assert [0 < n < data.nbytes // 4 for n in decoded] == [bool(found)]


def watched(z: Any) -> list[int]:
    """The bytes that each later attempt to decode parts of `z` will decode: a list that grows."""
    decoded: list[int] = []
    chain = z._stored.chain
    whole = chain.decode_parts
    assert whole is not None

    def decode(*arguments: Any) -> Any:
        found = whole(*arguments)
        decoded.append(0 if found is None else found[0].size)
        return found

    chain.decode_parts = decode
    return decoded


def test_a_frame_that_reaches_into_the_next_chunk_is_left_alone() -> None:
    chain = chain_of((ZstdCodec(),), 4096)
    blobs = [bytes(chain.encode(c)) for c in chunks_of(3, 4096, seed=3)]
    wave = Wave(chain, blobs, 0)
    assert zstd_frames(wave.room, wave.offsets, wave.sizes, 16384)
    for cut in (1, 2, 3, 50):
        moved = wave.sizes.copy()
        moved[0] -= cut
        offsets = wave.offsets.copy()
        offsets[1] -= cut
        moved[1] += cut
        assert not zstd_frames(wave.room, offsets, moved, 16384)


@pytest.mark.parametrize("codecs", [CODECS[0], CODECS[1], CODECS[10], *CODECS[45:47], CODECS[-1]], ids=str)
def test_what_is_damaged_decodes_as_one_by_one_or_not_at_all(codecs: tuple[Any, ...]) -> None:
    chain = chain_of(codecs, 512)
    blobs = [bytes(chain.encode(c)) for c in chunks_of(4, 512, seed=9)]
    rng = np.random.default_rng(4)
    passed = 0
    for _ in range(400):
        damaged = [bytearray(b) for b in blobs]
        for _ in range(rng.integers(1, 4)):
            blob = damaged[rng.integers(len(blobs))]
            at = rng.integers(min(len(blob), 40) if rng.random() < 0.7 else len(blob))
            blob[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, blob[at] ^ (1 << rng.integers(8))])
        got = Wave(chain, [bytes(b) for b in damaged], int(rng.choice([0, 8, 60]))).together()
        if got is None:
            continue
        passed += 1
        for chunk, blob in zip(got, damaged, strict=True):
            np.testing.assert_array_equal(chunk.view(np.uint8), chain.decode(bytes(blob)).view(np.uint8))
    assert passed < 400


@pytest.mark.parametrize("shards", [None, (64, 96)])
@pytest.mark.parametrize("codecs", [None, "zstd", "blosc"])
def test_whole_arrays_and_bands(tmp_path: Any, codecs: str | None, shards: tuple[int, int] | None) -> None:
    """Chunks at the edge, absent chunks, casts, strides, bands: through the whole corridor, on a store that reads
    into the room and on one that does not."""
    compressors = {"zstd": ZstdCodec(), "blosc": BloscCodec(cname="lz4"), None: None}[codecs]
    data = chunks_of(150, 205, seed=2)
    for store in (LocalStore(tmp_path), MemoryStore()):
        made: dict[str, Any] = {"shape": data.shape, "chunks": (16, 16), "shards": shards, "dtype": "f4"}
        z = gpuzarr.create_array(store, name="a", compressors=compressors, **made)
        z[...] = data
        hole = gpuzarr.create_array(store, name="b", compressors=compressors, fill_value=5, **made)
        hole[40:, :100] = data[40:, :100]
        holed = np.full_like(data, 5)
        holed[40:, :100] = data[40:, :100]
        rows = np.r_[3, 77:99, 5, 5]
        for array, want in ((z, data), (hole, holed)):
            for key in (..., np.s_[30:47], np.s_[:, 9:200], np.s_[::-1, ::3], np.s_[5:140:7, 3:4], np.s_[16:64, 32:96]):
                np.testing.assert_array_equal(array[key], want[key])
            np.testing.assert_array_equal(array.oindex[rows, 10:170], want[rows, 10:170])
            out = np.zeros(data.shape[::-1], "f8").T
            array.get_basic_selection(..., out=out)
            np.testing.assert_array_equal(out, want)


def test_one_damaged_chunk_is_named(tmp_path: Any) -> None:
    z = gpuzarr.create_array(tmp_path, shape=(64, 64), chunks=(8, 8), dtype="i4", compressors=ZstdCodec(checksum=True))
    z[...] = np.arange(64 * 64).reshape(64, 64)
    path = tmp_path / "c/3/5"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    with pytest.raises(GpuzarrError, match="c/3/5"):
        z[...]


@pytest.mark.parametrize("across", [0, 1])
def test_a_strip_of_chunks_is_decoded_in_batches_whichever_way_it_lies(tmp_path: Any, across: int) -> None:
    shape = (64, 64 * 40) if across else (64 * 40, 64)
    data = np.arange(64 * 64 * 40, dtype="f4").reshape(shape)
    z = gpuzarr.create_array(tmp_path, shape=shape, chunks=(64, 64), dtype="f4", compressors=ZstdCodec())
    z[...] = data
    batches: list[int] = []
    chain = z._stored.chain
    joined = chain.decode_joined
    assert joined is not None

    def watched_join(*arguments: Any) -> Any:
        decode = joined(*arguments)

        def count(first: int, rows: int, destination: int) -> Any:
            batches.append(rows)
            return decode(first, rows, destination)

        return count

    chain.decode_joined = watched_join
    with gpuzarr.config.set({"threading.max_workers": 1}):
        np.testing.assert_array_equal(z[...], data)
    assert sum(batches) == 40
    assert max(batches) <= 32  # half a megabyte, which stays in the cache until it is placed
