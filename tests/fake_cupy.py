"""As much of CuPy as `devices/cuda.py` uses, on the emulated device: its lines run where there is no GPU."""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar
from weakref import WeakValueDictionary

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
        self.ptr, self.waited_for, self.device = id(self), list[Any](), Device.number_now()

    def __enter__(self) -> Stream:
        assert self.device == Device.number_now()
        self._before = getattr(self.current, "value", None)
        self.current.value = self
        return self

    def __exit__(self, *_: object) -> None:
        self.current.value = self._before

    def wait_event(self, event: Event) -> None:
        self.waited_for.append(event.stream)


class Event:
    """An event."""

    known: ClassVar[WeakValueDictionary[int, Event]] = WeakValueDictionary()

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.stream: Any = "never recorded"
        self.ptr = id(self)
        self.known[self.ptr] = self

    def record(self, stream: Any = None) -> None:
        self.stream = getattr(Stream.current, "value", None) if stream is None else stream

    @classmethod
    def query(cls, ptr: int) -> int:
        """A status, which CuPy does not look at: all work is done at once, but on a GPU that hangs or has failed."""
        assert cls.known[ptr].stream != "never recorded"
        return FakeCupy.event_status


class Device:
    """A GPU, and for each thread the current one."""

    current = threading.local()

    def __init__(self, number: int) -> None:
        self.number = number

    @classmethod
    def number_now(cls) -> int:
        return int(getattr(cls.current, "number", 0))

    def synchronize(self) -> None:
        pass

    def __enter__(self) -> Device:
        self._before = self.number_now()
        self.current.number = self.number
        return self

    def __exit__(self, *_: object) -> None:
        self.current.number = self._before


class FakeCupy(ModuleType):
    """The module. `fails` is a CUDA status that every copy gives, and `event_status` that of every event; `full` counts
    allocations that still fail; `freed` counts how often the pool was emptied; `locked` has the sizes of page-locked
    memory."""

    __version__ = "0 (fake)"
    event_status = 0
    ndarray = EmulatedArray

    def __init__(self) -> None:
        super().__init__("cupy")
        self.memories: dict[int, EmulatedDevice] = {}
        self.fails: int | None = None
        self.full = self.freed = 0
        self.broken_kernels: type[Exception] | None = None
        self.locked: list[int] = []
        self.devices = 1
        self.streams: list[Stream] = []
        runtime = SimpleNamespace(
            CUDARuntimeError=FakeError,
            getDeviceCount=self._count,
            memGetInfo=lambda: (1, 2),
            getDeviceProperties=lambda number: {
                "name": f"Fake {number}".encode(),
                "major": 9,
                "minor": 0,
                "totalGlobalMem": 80 << 30,
            },
            driverGetVersion=lambda: 13020,
            runtimeGetVersion=lambda: 13020,
            memcpyAsync=self._copy,
            memsetAsync=self._set,
            eventQuery=Event.query,
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
            get_elapsed_time=self._elapsed,
            get_current_stream=lambda: getattr(Stream.current, "value", None),
            alloc_pinned_memory=self._lock_memory,
        )

    @property
    def memory(self) -> EmulatedDevice:
        """Of the current GPU."""
        return self.memories.setdefault(Device.number_now(), EmulatedDevice())

    def number_of(self, array: EmulatedArray) -> int:
        return next(number for number, memory in self.memories.items() if memory is array._owner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.memory.xp, name)

    def asarray(self, value: Any) -> EmulatedArray:
        """Of a host array, or of what tells of this GPU's memory; a copy of what lies on another one."""
        if not hasattr(value, "__cuda_array_interface__"):
            return self.memory.xp.asarray(value)  # type: ignore[no-any-return]
        at = value.__cuda_array_interface__["data"][0]
        for memory in self.memories.values():
            with suppress(ValueError):
                memory.room_at(at)
                found = memory._interfaced(value)
                return found if memory is self.memory else self.memory.xp.asarray(found._host)  # type: ignore[no-any-return]
        raise ValueError(f"{at:#x} is in no GPU's memory")

    def _count(self) -> int:
        if self.devices == 0:
            raise FakeError(35)
        return self.devices

    def _elapsed(self, begin: Event, end: Event) -> float:
        """Milliseconds between two events, which must be of one stream."""
        assert begin.stream is end.stream
        assert isinstance(begin.stream, Stream)
        return 1.0

    def _lock_memory(self, nbytes: int) -> bytearray:
        self.locked.append(nbytes)
        return bytearray(nbytes)

    def _stream(self, non_blocking: bool) -> Stream:
        self.streams.append(Stream(non_blocking))
        return self.streams[-1]

    def _copy(self, to: int, begin: int, nbytes: int, kind: int, stream: int) -> None:
        if self.fails is not None:
            raise FakeError(self.fails)
        assert self.memory.room_at(to if kind == 1 else begin) >= nbytes  # of the current GPU
        ctypes.memmove(to, begin, nbytes)

    def _set(self, to: int, value: int, nbytes: int, stream: int) -> None:
        if self.fails is not None:
            raise FakeError(self.fails)
        assert self.memory.room_at(to) >= nbytes
        ctypes.memset(to, value, nbytes)

    def empty(self, *args: Any, **kwargs: Any) -> EmulatedArray:
        if self.full:
            self.full -= 1
            raise MemoryError("fake")
        found: EmulatedArray = self.memory.xp.empty(*args, **kwargs)
        return found

    def get_default_memory_pool(self) -> Any:
        def free_all_blocks() -> None:
            self.freed += 1

        return SimpleNamespace(free_all_blocks=free_all_blocks, total_bytes=lambda: self.memory.most_used)

    def RawModule(self, code: str, options: tuple[str, ...], backend: str) -> Any:
        assert "#include" not in code
        return SimpleNamespace(get_function=self._function)

    def _function(self, kernel: str) -> Any:
        if self.broken_kernels:
            raise self.broken_kernels("fake")
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
    device = property(lambda a: SimpleNamespace(id=fake.number_of(a)))
    monkeypatch.setattr(EmulatedArray, "device", device, raising=False)
    monkeypatch.setattr(EmulatedArray, "__dlpack_device__", lambda a: (2, fake.number_of(a)))
    monkeypatch.setattr(cuda.CudaDevice, "nvcomp_kind", "emulated")
    monkeypatch.setattr(cuda, "why_not", getattr(cuda.why_not, "__wrapped__", cuda.why_not))
    return fake
