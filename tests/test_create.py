"""Creation arguments: what they mean, and what they refuse. The stored bytes are compared in test_api_parity.py."""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import pytest

from gpuzarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from gpuzarr.create import DEFAULT_FILL_VALUE, array_metadata, parse_shape, settings_of
from gpuzarr.errors import DataTypeValidationError, MetadataError, PickleCodecDisabledError, UnknownCodecError
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.layout import chunk_layout, shard_layout
from gpuzarr.metadata import ArrayMetadata
from gpuzarr.options import config


def made(**arguments: Any) -> ArrayMetadata:
    return array_metadata(**{"shape": (40, 60), "chunks": (10, 20), "dtype": "f4", **arguments})


def names(metadata: ArrayMetadata) -> list[str]:
    return [codec.name for codec in metadata.codecs]


def test_the_defaults() -> None:
    metadata = array_metadata(shape=3)
    assert metadata.dtype == np.float64
    assert names(metadata) == ["bytes", "zstd"]
    assert metadata.codecs[1].configuration == {"level": 0, "checksum": False}
    assert metadata.zarr_format == 3
    with config.set({"default_zarr_format": 2}):
        metadata = array_metadata(shape=3)
    assert metadata.compressor == {"id": "zstd", "level": 0}
    assert metadata.fill_value == 0


@pytest.mark.parametrize(
    ("codecs", "expected"),
    [
        ([BloscCodec()], ["bytes", "blosc"]),
        ([GzipCodec(level=9), Crc32cCodec()], ["bytes", "gzip", "crc32c"]),
        ([TransposeCodec(order=(1, 0))], ["transpose", "bytes"]),
        ([TransposeCodec(order=(1, 0)), ZstdCodec()], ["transpose", "bytes", "zstd"]),
        ([BytesCodec()], ["bytes"]),
        (BytesCodec(), ["bytes"]),
        ([], ["bytes"]),
        (["crc32c", {"name": "gzip", "configuration": {"level": 1}}], ["bytes", "crc32c", "gzip"]),
        ([numcodecs.Zlib(1)], ["bytes", "numcodecs.zlib"]),
    ],
)
def test_a_chain_gets_the_serializer_that_it_lacks(codecs: Any, expected: list[str]) -> None:
    assert names(made(codecs=codecs)) == expected


def test_a_serializer_for_strings() -> None:
    assert names(made(dtype=str, codecs=[ZstdCodec()])) == ["vlen-utf8", "zstd"]
    assert names(made(dtype=bytes)) == ["vlen-bytes", "zstd"]


def test_a_chain_in_shards() -> None:
    metadata = made(codecs=[BloscCodec()], shards=(20, 60))
    assert names(metadata) == ["sharding_indexed"]
    inner = metadata.codecs[0].configuration["codecs"]
    assert [codec["name"] for codec in inner] == ["bytes", "blosc"]
    assert inner[1]["configuration"]["typesize"] == 4
    assert (metadata.chunks, metadata.shards) == ((10, 20), (20, 60))


