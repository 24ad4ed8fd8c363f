"""Reading to a GPU: the emulated device (and cuda, where it is) gives what the CPU gives, to the last bit."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

import gpuzarr
from gpuzarr import stored
from gpuzarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from gpuzarr.codecs import numcodecs as nc
from gpuzarr.codecs.engines import gpu_wave
from gpuzarr.codecs.engines.nvcomp_emulated import EmulatedNvcomp
from gpuzarr.devices import EmulatedDevice
from gpuzarr.devices.emulated_array import EmulatedArray
from gpuzarr.errors import (
    ChecksumError,
    ChunkNotFoundError,
    CorruptChunkError,
    DeviceError,
    GpuContextLostError,
    GpuMemoryError,
)
from gpuzarr.storage import MemoryStore
from tests.test_third_party import REJECTED

SHAPE = (67, 91)
FIELD = np.cumsum(np.random.default_rng(5).normal(size=SHAPE), axis=1).round(1)
COMPRESSORS = {
    "none": None,
    "zstd": ZstdCodec(level=3),
    "zstd-crc": [ZstdCodec(), Crc32cCodec()],
    "crc": [Crc32cCodec()],
    "gzip": GzipCodec(level=5),
    "gzip-crc": [GzipCodec(level=5), Crc32cCodec()],
    "zlib-crc": [nc.Zlib(), Crc32cCodec()],
    "blosc-lz4-shuffle": BloscCodec(cname="lz4", shuffle="shuffle"),
    "blosc-lz4hc-bitshuffle": BloscCodec(cname="lz4hc", shuffle="bitshuffle"),
    "blosc-zstd-bitshuffle": BloscCodec(cname="zstd", shuffle="bitshuffle"),
    "blosc-zlib": BloscCodec(cname="zlib", shuffle="noshuffle"),
    "blosc-blosclz": BloscCodec(cname="blosclz", shuffle="shuffle"),  # on the host
    "blosc-small-blocks": BloscCodec(cname="lz4", shuffle="shuffle", blocksize=256),
    "lz4": nc.LZ4(),
    "zlib": nc.Zlib(),  # on the host
    "shuffle-zstd": [nc.Shuffle(elementsize=4), nc.Zstd()],
    "bz2": nc.BZ2(),  # on the host
    "zstd-with-checksum": ZstdCodec(checksum=True),
    "several checksums": [ZstdCodec(), nc.CRC32(), nc.Adler32(), nc.CRC32C(), Crc32cCodec()],
    "fletcher": [ZstdCodec(), nc.Fletcher32()],  # verified on the host
    "shuffle alone": [nc.Shuffle(elementsize=4)],
}
HOST_ONLY: list[tuple[dict[str, Any], str]] = [
    ({"compressors": nc.BZ2()}, "no GPU form of numcodecs.bz2"),
    ({"compressors": BloscCodec(cname="blosclz")}, "no GPU form of blosclz"),
    ({"compressors": nc.Blosc(cname="blosclz")}, "no GPU form of blosclz"),
    ({"compressors": nc.Zlib()}, "nothing tells the size of a zlib stream"),
    ({"compressors": [nc.CRC32(), ZstdCodec()]}, "no GPU form of numcodecs.crc32"),
    ({"filters": [nc.Delta(dtype="f4"), TransposeCodec(order=(1, 0))]}, "axes are moved between numcodecs.delta"),
    ({"serializer": nc.ZFPY(mode=4)}, "no GPU form of numcodecs.zfpy"),
]


def make(store: Any = None, **more: Any) -> gpuzarr.Array:
    """An array with absent chunks, and chunks that reach beyond the edge."""
    arguments: dict[str, Any] = {"shape": SHAPE, "chunks": (16, 24), "dtype": "f4", "fill_value": 7} | more
    a = gpuzarr.create_array(MemoryStore() if store is None else store, **arguments)
    a[:40] = FIELD[:40].astype(a.dtype)
    return a


def keys(seed: int) -> list[tuple[str, Any]]:
    """Doors and keys."""
    rng = random.Random(seed)

    def axis(size: int) -> Any:
        ends = sorted(rng.sample(range(size), 2))
        return rng.choice([slice(*ends), slice(ends[1], ends[0], -rng.randint(1, 4)), slice(None, None, 3), ends[0]])

    def points(size: int) -> list[int]:
        return [rng.randrange(-size, size) for _ in range(rng.randint(1, 9))]

    rows, columns = points(SHAPE[0]), points(SHAPE[1])
    count = min(len(rows), len(columns))
    return [
        ("basic", Ellipsis),
        ("basic", (axis(SHAPE[0]), axis(SHAPE[1]))),
        ("oindex", (rows, columns)),
        ("oindex", (rows, axis(SHAPE[1]))),
        ("vindex", (rows[:count], columns[:count])),
        ("vindex", np.random.default_rng(seed).random(SHAPE) < 0.1),
        ("blocks", (rng.randrange(3), rng.randrange(2))),
    ]


def check(a: gpuzarr.Array, device: str | EmulatedDevice, seed: int) -> None:
    there = a.to_device(device)
    for door, key in keys(seed):
        want = a[key] if door == "basic" else getattr(a, door)[key]
        got = there[key] if door == "basic" else getattr(there, door)[key]
        assert type(got) is there.device.xp.ndarray
        host = there.device.download(got)
        assert (host.dtype, host.shape) == (want.dtype, want.shape)
        assert host.tobytes() == want.tobytes(), (door, key)


@pytest.fixture(params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("shards", [None, (32, 48)], ids=["plain", "sharded"])
@pytest.mark.parametrize("codec", COMPRESSORS)
def test_codecs(gpu: str, codec: str, shards: tuple[int, ...] | None) -> None:
    check(make(compressors=COMPRESSORS[codec], shards=shards), gpu, seed=len(codec))


@pytest.mark.parametrize("blocksize", [0, 100, 256, 300])
@pytest.mark.parametrize("shuffle", ["shuffle", "bitshuffle"])
def test_blosc_blocks_and_elements_of_any_size(gpu: str, shuffle: str, blocksize: int) -> None:
    """Also such as are not the array's: chunks of 616 bytes have leftovers of both."""
    noise = np.random.default_rng(1).random((8, SHAPE[1]))  # stored as it is, beside chunks that are not
    for typesize in (1, 2, 3, 4, 7, 8, 12, 16, 17, 255):
        codec = BloscCodec(cname="zstd", shuffle=shuffle, typesize=typesize, blocksize=blocksize)
        a = make(dtype="f8", chunks=(7, 11), compressors=codec, serializer=BytesCodec(endian="big"))
        a[:8] = noise
        check(a, gpu, seed=typesize + blocksize)


