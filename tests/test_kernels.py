"""Kernels: on the host they do what their NumPy equals do, byte for byte, and stay in their memory; and they compile
for every GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from gpuzarr.devices import get_device, kernels
from gpuzarr.devices.columns import pack
from gpuzarr.devices.gpu import GpuDevice
from gpuzarr.devices.numpy_checksums import SEGMENT, adler32, adler32_rows, xxh64
from gpuzarr.devices.numpy_kernels import NUMPY_KERNELS, unfiltered
from gpuzarr.devices.numpy_numbers import type_code
from gpuzarr.errors import GpuError
from tests.kernel_cases import Case, Outcome, by_numpy, cases, differences, outcome

ROOT = Path(__file__).parents[1]
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

needs_compiler = pytest.mark.skipif(kernels.compiler() is None, reason="no C++ compiler here")


@needs_compiler
def test_kernels_do_what_their_numpy_equals_do(long_form: bool) -> None:
    library = kernels.host_library()
    assert library is not None
    assert differences(library, range(2000 if long_form else 100)) == []


def test_cases_reach_every_kernel_and_its_refusals() -> None:
    seen, refused = set(), set()
    for seed in range(40):
        for case in cases(seed):
            seen.add(case.kernel)
            if by_numpy(case).refused:
                refused.add(case.kernel)
    assert seen == set(NUMPY_KERNELS) == set(kernels.files())
    assert refused == seen - {"delta_starts"}  # which has nothing to refuse


@needs_compiler
def test_kernels_stay_in_their_memory(tmp_path: Path, long_form: bool) -> None:
    command = kernels.compiler()
    assert command is not None
    flags = (*kernels.FLAGS, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    text = kernels.source(*sorted(set(kernels.files().values())))
    try:
        kernels.build_host_library(tmp_path / "sanitized.so", text, command, flags)
    except GpuError as error:
        pytest.skip(f"no sanitizers here: {str(error).splitlines()[-1]}")
    # The sanitizer's library must be loaded before Python allocates.
    found = [
        subprocess.run([command, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    if not all(os.path.isabs(path) for path in found):
        pytest.skip("the sanitizers' libraries are not where this compiler says")
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT),
    }
    run = [sys.executable, "-m", "tests.kernel_cases", str(tmp_path / "sanitized.so"), "1000" if long_form else "100"]
    done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kernels_compile_for_every_gpu(tmp_path: Path, long_form: bool) -> None:
    architectures = ARCHITECTURES if long_form else ARCHITECTURES[::3]  # the oldest, the newest, one between
    text = kernels.source(*sorted(set(kernels.files().values())))
    if nvcc := shutil.which("nvcc"):
        (tmp_path / "kernels.cu").write_text(text)
        targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
        options = ["-std=c++17", "-Werror", "all-warnings", "--threads", "2", "-fatbin", *targets]
        command = [nvcc, *options, str(tmp_path / "kernels.cu"), "-o", str(tmp_path / "kernels.fatbin")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    elif importlib.util.find_spec("cupy") is not None:
        from cupy.cuda import nvrtc

        for architecture in architectures:
            program = nvrtc.createProgram(text, "kernels.cu", (), ())
            try:
                options = (f"--gpu-architecture=sm_{architecture}", "-std=c++17", "-ftz=true")  # the last by CuPy
                nvrtc.compileProgram(program, options)
            except nvrtc.NVRTCError:
                pytest.fail(f"sm_{architecture}: {nvrtc.getProgramLog(program)}")
            assert nvrtc.getCUBIN(program)
    else:
        pytest.skip("neither nvcc nor CuPy's NVRTC here")


# What CuPy's compilation does to floats, done to all of a thread's arithmetic: subnormal ones are taken and given as 0.
FLUSHING = 'extern "C" void flush(int on) { __builtin_ia32_ldmxcsr(on ? 0x9FC0 : 0x1F80); }'


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the switch is that of x86-64")
def test_subnormal_floats_outlive_a_machine_that_flushes_them(tmp_path: Path) -> None:
    text = kernels.source("convert.cu", "delta.cu") + FLUSHING
    kernels.build_host_library(tmp_path / "flushing.so", text, str(kernels.compiler()))
    library = ctypes.CDLL(str(tmp_path / "flushing.so"))
    rng = np.random.default_rng(0)
    few = rng.integers(0, 1 << 25, 4000, dtype=np.uint32)  # subnormal, and the least of the others
    f4 = np.concatenate([few, few | 1 << 31, rng.integers(0, 0xFF << 23, 4000, dtype=np.uint32)]).view("f4")
    near = f4.astype("f8") * (1 + rng.integers(-2, 3, f4.size) * 2.0**-25)  # half-way between two floats, and beside it
    limits = np.array(
        [0, -0.0, np.inf, -np.inf, 3.4028235677973362e38, 3.4028235677973366e38, 1e300, 2.0**-150, 5e-324]
    )
    f8 = np.concatenate([near, limits, f4.astype("f8") / 3])
    with np.errstate(over="ignore", under="ignore"):
        for source, scale, want in (
            (f4, 0.0, f4.astype("f8")),
            (f8, 0.0, f8.astype("f4")),
            (f4, 3.0, f4 / np.float32(3) + np.float32(1e-41)),
        ):
            found, spoilt = np.empty_like(want), np.zeros(1, np.uint32)
            rows = [(a, a.nbytes, a.nbytes, type_code(a.dtype)) for a in (source, found)]
            sums = (4, *(bits_of(x) for x in (scale, np.float32(1e-41)))) if scale else (0, 0, 0)
            call(library, "convert_rows", (1, 1, source.size, *rows[0], *sums, 0, 0, 0, *rows[1], spoilt))
            assert found.tobytes() == want.tobytes()
        small, sums = f4[:2000], np.empty(2000, "f4")
        there, here = ((a, a.nbytes, a.nbytes) for a in (small, sums))
        call(library, "delta_floats", (2000, type_code(small.dtype), *there, *here, np.zeros(1, np.uint32)))
        assert sums.tobytes() == np.cumsum(small).tobytes()


def bits_of(value: Any) -> int:
    return int(np.float64(value).view(np.uint64))


def call(library: ctypes.CDLL, kernel: str, args: tuple[Any, ...]) -> None:
    """One thread of a kernel, on a machine that flushes."""
    refused = np.zeros(1, np.uint32)
    values = [ctypes.c_uint64(1), ctypes.c_void_p(refused.ctypes.data)]
    values += [kernels.host_value(v) for v in kernels.convert(kernel, args, lambda a: int(a.ctypes.data))]
    library.flush(1)
    try:
        getattr(library, kernel)(*values)
    finally:
        library.flush(0)
    assert refused[0] == 0


def test_sources_are_whole_and_say_what_they_do() -> None:
    for path in kernels.directory().glob("*.cu"):
        text = path.read_text()
        head = text[: text.index("#include")]
        assert "NumPy:" in head, path.name
        assert "Moves:" in head, path.name
        assert "#include" not in kernels.source(path.name), path.name
        assert re.findall(r"#include .*", text) in (['#include "kernel.h"'], ['#include "numbers.h"']), path.name
    table = (kernels.directory() / "README.md").read_text()
    for kernel, file in kernels.files().items():
        assert f"`{kernel}`" in table, kernel
        assert f"`{file}`" in table, file
    assert f"SEGMENT = {SEGMENT};" in (kernels.directory() / "crc32.cu").read_text()
    assert f"ADLER_SEGMENT = {SEGMENT}," in (kernels.directory() / "adler32.cu").read_text()


# ---- the NumPy equals against the libraries that define the formats


@pytest.mark.parametrize("size", [2, 4, 8, 3])
def test_unshuffle_is_numcodecs_shuffle(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, 24 * size, dtype=np.uint8)
    encoded = np.frombuffer(numcodecs.Shuffle(size).encode(data), np.uint8)
    assert (unfiltered(encoded, size, 1) == data).all()


def test_checksums_are_those_of_the_formats() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 3, 4, 7, 8, 31, 32, 63, 64, 1000, 1024, 5000):
        data = rng.integers(0, 256, size, dtype=np.uint8)
        table, sums = pack(np.array([0]), np.array([size])), np.zeros((1, 2), np.uint64)
        source = data.ctypes.data if size else 0
        assert adler32_rows(6, 6, table.ctypes.data, 1, source, size, sums.ctypes.data) == 0
        assert adler32(sums).tolist() == [zlib.adler32(data.tobytes())]
        frame = numcodecs.Zstd(1, checksum=True).encode(data) if size else None
        assert frame is None or xxh64(data.tobytes()) & 0xFFFFFFFF == int.from_bytes(frame[-4:], "little")
    assert xxh64(b"") == 0xEF46DB3751D8E999  # of the specification


# ---- what launches are given


def no_arrays(value: Any) -> int:
    raise TypeError(f"{value!r} is no array")


def test_arguments_become_what_the_kernel_takes() -> None:
    values = kernels.convert("byteswap", (10, np.int64(4), 1 << 40, 0), no_arrays)
    assert [type(v) for v in values] == [np.uint64, np.uint32, np.uint64, np.uint64]
    with pytest.raises(TypeError, match=r"takes nbytes, width, source, dest: 1 were given"):
        kernels.convert("byteswap", (1,), no_arrays)
    with pytest.raises(TypeError, match="width cannot be 4294967296"):
        kernels.convert("byteswap", (1, 1 << 32, 0, 0), no_arrays)
    with pytest.raises(TypeError, match="nbytes cannot be -1"):
        kernels.convert("byteswap", (-1, 4, 0, 0), no_arrays)
    with pytest.raises(TypeError, match="width is a number, not float"):
        kernels.convert("byteswap", (1, 4.0, 0, 0), no_arrays)
    with pytest.raises(TypeError, match="is no array"):
        kernels.convert("byteswap", (1, 4, "here", 0), no_arrays)
    with pytest.raises(GpuError, match="no kernel 'sort'; there are adler32_rows, byteswap"):
        kernels.convert("sort", (), no_arrays)


@pytest.mark.parametrize(("largest", "threads"), [(0, 256), (1, 256), (4096, 256), (4097, 512), (1 << 30, 16384)])
def test_span_is_whole_blocks(largest: int, threads: int) -> None:
    assert kernels.span(largest) == threads


# ---- the host's library


@pytest.fixture
def new_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("GPUZARR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernels, "host_library", kernels.host_library.__wrapped__)
    return tmp_path / "gpuzarr"


@needs_compiler
def test_the_library_is_built_once(new_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.host_library() is not None
    (made,) = new_library.iterdir()
    assert made.suffix == ".so"
    monkeypatch.setattr(kernels, "build_host_library", no_arrays)
    assert kernels.host_library() is not None


def test_a_compiler_that_fails_is_told_of(new_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = new_library.parent / "failing"
    failing.write_text("#!/bin/sh\necho 'no room' >&2\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr(kernels, "compiler", lambda: str(failing))
    with pytest.raises(GpuError, match=r"cannot compile the kernels \(status 3\):\nno room"):
        kernels.host_library()
    assert list(new_library.iterdir()) == []


def test_without_a_compiler_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "compiler", kernels.compiler.__wrapped__)
    monkeypatch.setattr(kernels, "host_library", kernels.host_library.__wrapped__)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert kernels.host_library() is None


def test_code_is_not_loaded_from_a_folder_that_others_write_to(new_library: Path) -> None:
    new_library.mkdir(mode=0o700)
    assert kernels.cache_directory() == new_library
    new_library.chmod(0o777)
    assert kernels.cache_directory() != new_library


def test_the_folder_of_kernels_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "a" / "b" / "kernels.py"))
    with pytest.raises(GpuError, match="the installation is incomplete"):
        kernels.directory.__wrapped__()


# ---- on a GPU


def on_device(device: GpuDevice, case: Case) -> Outcome:
    """Run a case there."""
    found: list[Outcome] = []

    def task(_: int, lane: Any) -> None:
        there = {
            i: device.upload(np.append(a.ravel().view(np.uint8), np.zeros(16, np.uint8)))
            for i, a in enumerate(case.args)
            if isinstance(a, np.ndarray)
        }
        device.launch(case.kernel, case.items, tuple(there.get(i, a) for i, a in enumerate(case.args)), lane)
        refused = 0
        if case.items:
            word = np.empty(4, np.uint8)
            device.copy_out(lane.refused, word, lane)
            device.wait(lane)
            refused = int(word.view(np.uint32)[0])
            lane._refused = None
        back = {i: device.download(a)[:-16].view(case.args[i].dtype) for i, a in there.items()}
        found.append(outcome(case._replace(args=tuple(back.get(i, a) for i, a in enumerate(case.args))), refused))

    device.run(task, 1)
    return found[0]


@pytest.mark.parametrize("name", ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_launches_do_what_the_numpy_equals_do(name: str, long_form: bool) -> None:
    device = get_device(name)
    assert isinstance(device, GpuDevice)
    for seed in range(400 if long_form else 30):
        for case in cases(seed):
            assert on_device(device, case) == by_numpy(case), (case.kernel, seed)
