"""Devices: their names, arrays of the emulated one, lanes, launches, faults; cuda's lines by way of a fake CuPy."""

from __future__ import annotations

import builtins
import gc
import subprocess
import sys
import threading
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest

import gpuzarr.devices as devices
from gpuzarr.devices import CpuDevice, EmulatedDevice, columns, cuda, get_device, launches
from gpuzarr.devices.contract import Lane
from gpuzarr.devices.crew import Crew
from gpuzarr.devices.emulated_array import EmulatedArray
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.launches import Area, Rows
from gpuzarr.devices.numpy_checksums import xxh64
from gpuzarr.devices.numpy_kernels import unfiltered
from gpuzarr.devices.scatter import Layout, Parts, bounds, fill, put_in_order, scatter, scatter_points
from gpuzarr.errors import ForkError, GpuContextLostError, GpuError, GpuMemoryError
from gpuzarr.options import config
from tests import fake_cupy

ROOT = Path(__file__).parents[1]
Array = np.ndarray[Any, Any]


@pytest.fixture(params=["source", "numpy", "lazy", "fake cuda", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> GpuDevice:
    """Each kind of GPU."""
    if request.param == "fake cuda":
        fake_cupy.install(monkeypatch)
        return cuda.CudaDevice()
    if request.param == "lazy":
        return EmulatedDevice(streams="lazy")
    return cuda.CudaDevice() if request.param == "cuda" else EmulatedDevice(kernels=request.param)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> fake_cupy.FakeCupy:
    return fake_cupy.install(monkeypatch)


def once(device: GpuDevice, work: Callable[[GpuLane], Any]) -> Any:
    """What `work` gives on a lane of its own."""
    found: list[Any] = []

    def task(_: int, lane: Lane) -> None:
        assert isinstance(lane, GpuLane)
        found.append(work(lane))

    device.run(task, 1)
    return found[0]


def put(device: GpuDevice, host: Array, lane: GpuLane, name: str = "given") -> Area:
    """Bytes in an area of the lane."""
    area = lane.area(name, host.nbytes)
    device.copy_in(device.address(area), np.ascontiguousarray(host).reshape(-1).view(np.uint8), lane)
    return Area(device.address(area), host.nbytes)


def got(device: GpuDevice, area: Area, lane: GpuLane) -> Array:
    host = np.empty(area.nbytes, np.uint8)
    device.copy_out(area.address, host, lane)
    device.wait(lane)
    return host


# ---- names


def test_names() -> None:
    assert get_device("cpu") is get_device("cpu")
    assert get_device("emulated") is get_device("emulated")
    assert get_device("emulated").name == "emulated"
    assert [get_device(n).kind for n in ("cpu", "emulated")] == ["cpu", "gpu"]
    own = EmulatedDevice()
    assert get_device(own) is own
    with config.set({"device": "emulated"}):
        assert get_device() is get_device("emulated")
    for name in ("gpu", "cuda:", "cuda:x", "cuda:-1", "emulated:1", "CPU"):
        with pytest.raises(ValueError, match="is not known; there are 'cpu', 'cuda', 'cuda:<number>', 'emulated'"):
            get_device(name)
    with pytest.raises(AttributeError):
        devices.TpuDevice  # noqa: B018


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_devices", {})


@pytest.mark.usefixtures("forgetful")
def test_auto_is_cuda_where_it_works(fake: fake_cupy.FakeCupy) -> None:
    assert get_device("auto") is get_device("cuda") is get_device("cuda:0")
    assert get_device("cuda").name == "cuda:0"
    assert isinstance(get_device("cuda"), devices.CudaDevice)
    with pytest.raises(GpuError, match="no device 'cuda:1': CUDA shows 1"):
        get_device("cuda:1")


@pytest.mark.usefixtures("forgetful")
def test_auto_is_cpu_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "why_not", cuda.why_not.__wrapped__)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert isinstance(get_device("auto"), CpuDevice)
    assert get_device("auto") is get_device("cpu")


def test_why_cuda_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda, "why_not", cuda.why_not.__wrapped__)
    fake_cupy.install(monkeypatch, devices=0)
    with pytest.raises(GpuError, match=r"'cuda:0' cannot be used: CuPy 0 \(fake\) finds no GPU that it can use"):
        cuda.CudaDevice()
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(GpuError, match=r"CuPy is not installed: pip install 'gpuzarr\[cuda13\]'"):
        cuda.CudaDevice()
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.syspath_prepend(tmp_path)
    for broken, said in [
        ("raise RuntimeError('libcublas')", "CuPy cannot be imported: RuntimeError: libcublas"),
        ("import half_of_cupy", "CuPy cannot be imported: No module named 'half_of_cupy'"),
        ("raise OSError('no disk')", "CuPy cannot be imported: OSError: no disk"),
    ]:
        (tmp_path / "cupy.py").write_text(broken)
        with pytest.raises(GpuError, match=said):
            cuda.CudaDevice(1)


# ---- arrays of the emulated device


@pytest.fixture
def xp() -> Any:
    return EmulatedDevice().xp