def test_what_placing_cannot_undo_is_undone_before(gpu: str) -> None:
    """A shuffle or a byte order that is not what comes last, two shuffles, and a destination of another type."""
    blosc, shuffle = BloscCodec(cname="lz4", shuffle="shuffle"), nc.Shuffle(elementsize=4)
    big = BytesCodec(endian="big")
    for seed, chain in enumerate(
        (
            {"dtype": "i4", "filters": nc.Delta(dtype="i4"), "compressors": blosc},
            {"dtype": "i4", "filters": nc.Delta(dtype="i4"), "serializer": big, "compressors": [shuffle, ZstdCodec()]},
            {"serializer": big, "compressors": [shuffle, blosc]},
            {"serializer": big, "compressors": [shuffle, shuffle, ZstdCodec()]},
            {"serializer": big, "compressors": None},
        )
    ):
        a = make(**chain)
        check(a, gpu, seed)
        there = a.to_device(gpu)
        out = there.device.upload(np.zeros(SHAPE, "f8"))
        there.get_basic_selection((slice(None), slice(None)), out=out)
        np.testing.assert_array_equal(there.device.download(out), a[...])


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16"])
def test_data_types(gpu: str, dtype: str) -> None:
    fill = {"?": True}.get(dtype, 3)
    check(make(dtype=dtype, fill_value=fill, compressors=COMPRESSORS["blosc-lz4-shuffle"]), gpu, seed=3)


