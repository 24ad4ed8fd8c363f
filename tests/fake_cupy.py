"""As much of CuPy as `devices/cuda.py` uses, on the emulated device: its lines run where there is no GPU."""

from __future__ import annotations

import ctypes
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpuzarr.devices import cuda, kernels
from gpuzarr.devices.emulated import EmulatedDevice
from gpuzarr.devices.emulated_array import EmulatedArray


class FakeError(RuntimeError):
    """CUDARuntimeError and CUDADriverError."""

    def __init__(self, status: int) -> None:
        super().__init__(f"cudaError {status}")
        self.status = status


class Stream:
    """A stream; what is queued is done at once, and what waits for what is written down."""

    current = threading.local()

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking
        self.ptr, self.waited_for = id(self), list[Any]()

    def __enter__(self) -> Stream:
        self._before = getattr(self.current, "value", None)
        self.current.value = self
        return self

    def __exit__(self, *_: object) -> None:
        self.current.value = self._before

    def wait_event(self, event: Event) -> None:
        self.waited_for.append(event.stream)


class Event:
    """An event."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.stream: Any = "never recorded"

    def record(self, stream: Any) -> None:
        self.stream = stream

    def synchronize(self) -> None:
        assert self.stream != "never recorded"


class Device:
    """The current device."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FakeCupy(ModuleType):
    """The module. `fails` is a CUDA status that every copy gives; `full` counts allocations that still fail; `freed`
    counts how often the pool was emptied."""

    __version__ = "0 (fake)"
    ndarray = EmulatedArray

    def __init__(self) -> None:
        super().__init__("cupy")
        self.memory = EmulatedDevice()
        self.fails: int | None = None
        self.full = self.freed = 0
        self.broken_kernels = False
        self.devices = 1
        self.streams: list[Stream] = []
        runtime = SimpleNamespace(
            CUDARuntimeError=FakeError,
            getDeviceCount=self._count,
            memGetInfo=lambda: (1, 2),
            memcpyAsync=self._copy,
        )
        compiler = SimpleNamespace(CompileException=type("CompileException", (Exception,), {}))
        self.cuda = SimpleNamespace(
            runtime=runtime,
            driver=SimpleNamespace(CUDADriverError=type("CUDADriverError", (FakeError,), {})),
            compiler=compiler,
            is_available=lambda: self.devices > 0,
            Device=Device,
            Stream=self._stream,
            Event=Event,
            get_current_stream=lambda: getattr(Stream.current, "value", None),
            alloc_pinned_memory=lambda n: bytearray(n),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.memory.xp, name)

    def _count(self) -> int:
        if self.devices == 0:
            raise FakeError(35)
        return self.devices

    def _stream(self, non_blocking: bool) -> Stream:
        self.streams.append(Stream(non_blocking))
        return self.streams[-1]

    def _copy(self, to: int, begin: int, nbytes: int, kind: int, stream: int) -> None:
        if self.fails is not None:
            raise FakeError(self.fails)
        assert self.memory.room_at(to if kind == 1 else begin) >= nbytes
        ctypes.memmove(to, begin, nbytes)

    def empty(self, *args: Any, **kwargs: Any) -> EmulatedArray:
        if self.full:
            self.full -= 1
            raise MemoryError("fake")
        found: EmulatedArray = self.memory.xp.empty(*args, **kwargs)
        return found

    def get_default_memory_pool(self) -> Any:
        def free_all_blocks() -> None:
            self.freed += 1

        return SimpleNamespace(free_all_blocks=free_all_blocks)

    def RawModule(self, code: str, options: tuple[str, ...], backend: str) -> Any:
        assert "#include" not in code
        return SimpleNamespace(get_function=self._function)

    def _function(self, kernel: str) -> Any:
        if self.broken_kernels:
            raise self.cuda.compiler.CompileException("fake")
        function = getattr(kernels.host_library(), kernel)
        function.restype = None

        def call(grid: tuple[int], block: tuple[int], args: tuple[np.generic, ...]) -> None:
            assert grid[0] * block[0] >= int(args[0]) > (grid[0] - 1) * block[0]
            function(*[kernels.host_value(a) for a in args])

        return call


def install(monkeypatch: pytest.MonkeyPatch, *, devices: int = 1) -> FakeCupy:
    """Make this `cupy` until the test is over."""
    fake = FakeCupy()
    fake.devices = devices
    monkeypatch.setitem(sys.modules, "cupy", fake)
    data = property(lambda a: SimpleNamespace(ptr=a._host.ctypes.data))
    monkeypatch.setattr(EmulatedArray, "data", data, raising=False)
    monkeypatch.setattr(EmulatedArray, "device", SimpleNamespace(id=0), raising=False)
    monkeypatch.setattr(cuda, "why_not", getattr(cuda.why_not, "__wrapped__", cuda.why_not))
    return fake
