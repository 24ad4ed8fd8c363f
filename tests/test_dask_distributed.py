"""A cluster of two processes reads and writes: aligned blocks without locks, shared units under the store's.

The workers' processes begin afresh (spawn), in another directory, so that what they know of an array is what was
pickled. Every wait has a deadline.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

import gpuzarr
from gpuzarr.dask import from_zarr, to_zarr
from gpuzarr.errors import ChunkAlignmentError, ContainsArrayError, StoreError, StoreWriteError
from gpuzarr.storage import LocalStore, ManagedMemoryStore, MemoryStore

VALUES = np.arange(40 * 60, dtype="f8").reshape(40, 60)
DEADLINE = 60  # seconds, for what takes one when the machine is idle


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    settings = {
        "distributed.comm.timeouts.connect": DEADLINE,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.scheduler.allowed-failures": 0,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=True,
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("workers")),
            env={"PYTHONPATH": os.pathsep.join([str(Path(gpuzarr.__file__).parents[1])])},
            timeout=DEADLINE,
            silence_logs=50,
        ) as made,
    ):
        yield made


@pytest.fixture(autouse=True)
def _deadline() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"not done within {DEADLINE} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(DEADLINE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, timeout=DEADLINE) as connected:
        yield connected


def test_the_workers_are_other_processes(client: Client) -> None:
    processes = {*client.run(os.getpid).values(), os.getpid()}
    assert len(processes) == 3


def test_reading(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the workers are not
    gpuzarr.create_array("a.zarr", data=VALUES, chunks=(4, 10), shards=(8, 20))
    for x in (from_zarr("a.zarr"), from_zarr("a.zarr", chunks="auto", inline_array=True)):
        np.testing.assert_array_equal(x.compute(), VALUES)
    np.testing.assert_allclose(from_zarr("a.zarr").mean(axis=0).compute(), VALUES.mean(axis=0))
    times = gpuzarr.create_array("t.zarr", data=np.arange(20).astype("M8[D]"), chunks=5)
    np.testing.assert_array_equal(times.to_dask().compute(), times[...])
    words = gpuzarr.create_array("w.zarr", shape=(12,), dtype=str, chunks=5)
    words[...] = np.array(["a", "bé", ""] * 4, object)
    np.testing.assert_array_equal(words.to_dask().compute(), words[...])


def test_writing_a_sharded_array_at_once(client: Client, tmp_path: Path) -> None:
    x = da.from_array(VALUES, chunks=(8, 20))
    to_zarr(x, tmp_path / "a.zarr", chunks=(2, 5), shards=(4, 20))
    z = gpuzarr.open_array(tmp_path / "a.zarr")
    np.testing.assert_array_equal(z[...], VALUES)
    assert list(LocalStore(tmp_path / "a.zarr").leftovers()) == []
    stored = to_zarr(x + 1, z, return_stored=True)
    np.testing.assert_array_equal(stored.compute(), VALUES + 1)
    later = to_zarr(x + 2, z, compute=False)
    client.compute(later).result()
    np.testing.assert_array_equal(z[...], VALUES + 2)


def test_rechunking_a_store_into_another(client: Client, tmp_path: Path) -> None:
    gpuzarr.create_array(tmp_path / "rows.zarr", data=VALUES, chunks=(4, 60))
    rows = from_zarr(tmp_path / "rows.zarr")
    with pytest.raises(ChunkAlignmentError):
        to_zarr(rows, tmp_path / "columns.zarr", chunks=(10, 10), shards=(40, 10))
    to_zarr(rows, tmp_path / "columns.zarr", chunks=(10, 10), shards=(40, 10), rechunk=True)
    columns = gpuzarr.open_array(tmp_path / "columns.zarr")
    assert (columns.chunks, columns.shards) == ((10, 10), (40, 10))
    np.testing.assert_array_equal(columns[...], VALUES)
    np.testing.assert_array_equal(rows.compute(), VALUES)


def test_regions_that_share_shards_are_kept_apart_by_lock_files(client: Client, tmp_path: Path) -> None:
    """Neighbouring regions, written at the same time, have parts of the same shards: no part may be lost."""
    z = gpuzarr.create_array(tmp_path / "a.zarr", shape=(40, 60), chunks=(2, 6), shards=(10, 60), dtype="f8")
    for turn in range(3):
        values = VALUES + turn
        writes = [
            to_zarr(da.from_array(values[at : at + 5], chunks=-1), z, region=slice(at, at + 5), compute=False)
            for at in range(0, 40, 5)
        ]
        writes += [
            to_zarr(
                da.from_array(values[35:, at : at + 7], chunks=-1),
                z,
                region=(slice(35, 40), slice(at, at + 7)),
                compute=False,
            )
            for at in range(0, 53, 7)
        ]
        for future in client.compute(writes):
            future.result()
        np.testing.assert_array_equal(z[...], values)


def last_block_fails(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
    if block_id[0] == 3:
        raise ArithmeticError("the last block")
    return block


def test_an_overwrite_that_fails_leaves_the_old_array(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    to_zarr(da.from_array(VALUES, chunks=(10, 60)), path)
    x = da.from_array(VALUES + 1, chunks=(10, 60))
    with pytest.raises(ContainsArrayError):
        to_zarr(x, path)
    with pytest.raises(ArithmeticError, match="the last block"):
        to_zarr(x.map_blocks(last_block_fails, meta=x._meta), path, overwrite=True)
    np.testing.assert_array_equal(gpuzarr.open_array(path)[...], VALUES)
    to_zarr(x, path, overwrite=True)
    np.testing.assert_array_equal(gpuzarr.open_array(path)[...], VALUES + 1)


def test_memory_of_this_process_is_refused_or_copied(client: Client, tmp_path: Path) -> None:
    x = da.from_array(VALUES, chunks=(10, 60))
    store = MemoryStore()
    with pytest.raises(StoreWriteError, match="is held by this process"):
        to_zarr(x, store)
    assert list(store.list()) == []
    z = gpuzarr.create_array(store, data=VALUES, chunks=(10, 60))
    with pytest.raises(StoreWriteError, match="is held by this process"):
        to_zarr(x + 1, z)
    np.testing.assert_array_equal(z.to_dask().compute(), VALUES)  # reading takes a copy along
    named = gpuzarr.create_array(ManagedMemoryStore("test-dask-distributed"), data=VALUES, chunks=(10, 60))
    with pytest.raises(StoreError, match="is in the memory of process"):
        named.to_dask().compute()
    np.testing.assert_array_equal(z[...], VALUES)


def test_equal_arrays_share_their_tasks(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    to_zarr(da.from_array(VALUES, chunks=(10, 60)), path)
    held = client.persist(from_zarr(path))
    held.compute()
    assert from_zarr(path).name == held.name
    to_zarr(da.from_array(VALUES + 1, chunks=(10, 60)), path, overwrite=True)
    np.testing.assert_array_equal(from_zarr(path).compute(), VALUES + 1)  # not what is held
    np.testing.assert_array_equal(held.compute(), VALUES)
    again = gpuzarr.open_array(path)
    again[:10] = 0
    np.testing.assert_array_equal(from_zarr(path, name=False).compute(), again[...])


def test_blocks_on_a_device_are_computed_and_written_there(client: Client, tmp_path: Path) -> None:
    z = gpuzarr.create_array(tmp_path / "a.zarr", data=VALUES, chunks=(10, 60), device="emulated")
    to_zarr(z.to_dask() + 1, tmp_path / "b.zarr")
    np.testing.assert_array_equal(gpuzarr.open_array(tmp_path / "b.zarr", device="cpu")[...], VALUES + 1)
