"""What cuda and emulated share: lanes with a stream each, scratch on both sides of the bus, and the walk of waves.

Device memory is addressed by integers; sizes are bytes. A wave runs on one lane: what it queues (copies, launches,
nvCOMP calls) runs in order on the lane's stream, while the host goes on. A task of `run` is over when its lane's
stream is: then the lane's host memory may be written again, and what the kernels refused is known.

    lane.room(n)          page-locked host memory for encoded bytes, as on the CPU
    lane.area(name, n)    device memory kept from wave to wave, e.g. "encoded", "staging", "decoded", "temp"
    lane.send(*arrays)    small host arrays (tables) to the device in one copy; their device addresses
    lane.hold(x)          keep `x` alive until the stream has passed
    lane.settle()         wait for the stream; raise for what a kernel refused

The lanes are the staging ring: while one wave's bytes are read into its lane's page-locked room, another's are on their
way over the bus and a third's are decoded. A room is written again only when its lane is settled.

Lanes are lent from a pool for each walk, so a task may itself call `run`, and several threads may read at once.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count as counter
from typing import Any, TypeAlias

import numpy as np

from gpuzarr.devices.borrowing import elsewhere, home, on_host, read_only
from gpuzarr.devices.contract import Device, Lane, check_fits
from gpuzarr.devices.crew import Crew
from gpuzarr.devices.waiting import until
from gpuzarr.errors import DeviceError, ForkError, GpuContextLostError, GpuError, GpuTimeoutError
from gpuzarr.options import config

DeviceArray: TypeAlias = Any  # a cupy.ndarray or an EmulatedArray
HostArray: TypeAlias = np.ndarray[Any, Any]
Argument: TypeAlias = Any  # of a launch: an integer, or a device array for its address

ALIGNMENT = 256  # of device allocations and areas; of what is sent, 16
TABLES = 1 << 20  # bytes of the first block for tables


class GpuLane(Lane):
    """One stream, and the memory of the wave that is on it."""

    packs = True
    KEEP_ROOM = 96 << 20  # bytes of page-locked memory that a lane keeps between reads: it is dear to get

    def __init__(self, device: GpuDevice, stream: Any) -> None:
        self.device, self.stream = device, stream
        self._room: HostArray = np.empty(0, np.uint8)
        self._areas: dict[str, DeviceArray] = {}
        self._blocks: list[tuple[HostArray, DeviceArray]] = []  # for tables: what is sent is written in the last one
        self._sent = 0  # bytes of the last block that are taken
        self._held: list[Any] = []
        self._scratch: tuple[Any, Any, int] | None = None  # key, array, address
        self._refused: DeviceArray | None = None
        self._found: HostArray = np.empty(0, np.uint8)

    def room(self, nbytes: int) -> tuple[Any, int]:
        """At least `nbytes` of page-locked host memory for encoded bytes, and its address; one for each wave."""
        if self._room.nbytes < nbytes:
            self._held.append(self._room)  # the stream may still read it
            self._room = self.device.pinned(rounded(nbytes))
        return self._room, _host_address(self._room)

    def area(self, name: str, nbytes: int) -> DeviceArray:
        """At least `nbytes` of device memory (1-D uint8), the same for the same name while it is large enough. Raises
        GpuMemoryError."""
        held = self._areas.get(name)
        if held is None or held.nbytes < nbytes:
            self._areas.pop(name, None)
            held = self._areas[name] = self.device.allocate(rounded(nbytes))
        return held

    def scratch(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[DeviceArray, int]:
        """An uninitialised C-contiguous device array of this shape and dtype, and its address."""
        if self._scratch is None or self._scratch[0] != (shape, dtype):
            self._scratch = None
            array = self.device.empty(shape, dtype)
            self._scratch = (shape, dtype), array, self.device.address(array)
        return self._scratch[1], self._scratch[2]

    def send(self, *arrays: HostArray) -> list[int]:
        """The device addresses of copies of these arrays, 16-byte aligned, good until the wave is over. The arrays may
        be changed at once. All go in one copy. Raises GpuMemoryError."""
        sizes = [a.nbytes for a in arrays]
        ends = np.cumsum([-(-size // 16) * 16 for size in sizes]).tolist()
        total = ends[-1] if ends else 0
        if not self._blocks or self._sent + total > self._blocks[-1][0].nbytes:
            nbytes = max(TABLES, rounded(2 * total))
            self._blocks.append((self.device.pinned(nbytes), self.device.allocate(nbytes)))
            self._sent = 0
        host, block = self._blocks[-1]
        begin, base = self._sent, self.device.address(block)
        starts = [begin + end - -(-size // 16) * 16 for end, size in zip(ends, sizes, strict=True)]
        for array, start in zip(arrays, starts, strict=True):
            host[start : start + array.nbytes].view(array.dtype).reshape(array.shape)[...] = array
        self._sent += total
        if total:
            self.device.copy_in(base + begin, host[begin : begin + total], self)
        return [base + start for start in starts]

    def hold(self, *things: Any) -> None:
        """Keep these alive until the stream has passed."""
        self._held.extend(things)

    @property
    def refused(self) -> int:
        """Device address of the counter of what kernels refused (uint32)."""
        if self._refused is None:
            self._refused = self.device.allocate(ALIGNMENT)
            self._found = self.device.pinned(4)
            self._found[:] = 0
            self.device.copy_in(self.device.address(self._refused), self._found, self)
        return self.device.address(self._refused)

    def settle(self) -> None:
        """Wait for the stream. GpuError where a kernel refused what its table asked for, which no input can bring
        about: the tables are made of checked numbers."""
        if self._refused is not None:
            self.device.copy_out(self.refused, self._found, self)
        self.device.wait(self)
        self._held.clear()
        self._blocks, self._sent = self._blocks[-1:], 0
        if self._refused is not None and (refused := int(self._found.view(np.uint32)[0])):
            self._refused = None  # the next launch starts a new count
            raise GpuError(f"a kernel refused {refused} items outside its memory; this is a bug in gpuzarr")

    def trim(self) -> None:
        """Between reads, keep no device memory (the device's pool has it at once when it is wanted again) and no more
        than a wave's room."""
        self._areas.clear()
        self._scratch = None
        if self._room.nbytes > self.KEEP_ROOM:
            self._room = np.empty(0, np.uint8)
        if self._blocks and self._blocks[-1][0].nbytes > 8 * TABLES:
            self._blocks.clear()


class GpuDevice(Device):
    """A device whose memory the host cannot touch. `nvcomp_kind` says where compressed streams are decoded: by the
    "library", or by its emulation."""

    kind = "gpu"
    any_byte_order = False
    memory_kinds: tuple[int, ...]  # of DLPack, that this device can use
    number = 0  # among devices of its kind
    wave_bytes = 64 << 20
    lanes = 3
    nvcomp_kind: str
    nvcomp: Any = None  # set by the first codecs' engine that needs it, as that knows the formats

    def __init__(self) -> None:
        self._crew = Crew()
        self._lock = threading.Lock()
        self._lanes: list[GpuLane] = []  # not lent
        self._process: int | None = None  # that used this device first
        self._lost: str | None = None
        self._stuck: list[GpuLane] = []  # of a lost device

    # ---- what cuda and emulated each have their own way of

    @abstractmethod
    def allocate(self, nbytes: int) -> DeviceArray:
        """Uninitialised device memory as a 1-D uint8 array, at least 256-byte aligned. Raises GpuMemoryError."""

    @abstractmethod
    def address(self, array: DeviceArray) -> int:
        """Device address of an array's first element."""

    @abstractmethod
    def pinned(self, nbytes: int) -> HostArray:
        """Uninitialised page-locked host memory, uint8."""

    @abstractmethod
    def copy_in(self, dest_address: int, source: HostArray, lane: GpuLane) -> None:
        """Queue a copy of a contiguous host array to the device; the source must stay as it is until the lane is
        settled."""

    @abstractmethod
    def copy_out(self, source_address: int, dest: HostArray, lane: GpuLane) -> None:
        """Queue a copy from the device to a contiguous host array; it is there after `wait`."""

    @abstractmethod
    def clear(self, address: int, nbytes: int, lane: GpuLane) -> None:
        """Queue zeros for device memory."""

    @abstractmethod
    def launch(self, kernel: str, threads: int, args: tuple[Argument, ...], lane: GpuLane) -> None:
        """Queue a kernel (a function of `kernels/*.cu`) over `threads` work items. `args` are its parameters from the
        third on; integers, or device arrays for their addresses. Zero items are no launch."""

    @abstractmethod
    def progress(self, lane: GpuLane) -> Callable[[], bool]:
        """A function that says whether everything queued on the lane by now is done; it does not wait, and raises
        GpuContextLostError where the GPU failed."""

    @abstractmethod
    def free_pool(self) -> None:
        """Give memory that nobody uses back to the driver."""

    @abstractmethod
    def kvikio(self) -> Any:
        """The module `kvikio`, None where it is not installed. Raises whatever importing it does."""

    @property
    @abstractmethod
    def card(self) -> str:
        """What the device is, by name."""

    @abstractmethod
    def _interfaced(self, value: Any) -> DeviceArray:
        """The device array that a `__cuda_array_interface__` tells of."""

    @abstractmethod
    def _number_of(self, array: DeviceArray) -> int:
        """The number of the device that an array of this kind of device lies on."""

    @abstractmethod
    def _open_lane(self) -> GpuLane:
        """A new lane with a stream of its own."""

    @abstractmethod
    def _here(self) -> AbstractContextManager[Any]:
        """Make this the current device of the calling thread, where there may be several."""

    @abstractmethod
    def _mark(self) -> Any:
        """The state of the caller's current stream, as something to wait for."""

    @abstractmethod
    def _on(self, lane: GpuLane, mark: Any) -> AbstractContextManager[Any]:
        """Make the lane's stream the calling thread's current one, behind the mark."""

    # ---- what they share

    def wait(self, lane: GpuLane) -> None:
        """Wait until everything queued on the lane is done. GpuContextLostError where the GPU failed, GpuTimeoutError
        where that takes longer than the option `gpu.timeout`. The device is lost for this process then."""
        self.check()
        limit = config.get("gpu.timeout")
        if not until(self.progress(lane), limit):
            raise self.late(limit)

    def late(self, limit: float) -> GpuTimeoutError:
        """The device is lost since it took longer than this; the error to raise."""
        cause = f"what was queued on it is not done in {limit} s; the option 'gpu.timeout' says how long it may take"
        return GpuTimeoutError(str(self.lose(cause)))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> DeviceArray:
        """An uninitialised device array. Raises GpuMemoryError; DeviceError for a dtype that devices do not have."""
        self.check()
        self.check_elements(np.dtype(dtype))
        check_fits(shape, np.dtype(dtype))
        with self._here():
            return self.xp.empty(shape, dtype, order=order)

    def check_elements(self, dtype: np.dtype[Any]) -> None:
        """DeviceError for elements that no GPU has: strings, dates, records, numbers in foreign byte order."""
        if dtype.kind not in "biufc" or not dtype.isnative or dtype.char in "gG":
            raise DeviceError(f'device {self.name!r} has no elements of {dtype}; read it with device="cpu"')

    def upload(self, array: HostArray) -> DeviceArray:
        """A device copy of a host array."""
        self.check()
        with self._here():
            return self.xp.asarray(array)

    def download(self, array: DeviceArray) -> HostArray:
        """A host copy of a device array."""
        self.check()
        with self._here():
            host: HostArray = array.get()
        return host

    def borrow(self, value: Any, *, writable: bool = False) -> DeviceArray | None:
        """An array of this device over the memory of a device array of any library; None where that is host memory."""
        found = home(value)
        if on_host(found):
            return None
        assert found is not None
        if found.kind not in self.memory_kinds or found.number not in (-1, self.number):
            raise elsewhere(value, found, self.name)
        if isinstance(value, self.xp.ndarray):
            return value
        self.check()
        by_dlpack = hasattr(value, "__dlpack__")
        if writable and not by_dlpack and value.__cuda_array_interface__["data"][1]:
            raise read_only(value)
        with self._here():
            try:
                array = self.xp.from_dlpack(value) if by_dlpack else self._interfaced(value)
            except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
                raise DeviceError(
                    f"device {self.name!r} cannot use the memory of this {type(value).__name__}: {error}"
                ) from error
        if self._number_of(array) != self.number:
            raise elsewhere(value, f"device {self._number_of(array)}", self.name)
        return array

    def check(self) -> None:
        """Raise ForkError in a forked child of the process that used this device, GpuContextLostError after a fault."""
        if self._process is None:
            self._process = os.getpid()
        elif self._process != os.getpid():
            raise ForkError(
                f"device {self.name!r} was used by process {self._process}, of which this one is a fork: start "
                "processes by 'spawn' or 'forkserver', or use the device in the child only"
            )
        if self._lost is not None:
            raise GpuContextLostError(self._lost)

    def lose(self, cause: str) -> GpuContextLostError:
        """Remember that the GPU failed for good; the error to raise."""
        if self._lost is None:
            self._lost = f"device {self.name!r} is lost for this process, start a new one: {cause}"
        return GpuContextLostError(self._lost)

    def run(self, task: Callable[[int, Lane], None], count: int, lanes: int = 0) -> None:
        """Walk the tasks on at most `self.lanes` lanes: waves are large, and need no more to keep a store busy.

        They see all that the caller has queued on its current stream, and all that they queued is done when this
        returns. The first exception stops the rest and is raised."""
        self.check()
        numbers, failed = counter(), threading.Event()
        with self._here():
            mark = self._mark()

        def walk() -> None:
            with self._here():
                lane = self._borrow()
                try:
                    with self._on(lane, mark):
                        while (i := next(numbers)) < count and not failed.is_set():
                            task(i, lane)
                            lane.settle()
                except BaseException:
                    failed.set()
                    self._drain(lane)
                    raise
                self._return(lane)

        hands = min(lanes or self.lanes, self.lanes, count)
        if hands > 0:
            self._crew.walk(walk, hands, self.lanes)

    def _borrow(self) -> GpuLane:
        with self._lock:
            if self._lanes:
                return self._lanes.pop()
        return self._open_lane()

    def _return(self, lane: GpuLane) -> None:
        lane.trim()
        with self._lock:
            if len(self._lanes) < self.lanes:
                self._lanes.append(lane)

    def _drain(self, lane: GpuLane) -> None:
        """After a failure: let go of the lane when what it had queued no longer runs. What a lost device has queued
        may still come to write in the lane's memory, which is kept, as is all that the lane holds."""
        try:
            lane.settle()
        except GpuContextLostError:
            self._stuck.append(lane)
            return
        except GpuError:
            return  # the one that is being raised came first
        self._return(lane)


def rounded(nbytes: int) -> int:
    """Bytes, up to a multiple of 1/8 of the next power of two, so that areas that vary a little are not got anew."""
    unit = max(ALIGNMENT, 1 << max(0, nbytes.bit_length() - 3))
    return -(-max(nbytes, 1) // unit) * unit


def _host_address(array: HostArray) -> int:
    return int(array.__array_interface__["data"][0])


def check_host(array: Any) -> None:
    """TypeError for what is not a contiguous host array."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        raise TypeError(f"copies between host and device take contiguous host arrays, not {type(array).__name__}")
