"""A GPU by CuPy: its memory pool, non-blocking streams, page-locked host memory, kernels compiled by NVRTC.

CuPy is imported when the first device is made, and may be absent, broken, or without a driver: `why_not` says which.
CuPy keeps compiled kernels on disk, so that only the first process on a machine waits for NVRTC.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from gpuzarr.devices import kernels
from gpuzarr.devices.borrowing import CUDA, CUDA_MANAGED
from gpuzarr.devices.contract import check_fits
from gpuzarr.devices.gpu import Argument, DeviceArray, GpuDevice, GpuLane, HostArray, check_host, rounded
from gpuzarr.errors import ForkError, GpuError, GpuMemoryError

# cudaError_t values. After a sticky one, every call of the process fails.
OUT_OF_MEMORY, NOT_INITIALIZED, NOT_READY = 2, 3, 600
STICKY = {214, 220, 700, 702, 709, 710, *range(714, 720), 999}
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind


@cache
def why_not() -> str | None:
    """Why CUDA cannot be used here, in a sentence with what to do; None where it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy warns of several CuPys, and of a CUDA that it cannot find
            import cupy
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return "CuPy is not installed: pip install 'gpuzarr[cuda13]' (or 'gpuzarr[cuda12]', as the driver is)"
        return f"CuPy cannot be imported: {error}"
    except Exception as error:  # noqa: BLE001 # a half-installed CuPy or CUDA fails in any way
        return f"CuPy cannot be imported: {type(error).__name__}: {error}"
    try:
        if cupy.cuda.is_available():
            return None
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # noqa: BLE001 # likewise
        return f"CuPy {cupy.__version__} finds no GPU that it can use: {error}"
    return f"CuPy {cupy.__version__} finds no GPU"


def findings() -> dict[str, str]:
    """The driver, CUDA's runtime and each GPU, in words for people; nothing where CuPy cannot be imported."""
    reason, cupy = why_not(), sys.modules.get("cupy")
    if cupy is None:
        return {}
    runtime = cupy.cuda.runtime
    try:
        driver, version = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        found = {"driver": f"for CUDA {_dotted(driver)}" if driver else "none", "runtime": f"CUDA {_dotted(version)}"}
        for number in range(0 if reason else runtime.getDeviceCount()):
            card = runtime.getDeviceProperties(number)
            capability, gib = f"{card['major']}.{card['minor']}", card["totalGlobalMem"] / (1 << 30)
            found[f"cuda:{number}"] = f"{card['name'].decode()}, compute capability {capability}, {gib:.1f} GiB"
    except runtime.CUDARuntimeError as error:
        return {"driver": str(error)}
    return found


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


@cache
def _kvikio() -> Any:
    """The module, None where there is none, or the error of its import, which would search for libraries every time."""
    try:
        return import_module("kvikio") if find_spec("kvikio") else None
    except Exception as error:  # noqa: BLE001 # a missing CUDA library makes any kind of error
        return error


