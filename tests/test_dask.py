"""dask arrays from stored arrays: blocks, elements, names and pickles. `test_dask_writing.py` has the way back."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numcodecs
import numpy as np
import pytest
from dask.base import tokenize

import gpuzarr
from gpuzarr.dask import from_zarr, to_zarr
from gpuzarr.errors import (
    ArrayNotFoundError,
    LimitError,
    MissingPackageError,
    NodeTypeValidationError,
)
from gpuzarr.storage import (
    CountingStore,
    FsspecStore,
    LocalStore,
    LoggingStore,
    ManagedMemoryStore,
    MappingStore,
    MemoryStore,
    ObjectStore,
    Store,
    ZarrPythonStore,
    ZipStore,
)
from tests.oracle import DTYPES, on_host, values_of

ROOT = Path(__file__).parents[1]
VALUES = np.arange(20 * 50, dtype="f8").reshape(20, 50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An array in shards of (8, 20)."""
    gpuzarr.create_array(tmp_path / "a.zarr", data=VALUES, chunks=(4, 10), shards=(8, 20))
    return tmp_path / "a.zarr"


# ---- reading


def test_blocks_are_shards_or_chunks_of_the_device(path: Path, device: str) -> None:
    z = gpuzarr.open_array(path, device=device)
    x = z.to_dask()
    assert x.chunks == ((8, 8, 4), (20, 20, 10))
    assert (x.shape, x.dtype, x.name.partition("-")[0]) == (z.shape, z.dtype, "from")
    assert type(x._meta) is z.device.xp.ndarray
    got = x.compute()
    assert type(got) is z.device.xp.ndarray
    np.testing.assert_array_equal(on_host(got), VALUES)
    plain = gpuzarr.create_array({}, data=VALUES, chunks=(6, 50), device=device).to_dask()
    assert plain.chunks == ((6, 6, 6, 2), (50,))


def test_what_is_computed_is_what_numpy_computes(path: Path, device: str) -> None:
    x = from_zarr(path, device=device)
    for compute in (
        lambda a: a.sum(axis=0),
        lambda a: (a + 1)[3:9, ::-2],
        lambda a: a.mean(axis=1),
        lambda a: a[1:7].std(),
        lambda a: a.T @ a,
        lambda a: a.astype("f4").max(),
        lambda a: a[:, 3][None],
    ):
        got = compute(x).compute()
        assert type(got) is type(x._meta) or not compute(x).ndim
        np.testing.assert_allclose(on_host(got), compute(VALUES), rtol=1e-6)
    np.testing.assert_array_equal(on_host(da.concatenate([x, x]).rechunk((7, 9)).compute()), np.vstack([VALUES] * 2))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_elements_of_every_type(dtype: Any) -> None:
    z = gpuzarr.create_array({}, shape=(7, 5), chunks=(3, 2), dtype=dtype)
    z[...] = values = values_of(np.random.default_rng(1), z.dtype, z.shape)
    x = z.to_dask()
    assert (x.dtype, x._meta.dtype) == (z.dtype, z.dtype)
    got = x[1:6, ::2].compute()
    assert got.dtype == z.dtype
    np.testing.assert_array_equal(got, values[1:6, ::2])
    np.testing.assert_array_equal(x[[5, 2, 2]].compute(), values[[5, 2, 2]])
    np.testing.assert_array_equal(from_zarr(z, chunks="auto").compute(), values)


def test_elements_in_foreign_byte_order_are_the_device_s_own(device: str) -> None:
    z = gpuzarr.create_array({}, data=VALUES.astype(">f4"), chunks=(7, 7), zarr_format=2, device=device)
    x = z.to_dask()
    got = x.compute()
    assert x.dtype == got.dtype == z[...].dtype
    np.testing.assert_array_equal(on_host(got), VALUES)


