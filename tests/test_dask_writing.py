"""dask arrays into stored arrays: what is refused before anything is made, what stands after errors, and the values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask.core import flatten
from hypothesis import given
from hypothesis import strategies as st

import gpuzarr
from gpuzarr.dask import from_zarr, to_zarr
from gpuzarr.devices import get_device
from gpuzarr.errors import (
    ArrayNotFoundError,
    ChunkAlignmentError,
    ContainsArrayError,
    ContainsGroupError,
    ContainsNodeError,
    MetadataError,
    ReadOnlyError,
    StoreWriteError,
)
from gpuzarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore
from tests.oracle import DTYPES, on_host, values_of

VALUES = np.arange(20 * 50, dtype="f8").reshape(20, 50)


class Task(Exception):
    """Raised by a task."""


@pytest.fixture
def ran() -> list[tuple[int, ...]]:
    """Blocks of `watched` that were computed."""
    return []


@pytest.fixture
def watched(ran: list[tuple[int, ...]]) -> da.Array:
    """VALUES in blocks of (5, 25), which tell `ran` when they are computed."""

    def tell(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        ran.append(block_id)
        return block

    return da.from_array(VALUES, chunks=(5, 25)).map_blocks(tell, meta=np.empty((0, 0)))


def failing(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
    """The block, or for the last one of two rows an error."""
    if block_id[0]:
        raise Task
    return block


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- new arrays


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_of_a_new_array_are_the_blocks(tmp_path: Path, zarr_format: int) -> None:
    x = da.from_array(VALUES, chunks=(6, 20))
    assert to_zarr(x, tmp_path / "a.zarr", zarr_format=zarr_format) is None
    z = gpuzarr.open_array(tmp_path / "a.zarr")
    assert (z.chunks, z.shards, z.dtype, z.metadata.zarr_format) == ((6, 20), None, VALUES.dtype, zarr_format)
    np.testing.assert_array_equal(z[...], VALUES)
    assert from_zarr(z).chunks == x.chunks


def test_what_create_array_takes(tmp_path: Path) -> None:
    x = da.from_array(VALUES, chunks=(8, 20))
    arguments: dict[str, Any] = {
        "shards": (8, 20),
        "chunks": (4, 5),
        "compressors": gpuzarr.codecs.BloscCodec(cname="lz4"),
        "dtype": "f4",
        "fill_value": 7,
        "attributes": {"units": "K"},
        "dimension_names": ("y", "x"),
        "config": {"write_empty_chunks": True},
    }
    to_zarr(x, tmp_path, component="g/a", **arguments)
    z = gpuzarr.open_group(tmp_path)["g/a"]
    assert (z.chunks, z.shards, z.dtype, z.fill_value) == ((4, 5), (8, 20), np.float32, 7)
    assert [codec.name for codec in z.compressors] == ["blosc"]
    assert (dict(z.attrs), z.metadata.dimension_names) == ({"units": "K"}, ("y", "x"))
    np.testing.assert_array_equal(z[...], VALUES.astype("f4"))
    group = gpuzarr.open_group(tmp_path)
    to_zarr(x, group, component="h")
    to_zarr(x, group.store, name="i")
    assert sorted(group) == ["g", "h", "i"]
    former: dict[str, bytes] = {}
    to_zarr(x, former, order="F", zarr_format=2, compressor=None, dimension_separator="/")
    assert (gpuzarr.open_array(former).order, gpuzarr.open_array(former).compressor) == ("F", None)
    for wrong in ({"shape": (5,)}, {"no_such": 1}, {"name": "a", "component": "b"}):
        with pytest.raises((TypeError, ValueError)):
            to_zarr(x, tmp_path, **{"component": None, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("blocks", "shards", "chunks"),
    [((4, 4), (4, 4), (4, 4)), ((8, 4), (4, 4), (4, 4)), ((12, 8), (4, 8), (4, 8)), ((8, 8), 4, (4, 4))],
)
def test_shards_without_chunks(blocks: tuple[int, int], shards: Any, chunks: tuple[int, int]) -> None:
    store = MemoryStore()
    to_zarr(da.from_array(VALUES[:16, :16], chunks=blocks), store, shards=shards)
    z = gpuzarr.open_array(store)
    assert z.chunks == chunks
    np.testing.assert_array_equal(z[...], VALUES[:16, :16])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_elements_of_every_type(dtype: Any) -> None:
    target = gpuzarr.create_array({}, shape=(7, 5), chunks=(3, 2), dtype=dtype)
    values = values_of(np.random.default_rng(1), target.dtype, target.shape)
    x = da.from_array(values, chunks=(3, 5))
    to_zarr(x, target)
    np.testing.assert_array_equal(target[...], values)
    new = MemoryStore()
    to_zarr(x, new, dtype=dtype)
    np.testing.assert_array_equal(gpuzarr.open_array(new)[...], values)
    assert gpuzarr.open_array(new).dtype == target.dtype


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0)])
def test_arrays_without_axes_or_elements(shape: tuple[int, ...]) -> None:
    x = da.ones(shape, chunks=-1)
    store = MemoryStore()
    to_zarr(x, store)
    np.testing.assert_array_equal(from_zarr(store).compute(), np.ones(shape))
    to_zarr(x + 1, gpuzarr.open_array(store))
    np.testing.assert_array_equal(from_zarr(store).compute(), np.ones(shape) + 1)


def test_irregular_blocks_that_have_a_common_chunk() -> None:
    for blocks, chunk in [((4, 2, 4, 10), 2), ((10, 10), 10), ((8, 12), 8), ((5, 0, 5, 10), 5)]:
        store = MemoryStore()
        to_zarr(da.from_array(VALUES, chunks=(blocks, 50)), store)
        assert gpuzarr.open_array(store).chunks == (chunk, 50)
        np.testing.assert_array_equal(gpuzarr.open_array(store)[...], VALUES)


def test_irregular_blocks_that_have_none(ran: list[Any], watched: da.Array, tmp_path: Path) -> None:
    x = watched.rechunk(((7, 9, 4), (50,)))
    with pytest.raises(ChunkAlignmentError, match=r"axis 0: .*\(7, 9, 4\).*rechunk=True.* 9 long.*chunks=arr.chunks"):
        to_zarr(x, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()
    assert ran == []
    to_zarr(x, tmp_path / "a.zarr", rechunk=True)
    assert gpuzarr.open_array(tmp_path / "a.zarr").chunks == (9, 50)
    np.testing.assert_array_equal(from_zarr(tmp_path / "a.zarr").compute(), VALUES)
    with gpuzarr.config.set({"array.rectilinear_chunks": True}):
        to_zarr(x, tmp_path / "b.zarr", chunks=x.chunks)
    assert from_zarr(tmp_path / "b.zarr").chunks == x.chunks
    np.testing.assert_array_equal(from_zarr(tmp_path / "b.zarr").compute(), VALUES)


def test_two_blocks_in_one_shard_are_refused_before_anything_is_made(
    ran: list[Any], watched: da.Array, tmp_path: Path
) -> None:
    message = r"axis 1: two blocks .* index 25 of the new array, .* \[0, 50\) .* such as \(50\), got \(25, 25\)"
    for overwrite in (False, True):
        with pytest.raises(ChunkAlignmentError, match=message):
            to_zarr(watched, tmp_path / "a.zarr", shards=(5, 50), overwrite=overwrite)
    assert files(tmp_path) == {}
    assert ran == []
    to_zarr(watched, tmp_path / "a.zarr", shards=(5, 50), rechunk=True)
    assert gpuzarr.open_array(tmp_path / "a.zarr").shards == (5, 50)
    np.testing.assert_array_equal(from_zarr(tmp_path / "a.zarr").compute(), VALUES)


def test_what_cannot_be_made_is_said_before_a_task_runs(ran: list[Any], watched: da.Array, tmp_path: Path) -> None:
    gpuzarr.create_array(tmp_path / "a.zarr", data=np.arange(5))
    gpuzarr.create_group(tmp_path / "g.zarr")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "something").write_bytes(b"1")
    before = files(tmp_path)
    refused: list[tuple[type[Exception], Callable[[], Any]]] = [
        (ContainsArrayError, lambda: to_zarr(watched, tmp_path / "a.zarr")),
        (ContainsGroupError, lambda: to_zarr(watched, tmp_path / "g.zarr")),
        (ContainsNodeError, lambda: to_zarr(watched, tmp_path / "w", mode="w-")),
        (ContainsArrayError, lambda: to_zarr(watched, tmp_path, component="a.zarr/b")),
        (ArrayNotFoundError, lambda: to_zarr(watched, tmp_path / "n.zarr", mode="r+")),
        (ReadOnlyError, lambda: to_zarr(watched, LocalStore(tmp_path / "n", read_only=True))),
        (MetadataError, lambda: to_zarr(watched, tmp_path / "n.zarr", zarr_format=4)),
        (MetadataError, lambda: to_zarr(watched[watched > 3], tmp_path / "n.zarr")),
        (ValueError, lambda: to_zarr(watched, tmp_path / "n.zarr", mode="r")),
        (ValueError, lambda: to_zarr(watched, tmp_path / "n.zarr", region=(slice(5), slice(5)))),
        (TypeError, lambda: to_zarr(VALUES, tmp_path / "n.zarr")),
    ]
    for kind, call in refused:
        with pytest.raises(kind):
            call()
    assert ran == []
    assert files(tmp_path) == before


# ---- replacing, and errors


@pytest.mark.parametrize("mode", ["w", "a"])
def test_an_overwrite_that_fails_leaves_the_old_array(tmp_path: Path, mode: str) -> None:
    to_zarr(da.from_array(VALUES, chunks=(10, 50)), tmp_path / "a.zarr")
    before = files(tmp_path)
    bad = (da.from_array(VALUES + 1, chunks=(10, 50))).map_blocks(failing, meta=np.empty((0, 0)))
    arguments: dict[str, Any] = {"mode": "w"} if mode == "w" else {"overwrite": True}
    with pytest.raises(Task):
        to_zarr(bad, tmp_path / "a.zarr", **arguments)
    assert files(tmp_path) == before
    to_zarr(da.from_array(VALUES + 1, chunks=(5, 50)), tmp_path / "a.zarr", **arguments)
    np.testing.assert_array_equal(from_zarr(tmp_path / "a.zarr").compute(), VALUES + 1)
    assert from_zarr(tmp_path / "a.zarr").chunks == ((5,) * 4, (50,))


def test_tasks_that_outlive_an_overwrite_that_failed_write_nothing(tmp_path: Path) -> None:
    to_zarr(da.from_array(VALUES, chunks=(10, 50)), tmp_path / "a.zarr")
    before = files(tmp_path)
    over, late = threading.Event(), threading.Event()

    def first_too_late(block: np.ndarray, block_id: tuple[int, ...]) -> np.ndarray:
        if block_id[0]:
            assert late.wait(10)
            raise Task
        late.set()
        assert over.wait(10)
        return block

    x = da.from_array(VALUES + 1, chunks=(10, 50)).map_blocks(first_too_late, meta=np.empty((0, 0)))
    with ThreadPoolExecutor(2) as threads, dask.config.set(pool=threads):
        with pytest.raises(Task):
            to_zarr(x, tmp_path / "a.zarr", overwrite=True)
        over.set()
    assert files(tmp_path) == before


def test_a_new_array_that_fails_has_the_blocks_that_were_done(tmp_path: Path) -> None:
    bad = da.from_array(VALUES + 1, chunks=(5, 50)).map_blocks(failing, meta=np.empty((0, 0)))
    with dask.config.set(scheduler="sync"), pytest.raises(Task):
        to_zarr(bad[::-1], tmp_path / "a.zarr", fill_value=-1)
    z = gpuzarr.open_array(tmp_path / "a.zarr")
    wanted = VALUES[::-1] + 1
    done = [np.array_equal(z[i : i + 5], wanted[i : i + 5]) for i in range(0, 20, 5)]
    assert [(z[i : i + 5] == -1).all() for i in range(0, 20, 5)] == [not each for each in done]
    assert done == [False, False, False, True]


def test_an_array_is_not_replaced_by_what_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zarr"
    to_zarr(da.from_array(VALUES, chunks=(10, 50)), path)
    z = gpuzarr.open_array(path)
    delayed = da.from_delayed(dask.delayed(lambda z: z[...])(z), z.shape, dtype="f8").rechunk((10, 50))
    shapes = [
        from_zarr(path) + 1,
        from_zarr(path, inline_array=True) + 1,
        da.from_array(z).rechunk((5, 50))[10:],
        da.map_blocks(lambda block, z: block + z[0, 0], da.ones((4, 4), chunks=2), z),
        delayed,
        da.concatenate([da.ones((4, 50)), from_zarr(path)]).rechunk((4, 50)),
    ]
    for x in shapes:
        with pytest.raises(ValueError, match="deleted before it is read"):
            to_zarr(x, path, overwrite=True)
        np.testing.assert_array_equal(z[...], VALUES)
    monkeypatch.chdir(tmp_path.parent)
    for target in (
        {"url": f"{tmp_path.name}/a.zarr"},
        {"url": tmp_path, "component": "a.zarr"},
        {"url": f"file://{path}"},
    ):
        with pytest.raises(ValueError, match="deleted before it is read"):
            to_zarr(shapes[0], **target, mode="w")  # type: ignore[arg-type]
    np.testing.assert_array_equal(z[...], VALUES)
    member = gpuzarr.open_group(tmp_path, mode="a").create_array("b", data=VALUES, chunks=(10, 50)).to_dask()
    for place in ({"component": "b"}, {}):
        with pytest.raises(ValueError, match="deleted before it is read"):
            to_zarr(member, tmp_path, overwrite=True, **place)  # type: ignore[arg-type]
    to_zarr(member + 1, tmp_path, component="c")
    to_zarr(member + 2, tmp_path, component="c", overwrite=True)
    to_zarr(from_zarr(path) + 1, path, mode="r+")
    np.testing.assert_array_equal(z[...], VALUES + 1)


# ---- regions


def test_a_region_is_written_and_the_rest_stays(tmp_path: Path, device: str) -> None:
    z = gpuzarr.create_array(tmp_path / "a.zarr", data=VALUES, chunks=(2, 10), shards=(4, 20), device=device)
    x = da.from_array(-VALUES, chunks=(4, 20))
    expected = VALUES.copy()
    for region in [
        (slice(4, 12), slice(20, 50)),
        (slice(3, 12), slice(5, 30)),
        (slice(-6, None), slice(None)),
        (slice(7, 8),),
        (..., slice(13, 17)),
        (slice(4, 4), slice(None)),
    ]:
        part = VALUES[region]
        to_zarr(da.from_array(-part, chunks=-1), z, region=region)
        expected[region] = -part
        np.testing.assert_array_equal(on_host(z[...]), expected)
    to_zarr(x, z)
    np.testing.assert_array_equal(on_host(z[...]), -VALUES)
    to_zarr(x[:4] + 1, tmp_path / "a.zarr", mode="r+", region=slice(4, 8))
    np.testing.assert_array_equal(on_host(z[4:8]), 1 - VALUES[:4])


def test_the_offset_of_a_region_counts(ran: list[Any], watched: da.Array) -> None:
    z = gpuzarr.create_array({}, shape=(40, 50), chunks=(5, 25), dtype="f8")
    with pytest.raises(
        ChunkAlignmentError, match=r"axis 0: .* index 8 of <Array .*\[5, 10\).*such as \(2, 5, 5, 5, 3\)"
    ):
        to_zarr(watched, z, region=(slice(3, 23), slice(None)))
    assert ran == []
    assert z.nchunks_initialized == 0
    to_zarr(watched, z, region=(slice(5, 25), slice(None)))
    np.testing.assert_array_equal(z[5:25], VALUES)
    to_zarr(watched, z, region=(slice(18, 38), slice(None)), rechunk=True)
    np.testing.assert_array_equal(z[18:38], VALUES)
    np.testing.assert_array_equal(z[5:18], VALUES[:13])


def test_regions_that_are_none() -> None:
    z = gpuzarr.create_array({}, shape=(20, 50), chunks=(5, 25), dtype="f8")
    x = da.ones((10, 50), chunks=(5, 50))
    for region, message in [
        (None, r"shape \(10, 50\), got shape \(20, 50\)"),
        ((slice(0, 20, 2), slice(None)), "step 1"),
        ((slice(None, None, -1),), "step 1"),
        ((0, slice(None)), "step 1"),
        ((slice(0, 9),), r"got shape \(9, 50\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            to_zarr(x, z, region=region)
    with pytest.raises(IndexError):
        to_zarr(x, z, region=(slice(10),) * 3)
    with pytest.raises(TypeError, match="open array"):
        to_zarr(x, z, region=slice(10), overwrite=True)
    assert z.nchunks_initialized == 0


@given(st.data())
def test_regions_are_refused_or_right(data: st.DataObject) -> None:
    """Whatever the grid, the region and the blocks: every unit has one task, or none runs."""
    size, unit = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 9))
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start, size))
    cuts = sorted(data.draw(st.sets(st.integers(start, stop), max_size=3)) | {start, stop})
    blocks = tuple(np.diff(cuts).tolist()) or (0,)
    z = gpuzarr.create_array({}, shape=(size,), chunks=(unit,), dtype="i4", fill_value=-1)
    x = da.from_array(np.arange(stop - start), chunks=(blocks,))
    shared = any(cut % unit for cut in cuts if start < cut < stop)
    rechunk = data.draw(st.booleans())
    expected = np.full(size, -1)
    with dask.config.set(scheduler="sync"):
        if shared and not rechunk:
            with pytest.raises(ChunkAlignmentError):
                to_zarr(x, z, region=slice(start, stop))
        else:
            to_zarr(x, z, region=slice(start, stop), rechunk=rechunk)
            expected[start:stop] = np.arange(stop - start)
    np.testing.assert_array_equal(z[...], expected)


# ---- later


def test_what_is_computed_later(ran: list[Any], watched: da.Array, tmp_path: Path) -> None:
    later = to_zarr(watched, tmp_path / "a.zarr", compute=False)
    assert ran == []
    z = gpuzarr.open_array(tmp_path / "a.zarr")
    assert z.nchunks_initialized == 0
    dask.compute(later)
    np.testing.assert_array_equal(z[...], VALUES)
    stored = to_zarr(watched + 1, z, compute=False, return_stored=True)
    np.testing.assert_array_equal(stored.compute(), VALUES + 1)
    np.testing.assert_array_equal(z[...], VALUES + 1)
    part = to_zarr(watched[:5], z, region=slice(10, 15), return_stored=True)
    assert part.chunks == watched[:5].chunks
    np.testing.assert_array_equal(part.compute(), VALUES[:5])
    again = to_zarr(watched, tmp_path / "b.zarr", overwrite=True, return_stored=True)
    assert again.chunks == watched.chunks
    before = len(ran)
    np.testing.assert_array_equal(again.compute(), VALUES)
    assert len(ran) == before  # it is read, not computed again


def test_nothing_is_replaced_later(watched: da.Array, tmp_path: Path) -> None:
    to_zarr(watched, tmp_path / "a.zarr")
    before = files(tmp_path)
    for arguments in ({"overwrite": True}, {"mode": "w"}):
        with pytest.raises(ContainsArrayError, match="compute=False puts off"):
            to_zarr(watched + 1, tmp_path / "a.zarr", compute=False, **arguments)  # type: ignore[arg-type]
    assert files(tmp_path) == before
    to_zarr(watched, tmp_path / "b.zarr", compute=False, overwrite=True).compute()
    np.testing.assert_array_equal(from_zarr(tmp_path / "b.zarr").compute(), VALUES)


def test_writing_again_writes_again(watched: da.Array, tmp_path: Path) -> None:
    z = gpuzarr.create_array(tmp_path / "a.zarr", shape=VALUES.shape, chunks=(5, 25), dtype="f8")
    first, second = (to_zarr(watched, z, compute=False) for _ in range(2))
    assert {*flatten(first.__dask_keys__())}.isdisjoint(flatten(second.__dask_keys__()))


# ---- memory of one process, and of devices


def test_what_other_processes_cannot_reach_is_refused(watched: da.Array, tmp_path: Path) -> None:
    x = da.from_array(VALUES, chunks=(5, 25))
    archive = ZipStore(tmp_path / "a.zip", mode="w")
    for store in (MemoryStore(), {}, FsspecStore.from_url("memory://test-dask-writing"), archive):
        with pytest.raises(StoreWriteError, match="is held by this process"):
            to_zarr_in_processes(x, store)
        to_zarr(x, store)  # by threads
        np.testing.assert_array_equal(from_zarr(store).compute(), VALUES)
        with pytest.raises(StoreWriteError, match="is held by this process"):
            to_zarr_in_processes(x, gpuzarr.open_array(store, mode="r+"))
        later = to_zarr(x + 1, gpuzarr.open_array(store, mode="r+"), compute=False)
        with pytest.raises(StoreWriteError, match="is held by this process"):
            later.compute(scheduler="processes", num_workers=1)
        np.testing.assert_array_equal(gpuzarr.open_array(store)[...], VALUES)
    FsspecStore.from_url("memory://test-dask-writing").delete_prefix("")
    archive.close()


def to_zarr_in_processes(x: da.Array, target: Any) -> None:
    with dask.config.set(scheduler="processes"):
        to_zarr(x, target)


def test_blocks_on_a_device_are_written_from_there(device: str, tmp_path: Path) -> None:
    source = gpuzarr.create_array({}, data=VALUES, chunks=(10, 25), device=device)
    x = source.to_dask() + 1
    to_zarr(x, tmp_path / "new.zarr", shards=(10, 25), chunks=(5, 5))
    np.testing.assert_array_equal(gpuzarr.open_array(tmp_path / "new.zarr", device="cpu")[...], VALUES + 1)
    there = gpuzarr.open_array(tmp_path / "new.zarr", device="cpu")
    stored = to_zarr(x[:10] * 2, there, region=slice(10, 20), return_stored=True)
    assert type(stored.compute()) is get_device(device).xp.ndarray
    np.testing.assert_array_equal(there[10:], 2 * (VALUES[:10] + 1))
    to_zarr(da.from_array(VALUES, chunks=(10, 25)), gpuzarr.open_array(tmp_path / "new.zarr", device=device))
    np.testing.assert_array_equal(there[...], VALUES)


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    with dask.config.set(num_workers=4):
        yield
