"""The GPU corridor without a GPU: same plans, same tables, same kernels; only the leaves differ.

Device memory is host memory that nothing but this device hands out, and every address that a copy or a launch is
given must lie in it. Kernels are the `.cu` sources compiled by the host's C++ compiler, or their NumPy equals where
there is none. What is queued on a stream is done at once, or with `streams="lazy"` when somebody waits for it and not
before: a wait that is missing, and host memory that is written again too early, then give wrong values in a test. New
memory is full of 0xA5 then.

    EmulatedDevice(
        memory=1 << 30,            # bytes of device memory in all; None for no limit
        fail_allocation_at=3,      # the third allocation (from 1) fails, and only that one
        bad_status_rows={0, 7},    # streams of each nvCOMP call that are said to be damaged
        wrong_size_rows={2},       # streams of each nvCOMP call that are said to have another size
        lose_context_after=10,     # after ten copies, launches and waits the device is lost
        stall_after=10,            # after ten of these it does nothing more, and says nothing
        streams="lazy",            # or "eager"
        kvikio=module,             # what stands for KvikIO; None for none
        kernels="source",          # or "numpy": the NumPy equals; None for source where there is a compiler
    )
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count as counter
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.lib.array_utils import byte_bounds

from gpuzarr.devices import kernels
from gpuzarr.devices.borrowing import CUDA, EMULATED
from gpuzarr.devices.emulated_array import EmulatedArray, EmulatedModule
from gpuzarr.devices.gpu import ALIGNMENT, Argument, GpuDevice, GpuLane, HostArray, check_host
from gpuzarr.devices.numpy_kernels import NUMPY_KERNELS
from gpuzarr.devices.numpy_memory import bytes_at
from gpuzarr.errors import GpuMemoryError


class EmulatedDevice(GpuDevice):
    """A GPU that is the host; see the module for its faults."""

    name = "emulated"
    nvcomp_kind = "emulated"
    memory_kinds = (EMULATED, CUDA)  # CUDA for tests: an interface that tells of this device's memory
    numbers = counter()

    def __init__(
        self,
        *,
        memory: int | None = None,
        fail_allocation_at: int | None = None,
        bad_status_rows: Iterable[int] = (),
        wrong_size_rows: Iterable[int] = (),
        lose_context_after: int | None = None,
        stall_after: int | None = None,
        streams: Literal["eager", "lazy"] = "eager",
        kernels: Literal["source", "numpy"] | None = None,
        kvikio: Any = None,
    ) -> None:
        super().__init__()
        self.lazy, self._kvikio = streams == "lazy", kvikio
        self.number = next(self.numbers)
        self.xp = EmulatedModule(self)
        self.memory, self.fail_allocation_at = memory, fail_allocation_at
        self.lose_context_after, self.stall_after = lose_context_after, stall_after
        self.bad_status_rows, self.wrong_size_rows = frozenset(bad_status_rows), frozenset(wrong_size_rows)
        self.allocations = 0  # made so far
        self.operations = 0  # copies, launches and waits so far
        self.used = self.most_used = 0  # bytes of live allocations
        self._kernels = kernels
        self._guard = threading.RLock()  # an array may be collected while its owner holds it
        self._sizes: dict[int, int] = {}  # of live allocations, by address
        self._owners: dict[int, weakref.ref[HostArray]] = {}
        self._streams: weakref.WeakValueDictionary[int, EmulatedStream] = weakref.WeakValueDictionary()
        self._current = threading.local()  # the thread's stream
        self._addresses: list[int] = []  # ascending

    # ---- memory

    def allocate(self, nbytes: int) -> EmulatedArray:
        """A 1-D uint8 array, 256-byte aligned. Raises GpuMemoryError where told to, or beyond `memory`."""
        self.check()
        base = self._memory(nbytes + ALIGNMENT)
        start = -base.ctypes.data % ALIGNMENT
        self._register(base, base.ctypes.data + start, nbytes)
        return EmulatedArray(base[start : start + nbytes], self)

    def adopt(self, host: HostArray) -> EmulatedArray:
        """An array that a computation on the device made."""
        self.check_elements(host.dtype)
        if host.flags.owndata and host.ctypes.data not in self._sizes:
            self._register(host, host.ctypes.data, host.nbytes)
        return EmulatedArray(host, self)

    def _register(self, owner: HostArray, address: int, nbytes: int) -> None:
        with self._guard:
            self.allocations += 1
            if self.allocations == self.fail_allocation_at:
                raise GpuMemoryError(f"emulated: allocation {self.allocations}, of {nbytes} bytes, was told to fail")
            if self.memory is not None and self.used + nbytes > self.memory:
                raise GpuMemoryError(f"emulated: no room for {nbytes} bytes; {self.used} of {self.memory} are used")
            self.used += nbytes
            self.most_used = max(self.most_used, self.used)
            if nbytes:
                self._sizes[address] = nbytes
                self._owners[address] = weakref.ref(owner)
                insort(self._addresses, address)
        weakref.finalize(owner, self._unregister, address, nbytes).atexit = False

    def _unregister(self, address: int, nbytes: int) -> None:
        with self._guard:
            self.used -= nbytes
            if nbytes:
                del self._sizes[address], self._owners[address]
                self._addresses.pop(bisect_right(self._addresses, address) - 1)

    def address(self, array: Any) -> int:
        """Device address of an array's first element."""
        if not isinstance(array, EmulatedArray):
            raise TypeError(f"{type(array).__name__} has no address on device {self.name!r}")
        return int(array._host.__array_interface__["data"][0])

    def room_at(self, address: int) -> int:
        """Bytes from a device address to the end of its allocation. ValueError where that is no device memory."""
        return self._found(address)[0]

    def _found(self, address: int) -> tuple[int, HostArray | None]:
        """`room_at`, and what keeps the memory alive."""
        with self._guard:
            at = bisect_right(self._addresses, address) - 1
            base = self._addresses[at] if at >= 0 else 0
            room = base + self._sizes.get(base, 0) - address
            if room < 0 or at < 0:
                raise ValueError(f"{address:#x} is not in the memory of device {self.name!r}")
            return room, self._owners[base]()

    def pinned(self, nbytes: int) -> HostArray:
        """Host memory, uint8."""
        return self._memory(nbytes)

    def _memory(self, nbytes: int) -> HostArray:
        return np.full(nbytes, 0xA5, np.uint8) if self.lazy else np.empty(nbytes, np.uint8)

    def free_pool(self) -> None:
        """There is no pool."""

    # ---- work

    def copy_in(self, dest_address: int, source: HostArray, lane: GpuLane) -> None:
        """Copy to the device. TypeError for a device array or one that is not contiguous; ValueError beyond an
        allocation."""
        there = self._copied(dest_address, source)
        lane.stream.put(lambda: ctypes.memmove(dest_address, source.ctypes.data, source.nbytes), there)

    def copy_out(self, source_address: int, dest: HostArray, lane: GpuLane) -> None:
        """Copy from the device; raises as `copy_in` does."""
        here = self._copied(source_address, dest)
        lane.stream.put(lambda: ctypes.memmove(dest.ctypes.data, source_address, dest.nbytes), here)

    def _copied(self, address: int, host: HostArray) -> Any:
        """Check a copy; what keeps the device's side of it alive."""
        self._operate()
        check_host(host)
        return self._reached(address, host.nbytes)

    def _reached(self, address: int, nbytes: int) -> Any:
        """What keeps this device memory alive. ValueError beyond an allocation."""
        room, owner = self._found(address)
        if nbytes > room:
            raise ValueError(f"a copy of {nbytes} bytes at {address:#x} goes beyond its allocation")
        return owner

    def clear(self, address: int, nbytes: int, lane: GpuLane) -> None:
        """Queue zeros. ValueError beyond an allocation."""
        self._operate()
        lane.stream.put(lambda: ctypes.memset(address, 0, nbytes), self._reached(address, nbytes))

    def launch(self, kernel: str, threads: int, args: tuple[Argument, ...], lane: GpuLane) -> None:
        """Run the kernel. ValueError for an address that is not in device memory."""
        values = kernels.convert(kernel, args, self.address)
        if threads == 0:
            return
        refused = lane.refused
        self._operate()
        pointers = [
            self._found(int(value))[1]
            for parameter, value in zip(kernels.signature(kernel), values, strict=True)
            if parameter.pointer and value
        ]
        lane.stream.put(lambda: self._run(kernel, threads, values, refused), pointers)

    def _run(self, kernel: str, threads: int, values: list[np.generic], refused: int) -> None:
        library = None if self._kernels == "numpy" else kernels.host_library()
        if library is not None:
            given = [kernels.host_value(v) for v in (np.uint64(threads), np.uint64(refused), *values)]
            function = getattr(library, kernel)
            function.restype = None
            function(*given)
        else:
            bytes_at(refused, 4).view(np.uint32)[0] += NUMPY_KERNELS[kernel](threads, *map(int, values))

    def progress(self, lane: GpuLane) -> Callable[[], bool]:
        """What is asked does what was queued and is not done yet."""
        self._operate()
        return lambda: bool(lane.stream.flush())

    def queue(self, stream: int, work: Callable[[], Any]) -> None:
        """Queue host work that stands for a library's, on the stream of this pointer."""
        self._streams[stream].put(work, None)

    def touch(self) -> None:
        """What a computation on the device begins with: it comes behind what its thread has queued on its stream."""
        self.check()
        stream: EmulatedStream | None = getattr(self._current, "stream", None)
        if stream is not None:
            stream.flush()

    def _operate(self) -> None:
        self.check()
        with self._guard:
            self.operations += 1
            if self.lose_context_after is not None and self.operations > self.lose_context_after:
                raise self.lose("emulated: told to fail")

    def _stalled(self) -> bool:
        return self.stall_after is not None and self.operations > self.stall_after

    # ---- streams

    def kvikio(self) -> Any:
        """What stands for KvikIO."""
        return self._kvikio

    @property
    def card(self) -> str:
        """It is none."""
        return self.name

    def _interfaced(self, value: Any) -> EmulatedArray:
        """ValueError where the interface tells of memory that is not this device's."""
        found = np.asarray(SimpleNamespace(__array_interface__=value.__cuda_array_interface__, owner=value))
        low, high = byte_bounds(found)
        if found.size and self.room_at(low) < high - low:
            raise ValueError(f"{high - low} bytes at {low:#x} go beyond their allocation")
        return EmulatedArray(found, self)

    def _number_of(self, array: EmulatedArray) -> int:
        return array._owner.number

    def _open_lane(self) -> GpuLane:
        stream = EmulatedStream(lazy=self.lazy, stalled=self._stalled)
        with self._guard:
            self._streams[stream.ptr] = stream
        return GpuLane(self, stream)

    def _here(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _mark(self) -> Any:
        return None

    @contextmanager
    def _on(self, lane: GpuLane, mark: Any) -> Iterator[None]:
        before = getattr(self._current, "stream", None)
        self._current.stream = lane.stream
        try:
            yield
        finally:
            self._current.stream = before


class EmulatedStream:
    """Work in order: done as it comes, or when it is waited for."""

    _numbers = counter(1)

    def __init__(self, *, lazy: bool, stalled: Callable[[], bool]) -> None:
        self.ptr = next(self._numbers)
        self._lazy, self._stalled = lazy, stalled
        self._pending: deque[tuple[Callable[[], Any], Any]] = deque()  # and what must stay alive until then

    def put(self, work: Callable[[], Any], alive: Any) -> None:
        """Queue work."""
        self._pending.append((work, alive))
        if not self._lazy:
            self.flush()

    def flush(self) -> bool:
        """Do what is queued; whether that is done. The first error leaves the rest undone for good, as on a GPU."""
        if self._stalled():
            return False
        pending, self._pending = self._pending, deque()
        while pending:
            work, alive = pending.popleft()
            work()
            del alive  # and not before
        return True
