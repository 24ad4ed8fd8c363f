"""Memory of other libraries: `out=` and values by DLPack, `__cuda_array_interface__` and buffers, on each device."""

from __future__ import annotations

import array
import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpuzarr as zarr
from gpuzarr.bands import bands
from gpuzarr.devices import Device, EmulatedDevice, get_device
from gpuzarr.devices.emulated_array import EmulatedArray
from gpuzarr.errors import DeviceError, SelectionError
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.selection import Box, index, orthogonal
from tests.oracle import basic_key, coordinate_key, orthogonal_key, random_block

Host = np.ndarray[Any, Any]
DATA = np.arange(120.0).reshape(10, 12)


class ByDlpack:
    """A tensor of a library that has DLPack and nothing else."""

    def __init__(self, lent: Any) -> None:
        self._lent, self.shape, self.streams = lent, lent.shape, list[Any]()

    def __dlpack_device__(self) -> tuple[int, int]:
        found: tuple[int, int] = self._lent.__dlpack_device__()
        return found

    def __dlpack__(self, **more: Any) -> Any:
        self.streams.append(more.get("stream"))
        return self._lent.__dlpack__(**more)


def by_interface(lent: EmulatedArray, *, read_only: bool = False) -> Any:
    """A tensor of a library that has `__cuda_array_interface__` and nothing else."""
    host = lent._host
    told = {
        "shape": host.shape,
        "typestr": host.dtype.str,
        "data": (host.ctypes.data, read_only),
        "strides": host.strides,
        "version": 3,
    }
    return SimpleNamespace(__cuda_array_interface__=told, owner=lent, shape=host.shape)


def by_array_interface(lent: Host) -> Any:
    return SimpleNamespace(__array_interface__=lent.__array_interface__, owner=lent, shape=lent.shape)


LENT: dict[str, list[Callable[[Any], Any]]] = {
    "cpu": [lambda a: a, ByDlpack, memoryview, by_array_interface],
    "emulated": [lambda a: a, ByDlpack, by_interface],
}
CASES = [(device, lend) for device, ways in LENT.items() for lend in ways]


@pytest.fixture(params=["plain", "sharded"])
def z(request: pytest.FixtureRequest) -> zarr.Array:
    """DATA, with two chunks absent."""
    shards = (6, 6) if request.param == "sharded" else None
    z = zarr.create_array({}, shape=DATA.shape, dtype="f8", chunks=(3, 3), shards=shards, fill_value=1.5)
    z[:6] = DATA[:6]
    z[6:, 6:] = DATA[6:, 6:]
    return z


@pytest.mark.parametrize(("device", "lend"), CASES)
def test_out_of_any_library(z: zarr.Array, device: str, lend: Callable[[Any], Any]) -> None:
    there = z.to_device(device)
    for get, want in [
        (lambda o: there.get_basic_selection((slice(2, 9), slice(11, 1, -2)), out=o), z[2:9, 11:1:-2]),
        (lambda o: there.get_orthogonal_selection(([5, 1, 1], slice(3)), out=o), z.oindex[[5, 1, 1], :3]),
        (lambda o: there.get_coordinate_selection(([5, 1], [0, 9]), out=o), z.vindex[[5, 1], [0, 9]]),
        (lambda o: there.get_mask_selection(DATA % 7 == 1, out=o), z.vindex[DATA % 7 == 1]),
        (lambda o: there.get_block_selection((0, 0), out=o), z.blocks[0, 0]),
        (lambda o: there.lazy[1:].result(out=o), z[1:]),
    ]:
        memory = there.device.upload(np.full(tuple(2 * n for n in want.shape), 9.0))
        inside = memory[tuple(slice(None, None, 2) for _ in want.shape)]
        lent = lend(inside)
        assert get(lent) is lent
        host = there.device.download(memory)
        np.testing.assert_array_equal(host[tuple(slice(None, None, 2) for _ in want.shape)], want)
        assert (host == 9.0).sum() >= host.size - want.size - 1  # nothing was written between


@pytest.mark.parametrize(("device", "lend"), CASES)
def test_values_of_any_library(z: zarr.Array, device: str, lend: Callable[[Any], Any]) -> None:
    there = z.to_device(device)
    want = z[...]
    for key, value in [
        ((slice(1, 8), slice(None, None, -3)), -DATA[1:8, ::3]),
        ((4, slice(None)), np.arange(12.0)),
        ((slice(None), slice(2)), np.array([[5.0, 6.0]])),
        ((3, 3), np.array(77.0)),
    ]:
        there[key] = lend(there.device.upload(value))
        want[key] = value
        np.testing.assert_array_equal(z[...], want)
    grown = lend(there.device.upload(np.arange(24.0).reshape(2, 12)))
    assert there.append(grown) == (12, 12)
    np.testing.assert_array_equal(there.to_device("cpu")[10:], np.arange(24.0).reshape(2, 12))


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_view_that_casts_fills_what_it_is_given(z: zarr.Array, device: str) -> None:
    view = z.to_device(device).lazy[:2].astype("i4")
    z[0, 0] = 3.7
    out = get_device(device).upload(np.zeros((2, 12)))
    assert view.result(out=out) is out
    assert get_device(device).download(out)[0, :3].tolist() == [3.0, 1.0, 2.0]


