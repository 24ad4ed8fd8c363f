"""The front door: modes, what differs from zarr-python on purpose, saving and copying. Parity: test_api_parity.py."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

import gpuzarr as zarr
from gpuzarr import codecs
from gpuzarr.attributes import Attributes
from gpuzarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from gpuzarr.errors import (
    ArrayNotFoundError,
    ContainsArrayError,
    ContainsGroupError,
    ContainsNodeError,
    GroupNotFoundError,
    MetadataError,
    NodeNotFoundError,
    NodeTypeValidationError,
    ReadOnlyError,
)
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.regions import regions
from gpuzarr.storage import CountingStore, LocalStore, MemoryStore, StorePath, ZipStore

DATA = np.arange(63, dtype="f4").reshape(7, 9)


def objects(store: Any) -> dict[str, bytes]:
    return {key: bytes(store.get(key)) for key in store.list()}


def filled(store: Any, **more: Any) -> zarr.Array:
    array = zarr.create_array(store, **{"shape": (7, 9), "chunks": (3, 4), "dtype": "f4", **more})
    array[:] = DATA
    return array


# ---- modes


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_opening_arrays(zarr_format: int) -> None:
    store = MemoryStore()
    filled(store, zarr_format=zarr_format)
    for mode in ("r", "r+", "a", None):
        array = zarr.open_array(store, mode=mode)
        np.testing.assert_array_equal(array[:], DATA)
        assert array.read_only == (mode == "r")
        assert isinstance(zarr.open(store, mode=mode), zarr.Array)
    with pytest.raises(ReadOnlyError):
        zarr.open_array(store, mode="r")[0] = 1
    with pytest.raises(ContainsArrayError):
        zarr.open_array(store, mode="w-", shape=(1,))
    with pytest.raises(ContainsArrayError):
        zarr.open_group(store)
    assert zarr.open_array(store, mode="a", shape=(1,)).shape == (7, 9)
    assert zarr.open_array(store, mode="w", shape=(1,)).shape == (1,)


def test_opening_groups() -> None:
    store = MemoryStore()
    with pytest.raises(GroupNotFoundError):
        zarr.open_group(store, mode="r+")
    group = zarr.open_group(store, attributes={"a": 1})
    for mode in ("r", "r+", "a"):
        assert zarr.open_group(store, mode=mode, attributes={"b": 1}).attrs.asdict() == {"a": 1}
        assert isinstance(zarr.open(store, mode=mode), zarr.Group)
    with pytest.raises(NodeTypeValidationError):
        zarr.open_array(store)
    with pytest.raises(ContainsGroupError):
        zarr.open_group(store, mode="w-")
    with pytest.raises(TypeError, match="config"):
        zarr.open(store, config={"order": "F"})
    group.create_group("below")
    assert len(zarr.group(store)) == 1
    assert len(zarr.group(store, overwrite=True)) == 0
    assert zarr.open_group(store, mode="w", zarr_format=2).metadata.zarr_format == 2
    assert set(objects(store)) == {".zgroup", ".zattrs"}


def test_nothing_is_there() -> None:
    for mode in ("r", "r+"):
        with pytest.raises(NodeNotFoundError, match="the store is empty"):
            zarr.open({}, mode=mode)
    for mode in ("r", "r+", None, "a"):
        with pytest.raises(ArrayNotFoundError, match="the store is empty"):
            zarr.open_array({}, mode=mode)
    with pytest.raises(TypeError, match="shape"):
        zarr.open_array({}, mode="w")
    with pytest.raises(TypeError, match="chunks"):
        zarr.open({}, chunks=(3,))
    assert isinstance(zarr.open({}), zarr.Group)
    assert zarr.open({}, mode="w-", shape=(3,)).shape == (3,)
    assert isinstance(zarr.open({}, mode="w"), zarr.Group)


def test_mode_w_minus_refuses_any_data(tmp_path: Path) -> None:
    (tmp_path / "stray").write_bytes(b"x")
    for call in (zarr.open_array, zarr.open, zarr.open_group, zarr.zeros):
        arguments = {} if call is zarr.open_group else {"shape": (1,)}
        with pytest.raises(FileExistsError, match="there is data"):
            call(store=tmp_path, mode="w-", **arguments)
    with pytest.raises(FileExistsError, match="there is data"):
        zarr.save_array(tmp_path, DATA, mode="w-")
    assert [path.name for path in tmp_path.iterdir()] == ["stray"]


def test_the_former_name_of_the_format() -> None:
    assert zarr.open_group({}, zarr_version=2).metadata.zarr_format == 2
    assert zarr.zeros((3,), zarr_version=2).metadata.zarr_format == 2
    with pytest.raises(MetadataError, match="zarr_version"):
        zarr.open({}, zarr_version=2, zarr_format=3)
    with pytest.raises(MetadataError, match="zarr_format"):
        zarr.open({}, zarr_format=4)


def test_one_request_opens_an_array_of_format_3() -> None:
    store = CountingStore(MemoryStore())
    filled(store, name="a")
    for call in (zarr.open, zarr.open_array):
        store.reset()
        call(store, path="a", mode="r+")
        assert store.counts == {"get": 1}


def test_places(tmp_path: Path) -> None:
    filled(tmp_path / "x.zarr", name="/a//b/")
    assert (tmp_path / "x.zarr" / "a" / "b" / "zarr.json").is_file()
    for store, path in (
        (tmp_path / "x.zarr", "a/b"),
        (str(tmp_path / "x.zarr"), "/a/b/"),
        (tmp_path / "x.zarr" / "a", "b"),
        (StorePath(LocalStore(tmp_path / "x.zarr"), "a"), "b"),
        (f"file://{tmp_path}/x.zarr/a/b", None),
    ):
        np.testing.assert_array_equal(zarr.open_array(store, path=path)[:], DATA)
    with pytest.raises(ValueError, match="dots"):
        zarr.open_array(tmp_path, path="../x.zarr/a/b")
    with pytest.raises(TypeError, match="store"):
        zarr.open(5)


# ---- creating


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "wrong",
    [
        {"chunks": (1, 2, 3)},
        {"dtype": "nope"},
        {"attributes": {"a": object()}},
        {"fill_value": "x"},
        {"compressors": [{"name": "nope", "configuration": {}}]},
        {"filters": [{"name": "transpose", "configuration": {"order": [0, 1, 2]}}]},
        {"name": "zarr.json"},
        {"data": np.array([object()])},
        {"device": "nope"},
    ],
)
def test_a_failed_overwrite_deletes_nothing(zarr_format: int, wrong: dict[str, Any]) -> None:
    store = MemoryStore()
    filled(store, zarr_format=zarr_format)
    before = objects(store)
    arguments = {} if "data" in wrong else {"shape": (4,), "dtype": "i4"}
    with pytest.raises((ValueError, TypeError)):
        zarr.create_array(store, **{**arguments, "overwrite": True, "zarr_format": zarr_format, **wrong})
    if "data" not in wrong and "name" not in wrong:
        given = {k: v for k, v in wrong.items() if k not in ("compressors", "filters")} or {"chunks": "x"}
        with pytest.raises((ValueError, TypeError)):
            zarr.open_array(store, mode="w", **{"shape": (4,), "zarr_format": zarr_format, **given})
    assert objects(store) == before


def test_a_failed_overwrite_keeps_a_zip_file(tmp_path: Path) -> None:
    zarr.save(tmp_path / "a.zip", DATA)
    for mode, wrong in (("w", {"chunks": (1, 2, 3)}), ("w-", {})):
        with pytest.raises(ValueError, match=r"chunks|in the way"):
            zarr.open_array(tmp_path / "a.zip", mode=mode, shape=(4,), **wrong)
    np.testing.assert_array_equal(zarr.load(tmp_path / "a.zip"), DATA)
    with zarr.open_array(tmp_path / "a.zip", mode="w", shape=(4,), fill_value=1) as array:
        array[:2] = 5
    assert zarr.load(tmp_path / "a.zip").tolist() == [5, 5, 1, 1]


def test_a_read_only_store_is_not_replaced() -> None:
    store = MemoryStore()
    filled(store)
    for mode in ("w", "w-"):
        with pytest.raises((ReadOnlyError, ContainsArrayError)):
            zarr.open_array(store.with_read_only(True), mode=mode, shape=(4,))
    np.testing.assert_array_equal(zarr.open(store.with_read_only(True))[:], DATA)


def test_spellings_of_codecs() -> None:
    arrays = [
        zarr.create_array({}, shape=(9,), dtype="f8", codecs=[BloscCodec(cname="lz4")]),
        zarr.create({"shape": (9,)}["shape"], dtype="f8", codecs=["bytes", BloscCodec(cname="lz4")][1:]),
        zarr.create_array({}, shape=(9,), dtype="f8", compressors=BloscCodec(cname="lz4")),
        zarr.create_array({}, shape=(9,), dtype="f8", compressor=BloscCodec(cname="lz4")),
        zarr.zeros((9,), compressor=BloscCodec(cname="lz4")),
    ]
    assert len({json.dumps(array.metadata.to_dict()) for array in arrays}) == 1
    assert zarr.zeros((9,), zarr_format=2, compressor=None).metadata.compressor is None
    assert zarr.zeros((9,), compressor=None).compressors == ()


def test_names_of_codec_arguments() -> None:
    made = [
        codecs.BloscCodec(cname=codecs.BloscCname.lz4, shuffle=codecs.BloscShuffle.bitshuffle),
        codecs.BytesCodec(endian=codecs.Endian.big),
        codecs.ShardingCodec(chunk_shape=(2,), index_location=codecs.ShardingCodecIndexLocation.start),
    ]
    plain = [
        BloscCodec(cname="lz4", shuffle="bitshuffle"),
        codecs.BytesCodec(endian="big"),
        codecs.ShardingCodec(chunk_shape=(2,), index_location="start"),
    ]
    assert made == plain
    assert [json.dumps(codec.to_dict()) for codec in made] == [json.dumps(codec.to_dict()) for codec in plain]
    assert codecs.BloscShuffle.from_int(2) == "bitshuffle"
    with pytest.raises(ValueError, match="3"):
        codecs.BloscShuffle.from_int(3)
    array = zarr.create_array({}, shape=(9,), dtype="i4", filters=codecs.Delta(dtype="i4"), compressors=codecs.Zlib())
    array[:] = np.arange(9)
    assert array[:].tolist() == list(range(9))


def test_old_spellings() -> None:
    array = zarr.create(
        (4, 4),
        chunks=(2, 2),
        dtype="i4",
        compressor=numcodecs.Zlib(1),
        filters=[numcodecs.Delta("<i4")],
        order="F",
        fill_value=1,
        dimension_separator="/",
        zarr_format=2,
        write_empty_chunks=True,
        cache_metadata=True,
        cache_attrs=True,
        read_only=True,
    )
    assert array.read_only
    assert array.metadata.order == "F"
    assert array.metadata.key_encoding.separator == "/"
    assert array.config.write_empty_chunks
    assert zarr.create((4,), chunk_shape=(2,), path="a/b").chunks == (2,)
    assert zarr.create((4,), data=np.arange(4))[:].tolist() == [0, 1, 2, 3]
    assert zarr.create((2, 2), order="F").order == "F"
    with pytest.raises(MetadataError, match="chunk_shape"):
        zarr.create((4,), chunk_shape=(2,), chunks=(2,))
    objects_of_2 = zarr.empty((2,), dtype=object, object_codec=numcodecs.JSON(), zarr_format=2)
    objects_of_2[:] = [{"a": 1}, [2]]
    assert list(objects_of_2[:]) == [{"a": 1}, [2]]


def test_chunks_in_another_store() -> None:
    store, chunk_store = MemoryStore(), MemoryStore()
    array = zarr.zeros((4,), chunks=(2,), store=store, chunk_store=chunk_store)
    array[:] = 1
    assert set(objects(store)) == {"zarr.json"}
    assert set(objects(chunk_store)) == {"c/0", "c/1"}
    assert (zarr.open_array(store, chunk_store=chunk_store)[:] == 1).all()
    zarr.zeros((4,), chunks=(2,), store=store, chunk_store=chunk_store, overwrite=True)
    assert objects(chunk_store) == {}


def test_arrays_from_anything() -> None:
    source = filled({}, attributes={"a": 1}, fill_value=2, compressors=GzipCodec(level=1), dimension_names=("y", "x"))
    array = zarr.array(source)
    np.testing.assert_array_equal(array[:], DATA)
    assert array.metadata == source.metadata
    array = zarr.array(source, chunks=(4, 4), compressor=None, zarr_format=2, dtype="f8")
    np.testing.assert_array_equal(array[:], DATA)
    assert (array.chunks, array.dtype, array.metadata.compressor) == ((4, 4), np.float64, None)
    assert zarr.array(source, codecs=[ZstdCodec(level=3)]).compressors == (ZstdCodec(level=3),)
    assert zarr.array([1, 2, 3]).dtype == np.int64
    assert zarr.array(5)[()] == 5
    assert zarr.array(np.float32(2))[...] == 2
    assert zarr.array(["a", "bcd"])[:].tolist() == ["a", "bcd"]
    np.testing.assert_array_equal(zarr.array(DATA, chunks="auto")[:], DATA)

    class Other:
        """An array of another library, which counts what is read of it at once."""

        shape, dtype, chunks, largest = (1000, 30), np.dtype("f8"), (100, 30), 0

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray[Any, Any]:
            part = np.broadcast_to(np.arange(1000.0)[:, None], self.shape)[key]
            self.largest = max(self.largest, part.nbytes)
            return part

    other = Other()
    array = zarr.array(other)
    assert array.chunks == (100, 30)
    assert (array[:] == np.arange(1000)[:, None]).all()
    assert other.largest == 1000 * 30 * 8


def test_a_copy_of_one_object() -> None:
    value = np.empty((), object)
    value[()] = [1, 2]
    listed = zarr.empty((), dtype=object, object_codec=numcodecs.JSON(), zarr_format=2)
    listed[...] = value
    assert listed[...] == [1, 2]
    for copied in (zarr.from_array({}, data=listed), zarr.array(listed, store={})):
        assert copied[...] == [1, 2]
    target: dict[str, bytes] = {}
    zarr.convert(listed.store, target, zarr_format=2, verify=True)
    assert zarr.open_array(target)[...] == [1, 2]


def test_pieces_of_a_copy_are_whole_chunks() -> None:
    grids = [
        RegularGrid((10, 20, 7), (3, 4, 7)),
        RectilinearGrid((10, 20), (((4, 2), (2, 1)), 7)),
        RegularGrid((5,), (9,)),
    ]
    for grid in grids:
        for nbytes in (1, 100, 1000, 10**6):
            seen = np.zeros(grid.shape, int)
            for region in regions(grid, 4, nbytes):
                seen[region] += 1
                edges = [
                    {grid.axis(i).bounds(k)[0] for k in range(grid.counts[i])} | {grid.shape[i]}
                    for i in range(grid.ndim)
                ]
                assert all(part.start in edge and part.stop in edge for part, edge in zip(region, edges, strict=True))
                whole = np.prod(grid.largest_chunk) * 4
                assert seen[region].size * 4 <= max(nbytes, whole)
            assert (seen == 1).all()
    assert len(list(regions(RegularGrid((1000, 1000), (10, 10)), 8, 10**9))) == 1


@pytest.mark.parametrize("shards", [None, (6, 8)])
def test_copies_keep_all(shards: Any) -> None:
    source = filled({}, attributes={"a": [1]}, fill_value=2, shards=shards, dimension_names=("y", None))
    array = zarr.from_array({}, data=source)
    assert array.metadata == source.metadata
    np.testing.assert_array_equal(array[:], DATA)
    array.attrs["a"] = 5
    assert source.attrs["a"] == [1]
    other = zarr.from_array({}, data=source, chunks=(2, 2), shards=None, attributes={}, compressors=None, fill_value=0)
    assert (other.chunks, other.shards, dict(other.attrs), other.compressors, other.fill_value) == (
        (2, 2),
        None,
        {},
        (),
        0,
    )
    down = zarr.from_array({}, data=source, zarr_format=2)
    np.testing.assert_array_equal(down[:], DATA)
    assert down.metadata.zarr_format == 2
    empty = zarr.from_array({}, data=source, write_data=False)
    assert (empty[:] == 2).all()
    codecs = zarr.from_array({}, data=source, codecs=[GzipCodec(level=1)])
    assert [codec.name for codec in codecs.compressors] == ["gzip"]


def test_no_copy_onto_itself(tmp_path: Path) -> None:
    source = filled(tmp_path, name="a/b")
    for name in ("a/b", "a", None, "a/b/c"):
        with pytest.raises(ValueError, match="its own source"):
            zarr.from_array(tmp_path, name=name, data=source, overwrite=True)
        with pytest.raises(ValueError, match="its own source"):
            zarr.array(zarr.open_array(tmp_path, path="a/b", mode="r"), store=tmp_path, path=name, overwrite=True)
    np.testing.assert_array_equal(source[:], DATA)
    zarr.from_array(tmp_path, name="a/bc", data=source, overwrite=True)
    np.testing.assert_array_equal(zarr.from_array(tmp_path, name="a/b", data=source[:], overwrite=True)[:], DATA)


def test_likes() -> None:
    source = filled({}, fill_value=2, shards=(6, 8), attributes={"a": 1})
    like = zarr.empty_like(source)
    assert (like.chunks, like.shards, like.fill_value, dict(like.attrs)) == ((3, 4), (6, 8), 2, {})
    assert (zarr.ones_like(source, zarr_format=2)[:] == 1).all()
    assert (zarr.full_like(source, fill_value=9, shape=(2,), chunks=(1,), shards=None)[:] == 9).all()
    store = MemoryStore()
    assert zarr.open_like(source, "x", store=store).shards == (6, 8)
    zarr.open_array(store, path="x", mode="r+")[:] = 1
    assert (zarr.open_like(source, "x", store=store)[:] == 1).all()
    assert (zarr.open_like(source, "x", store=store, mode="w")[:] == 2).all()
    with pytest.raises(ContainsArrayError):
        zarr.open_like(source, "x", store=store, mode="w-")
    with pytest.raises(ArrayNotFoundError):
        zarr.open_like(source, "y", store=store, mode="r")


def test_hierarchies() -> None:
    node = filled({}).metadata
    store = MemoryStore()
    made = dict(zarr.create_hierarchy(store=store, nodes={"a/b": node}))
    assert set(made) == {"", "a", "a/b"}
    assert isinstance(made["a/b"], zarr.Array)
    assert zarr.open_group(store)["a/b"].metadata == node


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_to_look_at(zarr_format: Any) -> None:
    root = zarr.group({}, zarr_format=zarr_format)
    root.create_group("a/b", attributes={"n": 1}).create_array("x", shape=(3,), dtype="i2")
    root.create_array("ab", shape=(4,), dtype="i2")
    assert root.metadata.consolidated_metadata is None
    found = zarr.consolidate_metadata(root.store).metadata.consolidated_metadata
    assert found is not None
    assert sorted(found.flattened_metadata) == ["a", "a/b", "a/b/x", "ab"]
    assert sorted(found.metadata) == ["a", "ab"]
    assert found.metadata["ab"] == root["ab"].metadata
    inside = found.metadata["a"].consolidated_metadata  # type: ignore[union-attr]
    assert sorted(inside.flattened_metadata) == ["b", "b/x"]
    assert inside.metadata["b"].attributes == {"n": 1}
    assert list(inside.metadata["b"].consolidated_metadata.metadata) == ["x"]


def test_consolidating_an_array_changes_nothing() -> None:
    store = MemoryStore()
    filled(store)
    before = objects(store)
    assert isinstance(zarr.consolidate_metadata(store), zarr.Array)
    assert objects(store) == before
    with pytest.raises(GroupNotFoundError):
        zarr.consolidate_metadata({})
    with pytest.raises(TypeError, match=r"\.zmetadata"):
        zarr.consolidate_metadata(store, metadata_key="other")
    with pytest.raises(TypeError, match="use_consolidated"):
        zarr.open_consolidated(store, use_consolidated=False)


# ---- attributes


def test_attributes_write_once_and_only_json() -> None:
    state: dict[str, Any] = {"a": {"b": [1]}}
    writes: list[dict[str, Any]] = []

    def write(change: Any) -> None:
        new = change(dict(state))
        writes.append(new)
        state.clear()
        state.update(new)

    attributes = Attributes(lambda: state, write)
    attributes.update({"x": (1, 2), 3: None}, y=float("inf"))
    assert writes == [{"a": {"b": [1]}, "x": [1, 2], "3": None, "y": float("inf")}]
    attributes["a"]["b"].append(2)
    assert attributes["a"] == {"b": [1]}
    assert attributes.pop("x") == [1, 2]
    assert attributes.pop("x", "none") == "none"
    with pytest.raises(KeyError):
        attributes.pop("x")
    with pytest.raises(KeyError):
        del attributes["x"]
    with pytest.raises(TypeError, match="pop"):
        attributes.pop("x", 1, 2)
    assert attributes.setdefault("z", 1) == 1
    assert len(writes) == 3
    for wrong in (object(), {1}, b"x", np.float32(1), {"a": [object()]}):
        for change in (attributes.put, attributes.update):
            with pytest.raises(TypeError, match="JSON"):
                change({"w": wrong})
        with pytest.raises(TypeError, match="JSON"):
            attributes["w"] = wrong
    assert len(writes) == 3
    assert attributes == Attributes(lambda: dict(state), write)
    assert attributes == state
    assert repr(attributes) == repr(state)
    assert "z" in attributes
    attributes.clear()
    assert len(attributes) == 0


# ---- saving


def test_saving_and_loading(tmp_path: Path) -> None:
    zarr.save(tmp_path / "one.zarr", DATA)
    np.testing.assert_array_equal(zarr.load(tmp_path / "one.zarr"), DATA)
    zarr.save(tmp_path / "many.zip", DATA, DATA[0], named=DATA[:, 0])
    loaded = zarr.load(tmp_path / "many.zip")
    assert sorted(loaded) == ["arr_0", "arr_1", "named"]
    assert len(loaded) == 3
    np.testing.assert_array_equal(loaded["named"], DATA[:, 0])
    assert "nope" not in loaded
    assert "named" in repr(loaded)
    with pytest.raises(KeyError):
        loaded["nope"]
    with ZipStore(tmp_path / "many.zip", mode="r") as store:
        np.testing.assert_array_equal(zarr.load(store, "arr_1"), DATA[0])
    with pytest.raises(NodeNotFoundError):
        zarr.load(tmp_path / "nothing")


def test_saving_replaces_groups_but_not_arrays() -> None:
    store = MemoryStore()
    zarr.save_array(store, DATA, zarr_format=2, compressor=None, chunks=(2, 9))
    assert zarr.open_array(store).chunks == (2, 9)
    with pytest.raises(ContainsArrayError):
        zarr.save(store, DATA)
    zarr.save_array(store, DATA[0], mode="w")
    np.testing.assert_array_equal(zarr.load(store), DATA[0])
    store = MemoryStore()
    zarr.save_group(store, DATA, path="g")
    zarr.save_group(store, b=DATA[0], path="g")
    assert list(zarr.open_group(store, path="g")) == ["b"]
    for wrong in ((), ("text",), (DATA, None)):
        with pytest.raises((ValueError, TypeError)):
            zarr.save_group(store, *wrong)


# ---- copying


@pytest.mark.parametrize(("source_format", "dest_format"), [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_copying_nodes(source_format: int, dest_format: int) -> None:
    source = zarr.open_group({}, zarr_format=source_format, attributes={"t": 1})
    source.create_group("a", attributes={"n": 1})
    source.create_array("a/x", shape=(7, 9), chunks=(3, 4), dtype="f4", attributes={"u": "K"}, fill_value=5)[:5] = DATA[
        :5
    ]
    dest = zarr.open_group({}, zarr_format=dest_format)
    lines: list[str] = []
    assert zarr.copy(source["a"], dest, log=lines.append, dry_run=True) == (2, 0, 0)
    assert list(dest) == []
    assert zarr.copy(source["a"], dest, log=lines.append) == (2, 0, 7 * 9 * 4)
    assert lines[-1] == "all done: 2 copied, 0 skipped, 252 bytes copied"
    np.testing.assert_array_equal(dest["a/x"][:], source["a/x"][:])
    assert dest["a"].attrs["n"] == 1
    assert dest["a/x"].attrs["u"] == "K"
    assert dest["a/x"].fill_value == 5
    assert dest["a/x"].nchunks_initialized == source["a/x"].nchunks_initialized

    with pytest.raises(ContainsNodeError, match="if_exists"):
        zarr.copy(source["a/x"], dest["a"])
    source["a/x"][:] = 1
    assert zarr.copy(source["a/x"], dest["a"], if_exists="skip") == (0, 1, 0)
    assert zarr.copy(source["a/x"], dest["a"], if_exists="skip_initialized") == (1, 0, 252)
    assert (dest["a/x"][:] == 1).all()
    assert zarr.copy(source["a/x"], dest["a"], if_exists="skip_initialized") == (0, 1, 0)
    assert zarr.copy(source["a/x"], dest, name="y", without_attrs=True, chunks=(7, 9)) == (1, 0, 252)
    assert dest["y"].chunks == (7, 9)
    assert dict(dest["y"].attrs) == {}
    assert zarr.copy(source["a"], dest, name="shallow", shallow=True) == (1, 0, 0)
    assert list(dest["shallow"]) == []
    assert zarr.copy_all(source, dest, if_exists="replace") == (2, 0, 252)
    assert dest.attrs["t"] == 1
    with pytest.raises(ValueError, match="if_exists"):
        zarr.copy(source["a"], dest, if_exists="nope")
    with pytest.raises(TypeError, match="name"):
        zarr.copy(source, dest)


def test_copying_a_group_onto_an_array() -> None:
    source, dest = zarr.group({}), zarr.group({})
    source.create_group("a/b")
    dest.create_array("a", shape=(1,))
    assert zarr.copy(source["a"], dest, if_exists="skip") == (0, 1, 0)
    assert zarr.copy(source["a"], dest, if_exists="replace") == (2, 0, 0)
    assert list(dest["a"]) == ["b"]


def test_copying_from_hdf5() -> None:
    class Dataset:
        """As much of h5py as is asked for."""

        name, shape, dtype, chunks, size, fillvalue = "/g/d", (7, 9), np.dtype("f4"), (3, 4), 63, 7.0
        attrs = {"n": np.int32(3), "v": np.arange(2), "b": b"x"}  # noqa: RUF012

        def __getitem__(self, key: Any) -> Any:
            return DATA[key]

    dest = zarr.group({})
    assert zarr.copy(Dataset(), dest) == (1, 0, 252)
    np.testing.assert_array_equal(dest["d"][:], DATA)
    assert dest["d"].attrs.asdict() == {"n": 3, "v": [0, 1], "b": "x"}
    assert (dest["d"].chunks, dest["d"].fill_value) == ((3, 4), 7)


def test_copying_stores(tmp_path: Path) -> None:
    source = MemoryStore()
    filled(source, name="a/x")
    dest = LocalStore(tmp_path)
    assert zarr.copy_store(source, dest, dry_run=True) == (12, 0, 0)
    log = tmp_path / "log.txt"
    copied, skipped, nbytes = zarr.copy_store(source, dest, dest_path="b", log=str(log))
    assert (copied, skipped) == (12, 0)
    assert nbytes == sum(map(len, objects(source).values()))
    assert log.read_text().count("copy ") == 12
    np.testing.assert_array_equal(zarr.open_array(dest, path="b/a/x")[:], DATA)
    with pytest.raises(ContainsNodeError, match="if_exists"):
        zarr.copy_store(source, dest, dest_path="b")
    assert zarr.copy_store(source, dest, dest_path="b", if_exists="skip") == (0, 12, 0)
    file = io.StringIO()
    assert zarr.copy_store(source, {}, source_path="a", excludes="c/", includes=["c/0"], log=file)[0] == 5
    assert "copy a/x/zarr.json" in file.getvalue()
    with pytest.raises(ValueError, match="onto itself"):
        zarr.copy_store(source, source, if_exists="replace")
    with pytest.raises(ValueError, match="if_exists"):
        zarr.copy_store(source, dest, if_exists="nope")


# ---- the rest


def test_names_of_the_front_door() -> None:
    assert set(zarr.__all__) <= set(dir(zarr))
    for name in zarr.__all__:
        assert getattr(zarr, name) is not None
    assert callable(zarr.tree)
    assert callable(zarr.array)
    assert zarr.config.get("default_zarr_format") == 3
    assert zarr.config.get("no.such", None) is None
    printed = io.StringIO()
    zarr.config.pprint(stream=printed, width=40)
    assert "'json_indent': 2" in printed.getvalue()
    with zarr.config.enable_gpu():
        assert zarr.config.get("device") == "cuda"
    assert zarr.config.get("device") == "cpu"
    with pytest.raises(AttributeError, match="nope"):
        zarr.nope  # noqa: B018


def test_it_tells_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    zarr.print_debug_info()
    printed = capsys.readouterr().out
    assert f"gpuzarr: {zarr.__version__}\n" in printed
    assert f"numpy: {np.__version__}\n" in printed


def test_logging() -> None:
    logger = logging.getLogger("gpuzarr")
    before = logger.level, list(logger.handlers)
    try:
        zarr.set_format("%(message)s")
        zarr.set_log_level("DEBUG")
        assert logger.level == logging.DEBUG
        assert all(handler.level == logging.DEBUG for handler in logger.handlers)
    finally:
        logger.setLevel(before[0])
        logger.handlers[:] = before[1]
