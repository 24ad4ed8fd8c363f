"""zarr-python's arrays by way of our pipeline: the same values, the same stored bytes, the same errors.

`ours` opens an array with our pipeline and forbids it zarr-python's own, so that nothing passes by falling back.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

crc32c = pytest.importorskip("crc32c")
zarr = pytest.importorskip("zarr")
from zarr.abc.codec import BytesBytesCodec  # noqa: E402
from zarr.core.buffer import BufferPrototype, NDBuffer, cpu, gpu  # noqa: E402
from zarr.registry import register_codec  # noqa: E402

from gpuzarr import devices, zarr_pipeline  # noqa: E402
from gpuzarr.devices import get_device  # noqa: E402
from gpuzarr.devices.emulated_array import EmulatedArray  # noqa: E402
from gpuzarr.errors import CorruptChunkError, CorruptShardError  # noqa: E402
from gpuzarr.zarr_pipeline import CodecPipeline  # noqa: E402
from tests import fake_cupy  # noqa: E402
from tests.oracle import same  # noqa: E402
from tests.test_third_party import digest  # noqa: E402

pytestmark = [pytest.mark.judge, pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")]

PATH = {"codec_pipeline.path": "gpuzarr.zarr_pipeline.CodecPipeline"}
SHAPE, CHUNKS, SHARDS = (23, 17), (6, 5), (12, 10)
NEWER = hasattr(zarr.errors, "ChunkNotFoundError")  # 3.4
ROOT = Path(__file__).parents[2]


@pytest.fixture
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> Any:
        raise AssertionError("zarr-python's own pipeline was asked")

    monkeypatch.setattr(CodecPipeline, "_own", forbidden)


def opened(store: Any, mode: str = "r+", **options: Any) -> Any:
    """`options` of arrays, by the configuration: not every release takes them where an array is opened."""
    with zarr.config.set({**PATH, **{f"array.{name}": value for name, value in options.items()}}):
        array = zarr.open_array(store, mode=mode)
    assert isinstance(array._async_array.codec_pipeline, CodecPipeline)
    return array


def values_of(dtype: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if dtype == "string":
        return numbers.astype(str).astype(object)
    if dtype[0] in "SU" or dtype[0] == "<":
        return numbers.astype(dtype)
    if dtype == "bool":
        return numbers % 3 == 0
    if dtype[0] == "M":
        return numbers.astype("i8").view("M8[s]").astype(dtype)
    return (numbers * 7 % 251).astype(dtype)


def files(place: Path) -> dict[str, bytes]:
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


V3_CODECS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"compressors": None},
    "gzip": {"compressors": zarr.codecs.GzipCodec(level=1)},
    "blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="shuffle")},
    "bitshuffle": {"compressors": zarr.codecs.BloscCodec(cname="zstd", shuffle="bitshuffle")},
    "zstd, crc32c": {"compressors": [zarr.codecs.ZstdCodec(level=3, checksum=True), zarr.codecs.Crc32cCodec()]},
    "transpose": {"filters": zarr.codecs.TransposeCodec(order=(1, 0))},
    "big endian": {"serializer": zarr.codecs.BytesCodec(endian="big"), "compressors": None},
}
V2_CODECS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"compressors": None},
    "blosc": {"compressors": numcodecs.Blosc("zstd", shuffle=1)},
    "zlib": {"compressors": numcodecs.Zlib(2)},
    "delta, lz4": {"filters": [numcodecs.Delta("i4")], "compressors": numcodecs.LZ4()},
    "F order": {"order": "F"},
}
CASES = [
    *[(3, name, dtype, None) for name in V3_CODECS for dtype in ("f4", "i8")],
    *[(3, name, "i4", SHARDS) for name in V3_CODECS],
    *[(3, "default", dtype, shards) for dtype in ("bool", "u1", "f2", "c16", "M8[ns]") for shards in (None, SHARDS)],
    *[(3, "default", dtype, shards) for dtype in ("string", "S5", "U4") for shards in (None, SHARDS)],
    *[(2, name, "i4", None) for name in V2_CODECS],
    *[(2, "default", dtype, None) for dtype in (">i4", ">f8", "bool", "string", "S5", ">U4", "M8[s]")],
]

READS: list[tuple[str, Any]] = [
    ("basic", np.s_[...]),
    ("basic", np.s_[3]),
    ("basic", np.s_[:, 16]),
    ("basic", np.s_[22, 16]),
    ("basic", np.s_[4:20, 3:9]),
    ("basic", np.s_[1::9, 2:17:4]),
    ("basic", np.s_[5:5]),
    ("oindex", np.s_[[20, 3, 3], :]),
    ("oindex", np.s_[:, [16, 0]]),
    ("oindex", np.s_[[1, 22, 8], [3, 16, 2, 2]]),
    ("oindex", np.s_[[1, 22, 8], 4]),
    ("oindex", np.s_[3, [4, 16, 1]]),
    ("oindex", (np.arange(23) % 5 == 0, slice(2, 14, 3))),
    ("vindex", np.s_[[22, 0, 7, 0], [1, 16, 5, 1]]),
    ("vindex", (np.arange(23 * 17).reshape(23, 17) % 11 == 0)),
    ("blocks", np.s_[1, 0:2]),
]


def read(array: Any, how: str, key: Any) -> Any:
    return array[key] if how == "basic" else getattr(array, how)[key]


def write(array: Any, how: str, key: Any, value: Any) -> None:
    (array if how == "basic" else getattr(array, how))[key] = value


def create(place: Any, case: Any, **more: Any) -> Any:
    form, codec, dtype, shards = case
    options = (V3_CODECS if form == 3 else V2_CODECS)[codec]
    return zarr.create_array(
        place,
        shape=SHAPE,
        chunks=CHUNKS,
        shards=shards,
        dtype=str if dtype == "string" else dtype,
        zarr_format=form,
        **options,
        **more,
    )


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_stored_bytes_are_those_of_zarr_python(tmp_path: Path, case: Any) -> None:
    values = values_of(case[2])
    theirs = create(tmp_path / "theirs", case)
    create(tmp_path / "ours", case)
    mine = opened(tmp_path / "ours")
    theirs[...] = mine[...] = values
    theirs[4:9, 2:] = mine[4:9, 2:] = values[10:15, 2:]
    stored, expected = files(tmp_path / "ours"), files(tmp_path / "theirs")
    if "gzip" in case:  # zarr-python's has the time in it
        stored, expected = ({k: len(v) for k, v in found.items()} for found in (stored, expected))
    assert stored == expected
    for how, key in READS:
        if how == "blocks" and case[3] is not None:
            continue  # of chunks in one, of shards in another release
        got, want = read(mine, how, key), read(theirs, how, key)
        assert same(np.asarray(got), np.asarray(want)), (how, key)
        assert type(got) is type(want)


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("shards", [None, SHARDS])
@pytest.mark.parametrize("place", ["local", "memory"])
def test_every_way_of_writing_leaves_what_zarr_python_leaves(tmp_path: Path, place: str, shards: Any) -> None:
    rng = np.random.default_rng(5)
    for number, (how, key) in enumerate(READS):
        stores = [tmp_path / f"{number}-{who}" if place == "local" else {} for who in ("ours", "theirs")]
        if place == "memory":
            stores = [zarr.storage.MemoryStore(store) for store in stores]
        theirs = create(stores[1], (3, "default", "i4", shards), fill_value=9)
        create(stores[0], (3, "default", "i4", shards), fill_value=9)
        mine = opened(stores[0])
        if how == "blocks" and shards is not None:
            continue
        if not NEWER and shards is not None and how == "oindex":
            continue  # most such writes are errors in zarr-python 3.1.6
        part = np.asarray(read(theirs, how, key))
        for value in (rng.integers(0, 1000, part.shape, np.int32), 5, 9):
            if how == "oindex" and any(isinstance(k, list) and len(set(k)) < len(k) for k in key):
                continue  # several values for one element: any of them may stay
            for array in (mine, theirs):
                write(array, how, key, value)
            assert np.array_equal(theirs[...], opened(stores[0], "r")[...]), (how, key)
            if place == "local":
                assert files(stores[0]) == files(stores[1]), (how, key)
            else:
                assert stores[0]._store_dict.keys() == stores[1]._store_dict.keys(), (how, key)


@pytest.mark.usefixtures("only_ours")
def test_random_boxes_points_and_writes_follow_numpy(tmp_path: Path, long_form: bool) -> None:
    rng = np.random.default_rng(11)
    shape = (13, 9, 11)
    for shards in (None, (8, 6, 4)):
        place = tmp_path / str(shards)
        zarr.create_array(place, shape=shape, chunks=(4, 3, 2), shards=shards, dtype="i4", fill_value=-1)
        array, want = opened(place), np.full(shape, -1, np.int32)
        for turn in range(600 if long_form else 25):
            key = tuple(_any_index(rng, n) for n in shape)
            points = tuple(rng.integers(0, n, 20) for n in shape)
            np.testing.assert_array_equal(array[key], want[key])
            np.testing.assert_array_equal(array.vindex[points], want[points])
            fancy = tuple(np.unique(rng.integers(0, n, 4)) for n in shape)
            np.testing.assert_array_equal(array.oindex[fancy], want[np.ix_(*fancy)])
            value = rng.integers(0, 9, want[key].shape, np.int32)
            array[key] = want[key] = value
            array.vindex[points] = want[points] = np.arange(20, dtype=np.int32)  # the last one stays
            array.oindex[fancy] = want[np.ix_(*fancy)] = turn
        np.testing.assert_array_equal(array[...], want)


def _any_index(rng: np.random.Generator, length: int) -> Any:
    if rng.random() < 0.25:
        return int(rng.integers(0, length))
    low, high = sorted(rng.integers(0, length + 1, 2).tolist())
    return slice(low, high, int(rng.integers(1, 4)))


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("form", [2, 3])
def test_arrays_without_axes(tmp_path: Path, form: int) -> None:
    for place in (tmp_path / "x", tmp_path / "group" / "y"):
        zarr.create_array(place, shape=(), dtype="f8", zarr_format=form, fill_value=2.5)
        array = opened(place)
        assert array[()] == 2.5
        array[()] = 7
        assert array[...] == 7
        assert zarr.open_array(place)[()] == 7


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
def test_arrays_in_groups_and_both_separators(tmp_path: Path, form: int, separator: str) -> None:
    group = zarr.open_group(tmp_path / "store", mode="w", zarr_format=form)
    name = "default" if form == 3 else "v2"
    for path in ("x", "1/2/c", "a.0/c.1"):
        group.create_array(
            path, shape=(9, 7), chunks=(2, 3), dtype="i2", chunk_key_encoding={"name": name, "separator": separator}
        )
    with zarr.config.set(PATH):
        again = zarr.open_group(tmp_path / "store", mode="r+")
    for number, path in enumerate(("x", "1/2/c", "a.0/c.1")):
        again[path][...] = np.arange(63).reshape(9, 7) + number
        assert np.array_equal(group[path][...], np.arange(63).reshape(9, 7) + number)
        assert np.array_equal(again[path][3:8, 2], group[path][3:8, 2])


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("shards", [None, (8,)])
def test_fill_values_and_empty_chunks(tmp_path: Path, shards: Any) -> None:
    for fill in (0.0, -0.0, float("nan"), 3.5):
        for empty in (False, True):
            there = []
            for who in ("ours", "theirs"):
                place = tmp_path / f"{fill}-{empty}-{who}"
                made = zarr.create_array(
                    place, shape=(20,), chunks=(4,), shards=shards, dtype="f8", fill_value=fill,
                    config={"write_empty_chunks": empty},
                )  # fmt: skip
                array = made if who == "theirs" else opened(place, write_empty_chunks=empty)
                np.testing.assert_array_equal(array[...], np.full(20, fill))
                array[2:9] = 1
                array[...] = fill
                array[4:8] = [0.0, -0.0, 0.0, -0.0]
                there.append((files(place), array[...].tobytes()))
            assert there[0] == there[1], (fill, empty)


@pytest.mark.usefixtures("only_ours")
def test_the_order_of_what_is_read_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, shape=SHAPE, chunks=CHUNKS, dtype="i4")[...] = values_of("i4")
    for order in "CF":
        got = opened(tmp_path, order=order)[...]
        assert got.flags.c_contiguous == (order == "C")
        assert np.array_equal(got, values_of("i4"))


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("shards", [None, (8,)])
def test_an_array_that_was_resized_keeps_what_other_handles_wrote(tmp_path: Path, shards: Any) -> None:
    """The pipeline is not told about a new shape: a chunk that was at the end is in the middle now."""
    theirs = zarr.create_array(tmp_path, shape=(6,), chunks=(4,), shards=shards, dtype="i4", fill_value=-1)
    mine = opened(tmp_path)
    mine[...] = np.arange(6)
    theirs.resize((16,))
    theirs[6:] = np.arange(6, 16)
    mine.resize((16,))
    mine[4:6] = 100
    want = np.arange(16)
    want[4:6] = 100
    assert np.array_equal(theirs[...], want)
    mine.resize((5,))
    mine[4:] = 7
    mine.append(np.array([8, 9], np.int32))
    assert opened(tmp_path)[...].tolist() == zarr.open_array(tmp_path)[...].tolist() == [0, 1, 2, 3, 7, 8, 9]


@pytest.mark.usefixtures("only_ours")
def test_a_chunk_at_the_edge_that_is_written_whole_is_not_read(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, shape=(6, 6), chunks=(4, 4), dtype="i4", compressors=None)
    (tmp_path / "c" / "1").mkdir(parents=True)
    (tmp_path / "c" / "1" / "1").write_bytes(b"damaged")
    opened(tmp_path)[...] = np.arange(36).reshape(6, 6)
    assert np.array_equal(zarr.open_array(tmp_path)[...], np.arange(36).reshape(6, 6))


@pytest.mark.skipif(not NEWER, reason="this zarr-python has no such option")
@pytest.mark.parametrize("shards", [None, (4,)])
def test_missing_chunks_are_an_error_where_they_are_set_to_be(tmp_path: Path, shards: Any) -> None:
    zarr.create_array(tmp_path, shape=(12,), chunks=(2,), shards=shards, dtype="i4")
    array = opened(tmp_path, read_missing_chunks=False)
    array[:4] = np.arange(4)
    assert array[:4].tolist() == [0, 1, 2, 3]
    with pytest.raises(zarr.errors.ChunkNotFoundError, match="c/2"):
        array[...]


# ---- stores


class Failing(zarr.storage.WrapperStore):
    """A store that fails with an error of its own."""

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if "c/" in key:
            raise ConnectionAbortedError("the cable is out")
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key: str, value: Any) -> None:
        raise ConnectionAbortedError("the cable is out")


@pytest.mark.usefixtures("only_ours")
def test_what_a_store_raises_comes_through(tmp_path: Path) -> None:
    store = zarr.storage.LocalStore(tmp_path)
    zarr.create_array(store, shape=(8,), chunks=(4,), dtype="i4")[...] = 1
    array = opened(Failing(store))
    with pytest.raises(ConnectionAbortedError, match="cable"):
        array[...]
    with pytest.raises(ConnectionAbortedError, match="cable"):
        array[...] = 5


class Counting(zarr.storage.WrapperStore):
    """A store that remembers what it was asked for."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.asked: list[str] = []

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        self.asked.append(f"{key} {type(byte_range).__name__}")
        return await self._store.get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        self.asked.append(f"{key} exists")
        return await self._store.exists(key)

    async def getsize(self, key: str) -> int:
        self.asked.append(f"{key} size")
        return await self._store.getsize(key)


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("location", ["start", "end"])
def test_a_shard_costs_its_index_and_a_range(location: str) -> None:
    store = zarr.storage.MemoryStore()
    codec = zarr.codecs.ShardingCodec(chunk_shape=(2,), index_location=location)
    made = zarr.create(store=store, shape=(40,), chunks=(20,), dtype="i4", codecs=[codec], zarr_format=3)
    made[...] = np.arange(40)
    array = opened(counting := Counting(store))
    for key, shards in ((np.s_[3:9], 1), (np.s_[...], 2)):
        counting.asked.clear()
        assert np.array_equal(array[key], np.arange(40)[key])
        first = "SuffixByteRequest" if location == "end" else "RangeByteRequest"
        want = [f"c/{i} {kind}" for i in range(shards) for kind in (first, "RangeByteRequest")]
        assert sorted(counting.asked) == sorted(want)


