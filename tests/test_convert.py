"""Conversion: NPY, NPZ and Zarr as sources, what can be chosen, and the command."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuzarr
from gpuzarr.cli import main
from gpuzarr.conversion import record as notes
from gpuzarr.conversion import work
from gpuzarr.conversion.contract import unreadable
from gpuzarr.errors import (
    ChecksumError,
    ContainsNodeError,
    ConversionError,
    CorruptChunkError,
    LimitError,
    MetadataError,
    NodeNotFoundError,
    ObjectChangedError,
    StoreReadError,
)
from gpuzarr.storage import MemoryStore, ZipStore

VALUES = np.arange(40 * 30, dtype="i4").reshape(40, 30)


def held(store: MemoryStore) -> dict[str, bytes]:
    """All objects of a store."""
    return {key: bytes(store.get(key) or b"") for key in store.list()}


# ---- NPY and NPZ


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">f8", "?", "S3", "U2", "M8[s]", [("a", "i1"), ("b", "f8")]])
def test_npy_files(tmp_path: Path, dtype: Any, order: str) -> None:
    values = np.asarray(np.arange(20).reshape(4, 5) % 2, order=order).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    report = gpuzarr.convert(tmp_path / "a.npy", tmp_path / "a.zarr", chunks=(2, 2), verify=True)
    z = gpuzarr.open_array(tmp_path / "a.zarr", mode="r")
    assert (report.arrays, report.groups, z.chunks) == (1, 0, (2, 2))
    np.testing.assert_array_equal(z[...], values)


@pytest.mark.parametrize("values", [np.float32(3), np.zeros((0, 3)), np.zeros(1)])
def test_npy_files_of_few_values(tmp_path: Path, values: Any) -> None:
    np.save(tmp_path / "a.npy", values)
    gpuzarr.convert(tmp_path / "a.npy", tmp_path / "a.zarr")
    np.testing.assert_array_equal(gpuzarr.open_array(tmp_path / "a.zarr", mode="r")[...], values)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_archives(tmp_path: Path, save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.npz", a=VALUES, **{"b/c": np.float64(1.5)})
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))  # others use the usual one meanwhile
    gpuzarr.convert(tmp_path / "a.npz", tmp_path / "a.zarr", chunks=(7, 30), verify=True)
    found = gpuzarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(found["a"][...], VALUES)
    assert found["b/c"][()] == 1.5
    assert os.listdir(tmp_path / "temporary") == []


@pytest.mark.parametrize("what", ["chunks", "shards"])
def test_a_pattern_that_is_no_arrays_is_named(tmp_path: Path, what: str) -> None:
    np.savez(tmp_path / "a.npz", field=VALUES)
    sizes = {"feild": "auto", "f*": "auto"}
    report = gpuzarr.convert(tmp_path / "a.npz", tmp_path / "a.zarr", **{what: sizes})
    assert [note.path for note in report.notes] == ["feild"]
    assert what in report.notes[0].text


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ConversionError, match="code"):
        gpuzarr.convert(tmp_path / "a.npy", tmp_path / "a.zarr")
    np.savez(tmp_path / "b.npz", x=VALUES, y=np.array([None]))
    report = gpuzarr.convert(tmp_path / "b.npz", tmp_path / "b.zarr", skip_unsupported=True)
    assert [problem.path for problem in report.skipped] == ["y"]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:30]])
def test_a_damaged_npy_file_is_refused(tmp_path: Path, damage: Any) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    (tmp_path / "a.npy").write_bytes(damage((tmp_path / "a.npy").read_bytes()))
    with pytest.raises((ConversionError, CorruptChunkError), match=r"a\.npy"):
        gpuzarr.convert(tmp_path / "a.npy", tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_member_is_found_before_its_values_are_taken(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", a=np.random.default_rng(1).random(1000))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        member = archive.infolist()[0]
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[member.header_offset + 60 + member.compress_size // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(CorruptChunkError, match="cannot be unpacked"):
        gpuzarr.convert(tmp_path / "a.npz", tmp_path / "a.zarr")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04rubbish", b"\x89HDF\r\n\x1a\n" + b"x" * 100, b"CDF\x01"]
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ConversionError, match=str(tmp_path / "a")):
        gpuzarr.convert(tmp_path / "a", tmp_path / "a.zarr")


def test_nothing_at_the_source(tmp_path: Path) -> None:
    with pytest.raises(NodeNotFoundError):
        gpuzarr.convert(tmp_path / "no_such", tmp_path / "a.zarr")


# ---- Zarr to Zarr

LAYOUTS: dict[str, dict[str, Any]] = {
    "v2": {
        "zarr_format": 2,
        "chunks": (7, 9),
        "compressors": {"id": "blosc", "cname": "lz4", "clevel": 3, "shuffle": 2},
    },
    "v2 F": {"zarr_format": 2, "chunks": (40, 1), "order": "F", "filters": [{"id": "delta", "dtype": "<i4"}]},
    "v3": {"chunks": (10, 10), "compressors": {"name": "gzip", "configuration": {"level": 2}}},
    "v3 shards": {"chunks": (5, 6), "shards": (20, 12)},
}
WANTED: dict[str, dict[str, Any]] = {
    "keep": {},
    "v2": {"zarr_format": 2, "chunks": (1, 30)},
    "v3": {"zarr_format": 3, "chunks": (40, 1), "shards": None, "compressors": None, "filters": None},
    "shards": {"zarr_format": 3, "chunks": (8, 8), "shards": (24, 32)},
    "auto shards": {"zarr_format": 3, "chunks": (4, 4), "shards": "auto"},
}


@pytest.mark.parametrize(("layout", "wanted"), list(product(LAYOUTS, WANTED)))
def test_zarr_to_zarr(layout: str, wanted: str) -> None:
    source, target = MemoryStore(), MemoryStore()
    root = gpuzarr.create_group(source, zarr_format=LAYOUTS[layout].get("zarr_format", 3), attributes={"title": "t"})
    arguments = {k: v for k, v in LAYOUTS[layout].items() if k != "zarr_format"}
    x = root.create_array("g/x", shape=VALUES.shape, dtype="i4", fill_value=-1, attributes={"a": [1]}, **arguments)
    x[:33] = VALUES[:33]
    gpuzarr.convert(source, target, verify=True, **WANTED[wanted])
    found = gpuzarr.open_group(target, mode="r")
    y = found["g/x"]
    np.testing.assert_array_equal(y[:33], VALUES[:33])
    assert (y[33:] == -1).all()
    assert (dict(found.attrs), dict(y.attrs), y.fill_value, y.dtype) == ({"title": "t"}, {"a": [1]}, -1, np.int32)
    if wanted == "keep":
        assert held(target) == held(source)
    else:
        assert y.metadata.zarr_format == WANTED[wanted]["zarr_format"]
        assert y.chunks == WANTED[wanted]["chunks"]


SIDE = st.tuples(st.integers(1, 20), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3))


@given(st.lists(SIDE, min_size=1, max_size=3), st.integers(1, 4), st.integers(1, 2000))
def test_any_chunks_to_any_shards(axes: list[tuple[int, int, int, int]], threads: int, region: int) -> None:
    shape, old, new, times = (tuple(axis[i] for axis in axes) for i in range(4))
    values = np.arange(np.prod(shape), dtype="u2").reshape(shape)
    source, target = MemoryStore(), MemoryStore()
    gpuzarr.create_array(source, data=values, chunks=old)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "LARGEST_REGION", region)
        shards = tuple(a * b for a, b in zip(new, times, strict=True))
        gpuzarr.convert(source, target, chunks=new, shards=shards, threads=threads, verify=True)
    found = gpuzarr.open_array(target, mode="r")
    assert (found.chunks, found.shards) == (new, shards)
    np.testing.assert_array_equal(found[...], values)


@pytest.mark.judge
def test_stores_of_other_libraries_convert_to_the_other_format_and_back(third_party_stores: Path) -> None:
    listed = json.loads((third_party_stores / "expected.json").read_text())
    assert listed
    seen = 0
    for place in sorted(
        {path.parent for path in third_party_stores.rglob("*") if path.name in ("zarr.json", ".zarray")}
    ):
        try:
            array = gpuzarr.open_array(place, mode="r")
        except ValueError:
            continue  # a group, or a codec that is not installed
        if array.nbytes > 8 << 20 or array.dtype.kind == "O":
            continue
        values, there, back = array[...], MemoryStore(), MemoryStore()
        forms = (5 - array.metadata.zarr_format, array.metadata.zarr_format)
        try:
            gpuzarr.convert(array, there, zarr_format=forms[0], verify=True)
        except (ConversionError, MetadataError):
            continue  # a type or a grid that the other format does not have
        gpuzarr.convert(there, back, zarr_format=forms[1], verify=True)
        found = gpuzarr.open_array(back, mode="r")
        assert work.same(found[...].astype(values.dtype), values), place
        # To xarray a fill value of format 2 stands for missing values, and stays one.
        assert {key: value for key, value in found.attrs.items() if key != "_FillValue"} == array.attrs, place
        seen += 1
    assert seen > 20


def test_compressors_are_kept_across_formats() -> None:
    for config in (
        {"id": "zstd", "level": 3},
        {"id": "blosc", "cname": "zstd", "clevel": 2, "shuffle": 2},
        {"id": "lz4"},
        None,
    ):
        x = gpuzarr.create_array(MemoryStore(), data=VALUES, chunks=(9, 9), zarr_format=2, compressors=config)
        there, back = MemoryStore(), MemoryStore()
        gpuzarr.convert(x, there, zarr_format=3, verify=True)
        gpuzarr.convert(there, back, zarr_format=2, verify=True)
        assert gpuzarr.open_array(back, mode="r").metadata == x.metadata
        kinds = [codec.name for codec in gpuzarr.open_array(there, mode="r").compressors]
        assert kinds == (
            [] if config is None else [f"numcodecs.{config['id']}" if config["id"] == "lz4" else config["id"]]
        )


def test_fill_values_of_format_2_stay_null_and_dimension_names_find_their_place() -> None:
    x = gpuzarr.create_array(
        MemoryStore(),
        shape=(4,),
        chunks=(2,),
        dtype="f4",
        zarr_format=2,
        fill_value=None,
        attributes={"_ARRAY_DIMENSIONS": ["x"]},
    )
    x[:2] = 1
    same, new, back = MemoryStore(), MemoryStore(), MemoryStore()
    gpuzarr.convert(x, same)
    assert gpuzarr.open_array(same, mode="r").metadata == x.metadata
    gpuzarr.convert(x, new, zarr_format=3)
    y = gpuzarr.open_array(new, mode="r")
    assert (y.metadata.dimension_names, dict(y.attrs), y[...].tolist()) == (("x",), {}, [1, 1, 0, 0])
    gpuzarr.convert(new, back, zarr_format=2)
    assert dict(gpuzarr.open_array(back, mode="r").attrs) == {"_ARRAY_DIMENSIONS": ["x"]}


@pytest.mark.parametrize(("dtype", "fill"), [("f4", np.nan), ("f8", -9.5), ("i2", -99), ("S3", b"n/a"), ("?", True)])
def test_missing_values_are_where_xarray_looks_for_them(dtype: str, fill: Any) -> None:
    names = {"_ARRAY_DIMENSIONS": ["x"]}
    x = gpuzarr.create_array(MemoryStore(), shape=(4,), dtype=dtype, zarr_format=2, fill_value=fill, attributes=names)
    new, back = MemoryStore(), MemoryStore()
    gpuzarr.convert(x, new, zarr_format=3)
    y = gpuzarr.open_array(new, mode="r")
    assert list(y.attrs) == ["_FillValue"]
    np.testing.assert_equal(y.fill_value, fill)
    gpuzarr.convert(new, back, zarr_format=2)
    z = gpuzarr.open_array(back, mode="r")
    assert (dict(z.attrs), z.metadata) == (names, x.metadata)


def test_text_and_objects() -> None:
    root = gpuzarr.create_group(MemoryStore(), zarr_format=2)
    root.create_array("text", data=np.array(["a", "böß"], np.dtypes.StringDType()))
    root.create("json", shape=(2,), dtype=object, object_codec={"id": "json2"})[:] = [{"a": 1}, None]
    target = MemoryStore()
    gpuzarr.convert(root, target, verify=True)
    assert gpuzarr.open_group(target, mode="r")["json"][0] == {"a": 1}
    with pytest.raises(ConversionError, match="json2"):
        gpuzarr.convert(root, MemoryStore(), zarr_format=3)
    target = MemoryStore()
    report = gpuzarr.convert(root, target, zarr_format=3, skip_unsupported=True, verify=True)
    assert [problem.path for problem in report.skipped] == ["json"]
    assert gpuzarr.open_group(target, mode="r")["text"][...].tolist() == ["a", "böß"]


def test_rectilinear_chunks_are_kept() -> None:
    with gpuzarr.config.set({"array.rectilinear_chunks": True}):
        x = gpuzarr.create_array(MemoryStore(), data=VALUES, chunks=((10, 30), (15, 15)))
        target = MemoryStore()
        gpuzarr.convert(x, target, verify=True)
        assert gpuzarr.open_array(target, mode="r").metadata == x.metadata


def test_a_target_in_its_own_source_is_refused() -> None:
    root = gpuzarr.create_group(MemoryStore())
    root.create_array("g/x", data=VALUES)
    for path in ("", "g", "g/x", "g/x/y"):
        with pytest.raises(ConversionError, match="overlap"):
            gpuzarr.convert(root["g/x"], root.store, path=path, overwrite=True)
    gpuzarr.convert(root["g"], root.store, path="copy")
    np.testing.assert_array_equal(root["copy/x"][...], VALUES)


@pytest.mark.parametrize("target", ["a.zarr", "b/a.zarr", ".", "link", "link/g"])
def test_a_source_is_not_overwritten_by_whatever_path_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    gpuzarr.create_group("a.zarr").create_array("g/x", data=VALUES)
    (tmp_path / "link").symlink_to("a.zarr")
    (tmp_path / "b").symlink_to(".")
    np.save("a.npy", VALUES)
    with pytest.raises(ConversionError, match="overlap"):
        gpuzarr.convert("a.zarr", tmp_path / target, overwrite=True)
    assert main(["convert", "a.zarr", target, "--overwrite"]) == 2
    if target == ".":
        with pytest.raises(ConversionError, match="overlap"):
            gpuzarr.convert("a.npy", target, overwrite=True)
    with pytest.raises(ValueError, match="own source"):
        gpuzarr.save_array(tmp_path / target, gpuzarr.open_array("a.zarr/g/x", mode="r"), overwrite=True)
    assert Path("a.npy").exists()
    np.testing.assert_array_equal(gpuzarr.open_group("a.zarr", mode="r")["g/x"][...], VALUES)


# ---- what can be chosen


@pytest.fixture
def source() -> gpuzarr.Group:
    """A hierarchy with arrays of one and two axes, and groups that hold nothing."""
    root = gpuzarr.create_group(MemoryStore(), attributes={"title": "t"})
    for path in ("a/x", "a/raw/x", "b/x"):
        root.create_array(path, data=VALUES, chunks=(10, 10))
    root.create_array("line", data=VALUES[0])
    root.create_group("b/empty")
    return root


def paths(store: Any) -> list[str]:
    return sorted(path for path, _ in gpuzarr.open_group(store, mode="r").members(max_depth=None))


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["a", "a/raw", "a/raw/x", "a/x", "b", "b/empty", "b/x", "line"]),
        ("a", (), ["a", "a/raw", "a/raw/x", "a/x"]),
        ("*/x", "a/raw", ["a", "a/x", "b", "b/x"]),
        ((), ("*/x", "line"), ["a", "a/raw", "b", "b/empty"]),
        ("/b/empty/", (), ["b", "b/empty"]),
    ],
)
def test_include_and_exclude(source: gpuzarr.Group, include: Any, exclude: Any, expected: list[str]) -> None:
    target = MemoryStore()
    gpuzarr.convert(source, target, include=include, exclude=exclude)
    assert paths(target) == expected
    assert dict(gpuzarr.open_group(target, mode="r").attrs) == {"title": "t"}


def test_nothing_is_left(source: gpuzarr.Group) -> None:
    with pytest.raises(ConversionError, match="nothing"):
        gpuzarr.convert(source, MemoryStore(), include="no_such")


def test_sizes_are_for_arrays_of_as_many_axes_or_for_patterns(source: gpuzarr.Group) -> None:
    target = MemoryStore()
    gpuzarr.convert(source, target, chunks=(8, 6), shards={"a/*": (16, 12), "*": None})
    found = gpuzarr.open_group(target, mode="r")
    assert {path: (found[path].chunks, found[path].shards) for path in ("a/x", "b/x", "line")} == {
        "a/x": ((8, 6), (16, 12)),
        "b/x": ((8, 6), None),
        "line": ((30,), None),
    }
    with pytest.raises(MetadataError, match=r"'a/raw/x'.*multiple"):
        gpuzarr.convert(source, MemoryStore(), shards=(15, 15))


def test_whole_chains(source: gpuzarr.Group) -> None:
    target = MemoryStore()
    chain = [gpuzarr.codecs.TransposeCodec(order=(1, 0)), gpuzarr.codecs.GzipCodec(level=1)]
    gpuzarr.convert(source["a/x"], target, codecs=chain, shards=(20, 20), verify=True)
    x = gpuzarr.open_array(target, mode="r")
    assert ([c.name for c in x.filters], [c.name for c in x.compressors], x.shards) == (
        ["transpose"],
        ["gzip"],
        (20, 20),
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated(source: gpuzarr.Group, zarr_format: int) -> None:
    target, plain = MemoryStore(), MemoryStore()
    gpuzarr.convert(source, target, consolidate=True, zarr_format=zarr_format)
    gpuzarr.convert(source, plain, zarr_format=zarr_format)
    gpuzarr.consolidate_metadata(plain)
    assert held(target) == held(plain)
    again = MemoryStore()
    gpuzarr.convert(target, again)  # what was consolidated stays so
    assert held(again) == held(target)


def test_progress_and_report(source: gpuzarr.Group) -> None:
    seen: list[tuple[str, int, int]] = []
    report = gpuzarr.convert(source, MemoryStore(), progress=lambda *now: seen.append(now))
    assert report.nbytes == sum(nbytes for _, nbytes, _ in seen) == 3 * VALUES.nbytes + VALUES[0].nbytes
    assert {total for _, _, total in seen} == {report.nbytes}
    assert (report.arrays, report.groups, report.regions, report.regions_resumed) == (4, 5, 4, 0)
    assert report.nbytes_stored is not None
    assert report.seconds > 0


def test_a_zip_archive_as_source_and_target(tmp_path: Path, source: gpuzarr.Group) -> None:
    gpuzarr.convert(source, tmp_path / "a.zip")
    gpuzarr.convert(tmp_path / "a.zip", tmp_path / "b.zarr", source_path="a", path="in/here")
    np.testing.assert_array_equal(gpuzarr.open_array(tmp_path / "b.zarr", path="in/here/x", mode="r")[...], VALUES)
    with ZipStore(tmp_path / "a.zip") as archive:
        assert not [key for key in archive.list() if notes.NAME in key]


def test_what_is_there_is_not_touched_without_overwrite(tmp_path: Path, source: gpuzarr.Group) -> None:
    gpuzarr.save_array(tmp_path / "a.zarr", np.arange(3))
    with pytest.raises(ContainsNodeError):
        gpuzarr.convert(source, tmp_path / "a.zarr")
    assert gpuzarr.load(tmp_path / "a.zarr").tolist() == [0, 1, 2]
    gpuzarr.convert(source, tmp_path / "a.zarr", overwrite=True)
    assert paths(tmp_path / "a.zarr")[0] == "a"
    stray = tmp_path / "b.zarr" / "c" / "0"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"1")
    with pytest.raises(ContainsNodeError):
        gpuzarr.convert(source, tmp_path / "b.zarr")


def test_a_shard_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    big = gpuzarr.create_array(MemoryStore(), shape=(1 << 15, 1 << 15), chunks=(1024, 1024), dtype="f4")
    with pytest.raises(LimitError, match="memory_limit is 268435456"):
        gpuzarr.convert(big, tmp_path / "a.zarr", shards=(1 << 14, 1 << 14))
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("limit_mib", [48, 64, 256])
@pytest.mark.parametrize(("chunks", "shards"), [((512, 512), None), ((16, 2048), (512, 2048)), ((1, 2048), None)])
def test_what_is_worked_on_at_once_fits_the_limit(chunks: Any, shards: Any, limit_mib: int) -> None:
    x = gpuzarr.create_array(MemoryStore(), shape=(2048, 2048), chunks=(2048, 4), dtype="f4")
    target = gpuzarr.create_array(MemoryStore(), shape=x.shape, chunks=chunks, shards=shards, dtype="f4")
    found = next(iter(gpuzarr.conversion.stored_nodes.ZarrSource(x.store, "", closes=False).nodes()))
    settled = work.share(found, target.metadata, limit_mib << 20, 8, verify=True)
    box = settled.regions[0]
    nbytes = (box[0].stop - box[0].start) * (box[1].stop - box[1].start) * 4
    assert nbytes * settled.workers * 4 + found.scratch <= (limit_mib << 20) * 3 // 4
    assert settled.workers >= 1


def test_verify_finds_what_is_not_as_it_was(monkeypatch: pytest.MonkeyPatch, source: gpuzarr.Group) -> None:
    class Lossy(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            data = bytearray(b"".join(map(bytes, value)) if isinstance(value, list) else bytes(value))
            if "/c/" in key:
                data[-1] ^= 1
            super().set(key, data)

    target = Lossy()
    with pytest.raises(ChecksumError, match="a/raw/x"):
        gpuzarr.convert(source, target, compressors=None, verify=True)
    with pytest.raises(NodeNotFoundError):
        gpuzarr.open(target, mode="r")
    gpuzarr.convert(source, Lossy(), compressors=None)


def test_a_source_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)

    def change(path: str, nbytes: int, total: int) -> None:
        os.utime(tmp_path / "a.npy", ns=(1, 1))

    with pytest.raises(ObjectChangedError):
        gpuzarr.convert(tmp_path / "a.npy", tmp_path / "a.zarr", progress=change)
    with pytest.raises(NodeNotFoundError):
        gpuzarr.open(tmp_path / "a.zarr", mode="r")


# ---- the usage guide's workflow "Format Conversion"


def test_the_guide_by_hand_and_by_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    with h5py.File("data.h5", "w") as h5:
        h5["dataset_name"] = VALUES
    np.save("data.npy", VALUES)
    with h5py.File("data.h5", "r") as h5:
        gpuzarr.array(h5["dataset_name"][:], chunks=(1000, 1000), store="from_hdf5.zarr")
    gpuzarr.array(np.load("data.npy"), chunks="auto", store="from_numpy.zarr")
    gpuzarr.convert("data.h5", "by_convert.zarr", source_path="dataset_name", chunks=(1000, 1000))
    gpuzarr.convert("data.npy", "from_npy.zarr")
    for name, chunks in (
        ("from_hdf5", (1000, 1000)),
        ("from_numpy", (40, 30)),
        ("by_convert", (1000, 1000)),
        ("from_npy", (40, 30)),
    ):
        z = gpuzarr.open_array(f"{name}.zarr", mode="r")
        np.testing.assert_array_equal(z[...], VALUES)
        assert z.chunks == chunks


# ---- the command


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", x=VALUES, y=VALUES[0], z=np.array([None]))
    return tmp_path


def test_the_command(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "convert",
        "a.npz",
        "a.zarr",
        "--skip-unsupported",
        "--chunks",
        "10,10",
        "--shards",
        "x=20,20",
        "--verify",
    ]
    assert main([*arguments, "--compressor", "gzip:3", "--consolidate", "--memory", "100M", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("2 arrays, 1 groups: 4.8 KiB, stored ")
    assert "left out: z: " in err
    found = gpuzarr.open_group("a.zarr", mode="r", use_consolidated=True)
    assert (found["x"].chunks, found["x"].shards, found["x"].compressors[0].level) == ((10, 10), (20, 20), 3)
    np.testing.assert_array_equal(found["x"][...], VALUES)
    assert found["y"].chunks == (30,)


def test_the_command_prints_json(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["convert", "a.npz", "a.zarr", "--json", "--exclude", "z", "--format", "2", "--compressor", "none"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["arrays"], found["groups"], found["skipped"], found["nbytes"]) == (2, 1, [], 4920)
    assert found["ratio"] == round(4920 / found["nbytes_stored"], 3)
    assert gpuzarr.open_array("a.zarr", path="x", mode="r").compressor is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "z: its elements are pickled"),
        (["--exclude", "z", "--chunks", "1,x"], "is not keep, auto"),
        (["--exclude", "z", "--compressor", "zip"], "is not keep, none"),
        (["--exclude", "z", "--memory", "1M"], "LimitError"),
        (["--source-path", "x", "--exclude", "z"], "is no hierarchy"),
        (["--exclude", "z", "--target-option", "anon=true"], "storage_options belong to a URL"),
    ],
)
def test_what_the_command_cannot_do(
    there: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(["convert", "a.npz", "a.zarr", *more]) == 2
    assert message in capsys.readouterr().err
    assert not (there / "a.zarr").exists()


def test_the_command_says_what_is_there_instead(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "a.npy", "a.zarr"]) == 2
    assert "a.npz" in capsys.readouterr().err
    assert main(["convert", "a.npz", "a.npz/b", "--exclude", "z"]) == 2
    with pytest.raises(SystemExit):
        main(["convert", "a.npz", "a.zarr", "--memory", "much"])


def test_a_difference_ends_the_command_with_1(
    there: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "same", lambda stored, values: False)
    assert main(["convert", "a.npz", "a.zarr", "--exclude", "z", "--verify"]) == 1
    assert "is not what was written" in capsys.readouterr().err


DAMAGED = ("CorruptChunkError", "CorruptShardError", "ChecksumError")


@pytest.mark.parametrize("kind", ["zarr", "sharded", "npy", "npz", "h5"])
def test_values_that_are_damaged_end_the_command_with_1(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(3).random(1000)
    source = tmp_path / f"a.{kind}"
    if kind in ("zarr", "sharded"):
        shards = (1000,) if kind == "sharded" else None
        gpuzarr.create_array(source, data=values, chunks=(1000,), shards=shards)
        damaged = source / "c" / "0"
    elif kind == "h5":
        with pytest.importorskip("h5py").File(source, "w") as file:
            file.create_dataset("x", data=values, chunks=(1000,), compression="gzip", fletcher32=True)
        damaged = source
    else:
        (np.save if kind == "npy" else np.savez_compressed)(source, values)
        damaged = source
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4] = b"\0\1\2\3" if kind in ("npz", "h5") else b""
    damaged.write_bytes(data)
    assert main(["convert", str(source), str(tmp_path / "b.zarr"), "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["type"] in DAMAGED
    with pytest.raises(NodeNotFoundError):
        gpuzarr.open(tmp_path / "b.zarr", mode="r")


def test_what_the_system_fails_to_read_is_no_damage() -> None:
    assert type(unreadable("x", OSError(5, "Input/output error"))) is StoreReadError
    assert type(unreadable("x", OSError("inflate() failed"))) is CorruptChunkError


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (["--chunks", "auto"], "--overwrite replaces what is there"),
        (["--no-resume"], "--overwrite replaces what is there"),
        (["--memory", "1M"], "--memory raises the limit; --chunks and --shards choose smaller ones"),
        ([], "--skip-unsupported leaves it out"),
    ],
)
def test_the_command_recommends_its_own_options(
    there: Path, capsys: pytest.CaptureFixture[str], more: list[str], hint: str
) -> None:
    if more and more != ["--memory", "1M"]:
        (there / "a.zarr").mkdir()
        (there / "a.zarr" / (".conversion.json" if more == ["--no-resume"] else "left")).write_text("{}")
    assert main(["convert", "a.npz", "a.zarr", *more, *["--exclude", "z"][: 2 * bool(more)]]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == hint


# ---- damaged files


@pytest.mark.filterwarnings("ignore")  # the libraries' own, of what they guess
@pytest.mark.parametrize("kind", ["npy", "npz", "nc", "h5"])
def test_a_damaged_file_is_an_error_of_ours_or_no_error(tmp_path: Path, kind: str, long_form: bool) -> None:
    """HDF5 in its header only, as its library is not made for more."""
    place = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(place, VALUES)
    elif kind == "npz":
        np.savez_compressed(place, a=VALUES, b=VALUES[0])
    elif kind == "nc":
        pytest.importorskip("scipy")
        xarray = pytest.importorskip("xarray")
        xarray.Dataset({"a": (("x", "y"), VALUES)}, attrs={"t": "x"}).to_netcdf(place, engine="scipy")
    else:
        with pytest.importorskip("h5py").File(place, "w") as file:
            file["g/a"] = VALUES
    good = place.read_bytes()
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(5000 if long_form else 120):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            i = int(rng.integers(min(len(data), 96 if kind == "h5" else 400)))
            if rng.random() < 0.1:
                del data[i : i + 3]
            else:
                data[i] = int(rng.choice([0, 1, 127, 128, 255, data[i] ^ 1, data[i] ^ 16]))
        place.write_bytes(data)
        try:
            gpuzarr.convert(place, MemoryStore(), skip_unsupported=True)
        except gpuzarr.errors.GpuzarrError as error:
            seen.add(type(error))
    assert ConversionError in seen


@pytest.mark.parametrize("formats", list(product((2, 3), repeat=2)))
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *[("S4", b"ab"), ("U3", "a"), (">f8", -0.0), (">i2", 258), ("M8[s]", "2001-02-03"), ("V5", b"1234\0")],
        *[([("a", ">i2"), ("b", "S3")], (258, b"x")), (str, "abc")],
    ],
)
def test_an_array_without_axes_is_compared_as_it_is_stored(formats: tuple[int, int], dtype: Any, value: Any) -> None:
    source, target = MemoryStore(), MemoryStore()
    written = gpuzarr.create_array(source, shape=(), dtype=dtype, zarr_format=formats[0])
    written[...] = value if dtype is str else np.array(value, dtype)
    gpuzarr.convert(written, target, zarr_format=formats[1], verify=True)
    assert gpuzarr.open_array(target, mode="r")[()] == written[()]


@pytest.mark.parametrize("missing", ["longer", 0])
def test_a_value_for_missing_text_that_does_not_fit_is_reported(missing: Any) -> None:
    source = gpuzarr.create_array(MemoryStore(), shape=(3,), dtype="U3", attributes={"_FillValue": missing})
    with pytest.raises(ConversionError, match="_FillValue"):
        gpuzarr.convert(source, MemoryStore(), zarr_format=2)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "kept", "left_out"),
    [
        (["a", "a"], ["a"], ["a"]),
        (["a", "a/b", "c"], ["a", "c"], ["a/b"]),
        (["a/b", "a"], ["a", "a/b"], ["a"]),
        (["", "b"], ["b"], [""]),
        (["/x", "y/", "../z", "b"], ["b"], ["/x", "y/", "../z"]),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_members_that_have_no_room_beside_others_are_reported(
    tmp_path: Path, names: list[str], kept: list[str], left_out: list[str], zarr_format: int
) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for i, name in enumerate(names):
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, np.full(3, i))
    with pytest.raises(ConversionError):
        gpuzarr.convert(tmp_path / "a.npz", MemoryStore(), zarr_format=zarr_format)
    target = MemoryStore()
    report = gpuzarr.convert(tmp_path / "a.npz", target, zarr_format=zarr_format, skip_unsupported=True)
    assert [problem.path for problem in report.skipped] == left_out
    found = dict(gpuzarr.open_group(target, mode="r").members(max_depth=None))
    assert sorted(found) == kept
    for name in {*kept} & {*names}:
        if isinstance(found[name], gpuzarr.Array):
            assert found[name][0] == names.index(name)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_characters_of_a_classic_netcdf_file(tmp_path: Path, zarr_format: int) -> None:
    netcdf = pytest.importorskip("scipy.io")
    pytest.importorskip("xarray")
    with netcdf.netcdf_file(tmp_path / "a.nc", "w") as file:
        file.createDimension("n", 4)
        file.createVariable("c", np.dtype("S1"), ("n",))[:] = np.array([b"a", b"b", b"", b"d"])
    target = MemoryStore()
    gpuzarr.convert(tmp_path / "a.nc", target, zarr_format=zarr_format, verify=True)
    found = gpuzarr.open_group(target, mode="r")["c"]
    assert found.dtype == "S1"
    assert found[...].tolist() == [b"a", b"b", b"", b"d"]
