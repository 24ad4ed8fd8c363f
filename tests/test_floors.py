"""Imports go down only, and `import gpuzarr` stays light."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAVY = {
    *("cupy", "kvikio", "nvidia", "numcodecs", "google_crc32c", "fsspec", "rich", "ml_dtypes", "zfpy", "pcodec"),
    *("msgpack", "obstore", "zarr", "tensorstore", "zarrs", "matplotlib", "asyncio", "argparse"),
}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh process after `statement`."""
    code = f"import sys, json; {statement}; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_loads_nothing_heavy() -> None:
    loaded = loaded_by("import gpuzarr")
    assert "gpuzarr" in loaded
    assert "numpy" in loaded
    assert loaded & (HEAVY - loaded_by("import numpy")) == set()


def test_the_command_line_starts_without_rich() -> None:
    assert "rich" not in loaded_by("import gpuzarr.cli")


def test_layers_hold() -> None:
    command = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    if command is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_named_for_nothing() -> None:
    empty_names = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert {p.stem for p in (ROOT / "gpuzarr").rglob("*.py")} & empty_names == set()
