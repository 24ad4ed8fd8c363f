"""nvCOMP's batched C API through ctypes: many compressed streams decoded by one call.

The library comes with the package `nvidia-libnvcomp-cu12` or `-cu13` (versions 5 and 6) and is loaded when it is
first needed; loading it, and everything here but `decompress`, needs no GPU. Reference:
https://docs.nvidia.com/cuda/nvcomp/c_api.html

nvCOMP believes its input: what it is given must have come through `streams`.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import POINTER, byref, c_int, c_int32, c_size_t, c_uint32, c_void_p
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.errors import GpuError

FORMATS = {"zstd": "Zstd", "lz4": "LZ4", "gzip": "Gzip", "deflate": "Deflate", "snappy": "Snappy"}
VERSIONS = (5, 6)  # major versions whose calls are the ones below

STATUS_NAMES = {
    0: "success",
    10: "invalid value",
    11: "not supported",
    12: "cannot decompress",
    13: "bad checksum",
    14: "cannot verify checksums",
    15: "output buffer too small",
    16: "wrong header length",
    17: "wrong alignment",
    18: "chunk too large",
    19: "cannot compress",
    20: "wrong input length",
    21: "batch too large",
    22: "wrong number of sub-chunks",
    23: "wrong number of sub-chunks",
    24: "output buffer alignment too small",
    1000: "CUDA error",
    10000: "internal error",
}


class Alignments(NamedTuple):
    """Bytes of which addresses given to the decoder must be multiples."""

    input: int
    output: int
    temp: int


class _Options(ctypes.Structure):
    """Every format's options are 64 bytes, given by value; zeros are the defaults."""

    _fields_ = [("slots", c_int32 * 16)]  # ctypes wants it so


class _Alignments(ctypes.Structure):
    _fields_ = [("input", c_size_t), ("output", c_size_t), ("temp", c_size_t)]


class _Properties(ctypes.Structure):
    _fields_ = [("version", c_uint32), ("cudart", c_uint32)]


def status_name(status: int) -> str:
    """What a status says; a status of -1 is one that was never written."""
    return STATUS_NAMES.get(status, "no result" if status == -1 else f"status {status}")


def list_bytes(count: int) -> int:
    """Bytes of a list of `count` streams, which `list_streams` of the kernels makes: uint64 rows of `count`, source
    addresses, source sizes, destination capacities, destination addresses, actual sizes (out); then as many int32
    statuses (out), which start as -1 so that one that is never written is seen."""
    return 44 * count


def results(count: int) -> slice:
    """Which bytes of a list are actual sizes and statuses, for a copy of just these back to the host."""
    return slice(32 * count, list_bytes(count))


def unpack_results(
    found: np.ndarray[Any, np.dtype[np.uint8]], count: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int32]]]:
    """Actual sizes and statuses, out of the `results` of a list."""
    return found[: 8 * count].view(np.int64), found[8 * count :].view(np.int32)


class Nvcomp:
    """The library, loaded. Raises GpuError where it is not installed or of another version.

    One thread at a time starts decoding, since nothing says that several may; each stream in flight has scratch of its
    own.
    """

    def __init__(self, library: Any = None) -> None:
        self._one_at_a_time = threading.Lock()
        self._library = _load() if library is None else library
        properties = _Properties()
        self._call("nvcompGetProperties", [c_void_p], byref(properties))
        self.version = (properties.version // 1000, properties.version // 100 % 10, properties.version % 100)
        if self.version[0] not in VERSIONS:
            raise GpuError(f"nvCOMP {self.version[0]}.x is installed; gpuzarr knows 5.x and 6.x")
        for stem in FORMATS.values():
            self._bind(stem)

    def _bind(self, stem: str) -> None:
        """Declare one format's functions."""
        addresses = [c_void_p] * 4
        self._function(f"nvcompBatched{stem}DecompressGetRequiredAlignments", [_Options, POINTER(_Alignments)])
        self._function(self._temp_name(stem), self._temp_arguments)
        self._function(
            f"nvcompBatched{stem}DecompressAsync",
            [*addresses, c_size_t, c_void_p, c_size_t, c_void_p, _Options, c_void_p, c_void_p],
        )

    @property
    def _temp_arguments(self) -> list[Any]:
        known = [c_size_t, c_size_t, _Options, POINTER(c_size_t), c_size_t]
        return [*known, c_void_p] if self.version[0] >= 6 else known

    def _temp_name(self, stem: str) -> str:
        # The same question under two names; neither puts work on a stream.
        return f"nvcompBatched{stem}DecompressGetTempSize" + ("" if self.version[0] >= 6 else "Async")

    def _function(self, name: str, arguments: list[Any]) -> Any:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise GpuError(f"this nvCOMP has no {name}; gpuzarr knows 5.x and 6.x") from None
        function.argtypes, function.restype = arguments, c_int
        return function

    def _call(self, name: str, types: list[Any] | None, *arguments: Any) -> None:
        function = getattr(self._library, name) if types is None else self._function(name, types)
        status = function(*arguments)
        if status:
            raise GpuError(f"nvCOMP: {name}: {self.status_name(status)} (status {status})")

    def status_name(self, status: int) -> str:
        """What a status says."""
        return status_name(status)

    def alignment(self, format: str) -> Alignments:
        """What the decoder of a format ("zstd", "lz4", "gzip", "deflate", "snappy") wants of addresses."""
        found = _Alignments()
        self._call(f"nvcompBatched{FORMATS[format]}DecompressGetRequiredAlignments", None, _Options(), byref(found))
        return Alignments(found.input, found.output, found.temp)

    def temp_size(self, format: str, chunks: int, largest: int, total: int, stream: int = 0) -> int:
        """Bytes of scratch for `chunks` streams of at most `largest` decoded bytes each and `total` in all."""
        if not chunks:
            return 0
        found = c_size_t()
        rest = (stream,) if self.version[0] >= 6 else ()
        name = self._temp_name(FORMATS[format])
        self._call(name, None, chunks, largest, _Options(), byref(found), total, *rest)
        return found.value

    def decompress(
        self,
        format: str,
        count: int,
        listed: int,
        largest: int,
        total: int,
        temp: int,
        temp_bytes: int,
        stream: int,
    ) -> None:
        """Decode `count` streams, asynchronously on `stream`.

        `listed` is the device address of their list (`list_bytes`). `largest` and `total` are what `temp_size` was
        asked with. Raises GpuError where the call is refused; what became of each stream is in the list afterwards.
        """
        if not count:  # an error to nvCOMP
            return
        row = [listed + 8 * count * i for i in range(6)]
        with self._one_at_a_time:
            self._call(
                f"nvcompBatched{FORMATS[format]}DecompressAsync", None,
                row[0], row[1], row[2], row[4], count, temp, temp_bytes, row[3], _Options(), row[5], stream,
            )  # fmt: skip


def _load() -> Any:
    """The C library, from NVIDIA's wheel."""
    try:
        from nvidia import libnvcomp
    except Exception as error:  # whatever keeps it from loading, the reader gets the same advice
        raise GpuError(
            "nvCOMP is not installed: pip install 'gpuzarr[cuda13]' (or 'gpuzarr[cuda12]'), "
            f"which brings nvidia-libnvcomp ({type(error).__name__}: {error})"
        ) from error
    try:
        library = libnvcomp.load_library()
    except OSError as error:
        raise GpuError(f"nvCOMP is installed, but its library cannot be loaded: {error}") from error
    if library is None:
        raise GpuError("nvCOMP is installed, but its library cannot be loaded")
    return library
