"""HDF5 and NetCDF files become Zarr: types, attributes, dimensions, links, and what Zarr has no form for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import gpuzarr
from gpuzarr.conversion import Report
from gpuzarr.errors import ConversionError, CorruptChunkError, EncodeError
from gpuzarr.missing import fill_from_json

Write = Callable[[h5py.File], object]


def converted(tmp_path: Path, write: Write, **arguments: Any) -> tuple[gpuzarr.Group, Report]:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write(file)
    report = gpuzarr.convert(tmp_path / "a.h5", tmp_path / "a.zarr", verify=True, **arguments)
    return gpuzarr.open_group(tmp_path / "a.zarr", mode="r"), report


RECORD = np.array([(1, 2.5, b"x"), (-1, -0.0, b"yz")], np.dtype([("a", "i1"), ("b", ">f8"), ("n", "S3")], align=True))
VALUES: dict[str, tuple[Any, Any]] = {  # what is stored, and the h5py type of it where that matters
    **{kind: (np.arange(7).astype(kind), None) for kind in ("i1", "u2", ">i4", "u8", "f2", ">f4", "f8", "c8", ">c16")},
    "bool": (np.array([True, False, True]), None),
    "enum": (np.array([2, 1], "i2"), h5py.enum_dtype({"A": 1, "B": 2}, "i2")),
    "text": (np.array(["", "abc", "böß", "€" * 50], object), h5py.string_dtype()),
    "ascii": (np.array(["abc"], object), h5py.string_dtype("ascii")),
    "fixed": (np.array([b"ab", b"cde"]), None),
    "dates": (np.array(["2001-02-03", "NaT"], "M8[s]").astype(h5py.opaque_dtype("M8[s]")), None),
    "scalar": (np.float16(2.5), None),
    "empty": (np.zeros((0, 3), "i4"), None),
    "nan": (np.array([np.nan, -0.0, np.inf], "f4"), None),
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", VALUES)
def test_values_and_types_are_kept(tmp_path: Path, name: str, zarr_format: int) -> None:
    values, dtype = VALUES[name]
    found, report = converted(
        tmp_path, lambda file: file.create_dataset("x", data=values, dtype=dtype), zarr_format=zarr_format
    )
    x = found["x"]
    assert (report.arrays, report.groups, report.skipped, report.nbytes) == (1, 1, [], x.nbytes)
    assert x.shape == np.shape(values)
    assert x.dtype.kind == ("T" if values.dtype.kind == "O" else values.dtype.kind)
    assert zarr_format == 3 or x.dtype.kind == "T" or x.dtype == values.dtype
    np.testing.assert_array_equal(x[...].astype(values.dtype), values)
    assert dict(x.attrs) == ({"enumeration": {"A": 1, "B": 2}} if name == "enum" else {})


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_records_are_stored_without_padding(tmp_path: Path, zarr_format: int) -> None:
    found, _ = converted(tmp_path, lambda file: file.create_dataset("x", data=RECORD), zarr_format=zarr_format)
    assert found["x"].dtype.itemsize == 12 < RECORD.dtype.itemsize
    for name in ("a", "b", "n"):
        np.testing.assert_array_equal(found["x"][name], RECORD[name])


def test_chunks_and_fill_values_are_kept_and_text_has_one(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file.create_dataset("a", (20, 30), "f4", chunks=(7, 11), compression="gzip", shuffle=True, fillvalue=-1)[:5] = 3
        file.create_dataset("b", (20,), "i2")
        file.create_dataset("t", (20,), h5py.string_dtype(), fillvalue="none")
        file.create_dataset("u", (4,), h5py.string_dtype())
        file.create_dataset("c", (4,), "c8", fillvalue=1j)

    found, _ = converted(tmp_path, write)
    a = found["a"]
    assert (a.chunks, a.fill_value) == ((7, 11), -1)
    assert (a[...] == np.where(np.arange(20)[:, None] < 5, 3, -1)).all()
    assert {key for key in found.store.list() if key.startswith("a/c/")} == {"a/c/0/0", "a/c/0/1", "a/c/0/2"}
    assert (found["b"].fill_value, found["c"].fill_value) == (0, 1j)
    assert (found["t"].fill_value, found["t"][3]) == ("none", "none")
    assert found["u"].fill_value == ""


def test_attributes_are_json(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file.attrs["text"] = "böß"
        file.attrs["fixed"] = np.bytes_(b"abc")
        file.attrs["texts"] = ["a", "b"]
        file.attrs["number"] = np.float32(2.5)
        file.attrs["list"] = np.arange(6, dtype="u1").reshape(2, 3)
        file.attrs["one"] = np.array([5])
        file.attrs["flag"] = True
        file.attrs["record"] = np.array((1, b"x"), [("a", "i4"), ("b", "S1")])
        file.attrs["nothing"] = h5py.Empty("S1")
        file.attrs["none"] = h5py.Empty("f4")
        file.create_dataset("x", data=1).attrs["units"] = "K"

    found, _ = converted(tmp_path, write)
    assert dict(found.attrs) == {
        "text": "böß",
        "fixed": "abc",
        "texts": ["a", "b"],
        "number": 2.5,
        "list": [[0, 1, 2], [3, 4, 5]],
        "one": [5],
        "flag": True,
        "record": {"a": 1, "b": "x"},
        "nothing": "",
        "none": None,
    }
    assert dict(found["x"].attrs) == {"units": "K"}


def with_scales(file: h5py.File) -> None:
    """Scales of both kinds, labels, and an axis without a name."""
    data = file.create_dataset("g/data", data=np.zeros((2, 3, 4)))
    file["x"], file["y"] = np.arange(2.0), np.arange(3)
    file["x"].make_scale("anything")
    file["y"].make_scale()
    data.dims[0].attach_scale(file["x"])
    data.dims[1].attach_scale(file["y"])
    file["labelled"] = np.zeros((2, 3))
    file["labelled"].dims[0].label = "time"
    file["plain"] = np.zeros(3)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_scales_and_labels_are_dimension_names_and_their_books_are_left(tmp_path: Path, zarr_format: int) -> None:
    found, _ = converted(tmp_path, with_scales, zarr_format=zarr_format)
    expected = {"g/data": ["x", "y", None], "x": ["x"], "y": ["y"], "labelled": ["time", None], "plain": None}
    for path, names in expected.items():
        if zarr_format == 3:
            assert found[path].metadata.dimension_names == (None if names is None else tuple(names))
            assert dict(found[path].attrs) == {}
        else:
            assert dict(found[path].attrs) == ({} if names is None else {"_ARRAY_DIMENSIONS": names})


# ---- what Zarr has no form for


def refused(file: h5py.File) -> None:
    """One of everything that is refused, and one good array."""
    file["good"] = np.arange(3)
    file["references"] = np.array([file["good"].ref], h5py.ref_dtype)
    file.create_dataset("opaque", data=np.zeros(2, "V4"))
    file.create_dataset("ragged", (2,), h5py.vlen_dtype("i4"))
    file.create_dataset("nested", (2,), np.dtype([("a", h5py.string_dtype())]))
    file.create_dataset("arrays", (2,), np.dtype([("a", "f4", (3,))]))
    file["dangling"] = h5py.SoftLink("/nowhere")
    file["outside"] = h5py.ExternalLink("other.h5", "/x")
    file["g/loop"] = file["g"] if "g" in file else file.create_group("g")
    file["g/back"] = h5py.SoftLink("/")
    file.create_dataset("external", (4,), "u1", external=[("raw.bin", 0, 4)])
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("virtual", layout)
    file["good"].attrs["reference"] = file["good"].ref
    file.attrs["complex"] = 1j
    file.attrs["binary"] = np.bytes_(b"\xff\xfe")


REFUSED = {
    *("references", "opaque", "ragged", "nested", "arrays", "dangling", "outside", "g/loop", "g/back", "external"),
    *("virtual", ("good", "reference"), ("", "complex"), ("", "binary")),
}


def names(report: Report) -> set[Any]:
    return {each.path if each.attribute is None else (each.path, each.attribute) for each in report.skipped}


def test_what_has_no_form_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"(?s)skip_unsupported.*and 4 more"):
        converted(tmp_path, refused)
    assert not (tmp_path / "a.zarr").exists()


def test_what_has_no_form_is_left_out_where_that_is_asked_for_and_reported(tmp_path: Path) -> None:
    found, report = converted(tmp_path, refused, skip_unsupported=True)
    assert names(report) == REFUSED
    assert all(problem.reason for problem in report.skipped)
    assert sorted(path for path, _ in found.members(max_depth=None)) == ["g", "good"]
    assert dict(found.attrs) == dict(found["good"].attrs) == {}


def test_nothing_outside_of_the_file_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(3)
        other["g/y"] = 1
    (tmp_path / "raw.bin").write_bytes(b"secr")

    def write(file: h5py.File) -> None:
        refused(file)
        file["through"] = h5py.ExternalLink("other.h5", "/g")
        file["soft"] = h5py.SoftLink("/through/y")  # a soft link whose way leads out
        file["softer"] = h5py.SoftLink("soft")

    found, report = converted(tmp_path, write, skip_unsupported=True)
    assert names(report) == REFUSED | {"through", "soft", "softer"}
    assert sorted(path for path, _ in found.members(max_depth=None)) == ["g", "good"]


def test_several_links_to_one_array_are_several_arrays_and_a_group_is_entered_once(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["a/x"] = np.arange(3)
        file["b"] = h5py.SoftLink("/a/x")
        file["c"] = file["a/x"]

    found, _ = converted(tmp_path, write)
    for path in ("a/x", "b", "c"):
        assert found[path][...].tolist() == [0, 1, 2]


def test_groups_that_are_linked_crosswise_do_not_multiply(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        for i in range(40):  # each group leads twice to the next: 2**40 ways
            inner = file.create_group(f"g{i}")
            inner["a"] = inner["b"] = h5py.SoftLink(f"/g{i + 1}")

    _, report = converted(tmp_path, write, skip_unsupported=True)
    assert report.groups == 41


def test_views_of_the_file_itself_are_read(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["x"] = np.arange(6)
        layout = h5py.VirtualLayout((3,), "i8")
        layout[:] = h5py.VirtualSource(file["x"])[::2]
        file.create_virtual_dataset("view", layout)

    found, _ = converted(tmp_path, write)
    assert found["view"][...].tolist() == [0, 2, 4]


@pytest.mark.parametrize("name", ["..", "zarr.json", "a\\b", ".gz-x"])
def test_names_that_no_store_may_hold_are_refused(tmp_path: Path, name: str) -> None:
    _, report = converted(tmp_path, lambda file: file.create_dataset(name, data=1), skip_unsupported=True)
    assert [problem.path for problem in report.skipped] == [name]
    assert report.arrays == 0


def test_text_that_is_none_is_an_error_and_nothing_is_there(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file.create_dataset("x", (1,), h5py.string_dtype())[0] = b"\xff"

    with pytest.raises(EncodeError, match="UTF-8"):
        converted(tmp_path, write)
    with pytest.raises(FileNotFoundError):
        gpuzarr.open(tmp_path / "a.zarr", mode="r")


def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path: Path) -> None:
    values = np.arange(1000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        place = file.create_dataset("x", data=values, chunks=(1000,), fletcher32=True).id.get_chunk_info(0)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[place.byte_offset + 100] ^= 1
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(CorruptChunkError, match="/x in"):
        gpuzarr.convert(tmp_path / "a.h5", tmp_path / "a.zarr")


def test_named_types_are_noted_and_a_null_data_set_is_an_empty_array(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["type"] = np.dtype("i4")
        file["null"] = h5py.Empty("f4")
        file["null"].attrs["a"] = 1

    found, report = converted(tmp_path, write)
    assert {note.path for note in report.notes} == {"type", "null"}
    assert (found["null"].shape, found["null"].dtype, dict(found["null"].attrs)) == ((0,), "f4", {"a": 1})


def test_open_files_groups_and_data_sets_are_sources(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/x"] = np.arange(3)
        gpuzarr.convert(file, tmp_path / "1.zarr")
        gpuzarr.convert(file["g"], tmp_path / "2.zarr")
        gpuzarr.convert(file["g/x"], tmp_path / "3.zarr")
        gpuzarr.convert(file, tmp_path / "4.zarr", source_path="g/x")
        assert file["g/x"][1] == 1  # still open
        with pytest.raises(ConversionError, match="no_such"):
            gpuzarr.convert(file, tmp_path / "5.zarr", source_path="no_such")
    found = [gpuzarr.open(tmp_path / f"{i}.zarr", mode="r") for i in (1, 2, 3, 4)]
    arrays = [found[0]["g/x"], found[1]["x"], found[2], found[3]]
    assert all(array[...].tolist() == [0, 1, 2] for array in arrays)


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        chosen = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        chosen.set_chunk((10,))
        chosen.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1,))  # Blosc's number
        space = h5py.h5s.create_simple((10,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, space, chosen)

    if h5py.h5z.filter_avail(32001):
        pytest.skip("the filter is installed")
    with pytest.raises(ConversionError, match="32001"):
        converted(tmp_path, write)


# ---- NetCDF


def dataset() -> Any:
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(5)
    temperature = rng.random((3, 4, 5)).astype("f4")
    temperature[0, 0, 0] = np.nan
    found = xarray.Dataset(
        {
            "temperature": (("time", "y", "x"), temperature, {"units": "K", "valid_range": [0.0, 1.0]}),
            "count": (("y",), np.arange(4, dtype="i4"), {"long_name": "böß"}),
            "height": (("y", "x"), rng.random((4, 5))),
        },
        coords={"time": np.array(["2001-01-01", "2001-01-02", "2001-01-05"], "M8[ns]"), "x": np.arange(5.0)},
        attrs={"title": "a title", "number": 3},
    )
    found["temperature"].encoding["_FillValue"] = np.float32(-99)
    found["count"].encoding["_FillValue"] = np.int32(3)
    return found


@pytest.mark.judge
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_xarray_sees_the_same_in_the_netcdf_file_and_in_zarr(tmp_path: Path, engine: str, zarr_format: int) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    pytest.importorskip(engine)
    dataset().to_netcdf(tmp_path / "a.nc", engine=engine)
    report = gpuzarr.convert(tmp_path / "a.nc", tmp_path / "a.zarr", zarr_format=zarr_format, verify=True)
    assert report.skipped == []
    assert report.arrays == 5  # the dimension y, which has no coordinate, is no array
    with (
        xarray.open_dataset(tmp_path / "a.nc", engine=engine) as expected,
        xarray.open_zarr(tmp_path / "a.zarr", consolidated=False, zarr_format=zarr_format, chunks=None) as found,
    ):
        xarray.testing.assert_identical(found.load(), expected.load())


def test_netcdf_groups_and_hidden_names(tmp_path: Path) -> None:
    h5netcdf = pytest.importorskip("h5netcdf")
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"x": 3, "y": 2}
        file.create_variable("x", ("x",), "f4")[...] = np.arange(3)
        inner = file.create_group("g")
        inner.create_variable("v", ("y", "x"), "i4")[...] = np.arange(6).reshape(2, 3)
        inner.create_variable("y", ("x",), "i4")  # called as a dimension of the file, but none
    gpuzarr.convert(tmp_path / "a.nc", tmp_path / "a.zarr")
    found = gpuzarr.open_group(tmp_path / "a.zarr", mode="r")
    assert sorted(path for path, _ in found.members(max_depth=None)) == ["g", "g/v", "g/y", "x"]
    assert found["g/v"].metadata.dimension_names == ("y", "x")
    assert dict(found.attrs) == dict(found["x"].attrs) == {}


def test_coordinates_of_several_dimensions_find_their_names_by_number(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.attrs["_NCProperties"] = "version=2"
        for number, name in enumerate(("x", "y")):
            file[name] = np.arange(2.0) if name == "x" else np.zeros((3, 2))
            file[name].make_scale(name)
            file[name].attrs["_Netcdf4Dimid"] = np.int32(number)
        file["y"].attrs["_Netcdf4Coordinates"] = np.array([1, 0], "i4")
    gpuzarr.convert(tmp_path / "a.nc", tmp_path / "a.zarr")
    assert gpuzarr.open_array(tmp_path / "a.zarr", path="y", mode="r").metadata.dimension_names == ("y", "x")


def test_other_files_are_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(file: h5py.File) -> None:
        file["out"] = h5py.ExternalLink("fifo.h5", "/g")
        file["soft"] = h5py.SoftLink("/out/y")
        file["circle"] = h5py.SoftLink("/circle")

    os.mkfifo(tmp_path / "fifo.h5")  # who opens it waits for ever
    _, report = converted(tmp_path, write, skip_unsupported=True)
    assert names(report) == {"out", "soft", "circle"}


def test_attributes_of_groups_above_what_is_included_are_not_lost_in_silence(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file["g/x"] = 1
        file["h/x"] = 1
        file.attrs["complex"] = file["h"].attrs["complex"] = 1j

    with pytest.raises(ConversionError, match="/, attribute 'complex'"):
        converted(tmp_path, write, include="g")
    _, report = converted(tmp_path, write, include="g", skip_unsupported=True)
    assert names(report) == {("", "complex")}


def test_a_missing_value_that_has_no_place_is_named(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        file.create_dataset("x", (2,), h5py.string_dtype()).attrs["_FillValue"] = "none"

    with pytest.raises(ConversionError, match="x, attribute '_FillValue'"):
        converted(tmp_path, write)
    found, _ = converted(tmp_path, write, zarr_format=2)
    assert found["x"].fill_value == "none"


@pytest.mark.judge
def test_the_guide_from_zarr_to_netcdf(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    from gpuzarr.xarray import GpuzarrBackendEntrypoint

    dataset().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    gpuzarr.convert(tmp_path / "a.nc", tmp_path / "data.zarr")
    with xarray.open_dataset(tmp_path / "data.zarr", engine=GpuzarrBackendEntrypoint) as ds:
        ds.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    with (
        xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as expected,
        xarray.open_dataset(tmp_path / "data.nc", engine="h5netcdf") as found,
    ):
        xarray.testing.assert_identical(found.load(), expected.load())


@pytest.mark.parametrize("name", [b"\xff", b"a"])
def test_text_of_attributes_that_is_none_is_named(tmp_path: Path, name: bytes) -> None:
    def write(file: h5py.File) -> None:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        kind = h5py.h5t.TypeID.copy(h5py.h5t.C_S1)
        kind.set_size(2)
        kind.set_cset(h5py.h5t.CSET_UTF8)
        attribute = h5py.h5a.create(file.id, name, kind, space)
        attribute.write(np.array(b"\xff" if name == b"a" else b"b", "S2"), kind)

    found, report = converted(tmp_path, write, skip_unsupported=True)
    assert dict(found.attrs) == {}
    assert len(report.skipped) == 1
    assert report.skipped[0].attribute is not None


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("dtype", "missing"),
    [
        *[("i4", np.float64("inf")), ("i4", 1.5), ("u1", -1), ("i1", np.int64(300)), ("i8", "5"), ("?", 7.0)],
        *[("f4", np.complex128(1 + 2j)), ("i2", np.complex64(1)), ("f8", b"1.5"), ("S3", 5), ("f4", [1.0, 2.0])],
        *[("f4", np.empty(0, "f4")), ("f4", h5py.Empty("f4")), ("f4", np.array([b"x"], object))],
    ],
)
def test_a_value_for_missing_elements_that_is_none_is_reported(
    tmp_path: Path, dtype: str, missing: Any, zarr_format: int
) -> None:
    def write(file: h5py.File) -> None:
        text = h5py.string_dtype() if isinstance(missing, np.ndarray) and missing.dtype == object else None
        file.create_dataset("x", data=np.ones(3, dtype)).attrs.create("_FillValue", missing, dtype=text)

    with pytest.raises(ConversionError, match="x, attribute '_FillValue': "):
        converted(tmp_path, write, zarr_format=zarr_format)
    (tmp_path / "a.h5").unlink()
    found, report = converted(tmp_path, write, zarr_format=zarr_format, skip_unsupported=True)
    assert [(problem.path, problem.attribute) for problem in report.skipped] == [("x", "_FillValue")]
    np.testing.assert_array_equal(found["x"][...], np.ones(3, dtype))
    assert dict(found["x"].attrs) == {}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_complex_value_for_missing_elements_is_kept(tmp_path: Path, zarr_format: int) -> None:
    found, _ = converted(
        tmp_path,
        lambda file: file.create_dataset("x", data=np.ones(3, "c16")).attrs.create("_FillValue", 1 + 2j),
        zarr_format=zarr_format,
    )
    if zarr_format == 2:
        assert found["x"].fill_value == 1 + 2j
    else:
        assert fill_from_json(found["x"].attrs["_FillValue"], np.dtype("c16"), "x") == 1 + 2j
