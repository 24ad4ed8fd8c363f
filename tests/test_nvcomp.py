"""nvCOMP's binding against the real library where it is installed, and its emulation: statuses, sizes, faults."""

from __future__ import annotations

import ctypes
import gzip
import sys
import time
import types
import zlib
from concurrent.futures import ThreadPoolExecutor

import numcodecs
import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from gpuzarr.codecs import numcodecs as nc
from gpuzarr.codecs.engines.nvcomp import (
    FORMATS,
    Alignments,
    Nvcomp,
    results,
    status_name,
    unpack_results,
)
from gpuzarr.codecs.engines.nvcomp_emulated import EmulatedNvcomp
from gpuzarr.codecs.engines.snappy import decode_snappy
from gpuzarr.devices import cuda
from gpuzarr.errors import CorruptChunkError, GpuError
from tests import fake_cupy
from tests.streams import contents, pack_list, snappy

QUESTIONS = (
    (1, 1, 1),
    (1, 65_536, 65_536),
    (64, 16 << 20, 1 << 30),
    (1000, 131_072, 100 << 17),
    (4096, 1 << 16, 1 << 28),
)


@pytest.fixture(scope="module")
def nvcomp() -> Nvcomp:
    """The real library; its host-side calls need no GPU."""
    pytest.importorskip("nvidia.libnvcomp", reason="nvidia-libnvcomp-cu13 is not installed")
    return Nvcomp()


# --- the real library


def test_the_real_library_is_of_a_known_version(nvcomp):
    assert nvcomp.version[0] in (5, 6)


@pytest.mark.parametrize("format", FORMATS)
def test_the_emulation_asks_for_what_the_real_library_asks_for(nvcomp, format):
    emulated = EmulatedNvcomp()
    assert nvcomp.alignment(format) == emulated.alignment(format)
    for question in QUESTIONS:
        assert nvcomp.temp_size(format, *question) == emulated.temp_size(format, *question)


@pytest.mark.parametrize("format", FORMATS)
def test_scratch_grows_by_no_more_than_foreseen(nvcomp, format):
    """What `Streams.scratch_total` builds on: 3 bytes a decoded byte, 6,936 a block."""
    extra = nvcomp.temp_size(format, 10, 1 << 17, (10 << 17) + 2312 * 100) - nvcomp.temp_size(
        format, 10, 1 << 17, 10 << 17
    )
    assert extra >= (6936 * 100 if format == "zstd" else 0)


def test_a_refused_call_says_which_and_why(nvcomp):
    with pytest.raises(GpuError, match=r"nvcompBatchedZstdDecompressGetTempSize.*chunk too large \(status 18\)"):
        nvcomp.temp_size("zstd", 1, 2**31, 2**31)


def test_no_stream_is_no_call(nvcomp):
    nvcomp.decompress("zstd", 0, 0, 0, 0, 0, 0, 0)
    assert nvcomp.temp_size("zstd", 0, 0, 0) == 0


# --- the library absent, or another one


def _without(monkeypatch, loader):
    """A package `nvidia.libnvcomp` with this `load_library`; none at all where that is None."""
    package = types.ModuleType("nvidia")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "nvidia", package)
    monkeypatch.delitem(sys.modules, "nvidia.libnvcomp", raising=False)
    if loader is not None:
        package.libnvcomp = types.SimpleNamespace(load_library=loader)


def test_an_absent_library_is_named_with_what_to_install(monkeypatch):
    _without(monkeypatch, None)
    with pytest.raises(GpuError, match=r"nvCOMP is not installed: pip install 'gpuzarr\[cuda13\]'"):
        Nvcomp()


def test_what_is_not_compressed_needs_no_library(monkeypatch):
    fake_cupy.install(monkeypatch)
    monkeypatch.setattr(cuda.CudaDevice, "nvcomp_kind", "library")
    _without(monkeypatch, None)
    device = cuda.CudaDevice()
    values = np.arange(1000.0).reshape(10, 100)
    for codecs in (None, [Crc32cCodec()], [nc.BZ2()], [nc.Zlib()]):  # the last two are decoded by the CPU
        a = gpuzarr.create_array({}, data=values, chunks=(4, 30), compressors=codecs)
        assert device.download(a.to_device(device)[...]).tolist() == values.tolist()
    assert device.nvcomp is None
    for codec in (ZstdCodec(), BloscCodec(), GzipCodec(), nc.LZ4(), [nc.Zlib(), Crc32cCodec()]):
        a = gpuzarr.create_array({}, data=values, chunks=(4, 30), compressors=codec).to_device(device)
        for call in (a.explain, lambda a=a: a[...]):
            with pytest.raises(GpuError, match="nvCOMP is not installed"):
                call()


def _broken():
    raise OSError("libstdc++ is too old")


