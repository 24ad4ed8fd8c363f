"""Devices by name."""

from __future__ import annotations

from functools import cache

from gpuzarr.devices.contract import Device, Lane
from gpuzarr.devices.cpu import CpuDevice
from gpuzarr.options import config

__all__ = ["CpuDevice", "Device", "Lane", "get_device"]


@cache
def _cpu() -> CpuDevice:
    return CpuDevice()


def get_device(device: str | Device | None = None) -> Device:
    """The device of this name: "cpu", or "auto" for the best one that works.

    None is the option `device` (environment: GPUZARR_DEVICE), which is "cpu" where nobody set it. ValueError for
    a name that is not known.
    """
    if isinstance(device, Device):
        return device
    name = device or str(config.get("device"))
    if name in ("cpu", "auto"):
        return _cpu()
    raise ValueError(f"device {name!r} is not known; this version of gpuzarr has 'cpu' and 'auto'")