def test_arrays_without_axes_or_elements() -> None:
    zero = gpuzarr.create_array({}, data=np.array(5.0)).to_dask()
    assert (zero.chunks, (zero + 1).compute()) == ((), 6.0)
    empty = gpuzarr.create_array({}, shape=(0, 3), chunks=(2, 2))
    for chunks in (None, "auto", (2, 2)):
        assert empty.to_dask(chunks).compute().shape == (0, 3)


def test_a_rectilinear_grid_gives_blocks_of_its_own_lengths() -> None:
    with gpuzarr.config.set({"array.rectilinear_chunks": True}):
        z = gpuzarr.create_array({}, shape=(10, 9), chunks=((3, 3, 4), (2, 7)), dtype="i4")
    z[...] = values = np.arange(90).reshape(10, 9)
    x = z.to_dask()
    assert x.chunks == ((3, 3, 4), (2, 7))
    np.testing.assert_array_equal(x.compute(), values)
    assert z.to_dask(f"{4 * 14 * 4}B").chunks == ((6, 4), (2, 7))


def test_chunks_are_as_dask_takes_them_and_auto_is_whole_units(path: Path) -> None:
    z = gpuzarr.open_array(path)
    one, two = (20,), (50,)
    given: list[tuple[Any, Any]] = [
        ("auto", (one, two)),
        (f"{16 * 20 * 8}B", ((8, 8, 4), (40, 10))),
        (f"{16 * 40 * 8}B", ((16, 4), (40, 10))),
        (("auto", 20), (one, (20, 20, 10))),
        ((f"{16 * 20 * 8}B", 20), ((16, 4), (20, 20, 10))),
        (7, ((7, 7, 6), (7,) * 7 + (1,))),
        ((-1, None), (one, two)),
        ({1: 25}, (one, (25, 25))),
        (((5, 15), (50,)), ((5, 15), two)),
    ]
    for chunks, expected in given:
        x = z.to_dask(chunks)
        assert x.chunks == expected, chunks
        np.testing.assert_array_equal(x.compute(), VALUES)
    assert z.to_dask("auto").chunks == from_zarr(path, chunks="auto").chunks
    with dask.config.set({"array.chunk-size": 16 * 40 * 8}):
        assert z.to_dask("auto").chunks == ((16, 4), (40, 10))
    for wrong in (("auto",), (3,), ((5, 5), (50,)), ("1kB", "2kB"), "many"):
        with pytest.raises(ValueError, match=r"."):
            z.to_dask(wrong)
    line = gpuzarr.create_array({}, data=np.arange(5), chunks=2)
    assert line.to_dask((3, 2)).chunks == ((3, 2),)


def test_metadata_that_declare_too_many_blocks_take_no_memory() -> None:
    huge = gpuzarr.create_array({}, shape=(2**62, 3), chunks=(1, 3), dtype="u1")
    for chunks in (None, 1, (1000, -1), ("1B", -1)):
        with pytest.raises(LimitError, match="ask for larger"):
            huge.to_dask(chunks)
    with pytest.raises(LimitError, match="ask for larger"):
        _ = huge.read_chunk_sizes
    assert huge.to_dask((2**60, 3)).numblocks == (4, 1)
    assert huge.to_dask(f"{3 * 2**60}B").numblocks == (4, 1)
    assert huge.to_dask((2**60, 3))[:5].compute().tolist() == [[0] * 3] * 5


def test_a_block_reads_its_own_chunks_only(path: Path) -> None:
    store = CountingStore(LocalStore(path))
    x = gpuzarr.open_array(store).to_dask()
    store.reset()
    np.testing.assert_array_equal(x[9:11, 41:].compute(), VALUES[9:11, 41:])
    assert {key for _, key in store.keys} == {"c/1/2"}