@pytest.mark.usefixtures("only_ours")
def test_an_index_that_points_behind_the_shard_is_a_value_error() -> None:
    """No request tells the shard's size, so that is found out when a range is not there."""
    store = zarr.storage.MemoryStore()
    made = zarr.create_array(store, shape=(12,), chunks=(2,), shards=(12,), dtype="i4", compressors=None)
    made[...] = np.arange(12)
    shard = bytearray(store._store_dict["c/0"].to_bytes())
    index = np.frombuffer(shard, "<u8", 12, len(shard) - 100).reshape(6, 2)
    index[4, 0] = 1 << 40
    shard[-4:] = int(crc32c.crc32c(bytes(shard[-100:-4]))).to_bytes(4, "little")
    store._store_dict["c/0"] = cpu.Buffer.from_bytes(bytes(shard))
    array = opened(store)
    with pytest.raises(CorruptShardError, match="inner chunk 4") as caught:
        array[...]
    assert isinstance(caught.value, ValueError)
    assert array[:8].tolist() == list(range(8))
    assert array[10:].tolist() == [10, 11]


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("shards", [None, (8,)])
@pytest.mark.parametrize("kind", ["local", "wrapped", "memory", "zip", "fsspec"])
def test_stores(tmp_path: Path, kind: str, shards: Any) -> None:
    storage = zarr.storage
    store = {
        "local": lambda: storage.LocalStore(tmp_path),
        "wrapped": lambda: storage.WrapperStore(storage.LocalStore(tmp_path)),
        "memory": storage.MemoryStore,
        "zip": lambda: storage.ZipStore(tmp_path / "x.zip", mode="w"),
        "fsspec": lambda: storage.FsspecStore.from_url("memory://bridge", storage_options={"asynchronous": True}),
    }[kind]()
    with zarr.config.set(PATH), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fsspec's memory filesystem is not asynchronous
        array = zarr.create_array(store, shape=(50,), chunks=(4,), shards=shards, dtype="i4", overwrite=kind != "zip")
        array[...] = np.arange(50)
        assert array[3:40:3].tolist() == list(range(3, 40, 3))
        if kind != "zip":
            array[10:30] = 0
            array[11] = 7
            assert array[8:13].tolist() == [8, 9, 0, 7, 0]


