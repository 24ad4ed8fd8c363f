"""The texts of `z.info` and `group.info`."""

from __future__ import annotations

from typing import Any

import pytest

from gpuzarr.info import ArrayInfo, GroupInfo, byte_text


def test_array_text() -> None:
    fields: dict[str, Any] = {
        "zarr_format": 3,
        "data_type": "Float64(endianness='little')",
        "fill_value": 0.0,
        "shape": (100,),
        "chunk_shape": (10,),
        "order": "C",
        "read_only": False,
        "store_type": "MemoryStore",
        "serializer": "BytesCodec(endian='little')",
        "compressors": ("ZstdCodec(level=0, checksum=False)",),
        "count_bytes": 2048,
    }
    static = """\
Type               : Array
Zarr format        : 3
Data type          : Float64(endianness='little')
Fill value         : 0.0
Shape              : (100,)
Chunk shape        : (10,)
Order              : C
Read-only          : False
Store type         : MemoryStore
Filters            : ()
Serializer         : BytesCodec(endian='little')
Compressors        : ('ZstdCodec(level=0, checksum=False)',)
No. bytes          : 2048 (2.0K)"""
    assert repr(ArrayInfo(**fields)) == str(ArrayInfo(**fields)) == static
    stored = ArrayInfo(**fields, count_bytes_stored=1000, count_chunks_initialized=4)
    assert repr(stored) == static + ("\nNo. bytes stored   : 1000\nStorage ratio      : 2.0\nChunks Initialized : 4")
    sharded = repr(ArrayInfo(**fields, shard_shape=(50,), count_bytes_stored=0, count_chunks_initialized=0))
    assert "Shape              : (100,)\nShard shape        : (50,)\nChunk shape        : (10,)\n" in sharded
    assert sharded.endswith("\nNo. bytes stored   : 0\nShards Initialized : 0")
    assert "Chunk shape        : <variable>\n" in repr(ArrayInfo(**{**fields, "chunk_shape": None}))
    no_fill = repr(ArrayInfo(**{**fields, "fill_value": None, "serializer": None}))
    assert "Fill value         : None\n" in no_fill
    assert "Serializer" not in no_fill


def test_group_text() -> None:
    group = GroupInfo(name="a/b", zarr_format=2, read_only=True, store_type="LocalStore")
    static = """\
Name        : a/b
Type        : Group
Zarr format : 2
Read-only   : True
Store type  : LocalStore"""
    assert repr(group) == static
    counted = GroupInfo(
        name="a/b",
        zarr_format=2,
        read_only=True,
        store_type="LocalStore",
        count_members=3,
        count_arrays=3,
        count_groups=0,
    )
    assert repr(counted) == static + "\nNo. members : 3\nNo. arrays  : 3\nNo. groups  : 0"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1024 (1.0K)"),
        (2**20 - 1, "1048575 (1024.0K)"),
        (2**20, "1048576 (1.0M)"),
        (3 * 2**29, "1610612736 (1.5G)"),
        (2**40, "1099511627776 (1.0T)"),
        (2**50, "1125899906842624 (1.0P)"),
        (2**60, "1152921504606846976 (1.0E)"),
        (2**80, "1208925819614629174706176 (1048576.0E)"),
    ],
)
def test_byte_text(size: int, text: str) -> None:
    assert byte_text(size) == text


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 3},
        {"zarr_format": 3, "shards": (6, 8), "fill_value": 7},
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 2, "filters": None, "compressors": None},
    ],
    ids=str,
)
def test_the_text_is_zarr_pythons(options: dict[str, Any]) -> None:
    zarr = pytest.importorskip("zarr")
    z = zarr.create_array({}, shape=(12, 8), chunks=(3, 4), dtype="int32", **options)
    z[:4] = 1
    fields = {
        "zarr_format": z.metadata.zarr_format,
        "data_type": z.metadata.dtype if options["zarr_format"] == 2 else z.metadata.data_type,
        "fill_value": z.fill_value,
        "shape": z.shape,
        "shard_shape": z.shards,
        "chunk_shape": z.chunks,
        "order": z.order,
        "read_only": z.read_only,
        "store_type": type(z.store).__name__,
        "filters": z.filters,
        "serializer": z.serializer,
        "compressors": z.compressors,
        "count_bytes": z.nbytes,
    }
    assert repr(ArrayInfo(**fields)) == repr(z.info)
    complete = ArrayInfo(**fields, count_bytes_stored=z.nbytes_stored(), count_chunks_initialized=z.nchunks_initialized)
    if options.get("shards"):
        theirs = repr(z.info_complete()).splitlines()
        assert repr(complete).splitlines()[:-1] == theirs[:-1]  # the last line counts shards or chunks, by version
        assert theirs[-1].startswith("Shards Initialized : ") or theirs[-1].startswith("Chunks Initialized : ")
    else:
        assert repr(complete) == repr(z.info_complete())


def test_the_group_text_is_zarr_pythons() -> None:
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group({})
    root.create_group("a").create_array("x", shape=(3,), dtype="i1")
    ours = GroupInfo(name=root.path, zarr_format=3, read_only=False, store_type=type(root.store).__name__)
    assert repr(ours) == repr(root.info)
    counted = GroupInfo(
        name="",
        zarr_format=3,
        read_only=False,
        store_type=type(root.store).__name__,
        count_members=2,
        count_arrays=1,
        count_groups=1,
    )
    assert repr(counted) == repr(root.info_complete())