REFUSED: list[Callable[[Any, Array, Any], Any]] = [
    lambda x, host, xp: np.asarray(x),
    lambda x, host, xp: np.array(x),
    lambda x, host, xp: np.array([x, x]),
    lambda x, host, xp: np.ascontiguousarray(x),
    lambda x, host, xp: memoryview(x),
    lambda x, host, xp: bytes(x),
    lambda x, host, xp: np.frombuffer(x),
    lambda x, host, xp: float(x[0, 0]),
    lambda x, host, xp: int(x[0, 0]),
    lambda x, host, xp: complex(x[0, 0]),
    lambda x, host, xp: bool((x == x).all()),
    lambda x, host, xp: range(x.sum()),
    lambda x, host, xp: [float(v) for v in x[0]],
    lambda x, host, xp: x + host,
    lambda x, host, xp: host + x,
    lambda x, host, xp: host.__iadd__(x),
    lambda x, host, xp: x.__iadd__(host),
    lambda x, host, xp: np.add(x, host),
    lambda x, host, xp: np.add(x, x, out=host),
    lambda x, host, xp: x.__setitem__(..., host),
    lambda x, host, xp: host.__setitem__(..., x),
    lambda x, host, xp: np.take(host, x),
    lambda x, host, xp: host[x > 1],
    lambda x, host, xp: np.copyto(host, x),
    lambda x, host, xp: np.concatenate([x, host]),
    lambda x, host, xp: np.concatenate([x, x], out=host),
    lambda x, host, xp: xp.add(host, host),
    lambda x, host, xp: xp.sum(host),
    lambda x, host, xp: xp.array([host, host]),
    lambda x, host, xp: x.dot(host),
    lambda x, host, xp: x.__setitem__(0, [1.0, 2.0]),
]


@pytest.mark.parametrize("refused", REFUSED)
def test_device_arrays_do_not_become_host_arrays(refused: Callable[[Any, Array, Any], Any], xp: Any) -> None:
    host = np.arange(4.0).reshape(2, 2)
    before = host.copy()
    with pytest.raises(TypeError):
        refused(xp.asarray(host), host, xp)
    assert (host == before).all()


def test_indices_of_the_host_are_uploaded(xp: Any) -> None:
    host = np.arange(24.0).reshape(2, 3, 4)
    device = xp.asarray(host)
    rows, mask = np.array([1, 0, -1]), np.array([True, False, True])
    for index in (
        rows,
        mask[:2],
        (slice(None), mask),
        (rows, ..., rows),
        (0, rows[:, None], rows),
        (Ellipsis, None, 1),
    ):
        assert (device[index].get() == host[index]).all()
        assert device[index].shape == host[index].shape
        device[index], host[index] = -1.0, -1.0
        assert (device.get() == host).all()


def test_device_arrays_compute_as_numpy_does(xp: Any) -> None:
    host = np.arange(24.0).reshape(2, 3, 4)
    x = xp.asarray(host)
    for compute in (
        lambda a: a * 2 + 1,
        lambda a: 1 - a,
        lambda a: np.float32(2) * a,
        lambda a: a[..., ::-2] / 3,
        lambda a: a.T.copy(),
        lambda a: a.transpose(1, 0, 2).reshape(3, -1),
        lambda a: a.sum(axis=0),
        lambda a: a.astype("i2"),
        lambda a: a.view("u8"),
        lambda a: np.where(a > 3, a, 0),
        lambda a: np.concatenate([a, a]),
        lambda a: a[a > 5],
        lambda a: (a == a)[None],
        lambda a: np.cumsum(a, axis=1),
        lambda a: abs(-a),
    ):
        result = compute(x)
        wanted = compute(host)
        assert isinstance(result, EmulatedArray)
        assert result.dtype == wanted.dtype
        assert result.shape == wanted.shape
        assert (result.get() == wanted).all()
    assert (xp.arange(3).get() == [0, 1, 2]).all()
    assert (xp.full((2,), 7, "i2").get() == 7).all()
    assert xp.float32 is np.float32
    assert xp.newaxis is None
    assert xp.pi == np.pi
    assert [type(a) for a in np.divmod(x, 2)] == [EmulatedArray] * 2
    assert "emulated array" in repr(x)


def test_elements_and_sums_are_arrays_and_views(xp: Any) -> None:
    host = np.arange(6.0).reshape(2, 3)
    x = xp.asarray(host)
    assert isinstance(x[0, 0], EmulatedArray)
    assert x.sum().shape == ()
    assert x.sum().item() == 15
    assert x.tolist() == host.tolist()
    assert [row.tolist() for row in x] == host.tolist()
    assert len(x) == 2
    row, element = x[1], x[1, 2]
    x[1] = 9
    assert row.get().tolist() == [9, 9, 9]
    assert element.item() == 9
    x[0] = row
    assert (x.get() == 9).all()
    assert (host == np.arange(6.0).reshape(2, 3)).all()  # `asarray` copied