@pytest.mark.usefixtures("only_ours")
def test_a_read_only_store_is_not_written_to(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, shape=(8,), chunks=(4,), dtype="i4")[...] = 1
    array = opened(tmp_path, "r")
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 2
    assert files(tmp_path) == files(tmp_path)
    assert opened(tmp_path, "r")[...].tolist() == [1] * 8


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("shards", [None, (8,)])
def test_a_damaged_chunk_is_a_value_error_that_names_it(tmp_path: Path, shards: Any) -> None:
    zarr.create_array(tmp_path, shape=(16,), chunks=(4,), shards=shards, dtype="i4")[...] = np.arange(16)
    damaged = tmp_path / "c" / "1"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with pytest.raises(CorruptChunkError, match="c/1") as caught:
        opened(tmp_path)[...]
    assert isinstance(caught.value, ValueError)


# ---- what is left to zarr-python


class Inverted(BytesBytesCodec):
    """A codec that nobody else has."""

    is_fixed_size = True

    @classmethod
    def from_dict(cls, data: Any) -> Inverted:
        return cls()

    def to_dict(self) -> Any:
        return {"name": "bridge.inverted", "configuration": {}}

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return chunk_spec.prototype.buffer.from_array_like(~chunk_bytes.as_numpy_array())

    _encode_single = _decode_single

    def compute_encoded_size(self, length: int, _: Any) -> int:
        return length