def test_dlpack_is_asked_for_the_stream(z: zarr.Array) -> None:
    device = get_device("emulated")
    lent = ByDlpack(device.empty(DATA.shape, np.dtype("f8")))
    z.to_device(device).get_basic_selection(out=lent)
    assert len(lent.streams) == 1  # which makes the work that is queued there come first


def on(device: str | Device) -> Any:
    return get_device(device).upload(DATA)


def beyond() -> Any:
    lent = by_interface(on("emulated"))
    lent.__cuda_array_interface__["shape"] = (11, 12)
    return lent


def frozen() -> Host:
    host = DATA.copy()
    host.flags.writeable = False
    return host


FOREIGN: dict[str, tuple[str, Callable[[], Any], str]] = {
    "host for emulated": ("emulated", lambda: DATA.copy(), "ndarray has no memory of device 'emulated'"),
    "list": ("cpu", lambda: DATA.tolist(), "list has no memory of device 'cpu'"),
    "list for emulated": ("emulated", lambda: DATA.tolist(), "list has no memory of device 'emulated'"),
    "device for cpu": ("cpu", lambda: on("emulated"), "Array in the memory of emulated cannot be used .* 'cpu'"),
    "interface for cpu": ("cpu", lambda: by_interface(on("emulated")), "memory of cuda cannot be used on .*'cpu'"),
    "another device": ("emulated", lambda: on(EmulatedDevice()), "in the memory of emulated cannot be used"),
    "interface to elsewhere": (
        "emulated", lambda: by_interface(on(EmulatedDevice())), "cannot use the memory of this SimpleNamespace: 0x"),
    "interface beyond": ("emulated", beyond, "bytes at .* go beyond their allocation"),
    "a device of another kind": (
        "emulated", lambda: SimpleNamespace(__dlpack_device__=lambda: (10, 0)), "a device of DLPack's type 10"),
    "read-only array": ("cpu", frozen, "ndarray that is to be filled may only be read"),
    "read-only buffer": ("cpu", lambda: memoryview(frozen()), "memoryview that is to be filled may only be read"),
    "bytes": ("cpu", lambda: DATA.tobytes(), "bytes has no memory of device 'cpu'"),
    "read-only DLPack": ("cpu", lambda: ByDlpack(frozen()), "ByDlpack that is to be filled may only be read"),
    "read-only interface": (
        "emulated", lambda: by_interface(on("emulated"), read_only=True), "may only be read"),
    "an array that would be copied": (
        "cpu", lambda: zarr.array(DATA, store={}), "Array has no memory of device 'cpu' that could be filled"),
}  # fmt: skip


@pytest.mark.parametrize(("device", "make", "said"), FOREIGN.values(), ids=FOREIGN)
def test_memory_that_cannot_be_filled_is_refused(
    z: zarr.Array, device: str, make: Callable[[], Any], said: str
) -> None:
    with pytest.raises(DeviceError, match=said) as caught:
        z.to_device(device).get_basic_selection(out=make())
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["device for cpu", "interface for cpu", "another device", "interface to elsewhere"])
def test_values_of_another_device_are_refused(z: zarr.Array, name: str) -> None:
    device, make, said = FOREIGN[name]
    before = z[...]
    with pytest.raises(DeviceError, match=said):
        z.to_device(device)[...] = make()
    np.testing.assert_array_equal(z[...], before)


def test_buffers_and_shapes() -> None:
    z = zarr.create_array({}, data=np.arange(5, dtype="i8"), chunks=2)
    room = array.array("q", [0] * 5)
    z.get_basic_selection(out=room)
    assert room.tolist() == [0, 1, 2, 3, 4]
    octets = zarr.create_array({}, data=np.arange(5, dtype="u1"), chunks=2)
    some = bytearray(5)
    octets.get_basic_selection(out=some)
    assert bytes(some) == bytes(range(5))
    for out in (bytearray(4), array.array("q", [0] * 6)):
        with pytest.raises(SelectionError, match="the selection"):
            octets.get_basic_selection(out=out)
    z[...] = array.array("q", [5, 4, 3, 2, 1])
    assert z[...].tolist() == [5, 4, 3, 2, 1]
    z[1:3] = ByDlpack(np.array([8, 9]))
    assert z[...].tolist() == [5, 8, 9, 2, 1]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_tensors(z: zarr.Array) -> None:
    import torch

    out = torch.zeros(DATA.shape, dtype=torch.float64)
    z.get_basic_selection(out=out)
    np.testing.assert_array_equal(out.numpy(), z[...])
    z[...] = -out
    np.testing.assert_array_equal(z[...], -out.numpy())


