"""Chunks taken apart into streams: what passes decodes to the right bytes, and what is damaged does not pass."""

from __future__ import annotations

import gzip
import itertools
import zlib

import numcodecs
import numpy as np
import pytest
from numcodecs import blosc

from gpuzarr.codecs import BloscCodec, BytesCodec
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.codecs.engines import streams as st
from gpuzarr.codecs.engines.gpu import GpuEngine
from gpuzarr.codecs.engines.streams_table import unsigned
from gpuzarr.devices import EmulatedDevice
from gpuzarr.devices.numpy_checksums import xxh64
from gpuzarr.dtypes import parse_dtype
from tests.streams import by_gpu, container, contents, decode, decode_blosc, deflate, snappy, wave

SIZES = (1, 2, 5, 13, 100, 1000, 4096, 65536, 70001, 131072, 131073, 400_000)
EMULATED = EmulatedDevice()


def lz4(data: bytes) -> bytes:
    return bytes(numcodecs.LZ4().encode(data))


def zstd(data: bytes, level: int = 3) -> bytes:
    return bytes(numcodecs.Zstd(level).encode(data))


# --- reading numbers


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers_are_read_at_any_place_of_any_buffer(width):
    whole = np.frombuffer(contents("noise", 64, 0), np.uint8)
    for start, length in itertools.product(range(9), (0, 1, 7, 8, 9, 15, 16, 17, 23, 40)):
        data = whole[start : start + length]
        at = np.arange(length + 20)
        padded = data.tobytes() + bytes(40)
        expected = [int.from_bytes(padded[i : i + width], "little", signed=width == 8) for i in at]
        assert unsigned(data, at, width).tolist() == expected


# --- one stream a chunk


@pytest.mark.parametrize(
    ("split", "encode", "trusted"),
    [
        (st.split_zstd, lambda data, i: zstd(data, (1, 3, -5, 9, 0)[i % 5]), False),
        (st.split_lz4, lambda data, i: lz4(data), False),
        (st.split_gzip, lambda data, i: gzip.compress(data, i % 10, mtime=i), False),
        (st.split_zlib, lambda data, i: zlib.compress(data, i % 10), True),
    ],
    ids=["zstd", "lz4", "gzip", "zlib"],
)
def test_streams_decode_to_the_chunks(split, encode, trusted):
    for nbytes in SIZES:
        chunks = [contents(kind, nbytes, i) for i, kind in enumerate(("zeros", "walk", "runs", "noise", "walk"))]
        encoded, starts, sizes = wave([encode(chunk, i) for i, chunk in enumerate(chunks)], gap=3)
        streams, unfit = split(encoded, starts, sizes, nbytes, trusted=trusted)
        assert not unfit.any()
        area = np.zeros((len(chunks), nbytes), np.uint8)
        assert decode(encoded, streams, area, nbytes).all()
        assert [row.tobytes() for row in area] == chunks


@pytest.mark.parametrize("level", [19, 22])
def test_frames_of_high_levels_are_fit(level):
    chunks = [contents(kind, 300_000, 1) for kind in ("walk", "runs", "zeros")]
    encoded, starts, sizes = wave([zstd(chunk, level) for chunk in chunks])
    assert not st.split_zstd(encoded, starts, sizes, 300_000)[1].any()


def test_checksums_of_the_contents_are_in_the_table():
    data = contents("walk", 5000, 0)
    streams, _ = st.split_gzip(*wave([gzip.compress(data)]), 5000)
    assert streams.checksum.tolist() == [zlib.crc32(data)]
    streams, _ = st.split_zlib(*wave([zlib.compress(data)]), 5000, trusted=True)
    assert streams.checksum.tolist() == [zlib.adler32(data)]
    (streams,) = st.split_blosc(*wave([container(data, 3, deflate, 1, 5000, 0, False)]), 5000).streams
    assert streams.checksum.tolist() == [zlib.adler32(data)]
    told = bytes(numcodecs.Zstd(3, checksum=True).encode(data))
    streams, _ = st.split_zstd(*wave([zstd(data), told]), 5000)
    assert streams.checksum.tolist() == [-1, xxh64(data) & 0xFFFFFFFF]


