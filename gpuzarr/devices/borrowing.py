"""Arrays of other libraries: whose memory they have, and NumPy arrays over host memory of theirs.

Three doors, in this order: DLPack (`__dlpack_device__`, `__dlpack__`; https://dmlc.github.io/dlpack), which also puts
streams in order; `__cuda_array_interface__`
(https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html); and for the host, Python's buffers and
`__array__`, as long as NumPy need not copy. What no door opens has no memory to lend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpuzarr.errors import DeviceError, SelectionError

if TYPE_CHECKING:
    from gpuzarr.devices.contract import Device

# DLDeviceType
CPU, CUDA, CUDA_HOST, EMULATED, CUDA_MANAGED = 1, 2, 3, 12, 13
NAMES = {CPU: "the host", CUDA: "cuda", CUDA_HOST: "the host", EMULATED: "emulated", CUDA_MANAGED: "cuda"}


class Home(NamedTuple):
    """Where an array's memory is."""

    kind: int  # a DLDeviceType
    number: int  # of the device; -1 where the array does not say

    def __str__(self) -> str:
        name = NAMES.get(self.kind, f"a device of DLPack's type {self.kind}")
        return f"{name}:{self.number}" if name == "cuda" and self.number >= 0 else name


def home(value: Any) -> Home | None:
    """Where the memory of `value` is; None where it does not say, as lists and most host memory do not."""
    if hasattr(value, "__dlpack_device__"):
        kind, number = value.__dlpack_device__()
        return Home(int(kind), int(number))
    if hasattr(value, "__cuda_array_interface__"):
        return Home(CUDA, -1)
    return None


def on_host(found: Home | None) -> bool:
    """Whether the host can use such memory."""
    return found is None or NAMES.get(found.kind) == "the host"


def host_array(value: Any) -> np.ndarray[Any, Any] | None:
    """A NumPy array over the memory of a host array or buffer; None for what has none to lend."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError):
            pass  # such as a type of element that DLPack does not have
    try:
        found = np.asarray(value, copy=False)
    except (TypeError, ValueError, DeprecationWarning):  # an `__array__` of old, that cannot be told not to copy
        return None
    return None if found.dtype.hasobject else found


def destination(out: Any, shape: tuple[int, ...], device: Device) -> Any:
    """What a user wants filled, as an array of `device`. Raises DeviceError where that cannot be, SelectionError for
    another shape."""
    array = device.borrow(out, writable=True)
    if array is None:
        raise DeviceError(f"a {type(out).__name__} has no memory of device {device.name!r} that could be filled")
    if tuple(array.shape) != shape:
        raise SelectionError(f"out has shape {tuple(array.shape)}, the selection {shape}")
    return array


def elsewhere(value: Any, found: Any, name: str) -> DeviceError:
    """The error for an array that lies where device `name` cannot use it."""
    return DeviceError(
        f"a {type(value).__name__} in the memory of {found} cannot be used on device {name!r}; copy it there"
    )


def read_only(value: Any) -> DeviceError:
    """The error for an array that cannot be written to."""
    return DeviceError(f"a {type(value).__name__} that is to be filled may only be read")
