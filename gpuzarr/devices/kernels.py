"""The kernels: where their sources are, what they take, and how the host runs them.

`kernels/*.cu` lies beside the package in a checkout and inside it in a wheel. A source says all there is to know:
`signature` reads a kernel's parameters from it, so that a launch converts its arguments to exactly those types.
`host_library` compiles the same sources with the host's C++ compiler, once for each state of the sources.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.errors import GpuError

_FUNCTION = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
_INCLUDE = re.compile(r'^#include "(\w+\.h)"$', re.MULTILINE)
_TYPES = {"u32": np.uint32, "i32": np.int32, "u64": np.uint64, "i64": np.int64}
_CTYPES = {np.uint32: ctypes.c_uint32, np.int32: ctypes.c_int32, np.uint64: ctypes.c_uint64, np.int64: ctypes.c_int64}
GIVEN = ("items", "refused")  # the first two parameters of every kernel, which `launch` fills in
BLOCK = 256  # threads of a block


class Parameter(NamedTuple):
    """One parameter of a kernel; pointers are uint64 addresses."""

    name: str
    type: Any
    pointer: bool


@cache
def directory() -> Path:
    """The folder of the sources. GpuError where there is none."""
    package = Path(__file__).parents[1]
    for place in (package / "kernels", package.parent / "kernels"):
        if (place / "kernel.h").is_file():
            return place
    raise GpuError(f"the kernels' sources are neither in {package} nor beside it: the installation is incomplete")


@cache
def files() -> dict[str, str]:
    """The source file of each kernel."""
    found = {}
    for path in sorted(directory().glob("*.cu")):
        for name, _ in _FUNCTION.findall(path.read_text()):
            found[name] = path.name
    return found


@cache
def source(*names: str) -> str:
    """The text of these files in one, with what they include written in, since NVRTC sees no files."""
    seen: set[str] = set()

    def write_in(match: re.Match[str]) -> str:
        if match[1] in seen:
            return ""
        seen.add(match[1])
        return _INCLUDE.sub(write_in, (directory() / match[1]).read_text().replace("#pragma once\n", ""))

    return "\n".join(_INCLUDE.sub(write_in, (directory() / name).read_text()) for name in names)


@cache
def signature(kernel: str) -> tuple[Parameter, ...]:
    """The parameters of a kernel, without those that `launch` fills in. GpuError for a kernel that there is not."""
    if kernel not in files():
        raise GpuError(f"there is no kernel {kernel!r}; there are {', '.join(sorted(files()))}")
    text = (directory() / files()[kernel]).read_text()
    parameters = next(taken for name, taken in _FUNCTION.findall(text) if name == kernel)
    found = [_parameter(p) for p in parameters.split(",")]
    assert tuple(p.name for p in found[:2]) == GIVEN, kernel
    return tuple(found[2:])


def _parameter(text: str) -> Parameter:
    words = text.replace("__restrict__", " ").replace("*", " * ").split()
    pointer = "*" in words
    name, kind = words[-1], next(w for w in words if w not in ("const", "*"))
    return Parameter(name, np.uint64 if pointer else _TYPES[kind], pointer)


def convert(kernel: str, args: tuple[Any, ...], address: Callable[[Any], int]) -> list[np.generic]:
    """A launch's arguments as the kernel takes them; arrays become addresses. TypeError for another number of them,
    or for a value that its parameter cannot hold."""
    parameters = signature(kernel)
    if len(args) != len(parameters):
        raise TypeError(f"kernel {kernel!r} takes {', '.join(p.name for p in parameters)}: {len(args)} were given")
    values = []
    for parameter, arg in zip(parameters, args, strict=True):
        value = int(arg) if isinstance(arg, int | np.integer) else address(arg) if parameter.pointer else None
        if value is None:
            raise TypeError(f"kernel {kernel!r}: {parameter.name} is a number, not {type(arg).__name__}")
        limits = np.iinfo(parameter.type)
        if not limits.min <= value <= limits.max:
            raise TypeError(f"kernel {kernel!r}: {parameter.name} cannot be {value}")
        values.append(parameter.type(value))
    return values


def span(largest: int, unit: int = 16) -> int:
    """How many threads should share a row of at most `largest` bytes: whole blocks, so that the threads of a block
    work on one row, and not so many that a large row makes many idle ones beside small rows."""
    return min(max(1, -(-largest // (unit * BLOCK))), 64) * BLOCK


# ---- on the host

FLAGS = ("-x", "c++", "-std=c++17", "-O2", "-fPIC", "-shared", "-fno-strict-aliasing")


@cache
def compiler() -> str | None:
    """The host's C++ compiler: the environment's CXX, or the first that is found; None where there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    return None


@cache
def host_library() -> ctypes.CDLL | None:
    """All kernels as functions for the host; None where there is no compiler. GpuError where it fails."""
    command = compiler()
    if command is None:
        return None
    text = source(*sorted(set(files().values())))
    state = "\0".join((text, command, *FLAGS, platform.machine()))
    path = cache_directory() / f"kernels-{hashlib.sha256(state.encode()).hexdigest()[:32]}.so"
    if not path.exists():
        build_host_library(path, text, command)
    return ctypes.CDLL(str(path))


def build_host_library(path: Path, text: str, command: str, flags: tuple[str, ...] = FLAGS) -> None:
    """Compile to `path`, which is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        draft = Path(place, "kernels.cpp")
        draft.write_text(text)
        product = Path(place, "kernels.so")
        done = subprocess.run(
            [command, *flags, str(draft), "-o", str(product)], capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode:
            raise GpuError(f"{command} cannot compile the kernels (status {done.returncode}):\n{done.stderr[-4000:]}")
        product.replace(path)


def host_value(value: np.generic) -> Any:
    """A converted argument, as ctypes passes it."""
    return _CTYPES[type(value)](int(value))


@cache
def _own_directory() -> tempfile.TemporaryDirectory[str]:
    """This process's own cache, gone when it ends."""
    return tempfile.TemporaryDirectory(prefix="gpuzarr-")


def cache_directory() -> Path:
    """A folder that only this user writes to: what is loaded from it is code."""
    base = os.environ.get("GPUZARR_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    place = Path(base).expanduser() / "gpuzarr"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = place.stat()
        if about.st_uid == os.getuid() and not about.st_mode & 0o022 and os.access(place, os.W_OK):
            return place
    except (OSError, RuntimeError):  # no home, or one that cannot be written to
        pass
    return Path(_own_directory().name)
