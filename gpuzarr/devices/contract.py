"""What a device is: where chunks are decoded and results live.

A device is an argument that is chosen at the door and handed down; nothing but `devices/`, `codecs/engines/`
and the fetch of file ranges into device memory knows which one it is. Work comes as numbered, independent
tasks (one task is one wave); `run` walks them on the device's lanes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from gpuzarr.errors import LimitError

ADDRESSABLE = 1 << 47  # bytes that a process can have


def check_fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """LimitError where no machine could hold an array like this, whatever its memory."""
    if prod(shape) * max(1, dtype.itemsize) > ADDRESSABLE:
        raise LimitError(f"an array of shape {shape} does not fit into memory; select less at a time")


class Lane(ABC):
    """One worker's scratch memory, reused from wave to wave."""

    packs = False  # whether encoded chunks should lie one behind another, since they go somewhere by one copy

    @abstractmethod
    def room(self, nbytes: int) -> tuple[np.ndarray[Any, Any], int]:
        """At least `nbytes` of host scratch for encoded bytes, and its address."""

    @abstractmethod
    def scratch(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, int]:
        """An uninitialised C-contiguous array of this shape and dtype, and its address; the same memory at every
        call with the same arguments."""

    def settle(self) -> None:  # noqa: B027 # a host has nothing to wait for
        """Wait for what is queued, as the end of a task does: before `room` is written again, and before others are
        given what was made here."""


class Device(ABC):
    """One place to compute."""

    name: str
    kind: str  # "cpu", or "gpu" for devices whose memory the host cannot touch
    xp: ModuleType  # numpy or cupy
    any_byte_order: bool  # whether it has elements in another byte order than the machine's
    wave_bytes: int  # decoded bytes of one wave, at most
    lanes: int  # waves in flight

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

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
    def borrow(self, value: Any, *, writable: bool = False) -> Any:
        """An array of this device over the memory of `value`, without a copy; None where `value` has no memory of an
        array, or on a GPU where it lies on the host. See `gpuzarr.devices.borrowing`. Raises DeviceError for memory of
        another device, and with `writable` for memory that may only be read."""

    @abstractmethod
    def run(self, task: Callable[[int, Lane], None], count: int, lanes: int = 0) -> None:
        """Call `task(i, lane)` for every i below `count`, several at a time on lanes of their own.

        `lanes`: how many, 0 for as many as the device has; more than these where tasks mostly wait (not on a GPU).
        The first exception stops the rest and is raised. May be called from a task.
        """
