"""The benchmarks of the CPU, end to end on little data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("zarr")  # writes the stores

ROOT = Path(__file__).parents[1]
ONE_CELL = ("--size", "1", "--codec", "zstd", "--chunk", "64K")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_contenders_are_compared_cell_by_cell(tmp_path: Path) -> None:
    out = tmp_path / "compare.json"
    only = ("--only", "gpuzarr", "zarr", "zarr+gpuzarr", "--plain", "--rounds", "3", "--what", "read", "points")
    done = run("compare.py", *ONE_CELL, *only, "--out", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [(r["what"], r["codec"], r["chunk"]) for r in rows] == [(w, "zstd", 64 << 10) for w in ("read", "points")]
    for row in rows:
        assert set(row["best"]) == {"gpuzarr", "zarr", "zarr+gpuzarr"}
        assert row["best"] == {name: min(times) for name, times in row["turns"].items()}
        assert row["ratio_zarr_default_over_bridge"] == row["best"]["zarr"] / row["best"]["zarr+gpuzarr"]


def test_two_trees_take_turns(tmp_path: Path) -> None:
    out = tmp_path / "before.json"
    done = run("before.py", str(ROOT), *ONE_CELL, "--what", "read", "small", "--seconds", "0.1", "--out", str(out))
    found = json.loads(out.read_text())
    slower = [row for row in found["rows"] if row["ratio_of_least"] > 1.03]
    assert done.returncode == bool(slower), done.stderr
    assert found["before"] == found["after"]
    for row in found["rows"]:
        assert len(row["before"]) == len(row["after"]) >= 12
        assert min(row["before"] + row["after"]) > 0
        assert row["ratio_of_least"] == min(row["after"]) / min(row["before"])
        assert f"{row['cell']['what']} zstd 64K" in done.stdout


def test_another_gpuzarr_than_the_tree_s_is_not_measured(tmp_path: Path) -> None:
    done = run("before.py", str(tmp_path), *ONE_CELL, "--what", "read", "--seconds", "0.1")
    assert done.returncode != 0
    assert f"not from {tmp_path}" in done.stderr


def test_the_floor_is_the_quickest(tmp_path: Path) -> None:
    out = tmp_path / "floor.json"
    done = run("floor.py", *ONE_CELL, "--rounds", "5", "--out", str(out))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert set(row["best"]) == {"floor", "gpuzarr", "zarr", "zarr+gpuzarr"}
    assert row["best"]["floor"] < row["best"]["zarr"]
    assert row["over_floor"] == {n: row["best"][n] / row["best"]["floor"] for n in row["best"] if n != "floor"}
