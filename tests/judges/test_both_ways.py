"""zarr-python, zarrs and tensorstore read what we write, and we read what they write.

The metadata documents are ours in both directions, so that both sides work with the same array; what the others make
of their own settings is in `test_strategies.py` and in the third-party stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from tests.oracle import same

pytestmark = [pytest.mark.judge, pytest.mark.filterwarnings("ignore")]

SHAPE = (23, 17)
CHUNKS = (6, 5)
SHARDS = (12, 10)


class ZarrPython:
    """zarr-python with its own codecs."""

    modules = ("zarr",)

    @contextmanager
    def opened(self, place: Path, mode: str) -> Iterator[Any]:
        import zarr

        yield zarr.open_array(str(place), mode=mode)

    def read(self, place: Path) -> np.ndarray:
        with self.opened(place, "r") as array:
            return np.asarray(array[...])

    def write(self, place: Path, values: np.ndarray) -> None:
        with self.opened(place, "r+") as array:
            array[...] = values


class Zarrs(ZarrPython):
    """zarr-python's front with zarrs' codecs; strict, so that it fails where zarrs cannot do it."""

    modules = ("zarr", "zarrs")

    @contextmanager
    def opened(self, place: Path, mode: str) -> Iterator[Any]:
        import zarr
        import zarrs  # noqa: F401  registers its pipeline

        with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}):
            yield zarr.open_array(str(place), mode=mode)


class TensorStore:
    """tensorstore."""

    modules = ("tensorstore",)

    def _open(self, place: Path) -> Any:
        import tensorstore as ts

        driver = "zarr3" if (place / "zarr.json").exists() else "zarr"
        return ts.open({"driver": driver, "kvstore": {"driver": "file", "path": str(place)}}, open=True).result()

    def read(self, place: Path) -> np.ndarray:
        return np.asarray(self._open(place).read().result())

    def write(self, place: Path, values: np.ndarray) -> None:
        self._open(place)[...] = values


JUDGES = {"zarr-python": ZarrPython(), "zarrs": Zarrs(), "tensorstore": TensorStore()}
NUMBERS = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


def named(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration} if configuration else {"name": name}


def blosc(cname: str, shuffle: str, typesize: int) -> dict[str, Any]:
    return named("blosc", cname=cname, clevel=5, shuffle=shuffle, typesize=typesize, blocksize=0)


def after_bytes(name: str, typesize: int) -> list[dict[str, Any]]:
    if name.startswith("blosc"):
        _, cname, shuffle = name.split()
        return [blosc(cname, shuffle, typesize)]
    return {
        "none": [],
        "zstd": [named("zstd", level=3, checksum=False)],
        "gzip": [named("gzip", level=4)],
        "crc32c": [named("crc32c")],
        "zstd crc32c": [named("zstd", level=0, checksum=True), named("crc32c")],
    }[name]


CODECS = [
    "none",
    "zstd",
    "gzip",
    "crc32c",
    "zstd crc32c",
    "blosc lz4 shuffle",
    "blosc zstd bitshuffle",
    "blosc blosclz noshuffle",
]
LAYOUTS = ["plain", "big endian", "transposed", "sharded", "sharded, index at start", "sharded transposed"]


def chain(layout: str, codecs: str, dtype: np.dtype) -> list[dict[str, Any]]:
    endian = "big" if layout == "big endian" else "little"
    inner = [
        named("bytes", endian=endian) if dtype.itemsize > 1 else named("bytes"),
        *after_bytes(codecs, dtype.itemsize),
    ]
    if "transposed" in layout:
        inner = [named("transpose", order=[1, 0]), *inner]
    if not layout.startswith("sharded"):
        return inner
    return [
        named(
            "sharding_indexed",
            chunk_shape=list(CHUNKS),
            codecs=inner,
            index_codecs=[named("bytes", endian="little"), named("crc32c")],
            index_location="start" if "start" in layout else "end",
        )
    ]


def values_for(dtype: np.dtype) -> np.ndarray:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 100, SHAPE).astype(dtype)
    values[:6, :5] = 0  # a chunk of nothing
    values[12:, 10:] = 0  # a shard of nothing
    if dtype.kind in "fc":
        values[7, 7] = np.nan
        values[8, 8] = -0.0
    return values


def in_the_store(place: Path, array: dict[str, Any], values: np.ndarray, judge: Any) -> None:
    ours, theirs = place / "ours", place / "theirs"
    z = gpuzarr.create_array(ours, **array)
    z[...] = values
    assert same(judge.read(ours).astype(values.dtype), values)

    gpuzarr.create_array(theirs, **array)
    judge.write(theirs, values)
    assert same(gpuzarr.open_array(theirs, mode="r")[...], values)

    # Both in turn, over parts of what the other wrote.
    changed = values.copy()
    changed[3:14, 4:12] = values[2:13, 3:11]
    z[3:14, 4:12] = values[2:13, 3:11]
    assert same(judge.read(ours).astype(values.dtype), changed)


def judge_named(name: str) -> Any:
    judge = JUDGES[name]
    for module in judge.modules:
        pytest.importorskip(module)
    return judge


def refused_by(judge: str, settings: str, dtype: np.dtype) -> str | None:
    """Why a judge cannot sit here. It is asked all the same, so that this says so when it can."""
    if judge == "zarrs" and settings == "F order":
        return "zarrs' pipeline has no F order"
    if judge == "zarrs" and dtype.byteorder == ">":
        return "zarrs' pipeline has no big-endian arrays of format 2"
    if judge == "zarrs" and settings == "big endian" and dtype.kind == "c":
        return "zarrs swaps the halves of big-endian complex numbers; zarr-python and tensorstore side with us"
    return None


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_codecs(tmp_path: Path, judge: str, codecs: str, layout: str) -> None:
    dtype = np.dtype("i4")
    chunks = SHARDS if layout.startswith("sharded") else CHUNKS
    array = {"shape": SHAPE, "chunks": chunks, "dtype": dtype, "codecs": chain(layout, codecs, dtype)}
    in_the_store(tmp_path, array, values_for(dtype), judge_named(judge))


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("layout", ["big endian", "sharded"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_data_types(request: pytest.FixtureRequest, tmp_path: Path, judge: str, layout: str, dtype: Any) -> None:
    dtype = np.dtype(dtype)
    if reason := refused_by(judge, layout, dtype):
        request.applymarker(pytest.mark.xfail(reason=reason))
    chunks = SHARDS if layout == "sharded" else CHUNKS
    array = {"shape": SHAPE, "chunks": chunks, "dtype": dtype, "codecs": chain(layout, "zstd", dtype)}
    in_the_store(tmp_path, array, values_for(dtype), judge_named(judge))


V2 = {
    "none": {"compressors": None},
    "zstd": {"compressors": {"id": "zstd", "level": 2}},
    "gzip": {"compressors": {"id": "gzip", "level": 2}},
    "zlib": {"compressors": {"id": "zlib", "level": 2}},
    "bz2": {"compressors": {"id": "bz2", "level": 2}},
    "blosc": {"compressors": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}},
    "blosc bitshuffle": {"compressors": {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0}},
    "F order": {"order": "F"},
    "slashes": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "fill": {"fill_value": 7},
}


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("dtype", ["<i4", ">f8"])
@pytest.mark.parametrize("settings", V2)
def test_format_2(request: pytest.FixtureRequest, tmp_path: Path, judge: str, dtype: Any, settings: str) -> None:
    dtype = np.dtype(dtype)
    if reason := refused_by(judge, settings, dtype):
        request.applymarker(pytest.mark.xfail(reason=reason))
    array = {"shape": SHAPE, "chunks": CHUNKS, "dtype": dtype, "zarr_format": 2, **V2[settings]}
    in_the_store(tmp_path, array, values_for(dtype), judge_named(judge))


OTHER_TYPES: list[Any] = ["S4", "U3", "M8[ns]", "m8[10s]", str, [("a", "<i2"), ("b", "<f8"), ("c", "S2")]]


@pytest.mark.parametrize("dtype", OTHER_TYPES, ids=str)
@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, SHARDS)])
def test_data_types_that_only_zarr_python_has(tmp_path: Path, dtype: Any, zarr_format: int, shards: Any) -> None:
    if isinstance(dtype, list) and zarr_format == 3:
        pytest.importorskip("zarr", minversion="3.4")  # the first with data type "struct"
    numbers = np.random.default_rng(6).integers(0, 4, SHAPE)
    words = np.array(["", "a", "bc", "def"], object)[numbers]
    if dtype is str:
        values = words.astype(np.dtypes.StringDType())
    elif isinstance(dtype, list):
        values = np.zeros(SHAPE, dtype)
        values["a"], values["b"], values["c"] = numbers, numbers / 2, words
    else:
        values = (words if dtype[0] in "SU" else numbers).astype(dtype)
    array = {"shape": SHAPE, "chunks": CHUNKS, "shards": shards, "dtype": dtype, "zarr_format": zarr_format}
    in_the_store(tmp_path, array, values, judge_named("zarr-python"))
