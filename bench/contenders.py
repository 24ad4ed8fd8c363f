"""Who is measured: gpuzarr and its rivals behind one small face.

Every contender opens the same files, returns NumPy arrays, and may use every core.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Array = np.ndarray[Any, Any]


class Contender(ABC):
    """One library, set up in one way."""

    name: str
    modules: tuple[str, ...]  # what a user imports

    def available(self) -> bool:
        """Whether it is installed here. ImportError from inside an installed library is not hidden."""
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
                return False
        return True

    @abstractmethod
    def open(self, path: Path, mode: str) -> Any:
        """Open the array at `path`; mode is "r" or "r+"."""

    def read(self, array: Any, selection: Any) -> Array:
        """A basic selection."""
        return array[selection]

    def points(self, array: Any, rows: Array, columns: Array) -> Array:
        """Single elements."""
        return array.vindex[rows, columns]

    def write(self, array: Any, data: Array) -> None:
        """The whole array."""
        array[...] = data


class Gpuzarr(Contender):
    """gpuzarr on the CPU."""

    name = "gpuzarr"
    modules = ("gpuzarr",)

    def open(self, path: Path, mode: str) -> Any:
        import gpuzarr

        return gpuzarr.open_array(path, mode=mode)


class ZarrPython(Contender):
    """zarr-python with its default pipeline, or another one."""

    modules = ("zarr",)

    def __init__(self, name: str, pipeline: str | None = None) -> None:
        self.name, self.pipeline = name, pipeline
        if pipeline is not None and not pipeline.startswith("zarr."):
            self.modules = ("zarr", pipeline.partition(".")[0])

    def available(self) -> bool:
        if not super().available():
            return False
        if self.pipeline is None:
            return True
        module, _, name = self.pipeline.rpartition(".")
        return hasattr(importlib.import_module(module), name)

    def open(self, path: Path, mode: str) -> Any:
        import zarr

        chosen: AbstractContextManager[Any] = nullcontext()
        if self.pipeline is not None:
            chosen = zarr.config.set({"codec_pipeline.path": self.pipeline})
        with chosen:  # an array keeps the pipeline that it was opened with
            return zarr.open_array(path, mode=mode)


class TensorStore(Contender):
    """tensorstore: no cache, no fsync, as many threads as there are cores."""

    name = "tensorstore"
    modules = ("tensorstore",)

    def __init__(self) -> None:
        self._context: Any = None

    def open(self, path: Path, mode: str) -> Any:
        import tensorstore as ts

        if self._context is None:
            threads = {"limit": CORES}
            limits = {"data_copy_concurrency": threads, "cache_pool": {"total_bytes_limit": 0}, "file_io_sync": False}
            self._context = ts.Context(limits)
        spec = {
            "driver": "zarr3" if (path / "zarr.json").exists() else "zarr",
            "kvstore": {"driver": "file", "path": f"{path}/"},
            "recheck_cached_metadata": False,
            "recheck_cached_data": False,
        }
        return ts.open(spec, context=self._context, read=True, write=mode != "r", open=True).result()

    def read(self, array: Any, selection: Any) -> Array:
        return array[selection].read().result()

    def points(self, array: Any, rows: Array, columns: Array) -> Array:
        return array.vindex[rows, columns].read().result()

    def write(self, array: Any, data: Array) -> None:
        array[...].write(data).result()


OURS = "gpuzarr"
DEFAULT = "zarr"
FUSED = "zarr-fused"
BRIDGE = "zarr+gpuzarr"  # zarr-python with our pipeline: shown beside the others, and no rival
ALL: list[Contender] = [
    Gpuzarr(),
    ZarrPython(DEFAULT),
    ZarrPython(FUSED, "zarr.core.codec_pipeline.FusedCodecPipeline"),
    ZarrPython(BRIDGE, "gpuzarr.zarr_pipeline.CodecPipeline"),
    ZarrPython("zarrs", "zarrs.ZarrsCodecPipeline"),
    TensorStore(),
]


def versions() -> dict[str, str]:
    """The installed versions of all that takes part."""
    found = {}
    for name in ("gpuzarr", "zarr", "zarrs", "tensorstore", "numcodecs", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            module = importlib.import_module(name) if importlib.util.find_spec(name) else None
            if module is not None:
                found[name] = getattr(module, "__version__", "unknown")
    return found


def create(path: Path, shape: tuple[int, ...], layout: Any, codec: str, zarr_format: int) -> None:
    """An empty float32 array, made by zarr-python."""
    import zarr

    zarr.create_array(
        path,
        shape=shape,
        dtype="float32",
        chunks=layout.chunks,
        shards=layout.shards,
        compressors=_compressor(codec, zarr_format),
        zarr_format=zarr_format,
        fill_value=0,
    )


def _compressor(codec: str, zarr_format: int) -> Any:
    """Each codec as zarr-python sets it up when told nothing but its name; Blosc with LZ4 and byte shuffle."""
    if codec == "none":
        return None
    if zarr_format == 2:
        import numcodecs

        made = {"zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc("lz4"), "gzip": numcodecs.GZip(5)}
    else:
        from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

        made = {"zstd": ZstdCodec(), "blosc": BloscCodec(cname="lz4", shuffle="shuffle"), "gzip": GzipCodec()}
    return made[codec]


def metadata(path: Path) -> dict[str, Any]:
    """The stored metadata document, for the record."""
    document = path / "zarr.json"
    return json.loads((document if document.exists() else path / ".zarray").read_text())