@pytest.mark.parametrize("loader", [lambda: None, _broken])
def test_a_library_that_cannot_be_loaded_is_told_from_an_absent_one(monkeypatch, loader):
    _without(monkeypatch, loader)
    with pytest.raises(GpuError, match="is installed, but its library cannot be loaded"):
        Nvcomp()


class _Function:
    """A C function that remembers what it was called with."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []
        self.argtypes = self.restype = None

    def __call__(self, *arguments):
        self.calls.append(arguments)
        return self.answer(*arguments)


class _Library:
    """A library of a version: it has the functions which that version has."""

    def __init__(self, version: int, temp_name: str, status: int = 0) -> None:
        self.functions = {"nvcompGetProperties": _Function(lambda found: self._set(found, version))}
        for stem in FORMATS.values():
            for name in ("DecompressGetRequiredAlignments", temp_name, "DecompressAsync"):
                self.functions[f"nvcompBatched{stem}{name}"] = _Function(lambda *arguments: status)

    def _set(self, found, version):
        ctypes.cast(found, ctypes.POINTER(ctypes.c_uint32))[0] = version
        return 0

    def __getattr__(self, name):
        try:
            return self.functions[name]
        except KeyError:
            raise AttributeError(name) from None


@pytest.mark.parametrize(
    ("version", "temp_name", "arguments"),
    [(5300, "DecompressGetTempSizeAsync", 5), (6000, "DecompressGetTempSize", 6)],
)
def test_each_version_is_asked_by_its_own_names(version, temp_name, arguments):
    library = _Library(version, temp_name)
    nvcomp = Nvcomp(library)
    assert nvcomp.version == (version // 1000, version // 100 % 10, 0)
    assert nvcomp.temp_size("lz4", 3, 10, 30, 77) == 0
    (call,) = library.functions[f"nvcompBatchedLZ4{temp_name}"].calls
    assert len(call) == arguments == len(library.functions[f"nvcompBatchedLZ4{temp_name}"].argtypes)
    assert call[:2] == (3, 10)
    assert call[4] == 30
    nvcomp.decompress("gzip", 3, 1000, 10, 30, 5000, 64, 77)
    (call,) = library.functions["nvcompBatchedGzipDecompressAsync"].calls
    # Table rows of 3 numbers of 8 bytes: addresses, sizes, capacities, destinations, actual sizes, statuses.
    assert call[:8] == (1000, 1024, 1048, 1096, 3, 5000, 64, 1072)
    assert call[9:] == (1120, 77)


def test_lanes_take_turns_to_start_decoding():
    library, inside, seen = _Library(6000, "DecompressGetTempSize"), [], []

    def decode(*_):
        inside.append(1)
        time.sleep(0.002)
        seen.append(len(inside))
        inside.pop()
        return 0

    library.functions["nvcompBatchedLZ4DecompressAsync"].answer = decode
    nvcomp = Nvcomp(library)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: nvcomp.decompress("lz4", 1, 0, 1, 1, 0, 0, 0), range(16)))
    assert seen == [1] * 16


@pytest.mark.parametrize("version", [4200, 7000])
def test_other_versions_are_refused(version):
    with pytest.raises(GpuError, match=f"nvCOMP {version // 1000}.x is installed"):
        Nvcomp(_Library(version, "DecompressGetTempSize"))


def test_a_library_without_a_needed_function_is_refused():
    with pytest.raises(GpuError, match="this nvCOMP has no nvcompBatchedZstdDecompressGetTempSize;"):
        Nvcomp(_Library(6000, "SomethingElse"))


def test_a_failed_launch_raises():
    nvcomp = Nvcomp(_Library(6000, "DecompressGetTempSize", status=1000))
    with pytest.raises(GpuError, match=r"nvcompBatchedZstdDecompressAsync: CUDA error \(status 1000\)"):
        nvcomp.decompress("zstd", 1, 0, 1, 1, 0, 0, 0)


def test_statuses_have_names():
    assert [status_name(status) for status in (0, 12, -1, 4711)] == [
        "success", "cannot decompress", "no result", "status 4711",
    ]  # fmt: skip


# --- the emulation

ENCODERS = {
    "zstd": lambda data: bytes(numcodecs.Zstd(3).encode(data)),
    "lz4": lambda data: bytes(numcodecs.LZ4().encode(data))[4:],
    "gzip": gzip.compress,
    "deflate": lambda data: zlib.compress(data)[2:-4],
    "snappy": snappy,
}


def run(format, blobs, capacities, nvcomp=None, temp=None, told=None):
    """(actual sizes, statuses, outputs) of blobs at addresses that are multiples of 8, each output with a guard."""
    nvcomp = nvcomp or EmulatedNvcomp()
    sources = [np.frombuffer(blob.ljust(8), np.uint8).copy() for blob in blobs]
    outputs = [np.full(capacity + 16, 0xEE, np.uint8) for capacity in capacities]
    table = pack_list(
        [source.ctypes.data for source in sources],
        [len(blob) for blob in blobs],
        capacities,
        [out.ctypes.data for out in outputs],
    )
    largest, total = told or (max(capacities), sum(capacities))
    temp = nvcomp.temp_size(format, len(blobs), largest, total) if temp is None else temp
    nvcomp.decompress(format, len(blobs), table.ctypes.data, largest, total, 0, temp, 0)
    assert all((out[capacity:] == 0xEE).all() for out, capacity in zip(outputs, capacities, strict=True))
    actual, statuses = unpack_results(table[results(len(blobs))], len(blobs))
    return actual.tolist(), statuses.tolist(), outputs


@pytest.mark.parametrize("format", FORMATS)
def test_each_stream_has_a_status_and_a_size(format):
    data = contents("runs", 5000, 0)
    blob = ENCODERS[format](data)
    blobs = [blob, blob[: len(blob) // 2], blob, ENCODERS[format](data[:3000]), b"\xff" * 50]
    actual, statuses, outputs = run(format, blobs, [5000, 5000, 4999, 5000, 5000])
    assert [status == 0 for status in statuses] == [True, False, False, True, False]
    assert actual == [5000, 0, 0, 3000, 0]
    assert outputs[0][:5000].tobytes() == data
    assert outputs[3][:3000].tobytes() == data[:3000]


def test_injected_faults_look_like_real_ones():
    data = contents("walk", 1000, 0)
    blobs = [ENCODERS["lz4"](data)] * 4
    nvcomp = EmulatedNvcomp(bad_status_rows={1, 99}, wrong_size_rows={2})
    actual, statuses, outputs = run("lz4", blobs, [1000] * 4, nvcomp)
    assert statuses == [0, 12, 0, 0]
    assert actual == [1000, 0, 999, 1000]
    assert outputs[1][:1000].tobytes() != data  # what a failed stream leaves behind is not to be used


def test_what_would_lead_a_gpu_astray_is_refused():
    blob = ENCODERS["zstd"](b"abc" * 100)
    with pytest.raises(GpuError, match="bytes of scratch are too few"):
        run("zstd", [blob], [300], temp=10)
    with pytest.raises(GpuError, match="capacities of up to 300 and 600 in all, told 300 and 599"):
        run("zstd", [blob, blob], [300, 300], told=(300, 599))
    source, out = np.frombuffer(b"?" + ENCODERS["deflate"](b"abc"), np.uint8).copy(), np.zeros(3, np.uint8)
    start = source.ctypes.data + 1
    table = pack_list([start + (start % 4 == 0)], [5], [3], [out.ctypes.data])
    with pytest.raises(GpuError, match="wrong alignment"):
        EmulatedNvcomp().decompress("deflate", 1, table.ctypes.data, 3, 3, 0, 0, 0)


def test_the_emulation_knows_no_other_format():
    with pytest.raises(KeyError):
        EmulatedNvcomp().alignment("bzip2")
    assert EmulatedNvcomp().alignment("deflate") == Alignments(4, 1, 1)
    EmulatedNvcomp().decompress("zstd", 0, 0, 0, 0, 0, 0, 0)  # no stream, no call


# --- Snappy


@pytest.mark.parametrize("kind", ["zeros", "walk", "runs", "noise"])
@pytest.mark.parametrize("nbytes", [0, 1, 59, 60, 61, 300, 70_000])
def test_snappy_round_trip(kind, nbytes):
    data = contents(kind, nbytes, 3)
    assert decode_snappy(snappy(data), nbytes) == data


def test_snappy_of_every_kind_of_element():
    long = contents("noise", 70_000, 0)
    # A literal of 4, then copies of 4, 4 and 5 with distances of 4, 4 and 8 in one, two and four bytes.
    elements = b"\x0cabcd" + b"\x01\x04" + b"\x0e\x04\x00" + b"\x13\x08\x00\x00\x00"
    assert decode_snappy(b"\x11" + elements, 17) == b"abcdabcdabcdabcda"
    assert decode_snappy(snappy(long + long), 140_000) == long + long


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80", b"\xff\xff\xff\xff\xff\x01", b"\x05", b"\x04\x0cabc", b"\x04\x0cabcde", b"\x08\x0cabcd\x01",
        b"\x08\x0cabcd\x01\x05", b"\x08\x0cabcd\x01\x00", b"\x08\x0cabcd\x02\x04", b"\x63\xf0", b"\x04\xfc\xff",
        b"\xe8\x07" + b"\x0cabcd",
    ],
)  # fmt: skip
def test_damaged_snappy_is_refused(data):
    with pytest.raises(CorruptChunkError):
        decode_snappy(data, 100)
