"""xarray by gpuzarr: what goes into a store comes back, from either library's files, to the host and to a device."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import gpuzarr
from gpuzarr.errors import ChunkAlignmentError, ContainsNodeError, DimensionNamesError, GroupNotFoundError, StoreError
from gpuzarr.grid import RegularGrid
from gpuzarr.missing import fill_from_json, fill_to_json
from gpuzarr.storage import CountingStore, MemoryStore

xr = pytest.importorskip("xarray")
pytest.importorskip("dask.array")
import pandas as pd  # noqa: E402

from gpuzarr.xarray import GpuzarrBackendEntrypoint, backend, open_zarr, to_zarr  # noqa: E402
from gpuzarr.xarray.chunking import check_pieces  # noqa: E402
from tests.weather import PACKED, weather  # noqa: E402

ROOT = Path(__file__).parents[1]
FORMATS = [2, 3]
OURS = GpuzarrBackendEntrypoint


def stored(store: dict[str, Any]) -> dict[str, Any]:
    """What is in a store: documents as JSON says them, chunks as bytes."""
    documents = (".zgroup", ".zarray", ".zattrs", ".zmetadata", "zarr.json")
    found = {k: json.loads(bytes(v)) if k.rpartition("/")[2] in documents else bytes(v) for k, v in store.items()}
    for document in found.get(".zmetadata", {}).get("metadata", {}).values():
        document.pop("consolidated_metadata", None)  # zarr-python's, in groups; nobody reads it
    return found


@pytest.fixture
def counting() -> CountingStore:
    """A dataset, consolidated, in a store that counts."""
    store = CountingStore(MemoryStore())
    to_zarr(weather(), store, encoding=PACKED)
    store.reset()
    return store


# ---- there and back


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("chunks", [None, {"time": 2}])
def test_a_dataset_comes_back_as_it_was(tmp_path: Path, zarr_format: int, chunks: Any) -> None:
    expected = weather()
    written = expected if chunks is None else expected.chunk(chunks).assign(station=expected.station)
    to_zarr(written, tmp_path / "w.zarr", encoding=PACKED, zarr_format=zarr_format)
    with xr.open_dataset(tmp_path / "w.zarr", engine=OURS, decode_timedelta=True) as found:
        assert all(not v._in_memory for name, v in found.variables.items() if name not in found.indexes)
        xr.testing.assert_identical(found.load(), expected.assign_attrs(levels=[1, 2]))
    with open_zarr(tmp_path / "w.zarr", chunks={}) as lazy:
        assert lazy.temperature.chunks == (((2, 2) if chunks else (4,)), (3,))
    assert gpuzarr.open_group(tmp_path / "w.zarr").metadata.zarr_format == zarr_format


@pytest.mark.judge
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # zarr-python's: formats without a spec
def test_both_libraries_write_the_same_and_read_each_other(tmp_path: Path, zarr_format: int) -> None:
    pytest.importorskip("zarr")
    expected, more = weather(), weather(2, "2000-01-05")
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    expected.to_zarr(theirs, encoding=PACKED, zarr_format=zarr_format)
    to_zarr(expected, ours, encoding=PACKED, zarr_format=zarr_format)
    assert files(ours) == files(theirs)
    more.to_zarr(theirs, append_dim="time")
    to_zarr(more, ours, append_dim="time")
    assert files(ours) == files(theirs)
    part = xr.zeros_like(expected[["temperature"]].isel(time=[1, 2])).drop_vars("height")
    part.to_zarr(theirs, region="auto")
    to_zarr(part, ours, region="auto")
    assert files(ours) == files(theirs)
    for place in (theirs, ours):
        for engine in ("zarr", OURS):
            with xr.open_dataset(place, engine=engine) as found, xr.open_dataset(theirs, engine="zarr") as same:
                xr.testing.assert_identical(found.load(), same.load())
                assert found.sizes == {"time": 6, "lat": 3}


@pytest.mark.judge
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_what_one_opens_the_other_writes(tmp_path: Path, zarr_format: int) -> None:
    """Encodings that were read from a store hold codecs, which the other library must take."""
    pytest.importorskip("zarr")
    encoding = PACKED if zarr_format == 2 else {**PACKED, "temperature": {"chunks": (1, 3), "shards": (2, 3)}}
    dataset = weather() if zarr_format == 3 else weather().drop_vars("station")  # which xarray cannot write again
    to_zarr(dataset, tmp_path / "a", encoding=encoding, zarr_format=zarr_format)
    for engine, name in ((OURS, "ours"), ("zarr", "theirs")):
        with xr.open_dataset(tmp_path / "a", engine=engine) as found:
            found.to_zarr(tmp_path / f"{name}-theirs", zarr_format=zarr_format)
            to_zarr(found, tmp_path / f"{name}-ours", zarr_format=zarr_format)
    first, *others = (files(tmp_path / f"{r}-{w}") for r in ("ours", "theirs") for w in ("ours", "theirs"))
    assert [found == first for found in others] == [True] * 3
    assert first.keys() == files(tmp_path / "a").keys()


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_strings_stay_what_they_are_when_they_are_written_again(zarr_format: int) -> None:
    first, second = MemoryStore(), MemoryStore()
    to_zarr(weather(), first, zarr_format=zarr_format)
    to_zarr(open_zarr(first), second, zarr_format=zarr_format)
    metadata = [gpuzarr.open_array(store, path="station").metadata for store in (first, second)]
    assert metadata[0] == metadata[1]
    assert list(open_zarr(second).station.values) == ["a", "bb", "çcc"]


@pytest.mark.judge
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_groups_go_there_and_back(tmp_path: Path, zarr_format: int) -> None:
    pytest.importorskip("zarr")
    tree = xr.DataTree.from_dict({"/": weather()[["lat"]], "/a/b": weather().chunk(time=2)[["count"]], "/c": None})
    tree.to_zarr(tmp_path / "theirs", zarr_format=zarr_format)
    to_zarr(tree, tmp_path / "ours", zarr_format=zarr_format)
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    for engine in ("zarr", OURS):
        with xr.open_datatree(tmp_path / "ours", engine=engine) as found:
            xr.testing.assert_identical(found.load(), tree.load())
    with xr.open_datatree(tmp_path / "ours", engine=OURS, group="a", chunks={}) as below:
        assert [node.path for node in below.subtree] == ["/", "/b"]
        assert below["b/count"].chunks == ((2, 2), (3,))
    assert sorted(xr.open_groups(tmp_path / "ours", engine=OURS)) == ["/", "/a", "/a/b", "/c"]


def files(place: Any) -> dict[str, Any]:
    """`stored` of a directory."""
    found = [p for p in Path(place).rglob("*") if p.is_file()]
    return stored({p.relative_to(place).as_posix(): p.read_bytes() for p in found})


def test_zarr_python_is_not_needed(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["zarr"] = None  # as if it were not installed: importing it raises
import xarray as xr
import tests.weather as t
from gpuzarr.xarray import GpuzarrBackendEntrypoint, open_zarr, to_zarr
for form in (2, 3):
    place = {str(tmp_path)!r} + f"/{{form}}.zarr"
    ds = t.weather().chunk(time=2).assign(station=t.weather().station)
    to_zarr(ds, place, encoding=t.PACKED, zarr_format=form)
    to_zarr(t.weather(2, "2000-01-05"), place, append_dim="time")
    to_zarr((t.weather()[["count"]] * 0).isel(time=[1, 2]).drop_vars("height"), place, region="auto")
    found = open_zarr(place, chunks={{}})
    assert found.sizes == {{"time": 6, "lat": 3}} and int(found["count"].sel(time="2000-01-02").sum()) == 0
    to_zarr(xr.DataTree.from_dict({{"/a": ds}}), place + "/tree.zarr", zarr_format=form)
    xr.open_datatree(place + "/tree.zarr", engine=GpuzarrBackendEntrypoint)["a/wet"].load()
assert GpuzarrBackendEntrypoint().guess_can_open("x.zarr/") and sys.modules["zarr"] is None
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [None, "x", "count"])
def test_an_array_keeps_its_name(name: str | None) -> None:
    array = xr.DataArray(np.arange(3), coords={"x": [1, 2, 3]}, dims="x", name=name)
    store: dict[str, Any] = {}
    to_zarr(array, store)
    xr.testing.assert_identical(xr.open_dataarray(store, engine=OURS), array)


def test_an_array_of_another_hand_needs_names_for_its_axes() -> None:
    for zarr_format, attributes in (
        (3, {}),
        (2, {}),
        (2, {"_ARRAY_DIMENSIONS": "xy"}),
        (2, {"_ARRAY_DIMENSIONS": ["x"]}),
    ):
        root = gpuzarr.open_group({}, mode="w", zarr_format=zarr_format)
        root.create_array("a", shape=(2, 2), dtype="i4", attributes=attributes)
        with pytest.raises(DimensionNamesError, match="no names for its axes") as raised:
            open_zarr(root.store, consolidated=False)
        assert isinstance(raised.value, KeyError)


def test_names_of_netcdfs_c_library_are_found() -> None:
    store: dict[str, Any] = {}
    root = gpuzarr.open_group(store, mode="w", zarr_format=2)
    root.create_array("a", data=np.arange(6).reshape(2, 3), attributes={"_nczarr_attr": {}, "units": "m"})
    document = json.loads(bytes(store["a/.zarray"]))
    store["a/.zarray"] = json.dumps({**document, "_NCZARR_ARRAY": {"dimrefs": ["/y", "/group/x"]}}).encode()
    found = open_zarr(store, consolidated=False)
    assert (found.a.dims, found.a.attrs) == (("y", "x"), {"units": "m"})
    for hostile in ([], {"dimrefs": 3}, {"dimrefs": ["/y"]}):
        store["a/.zarray"] = json.dumps({**document, "_NCZARR_ARRAY": hostile}).encode()
        with pytest.raises(DimensionNamesError):
            open_zarr(store, consolidated=False)


# ---- on a device


def test_data_are_on_the_device_and_indexes_on_the_host(device: str, counting: CountingStore) -> None:
    found = open_zarr(counting, device=device)
    kind = type(gpuzarr.devices.get_device(device).empty((1,), np.dtype("f4")))
    for name in ("temperature", "wet", "packed", "count", "wave", "version"):
        assert isinstance(found[name].data, kind), name
    for name in ("time", "lat", "height", "station", "code", "lag"):
        assert isinstance(found[name].load().data, np.ndarray), name
    assert all(isinstance(index.values, np.ndarray) for index in found.indexes.values())
    assert isinstance(found.sel(time="2000-01-02").temperature.data, kind)
    assert isinstance((found.temperature - found.temperature.mean("time")).data, kind)


def test_a_mean_stays_on_the_device(counting: CountingStore) -> None:
    mean = xr.open_dataset(counting, engine=OURS, device="emulated")["count"].mean().data
    assert type(mean).__module__ == "gpuzarr.devices.emulated_array"
    assert mean.get() == xr.open_dataset(counting, engine=OURS)["count"].mean()


def test_with_a_device_around_it_data_are_there(counting: CountingStore) -> None:
    with gpuzarr.device("emulated"):
        found = open_zarr(counting)
    assert found.temperature.data.get().shape == (4, 3)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (np.array([1, 2, -1], "i2"), {"_FillValue": -1}),
        (np.array([1, 2, -1], "i8"), {"missing_value": 2}),
        (np.array([1, 2, -1], "i4"), {"_FillValue": -1, "missing_value": [-1, 2]}),
        (np.array([1, 2, 250], "u1"), {"scale_factor": 0.5}),
        (np.array([1, 2, 250], "u1"), {"add_offset": 10, "scale_factor": 2}),
        (np.array([1, 2, -1], "i2"), {"add_offset": 0.1, "scale_factor": 0.3, "_FillValue": -1}),
        (np.array([1, 2, -1], "i1"), {"_Unsigned": "true", "_FillValue": -1}),
        (np.array([1, 2, 255], "u1"), {"_Unsigned": "false", "_FillValue": 1}),
        (np.array([1, 2, -1], "i1"), {"_Unsigned": "true", "scale_factor": 0.5}),
        (np.array([0, 1, 1], "i1"), {"dtype": "bool"}),
        (np.array([1, 2.5, 9e9], "f4"), {"_FillValue": 2.5}),
        (np.array([1, 2.5, 9e9], "f8"), {"scale_factor": 3.0}),
        (np.array([1, 2, 3], ">f4"), {}),
        (np.array([1, 2j, 3], "c8"), {"missing_value": 3}),
    ],
    ids=str,
)
def test_masks_and_scales_are_those_of_the_host(values: Any, attributes: Any, zarr_format: int) -> None:
    root = gpuzarr.open_group(MemoryStore(), mode="w", zarr_format=zarr_format)
    how: dict[str, Any] = {"dimension_names": ["x"]} if zarr_format == 3 else {}
    named = {"_ARRAY_DIMENSIONS": ["x"]} if zarr_format == 2 else {}
    fill = attributes.get("_FillValue")
    if zarr_format == 3 and fill is not None:
        named["_FillValue"] = fill_to_json(fill, values.dtype, "a")
    rest = {key: value for key, value in attributes.items() if key != "_FillValue"}
    array = root.create_array("a", shape=3, dtype=values.dtype, fill_value=fill, attributes={**rest, **named}, **how)
    array[:] = values
    for decode in (True, False):
        arguments: dict[str, Any] = {"consolidated": False, "mask_and_scale": decode}
        with pytest.warns() if decode and "missing_value" in attributes and fill else no_warning():
            host = open_zarr(root.store, **arguments)
        with pytest.warns() if decode and "missing_value" in attributes and fill else no_warning():
            there = open_zarr(root.store, device="emulated", **arguments)
        assert (there.a.dtype, there.a.attrs, repr(there.a.encoding)) == (
            host.a.dtype,
            host.a.attrs,
            repr(host.a.encoding),
        )
        np.testing.assert_array_equal(there.a.data.get(), host.a.values)
        assert there.a.data.dtype == host.a.values.dtype
        np.testing.assert_array_equal(there.a[::-2].data.get(), host.a[::-2].values)


def no_warning() -> Any:
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_arrays_of_a_device_are_written(zarr_format: int, counting: CountingStore) -> None:
    there = open_zarr(counting, device="emulated").load()
    plain, packed = MemoryStore(), MemoryStore()
    to_zarr(there.drop_encoding(), plain, zarr_format=zarr_format)
    to_zarr(there.drop_encoding(), packed, zarr_format=zarr_format, encoding=PACKED)
    expected = open_zarr(counting).load()
    xr.testing.assert_identical(open_zarr(plain).load(), expected)
    xr.testing.assert_identical(open_zarr(packed).load(), expected)


@pytest.mark.filterwarnings("ignore:The `numpy.copyto` function is not implemented by Dask")
@pytest.mark.parametrize("chunks", [{}, {"time": 2}, "auto"])
def test_dask_has_blocks_on_the_device(counting: CountingStore, chunks: Any) -> None:
    found, host = open_zarr(counting, device="emulated", chunks=chunks), open_zarr(counting).load()
    kind = type(gpuzarr.devices.get_device("emulated").empty((1,), np.dtype("f4")))
    assert isinstance(found.temperature.data._meta, kind)
    assert found.temperature.chunks == (((2, 2) if chunks == {"time": 2} else (4,)), (3,))
    for name in ("temperature", "packed", "wet", "wave"):
        computed = found[name].data.compute()
        assert isinstance(computed, kind)
        np.testing.assert_array_equal(computed.get(), host[name].values)
    total = (found.temperature + 1).sum().compute()
    np.testing.assert_allclose(total.data.get(), float((host.temperature + 1).sum()))
    assert isinstance(found.station.data, np.ndarray)
    again = MemoryStore()
    to_zarr(found[["temperature", "count"]].drop_encoding(), again)
    xr.testing.assert_identical(open_zarr(again).load(), host[["temperature", "count"]])


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_dasks_blocks_on_the_device_are_coded_on_the_host(zarr_format: int) -> None:
    store, again = MemoryStore(), MemoryStore()
    scaled = {"dtype": ">i2", "scale_factor": 0.5, "_FillValue": -1, "chunks": (2,)}
    values = np.array([1.5, np.nan, 2, 0, 7])
    to_zarr(
        xr.Dataset({"v": ("n", values), "u": ("n", values)}), store, encoding={"v": scaled}, zarr_format=zarr_format
    )
    found = open_zarr(store, device="emulated", chunks={})
    to_zarr(found, again)
    to_zarr(found, again, region={"n": slice(0, 5)}, mode="a")
    assert gpuzarr.open_array(again, path="v")[:].tolist() == [3, -1, 4, 0, 14]
    np.testing.assert_array_equal(open_zarr(again).u.values, values)


def test_tasks_in_other_processes_cannot_write_to_memory_here() -> None:
    import dask

    with dask.config.set(scheduler="processes"), pytest.raises((StoreError, TypeError), match="held by this process"):
        to_zarr(weather()[["temperature"]].chunk(time=2), MemoryStore())


# ---- requests


def test_opening_costs_one_request_and_reading_asks_for_no_metadata(counting: CountingStore) -> None:
    found = open_zarr(counting, mode="r+")  # a store that is opened for reading counts for itself
    assert sorted(key for _, key in counting.keys) == ["lat/c/0", "time/c/0", "zarr.json"]
    counting.reset()
    found.variables["temperature"].load()
    found.variables["version"].load()
    assert sorted(key for _, key in counting.keys) == ["temperature/c/0/0", "version/c"]


def test_asynchronous_loading_is_ours(counting: CountingStore) -> None:
    found = asyncio.run(open_zarr(counting).load_async())
    xr.testing.assert_identical(found, open_zarr(counting).load())


def test_lazy_datasets_can_be_pickled(tmp_path: Path) -> None:
    to_zarr(weather(), tmp_path / "w")
    found = pickle.loads(pickle.dumps(open_zarr(tmp_path / "w")))
    assert not found.temperature.variable._in_memory
    xr.testing.assert_identical(found.load(), open_zarr(tmp_path / "w").load())


def test_dask_knows_two_opens_of_a_store_as_one(tmp_path: Path) -> None:
    to_zarr(weather(), tmp_path / "w")
    first, second = (open_zarr(str(tmp_path / "w"), chunks={}) for _ in range(2))
    assert first.temperature.data.name == second.temperature.data.name
    to_zarr(weather(1, "2000-01-05"), tmp_path / "w", append_dim="time")
    assert open_zarr(str(tmp_path / "w"), chunks={}).temperature.data.name != first.temperature.data.name


# ---- the usage guide's workflow


def test_the_guides_workflow_for_labelled_data(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((365, 18, 36)).astype("f4")
    ds = xr.Dataset(
        {"temperature": (["time", "lat", "lon"], values), "precipitation": (["time", "lat", "lon"], values * 2)},
        coords={
            "time": pd.date_range("2024-01-01", periods=365),
            "lat": np.arange(-90, 90, 10.0),
            "lon": np.arange(-180, 180, 10.0),
        },
    )
    store = CountingStore(gpuzarr.storage.LocalStore(tmp_path / "climate.zarr"))
    to_zarr(ds, store, encoding={"temperature": {"chunks": (30, 18, 36)}})
    store.reset()
    loaded = open_zarr(store, mode="r+")
    subset = loaded.sel(time="2024-06", lat=slice(30, 60))
    assert subset["temperature"].shape == (30, 4, 36)
    np.testing.assert_array_equal(subset["temperature"].values, values[152:182, 12:16])
    assert sorted(key for _, key in store.keys if key.startswith("temp")) == [
        "temperature/c/5/0/0",
        "temperature/c/6/0/0",
    ]
    pytest.importorskip("h5netcdf")
    loaded.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "data.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back.load(), ds)


# ---- nothing half done


def test_what_cannot_be_written_is_refused_before_anything_changes() -> None:
    store: dict[str, Any] = {}
    to_zarr(weather(), store)
    before = dict(store)
    more = weather(2, "2000-01-05")
    wrong = {
        "other axes": more.assign(zz=("time", [1, 2]), version=("lat", [1, 2, 3])),
        "other lengths": more.assign(code=("lat", [b"xxxx", b"y", b"z"])),
        "other kinds": more.drop_vars("lag").assign(lag=("time", ["1", "2"])).assign(wave=more.time.values[0]),
        "attributes": more.assign_attrs(bad=object()),
        "an attribute of a variable": more.assign(new=("time", [1, 2], {"bad": object()})),
    }
    for what, dataset in wrong.items():
        with pytest.raises((ValueError, TypeError)):
            to_zarr(dataset, store, append_dim="time")
        assert store == before, what
    for mode, dataset in (("a", weather(2)[["count"]].rename(count="new")), ("a-", more.assign(new=("time", [1, 2])))):
        how: dict[str, Any] = {"region": {"time": slice(1, 3)}} if mode == "a" else {"append_dim": "time"}
        with pytest.raises(ValueError, match="not stored yet"):
            to_zarr(dataset.drop_vars(["lat", "height"]) if mode == "a" else dataset, store, mode=mode, **how)
        assert store == before, mode
    for wrong_one in (weather().chunk(time=3), weather().assign_attrs(bad=object())):
        with pytest.raises((ValueError, TypeError)):
            to_zarr(wrong_one, store, mode="w", encoding={"count": {"chunks": (2, 3)}})
        empty: dict[str, Any] = {}
        with pytest.raises((ValueError, TypeError)):
            to_zarr(wrong_one, empty, encoding={"count": {"chunks": (2, 3)}})
        assert empty == {}
    with pytest.raises(ContainsNodeError):
        to_zarr(weather(), store)
    with pytest.raises(GroupNotFoundError):
        to_zarr(weather(), {}, mode="r+")
    assert store == before


DAY = np.datetime64("2000-01-01", "ns")
FINER = [
    (DAY + np.array([0, 24], "m8[h]"), DAY + np.array([49], "m8[h]")),
    (np.array([0, 24], "m8[h]").astype("m8[ns]"), np.array([49], "m8[h]").astype("m8[ns]")),
    (
        xr.date_range("0001-01-01", periods=2, calendar="noleap", use_cftime=True).values,
        xr.date_range("0001-01-03T01", periods=1, calendar="noleap", use_cftime=True).values,
    ),
]


@pytest.mark.parametrize(("days", "hour"), FINER, ids=["dates", "lengths of time", "other calendars"])
@pytest.mark.filterwarnings("ignore:Times can't be serialized faithfully:UserWarning")
@pytest.mark.filterwarnings("ignore:Timedeltas can't be serialized faithfully:UserWarning")
def test_times_between_the_stored_units_are_not_written_as_others(days: Any, hour: Any) -> None:
    store: dict[str, Any] = {}
    to_zarr(xr.Dataset({"when": ("n", days)}), store)  # in days, as integers
    before = dict(store)
    for how in ({"append_dim": "n"}, {"region": {"n": slice(0, 1)}}):
        for wrong, why in ((hour, "cannot be said exactly"), ([5], "Mismatched dtypes")):
            with pytest.raises(ValueError, match=why):
                to_zarr(xr.Dataset({"when": ("n", wrong)}), store, **how)
            assert store == before
    to_zarr(xr.Dataset({"when": ("n", days)}), store, append_dim="n")
    assert xr.open_dataset(store, engine=OURS).when.values.tolist() == [*days.tolist()] * 2


def test_the_same_units_may_be_said_in_other_words() -> None:
    store: dict[str, Any] = {}
    days, words = DAY + np.array([0, 24], "m8[h]"), {"units": "hours since 1800-1-1 00:00:0.0", "dtype": "f8"}
    to_zarr(xr.Dataset({"when": ("n", days, {}, words)}), store)
    to_zarr(xr.Dataset({"when": ("n", days + np.timedelta64(30, "m"))}), store, append_dim="n")
    assert np.array_equal(xr.open_dataset(store, engine=OURS).when.values[2:], days + np.timedelta64(30, "m"))


TIMES = [
    np.array([3600, 7200, "NaT"], "m8[s]"),
    np.array([3600, 7200, 10], "m8[s]").astype("m8[ns]"),
    np.array(["2000-01-01T12", "1970-01-01", "NaT"], "M8[s]"),
    np.array(7200, "m8[s]"),
]


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("values", TIMES, ids=lambda values: f"{values.dtype}-{values.ndim}")
@pytest.mark.parametrize("pieces", [False, True], ids=["in memory", "dask"])
def test_times_in_a_data_type_of_times_are_stored_as_they_are(zarr_format: int, values: Any, pieces: bool) -> None:
    for unit in ("s", "ns"):
        store, dims, dtype = {}, ("n",) * values.ndim, f"{values.dtype.kind}8[{unit}]"
        dataset = xr.Dataset({"when": (dims, values)})
        dataset = dataset.chunk(n=3) if pieces and dims else dataset
        to_zarr(dataset, store, encoding={"when": {"dtype": dtype}}, zarr_format=zarr_format)
        assert gpuzarr.open_array(store, path="when").dtype == dtype
        found = xr.open_dataset(store, engine=OURS).when
        np.testing.assert_array_equal(found.values, values)
        assert (found.dtype, found.attrs) == (dtype, {})
        again: dict[str, Any] = {}  # as numbers, with CF's units, as xarray's own engine would
        to_zarr(xr.open_dataset(store, engine=OURS), again, zarr_format=zarr_format)
        np.testing.assert_array_equal(xr.open_dataset(again, engine=OURS).when.values, values)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_arrays_of_times_are_appended_to_exactly_or_not_at_all(zarr_format: int) -> None:
    store: dict[str, Any] = {}
    names: dict[str, Any] = {"dimension_names": ("n",)} if zarr_format == 3 else {}
    attributes = {"units": "the watch's"} | ({} if names else {"_ARRAY_DIMENSIONS": ["n"]})
    root = gpuzarr.open_group(store, mode="w", zarr_format=zarr_format)
    root.create_array("when", shape=2, dtype="m8[m]", attributes=attributes, **names)[:] = np.array([60, 1], "m8[m]")
    found = xr.open_dataset(store, engine=OURS, consolidated=False).load()
    to_zarr(found, store, append_dim="n")
    to_zarr(xr.Dataset({"when": ("n", np.array([180], "m8[s]"))}), store, region={"n": slice(1, 2)})
    before = dict(store)
    for wrong in (np.array([30], "m8[s]"), np.array(["2000-01-01"], "M8[s]")):
        with pytest.raises(ValueError, match=r"cannot be said exactly|Mismatched dtypes"):
            to_zarr(xr.Dataset({"when": ("n", wrong)}), store, append_dim="n")
        assert store == before
    expected = np.array([60, 3, 60, 1], "m8[m]")
    np.testing.assert_array_equal(gpuzarr.open_array(store, path="when")[:], expected)


def test_times_that_dask_has_are_not_cut(tmp_path: Path) -> None:
    finer = xr.Dataset({"when": ("n", np.array([1500, 2000], "m8[ms]"))}).chunk(n=1)
    with pytest.raises(ValueError, match="cannot be said exactly in timedelta64"):
        to_zarr(finer, tmp_path / "a.zarr", encoding={"when": {"dtype": "m8[s]"}})


@pytest.mark.filterwarnings("ignore:variable .* has data in the form of a dask array with dtype=object")
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_strings_in_pieces_that_could_be_written_can_be_appended(zarr_format: int) -> None:
    store: dict[str, Any] = {}
    words = xr.Dataset({"word": ("n", np.array(["a", "", "\u00e9t\u00e9"], object))}).chunk(n=1)
    to_zarr(words, store, zarr_format=zarr_format)
    to_zarr(words, store, append_dim="n")
    to_zarr(words, store, region={"n": slice(1, 4)}, mode="a")
    assert open_zarr(store).word.values.tolist() == ["a", "a", "", "\u00e9t\u00e9", "", "\u00e9t\u00e9"]


def test_a_region_may_be_counted_from_the_end() -> None:
    store: dict[str, Any] = {}
    to_zarr(xr.Dataset({"v": ("n", np.zeros(5))}), store, encoding={"v": {"chunks": (1,)}})
    for ones in (xr.Dataset({"v": ("n", np.ones(2))}), xr.Dataset({"v": ("n", np.full(2, 2.0))}).chunk(n=1)):
        to_zarr(ones, store, region={"n": slice(-3, -1)})
        assert gpuzarr.open_array(store, path="v")[:].tolist() == [0, 0, *ones.v.values, 0]


def test_nothing_is_appended_and_written_into_a_region() -> None:
    store: dict[str, Any] = {}
    dates = xr.date_range("0001-01-01", periods=4, calendar="noleap", use_cftime=True).values
    whole = xr.Dataset({"when": ("n", dates), "x": ("n", np.arange(4))})
    to_zarr(whole, store, encoding={"x": {"chunks": (4,)}})
    before = dict(store)
    to_zarr(whole.isel(n=slice(0)), store, append_dim="n", consolidated=False)
    to_zarr(whole.isel(n=slice(0)).chunk(), store, region={"n": slice(1, 1)})
    assert store == before


def test_a_slash_in_a_name_would_lose_the_variable() -> None:
    store: dict[str, Any] = {}
    with pytest.raises(ValueError, match="slash"):
        to_zarr(xr.Dataset({"a/b": ("n", [1])}), store)
    assert store == {}


def test_readers_see_an_append_when_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    to_zarr(weather(), store)

    def fail(*_: Any) -> None:
        raise StoreError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(sys.modules["gpuzarr.array"], "put", fail)
        with pytest.raises(StoreError):
            to_zarr(weather(2, "2000-01-05"), store, append_dim="time")
    xr.testing.assert_identical(open_zarr(store).load(), open_zarr_of(weather()))


def open_zarr_of(dataset: Any) -> Any:
    store = MemoryStore()
    to_zarr(dataset, store)
    return open_zarr(store).load()


def test_a_dataset_does_not_replace_what_it_is_read_from(tmp_path: Path) -> None:
    place = tmp_path / "w.zarr"
    to_zarr(weather()[["count"]], place)
    for device in ("cpu", "emulated"):
        lazily = open_zarr(place, chunks={}, device=device)
        for store, group in ((place, None), (str(place), None), (place, "count")):
            with pytest.raises(ValueError, match="cannot replace"):
                to_zarr((lazily + 1).drop_encoding(), store, mode="w", group=group)
    to_zarr(open_zarr(place, chunks={}) + 1, tmp_path / "other.zarr", mode="w")
    to_zarr(open_zarr(place) + 1, place, mode="w")  # is in memory before anything is deleted
    expected = (weather()["count"] + 1).values
    assert all((open_zarr(found)["count"].values == expected).all() for found in (place, tmp_path / "other.zarr"))


@given(data=st.data())
def test_pieces_that_share_a_chunk_are_found(data: st.DataObject) -> None:
    unit, start, lengths = (
        data.draw(st.integers(1, 6)),
        data.draw(st.integers(0, 9)),
        data.draw(st.lists(st.integers(0, 7), min_size=1, max_size=6)),
    )
    end = start + sum(lengths)
    grid = RegularGrid((end + data.draw(st.integers(0, 9)),), (unit,))
    whole = data.draw(st.booleans())
    edges = np.cumsum([start, *lengths])
    touched = [{i // unit for i in range(low, high)} for low, high in pairwise(edges)]
    shared = sum(map(len, touched)) != len(set().union(*touched))
    covered = all(
        start <= i < end
        for chunk in set().union(*touched)
        for i in range(chunk * unit, min((chunk + 1) * unit, *grid.shape))
    )
    safe = not shared and (covered or not whole)
    if safe:
        check_pieces((tuple(lengths),), (start,), grid, whole=whole, name="a")
    else:
        with pytest.raises(ChunkAlignmentError, match="axis 0"):
            check_pieces((tuple(lengths),), (start,), grid, whole=whole, name="a")


def test_shards_are_what_dask_writes_at_once(tmp_path: Path) -> None:
    values = xr.Dataset({"a": (("x", "y"), np.arange(80.0).reshape(8, 10))})
    encoding = {"a": {"chunks": (2, 5), "shards": (4, 10)}}
    with pytest.raises(ChunkAlignmentError, match="would overlap"):
        to_zarr(values.chunk(x=2), tmp_path / "a", encoding=encoding)
    to_zarr(values.chunk(x=2), tmp_path / "a", encoding=encoding, align_chunks=True, mode="w")
    found = open_zarr(tmp_path / "a", chunks={})
    assert (found.a.chunks, found.a.encoding["chunks"], found.a.encoding["shards"]) == (
        ((4, 4), (10,)),
        (2, 5),
        (4, 10),
    )
    to_zarr(found * 2, tmp_path / "b", encoding=encoding)
    xr.testing.assert_identical(open_zarr(tmp_path / "b").load(), values * 2)


def test_writing_can_be_put_off(tmp_path: Path) -> None:
    later = to_zarr(weather().chunk(time=2).assign(station=weather().station), tmp_path / "w", compute=False)
    assert open_zarr(tmp_path / "w").temperature.isnull().all()
    later.compute()
    assert (open_zarr(tmp_path / "w").temperature == weather().temperature).all()


def test_a_zip_file_is_complete_when_to_zarr_returns(tmp_path: Path) -> None:
    to_zarr(weather(), tmp_path / "w.zarr.zip")
    with open_zarr(tmp_path / "w.zarr.zip") as found:
        xr.testing.assert_identical(found.load(), open_zarr_of(weather()))


# ---- fill values


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, "f4"),
        (float("nan"), "f8"),
        (float("-inf"), "f8"),
        (3, "i8"),
        (2**63, "u8"),
        (True, "?"),
        (b"ab", "S2"),
        (1 + 2j, "c16"),
        ("é", "U1"),
    ],
)
def test_fill_values_are_kept_as_json(value: Any, dtype: str) -> None:
    text = json.dumps(fill_to_json(value, np.dtype(dtype), "a"))
    found = fill_from_json(json.loads(text), np.dtype(dtype), "a")
    assert found == value or (found != found and value != value)
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [("!", "f4"), ("AAAA", "f8"), ([1], "c8"), ({}, "f8"), ("x", "i4"), (300, "u1"), (5, "S2"), (None, "i4")],
)
def test_a_fill_value_of_nonsense_is_an_error(value: Any, dtype: str) -> None:
    root = gpuzarr.open_group(MemoryStore(), mode="w", zarr_format=3)
    root.create_array("a", shape=2, dtype=dtype, dimension_names=["x"], attributes={"_FillValue": value})
    with pytest.raises(ValueError, match="_FillValue of '/a' is no"):
        open_zarr(root.store, consolidated=False)


# ---- as an engine


def test_the_engine_is_registered_and_leaves_zarr_pythons_files_to_xarray(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["xarray.backends"]["gpuzarr"].partition(":")
    assert getattr(sys.modules[module], name) is OURS
    for there in (True, False):
        monkeypatch.setattr(backend, "find_spec", lambda _, there=there: object() if there else None)
        assert [OURS().guess_can_open(place) for place in ("a.zarr", Path("a.zarr"), "a.zarr/")] == [not there] * 3
        assert not any(OURS().guess_can_open(place) for place in ("a.nc", {}, "a.zarr.zip"))


def test_unknown_arguments_are_refused(counting: CountingStore) -> None:
    with pytest.raises(TypeError, match="decode_everything"):
        open_zarr(counting, decode_everything=True)
    with pytest.raises(TypeError, match="for trees"):
        to_zarr(weather(), {}, write_inherited_coords=True)
    with pytest.raises(KeyError, match="nothing"):
        to_zarr(weather(), {}, encoding={"nothing": {}})


def test_without_consolidated_metadata_there_is_a_warning() -> None:
    store = MemoryStore()
    to_zarr(weather(), store, consolidated=False)
    with pytest.warns(RuntimeWarning, match="one by one|Failed to open"):
        found = open_zarr(store)
    xr.testing.assert_identical(found.load(), open_zarr_of(weather()))
    with pytest.raises(ValueError, match="consolidated"):
        open_zarr(store, consolidated=True)
