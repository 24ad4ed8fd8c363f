"""Every stored byte equals zarr-python's: chunks, shards and metadata documents, for the same calls.

zarr-python changed its documents until 3.4 (what it writes for a default, which keys it leaves out), so documents are
compared with 3.4 and later; chunks with every version.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numcodecs
import numpy as np
import pytest

import gpuzarr

zarr = pytest.importorskip("zarr")

pytestmark = [pytest.mark.judge, pytest.mark.filterwarnings("ignore")]  # zarr-python warns of what has no specification

DOCUMENTS_SETTLED = tuple(map(int, zarr.__version__.split(".")[:2])) >= (3, 4)


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """zarr-python's gzip streams carry the time of day; ours carry 0, as the format allows."""
    monkeypatch.setattr(time, "time", lambda: 0.0)


Library = Any  # zarr or gpuzarr: same names
Arguments = Callable[[Library], dict[str, Any]]


def data_of(dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth values with a region of the fill value."""
    numbers = np.cumsum(np.arange(np.prod(shape, dtype=int)) % 7).reshape(shape) % 120
    if shape:
        numbers[: shape[0] // 3] = 0
    if dtype is str:
        return np.array(["", "a", "bé", "ccc"], object)[numbers % 4].astype(np.dtypes.StringDType())
    dtype = np.dtype(dtype)
    if dtype.names:
        out = np.zeros(shape, dtype)
        for name in dtype.names:
            out[name] = data_of(dtype[name], shape)
        return out
    if dtype.kind in "SU":
        return np.array(["", "a", "bb", "ccc"])[numbers % 4].astype(dtype)
    return numbers.astype(dtype)


def stored(library: Library, arguments: dict[str, Any], work: Callable[[Any], None]) -> dict[str, bytes]:
    """All objects of an array after the work."""
    objects: dict[str, Any] = {}
    store = library.storage.MemoryStore(objects)
    work(library.create_array(store, **arguments))
    return {
        k: v if isinstance(v, bytes) else bytes(v.to_bytes() if hasattr(v, "to_bytes") else v)
        for k, v in objects.items()
    }


def compare(arguments: Arguments, work: Callable[[Any], None]) -> dict[str, bytes]:
    ours = stored(gpuzarr, arguments(gpuzarr), work)
    theirs = stored(zarr, arguments(zarr), work)
    assert sorted(ours) == sorted(theirs)
    for key, value in theirs.items():
        if key.rpartition("/")[2] not in ("zarr.json", ".zarray", ".zattrs"):
            assert ours[key] == value, key
        elif DOCUMENTS_SETTLED:
            assert ours[key].decode() == value.decode()
    return ours


def whole(values: np.ndarray) -> Callable[[Any], None]:
    return lambda array: array.__setitem__(..., values)


SHAPE = (37, 20)
RECORD = [("a", "<i2"), ("b", "<f8")]
DTYPES: list[Any] = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", ">i4", ">f8", "S3", "U2", "M8[ns]", "m8[s]"]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", [*DTYPES, str, RECORD], ids=str)
@pytest.mark.parametrize("chunks", ["auto", (10, 7)], ids=str)
def test_default_codecs(zarr_format: int, dtype: Any, chunks: Any) -> None:
    found = compare(
        lambda _: {"shape": SHAPE, "dtype": dtype, "chunks": chunks, "zarr_format": zarr_format},
        whole(data_of(dtype, SHAPE)),
    )
    assert len(found) > 1


@pytest.mark.parametrize("dtype", ["u1", "f4", ">i2", str, "M8[D]"], ids=str)
@pytest.mark.parametrize("shards", [(20, 14), (10, 21), (40, 28)], ids=str)
def test_shards(dtype: Any, shards: Any) -> None:
    compare(
        lambda _: {"shape": SHAPE, "dtype": dtype, "chunks": (10, 7), "shards": shards}, whole(data_of(dtype, SHAPE))
    )


V3_COMPRESSORS: dict[str, Arguments] = {
    "none": lambda _: {"compressors": None},
    "zstd": lambda z: {"compressors": z.codecs.ZstdCodec(level=3)},
    "zstd with checksum": lambda z: {"compressors": z.codecs.ZstdCodec(level=-2, checksum=True)},
    "gzip": lambda z: {"compressors": z.codecs.GzipCodec(level=5)},
    "blosc by default": lambda z: {"compressors": z.codecs.BloscCodec()},
    **{
        f"blosc {cname} {shuffle}": lambda z, cname=cname, shuffle=shuffle: {
            "compressors": z.codecs.BloscCodec(cname=cname, clevel=4, shuffle=shuffle)
        }
        for cname in ("lz4", "lz4hc", "blosclz", "zstd", "zlib")
        for shuffle in ("noshuffle", "shuffle", "bitshuffle")
    },
    "two": lambda z: {"compressors": (z.codecs.ZstdCodec(), z.codecs.Crc32cCodec())},
    "big endian": lambda z: {"serializer": z.codecs.BytesCodec(endian="big")},
    "transposed": lambda z: {"filters": z.codecs.TransposeCodec(order=(1, 0))},
}


@pytest.mark.parametrize("dtype", ["f4", "u1", "i8"])
@pytest.mark.parametrize("shards", [None, (20, 14)], ids=str)
@pytest.mark.parametrize("codecs", V3_COMPRESSORS)
def test_codecs_of_format_3(dtype: str, shards: Any, codecs: str) -> None:
    more = V3_COMPRESSORS[codecs]
    compare(
        lambda z: {"shape": SHAPE, "dtype": dtype, "chunks": (10, 7), "shards": shards, **more(z)},
        whole(data_of(dtype, SHAPE)),
    )


V2_CODECS: dict[str, dict[str, Any]] = {
    "none": {"compressors": None},
    "zlib": {"compressors": numcodecs.Zlib(level=4)},
    "gzip": {"compressors": numcodecs.GZip(level=2)},
    "bz2": {"compressors": numcodecs.BZ2(level=3)},
    "lzma": {"compressors": numcodecs.LZMA(preset=1)},
    "lz4": {"compressors": numcodecs.LZ4(acceleration=2)},
    "zstd": {"compressors": numcodecs.Zstd(level=7)},
    "blosc": {"compressors": numcodecs.Blosc()},
    "blosc zstd bitshuffle": {"compressors": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE)},
    "blosc autoshuffle": {"compressors": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.AUTOSHUFFLE)},
    "delta": {"filters": [numcodecs.Delta(dtype="<f4")]},
    "fixedscaleoffset": {"filters": [numcodecs.FixedScaleOffset(offset=1, scale=2, dtype="<f4", astype="<i2")]},
    "quantize": {"filters": [numcodecs.Quantize(digits=2, dtype="<f4")]},
    "shuffle": {"filters": [numcodecs.Shuffle(elementsize=4)]},
    "astype": {"filters": [numcodecs.AsType(encode_dtype="<f8", decode_dtype="<f4")]},
    "crc32": {"filters": [numcodecs.CRC32()], "compressors": None},
    "F order": {"order": "F"},
    "slashes": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
}


@pytest.mark.parametrize("codecs", V2_CODECS)
def test_codecs_of_format_2(codecs: str) -> None:
    more = V2_CODECS[codecs]
    compare(
        lambda _: {"shape": SHAPE, "dtype": "<f4", "chunks": (10, 7), "zarr_format": 2, **more},
        whole(data_of("<f4", SHAPE)),
    )


OTHERWISE: dict[str, Arguments] = {
    "fill value": lambda _: {"fill_value": 3, "chunks": (10, 7)},
    "empty chunks": lambda _: {"chunks": (10, 7), "config": {"write_empty_chunks": True}},
    "empty chunks of shards": lambda _: {
        "chunks": (10, 7),
        "shards": (20, 14),
        "config": {"write_empty_chunks": True},
    },
    "names": lambda _: {"dimension_names": ["y", None], "attributes": {"é": [1, None, {"a": 1.5}]}},
    "v2 keys": lambda _: {"chunk_key_encoding": {"name": "v2", "separator": "."}, "chunks": (10, 7)},
    "index at start": lambda z: {
        "chunks": (10, 7),
        "shards": {"shape": (20, 14), "index_location": "start"},
    },
    "nested shards": lambda z: {
        "chunks": (20, 14),
        "serializer": z.codecs.ShardingCodec(
            chunk_shape=(10, 14),
            codecs=[z.codecs.ShardingCodec(chunk_shape=(5, 7), codecs=[z.codecs.BytesCodec(), z.codecs.ZstdCodec()])],
        ),
        "compressors": None,
    },
    "a codec around shards": lambda z: {
        "chunks": (20, 14),
        "serializer": z.codecs.ShardingCodec(chunk_shape=(10, 7), codecs=[z.codecs.BytesCodec()]),
        "compressors": z.codecs.GzipCodec(level=1),
    },
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_other_settings(name: str) -> None:
    more = OTHERWISE[name]
    compare(lambda z: {"shape": SHAPE, "dtype": "i4", **more(z)}, whole(data_of("i4", SHAPE)))


@pytest.mark.parametrize("shape", [(), (0,), (5, 0), (1,), (3, 2, 4, 2)], ids=str)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_shapes(shape: tuple[int, ...], zarr_format: int) -> None:
    compare(lambda _: {"shape": shape, "dtype": "i4", "zarr_format": zarr_format}, whole(data_of("i4", shape) + 1))


def in_parts(array: Any) -> None:
    """Writes that cover chunks partly, some to the fill value."""
    array[3:25, 2:9] = 5
    array[10:20, 0:7] = 0
    array[::6, ::5] = np.arange(28).reshape(7, 4)
    array[12:18] = 9
    array[20:, 14:] = 0


@pytest.mark.parametrize("dtype", ["i4", "f8"])
@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (20, 14)), (3, (40, 21))])
def test_writes_in_parts(dtype: str, shards: Any, zarr_format: int) -> None:
    compare(
        lambda _: {"shape": SHAPE, "dtype": dtype, "chunks": (10, 7), "shards": shards, "zarr_format": zarr_format},
        in_parts,
    )


def grown(array: Any) -> None:
    array[...] = 1
    array.append(np.full((9, 20), 2, "i4"))
    array.resize((46, 33))
    array[-1] = 3


@pytest.mark.parametrize("shards", [None, (20, 14)], ids=str)
def test_appending_and_growing(shards: Any) -> None:
    compare(lambda _: {"shape": SHAPE, "dtype": "i4", "chunks": (10, 7), "shards": shards}, grown)
