"""A GPU that does not come to an end: the wait does, with an error; memory that it may write to is not used again."""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np
import pytest

from gpuzarr.devices import EmulatedDevice, cuda, waiting
from gpuzarr.errors import GpuContextLostError, GpuTimeoutError
from gpuzarr.options import config
from tests import fake_cupy
from tests.test_reading_on_a_gpu import COMPRESSORS, make

LOST = (
    "is lost for this process, start a new one: what was queued on it is not done in 0.01 s; the option 'gpu.timeout'"
)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("codec", ["none", "zstd-crc", "blosc-lz4-shuffle", "bz2"])
def test_a_gpu_may_stand_still_at_every_operation(codec: str, lanes: int) -> None:
    a = make(compressors=COMPRESSORS[codec])
    whole = EmulatedDevice()
    whole.lanes = lanes
    want = whole.download(a.to_device(whole)[...]).tobytes()
    assert whole.operations > 3
    with config.set({"gpu.timeout": 0.01}):
        for n in range(whole.operations):
            device = EmulatedDevice(stall_after=n)
            device.lanes = lanes
            there = a.to_device(device)
            began = time.monotonic()
            with pytest.raises(GpuContextLostError, match=LOST) as caught:
                there[...]
            assert lanes > 1 or type(caught.value) is GpuTimeoutError  # or another lane was told first
            with pytest.raises(GpuContextLostError, match=LOST):  # and it stays lost, which takes no time
                there[...]
            assert time.monotonic() - began < 20
    assert whole.download(a.to_device(whole)[...]).tobytes() == want  # another device, another fate


def test_what_a_gpu_may_still_write_to_is_kept() -> None:
    device, a = EmulatedDevice(), make(compressors=COMPRESSORS["zstd"])
    device.lanes = 1
    there, dest = a.to_device(device), device.empty(a.shape, a.dtype)
    there.get_basic_selection(out=dest)
    device.stall_after = device.operations + 4
    with config.set({"gpu.timeout": 0.01}), pytest.raises(GpuTimeoutError):
        there.get_basic_selection(out=dest)
    used = device.used
    del dest
    gc.collect()
    assert device.used == used >= a.nbytes
    (lane,) = device._stuck
    assert lane._areas  # and so is the lane's memory
    assert device._lanes == []  # which nobody is lent again


def test_cuda_is_asked_whether_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cupy.install(monkeypatch)
    device = cuda.CudaDevice()
    device.run(lambda _, lane: lane.settle(), 1)
    monkeypatch.setattr(fake_cupy.FakeCupy, "event_status", cuda.NOT_READY)
    with config.set({"gpu.timeout": 0.01}), pytest.raises(GpuTimeoutError, match=LOST):
        device.run(lambda _, lane: lane.settle(), 1)
    with pytest.raises(GpuContextLostError, match=LOST):
        device.allocate(1)


def test_a_fault_ends_the_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's event is merely not done when a kernel has written to where it may not."""
    fake_cupy.install(monkeypatch)
    device = cuda.CudaDevice()
    monkeypatch.setattr(fake_cupy.FakeCupy, "event_status", 700)
    with (
        config.set({"gpu.timeout": 5.0}),
        pytest.raises(GpuContextLostError, match="start a new one: cudaError 700") as e,
    ):
        device.run(lambda _, lane: lane.settle(), 1)
    assert type(e.value) is GpuContextLostError  # and no timeout
    assert len(device._stuck) == 1


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps, which take no time but that of a clock of their own."""
    found: list[float] = []
    clock: Any = type("Clock", (), {"monotonic": lambda: sum(found), "sleep": found.append})
    monkeypatch.setattr(waiting, "time", clock)
    return found


def test_sleeps_grow_with_the_wait(slept: list[float]) -> None:
    assert waiting.until(lambda: True, 0)
    assert slept == []
    assert waiting.until(lambda: sum(slept) > 0.2, None)
    assert slept == sorted(slept)
    assert slept[0] == waiting.SHORTEST
    assert slept[-1] == waiting.LONGEST
    passed = np.cumsum([0, *slept[:-1]])
    assert all(s <= max(waiting.SHORTEST, p / waiting.PART + 1e-9) for s, p in zip(slept, passed, strict=True))
    assert len(slept) < 400


def test_the_deadline_is_kept(slept: list[float]) -> None:
    assert not waiting.until(lambda: False, 0.5)
    assert 0.5 < sum(slept) < 0.5 + 2 * waiting.LONGEST
    assert waiting.until(lambda: sum(slept) > 0.9, 0.5)  # a new wait has a new deadline