def _odd_zstd(data: bytes) -> dict[str, bytes]:
    half = len(data) // 2
    raw = b"".join(
        int((i + 4000 >= len(data)) | len(data[i : i + 4000]) << 3).to_bytes(3, "little") + data[i : i + 4000]
        for i in range(0, len(data), 4000)
    )
    return {
        "two frames": zstd(data[:half]) + zstd(data[half:]),
        "the whole, then an empty frame": zstd(data) + zstd(b""),
        "a skippable frame before": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(data),
        "a skippable frame behind": zstd(data) + b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
        "no content size": b"\x28\xb5\x2f\xfd\x00\x50" + raw,
    }


@pytest.mark.parametrize("what", _odd_zstd(b"ab"))
def test_odd_but_valid_zstd_is_left_to_the_cpu(what):
    data = contents("walk", 10_000, 0)
    blob = _odd_zstd(data)[what]
    assert bytes(numcodecs.Zstd().decode(blob)) == data  # valid it is
    streams, unfit = st.split_zstd(*wave([zstd(data), blob, zstd(data)]), len(data))
    assert unfit.tolist() == [False, True, False]
    assert streams.row.tolist() == [0, 2]


def test_odd_but_valid_gzip_is_left_to_the_cpu():
    data = contents("walk", 10_000, 0)
    plain = gzip.compress(data)
    named = plain[:3] + b"\x08" + plain[4:10] + b"name\0" + plain[10:]
    odd = [gzip.compress(data[:99]) + gzip.compress(data[99:]), named, plain + b"\0"]
    assert all(gzip.decompress(blob) == data for blob in odd)
    assert st.split_gzip(*wave([*odd, plain]), len(data))[1].tolist() == [True, True, True, False]


def test_zlib_alone_tells_neither_length_nor_size_and_is_fit_only_where_trusted():
    blob = zlib.compress(b"abc" * 100)
    assert st.split_zlib(*wave([blob]), 300)[1].all()
    assert not st.split_zlib(*wave([blob]), 300, trusted=True)[1].any()
    assert st.split_zlib(*wave([b"\x79" + blob[1:], blob[:5], b""]), 300, trusted=True)[1].all()


