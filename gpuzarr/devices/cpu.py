"""The host: NumPy, and a pool of threads that is rebuilt after a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count as counter
from typing import Any

import numpy as np

from gpuzarr.devices.borrowing import elsewhere, home, host_array, on_host, read_only
from gpuzarr.devices.contract import Device, Lane, check_fits
from gpuzarr.devices.crew import Crew
from gpuzarr.options import config

APRON = 32 << 10  # bytes


def _usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class HostLane(Lane):
    """Scratch memory of one thread. Both kinds grow to what a wave needs; `trim` gives back what is larger than a
    small read wants to keep, so that memory between reads stays bounded."""

    KEEP = 4 << 20  # bytes that a lane may hold between reads

    __slots__ = ("_address", "_chunk", "_chunk_address", "_key", "_room")

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)
        self._address = 0
        self._chunk = np.empty(0, np.uint8)
        self._chunk_address = 0
        self._key: tuple[Any, ...] = ()

    def room(self, nbytes: int) -> tuple[np.ndarray[Any, Any], int]:
        """At least `nbytes` of scratch for encoded bytes, and its address; the `APRON` bytes in front of it are scratch
        too. Only what is written to takes memory, which counts, since encoded chunks are mostly much smaller than they
        might be."""
        if self._room.size < nbytes:
            self._room = np.empty(APRON + nbytes, np.uint8)[APRON:]
            self._address = self._room.ctypes.data
        return self._room, self._address

    def scratch(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[np.ndarray[Any, Any], int]:
        """An uninitialised C-contiguous array of this shape and dtype, and its address; the same memory at
        every call with the same arguments."""
        if self._key != (shape, dtype):
            self._chunk = np.empty(shape, dtype)
            self._chunk_address = self._chunk.__array_interface__["data"][0]
            self._key = (shape, dtype)
        return self._chunk, self._chunk_address

    def trim(self, kept: int = KEEP) -> None:
        """Let go of scratch of more than `kept` bytes."""
        if self._room.size > kept:
            self._room = np.empty(0, np.uint8)
        if self._chunk.nbytes > kept:
            self._chunk, self._key = np.empty(0, np.uint8), ()


class CpuDevice(Device):
    """Waves of about a megabyte, so that encoded and decoded bytes stay in cache; one lane a core."""

    name = kind = "cpu"
    xp = np
    any_byte_order = True
    wave_bytes = 2 << 20

    def __init__(self) -> None:
        self._local = threading.local()
        self._crew = Crew()

    @property
    def lanes(self) -> int:  # type: ignore[override]
        """Waves in flight: the option `threading.max_workers`, or the number of usable cores."""
        return int(config.get("threading.max_workers") or _usable_cores())

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> Any:
        """An uninitialised NumPy array. Raises LimitError for one that no machine could hold, else MemoryError."""
        try:
            return np.empty(shape, dtype, order)  # type: ignore[call-overload]
        except (MemoryError, ValueError):
            check_fits(shape, dtype)
            raise

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """The array itself."""
        return array

    def download(self, array: Any) -> np.ndarray[Any, Any]:
        """The array itself."""
        return np.asarray(array)

    def borrow(self, value: Any, *, writable: bool = False) -> Any:
        """A NumPy array over host memory; None for what has none."""
        if not on_host(found := home(value)):
            raise elsewhere(value, found, self.name)
        array = host_array(value)
        if array is not None and writable and not array.flags.writeable:
            raise read_only(value)
        return array

    def lane(self) -> HostLane:
        """The calling thread's lane."""
        try:
            lane: HostLane = self._local.lane
        except AttributeError:
            lane = self._local.lane = HostLane()
        return lane

    def run(self, task: Callable[[int, Lane], None], count: int, lanes: int = 0) -> None:
        """Walk the tasks on the calling thread and, where there are several, on the pool beside it.

        The caller always takes part, so a task may itself call `run` without waiting for a busy pool.
        """
        if count == 1:
            lane = self.lane()
            task(0, lane)
            lane.trim()
            return
        numbers, failed = counter(), threading.Event()
        lanes = lanes or self.lanes
        kept = HostLane.KEEP * self.lanes // max(lanes, self.lanes)

        def walk() -> None:
            lane = self.lane()
            try:
                while (i := next(numbers)) < count and not failed.is_set():
                    task(i, lane)
            except BaseException:
                failed.set()
                raise
            finally:
                lane.trim(kept)

        self._crew.walk(walk, min(lanes, count), max(lanes, self.lanes))