@pytest.fixture
def never_warned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(zarr_pipeline, "_warned", set())
    register_codec("bridge.inverted", Inverted)
    with zarr.config.set({"codecs.bridge.inverted": f"{__name__}.Inverted"}):
        yield


@pytest.mark.usefixtures("never_warned")
@pytest.mark.parametrize("shards", [None, (8,)])
def test_an_unknown_codec_is_left_to_zarr_python_with_one_warning(tmp_path: Path, shards: Any) -> None:
    options = {"shape": (16,), "chunks": (4,), "dtype": "i4", "shards": shards, "compressors": [Inverted()]}
    with zarr.config.set(PATH):
        first, second = (zarr.create_array(tmp_path / name, **options) for name in "ab")
    with pytest.warns(zarr.errors.ZarrUserWarning, match="bridge.inverted") as said:
        first[...] = np.arange(16)
    assert len(said) == 1
    second[...] = np.arange(16)
    for array in (first, second):
        array[2:7] = 9
        assert array[:8].tolist() == [0, 1, 9, 9, 9, 9, 9, 7]
    assert zarr.open_array(tmp_path / "a")[8:].tolist() == list(range(8, 16))


def test_values_that_do_not_fit_are_zarr_pythons_to_refuse(tmp_path: Path) -> None:
    made = zarr.create_array(tmp_path, shape=(8, 8), chunks=(4, 4), dtype="i4")
    with pytest.raises(ValueError) as theirs:
        made[...] = np.zeros((3, 8), np.int32)
    with pytest.raises(type(theirs.value)):
        opened(tmp_path)[...] = np.zeros((3, 8), np.int32)