def test_whatever_names_a_place(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects: dict[str, bytes] = {}
    group = gpuzarr.group(objects)
    group.create_array("b/c", data=VALUES, chunks=(10, 10))
    with ZipStore(tmp_path / "a.zip", mode="w") as archive:
        gpuzarr.create_array(archive, data=VALUES, chunks=(5, 5))
    remote = FsspecStore.from_url("memory://test-dask/x")
    gpuzarr.create_array(remote, data=VALUES, name="y")
    reads = [
        from_zarr("a.zarr"),
        from_zarr(path),
        from_zarr(LocalStore(path)),
        from_zarr(tmp_path, component="a.zarr"),
        from_zarr("a.zip"),
        from_zarr("memory://test-dask/x", "y", storage_options={"skip_instance_cache": True}),
        from_zarr(objects, component="b/c"),
        from_zarr(group, component="b/c"),
        from_zarr(group["b"], component="c"),
        from_zarr(group["b/c"], inline_array=True),
        gpuzarr.open_array(path).to_dask(inline_array=True),
    ]
    for x in reads:
        np.testing.assert_array_equal(x.compute(), VALUES)
    remote.delete_prefix("")
    with pytest.raises(ArrayNotFoundError):
        from_zarr("nothing.zarr")
    with pytest.raises(NodeTypeValidationError):
        from_zarr(group)
    with pytest.raises(NodeTypeValidationError):
        from_zarr(group, component="b")
    with pytest.raises(TypeError, match="open array"):
        from_zarr(group["b/c"], component="c")
    assert not (tmp_path / "nothing.zarr").exists()


def test_without_dask_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z = gpuzarr.open_array(path)
    x = z.to_dask()
    for module in [m for m in sys.modules if m.partition(".")[0] == "dask"]:
        monkeypatch.setitem(sys.modules, module, None)
    for use in (z.to_dask, lambda: from_zarr(path), lambda: to_zarr(x, path)):
        with pytest.raises(MissingPackageError, match=r"dask is not installed: pip install 'gpuzarr\[dask\]'") as found:
            use()
        assert isinstance(found.value, ImportError)


def test_the_module_loads_dask_when_it_is_used() -> None:
    code = "import sys, gpuzarr.dask; assert 'dask' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# ---- names


def test_names_tell_arrays_apart_and_nothing_else(path: Path, tmp_path: Path) -> None:
    z = gpuzarr.open_array(path)
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        token = tokenize(z)
        assert tokenize(gpuzarr.open_array(path, mode="r")) == token
        assert tokenize(gpuzarr.open_group(tmp_path)["a.zarr"]) != token  # another store, for all we know
        assert from_zarr(path).name == z.to_dask().name == from_zarr(LocalStore(path)).name
    names = {
        from_zarr(path).name,
        from_zarr(path, chunks=5).name,
        from_zarr(path, device="emulated").name,
        from_zarr(path, config={"read_missing_chunks": False}).name,
        from_zarr(path, name=False).name,
        from_zarr(path, name=False).name,
    }
    assert len(names) == 6
    assert from_zarr(path, name="mine").name == z.to_dask(name="mine").name == "mine"
    z.attrs["changed"] = 1
    changed = tokenize(z)
    assert changed != token
    gpuzarr.create_array(
        path, data=VALUES + 1, chunks=(4, 10), shards=(8, 20), attributes={"changed": 1}, overwrite=True
    )
    again = gpuzarr.open_array(path)
    assert again.metadata == z.metadata
    assert tokenize(again) != changed


def test_a_group_has_a_token_too(tmp_path: Path) -> None:
    group = gpuzarr.open_group(tmp_path / "g")
    with dask.config.set({"tokenize.ensure-deterministic": True}):
        token = tokenize(group)
        assert tokenize(gpuzarr.open_group(tmp_path / "g")) == token
        assert tokenize(group.to_device("emulated")) != token
    group.attrs["a"] = 1
    assert tokenize(group) != token


def test_tokens_are_the_same_in_every_process(path: Path) -> None:
    code = (
        "import sys, gpuzarr, dask; from dask.base import tokenize;"
        "print(tokenize(gpuzarr.open_array(sys.argv[1])), gpuzarr.open_array(sys.argv[1]).to_dask().name)"
    )
    command = [sys.executable, "-c", code, path.name]
    done = subprocess.run(
        command, cwd=path.parent, env=_environment(), capture_output=True, text=True, check=True
    ).stdout.split()
    z = gpuzarr.open_array(path)
    assert done == [tokenize(z), z.to_dask().name]


def test_stores_that_no_place_names_are_told_apart_for_ever() -> None:
    seen = set()
    for make in (MemoryStore, lambda: MappingStore({}), lambda: ManagedMemoryStore("test-dask")):
        for _ in range(3):  # whose dicts may get the address of the one before
            store: Store = make()
            token = tokenize(store)
            assert tokenize(store.with_read_only()) == tokenize(store) == token
            assert token not in seen
            seen.add(token)
            del store
    held = ManagedMemoryStore("test-dask")
    assert tokenize(ManagedMemoryStore("test-dask")) == tokenize(held) == tokenize(pickle.loads(pickle.dumps(held)))
    store = MemoryStore()
    assert tokenize(pickle.loads(pickle.dumps(store))) != tokenize(store)  # a copy goes its own way


def test_stores_in_two_places_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ZipStore(tmp_path / "a.zip", mode="w").close()
    ZipStore(tmp_path / "b.zip", mode="w").close()
    obstore = pytest.importorskip("obstore").store

    def stores(name: str) -> list[Store]:
        return [
            LocalStore(tmp_path / name),
            LoggingStore(LocalStore(tmp_path / name)),
            ZipStore(tmp_path / f"{name}.zip"),
            FsspecStore.from_url(f"memory://test-dask/{name}"),
            FsspecStore.from_url("s3://bucket/p", {"endpoint_url": f"http://{name}.example"}),
            ObjectStore(obstore.S3Store("bucket", endpoint=f"http://{name}.example", skip_signature=True)),
        ]

    with dask.config.set({"tokenize.ensure-deterministic": True}):
        first = [tokenize(store) for store in stores("a")]
        assert first == [tokenize(store) for store in stores("a")]
        assert first == [tokenize(pickle.loads(pickle.dumps(store))) for store in stores("a")]
        assert len({*first, *(tokenize(store) for store in stores("b"))}) == 12
        monkeypatch.chdir(tmp_path)
        assert tokenize(LocalStore("a")) == first[0]
    memory = obstore.MemoryStore()
    assert tokenize(ObjectStore(memory)) != tokenize(ObjectStore(memory))


# ---- pickles


def test_an_array_is_pickled_as_a_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = gpuzarr.create_array("a/small", shape=(5,), chunks=(5,), dtype="i4")
    large = gpuzarr.create_array("a/large", shape=(10**9,) * 3, chunks=(10,) * 3, shards=(100,) * 3, dtype="i4")
    large[:200, :100, :100] = 1
    sizes = [len(pickle.dumps(z)) for z in (small, large, large.with_cache(1 << 20), large.to_device("emulated"))]
    assert max(sizes) < 3000
    x = large.to_dask(100_000_000)
    assert len(pickle.dumps(x.dask)) < 10_000
    away = tmp_path / "elsewhere"
    away.mkdir()
    code = (
        "import pickle, sys; z = pickle.load(sys.stdin.buffer);"
        "print(z.device.name, int(z[:150, 5, 5].sum()), z.shape, z.read_only)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=away, env=_environment(), input=pickle.dumps(large), capture_output=True
    )
    assert done.stdout.decode() == f"cpu 150 {(10**9,) * 3} False\n", done.stderr.decode()


@pytest.mark.parametrize("url", ["managed", "memory://test-dask/away"])
def test_memory_of_one_process_is_not_another_s(url: str) -> None:
    store = ManagedMemoryStore("test-dask-away") if url == "managed" else FsspecStore.from_url(url)
    z = gpuzarr.create_array(store, data=VALUES, overwrite=True)
    assert not store.shares_after_pickle
    again = pickle.loads(pickle.dumps(z))
    np.testing.assert_array_equal(again[...], VALUES)  # in this process it is the same memory
    code = (
        "import pickle, sys\nz = pickle.load(sys.stdin.buffer)\n"
        "for use in (lambda: z[...], lambda: z.store.with_read_only().get('c/0/0'), lambda: list(z.store.list()),\n"
        "            lambda: pickle.loads(pickle.dumps(z))[...], lambda: z.__setitem__(0, 1)):\n"
        "    try: print(use())\n    except Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environment(), input=pickle.dumps(z), capture_output=True, check=True
    )
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 5
    for line in lines:
        assert re.match(r"Store\w*Error .*memory://.* is in the memory of process \d+, and this is process", line), (
            lines
        )


def test_stores_say_whether_pickles_share(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    writing = ZipStore(tmp_path / "w.zip", mode="w")
    writing.close()
    shared = [
        LocalStore(tmp_path),
        LoggingStore(LocalStore(tmp_path)),
        ZipStore(tmp_path / "w.zip"),
        FsspecStore.from_url(f"file://{tmp_path}"),
        ZarrPythonStore(zarr.storage.LocalStore(tmp_path)),
    ]
    alone = [
        MemoryStore(),
        LoggingStore(MemoryStore()),
        MappingStore({}),
        writing,
        ZarrPythonStore(zarr.storage.MemoryStore()),
        ObjectStore(pytest.importorskip("obstore").store.MemoryStore()),
    ]
    assert [store.shares_after_pickle for store in shared + alone] == [True] * 5 + [False] * 6


# ---- the usage guide


def test_the_guide_s_parallel_computation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    z = gpuzarr.open("large_data.zarr", mode="w", shape=(1000, 1000), chunks=(100, 100), dtype="f4")
    z[...] = values = np.random.default_rng(1).random((1000, 1000)).astype("f4")
    dask_arr = from_zarr("large_data.zarr")
    assert f"Dask array: {dask_arr.shape}, {dask_arr.npartitions} partitions" == (
        "Dask array: (1000, 1000), 100 partitions"
    )
    np.testing.assert_allclose(dask_arr.mean(axis=0).compute(), values.mean(axis=0), rtol=1e-5)
    large_random = da.random.random((1000, 1000), chunks=(100, 100))
    to_zarr(large_random, "output.zarr")
    assert gpuzarr.open_array("output.zarr").chunks == (100, 100)


def test_the_guide_s_parallel_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = da.random.default_rng(1).random((1000, 1000), chunks=(100, 100))
    to_zarr(data, "parallel_output.zarr")
    z = from_zarr("parallel_output.zarr")
    assert f"Written: {z.shape}, {z.npartitions} partitions" == "Written: (1000, 1000), 100 partitions"
    np.testing.assert_array_equal(z.compute(), data.compute())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


FANCY = [
    ([5, 0, -1, 5],),
    (slice(None), np.array([6, 0, 3])),
    (slice(None, None, -1), [True, False] * 3 + [True]),
    (2, [6, 1, 1]),
    ([], slice(2, 5)),
]


@pytest.mark.parametrize("index", FANCY, ids=repr)
def test_blocks_of_a_device_are_indexed_by_lists_of_the_host(index: Any) -> None:
    values = np.arange(42).reshape(6, 7)
    store: dict[str, Any] = {}
    gpuzarr.create_array(store, data=values, chunks=(2, 3))
    found = from_zarr(store, device="emulated")
    np.testing.assert_array_equal(found[index].compute().get(), da.from_array(values, chunks=(2, 3))[index].compute())
    points = np.array([5, 0, 0, 2]), np.array([0, 6, 6, 3])
    np.testing.assert_array_equal(found.vindex[points].compute().get(), values[points])


def test_one_element_alone_keeps_its_data_type() -> None:
    text = gpuzarr.create_array({}, shape=(), dtype=str)
    text[...] = "ab"
    listed = gpuzarr.empty((), dtype=object, object_codec=numcodecs.JSON(), zarr_format=2)
    value = np.empty((), object)
    value[()] = [1, 2]
    listed[...] = value
    for array in (text, listed):
        got = pickle.loads(pickle.dumps(array.to_dask())).compute()
        assert (got.shape, got.dtype) == ((), array.dtype)
        assert got[()] == np.asarray(array)[()]