# ---- values from a device


@pytest.mark.parametrize("wave_bytes", [64 << 20, 400, 10])
def test_every_selection_takes_values_of_a_device(
    z: zarr.Array, wave_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = EmulatedDevice()
    monkeypatch.setattr(device, "wave_bytes", wave_bytes)
    there, want = z.to_device(device), z[...]
    for seed in range(12):
        for write in writes(np.random.default_rng(seed), z, want):
            values = np.random.default_rng(seed).integers(0, 99, write.shape).astype("f4")
            before = z[...]
            write.put(there, values)
            want = z[...]
            z[...] = before
            write.put(there, device.upload(values))
            np.testing.assert_array_equal(z[...], want)


class Write(NamedTuple):
    """A write of some door, and the shape that it takes."""

    put: Callable[[zarr.Array, Any], None]
    shape: tuple[int, ...]


def writes(rng: np.random.Generator, z: zarr.Array, a: Host) -> list[Write]:
    key, crossed, points = basic_key(rng, a.shape), orthogonal_key(rng, a.shape), coordinate_key(rng, a.shape)
    mask = rng.random(a.shape) < 0.3
    _, _, put_block, block, _ = random_block(rng, z, a)
    return [
        Write(lambda z, v: z.__setitem__(key, v), a[key].shape),
        Write(lambda z, v: z.oindex.__setitem__(crossed, v), z.oindex[crossed].shape),
        Write(lambda z, v: z.vindex.__setitem__(points, v), a[points].shape),
        Write(lambda z, v: z.vindex.__setitem__(mask, v), a[mask].shape),
        Write(put_block, a[block].shape),
        Write(lambda z, v: z.lazy[1:].write(v), a[1:].shape),
    ]


def test_values_come_down_once_and_a_band_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    device = EmulatedDevice()
    sizes: list[int] = []
    monkeypatch.setattr(device, "download", lambda a: sizes.append(a.nbytes) or EmulatedDevice.download(device, a))
    z = zarr.create_array({}, shape=(64, 50), chunks=(8, 50), dtype="f4", device=device)
    values = device.upload(np.arange(3200, dtype="f4").reshape(64, 50))
    z[...] = values
    assert sizes == [values.nbytes]
    sizes.clear()
    device.wave_bytes = 16 * 200 + 100
    z[...] = values
    assert sizes == [16 * 200] * 4
    np.testing.assert_array_equal(z.to_device("cpu")[...], values.get())
    sizes.clear()
    z[...] = values[:1]  # repeated on the host
    assert sizes == [200]
    np.testing.assert_array_equal(z.to_device("cpu")[9], values.get()[0])


GRIDS = [RegularGrid((40, 30), (7, 4)), RectilinearGrid((40, 30), (((3, 5), (25, 1)), ((1, 30),)))]


@pytest.mark.parametrize("grid", GRIDS, ids=["regular", "rectilinear"])
@pytest.mark.parametrize("nbytes", [8, 300, 1500, 10**6])
def test_bands_cover_a_box_and_cut_no_chunk(grid: Any, nbytes: int) -> None:
    places = np.arange(1200).reshape(40, 30)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        box = (
            index(basic_key(rng, (40, 30)), (40, 30))
            if seed % 2
            else orthogonal(orthogonal_key(rng, (40, 30)), (40, 30))
        )
        assert isinstance(box, Box)
        values = taken(places, box)
        left, owner = np.full(values.shape, -1), dict[tuple[int, int], int]()
        for number, (part, at) in enumerate(bands(box, grid, 8, nbytes)):
            assert (left[at] == -1).all()
            left[at] = taken(places, part)
            chunks = {
                (grid.axis(0).locate(p // 30)[0], grid.axis(1).locate(p % 30)[0]) for p in left[at].ravel().tolist()
            }
            assert {owner.setdefault(c, number) for c in chunks} <= {number}
            spans = [entry for entry in part.axes if not hasattr(entry, "indices")]
            assert part.size * 8 <= nbytes or len(chunks) == 1 or len(spans) < 2
        np.testing.assert_array_equal(left, values)


def taken(places: Host, box: Box) -> Host:
    """What a box takes, ascending along its spans."""
    lists = [
        e.indices if hasattr(e, "indices") else np.arange(e.start, e.start + e.count * e.step, e.step) for e in box.axes
    ]
    return places[np.ix_(*lists)]
