"""The usage guide that people know zarr-python by, call by call, with `import gpuzarr as zarr`.

The spelling is the guide's. Sizes are smaller where they would take gigabytes, and the clouds are fsspec's memory.
Dask and xarray have tests of their own. All of it runs on every device: what is read is brought to the host, by
`host`, where NumPy is to look at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

import gpuzarr as zarr
from tests.oracle import on_host as host


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with zarr.config.set({"device": device}):  # as the environment's GPUZARR_DEVICE does
        yield


def test_quick_start() -> None:
    z = zarr.create_array(store="data/my_array.zarr", shape=(1000, 1000), chunks=(100, 100), dtype="f4")
    data = np.random.default_rng(1).random((1000, 1000)).astype("f4")
    z[:, :] = data
    subset = z[0:100, 0:100]
    assert type(subset) is z.device.xp.ndarray
    assert f"Shape: {subset.shape}, dtype: {subset.dtype}" == "Shape: (100, 100), dtype: float32"
    np.testing.assert_array_equal(host(subset), data[:100, :100])


def test_array_creation() -> None:
    z = zarr.zeros(shape=(1000, 1000), chunks=(100, 100), dtype="f4", store="data.zarr")
    assert (host(z[:]) == 0).all()
    z = zarr.ones((500, 500), chunks=(50, 50), dtype="f4")
    assert (host(z[:]) == 1).all()
    z = zarr.full((1000, 1000), fill_value=42, chunks=(100, 100), dtype="i4")
    assert (host(z[:]) == 42).all()
    assert z.dtype == np.int32

    data = np.arange(10000, dtype="f4").reshape(100, 100)
    z = zarr.array(data, chunks=(10, 10), store="from_numpy.zarr")
    assert f"{z.shape} {z.chunks} {z.dtype}" == "(100, 100) (10, 10) float32"
    np.testing.assert_array_equal(host(z[:]), data)

    z2 = zarr.zeros_like(z)
    assert (z2.shape, z2.chunks, z2.dtype) == (z.shape, z.chunks, z.dtype)
    assert (host(z2[:]) == 0).all()


def test_opening() -> None:
    zarr.zeros(shape=(1000, 1000), chunks=(100, 100), dtype="f4", store="data.zarr")
    z = zarr.open_array("data.zarr", mode="r+")
    z[0, 0] = 7
    z = zarr.open_array("data.zarr", mode="r")
    assert host(z[0, 0]) == 7
    with pytest.raises(PermissionError):
        z[0, 0] = 8
    z = zarr.open("data.zarr")
    assert isinstance(z, zarr.Array)


def test_reading_writing_and_indexing() -> None:
    rng = np.random.default_rng(2)
    z = zarr.zeros((1000, 1000), chunks=(100, 100), dtype="f4")
    expected = np.zeros((1000, 1000), "f4")
    z[0, :] = expected[0, :] = np.arange(1000, dtype="f4")
    z[10:20, 50:60] = expected[10:20, 50:60] = rng.random((10, 10)).astype("f4")
    np.testing.assert_array_equal(host(z[:]), expected)
    z[:] = 42
    assert (host(z[:]) == 42).all()

    z[:] = expected = rng.random((1000, 1000)).astype("f4")
    row = z[5, :]
    block = z[0:100, 0:100]
    assert f"Row shape: {row.shape}, block shape: {block.shape}" == "Row shape: (1000,), block shape: (100, 100)"
    np.testing.assert_array_equal(host(z.vindex[[0, 5, 10], [2, 8, 15]]), expected[[0, 5, 10], [2, 8, 15]])
    np.testing.assert_array_equal(host(z.oindex[0:10, [5, 10, 15]]), expected[0:10][:, [5, 10, 15]])
    np.testing.assert_array_equal(host(z.blocks[0, 0]), expected[:100, :100])

    z.resize(1500, 1500)
    assert z.shape == (1500, 1500)
    np.testing.assert_array_equal(host(z[:1000, :1000]), expected)
    assert (host(z[1000:]) == 0).all()
    z.append(rng.random((100, 1500)).astype("f4"), axis=0)
    assert z.shape == (1600, 1500)


def test_chunking_and_sharding() -> None:
    z_row = zarr.zeros((1000, 1000), chunks=(10, 1000), dtype="f4")
    z_col = zarr.zeros((1000, 1000), chunks=(1000, 10), dtype="f4")
    z_bal = zarr.zeros((1000, 1000), chunks=(512, 512), dtype="f4")
    assert [z.nchunks for z in (z_row, z_col, z_bal)] == [100, 100, 4]
    z_sharded = zarr.create_array(
        store="sharded.zarr", shape=(1000, 1000), chunks=(100, 100), shards=(500, 500), dtype="f4"
    )
    assert z_sharded.chunks == (100, 100)
    z_sharded[:] = 1
    assert len([p for p in Path("sharded.zarr/c").rglob("*") if p.is_file()]) == 4
    assert (host(z_sharded[95:105, 499:501]) == 1).all()


def test_compression() -> None:
    from gpuzarr.codecs import BytesCodec, GzipCodec
    from gpuzarr.codecs.blosc import BloscCodec

    data = (np.arange(1_000_000) // 7).reshape(1000, 1000).astype("f4")
    zarr.zeros((1000, 1000), chunks=(100, 100), dtype="f4")[:] = data
    z = zarr.create_array(
        store="compressed.zarr",
        shape=(1000, 1000),
        chunks=(100, 100),
        dtype="f4",
        codecs=[BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")],
    )
    z_fast = zarr.create_array(
        store="fast.zarr",
        shape=(1000, 1000),
        chunks=(100, 100),
        dtype="f4",
        codecs=[BloscCodec(cname="lz4", clevel=1)],
    )
    z_small = zarr.create_array(
        store="small.zarr", shape=(1000, 1000), chunks=(100, 100), dtype="f4", codecs=[GzipCodec(level=9)]
    )
    z_raw = zarr.create_array(
        store="raw.zarr", shape=(1000, 1000), chunks=(100, 100), dtype="f4", codecs=[BytesCodec()]
    )
    sizes = []
    for array in (z, z_fast, z_small, z_raw):
        array[:] = data
        np.testing.assert_array_equal(host(zarr.open_array(array.store, mode="r")[:]), data)
        sizes.append(int(array.nbytes_stored))
    assert [codec.name for codec in z.metadata.codecs] == ["bytes", "blosc"]
    assert z.metadata.codecs[1].configuration["typesize"] == 4
    assert [codec.name for codec in z_raw.metadata.codecs] == ["bytes"]
    assert max(sizes[:3]) < z_raw.nbytes < sizes[3]


def test_the_guide_s_name_for_zlib_in_blosc() -> None:
    from gpuzarr.codecs import BloscCodec

    with pytest.warns(UserWarning, match="zlib"):
        codec = BloscCodec(cname="gzip")
    assert codec.cname == "zlib"


def test_storage_backends() -> None:
    from gpuzarr.storage import LocalStore, MemoryStore, ZipStore

    data = np.random.default_rng(3).random((1000, 1000)).astype("f4")
    z = zarr.open_array("data/array.zarr", mode="w", shape=(1000, 1000), chunks=(100, 100), dtype="f4")
    assert isinstance(z.store, LocalStore)

    store = MemoryStore()
    z_mem = zarr.open_array(store=store, mode="w", shape=(1000, 1000), chunks=(100, 100), dtype="f4")
    z_mem[:] = data
    np.testing.assert_array_equal(host(zarr.open_array(store)[:]), data)

    store = ZipStore("data.zip", mode="w")
    z_zip = zarr.open_array(store=store, mode="w", shape=(1000, 1000), chunks=(100, 100), dtype="f4")
    z_zip[:] = data
    store.close()
    np.testing.assert_array_equal(host(zarr.open_array(ZipStore("data.zip", mode="r"), mode="r")[:]), data)


def test_a_mapping_of_a_cloud() -> None:
    data = np.random.default_rng(4).random((1000, 1000)).astype("f4")
    fs = fsspec.filesystem("memory")
    store = fs.get_mapper("my-bucket/path/array.zarr")
    z = zarr.open_array(store=store, mode="w", shape=(1000, 1000), chunks=(500, 500), dtype="f4")
    z[:] = data
    zarr.consolidate_metadata(store)
    np.testing.assert_array_equal(host(zarr.open_array(store, mode="r")[:]), data)
    fs.rm("my-bucket", recursive=True)


def test_groups_and_hierarchies() -> None:
    root = zarr.group(store="hierarchy.zarr")
    temperature = root.create_group("temperature")
    precipitation = root.create_group("precipitation")
    temp_arr = temperature.create_array(name="t2m", shape=(365, 72, 144), chunks=(1, 72, 144), dtype="f4")
    precip_arr = precipitation.create_array(name="prcp", shape=(365, 72, 144), chunks=(1, 72, 144), dtype="f4")
    arr = root["temperature/t2m"]
    assert arr == temp_arr
    assert precip_arr.name == "/precipitation/prcp"
    assert str(root.tree()) == (
        "/\n"
        "├── precipitation\n"
        "│   └── prcp (365, 72, 144) float32\n"
        "└── temperature\n"
        "    └── t2m (365, 72, 144) float32\n"
    )


def test_attributes_and_metadata() -> None:
    z = zarr.zeros((1000, 1000), chunks=(100, 100), dtype="f4")
    z.attrs["description"] = "Temperature data in Kelvin"
    z.attrs["units"] = "K"
    z.attrs["processing_version"] = 2.1
    assert z.attrs["units"] == "K"
    root = zarr.group("data.zarr")
    root.attrs["project"] = "Climate Analysis"
    root.attrs["institution"] = "Research Institute"
    assert dict(zarr.open_group("data.zarr").attrs) == {
        "project": "Climate Analysis",
        "institution": "Research Institute",
    }


def test_consolidated_metadata() -> None:
    zarr.group("data.zarr").create_array(name="a", shape=(10,), chunks=(5,), dtype="f4")[:] = 3
    zarr.consolidate_metadata("data.zarr")
    root = zarr.open_consolidated("data.zarr")
    assert (host(root["a"][:]) == 3).all()


def test_cloud_native_pipeline() -> None:
    fs = fsspec.filesystem("memory")
    store = fs.get_mapper("my-bucket/experiment.zarr")
    root = zarr.group(store=store)
    data_arr = root.create_array(name="measurements", shape=(1000, 1000), chunks=(500, 500), dtype="f4")
    data_arr[:] = np.random.default_rng(5).random((1000, 1000)).astype("f4")
    data_arr.attrs["experiment"] = "batch_42"
    zarr.consolidate_metadata(store)
    store_read = fs.get_mapper("my-bucket/experiment.zarr")
    root_read = zarr.open_consolidated(store_read)
    subset = root_read["measurements"][0:100, 0:100]
    assert f"Read subset: {subset.shape}" == "Read subset: (100, 100)"
    assert root_read["measurements"].attrs["experiment"] == "batch_42"
    fs.rm("my-bucket", recursive=True)


def test_format_conversion() -> None:
    np.save("data.npy", np.arange(10_000.0).reshape(100, 100))
    data = np.load("data.npy")
    z = zarr.array(data, chunks="auto", store="from_numpy.zarr")
    np.testing.assert_array_equal(host(z[:]), data)


def test_hdf5_conversion() -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("data.h5", "w") as h5:
        h5["dataset_name"] = np.arange(10_000.0).reshape(100, 100)
    with h5py.File("data.h5", "r") as h5:
        z = zarr.array(h5["dataset_name"][:], chunks=(50, 50), store="from_hdf5.zarr")
        np.testing.assert_array_equal(host(z[:]), h5["dataset_name"][:])


def test_profiling_recipe() -> None:
    zarr.zeros((1000, 1000), chunks=(100, 100), dtype="f4", store="data.zarr")[:] = 1
    z = zarr.open("data.zarr")
    for line in ("Type", "Shape", "Chunk shape", "Data type", "Compressors"):
        assert line in str(z.info)
    assert 0 < z.nbytes_stored / 1e6 < z.nbytes / 1e6 == 4.0
    assert z.nbytes / z.nbytes_stored > 1
    assert z.nbytes_stored() == z.nbytes_stored


def test_append_recipe() -> None:
    z = zarr.open("timeseries.zarr", mode="a", shape=(0, 72, 144), chunks=(1, 72, 144), dtype="f4")
    for day in range(12):
        new_step = np.full((1, 72, 144), day).astype("f4")
        z.append(new_step, axis=0)
    assert z.shape == (12, 72, 144)
    assert (host(zarr.open("timeseries.zarr", mode="r")[:, 0, 0]) == np.arange(12)).all()


def test_synchronizers_of_the_troubleshooting_table() -> None:
    synchronizer = zarr.ProcessSynchronizer("locks.sync")
    z = zarr.open_array("sync.zarr", mode="w", shape=(10,), chunks=(10,), dtype="i4", synchronizer=synchronizer)
    z[2:5] = 1
    assert host(z[:]).sum() == 3
    z = zarr.open_array("sync.zarr", mode="r+", synchronizer=zarr.ThreadSynchronizer())
    z[7] = 1
    assert host(z[:]).sum() == 4


def test_parameter_table() -> None:
    assert zarr.create_array(store={}, shape=(10,)).dtype == np.float64
    with pytest.raises(FileNotFoundError):
        zarr.open_array("nothing.zarr")
    zarr.create_array(store="one.zarr", shape=(10,))
    for mode in ("r", "r+", "a"):
        assert zarr.open_array("one.zarr", mode=mode).shape == (10,)
    assert zarr.open_array("one.zarr", mode="w", shape=(5,)).shape == (5,)
