"""The short form of `points.py`, and that it finds what it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.points import compiled
from tests.faults.scenarios import SCENARIOS

# Writes in place, as a library does that knows no better.
IN_PLACE = """
import os, sys
from gpuzarr.storage import local_writing

def replace_file(directory, name, value, *, sync, sync_name):
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666, dir_fd=directory)
    for part in value:
        os.write(file, part)
    os.close(file)

# Metadata before the chunks, as one that has not thought of it.
def append(self, data, axis=0):
    with self._reshaping() as (now, commit):
        commit(now.with_shape((now.shape[0] + len(data),)))
    self[-len(data):] = data

from gpuzarr import Array
if sys.argv[1] == "in place":
    local_writing.replace_file = replace_file
elif sys.argv[1] == "metadata first":
    Array.append = append
from tests.faults.points import run
sys.exit(run(60, 0, None, sys.argv[2]))
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = compiled(tmp_path_factory.mktemp("shim"))
    if library is None:
        pytest.skip("no C compiler here, or no Linux")
    return library


def played(shim: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": str(shim), "GPUZARR_FAULTS": "1"}
    command = (sys.executable, *command)
    return subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)


def test_at_no_point_is_anything_lost(shim: Path, long_form: bool) -> None:
    points = 20_000 if long_form else 300
    done = played(shim, "-m", "tests.faults.points", "--points", str(points))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    summary = json.loads(done.stdout.splitlines()[-2])
    assert summary["points"] == points
    assert summary["of"] > 200 * len(SCENARIOS)


@pytest.mark.parametrize(
    ("defect", "scenarios"), [("in place", "overwrite, rename"), ("metadata first", "append, plain")]
)
def test_a_defect_is_found(shim: Path, defect: str, scenarios: str) -> None:
    done = played(shim, "-c", IN_PLACE, defect, scenarios)
    assert done.returncode == 1, done.stderr
    assert "FAILED" in done.stdout
    none = played(shim, "-c", IN_PLACE, "nothing", scenarios)
    assert none.returncode == 0, none.stdout + none.stderr


COSTS = {  # file operations that change something
    "overwrite, rename": 5 * 4,  # of a whole chunk: make a temporary, write, close, rename
    "overwrite, format 2": 5 * 4,
    "overwrite, shards": 3 * 4,
    "overwrite, batch": 5 * 5 + 1,  # what is replaced is waited for; one sweep
    "overwrite, fsync": 5 * 6,  # the bytes and the name are
    "partial, plain": 3 * 6,  # a lock file is made and removed
    "partial, shards": 3 * 6,
    "append, plain": 5 * 4 + 7,  # a lock, and the document, whose bytes are waited for
    "append to a part, plain": 6 + 4 + 7,
    "attributes, plain": 7,
    "attributes, format 2": 7,  # one of two documents
    "shrink to nothing": 5 + 7,
}


def test_what_changes_cost(shim: Path) -> None:
    done = played(shim, "-m", "tests.faults.points", "--count")
    found = json.loads(done.stdout)
    assert {name: found[name] for name in COSTS} == COSTS
