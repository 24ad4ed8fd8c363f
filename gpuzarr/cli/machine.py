"""What `gpuzarr doctor` says: what was found on this machine, what is missing, and what will be used."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

import gpuzarr
from gpuzarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from gpuzarr.codecs.engines import cpu, native
from gpuzarr.codecs.engines.nvcomp import Nvcomp
from gpuzarr.devices import cuda, get_device, kvikio
from gpuzarr.errors import GpuError

CHAINS: dict[str, list[Any]] = {
    "none": [],
    "zstd": [ZstdCodec()],
    "zstd + crc32c": [ZstdCodec(), Crc32cCodec()],
    "gzip": [GzipCodec()],
    "blosc": [BloscCodec()],
}


def examine() -> dict[str, dict[str, str]]:
    """What is here: section -> name -> finding."""
    found = {"machine": _machine(), "cpu": _cpu(), "gpu": _gpu(), "routes": _routes()}
    trials = kvikio.choices()
    return found | (
        {"file reads to a GPU": {name: _quicker(taken) for name, taken in trials.items()}} if trials else {}
    )


def retry(folder: str, device: Any = None) -> str:
    """Measure both ways of reading a file of that folder to the GPU, and keep what was found; why not, if not."""
    try:
        device = get_device("cuda") if device is None else device
    except GpuError as error:
        return str(error)
    if reason := kvikio.why_not(device):
        return reason
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".gpuzarr-") as sample:
            sample.write(np.random.default_rng(0).bytes(kvikio.SAMPLE))
            sample.flush()
            kvikio.retry(device, sample.name)
    except (OSError, GpuError) as error:
        return f"no trial in {folder}: {error}"
    return ""


def _quicker(taken: dict[str, float]) -> str:
    way = "KvikIO" if taken["kvikio"] < taken["host"] else "the host, and one copy"
    return f"{way} (KvikIO {taken['kvikio'] * 1000:.1f} ms, the host {taken['host'] * 1000:.1f} ms)"


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
    reason = cuda.why_not()
    return {
        "cupy": _version("cupy-cuda13x", "cupy-cuda12x", "cupy"),
        **cuda.findings(),
        "cuda": reason or "works",
        "nvcomp": _nvcomp(),
        "kvikio": _kvikio(usable=reason is None),
        "auto": get_device("auto").name,
    }


def _nvcomp() -> str:
    """The library's host side needs no GPU, so that it is looked at even where there is none."""
    try:
        return "library " + ".".join(map(str, Nvcomp().version))
    except GpuError as error:
        return f"{error}; until then a GPU reads what is not compressed, or by a codec that the CPU decodes"


def _kvikio(*, usable: bool) -> str:
    """It is only looked for where CUDA does not work, since using it hangs on some machines without a driver."""
    if not usable:
        return f"{_version('kvikio-cu13', 'kvikio-cu12')}, and not used: CUDA does not work"
    if reason := kvikio.why_not(get_device("cuda")):  # type: ignore[arg-type]
        return reason
    compat = import_module("kvikio.defaults").is_compat_mode_preferred()
    way = "without GPUDirect Storage" if compat else "with GPUDirect Storage"
    found = _version("kvikio-cu13", "kvikio-cu12")
    return f"{found}, {way}; for uncompressed files, option gpu.file_reads: {kvikio.wanted()}"


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
