"""dask's own tests of Zarr, from its wheel, with gpuzarr where they import zarr: with dask's functions, and with ours.

They run in a process of their own, since `sys.modules["zarr"]` is changed there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

SHARED = "two blocks lie in one chunk or shard: dask writes them at once, or rechunks with a warning; ours refuses"
REFUSED = {
    "test_zarr_sharding_roundtrip[chunks0-shards0]": SHARED,
    "test_zarr_sharding_roundtrip[chunks1-shards1]": SHARED,
    "test_zarr_irregular_chunks[shape0-chunks0-True]": "a common chunk is found, where dask rechunks with a warning",
    "test_zarr_irregular_chunks[shape1-chunks1-True]": "a common chunk is found, where dask rechunks with a warning",
    "test_zarr_irregular_chunks[shape4-chunks4-True]": "a common chunk is found, where dask rechunks with a warning",
    "test_zarr_risky_shards_warns": "what dask warns of is refused",
    "test_zarr_regions": SHARED,
    "test_compute_chunk_sizes_warning_fixes_to_zarr": "blocks, some of them empty, are written as they are: no warning",
}
"""Tests that our functions do not pass, and why. All are about what dask does with a warning, or without one."""

PLUGIN = """
import sys, types
import gpuzarr

zarr = types.ModuleType("zarr")
zarr.__dict__.update({name: getattr(gpuzarr, name) for name in gpuzarr.__all__})
zarr.__version__ = "3.1.6"  # whose spelling ours is, and which dask looks at
sys.modules.update({"zarr": zarr, "zarr.storage": gpuzarr.storage})

import dask.array, dask.array.core
import gpuzarr.dask
import pytest


@pytest.fixture(autouse=True, params=["theirs", "ours"])
def functions(request, monkeypatch):
    if request.param == "ours":
        for module in (dask.array, dask.array.core):
            monkeypatch.setattr(module, "from_zarr", gpuzarr.dask.from_zarr)
            monkeypatch.setattr(module, "to_zarr", gpuzarr.dask.to_zarr)
"""


def test_dask_s_tests_of_zarr(tmp_path: Path) -> None:
    (tmp_path / "gpuzarr_for_zarr.py").write_text(PLUGIN)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    plugins = ["-p", "gpuzarr_for_zarr", "-p", "no:cacheprovider"]
    chosen = ["-k", "zarr", "--pyargs", "dask.array.tests.test_array_core"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # zarr-python has a plugin for pytest, which would load zarr-python
        "PYTEST_ADDOPTS": "",
    }
    command = [sys.executable, "-m", "pytest", "-W", "error", "-rA", "-q", "--tb=no", *plugins, *chosen]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    lines = re.findall(r"^([A-Z]+) \S*::(test_\w+)\[(theirs|ours)-?([^]]*)\]", done.stdout, re.M)
    outcomes = {(functions, name + (f"[{case}]" if case else "")): how for how, name, functions, case in lines}
    assert len({name.partition("[")[0] for functions, name in outcomes if functions == "theirs"}) >= 17, done.stdout
    others = {test: how for test, how in outcomes.items() if how != "PASSED"}
    assert others == {("ours", name): "FAILED" for name in REFUSED}, done.stdout + done.stderr