def test_device_arrays_are_copied_by_asking(xp: Any) -> None:
    host = np.arange(3, dtype="i4")
    x = xp.asarray(host)
    x.set(host + 1)
    out = np.empty(3, "i4")
    assert x.get(out=out) is out
    assert out.tolist() == [1, 2, 3]
    x.get()[...] = 0
    assert xp.asnumpy(x).tolist() == [1, 2, 3]
    assert xp.asnumpy(host).tolist() == [0, 1, 2]
    assert xp.asarray(x) is not host
    with pytest.raises(ValueError, match="same shape and dtype"):
        x.set(host.astype("i8"))
    with pytest.raises(ValueError, match="same shape and dtype"):
        x.set(x)
    assert xp.asarray(np.arange(3, dtype=">f4")).dtype == np.dtype("f4")
    assert xp.asarray([1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize("dtype", ["S3", "U2", "M8[s]", ">f4", [("a", "i4")], object, np.longdouble])
def test_gpus_do_not_have_every_dtype(dtype: Any, xp: Any) -> None:
    with pytest.raises(ValueError, match="has no elements of"):
        xp.empty(3, dtype)
    with pytest.raises(ValueError, match="has no elements of"):
        xp.zeros(3, dtype)


@pytest.mark.parametrize("name", ["ctypes", "__array_interface__", "data", "tofile", "no_such_thing"])
def test_device_arrays_do_not_have_what_cupys_have_not(name: str, xp: Any) -> None:
    assert not hasattr(xp.zeros(3), name)


def test_the_module_is_no_way_round(xp: Any) -> None:
    for name in ("linalg", "no_such_thing", "__array_interface__"):
        assert not hasattr(xp, name)
    assert isinstance(xp, ModuleType)


# ---- memory and lanes


def test_memory_is_aligned(gpu: GpuDevice) -> None:
    for nbytes in (0, 1, 1000):
        array = gpu.allocate(nbytes)
        assert array.nbytes == nbytes
        assert array.dtype == np.uint8
        if nbytes:
            assert gpu.address(array) % 256 == 0
    shaped = gpu.empty((3, 5), np.dtype("f4"), "F")
    assert shaped.shape == (3, 5)
    assert shaped.flags.f_contiguous
    with pytest.raises(TypeError):
        gpu.address(np.zeros(3))


def test_up_and_down(gpu: GpuDevice) -> None:
    host = np.arange(12, dtype="i2").reshape(3, 4)
    array = gpu.upload(host)
    assert not isinstance(array, np.ndarray)
    host[...] = 0
    back = gpu.download(array)
    assert isinstance(back, np.ndarray)
    assert (back == np.arange(12).reshape(3, 4)).all()


def test_a_lane_keeps_its_memory(gpu: GpuDevice) -> None:
    def work(lane: GpuLane) -> None:
        room, address = lane.room(1000)
        assert memoryview(room).nbytes >= 1000
        assert np.frombuffer(room, np.uint8).ctypes.data == address
        assert lane.room(10)[1] == address
        first = lane.area("a", 1000)
        assert lane.area("a", 900) is first
        assert lane.area("b", 900) is not first
        assert lane.area("a", 100_000).nbytes >= 100_000
        scratch, at = lane.scratch((2, 3), np.dtype("f8"))
        assert lane.scratch((2, 3), np.dtype("f8"))[1] == at == gpu.address(scratch)
        assert lane.scratch((2, 4), np.dtype("f8"))[0].shape == (2, 4)

    once(gpu, work)


def test_what_is_sent_arrives(gpu: GpuDevice) -> None:
    rng = np.random.default_rng(1)

    def work(lane: GpuLane) -> None:
        kept = []
        for _ in range(30):  # beyond the first block
            arrays = [rng.integers(0, 99, rng.integers(0, 20_000)).astype(d) for d in ("u1", "i8", "f4")]
            addresses = lane.send(*arrays)
            assert all(a % 16 == 0 for a in addresses)
            kept += [(a.copy(), at) for a, at in zip(arrays, addresses, strict=True)]
            for a in arrays:
                a[...] = 0
        for array, at in kept:
            assert (got(gpu, Area(at, array.nbytes), lane).view(array.dtype) == array).all()
        assert lane.send() == []
        lane.settle()
        assert len(lane._blocks) == 1

    once(gpu, work)


def test_memory_is_given_back() -> None:
    device = EmulatedDevice()

    def work(lane: GpuLane) -> None:
        lane.area("a", 10 << 20)
        lane.scratch((1 << 20,), np.dtype("f4"))
        lane.send(np.zeros(9 << 20, np.uint8))
        lane.room(200 << 20)

    once(device, work)
    assert device.most_used > 20 << 20
    assert device.used <= 1 << 10
    assert device._lanes[0]._room.nbytes == 0
    array = device.empty((1000,), np.dtype("f8"))
    view = array[10:]
    used = device.used
    del array
    assert device.used == used
    del view
    assert device.used < used


# ---- walks


def test_every_task_runs_once(gpu: GpuDevice) -> None:
    seen: list[int] = []
    lanes: set[int] = set()

    def task(i: int, lane: Lane) -> None:
        seen.append(i)
        lanes.add(id(lane))

    for count in (0, 1, 2, 50):
        seen.clear()
        gpu.run(task, count)
        assert sorted(seen) == list(range(count))
    assert len(gpu._lanes) <= gpu.lanes


def test_lanes_work_at_the_same_time(gpu: GpuDevice) -> None:
    barrier = threading.Barrier(gpu.lanes, timeout=20)

    def task(i: int, lane: Lane) -> None:
        barrier.wait()

    gpu.run(task, gpu.lanes)


def test_the_first_error_stops_the_walk(gpu: GpuDevice) -> None:
    seen: list[int] = []

    def task(i: int, lane: Lane) -> None:
        seen.append(i)
        if i == 3:
            raise KeyError(i)

    with pytest.raises(KeyError):
        gpu.run(task, 10_000)
    assert len(seen) < 10_000
    seen.clear()
    with pytest.raises(KeyError):
        gpu.run(lambda i, lane: task(i + 3, lane), 1)
    gpu.run(lambda i, lane: seen.append(i), 5)
    assert len(gpu._lanes) <= gpu.lanes


def test_a_task_may_walk_on_lanes_of_its_own(gpu: GpuDevice) -> None:
    done: list[tuple[int, int]] = []

    def task(i: int, lane: Lane) -> None:
        assert isinstance(lane, GpuLane)
        outer = put(gpu, np.full(100, i, np.uint8), lane)

        def inner(j: int, own: Lane) -> None:
            assert isinstance(own, GpuLane)
            assert own is not lane
            put(gpu, np.full(100, 77, np.uint8), own)
            done.append((i, j))

        gpu.run(inner, 3)
        assert (got(gpu, outer, lane) == i).all()

    gpu.run(task, 4)
    assert sorted(done) == [(i, j) for i in range(4) for j in range(3)]


def test_several_threads_may_read(gpu: GpuDevice) -> None:
    done: list[int] = []
    threads = [threading.Thread(target=gpu.run, args=(lambda i, lane: done.append(i), 50)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(list(range(50)) * 4)
    assert len(gpu._lanes) <= gpu.lanes


def test_waves_come_behind_what_the_caller_queued(fake: fake_cupy.FakeCupy) -> None:
    device = cuda.CudaDevice()
    with fake.cuda.Stream(non_blocking=True) as mine:
        device.run(lambda i, lane: None, 1)
    lane_stream = fake.streams[1]
    assert lane_stream is not mine
    assert lane_stream.waited_for == [mine]


# ---- launches


def test_copies(gpu: GpuDevice) -> None:
    rng = np.random.default_rng(2)
    data = rng.integers(0, 256, 3000, dtype=np.uint8)
    sizes = np.array([0, 1, 15, 16, 17, 100, 333, 500])
    sources, dests = rng.integers(0, 2000, 8), np.arange(8) * 512 + rng.integers(0, 12, 8)
    wanted = np.zeros(8 * 512, np.uint8)
    for s, d, n in zip(sources, dests, sizes, strict=True):
        wanted[d : d + n] = data[s : s + n]

    def work(lane: GpuLane) -> Array:
        source, dest = put(gpu, data, lane), put(gpu, np.zeros_like(wanted), lane, "dest")
        launches.copy(gpu, lane, columns.send(lane, sources, dests, sizes), 500, source, dest)
        launches.copy(gpu, lane, columns.send(lane, sources[:0], dests[:0], sizes[:0]), 0, source, dest)
        return got(gpu, dest, lane)

    assert (once(gpu, work) == wanted).all()


def test_chunks_are_put_in_order(gpu: GpuDevice) -> None:
    rng = np.random.default_rng(3)
    for nbytes in (4096, 4000, 808, 96, 8):
        rows = 12
        data = rng.integers(0, 256, rows * 4096, dtype=np.uint8)
        block = rng.choice([nbytes, 1, 64, 100, 256, 333], rows)  # with leftovers, of elements and of chunks
        typesize, filter = rng.choice([1, 2, 3, 4, 8, 16, 24], rows), rng.integers(0, 3, rows)
        layout = Layout(np.arange(rows) * 4096, nbytes, block, typesize, filter, rng.choice([1, 2, 4, 8], rows))

        def work(lane: GpuLane, data: Array = data, layout: Layout = layout) -> Array:
            source, dest = put(gpu, data, lane), put(gpu, data * 0, lane, "dest")
            put_in_order(gpu, lane, layout, source, dest)
            return got(gpu, dest, lane)

        result = once(gpu, work).reshape(rows, 4096)
        assert not result[:, nbytes:].any()
        for row, chunk in enumerate(data.reshape(rows, 4096)[:, :nbytes]):
            cut = [chunk[at : at + block[row]] for at in range(0, nbytes, block[row])]
            ordered = np.concatenate([unfiltered(piece, typesize[row], filter[row]) for piece in cut])
            want = ordered.view(f"u{layout.width[row]}").byteswap().view(np.uint8)
            assert (result[row, :nbytes] == want).all(), (nbytes, row)


def test_numcodecs_shuffle_is_undone_on_the_way(gpu: GpuDevice) -> None:
    numbers = np.arange(1024, dtype="i4")
    data = np.frombuffer(numcodecs.Shuffle(4).encode(numbers), np.uint8)
    one = np.ones(1, np.int64)
    layout = Layout(0 * one, 4096, 4096 * one, 4 * one, one, one)
    parts = Parts(40 * one, 0 * one, np.full((1, 1), 300), 12 * one, 4 * one)  # numbers 10, 13, ...

    def work(lane: GpuLane) -> Array:
        source, dest = put(gpu, data, lane), put(gpu, np.zeros(1200, np.uint8), lane, "dest")
        scatter(gpu, lane, parts, 4, source, dest, layout)
        return got(gpu, dest, lane)

    assert (once(gpu, work).view("i4") == numbers[10 : 10 + 900 : 3]).all()


def test_a_layout_that_reaches_outside_is_refused(gpu: GpuDevice) -> None:
    one = np.ones(1, np.int64)
    sound = Layout(0 * one, 64, 64 * one, 4 * one, one, one)
    for wrong in (
        sound._replace(start=one),
        sound._replace(nbytes=65),
        sound._replace(block=0 * one),
        sound._replace(typesize=0 * one),
        sound._replace(filter=3 * one),
        sound._replace(width=3 * one),
    ):

        def work(lane: GpuLane, layout: Layout = wrong) -> Array:
            source, dest = put(gpu, np.zeros(64, np.uint8), lane), put(gpu, np.zeros(64, np.uint8), lane, "dest")
            scatter(gpu, lane, Parts(0 * one, 0 * one, 64 * one[None], one, one), 1, source, dest, layout)
            return got(gpu, dest, lane)

        with pytest.raises(GpuError, match="refused 1 items"):
            once(gpu, work)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_byte_order(gpu: GpuDevice, width: int) -> None:
    data = np.arange(width * 33, dtype=np.uint8)

    def work(lane: GpuLane) -> Array:
        area = put(gpu, data, lane)
        launches.byteswap(gpu, lane, width, area, area.address)  # in place
        return got(gpu, area, lane)

    assert (once(gpu, work).view(f"u{width}") == data.view(f"u{width}").byteswap()).all()


@pytest.mark.parametrize("kind", sorted(launches.CHECKSUMS))
def test_checksums(gpu: GpuDevice, kind: str) -> None:
    data = np.random.default_rng(4).integers(0, 256, 9000, dtype=np.uint8)
    starts, sizes = np.array([0, 1, 7, 0, 9000]), np.array([9000, 1, 3333, 1024, 0])

    def work(lane: GpuLane) -> Array:
        sums = launches.checksums(gpu, lane, kind, columns.send(lane, starts, sizes), 9000, put(gpu, data, lane))
        gpu.wait(lane)
        return sums()

    by_host = {"crc32c": google_crc32c.value, "crc32": zlib.crc32, "adler32": zlib.adler32, "xxh64": xxh64}[kind]
    wanted = [by_host(data[s : s + n].tobytes()) & 0xFFFFFFFF for s, n in zip(starts, sizes, strict=True)]
    assert once(gpu, work).tolist() == wanted


NUMBERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i2", ">u8", ">f4"]


@pytest.mark.parametrize("decoded", NUMBERS)
def test_delta_is_numcodecs(gpu: GpuDevice, decoded: str) -> None:
    rng = np.random.default_rng(5)
    rows, count = 3, 700
    for encoded in NUMBERS:
        if not launches.sums_on_gpu(np.dtype(encoded), np.dtype(decoded)):
            nothing, types = Rows(0, 0, 0), (np.dtype(encoded), np.dtype(decoded))
            with pytest.raises(ValueError, match="not for the GPU"):
                launches.delta(gpu, GpuLane(gpu, None), 1, 1, *types, nothing, nothing, 0)
            continue
        raw = rng.normal(size=(rows, count)) if "f" in encoded else rng.integers(-99, 99, (rows, count))
        numbers = raw.astype(encoded)
        codec = numcodecs.Delta(dtype=decoded, astype=encoded)
        wanted = np.array([codec.decode(row) for row in numbers]).astype(decoded)

        def work(lane: GpuLane, numbers: Array = numbers, wanted: Array = wanted, encoded: str = encoded) -> Array:
            source, dest = put(gpu, numbers, lane), put(gpu, np.zeros_like(wanted), lane, "dest")
            (marks,) = lane.send(np.zeros(rows, np.uint32))
            strides = (count * a.dtype.itemsize for a in (numbers, wanted))
            there, here = (Rows(*area, stride) for area, stride in zip((source, dest), strides, strict=True))
            launches.delta(gpu, lane, rows, count, np.dtype(encoded), np.dtype(decoded), there, here, marks)
            return got(gpu, dest, lane)

        assert once(gpu, work).tobytes() == wanted.tobytes(), encoded


def test_delta_keeps_to_what_it_gets_right() -> None:
    assert launches.sums_on_gpu(np.dtype("u8"), np.dtype("u8"))
    assert not launches.sums_on_gpu(np.dtype("i8"), np.dtype("u8"))
    assert launches.sums_on_gpu(np.dtype(">i4"), np.dtype("i4"))
    assert not launches.sums_on_gpu(np.dtype("f4"), np.dtype("f8"))


# ---- placing


def random_parts(rng: np.random.Generator, itemsize: int) -> tuple[Array, Array, Parts, list[Any]]:
    """Chunks, an empty destination, parts of the chunks that go there, and the same as (row, in chunk, in dest)."""
    axes, rows = int(rng.integers(0, 4)), int(rng.integers(1, 6))
    chunk = tuple(rng.integers(1, 7, axes).tolist())
    place = tuple(int(n * rng.integers(1, 3)) for n in chunk)
    dtype = np.dtype(f"V{itemsize}")
    data = rng.integers(0, 256, rows * int(np.prod(chunk, dtype=int)) * itemsize, dtype=np.uint8)
    chunks = data.view(dtype).reshape(rows, *chunk)
    if rng.random() < 0.3:  # F order
        chunks = data.view(dtype).reshape(rows, *chunk[::-1]).transpose(0, *range(axes, 0, -1))
    dest = np.zeros((rows, *place), dtype)
    whole = rng.random() < 0.4
    by_list = axes > 0 and rng.random() < 0.3
    steps = [1 if whole else int(rng.integers(1, 3)) for _ in chunk]
    found, table, listed = [], [], []
    for row in range(rows):
        starts = [0 if whole else int(rng.integers(0, n)) for n in chunk]
        counts = [
            int(rng.integers(1 - whole, (n - s - 1) // k + 2)) for n, s, k in zip(chunk, starts, steps, strict=True)
        ]
        counts = list(chunk) if whole else counts
        targets = [int(rng.integers(0, n - c + 1)) for n, c in zip(place, counts, strict=True)]
        take: list[Any] = [slice(s, s + c * k, k) for s, c, k in zip(starts, counts, steps, strict=True)]
        give: list[Any] = [slice(t, t + c) for t, c in zip(targets, counts, strict=True)]
        if by_list:
            take[0], give[0] = rng.integers(0, chunk[0], counts[0]), rng.permutation(place[0])[: counts[0]]
            listed.append((take[0] * chunks.strides[1], give[0] * dest.strides[1]))
            starts[0] = targets[0] = 0
        found.append((row, tuple(take), tuple(give)))
        table.append(
            [
                row * chunks.strides[0] + sum(s * n for s, n in zip(starts, chunks.strides[1:], strict=True)),
                row * dest.strides[0] + sum(t * n for t, n in zip(targets, dest.strides[1:], strict=True)),
                *counts,
            ]
        )
    columns = np.array(table, np.int64).T
    source_steps = np.array([k * n for k, n in zip(steps, chunks.strides[1:], strict=True)], np.int64)
    parts = Parts(columns[0], columns[1], columns[2:], source_steps, np.array(dest.strides[1:], np.int64))
    if by_list:
        first = np.full((axes, rows), -1)
        first[0] = np.cumsum([0, *(a.size for a, _ in listed)])[:-1]
        parts = parts._replace(starts=first, lists=np.concatenate([np.array(pair) for pair in listed], axis=1))
    return chunks, dest, parts, found


def test_parts_are_placed(gpu: GpuDevice, long_form: bool) -> None:
    for seed in range(2000 if long_form else 60):
        rng = np.random.default_rng(seed)
        itemsize = int(rng.choice([1, 2, 3, 4, 8, 12, 16, 28]))
        chunks, dest, parts, found = random_parts(rng, itemsize)
        value = rng.integers(0, 256, itemsize, dtype=np.uint8)
        data = chunks if chunks.flags.c_contiguous else chunks.transpose(0, *range(chunks.ndim - 1, 0, -1))

        def work(
            lane: GpuLane, data: Array = data, dest: Array = dest, parts: Parts = parts, value: Array = value
        ) -> tuple[Array, Array]:
            source = put(gpu, data, lane)
            placed, filled = put(gpu, dest, lane, "placed"), put(gpu, dest, lane, "filled")
            scatter(gpu, lane, parts, value.size, source, placed)
            fill(gpu, lane, parts, value, filled)
            return got(gpu, placed, lane), got(gpu, filled, lane)

        placed, filled = once(gpu, work)
        wanted, full = dest.copy(), dest.copy()
        for row, take, give in found:
            wanted[(row, *give)] = chunks[(row, *take)]
            full[(row, *give)] = value.view(dest.dtype)[0]
        assert placed.tobytes() == wanted.tobytes(), seed
        assert filled.tobytes() == full.tobytes(), seed


@pytest.mark.parametrize("itemsize", [1, 2, 3, 8, 16])
def test_points_are_placed(gpu: GpuDevice, itemsize: int) -> None:
    rng = np.random.default_rng(itemsize)
    data = rng.integers(0, 256, 50 * itemsize, dtype=np.uint8)
    take, give = rng.integers(0, 50, 30), rng.permutation(40)[:30]

    def work(lane: GpuLane) -> Array:
        source, dest = put(gpu, data, lane), put(gpu, np.zeros(40 * itemsize, np.uint8), lane, "dest")
        scatter_points(gpu, lane, take * itemsize, give * itemsize, itemsize, source, dest)
        scatter_points(gpu, lane, take[:0], give[:0], itemsize, source, dest)
        return got(gpu, dest, lane)

    wanted = np.zeros((40, itemsize), np.uint8)
    wanted[give] = data.reshape(50, itemsize)[take]
    assert (once(gpu, work) == wanted.reshape(-1)).all()


def test_bounds() -> None:
    for index in [np.s_[:], np.s_[::-1], np.s_[1:, ::-2], np.s_[3:3]]:
        view = np.zeros((4, 6), "f4")[index]
        low, high = bounds(view.shape, view.strides, 4)
        if view.size:
            first = view.ctypes.data
            assert (first + low, first + high) == np.lib.array_utils.byte_bounds(view)
        else:
            assert low == high


def test_whole_rows_move_sixteen_bytes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    device, seen = EmulatedDevice(), []
    launch = device.launch
    monkeypatch.setattr(device, "launch", lambda *args: (seen.append(args), launch(*args)))
    chunks, strides = 4, np.array([4 * 64, 4], np.int64)
    counts = np.repeat([[8], [64]], chunks, axis=1)  # whole rows, so both axes are one
    parts = Parts(np.arange(chunks) * 2048, np.arange(chunks) * 2048, counts, strides, strides)

    def work(lane: GpuLane) -> None:
        source, dest = put(device, np.zeros(8192, np.uint8), lane), put(device, np.zeros(8192, np.uint8), lane, "dest")
        scatter(device, lane, parts, 4, source, dest)

    once(device, work)
    ((name, _, (_, _, rows, axes, unit, *_), _),) = seen
    assert (name, rows, axes, unit) == ("scatter_parts", chunks, 1, 16)


# ---- what goes wrong


def test_a_refused_launch_is_an_error(gpu: GpuDevice) -> None:
    def work(lane: GpuLane) -> None:
        area = put(gpu, np.zeros(100, np.uint8), lane)
        beyond = np.array([90, 0])
        launches.copy(gpu, lane, columns.send(lane, beyond, beyond, np.array([11, 10])), 11, area, area)

    with pytest.raises(GpuError, match="a kernel refused 1 items outside its memory; this is a bug in gpuzarr"):
        once(gpu, work)
    once(gpu, lambda lane: launches.byteswap(gpu, lane, 2, put(gpu, np.zeros(8, np.uint8), lane), 0) if False else None)
    assert once(gpu, lambda lane: got(gpu, put(gpu, np.arange(9, dtype=np.uint8), lane), lane)).tolist() == [*range(9)]


def test_host_arrays_must_be_contiguous(gpu: GpuDevice) -> None:
    def work(lane: GpuLane) -> None:
        area = gpu.address(lane.area("a", 100))
        with pytest.raises(TypeError, match="contiguous host arrays"):
            gpu.copy_in(area, np.zeros(10)[::2], lane)
        with pytest.raises(TypeError, match="contiguous host arrays"):
            gpu.copy_in(area, gpu.upload(np.zeros(3)), lane)

    once(gpu, work)


def test_addresses_that_are_not_the_devices_are_refused() -> None:
    device = EmulatedDevice()
    host = np.zeros(64, np.uint8)

    def work(lane: GpuLane) -> None:
        area = device.address(lane.area("a", 256))
        room = device.room_at(area)
        assert room == 256
        assert device.room_at(area + 250) == 6
        for address in (0, host.ctypes.data):
            with pytest.raises(ValueError, match="is not in the memory of device 'emulated'"):
                device.copy_in(address, host, lane)
            with pytest.raises(ValueError, match="is not in the memory of device 'emulated'"):
                device.copy_out(address, host, lane)
        with pytest.raises(ValueError, match="goes beyond its allocation"):
            device.copy_in(area + 200, host, lane)
        with pytest.raises(ValueError, match="is not in the memory"):
            device.launch("byteswap", 4, (64, 2, host.ctypes.data, area), lane)
        with pytest.raises(TypeError, match="ndarray has no address on device 'emulated'"):
            device.launch("byteswap", 4, (64, 2, host, area), lane)

    once(device, work)


def busy(device: EmulatedDevice) -> Array:
    """A bit of everything."""

    def work(lane: GpuLane) -> Array:
        data = device.upload(np.arange(500, dtype="u2")) + 1
        source = put(device, device.download(data), lane)
        dest = Area(device.address(lane.area("dest", source.nbytes)), source.nbytes)
        launches.byteswap(device, lane, 2, source, dest.address)
        return got(device, dest, lane)

    result: Array = once(device, work)
    return result


def test_memory_may_fail_at_every_allocation() -> None:
    device = EmulatedDevice()
    wanted = busy(device)
    count = device.allocations
    assert count > 4
    for n in range(1, count + 1):
        device = EmulatedDevice(fail_allocation_at=n)
        with pytest.raises(GpuMemoryError, match=f"allocation {n}, of"):
            busy(device)
        assert (busy(device) == wanted).all()  # only that one
        with pytest.raises(MemoryError):
            raise GpuMemoryError("is a MemoryError too")
    assert (busy(EmulatedDevice(fail_allocation_at=count + 1)) == wanted).all()


def test_memory_is_limited() -> None:
    device = EmulatedDevice(memory=10_000)
    first = device.allocate(6000)
    with pytest.raises(GpuMemoryError, match="no room for 6000 bytes; 6000 of 10000 are used"):
        device.allocate(6000)
    with pytest.raises(GpuMemoryError):
        device.xp.zeros(1000)
    del first
    assert device.allocate(10_000).nbytes == device.used == 10_000


def test_the_device_may_be_lost_at_every_operation() -> None:
    device = EmulatedDevice()
    busy(device)
    for n in range(device.operations):
        lost = EmulatedDevice(lose_context_after=n)
        with pytest.raises(GpuContextLostError, match="device 'emulated' is lost for this process, start a new one"):
            busy(lost)
        for call in (
            lambda d: busy(d),
            lambda d: d.allocate(1),
            lambda d: d.xp.zeros(1),
            lambda d: d.upload(np.zeros(1)),
        ):
            with pytest.raises(GpuContextLostError):
                call(lost)
    busy(EmulatedDevice(lose_context_after=device.operations))


def test_arrays_of_a_lost_device_are_lost() -> None:
    device = EmulatedDevice()
    array = device.upload(np.zeros(3))
    device.lose("told to")
    for call in (
        lambda: array + 1,
        lambda: array.get(),
        lambda: array[0],
        lambda: array.sum(),
        lambda: device.download(array),
    ):
        with pytest.raises(GpuContextLostError, match="told to"):
            call()


def test_a_forked_child_is_told() -> None:
    script = """
import os, sys
import gpuzarr
from gpuzarr.devices import EmulatedDevice, get_device
from gpuzarr.errors import ForkError
used, unused = EmulatedDevice(), EmulatedDevice()
z = gpuzarr.full((1000,), 3, chunks=(10,), dtype="i4", store={})
z[:500] = 7
z.to_device(used)[...]
get_device("cpu").run(lambda i, lane: None, 4)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
told = 0
for use in (lambda: used.run(lambda i, lane: None, 1), lambda: z.to_device(used)[...], lambda: used.allocate(1)):
    try:
        use()
    except ForkError as error:
        told += "of which this one is a fork" in str(error)
same = (unused.download(z.to_device(unused)[...]) == z[...]).all()
os._exit(0 if told == 3 and same else 1)
"""
    run = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


# ---- cuda's own errors


@pytest.mark.parametrize(
    ("status", "error"),
    [(2, GpuMemoryError), (3, ForkError), (700, GpuContextLostError), (719, GpuContextLostError), (1, GpuError)],
)
def test_what_cuda_says(fake: fake_cupy.FakeCupy, status: int, error: type[GpuError]) -> None:
    device = cuda.CudaDevice()
    fake.fails = status
    with pytest.raises(error) as caught:
        once(device, lambda lane: put(device, np.zeros(3), lane))
    assert type(caught.value) is error
    assert f"cudaError {status}" in str(caught.value)
    fake.fails = None
    if error is GpuContextLostError:
        with pytest.raises(GpuContextLostError):
            device.allocate(1)
    else:
        once(device, lambda lane: put(device, np.zeros(3), lane))


def test_a_full_gpu_empties_its_pool_first(fake: fake_cupy.FakeCupy) -> None:
    device = cuda.CudaDevice()
    fake.full = 1
    assert device.allocate(10).nbytes == 10
    assert fake.freed == 1
    for call in (lambda: device.allocate(10), lambda: device.empty((10,), np.dtype("f4"))):
        fake.full = 2
        with pytest.raises(GpuMemoryError, match="on 'cuda:0'; 1 of 2 are free"):
            call()
    assert fake.freed == 3


def test_page_locked_memory_comes_in_few_sizes(fake: fake_cupy.FakeCupy) -> None:
    """CuPy's pool keeps what was freed for its very size, so as many sizes as waves would fill the host."""
    device = cuda.CudaDevice()
    for nbytes in range(0, 1 << 20, 997):
        memory = device.pinned(nbytes)
        assert memory.nbytes == nbytes
        assert fake.locked[-1] >= max(1, nbytes)
        assert fake.locked[-1] <= nbytes * 5 // 4 + 256
    assert len(set(fake.locked)) < 100


@pytest.mark.parametrize("kind", ["CompileException", "RuntimeError", "OSError"])
def test_nvrtc_may_fail(fake: fake_cupy.FakeCupy, kind: str) -> None:
    device = cuda.CudaDevice()
    fake.broken_kernels = getattr(fake.cuda.compiler, kind, None) or getattr(builtins, kind)

    def work(lane: GpuLane) -> None:
        area = put(device, np.zeros(8), lane)
        launches.byteswap(device, lane, 8, area, area.address)

    with pytest.raises(GpuError, match="NVRTC cannot compile kernel 'byteswap' for 'cuda:0'"):
        once(device, work)


def test_arrays_of_another_gpu_are_refused(fake: fake_cupy.FakeCupy, monkeypatch: pytest.MonkeyPatch) -> None:
    device = cuda.CudaDevice()
    array = device.allocate(10)
    monkeypatch.setattr(device, "number", 1)
    with pytest.raises(TypeError, match="has no address on 'cuda:0'"):
        device.address(array)


def test_a_helper_that_is_let_off_keeps_nothing_in_memory() -> None:
    """The crew's only helper walks with the caller, and both have inner walks for which nobody is left."""
    crew, held, kept = Crew(), [], []

    def inner() -> None:
        class Held:
            pass

        one = Held()
        held.append(weakref.ref(one))
        crew.walk(lambda: kept.append(one is not None), 2, 2)

    def outer() -> None:
        for _ in range(5):
            inner()
            gc.collect()
        meeting.wait()
        alive.append(sum(each() is not None for each in held))
        meeting.wait()

    meeting, alive = threading.Barrier(2, timeout=30), list[int]()
    crew.walk(outer, 2, 2)
    assert len(held) == 10
    assert alive == [0, 0]
