"""Arrays of the emulated device: what a `cupy.ndarray` is to NumPy, without a GPU.

They mix with Python and NumPy scalars and with each other. They do not mix with `numpy.ndarray`, and do not become
one unasked: `numpy.asarray(x)`, a buffer of `x`, and `x + numpy_array` raise TypeError as CuPy's arrays do. (They are
no subclass of `numpy.ndarray`, since NumPy takes the memory of a subclass without asking.) `x.get()` downloads,
`x.item()` and `x.tolist()` do too; `xp.asarray(host)` uploads, and so do host arrays within an index. Like CuPy's,
reductions and elements are 0-d arrays. Unlike CuPy's, they refuse `float(x)`, `int(x)` and `bool(x)`: on a GPU each
would wait for it unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gpuzarr.devices.borrowing import EMULATED

if TYPE_CHECKING:
    from gpuzarr.devices.emulated import EmulatedDevice

HIDDEN = {"ctypes", "tofile", "dump", "dumps", "getfield", "setfield", "setflags", "newbyteorder", "resize"}
UPLOADS = {"asarray", "array", "ascontiguousarray", "asfortranarray"}  # the only functions that take host arrays


class EmulatedArray(NDArrayOperatorsMixin):
    """An array in the memory of an `EmulatedDevice`."""

    __slots__ = ("__weakref__", "_host", "_owner")

    def __init__(self, host: np.ndarray[Any, Any], owner: EmulatedDevice) -> None:
        self._host, self._owner = host, owner

    # ---- what CuPy's arrays refuse

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        raise TypeError("implicit conversion of a device array to a NumPy array is not allowed; use `.get()`")

    def _no_scalar(self) -> Any:
        raise TypeError("implicit conversion of a device array to a Python scalar waits for the device; use `.item()`")

    __bool__ = __float__ = __int__ = __complex__ = __index__ = _no_scalar

    # ---- what they lend

    def __dlpack_device__(self) -> tuple[int, int]:
        return EMULATED, self._owner.number

    def __dlpack__(self, **_: Any) -> EmulatedArray:
        """What `xp.from_dlpack` takes. It is no capsule, so that nobody takes host memory for it unasked."""
        return self

    # ---- what they have

    def get(self, out: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """A host copy, or `out` filled with it."""
        self._owner.touch()
        if out is None:
            return self._host.copy(order="A")
        out[...] = self._host
        return out

    def set(self, host: Any) -> None:
        """Copy a host array of this shape and dtype in."""
        if not isinstance(host, np.ndarray) or host.shape != self.shape or host.dtype != self.dtype:
            raise ValueError("`set` takes a host array of the same shape and dtype")
        self._owner.touch()
        self._host[...] = host

    # In the class, where protocols are looked up from Python 3.12 on (xarray has one for arrays of any library).
    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    real = property(lambda self: wrapped(self._host.real, self._owner))
    imag = property(lambda self: wrapped(self._host.imag, self._owner))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in HIDDEN or name == "data":
            raise AttributeError(f"device arrays have no {name!r}")
        found = getattr(self._host, name)
        if callable(found):
            return _guarded(found, self._owner, explicit=name in ("item", "tolist", "tobytes"))
        return wrapped(found, self._owner)

    def __getitem__(self, index: Any) -> EmulatedArray:
        self._owner.touch()
        # With an Ellipsis NumPy gives a view where it would else give a scalar.
        index = _uploaded(index)
        if not any(i is Ellipsis for i in index):
            index = (*index, Ellipsis)
        found: EmulatedArray = wrapped(self._host[index], self._owner)
        return found

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(value, EmulatedArray | int | float | complex | np.generic):
            raise TypeError(f"a device array takes device arrays and scalars, not {type(value).__name__}")
        self._owner.touch()
        self._host[_uploaded(index)] = unwrapped(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[EmulatedArray]:
        return (self[i] for i in range(len(self._host)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _guarded(getattr(ufunc, method), self._owner)(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _guarded(func, self._owner)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"emulated {self._host!r}"


def unwrapped(value: Any) -> Any:
    """`value`, as NumPy takes it. TypeError for host arrays in it."""
    if isinstance(value, EmulatedArray):
        value._owner.touch()
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array where a device array is needed; upload it first")
    if isinstance(value, tuple | list):
        return type(value)([unwrapped(v) for v in value])
    if isinstance(value, dict):
        return {k: unwrapped(v) for k, v in value.items()}
    return value


def _uploaded(index: Any) -> tuple[Any, ...]:
    """An index as NumPy takes it. Host arrays in it CuPy uploads unasked."""
    entries = index if isinstance(index, tuple) else (index,)
    return tuple(entry if isinstance(entry, np.ndarray) else unwrapped(entry) for entry in entries)


def wrapped(value: Any, owner: EmulatedDevice) -> Any:
    """`value`, as NumPy gave it, on the device."""
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return owner.adopt(value)
    if type(value) in (tuple, list):
        return type(value)([wrapped(v, owner) for v in value])
    return value


def _guarded(function: Callable[..., Any], owner: EmulatedDevice, explicit: bool = False) -> Callable[..., Any]:
    """`function`, from device arrays to device arrays. An explicit one gives Python or host values."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        owner.touch()
        result = function(*unwrapped(list(args)), **unwrapped(kwargs))
        return result if explicit else wrapped(result, owner)

    return guarded


class EmulatedModule(ModuleType):
    """What `cupy` is to `numpy`: the functions of NumPy, for and from device arrays."""

    ndarray = EmulatedArray

    def __init__(self, owner: EmulatedDevice) -> None:
        super().__init__("emulated_xp", "NumPy on the emulated device.")
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(np, name)
        if isinstance(found, ModuleType):
            raise AttributeError(f"the emulated device has no module {name!r}")
        if not callable(found) or isinstance(found, type):
            return found
        if name in UPLOADS:
            return self._upload(found)
        return _guarded(found, self._owner)

    def _upload(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def upload(value: Any, *args: Any, **kwargs: Any) -> Any:
            self._owner.touch()
            host = isinstance(value, np.ndarray)
            result = function(value if host else unwrapped(value), *args, **kwargs)
            if host:  # CuPy turns foreign byte orders while it copies; a result of NumPy's may be the host's own memory
                result = result.astype(result.dtype.newbyteorder("="), order="K", copy=True)
            return wrapped(result, self._owner)

        return upload

    def empty(self, shape: Any, dtype: Any = float, order: Any = "C") -> EmulatedArray:
        """Uninitialised, and aligned as a GPU's allocations are."""
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        memory = self._owner.allocate(int(np.prod(shape, dtype=object)) * dtype.itemsize)
        return self._owner.adopt(np.ndarray(shape, dtype, memory._host, order=order))

    def from_dlpack(self, value: Any) -> EmulatedArray:
        """The array that another library lends, without a copy. BufferError where it is none of this device."""
        lent = value.__dlpack__(stream=None)
        if not isinstance(lent, EmulatedArray) or lent._owner is not self._owner:
            raise BufferError(f"DLPack gave no array of device {self._owner.number} of the emulation")
        return EmulatedArray(lent._host, self._owner)

    def asnumpy(self, value: Any) -> np.ndarray[Any, Any]:
        """A host copy of a device array."""
        return value.get() if isinstance(value, EmulatedArray) else np.asarray(value)
