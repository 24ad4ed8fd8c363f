"""The README's commands and its quick start are what it says they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block_with(words: str) -> str:
    """The one Python block that has these words in it."""
    (found,) = (block for block in blocks("python") if words in block)
    return found


def test_the_two_commands_come_first() -> None:
    run, test = blocks("bash")[:2]
    assert run == "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/gpuzarr demo\n"
    assert test == "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest\n"
    assert README.index(run) < README.index(test) < README.index("## ")


def test_the_quick_start_runs_as_it_stands(tmp_path: Path, device: str) -> None:
    quick_start, *_ = blocks("python")
    command = [sys.executable, "-W", "error", "-c", quick_start]
    environment = _environment() | {"GPUZARR_DEVICE": device}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\d+", done.stdout.splitlines()[0]) == ["10000", "10001", "10002", "10003", "10004"]
    assert "temperature" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last == ("emulated array(272.)" if device == "emulated" else "272.0")


def test_the_lines_for_zarr_python_run_as_they_stand(tmp_path: Path) -> None:
    lines = block_with("codec_pipeline")
    values = np.arange(1_000_000, dtype="float32").reshape(1000, 1000)
    gpuzarr.create_array(tmp_path / "example.zarr", data=values, chunks=(100, 100))
    # Where gpuzarr is no installed package, zarr-python does not find the pipeline by itself.
    command = [sys.executable, "-W", "error", "-c", f"import gpuzarr.zarr_pipeline\n{lines}"]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[3.000e+00 1.003e+03 2.003e+03 3.003e+03 4.003e+03]\n"


def test_the_lines_on_a_gpu_run_on_the_emulated_one(tmp_path: Path) -> None:
    _, on_a_gpu, *_ = blocks("python")
    gpuzarr.save_array(tmp_path / "store.zarr", np.arange(1000))
    code = "import gpuzarr\n" + on_a_gpu.replace('"cuda"', '"emulated"')
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "zstd@emulated -> bytes@emulated" in done.stdout


def test_the_lines_for_dask_run_on_the_emulated_device(tmp_path: Path) -> None:
    pytest.importorskip("dask")
    lines = block_with("import dask").replace('"cuda"', '"emulated"')
    command = [sys.executable, "-W", "error", "-c", lines]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("((500, 500, 500, 500), (500, 500, 500, 500)) 0.")
    assert done.stdout.splitlines()[-1].startswith("emulated array(1.9")


def test_the_lines_for_xarray_run_on_the_emulated_device(tmp_path: Path) -> None:
    pytest.importorskip("xarray")
    lines = block_with("import xarray").replace('"cuda"', '"emulated"')
    # Where gpuzarr is no installed package, xarray does not find the engine by its name.
    lines = lines.replace('engine="gpuzarr"', "engine=gpuzarr.xarray.GpuzarrBackendEntrypoint")
    command = [sys.executable, "-W", "error", "-c", f"import gpuzarr\n{lines}"]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("emulated array([1., 1.")


def test_the_lines_of_a_conversion_run_as_they_stand(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", block_with("gpuzarr.convert")]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 40800 []\n"
    assert gpuzarr.open_group(tmp_path / "run2.zarr", mode="r")["field"].chunks == (100, 1)
    (line,) = (line for block in blocks("bash") for line in block.splitlines() if line.startswith("gpuzarr convert"))
    arguments = line.replace("run.h5", str(tmp_path / "run.npz")).replace("run.zarr", str(tmp_path / "3.zarr")).split()
    assert main(arguments[1:]) == 0


def test_the_lines_for_notebooks_run_as_they_stand(tmp_path: Path) -> None:
    lines = block_with("_repr_html_")
    command = [sys.executable, "-W", "error", "-c", lines]
    subprocess.run(command, cwd=tmp_path, env=_environment(), check=True)
    html = (tmp_path / "drawn.html").read_text()
    assert "<svg" in html
    assert "(365, 720, 1440)" in html


def test_the_error_is_the_one_that_is_shown(tmp_path: Path) -> None:
    array = gpuzarr.create_array(tmp_path / "a.zarr", data=np.arange(10_000.0), chunks=5000, compressors=None)
    chunk = tmp_path / "a.zarr/c/1"
    chunk.write_bytes(chunk.read_bytes()[:-4])
    with pytest.raises(gpuzarr.errors.CorruptChunkError) as found:
        array[:]
    assert f"{found.value}\n" in blocks("text")


def test_the_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
