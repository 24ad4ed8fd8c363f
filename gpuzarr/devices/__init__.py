"""Devices by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from gpuzarr.devices.contract import Device, Lane
from gpuzarr.devices.cpu import CpuDevice
from gpuzarr.options import config

if TYPE_CHECKING:
    from gpuzarr.devices.cuda import CudaDevice
    from gpuzarr.devices.emulated import EmulatedDevice

__all__ = ["CpuDevice", "CudaDevice", "Device", "EmulatedDevice", "Lane", "chosen_device", "device", "get_device"]

_devices: dict[str, Device] = {}
_lock = threading.RLock()
_chosen: ContextVar[Device | None] = ContextVar("gpuzarr device", default=None)


@contextmanager
def device(name: str | Device | None) -> Iterator[Device]:
    """`with gpuzarr.device("cuda:1"):` is the device of what is opened or made in this block without a `device=`.

    It counts where an array or a group is opened; what is open already stays where it is. A thread that is started in
    the block begins without it, a task of asyncio with it. None leaves the choice as it is. Raises as `get_device`.
    """
    found = get_device(name)
    before = _chosen.set(found)
    try:
        yield found
    finally:
        _chosen.reset(before)


def chosen_device() -> Device | None:
    """The device of the innermost `with device(...)` around the caller; None outside of all."""
    return _chosen.get()


def get_device(device: str | Device | None = None) -> Device:
    """The device of this name: "cpu", "cuda", "cuda:1" (the second GPU), "emulated" (the GPU's way of working without
    one), or "auto" for cuda where it works and cpu elsewhere.

    None is the device of the innermost `with gpuzarr.device(...)` or else the option `device` (environment:
    GPUZARR_DEVICE), which is "cpu" where nobody set it. ValueError for a name that is not known; GpuError, which says
    why, for a GPU that cannot be used.
    """
    device = device or _chosen.get()
    if isinstance(device, Device):
        return device
    name = str(device or config.get("device"))
    found = _devices.get(name)
    if found is None:
        with _lock:
            found = _devices.get(name) or _make(name)
            _devices[name] = _devices[found.name] = _devices.get(found.name, found)
    return _devices[name]


def _make(name: str) -> Device:
    """A device by name. What only GPUs need is imported when one is asked for, so that `import gpuzarr` stays quick."""
    kind, colon, number = name.partition(":")
    if name == "cpu":
        return CpuDevice()
    if name == "emulated":
        from gpuzarr.devices.emulated import EmulatedDevice

        return EmulatedDevice()
    if kind == "cuda" and (number.isdecimal() if colon else True):
        from gpuzarr.devices.cuda import CudaDevice

        return CudaDevice(int(number or 0))
    if name == "auto":
        from gpuzarr.devices.cuda import why_not

        return get_device("cpu") if why_not() else get_device("cuda")
    raise ValueError(f"device {name!r} is not known; there are 'cpu', 'cuda', 'cuda:<number>', 'emulated' and 'auto'")


def __getattr__(name: str) -> Any:
    if name == "EmulatedDevice":
        from gpuzarr.devices.emulated import EmulatedDevice

        return EmulatedDevice
    if name == "CudaDevice":
        from gpuzarr.devices.cuda import CudaDevice

        return CudaDevice
    raise AttributeError(name)