class CudaDevice(GpuDevice):
    """One GPU. Raises GpuError where it cannot be used."""

    nvcomp_kind = "library"
    memory_kinds = (CUDA, CUDA_MANAGED)

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        if reason := why_not():
            raise GpuError(f"device 'cuda:{number}' cannot be used: {reason}")
        import cupy

        self._cupy = self.xp = cupy
        self.number, self.name = number, f"cuda:{number}"
        self._process = os.getpid()  # counting devices starts the driver, which does not live through a fork
        if number >= (count := cupy.cuda.runtime.getDeviceCount()):
            raise GpuError(f"there is no device {self.name!r}: CUDA shows {count}, numbered from 0")
        self._functions: dict[str, Any] = {}

    # ---- memory

    def allocate(self, nbytes: int) -> DeviceArray:
        """A 1-D uint8 array of CuPy's pool. Raises GpuMemoryError when the pool has been emptied in vain."""
        self.check()
        with self._here():
            return self._room(lambda: self._cupy.empty(nbytes, np.uint8), nbytes)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> DeviceArray:
        """An uninitialised CuPy array. Raises GpuMemoryError; DeviceError for a dtype that CuPy does not have."""
        self.check()
        self.check_elements(np.dtype(dtype))
        check_fits(shape, np.dtype(dtype))
        with self._here():
            return self._room(lambda: self._cupy.empty(shape, dtype, order=order), shape)

    def _room(self, get: Callable[[], DeviceArray], what: Any) -> DeviceArray:
        try:
            return get()
        except MemoryError:
            self.free_pool()
        try:
            return get()
        except MemoryError as error:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            raise GpuMemoryError(f"no room for {what} bytes on {self.name!r}; {free} of {total} are free") from error

    def free_pool(self) -> None:
        """Give memory that nobody uses back to the driver."""
        with self._here():
            self._cupy.get_default_memory_pool().free_all_blocks()

    def address(self, array: DeviceArray) -> int:
        """Device address of an array's first element. TypeError for an array that is not on this device."""
        if not isinstance(array, self._cupy.ndarray) or array.device.id != self.number:
            where = getattr(array, "device", "the host")
            raise TypeError(f"a {type(array).__name__} on {where} has no address on {self.name!r}")
        return int(array.data.ptr)

    def pinned(self, nbytes: int) -> HostArray:
        """Page-locked host memory, uint8. CuPy keeps what was freed for the next one of exactly its size, for ever: so
        there are few sizes."""
        self.check()
        with self._here():
            memory = self._cupy.cuda.alloc_pinned_memory(rounded(nbytes))
        return np.frombuffer(memory, np.uint8, nbytes)

    # ---- work

    def copy_in(self, dest_address: int, source: HostArray, lane: GpuLane) -> None:
        """Queue a copy to the device."""
        check_host(source)
        self._copy(dest_address, source.ctypes.data, source.nbytes, TO_DEVICE, lane)

    def copy_out(self, source_address: int, dest: HostArray, lane: GpuLane) -> None:
        """Queue a copy from the device."""
        check_host(dest)
        self._copy(dest.ctypes.data, source_address, dest.nbytes, TO_HOST, lane)

    def _copy(self, to: int, begin: int, nbytes: int, kind: int, lane: GpuLane) -> None:
        self.check()
        if nbytes:
            with self._here():
                self._cupy.cuda.runtime.memcpyAsync(to, begin, nbytes, kind, lane.stream.ptr)

    def clear(self, address: int, nbytes: int, lane: GpuLane) -> None:
        """Queue zeros."""
        self.check()
        if nbytes:
            with self._here():
                self._cupy.cuda.runtime.memsetAsync(address, 0, nbytes, lane.stream.ptr)

    def launch(self, kernel: str, threads: int, args: tuple[Argument, ...], lane: GpuLane) -> None:
        """Queue a kernel."""
        self.check()
        values = kernels.convert(kernel, args, self.address)
        if threads == 0:
            return
        blocks = min(-(-threads // kernels.BLOCK), (1 << 31) - 1)
        with self._here(), lane.stream:
            given = (np.uint64(threads), np.uint64(lane.refused), *values)
            self._function(kernel)((blocks,), (kernels.BLOCK,), given)

    def _function(self, kernel: str) -> Any:
        """A kernel, compiled. The file that it is in is one module."""
        with self._lock:
            found = self._functions.get(kernel)
            if found is None:
                code = kernels.source(kernels.files()[kernel])
                module = self._cupy.RawModule(code=code, options=("-std=c++17",), backend="nvrtc")
                try:
                    found = module.get_function(kernel)
                except self._cupy.cuda.runtime.CUDARuntimeError:
                    raise
                except (self._cupy.cuda.compiler.CompileException, OSError, RuntimeError) as error:  # or there is none
                    raise GpuError(f"NVRTC cannot compile kernel {kernel!r} for {self.name!r}: {error}") from error
                self._functions[kernel] = found
        return found

    def progress(self, lane: GpuLane) -> Callable[[], bool]:
        """By an event on the lane's stream. Its own `done` takes a fault for work that goes on for ever."""
        runtime = self._cupy.cuda.runtime
        with self._here():
            end = self._cupy.cuda.Event(disable_timing=True)
            end.record(lane.stream)

        def done() -> bool:
            with self._here():
                status = runtime.eventQuery(end.ptr)
                if status not in (0, NOT_READY):
                    raise runtime.CUDARuntimeError(status)
                return bool(status == 0)

        return done

    # ---- streams

    def kvikio(self) -> Any:
        """The module `kvikio`, which is imported now: CUDA works here. None where it is not installed."""
        found = _kvikio()
        if isinstance(found, Exception):
            raise found.with_traceback(None)
        return found

    @property
    def card(self) -> str:
        """The GPU's name."""
        return str(self._cupy.cuda.runtime.getDeviceProperties(self.number)["name"].decode())

    def _interfaced(self, value: Any) -> DeviceArray:
        array = self._cupy.asarray(value)
        if array.size and array.data.ptr != value.__cuda_array_interface__["data"][0]:
            raise ValueError("CuPy has made a copy, as it does of memory of another GPU")
        return array

    def _number_of(self, array: DeviceArray) -> int:
        return int(array.device.id)

    def _open_lane(self) -> GpuLane:
        with self._here():
            return GpuLane(self, self._cupy.cuda.Stream(non_blocking=True))

    @contextmanager
    def _here(self) -> Iterator[None]:
        """This GPU as the current one; CUDA's errors as ours."""
        runtime = self._cupy.cuda.runtime
        try:
            with self._cupy.cuda.Device(self.number):
                yield
        except runtime.CUDARuntimeError as error:
            raise self._said(error.status, error) from error
        except self._cupy.cuda.driver.CUDADriverError as error:
            raise self._said(error.status, error) from error

    def _said(self, status: int, error: Exception) -> GpuError:
        if status in STICKY:
            return self.lose(str(error))
        if status == OUT_OF_MEMORY:
            return GpuMemoryError(f"{self.name!r}: {error}")
        if status == NOT_INITIALIZED:
            return ForkError(f"{self.name!r}: {error}; was CUDA used before this process was forked?")
        return GpuError(f"{self.name!r}: {error}")

    def _mark(self) -> Any:
        mark = self._cupy.cuda.Event(disable_timing=True)
        mark.record(self._cupy.cuda.get_current_stream())
        return mark

    @contextmanager
    def _on(self, lane: GpuLane, mark: Any) -> Iterator[None]:
        with lane.stream:
            lane.stream.wait_event(mark)
            yield
