"""The cases of `bench/safety.py`, of which SECURITY.md has the table: gpuzarr's side, which must be all ok."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "bench/safety.py"


def _program() -> Any:
    spec = importlib.util.spec_from_file_location("safety", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = [case.__name__ for case in _program().CASES]


@pytest.mark.parametrize("case", CASES)
def test_gpuzarr_is_safe(case: str) -> None:
    command = [sys.executable, str(PROGRAM), "gpuzarr", case]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr
    good, what = json.loads(done.stdout.splitlines()[-1])
    assert good, what


def test_the_table_is_in_the_security_policy() -> None:
    policy = (ROOT / "SECURITY.md").read_text()
    for case in _program().CASES:
        assert f"| {case.__doc__} |" in policy


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
