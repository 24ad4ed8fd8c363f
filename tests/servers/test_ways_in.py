"""Every spelling of a cloud or web store that the usage guide of zarr-python knows, and ours, reach the same data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pytest

import gpuzarr as zarr
from gpuzarr.storage import FsspecStore, ObjectStore
from tests.servers.conftest import gcs_options, obstore_s3, s3_options
from tests.servers.proxy import Proxy
from tests.servers.web import Web

DATA = np.random.default_rng(0).random((100, 100)).astype("f4")


def s3_map(proxy: Proxy, name: str) -> Any:
    s3fs = pytest.importorskip("s3fs")
    return s3fs.S3Map(root=f"data/{name}/array.zarr", s3=s3fs.S3FileSystem(**s3_options(proxy)))


def gcs_map(proxy: Proxy, name: str) -> Any:
    gcsfs = pytest.importorskip("gcsfs")
    return gcsfs.GCSMap(root=f"data/{name}/array.zarr", gcs=gcsfs.GCSFileSystem(**gcs_options(proxy)))


def s3_upath(proxy: Proxy, name: str) -> Any:
    return pytest.importorskip("upath").UPath(f"s3://data/{name}/array.zarr", **s3_options(proxy))


def s3_mapper(proxy: Proxy, name: str) -> Any:
    return fsspec.get_mapper(f"s3://data/{name}/array.zarr", **s3_options(proxy))


def s3_obstore(proxy: Proxy, name: str) -> Any:
    return obstore_s3(proxy, f"{name}/array.zarr")


def s3_zarr_python(proxy: Proxy, name: str) -> Any:
    storage = pytest.importorskip("zarr.storage")
    return storage.FsspecStore.from_url(f"s3://data/{name}/array.zarr", storage_options=s3_options(proxy))


@pytest.mark.parametrize("way", [s3_map, gcs_map, s3_upath, s3_mapper, s3_obstore, s3_zarr_python])
def test_writing_and_reading(way: Callable[[Proxy, str], Any], request: pytest.FixtureRequest) -> None:
    proxy: Proxy = request.getfixturevalue("gcs_proxy" if way is gcs_map else "s3_proxy")
    proxy.reset()
    store = way(proxy, uuid4().hex)
    z = zarr.open_array(store=store, mode="w", shape=(100, 100), chunks=(50, 50), dtype="f4")
    z[:] = DATA
    z[3:7, 90] = 5
    want = DATA.copy()
    want[3:7, 90] = 5
    assert np.array_equal(zarr.open_array(store, mode="r")[:], want)
    assert isinstance(z.store, (FsspecStore, ObjectStore))
    assert z.store.get_ranges("zarr.json", [zarr.storage.Span(0, 1)]).version is not None


@pytest.fixture
def by_configuration(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """What fsspec's configuration says of the services, so that calls can be spelled as the guide spells them."""
    kind = request.param
    proxy: Proxy = request.getfixturevalue(f"{kind}_proxy")
    proxy.reset()
    options = s3_options(proxy) if kind == "s3" else gcs_options(proxy)
    for protocol in ("s3",) if kind == "s3" else ("gs", "gcs"):
        monkeypatch.setitem(fsspec.config.conf, protocol, {k: v for k, v in options.items() if k != "project"})
    return proxy


@pytest.mark.parametrize("by_configuration", ["s3"], indirect=True)
def test_the_guide_on_s3(by_configuration: Proxy) -> None:
    import s3fs

    place = f"data/{uuid4().hex}/path/array.zarr"
    s3 = s3fs.S3FileSystem(anon=False)
    store = s3fs.S3Map(root=place, s3=s3)
    z = zarr.open_array(store=store, mode="w", shape=(1000, 1000), chunks=(500, 500), dtype="f4")
    data = np.random.default_rng(1).random((1000, 1000)).astype("f4")
    z[:] = data
    zarr.consolidate_metadata(store)
    assert np.array_equal(zarr.open_array(store=store, mode="r")[:], data)
    assert np.array_equal(zarr.open(f"s3://{place}", mode="r", storage_options={"anon": False})[:], data)


@pytest.mark.parametrize("by_configuration", ["gcs"], indirect=True)
def test_the_guide_on_gcs(by_configuration: Proxy) -> None:
    import gcsfs

    gcs = gcsfs.GCSFileSystem(project="my-project")
    place = f"data/{uuid4().hex}/path/array.zarr"
    store = gcsfs.GCSMap(root=place, gcs=gcs)
    z = zarr.open_array(store=store, mode="w", shape=(1000, 1000), chunks=(500, 500), dtype="f4")
    data = np.random.default_rng(2).random((1000, 1000)).astype("f4")
    z[:] = data
    zarr.consolidate_metadata(store)
    assert np.array_equal(zarr.open_array(store=store, mode="r")[:], data)
    assert np.array_equal(zarr.open(f"gs://{place}", mode="r", storage_options={"project": "my-project"})[:], data)


@pytest.mark.parametrize("by_configuration", ["s3"], indirect=True)
def test_a_pipeline_of_the_guide(by_configuration: Proxy) -> None:
    import s3fs

    name = uuid4().hex
    s3 = s3fs.S3FileSystem()
    store = s3fs.S3Map(root=f"s3://data/{name}/experiment.zarr", s3=s3)
    root = zarr.group(store=store)
    data_arr = root.create_array(name="measurements", shape=(1000, 1000), chunks=(500, 500), dtype="f4")
    data_arr[:] = np.random.default_rng(3).random((1000, 1000)).astype("f4")
    data_arr.attrs["experiment"] = "batch_42"
    zarr.consolidate_metadata(store)
    store_read = s3fs.S3Map(root=f"s3://data/{name}/experiment.zarr", s3=s3)
    by_configuration.reset()
    root_read = zarr.open_consolidated(store_read)
    assert len(by_configuration.requests) == 1
    subset = root_read["measurements"][0:100, 0:100]
    assert len(by_configuration.requests) == 2  # the chunk
    assert f"Read subset: {subset.shape}" == "Read subset: (100, 100)"
    assert np.array_equal(subset, data_arr[0:100, 0:100])
    assert root_read["measurements"].attrs["experiment"] == "batch_42"
    by_url = zarr.open(f"s3://data/{name}/experiment.zarr", mode="r")
    assert sorted(by_url) == ["measurements"]


def test_a_url_of_the_web(web: Web, tmp_path: Any) -> None:
    zarr.save(str(tmp_path / "a.zarr"), DATA)
    for path in (tmp_path / "a.zarr").rglob("*"):
        if path.is_file():
            web.objects[f"web/a.zarr/{path.relative_to(tmp_path / 'a.zarr')}"] = path.read_bytes()
    assert np.array_equal(zarr.load(f"{web.url}/web/a.zarr"), DATA)
    fs = fsspec.filesystem("http")
    assert np.array_equal(zarr.open_array(FsspecStore(fs, path=f"{web.url}/web/a.zarr"), mode="r")[:], DATA)


def test_what_is_not_there_is_not_found(s3_proxy: Proxy, gcs_proxy: Proxy, web: Web) -> None:
    for place, options in (
        (f"s3://data/{uuid4().hex}", s3_options(s3_proxy)),
        (f"gs://data/{uuid4().hex}", gcs_options(gcs_proxy)),
        (f"{web.url}/{uuid4().hex}", {}),
    ):
        with pytest.raises(FileNotFoundError):
            zarr.open_array(place, mode="r", storage_options=options)
