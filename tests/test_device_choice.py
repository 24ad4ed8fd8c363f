"""Which device an array is on: the argument, the block, the option; groups, pickles, threads, several GPUs."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpuzarr as zarr
from gpuzarr import devices
from gpuzarr.cli import machine as doctor
from gpuzarr.devices import EmulatedDevice, cuda, get_device, kvikio
from gpuzarr.devices.gpu import GpuDevice
from gpuzarr.errors import DeviceError, GpuError
from gpuzarr.storage import MemoryStore
from tests import fake_cupy


@pytest.fixture
def store() -> MemoryStore:
    """A group with an array and a group with an array."""
    store = MemoryStore()
    root = zarr.open_group(store, mode="w")
    root["a"] = np.arange(6)
    root["b/c"] = np.arange(7)
    return store


MAKE: dict[str, Callable[..., Any]] = {
    "create_array": lambda **d: zarr.create_array({}, shape=4, dtype="i4", **d),
    "create_array of data": lambda **d: zarr.create_array({}, data=np.arange(4), **d),
    "from_array": lambda **d: zarr.from_array({}, data=np.arange(4), **d),
    "create": lambda **d: zarr.create(4, store={}, **d),
    "array": lambda **d: zarr.array([1, 2], store={}, **d),
    "empty": lambda **d: zarr.empty(4, store={}, **d),
    "zeros": lambda **d: zarr.zeros(4, store={}, **d),
    "ones": lambda **d: zarr.ones(4, store={}, **d),
    "full": lambda **d: zarr.full(4, 7, store={}, **d),
    "zeros read-only": lambda **d: zarr.zeros(4, store={}, read_only=True, **d),
    "empty_like": lambda **d: zarr.empty_like(np.zeros(4), store={}, **d),
    "zeros_like": lambda **d: zarr.zeros_like(np.zeros(4), store={}, **d),
    "ones_like": lambda **d: zarr.ones_like(np.zeros(4), store={}, **d),
    "full_like": lambda **d: zarr.full_like(np.zeros(4), fill_value=3, store={}, **d),
    "open_like": lambda **d: zarr.open_like(np.zeros(4), "p", store={}, **d),
    "open of a new array": lambda **d: zarr.open({}, mode="w", shape=4, dtype="i4", **d),
    "group": lambda **d: zarr.group({}, **d),
    "create_group": lambda **d: zarr.create_group({}, **d),
    "open_group": lambda **d: zarr.open_group({}, **d),
    "Group.from_store": lambda **d: zarr.Group.from_store({}, **d),
}
OPEN: dict[str, Callable[..., Any]] = {
    "open": lambda store, **d: zarr.open(store, path="a", mode="r", **d),
    "open of a group": lambda store, **d: zarr.open(store, mode="r", **d),
    "open_array": lambda store, **d: zarr.open_array(store, path="a", mode="r", **d),
    "open_group": lambda store, **d: zarr.open_group(store, mode="r", **d),
    "Group.open": lambda store, **d: zarr.Group.open(store, **d),
    "consolidate_metadata": lambda store, **d: zarr.consolidate_metadata(store, **d),
    "consolidate_metadata of an array": lambda store, **d: zarr.consolidate_metadata(store, "a", **d),
    "open_like": lambda store, **d: zarr.open_like(np.zeros(4), "a", store=store, **d),
    "create_hierarchy": lambda store, **d: dict(
        zarr.create_hierarchy(store={}, nodes={"n": zarr.open_array(store, path="a").metadata}, **d)
    )["n"],
}


@pytest.mark.parametrize("make", [*MAKE.values(), *OPEN.values()], ids=[*MAKE, *OPEN])
def test_the_argument_then_the_block_then_the_option(make: Callable[..., Any], store: MemoryStore) -> None:
    given = (store,) if make in OPEN.values() else ()
    own = EmulatedDevice()
    assert make(*given).device is get_device("cpu")
    assert make(*given, device="emulated").device is get_device("emulated")
    with zarr.config.set({"device": "emulated"}):
        assert make(*given).device is get_device("emulated")
        assert make(*given, device="cpu").device is get_device("cpu")
        with zarr.device(own) as entered:
            assert entered is own
            assert make(*given).device is own
            with zarr.device("cpu"), zarr.device(None):
                assert make(*given).device is get_device("cpu")
                assert make(*given, device="emulated").device is get_device("emulated")
            assert make(*given).device is own
        assert make(*given).device is get_device("emulated")


def test_the_environment_says_the_option() -> None:
    code = "import gpuzarr; print(gpuzarr.zeros(3, store={}).device.name)"
    for name in ("emulated", "auto"):
        environment = {**os.environ, "GPUZARR_DEVICE": name, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == get_device(name).name


def test_load_reads_to_the_device(store: MemoryStore) -> None:
    for how in ({"device": "emulated"}, {}):
        with zarr.device("emulated" if not how else "cpu"):
            assert type(zarr.load(store, path="a", **how)) is get_device("emulated").xp.ndarray
            assert type(zarr.load(store, **how)["a"]) is get_device("emulated").xp.ndarray


def test_the_block_ends_whatever_happens() -> None:
    with pytest.raises(KeyError), zarr.device("emulated"):
        raise KeyError
    assert get_device() is get_device("cpu")
    with pytest.raises(ValueError, match="'gpu' is not known"), zarr.device("gpu"):
        raise AssertionError
    assert get_device() is get_device("cpu")


def test_the_block_is_of_its_thread_and_of_its_tasks() -> None:
    found: dict[str, str] = {}

    def look(name: str) -> None:
        found[name] = get_device().name

    async def main() -> None:
        with zarr.device("emulated"):
            task = asyncio.create_task(asyncio.to_thread(look, "a thread of asyncio"))
        await task
        look("after")

    with zarr.device("emulated"):
        thread = threading.Thread(target=look, args=("thread",))
        thread.start()
        thread.join()
    asyncio.run(main())
    assert found["a thread of asyncio"] == "emulated"
    assert found["after"] == "cpu"
    inherits = getattr(sys.flags, "thread_inherit_context", 0)  # Python 3.14 without a lock on the interpreter
    assert found["thread"] == ("emulated" if inherits else "cpu")


def test_what_is_open_stays_where_it_is(store: MemoryStore) -> None:
    with zarr.device("emulated"):
        z, g = zarr.open_array(store, path="a"), zarr.open_group(store)
    assert z.device.name == g.device.name == g["a"].device.name == g["b"]["c"].device.name == "emulated"
    plain, on_cpu = zarr.open_group(store), zarr.open_group(store, device="cpu")
    with zarr.device("emulated"):
        assert plain["a"].device.name == plain.device.name == "emulated"  # nothing was said of it before
        assert on_cpu["a"].device.name == on_cpu.device.name == "cpu"
        assert z.to_device("cpu").device.name == "cpu"


def test_groups_hand_the_device_down(store: MemoryStore) -> None:
    g = zarr.open_group(store, device="emulated")
    made = [
        g["a"], g["b/c"], g["b"]["c"], g.get("a"), g.get_array("a"), g.get_group("b")["c"],
        *(a for _, a in g.arrays()), *(m["c"] for _, m in g.groups()), g.members(None)[-1][1],
        g.create_array("n1", shape=3, dtype="i4"), g.create_group("n2").create_array("x", shape=3, dtype="i4"),
        g.require_array("n1", shape=3, dtype="i4"), g.require_group("n3").zeros("z", 3), g.array("n4", [1]),
        g.full_like("n5", g["a"], fill_value=1), g.require_group("b")["c"], g.create_dataset("n6", shape=3, dtype="i4"),
        dict(g.create_hierarchy({"n7": g["a"].metadata}))["n7"],
    ]  # fmt: skip
    assert {m.device.name for m in made} == {"emulated"}
    assert g.create_array("n8", shape=3, dtype="i4", device="cpu").device.name == "cpu"
    moved = g.to_device("cpu")
    assert moved["b"]["c"].device.name == moved.device.name == "cpu"
    assert moved == g
    g["n9"] = g["a"]
    g["n10"] = g["a"][1:3]
    np.testing.assert_array_equal(moved["n9"][...], np.arange(6))
    np.testing.assert_array_equal(moved["n10"][...], [1, 2])
    with pytest.raises(ValueError, match="'gpu' is not known"):
        zarr.open_group(store, device="gpu")


def test_pickles_keep_the_device_by_name(store: MemoryStore) -> None:
    g = zarr.open_group(store, device=get_device("emulated"))
    again, array, view = pickle.loads(pickle.dumps((g, g["a"], g["a"].lazy[1:])))
    assert again["a"].device is array.device is get_device("emulated")
    assert array.device.download(array[...]).tolist() == list(range(6))
    assert array.device.download(view.result()).tolist() == list(range(1, 6))
    plain = pickle.loads(pickle.dumps(zarr.open_group(store)))
    with zarr.device("emulated"):
        assert plain["a"].device.name == "emulated"


def test_elements_that_gpus_do_not_have_are_said(store: MemoryStore) -> None:
    for dtype in ("U3", ">U3", ">M8[s]", [("x", ">i4")]):
        a = zarr.create_array({}, shape=3, dtype=dtype, zarr_format=2, device="emulated")
        with pytest.raises(DeviceError, match=r"'emulated' has no elements of .*; read it with device=\"cpu\""):
            a[...]
        assert a.to_device("cpu")[...].shape == (3,)
        a[...] = np.zeros(3, dtype)
        np.testing.assert_array_equal(np.asarray(a.to_device("cpu")), np.zeros(3, dtype))


# ---- several GPUs


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> fake_cupy.FakeCupy:
    monkeypatch.setattr(devices, "_devices", {})
    return fake_cupy.install(monkeypatch, devices=3)


def test_several_gpus_by_name(fake: fake_cupy.FakeCupy) -> None:
    data = np.arange(600.0).reshape(20, 30)
    store = MemoryStore()
    zarr.create_array(store, data=data, chunks=(7, 8), compressors=None)
    places = {}
    for number in (2, 0, 1):
        with zarr.device(f"cuda:{number}"):
            z = zarr.open_array(store)
        assert z.device.name == f"cuda:{number}"
        got = z[3:, ::-2]
        assert fake.number_of(got) == places.setdefault(z.device.name, number)
        assert {s.device for s in fake.streams[-len(z.device._lanes) :]} == {number}
        np.testing.assert_array_equal(got.get(), data[3:, ::-2])
    assert get_device("cuda") is get_device("cuda:0")
    with pytest.raises(GpuError, match="no device 'cuda:3': CUDA shows 3"):
        zarr.open_array(store, device="cuda:3")


def test_kvikio_is_looked_for_once_per_process(fake: fake_cupy.FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_kvikio", cuda._kvikio.__wrapped__)
    device = get_device("cuda:2")
    assert isinstance(device, GpuDevice)
    assert device.card == "Fake 2"
    monkeypatch.setitem(sys.modules, "kvikio", None)
    assert kvikio.why_not(device) == "KvikIO is not installed: pip install 'gpuzarr[kvikio]'"
    module = ModuleType("kvikio")
    module.__spec__ = ModuleSpec("kvikio", None)
    monkeypatch.setitem(sys.modules, "kvikio", module)
    assert device.kvikio() is module
    assert kvikio.why_not(device) is None


def test_a_kvikio_that_cannot_be_imported_is_tried_once(
    fake: fake_cupy.FakeCupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(name: str) -> None:
        tried.append(name)
        raise RuntimeError("no libcufile")

    module = ModuleType("kvikio")
    module.__spec__ = ModuleSpec("kvikio", None)
    monkeypatch.setitem(sys.modules, "kvikio", module)
    monkeypatch.setattr(cuda, "_kvikio", cache(cuda._kvikio.__wrapped__))
    monkeypatch.setattr(cuda, "import_module", fails)
    device = get_device("cuda:1")
    assert isinstance(device, GpuDevice)
    for _ in range(3):
        assert kvikio.why_not(device) == "KvikIO cannot be used: RuntimeError: no libcufile"
    assert tried == ["kvikio"]


def test_a_destination_on_another_gpu_is_refused(fake: fake_cupy.FakeCupy) -> None:
    z = zarr.create_array({}, data=np.arange(5.0), device="cuda:1")
    other = get_device("cuda:2").empty((5,), np.dtype("f8"))
    with pytest.raises(DeviceError, match="in the memory of cuda:2 cannot be used on device 'cuda:1'"):
        z.get_basic_selection(out=other)
    with pytest.raises(DeviceError, match="in the memory of cuda:2 cannot be used on device 'cuda:1'"):
        z[...] = other
    # CuPy has no objection to this one: it makes a copy on the current GPU.
    told = {"shape": (5,), "typestr": "<f8", "data": (get_device("cuda:2").address(other), False), "version": 3}
    silent = SimpleNamespace(__cuda_array_interface__=told, owner=other)
    with pytest.raises(
        DeviceError, match="'cuda:1' cannot use the memory of this SimpleNamespace: CuPy has made a copy"
    ):
        z.get_basic_selection(out=silent)
    mine = get_device("cuda:1").empty((5,), np.dtype("f8"))
    assert z.get_basic_selection(out=mine) is mine
    assert mine.get().tolist() == list(range(5))
    z[...] = mine * 2
    assert z.to_device("cpu")[...].tolist() == [0, 2, 4, 6, 8]


def test_the_doctor_names_the_driver_and_the_cards(fake: fake_cupy.FakeCupy) -> None:
    found = doctor.examine()["gpu"]
    assert found["driver"] == "for CUDA 13.2"
    assert found["runtime"] == "CUDA 13.2"
    assert found["cuda:0"] == "Fake 0, compute capability 9.0, 80.0 GiB"
    assert len([row for row in found if row.startswith("cuda:")]) == fake.devices
    assert found["cuda"] == "works"
    assert found["auto"] == "cuda:0"
    fake.devices = 0
    found = doctor.examine()["gpu"]
    assert "finds no GPU that it can use" in found["cuda"]
    assert "cuda:0" not in found
    assert found["driver"] == "for CUDA 13.2"
    fake.cuda.runtime.driverGetVersion = lambda: 0
    assert doctor.examine()["gpu"]["driver"] == "none"
    fake.cuda.runtime.driverGetVersion = fake._count
    assert doctor.examine()["gpu"]["driver"] == "cudaError 35"