def test_blosc_takes_the_size_of_the_elements() -> None:
    for dtype, typesize, shuffle in (("f8", 8, "shuffle"), ("i1", 1, "bitshuffle"), ("S5", 5, "shuffle")):
        configuration = made(dtype=dtype, compressors=BloscCodec()).codecs[1].configuration
        assert (configuration["typesize"], configuration["shuffle"]) == (typesize, shuffle)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"codecs": [ZstdCodec()], "compressors": [ZstdCodec()]}, MetadataError, "whole chain"),
        ({"codecs": [ZstdCodec(), BytesCodec()]}, MetadataError, "codecs must be"),
        ({"codecs": [BytesCodec(), BytesCodec()]}, MetadataError, "codecs must be"),
        ({"codecs": [{"name": "nope"}]}, UnknownCodecError, "nope"),
        ({"compressors": [BytesCodec()]}, TypeError, "compressors must be"),
        ({"filters": ZstdCodec()}, TypeError, "filters must be"),
        ({"serializer": ZstdCodec()}, TypeError, "serializer must be"),
        ({"compressor": None, "compressors": None}, MetadataError, "not both"),
        ({"object_codec": numcodecs.JSON()}, MetadataError, "object_codec"),
        ({"dimension_separator": "/"}, MetadataError, "dimension_separator"),
        ({"dimension_names": ["x"]}, MetadataError, "dimension_names must be 2"),
        ({"dimension_names": ["x", 1]}, MetadataError, "dimension_names must be 2"),
        ({"chunk_key_encoding": "other"}, MetadataError, "chunk_key_encoding"),
        ({"chunk_key_encoding": ("default", "-")}, MetadataError, "separator"),
        ({"fill_value": "x"}, DataTypeValidationError, "fill value"),
        ({"attributes": {"a": {1}}}, TypeError, "JSON"),
        ({"zarr_format": 1}, MetadataError, "zarr_format"),
        ({"zarr_format": True}, MetadataError, "zarr_format"),
        ({"zarr_format": 2, "codecs": []}, MetadataError, "has no codecs"),
        ({"zarr_format": 2, "shards": (20, 20)}, MetadataError, "has no shards"),
        ({"zarr_format": 2, "serializer": BytesCodec()}, MetadataError, "has no serializer"),
        ({"zarr_format": 2, "order": "K"}, MetadataError, "order"),
        ({"zarr_format": 2, "chunks": [[10, 30], [60]]}, MetadataError, "rectilinear"),
        ({"zarr_format": 2, "chunk_key_encoding": "default"}, MetadataError, "Zarr format 2"),
        ({"zarr_format": 2, "compressors": [numcodecs.Zlib(), numcodecs.Zlib()]}, TypeError, "one compressor"),
        ({"zarr_format": 2, "compressors": {"id": "nope"}}, UnknownCodecError, "nope"),
        ({"zarr_format": 2, "compressors": {"id": "zlib", "nope": 1}}, MetadataError, "nope"),
        ({"zarr_format": 2, "compressors": 5}, TypeError, "not a codec"),
        ({"zarr_format": 2, "filters": [{"id": "pickle"}]}, PickleCodecDisabledError, "pickle"),
        ({"zarr_format": 2, "dtype": str, "filters": []}, MetadataError, "vlen-utf8"),
        ({"zarr_format": 2, "dtype": object}, DataTypeValidationError, "object"),
        ({"zarr_format": 2, "compressors": TransposeCodec(order=(1, 0))}, MetadataError, "transpose"),
    ],
)
def test_what_makes_no_array(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(**arguments)


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        (BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle"), {"id": "blosc", "cname": "lz4", "shuffle": 2}),
        (GzipCodec(level=2), {"id": "gzip", "level": 2}),
        (ZstdCodec(level=3), {"id": "zstd", "level": 3}),
        (numcodecs.LZ4(7), {"id": "lz4", "acceleration": 7}),
        ({"id": "bz2"}, {"id": "bz2", "level": 1}),
        ("zlib", {"id": "zlib", "level": 1}),
        (None, None),
        ((), None),
    ],
)
def test_compressors_of_format_2(codec: Any, expected: dict[str, Any] | None) -> None:
    compressor = made(zarr_format=2, compressor=codec).compressor
    assert compressor is None if expected is None else expected.items() <= (compressor or {}).items()


def test_objects_of_format_2() -> None:
    for more in ({"object_codec": numcodecs.JSON()}, {"filters": [numcodecs.JSON()]}):
        metadata = made(zarr_format=2, dtype=object, **more)
        assert metadata.dtype == object
        assert metadata.filters[0]["id"] == "json2"
    assert made(zarr_format=2, dtype=object, object_codec=numcodecs.VLenUTF8()).data_type == made(dtype=str).data_type
    assert made(zarr_format=2, dtype=bytes).filters == ({"id": "vlen-bytes"},)


def test_fill_values() -> None:
    assert made(fill_value=None).fill_value == 0
    assert made(zarr_format=2, fill_value=None).fill_value is None
    assert made(zarr_format=2).fill_value == 0
    assert np.isnat(made(dtype="M8[s]").fill_value)
    assert repr(DEFAULT_FILL_VALUE) == "the data type's default"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ("default", "/")),
        ("v2", ("v2", ".")),
        (("v2", "/"), ("v2", "/")),
        ({"name": "default", "separator": "."}, ("default", ".")),
        ({"name": "v2", "configuration": {"separator": "/"}}, ("v2", "/")),
    ],
)
def test_key_encodings(given: Any, expected: tuple[str, str]) -> None:
    encoding = made(chunk_key_encoding=given).key_encoding
    assert (encoding.name, encoding.separator) == expected
    assert made(chunk_key_encoding=encoding).key_encoding == encoding


@pytest.mark.parametrize(
    ("shape", "expected"), [(3, (3,)), (np.int8(3), (3,)), ([2, 3], (2, 3)), ((), ()), (np.array([2, 3]), (2, 3))]
)
def test_shapes(shape: Any, expected: tuple[int, ...]) -> None:
    found = parse_shape(shape)
    assert found == expected
    assert all(type(extent) is int for extent in found)