@pytest.mark.parametrize("endian", ["little", "big"])
def test_byte_order_and_order_of_axes(gpu: str, endian: str) -> None:
    serializer = gpuzarr.codecs.BytesCodec(endian=endian)
    check(make(serializer=serializer, filters=[TransposeCodec(order=(1, 0))]), gpu, seed=4)


@pytest.mark.parametrize("order", ["C", "F"])
def test_format_2(gpu: str, order: str) -> None:
    check(make(zarr_format=2, order=order, filters=None), gpu, seed=6)


@pytest.mark.parametrize("dtype", [">i2", ">f4", ">f8", ">c16"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("compressor", [None, nc.Blosc(shuffle=1)])
def test_format_2_in_another_byte_order(gpu: str, dtype: str, order: str, compressor: Any) -> None:
    filters = [nc.FixedScaleOffset(offset=0, scale=4, dtype=dtype)] if dtype == ">f8" else None
    a = make(zarr_format=2, dtype=dtype, order=order, filters=filters, compressors=compressor)
    there = a.to_device(gpu)
    assert there.dtype == a.dtype
    want, got = a[...], there.device.download(there[...])
    assert got.dtype == want.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, want)
    there[5:9] = there[7:11] * 2
    np.testing.assert_array_equal(a[5:9], want[7:11] * 2)
    assert a[...].tobytes() == np.concatenate([want[:5], want[7:11] * 2, want[9:]]).astype(dtype).tobytes()


def test_what_has_no_gpu_form_goes_by_the_host(gpu: str) -> None:
    for codecs, why in HOST_ONLY:
        a = make(**codecs)
        check(a, gpu, seed=7)
        assert f"@cpu ({why}" in a.to_device(gpu).explain()


def test_rectilinear_chunks_and_a_cache(gpu: str) -> None:
    check(make(chunks=[[30, 7, 30], [50, 41]]), gpu, seed=8)
    check(make().with_cache(1 << 20), gpu, seed=9)


def test_arrays_without_axes_and_without_elements(gpu: str) -> None:
    a = gpuzarr.create_array({}, shape=(), dtype="i4", device=gpu)
    a[...] = 5
    assert a.device.download(a[...]) == 5
    b = gpuzarr.create_array({}, shape=(0, 4), chunks=(2, 2), dtype="i4", device=gpu)
    assert b[...].shape == (0, 4)


def test_a_destination_of_the_callers(gpu: str) -> None:
    a = make()
    there = a.to_device(gpu)
    for dtype in ("f4", "f8"):
        out = there.device.upload(np.zeros((91, 67), dtype)).T
        got = there.get_basic_selection((slice(None), slice(None)), out=out)
        assert got is out
        np.testing.assert_array_equal(there.device.download(out), a[...].astype(dtype))


def test_a_destination_of_another_type_gets_what_numpy_makes_of_it(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subnormal floats too, which CuPy's own conversion takes for 0."""
    values = np.random.default_rng(0).integers(0, 1 << 24, (91, 67), dtype=np.uint32).view("f4")
    monkeypatch.setattr(EmulatedArray, "astype", None, raising=False)  # as good as CuPy's
    for codec in ("none", "zstd", "blosc-lz4-shuffle"):
        a = gpuzarr.create_array({}, data=values, chunks=(7, 11), compressors=COMPRESSORS[codec])
        there = a.to_device(gpu)
        out = there.device.upload(np.zeros(values.shape, "f8"))
        there.get_basic_selection(out=out)
        assert there.device.download(out).tobytes() == values.astype("f8").tobytes()


def test_values_from_the_gpu_are_written(gpu: str) -> None:
    a = make().to_device(gpu)
    a[3:50, ::2] = a.device.upload(FIELD[3:50, ::2].astype("f4"))
    np.testing.assert_array_equal(a.device.download(a[3:50, ::2]), FIELD[3:50, ::2].astype("f4"))


def test_the_route_is_said(gpu: str) -> None:
    text = make(compressors=[ZstdCodec(), Crc32cCodec()]).to_device(gpu).explain()
    name = gpuzarr.devices.get_device(gpu).name
    assert f"crc32c@{name} -> zstd@{name} -> bytes@{name}" in text
    text = make(compressors=[ZstdCodec(), nc.Fletcher32()]).to_device(gpu).explain()
    assert f"numcodecs.fletcher32@cpu (a checksum) -> zstd@{name}" in text
    assert "one launch a wave" in text


# ---- what goes wrong


def damaged(codec: Any, change: Any, **more: Any) -> gpuzarr.Array:
    store: dict[str, Any] = {}
    a = make(store, compressors=codec, **more)
    key = next(k for k in sorted(store) if k.startswith("c/1/"))
    store[key] = change(bytes(store[key]))
    return a


def flip(data: bytes) -> bytes:
    broken = bytearray(data)
    broken[len(broken) // 2] ^= 0x55
    return bytes(broken)


@pytest.mark.parametrize("codec", ["none", "zstd", "gzip", "blosc-lz4-shuffle", "lz4", "crc"])
def test_damage_is_the_same_error_as_on_the_cpu(gpu: str, codec: str) -> None:
    for change in (lambda d: d[:-3], lambda d: b"", lambda d: d + b"xyz"):
        a = damaged(COMPRESSORS[codec], change)
        with pytest.raises(CorruptChunkError) as on_cpu:
            a[...]
        with pytest.raises(CorruptChunkError) as there:
            a.to_device(gpu)[...]
        assert there.value.key == on_cpu.value.key == "c/1/0"


def test_checksums_are_checked_before_anything_is_decoded(gpu: str) -> None:
    with pytest.raises(ChecksumError, match="c/1/0"):
        damaged([ZstdCodec(), Crc32cCodec()], flip).to_device(gpu)[...]


# The last byte of a zstd frame's only block is never 0; no Deflate block is of kind 3; LZ4 tells its size first.
BREAK: dict[str, tuple[Any, Any]] = {
    "zstd": (ZstdCodec(), lambda data: data[:-1] + b"\0"),
    "gzip": (GzipCodec(), lambda data: data[:10] + b"\7" + data[11:]),
    "zlib": (nc.Zlib(), lambda data: data[:2] + b"\7" + data[3:]),
    "lz4": (nc.LZ4(), lambda data: b"\0" + data[1:]),
    "blosc-zstd": (BloscCodec(cname="zstd", shuffle="noshuffle"), lambda data: data[:-1] + b"\0"),
}


@pytest.mark.parametrize("codec", BREAK)
def test_a_checksum_is_no_word_on_what_it_is_around(codec: str) -> None:
    compressor, damage = BREAK[codec]
    store: dict[str, Any] = {}
    a = gpuzarr.create_array(store, shape=4000, chunks=4000, dtype="i2", compressors=[compressor, Crc32cCodec()])
    a[...] = np.arange(4000) % 321
    device, calls = EmulatedDevice(), []
    there = a.to_device(device)
    there[...]
    decompress = device.nvcomp.decompress
    device.nvcomp.decompress = lambda *given: calls.append(given) or decompress(*given)
    there[...]
    assert len(calls) == 1
    broken = damage(bytes(store["c/0"])[:-4])
    store["c/0"] = broken + google_crc32c.value(broken).to_bytes(4, "little")  # whoever breaks it can do that, too
    with pytest.raises(CorruptChunkError, match="c/0"):
        there[...]
    assert len(calls) == 1  # nvCOMP has not seen it


def test_checksums_within_and_around_a_format_are_both_verified() -> None:
    store: dict[str, Any] = {}
    codecs = [ZstdCodec(checksum=True), Crc32cCodec()]
    a = gpuzarr.create_array(store, shape=4000, chunks=4000, dtype="i2", compressors=codecs)
    a[...] = np.arange(4000) % 321
    data = bytearray(store["c/0"][:-4])
    data[-1] ^= 1
    store["c/0"] = bytes(data) + google_crc32c.value(bytes(data)).to_bytes(4, "little")
    for device in ("cpu", "emulated"):
        with pytest.raises(CorruptChunkError, match="c/0"):
            a.to_device(device)[...]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("codec", ["gzip", "zlib", "blosc-zlib", "zstd-with-checksum"])
def test_checksums_within_a_format_are_verified_as_on_the_cpu(gpu: str, codec: str, trusted: bool) -> None:
    """Nobody but us does it: the emulated nvCOMP does not look at them."""

    def swap(data: bytes) -> bytes:  # a byte of the checksum, which is at the end, or before the size
        at = len(data) - (8 if codec == "gzip" else 1)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    a = damaged(COMPRESSORS[codec], swap)
    with pytest.raises(CorruptChunkError):
        a[...]
    with gpuzarr.config.set({"codecs.trusted": trusted}), pytest.raises(CorruptChunkError, match="c/1/0"):
        a.to_device(gpu)[...]


def test_a_store_that_the_user_vouches_for(gpu: str) -> None:
    for codec, compressor in COMPRESSORS.items():
        a = make(compressors=compressor)
        with gpuzarr.config.set({"codecs.trusted": True}):
            check(a, gpu, seed=len(codec))
    a, name = make(compressors=nc.Zlib()).to_device(gpu), gpuzarr.devices.get_device(gpu).name
    assert "zlib@cpu" in a.explain()
    with gpuzarr.config.set({"codecs.trusted": True}):
        assert f"zlib@{name}" in a.explain()


def test_absent_chunks_can_be_an_error(gpu: str) -> None:
    with pytest.raises(ChunkNotFoundError, match="c/3/0"):
        make().with_config({"read_missing_chunks": False}).to_device(gpu)[...]


def test_streams_that_the_gpu_cannot_decode_are_decoded_by_the_host() -> None:
    for faults in ({"bad_status_rows": {0, 3}}, {"wrong_size_rows": {1}}):
        device = EmulatedDevice(**faults)  # type: ignore[arg-type]
        for codec in ("zstd", "blosc-lz4-shuffle", "gzip", "shuffle-zstd"):
            check(make(compressors=COMPRESSORS[codec], serializer=BytesCodec(endian="big")), device, seed=10)


@pytest.mark.parametrize("shards", [None, (32, 48)], ids=["plain", "sharded"])
@pytest.mark.parametrize("codec", COMPRESSORS)
def test_memory_may_run_out_at_every_allocation(codec: str, shards: tuple[int, ...] | None) -> None:
    a = make(compressors=COMPRESSORS[codec], shards=shards)
    device = EmulatedDevice()
    want = device.download(a.to_device(device)[...]).tobytes()
    with pytest.raises(GpuMemoryError):  # the first one is of the destination, which is the caller's
        a.to_device(EmulatedDevice(fail_allocation_at=1))[...]
    for failing in range(2, device.allocations + 1):
        tight = EmulatedDevice(fail_allocation_at=failing)
        assert tight.download(a.to_device(tight)[...]).tobytes() == want


@pytest.mark.parametrize("codec", ["none", "zstd-crc", "blosc-lz4-shuffle", "bz2", "gzip"])
def test_the_device_may_be_lost_at_every_operation(codec: str) -> None:
    a = make(compressors=COMPRESSORS[codec])
    whole = EmulatedDevice()
    whole.lanes = 1
    a.to_device(whole)[...]
    assert whole.operations > 3
    for n in range(whole.operations):
        lost = EmulatedDevice(lose_context_after=n)
        lost.lanes = 1
        for _ in range(2):  # and it stays lost
            with pytest.raises(GpuContextLostError, match="is lost for this process"):
                a.to_device(lost)[...]


@pytest.mark.parametrize("codec", ["none", "zstd", "blosc-lz4-shuffle", "bz2"])
def test_where_memory_is_short_the_wave_goes_by_halves(codec: str) -> None:
    a = make(compressors=COMPRESSORS[codec], chunks=(8, 8))
    device = EmulatedDevice()
    want = device.download(a.to_device(device)[...]).tobytes()
    # The destination and the tables, and then less and less for the chunks.
    for room in (200_000, 60_000, 8_000):
        tight = EmulatedDevice(memory=a.nbytes + (1 << 20) + room)
        assert tight.download(a.to_device(tight)[...]).tobytes() == want
        assert tight.most_used <= tight.memory  # type: ignore[operator]


@pytest.mark.parametrize("codec", ["zstd", "blosc-zstd-bitshuffle", "blosc-zlib"])
def test_scratch_is_bounded_by_going_to_nvcomp_several_times(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a = make(compressors=COMPRESSORS[codec])
    calls: list[tuple[Any, ...]] = []
    if codec == "blosc-zlib":  # which takes no scratch in nvCOMP 6.0, but copies of its streams
        real = EmulatedNvcomp.temp_size
        monkeypatch.setattr(
            EmulatedNvcomp, "temp_size", lambda self, format, count, *more: real(self, "zstd", count, *more)
        )
    for limit in (1 << 30, 100_000, 20_000):
        monkeypatch.setattr(gpu_wave, "MOST_SCRATCH", limit)
        device = EmulatedDevice(streams="lazy")
        there = a.to_device(device)
        there[...]
        decompress = device.nvcomp.decompress
        monkeypatch.setattr(
            device.nvcomp, "decompress", lambda *given, run=decompress: calls.append(given) or run(*given)
        )
        calls.clear()
        assert device.download(there[...]).tobytes() == a[...].tobytes()
        assert (len(calls) == 1) == (limit == 1 << 30)
        assert all(given[6] <= limit for given in calls)


def test_no_memory_at_all_is_an_error_of_our_tree() -> None:
    with pytest.raises(GpuMemoryError):
        make().to_device(EmulatedDevice(memory=20_000))[...]
    with pytest.raises(GpuMemoryError):
        make().to_device(EmulatedDevice(memory=40_000))[...]


def test_copies_and_launches_do_not_grow_with_the_number_of_chunks() -> None:
    counts = []
    for chunk in (32, 8):
        device = EmulatedDevice()
        a = gpuzarr.create_array({}, shape=(64, 64), chunks=(chunk, chunk), dtype="f4", compressors=BloscCodec())
        a[...] = FIELD[:64, :64]
        there = a.to_device(device)
        there[...]
        before = device.operations
        there[...]
        counts.append(device.operations - before)
    assert counts[0] == counts[1]  # 4 chunks and 64


@pytest.mark.parametrize("shards", [None, (32, 48)], ids=["plain", "sharded"])
def test_waves_of_tiny_chunks_have_a_bounded_number_of_rows(
    device: str, shards: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make(chunks=(4, 6), shards=shards).to_device(device)
    want = make(chunks=(4, 6), shards=shards)[...].tobytes()
    assert a._stored.wave_rows(1 << 30, 1, a.device, 1) == 1 << 16
    monkeypatch.setattr(stored, "MOST_ROWS", 5)
    rows = 5 if shards is None else 4
    assert a._stored.wave_rows(1 << 30, 1, a.device, 1) == rows
    assert a.device.download(a[...]).tobytes() == want


# ---- files of others

# Of the 136 arrays that zarr-python reads: the others have strings, dates or objects, which are no elements of a GPU.
NUMBERS, NO_NUMBERS = 95, 41


def test_third_party_stores(gpu: str, third_party_stores: Path) -> None:
    equal, refused = [], []
    for path, known in json.loads((third_party_stores / "expected.json").read_text()).items():
        if "oracle_rejects" in known:
            continue
        a = gpuzarr.open_array(third_party_stores / path, mode="r")
        there = a.to_device(gpu)
        if a.dtype.kind not in "biufc":
            with pytest.raises(DeviceError, match="cpu"):
                there[...]
            refused.append(path)
            continue
        rows: Any = slice(500) if a.nbytes > 16 << 20 else ...  # 80 MB of one value; its first rows do
        want = np.asarray(a[rows]).astype(a.dtype.newbyteorder("="))
        assert there.device.download(there[rows]).tobytes() == want.tobytes(), path
        equal.append(path)
    assert (len(equal), len(refused)) == (NUMBERS, NO_NUMBERS)


@pytest.mark.parametrize("path", [path for path, values in REJECTED.items() if values.dtype.kind in "biufc"])
def test_third_party_stores_that_zarr_python_rejects(gpu: str, third_party_stores: Path, path: str) -> None:
    pytest.importorskip("pcodec" if "pcodec" in path else "zfpy" if "zfpy" in path else "numpy")
    a = gpuzarr.open_array(third_party_stores / path, mode="r")
    there = a.to_device(gpu)
    assert there.device.download(there[...]).tobytes() == np.asarray(a[...]).tobytes()
