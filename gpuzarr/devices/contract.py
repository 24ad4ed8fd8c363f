"""What a device is: where chunks are decoded and results live.

A device is an argument that is chosen at the door and handed down; nothing but `devices/`, `codecs/engines/`
and the fetch of file ranges into device memory knows which one it is. Work comes as numbered, independent
tasks (one task is one wave); `run` walks them on the device's lanes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np


class Lane:
    """Scratch memory of one worker, reused from wave to wave.

    `room` holds encoded bytes, `scratch` decoded chunks. Both grow to what a wave needs; `trim` gives back what
    is larger than a small read wants to keep, so that memory between reads stays bounded.
    """

    KEEP = 4 << 20  # bytes that a lane may hold between reads

    __slots__ = ("_address", "_chunk", "_chunk_address", "_key", "_room")

    def __init__(self) -> None:
        self._room = bytearray()
        self._address = 0
        self._chunk = np.empty(0, np.uint8)
        self._chunk_address = 0
        self._key: tuple[Any, ...] = ()

    def room(self, nbytes: int) -> tuple[bytearray, int]:
        """At least `nbytes` of scratch for encoded bytes, and its address."""
        if len(self._room) < nbytes:
            self._room = bytearray(nbytes)
            self._address = np.frombuffer(self._room, np.uint8).ctypes.data
        return self._room, self._address

    def scratch(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[np.ndarray[Any, Any], int]:
        """An uninitialised C-contiguous array of this shape and dtype, and its address; the same memory at
        every call with the same arguments."""
        if self._key != (shape, dtype):
            self._chunk = np.empty(shape, dtype)
            self._chunk_address = self._chunk.__array_interface__["data"][0]
            self._key = (shape, dtype)
        return self._chunk, self._chunk_address

    def trim(self) -> None:
        """Let go of large scratch."""
        if len(self._room) > self.KEEP:
            self._room = bytearray()
        if self._chunk.nbytes > self.KEEP:
            self._chunk, self._key = np.empty(0, np.uint8), ()


class Device(ABC):
    """One place to compute."""

    name: str
    xp: ModuleType  # numpy or cupy
    wave_bytes: int  # decoded bytes of one wave
    lanes: int  # waves in flight

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> Any:
        """An uninitialised array on the device."""

    @abstractmethod
    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """The device's copy of a host array; the array itself where the device is the host."""

    @abstractmethod
    def download(self, array: Any) -> np.ndarray[Any, Any]:
        """The host's copy of a device array; the array itself where the device is the host."""

    @abstractmethod
    def run(self, task: Callable[[int, Lane], None], count: int) -> None:
        """Call `task(i, lane)` for every i below `count`, several at a time, each on a lane of its own.

        The first exception stops the rest and is raised. May be called from a task.
        """