@pytest.mark.parametrize("shape", [1.5, "12", None, (1, 2.0), (1, None)])
def test_no_shapes(shape: Any) -> None:
    with pytest.raises(TypeError):
        parse_shape(shape)
    with pytest.raises(MetadataError, match="negative"):
        parse_shape((2, -1))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (7, (7, 7)),
        (-1, (40, 60)),
        (False, (40, 60)),
        ((5, -1), (5, 60)),
        (np.array([5, 6]), (5, 6)),
        ([[10, 30], 20], ((10, 30), 20)),
        ([[40], [60]], ((40,), (60,))),
        (None, (40, 60)),
        ("auto", (40, 60)),
    ],
)
def test_chunks(chunks: Any, expected: Any) -> None:
    assert chunk_layout(chunks, (40, 60), 4) == expected


@pytest.mark.parametrize(
    ("chunks", "error"),
    [
        (0, MetadataError),
        (-2, MetadataError),
        ((5,), MetadataError),
        (True, MetadataError),
        ("keep", MetadataError),
        ([[10, 20], 20], MetadataError),
        ([[], 20], MetadataError),
        ([[40, 0], 20], MetadataError),
        (2.5, TypeError),
        ((5, 2.5), TypeError),
        ([[20, 20.0], 20], TypeError),
        (np.True_, TypeError),
    ],
)
def test_no_chunks(chunks: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="chunks"):
        chunk_layout(chunks, (40, 60), 4)


def test_chunks_of_a_very_large_array() -> None:
    layout = chunk_layout("auto", (2**62, 3), 8)
    assert 0 < layout[0] * layout[1] * 8 <= 64 << 20  # type: ignore[operator]
    assert chunk_layout("auto", (0, 3), 8) == (1, 3)
    assert chunk_layout("auto", (5,), 0) == (5,)
    assert chunk_layout("auto", (2,), 1 << 30) == (1,)


def test_shards() -> None:
    assert shard_layout((20, -1), (40, 50), (10, 20), 4, None) == (20, 60)
    assert shard_layout("auto", (400, 50), (10, 20), 4, None) == (20, 20)
    assert shard_layout("auto", (400, 500), (10, 20), 4, 10_000) == (30, 60)
    assert shard_layout([[20, 20], 20], (40, 60), (10, 20), 4, None) == ((20, 20), 20)
    with pytest.raises(MetadataError, match="no multiple"):
        shard_layout((15, 20), (40, 60), (10, 20), 4, None)
    with pytest.raises(MetadataError, match="inner chunks are of one shape"):
        made(chunks=[[10, 30], 20], shards=(40, 60))


def test_rectilinear_chunks_can_be_switched_off() -> None:
    assert isinstance(made(chunks=[[10, 30], 20]).grid, RectilinearGrid)
    assert made(chunks=[[10, 30], 20]).grid.to_json()["configuration"]["chunk_shapes"] == [[10, 30], 20]
    with config.set({"array.rectilinear_chunks": False}), pytest.raises(MetadataError, match="switched off"):
        made(chunks=[[10, 30], 20])


LIKE: list[dict[str, Any]] = [
    {},
    {"shards": (20, 20)},
    {"shards": {"shape": (20, 20), "index_location": "start"}},
    {"shards": {"shape": (20, 20), "index_codecs": [BytesCodec()]}},
    {"chunks": [[10, 30], 20]},
    {"shards": [[20, 20], 20], "dtype": "u1"},
    {"codecs": [TransposeCodec(order=(1, 0)), BytesCodec(endian="big"), GzipCodec(level=1), Crc32cCodec()]},
    {"chunk_key_encoding": ("v2", "/"), "dimension_names": ("x", None), "attributes": {"a": [1]}, "fill_value": 5},
    {"dtype": str},
    {"zarr_format": 2, "order": "F", "filters": [numcodecs.Delta("<f4")], "compressor": numcodecs.Zlib(2)},
    {"zarr_format": 2, "dtype": ">i2", "fill_value": None, "dimension_separator": "/"},
    {"zarr_format": 2, "dtype": object, "object_codec": numcodecs.JSON()},
    {"zarr_format": 2, "dtype": str, "compressor": None},
]


@pytest.mark.parametrize("arguments", LIKE)
def test_settings_make_the_same_array(arguments: dict[str, Any]) -> None:
    metadata = made(**arguments)
    assert array_metadata(**settings_of(metadata, metadata.zarr_format)) == metadata


def test_settings_for_the_other_format() -> None:
    down = array_metadata(**settings_of(made(shards=(20, 20), fill_value=5, attributes={"a": 1}), 2))
    assert isinstance(down.grid, RegularGrid)
    assert (down.grid.chunks, down.fill_value, down.attributes) == ((10, 20), 5, {"a": 1})
    assert down.compressor == {"id": "zstd", "level": 0}
    up = array_metadata(**settings_of(made(zarr_format=2, dtype=">i2", order="F", fill_value=None), 3))
    assert names(up) == ["bytes", "zstd"]
    assert up.data_type.name == "int16"
    assert up.fill_value == 0
