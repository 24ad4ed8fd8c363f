"""`gpuzarr doctor`: what was found on this machine, what is missing, and what will be used."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import gpuzarr
from gpuzarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from gpuzarr.codecs.engines import cpu, native
from gpuzarr.codecs.engines.nvcomp import Nvcomp
from gpuzarr.devices import get_device
from gpuzarr.devices.cuda import why_not
from gpuzarr.errors import GpuError

CHAINS: dict[str, list[Any]] = {
    "none": [],
    "zstd": [ZstdCodec()],
    "zstd + crc32c": [ZstdCodec(), Crc32cCodec()],
    "gzip": [GzipCodec()],
    "blosc": [BloscCodec()],
}


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; exit status 0."""
    found = examine()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    for title, rows in found.items():
        print(title)
        width = max(map(len, rows))
        for name, text in rows.items():
            print(f"  {name:<{width}}  {text}")
    return 0


def examine() -> dict[str, dict[str, str]]:
    """What is here: section -> name -> finding."""
    return {"machine": _machine(), "cpu": _cpu(), "gpu": _gpu(), "routes": _routes()}


def _machine() -> dict[str, str]:
    return {
        "gpuzarr": gpuzarr.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "cores": f"{get_device('cpu').lanes} usable of {os.cpu_count()}",
        "numpy": version("numpy"),
    }


def _cpu() -> dict[str, str]:
    engines = {"zstd": cpu.zstd(), "blosc": cpu.blosc(), "lz4": cpu.lz4()}
    said = {}
    for name, engine in engines.items():
        way = "called directly" if type(engine).__module__ == native.__name__ else "through its Python functions"
        said[name] = f"numcodecs {version('numcodecs')}, {way}"
    return said | {"gzip": f"isal {_version('isal')}" if find_spec("isal") else "zlib; isal would be twice as fast"}


def _gpu() -> dict[str, str]:
    reason = why_not()
    cuda = reason or _found(lambda: str(get_device("cuda")))
    return {
        "cupy": _version("cupy-cuda13x", "cupy-cuda12x", "cupy"),
        "cuda": cuda,
        "nvcomp": _found(lambda: "library " + ".".join(map(str, Nvcomp().version))),
        # Only looked for: importing it is safe, but using it hangs on some machines without a driver.
        "kvikio": "installed, not used yet" if find_spec("kvikio") else "not installed, and not used yet",
        "auto": get_device("auto").name,
    }


def _routes() -> dict[str, str]:
    """Where each codec would run on a GPU, by the emulated device, which has the same routes."""
    routes = {}
    for name, codecs in CHAINS.items():
        array = gpuzarr.create_array({}, shape=(4,), dtype="f4", compressors=codecs or None)
        for device in ("cpu", "emulated"):
            decode = array.to_device(device).explain().splitlines()[3].removeprefix("  decode  ")
            routes[f"{name} on {'cpu' if device == 'cpu' else 'a GPU'}"] = decode.replace("@emulated", "@gpu")
    return routes


def _version(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"


def _found(look: Callable[[], str]) -> str:
    try:
        return look()
    except GpuError as error:
        return str(error)