def test_fields_of_records(tmp_path: Path) -> None:
    records = np.zeros(10, [("a", "i4"), ("b", "f8")])
    records["a"], records["b"] = np.arange(10), np.arange(10) / 2
    for who in ("ours", "theirs"):
        zarr.create_array(tmp_path / who, shape=(10,), chunks=(4,), dtype=records.dtype, zarr_format=2)[...] = records
    array, theirs = opened(tmp_path / "ours"), zarr.open_array(tmp_path / "theirs")
    array[2:5] = theirs[2:5] = records[5:8]
    assert np.array_equal(array[...], theirs[...])
    for ask in (lambda z: z["a"], lambda z: z.get_basic_selection(slice(1, 7), fields=["b"])):
        try:
            want = ask(theirs)
        except Exception as error:
            with pytest.raises(type(error)):
                ask(array)
        else:
            assert np.array_equal(ask(array), want)


@pytest.mark.skipif(not NEWER, reason="this zarr-python knows one order")
def test_another_order_of_inner_chunks_is_kept(tmp_path: Path) -> None:
    made = []
    for who in ("ours", "theirs"):
        codec = zarr.codecs.ShardingCodec(chunk_shape=(2, 2), subchunk_write_order="lexicographic")
        with zarr.config.set(PATH if who == "ours" else {}):
            array = zarr.create(
                store=tmp_path / who, shape=(8, 8), chunks=(8, 8), dtype="i4", codecs=[codec], zarr_format=3
            )
        array[...] = np.arange(64).reshape(8, 8)
        made.append((files(tmp_path / who), array[1:5, 3].tolist()))
    assert made[0] == made[1]