@pytest.mark.parametrize("split", [st.split_zstd, st.split_lz4, st.split_gzip, st.split_zlib])
@pytest.mark.parametrize("nbytes", [0, 1, 10**6, 2**31, 2**40])
def test_empty_and_tiny_chunks_are_unfit(split, nbytes):
    encoded, starts, sizes = wave([b"", b"\0", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\0"])
    streams, unfit = split(encoded, starts, sizes, nbytes)
    assert unfit.all()
    assert len(streams) == 0
    assert len(split(encoded[:0], starts[:0], sizes[:0], nbytes)[1]) == 0


@pytest.mark.parametrize("split", [st.split_zstd, st.split_lz4, st.split_gzip, st.split_zlib, st.split_blosc])
@pytest.mark.parametrize(("start", "size"), [(-1, 5), (0, 11), (8, 3), (11, 0), (0, -1)])
def test_chunks_outside_the_wave_are_the_callers_fault(split, start, size):
    with pytest.raises(ValueError, match="chunk 1 lies outside the 10 encoded bytes"):
        split(np.zeros(10, np.uint8), np.array([0, start]), np.array([1, size]), 5)


# --- Blosc


def _containers() -> list[tuple[int, str, int, int, str, int, int]]:
    """(nbytes, codec, shuffle, typesize, contents, level, block size) of some 15,000 containers."""
    sizes = (0, 1, 15, 127, 128, 129, 1000, 4096, 5001, 20_000, 65_536, 70_001, 300_000)
    typesizes = (1, 2, 3, 4, 7, 8, 12, 16, 17, 24, 255)
    kinds = ("zeros", "walk", "runs", "noise")
    settings = ((5, 0), (1, 4096), (9, 1024), (0, 0), (3, 8192))
    cases = itertools.product(sizes, ("lz4", "lz4hc", "zstd", "zlib"), (0, 1, 2), typesizes, kinds, settings)
    found = []
    for nbytes, codec, shuffle, typesize, kind, (level, blocksize) in cases:
        turn = (typesize + shuffle + level + len(codec)) % 4
        if nbytes <= 5001 or kind == kinds[turn]:
            found.append((nbytes, codec, shuffle, typesize, kind, level, blocksize))
    return found


def read_back(blobs: list[bytes], nbytes: int) -> list[bytes]:
    """What the emulated device makes of containers: one wave, of which nothing may be left to the host."""
    spec = ChunkSpec((nbytes,), parse_dtype(np.dtype("u1")), None)
    engine = GpuEngine(CodecChain.build([BytesCodec(), BloscCodec()], spec), EMULATED)
    engine._on_host = None
    return by_gpu(engine, EMULATED, blobs)


def test_blosc_containers_decode_to_the_chunks(long_form):
    cases = _containers()
    assert len(cases) >= 15_000
    cases = cases if long_form else cases[::41]
    stored = plain = filtered = 0
    for nbytes, group in itertools.groupby(cases, key=lambda case: case[0]):
        alike = list(group)
        for some in (alike[i : i + 100] for i in range(0, len(alike), 100)):
            chunks = [contents(case[4], nbytes, i) for i, case in enumerate(some)]
            blobs = [
                bytes(blosc.compress(chunk, codec.encode(), level, shuffle, blocksize, typesize))
                for chunk, (_, codec, shuffle, typesize, _, level, blocksize) in zip(chunks, some, strict=True)
            ]
            encoded, starts, sizes = wave(blobs, gap=1)
            split = st.split_blosc(encoded, starts, sizes, nbytes)
            assert split.unfit.all() == (nbytes == 0)
            if nbytes:
                assert not split.unfit.any()
                out, whole, _ = decode_blosc(encoded, split, len(chunks), nbytes)
                assert whole.all()
                wrong = [case for case, row, chunk in zip(some, out, chunks, strict=True) if row.tobytes() != chunk]
                assert not wrong
                assert read_back(blobs, nbytes) == chunks
            stored, plain = stored + len(split.stored), plain + len(split.plain)
            filtered += np.count_nonzero(split.filters.filter)
    assert min(stored, plain, filtered) > len(cases) / 20  # every kind of part came up


HAND = {"lz4": (1, lambda data: lz4(data)[4:]), "snappy": (2, snappy), "zlib": (3, deflate), "zstd": (4, zstd)}


@pytest.mark.parametrize("codec", HAND)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_blosc_containers_made_by_hand_decode_to_the_chunks(codec, split):
    code, encode = HAND[codec]
    rng = np.random.default_rng(0)
    for nbytes, blocksize in ((100, 100), (5000, 1024), (8192, 4096), (70_001, 16_384)):
        for typesize, kind in itertools.product((1, 2, 4, 8), (0, 1, 2)):
            chunks = [contents(what, nbytes, 5) for what in ("zeros", "walk", "runs", "noise")]
            order = rng.permutation(-(-nbytes // blocksize)).tolist()  # threads write blocks in any order
            blobs = [container(chunk, code, encode, typesize, blocksize, kind, split, order) for chunk in chunks]
            encoded, starts, sizes = wave(blobs, gap=2)
            found = st.split_blosc(encoded, starts, sizes, nbytes)
            assert not found.unfit.any()
            out, whole, _ = decode_blosc(encoded, found, len(chunks), nbytes)
            assert whole.all()
            assert [row.tobytes() for row in out] == chunks
            assert read_back(blobs, nbytes) == chunks
            if codec != "snappy":  # c-blosc agrees that these are Blosc
                assert [bytes(blosc.decompress(blob)) for blob in blobs] == chunks


def test_blosclz_is_left_to_the_cpu_beside_the_others():
    chunk = contents("walk", 10_000, 0)
    blobs = [bytes(blosc.compress(chunk, name, 5, 1, 0, 4)) for name in (b"lz4", b"blosclz", b"zstd")]
    split = st.split_blosc(*wave(blobs), 10_000)
    assert split.unfit.tolist() == [False, True, False]
    assert {row for streams in split.streams for row in streams.row.tolist()} == {0, 2}
    assert split.filters.filter.tolist() == [1, 0, 1]


def test_a_trusted_container_is_taken_apart_alike():
    chunk = contents("walk", 100_000, 0)
    parts = wave([bytes(blosc.compress(chunk, name, 5, 2, 0, 4)) for name in (b"lz4", b"zstd", b"zlib")])
    checked, trusted = st.split_blosc(*parts, 100_000), st.split_blosc(*parts, 100_000, trusted=True)
    assert [table.source.tolist() for table in checked.streams] == [table.source.tolist() for table in trusted.streams]
    assert [column.tolist() for column in checked.filters] == [column.tolist() for column in trusted.filters]
    assert checked.filters.filter.tolist() == [2, 2, 2]


def test_a_container_without_filter_says_so():
    blob = bytes(blosc.compress(contents("walk", 10_000, 0), b"lz4", 5, 0, 0, 4))
    assert [column.tolist() for column in st.split_blosc(*wave([blob]), 10_000).filters] == [[10_000], [1], [0]]


def test_blocks_that_overlap_or_leave_gaps_are_unfit():
    chunk = contents("walk", 8192, 0)
    good = container(chunk, 4, zstd, 4, 4096, 1, False)
    first, second = (int.from_bytes(good[i : i + 4], "little") for i in (16, 20))
    aliased = good[:20] + good[16:20] + good[24:]
    gap = good[:12] + (len(good) + 4).to_bytes(4, "little") + good[16:] + b"gap."
    inner = good[:12] + (len(good) + 4).to_bytes(4, "little") + good[16:20] + (second + 4).to_bytes(4, "little")
    inner += good[24:second] + b"gap." + good[second:]
    blobs = [good, aliased, gap, inner]
    assert first == 24
    assert bytes(blosc.decompress(inner)) == chunk  # odd, not wrong
    assert st.split_blosc(*wave(blobs), 8192).unfit.tolist() == [False, True, True, True]


def test_a_flood_of_tiny_blocks_is_unfit_at_once():
    """Tables and walks are bounded by the decoded size, not by how many blocks a file claims."""
    import time

    nbytes = 4 << 20
    flood = b"\0\0\0\xff\xff" * (nbytes // 5)
    gz = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + flood + bytes(4) + nbytes.to_bytes(4, "little")
    frame = b"\x28\xb5\x2f\xfd\xa0" + nbytes.to_bytes(4, "little") + bytes(3) * (nbytes // 3)
    tiny = container(contents("noise", 100_000, 0), 1, lambda data: data, 1, 4, 0, False)
    begun = time.perf_counter()
    assert st.split_gzip(*wave([gz]), nbytes)[1].all()
    assert st.split_zstd(*wave([frame]), nbytes)[1].all()
    split = st.split_blosc(*wave([tiny]), 100_000)
    assert split.unfit.all()
    assert (len(split.streams), len(split.stored), len(split.plain), split.filters.filter.any()) == (0, 0, 0, False)
    assert time.perf_counter() - begun < 1


def test_a_hundred_thousand_streams_take_tens_of_milliseconds():
    import time

    chunk = contents("walk", 32_768, 0)
    blob = bytes(blosc.compress(chunk, b"lz4", 5, 1, 4096, 4))
    rows = 9_000
    encoded, starts, sizes = wave([blob])
    starts, sizes = np.zeros(rows, np.int64), np.repeat(sizes, rows)
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        split = st.split_blosc(encoded, starts, sizes, len(chunk))
        took.append(time.perf_counter() - begun)
    assert sum(map(len, split.streams)) + len(split.stored) >= 30_000
    assert min(took) < 1  # a loop over streams would take several times that on any machine