@pytest.mark.usefixtures("only_ours")
@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed`")
@pytest.mark.parametrize("kind", ["shards in shards", "compressed shards", "index first"])
def test_shards_of_other_kinds(tmp_path: Path, kind: str) -> None:
    inner = [zarr.codecs.BytesCodec(), zarr.codecs.ZstdCodec()]
    codecs = {
        "shards in shards": [
            zarr.codecs.ShardingCodec(
                chunk_shape=(6, 4), codecs=[zarr.codecs.ShardingCodec(chunk_shape=(2, 2), codecs=inner)]
            )
        ],
        "compressed shards": [zarr.codecs.ShardingCodec(chunk_shape=(2, 2), codecs=inner), zarr.codecs.GzipCodec()],
        "index first": [zarr.codecs.ShardingCodec(chunk_shape=(2, 2), codecs=inner, index_location="start")],
    }[kind]
    options: Any = {"shape": SHAPE, "chunks": (12, 8), "dtype": "i4", "codecs": codecs, "zarr_format": 3}
    theirs = zarr.create(store=tmp_path / "theirs", **options)
    zarr.create(store=tmp_path / "ours", **options)
    mine = opened(tmp_path / "ours")
    for key, value in ((np.s_[3:20, 1:9], 5), (np.s_[...], values_of("i4")), (np.s_[7, 3:], 0)):
        theirs[key] = mine[key] = value
        for reader in (zarr.open_array(tmp_path / "ours"), opened(tmp_path / "theirs"), mine):
            assert np.array_equal(reader[...], theirs[...])
            assert np.array_equal(reader[2:21:5, 4:], theirs[2:21:5, 4:])


# ---- many at once, elsewhere


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("wrapped", [False, True])
def test_many_threads_and_tasks_at_once(tmp_path: Path, wrapped: bool) -> None:
    """More than there are threads on any side, so that a wait for a thread that waits would hang."""
    store: Any = zarr.storage.LocalStore(tmp_path)
    zarr.create_array(store, shape=(400, 10), chunks=(3, 10), dtype="i4")
    array = opened(zarr.storage.WrapperStore(store) if wrapped else store)
    rows = [(start, start + 4) for start in range(0, 400, 4)]  # chunks of three: neighbours share one
    with ThreadPoolExecutor(48) as pool:
        list(pool.map(lambda r: array.__setitem__(slice(*r), r[0]), rows if not wrapped else rows[:1]))
        if wrapped:
            array[...] = np.broadcast_to(np.repeat(np.arange(0, 400, 4), 4)[:, None], (400, 10))
        parts = list(pool.map(lambda r: array[slice(*r)], rows))
    assert all((part == start).all() for part, (start, _) in zip(parts, rows, strict=True))

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(array._async_array.getitem((slice(*r),)) for r in rows))

    for part, (start, _) in zip(asyncio.run(all_of_them()), rows, strict=True):
        assert (part == start).all()


@pytest.mark.usefixtures("only_ours")
def test_arrays_are_pickled_copied_and_compared(tmp_path: Path) -> None:
    zarr.create_array(tmp_path, shape=(8,), chunks=(4,), dtype="i4")[...] = np.arange(8)
    array = opened(tmp_path)
    assert array[2:5].tolist() == [2, 3, 4]
    with zarr.config.set(PATH):
        copies = [pickle.loads(pickle.dumps(array)), copy.deepcopy(array)]
    for other in (*copies, opened(tmp_path)):
        assert other._async_array.codec_pipeline == array._async_array.codec_pipeline
        assert other[2:5].tolist() == [2, 3, 4]


def test_a_forked_child_reads_and_writes(tmp_path: Path) -> None:
    program = f"""
import os, warnings, numpy as np, zarr
warnings.simplefilter("ignore")  # Python says that a process with threads forks
zarr.config.set({PATH!r})
import gpuzarr.zarr_pipeline
array = zarr.create_array({str(tmp_path / "x")!r}, shape=(64,), chunks=(2,), dtype="i4")
array[...] = np.arange(64)
child = os.fork()
if not child:
    ok = array[3:60].tolist() == list(range(3, 60))
    array[...] = 5
    os._exit(0 if ok and (array[...] == 5).all() else 3)
assert os.waitpid(child, 0)[1] == 0
assert (array[...] == 5).all()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


def test_zarr_python_finds_it_by_the_entry_point(tmp_path: Path) -> None:
    """With nothing imported, from the metadata of an installed package."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "site" / "gpuzarr_bridge-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gpuzarr-bridge\nVersion: 0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    program = f"""
import zarr
zarr.config.set({PATH!r})
array = zarr.create_array({{}}, shape=(4,), dtype="i4")
array[...] = 3
print(type(array._async_array.codec_pipeline).__module__)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(info.parent), str(ROOT)])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "gpuzarr.zarr_pipeline"


def test_what_other_writers_made_reads_as_they_meant(third_party_stores: Path) -> None:
    wrong, ours = [], 0
    for path, want in json.loads((third_party_stores / "expected.json").read_text()).items():
        if "oracle_rejects" in want:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = opened(third_party_stores / path, "r")
            values = array[...]
        ours += array._async_array.codec_pipeline._route() is not None
        values = np.asarray(values)
        got = values.astype(object) if values.dtype.kind == "T" else values
        if digest(got) != want["sha256"]:
            wrong.append(path)
    assert wrong == []
    assert ours >= 130


# ---- memory of a device


class DeviceMemory(NDBuffer):
    """zarr-python's arrays in the memory of the emulated device, as `zarr.core.buffer.gpu` has them in CuPy's."""

    @classmethod
    def create(cls, *, shape: Any, dtype: Any, order: Any = "C", fill_value: Any = None) -> DeviceMemory:
        array = get_device("emulated").empty(tuple(shape), np.dtype(dtype), order)
        if fill_value is not None:
            array[...] = fill_value
        return cls(array)

    @classmethod
    def from_numpy_array(cls, array_like: Any) -> DeviceMemory:
        return cls(get_device("emulated").xp.asarray(np.asarray(array_like)))

    def as_numpy_array(self) -> Any:
        return self._data.get()


ON_DEVICE = BufferPrototype(buffer=cpu.Buffer, nd_buffer=DeviceMemory)


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("store", ["local", "memory"])
@pytest.mark.parametrize("shards", [None, SHARDS])
@pytest.mark.parametrize("codec", ["default", "blosc", "transpose", "big endian"])
def test_device_memory_is_filled_and_written_from(tmp_path: Path, codec: str, shards: Any, store: str) -> None:
    place: Any = tmp_path if store == "local" else zarr.storage.MemoryStore()
    values = values_of("f4")
    create(place, (3, codec, "f4", shards))[...] = values
    array = opened(place)
    for key in (np.s_[...], np.s_[4:20, 3], np.s_[1::9, 2:17:4]):
        got = array.get_basic_selection(key, prototype=ON_DEVICE)
        assert type(got).__name__ == "EmulatedArray"
        assert np.array_equal(got.get(), values[key])
    lists = ([22, 0, 7], [1, 16, 5])
    assert np.array_equal(array.get_orthogonal_selection(lists, prototype=ON_DEVICE).get(), values[np.ix_(*lists)])
    there = get_device("emulated").xp.asarray(values[3:9] * 2)
    array.set_basic_selection(np.s_[5:11], there, prototype=ON_DEVICE)
    values[5:11] = values[3:9] * 2
    assert np.array_equal(zarr.open_array(place)[...], values)


@pytest.fixture
def gpu_enabled(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_cupy.FakeCupy]:
    """`zarr.config.enable_gpu()` with two GPUs of a CuPy that is none."""
    monkeypatch.setattr(devices, "_devices", {})
    fake = fake_cupy.install(monkeypatch, devices=2)
    told = property(lambda a: a._host.__array_interface__)
    monkeypatch.setattr(EmulatedArray, "__cuda_array_interface__", told, raising=False)
    monkeypatch.setattr(gpu, "cp", fake)
    with zarr.config.enable_gpu():
        yield fake


@pytest.mark.usefixtures("only_ours")
@pytest.mark.parametrize("shards", [None, SHARDS])
def test_after_enable_gpu_arrays_are_read_to_and_written_from_cupy(
    tmp_path: Path, gpu_enabled: fake_cupy.FakeCupy, shards: Any
) -> None:
    with zarr.config.set({"buffer": "zarr.buffer.cpu.Buffer", "ndbuffer": "zarr.buffer.cpu.NDBuffer"}):
        create(tmp_path, (3, "default", "f4", shards))[...] = values_of("f4")
    array, values = opened(tmp_path), values_of("f4")
    got = array[4:20, ::3]
    assert isinstance(got, EmulatedArray)
    assert gpu_enabled.number_of(got) == 0
    assert np.array_equal(got.get(), values[4:20, ::3])
    array[5:11] = gpu_enabled.asarray(values[3:9] * 2)
    values[5:11] = values[3:9] * 2
    with zarr.config.set({"buffer": "zarr.buffer.cpu.Buffer", "ndbuffer": "zarr.buffer.cpu.NDBuffer"}):
        assert np.array_equal(zarr.open_array(tmp_path)[...], values)
