"""How much memory a conversion takes, asked of a process of its own; and one of a gibibyte that is killed half way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import gpuzarr
from gpuzarr.devices import get_device
from gpuzarr.storage import LocalStore

ROOT = Path(__file__).parents[1]
MIB = 1 << 20

CONVERT = """
import json, os, re, signal, sys

import gpuzarr

source, target, limit, kill_after, arguments = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]

def memory(name):
    with open("/proc/self/status") as status:
        return int(re.search(rf"^{name}:\\s+(\\d+) kB$", status.read(), re.MULTILINE)[1]) << 10

before, moved = memory("VmRSS"), 0

def progress(path, nbytes, total):
    global moved
    moved += nbytes
    if kill_after and moved >= kill_after:
        os.kill(os.getpid(), signal.SIGKILL)

report = gpuzarr.convert(source, target, memory_limit=limit, progress=progress, **json.loads(arguments))
found = {"extra": memory("VmHWM") - before, "seconds": report.seconds, "regions": report.regions}
print(json.dumps(found | {"resumed": report.regions_resumed, "ratio": report.nbytes / report.nbytes_stored}))
"""

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is asked of /proc")


def convert(source: Path, target: Path, limit: int, *, kill_after: int = 0, **arguments: Any) -> dict[str, Any] | None:
    """What a fresh process says of its conversion; None of one that was killed."""
    command = [
        sys.executable,
        "-c",
        CONVERT,
        str(source),
        str(target),
        str(limit),
        str(kill_after),
        json.dumps(arguments),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write(path: Path, mebibytes: int) -> None:
    """A cube of float32 of which each plane is chunked, and all planes differ."""
    rng = np.random.default_rng(1)
    plane = (rng.standard_normal((512, 1024)) * 50).astype("f4").round(1)
    with h5py.File(path, "w") as file:
        cube = file.create_dataset(
            "cube", (mebibytes // 2, *plane.shape), "f4", chunks=(1, 256, 256), shuffle=True, compression="lzf"
        )
        for i in range(len(cube)):
            cube[i] = np.roll(plane, i) + i


def digests(root: Path) -> dict[str, str]:
    store = LocalStore(root)
    return {key: hashlib.sha256(store.get(key) or b"").hexdigest() for key in store.list()}


@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        (64, {"chunks": [8, 64, 64], "shards": [16, 128, 256]}),
        (64, {"chunks": [48, 32, 32]}),  # columns out of planes
        (72, {"chunks": [1, 512, 1024], "verify": True, "threads": 4}),
    ],
)
def test_a_file_converts_within_the_limit(tmp_path: Path, limit: int, arguments: dict[str, Any]) -> None:
    write(tmp_path / "a.h5", 80)
    found = convert(tmp_path / "a.h5", tmp_path / "a.zarr", limit * MIB, **arguments)
    assert found is not None
    assert found["regions"] > 4
    assert found["extra"] <= limit * MIB


def test_columns_become_planes_within_the_limit(tmp_path: Path) -> None:
    shape = (80, 512, 512)
    columns = gpuzarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=(80, 8, 512), dtype="f4", compressors=None)
    for i in range(0, shape[1], 64):
        columns[:, i : i + 64] = np.arange(80 * 64 * 512, dtype="f4").reshape(80, 64, 512) + i
    found = convert(tmp_path / "a.zarr", tmp_path / "b.zarr", 56 * MIB, chunks=[1, 512, 512], verify=True)
    assert found is not None
    assert found["regions"] > 4
    assert found["extra"] <= 56 * MIB


@pytest.mark.long
def test_a_gibibyte_converts_to_shards_within_256_mebibytes_killed_or_not(tmp_path: Path) -> None:
    limit, arguments = 256 * MIB, {"chunks": [16, 128, 128], "shards": [64, 256, 512]}
    write(tmp_path / "a.h5", 1024)
    found = convert(tmp_path / "a.h5", tmp_path / "whole.zarr", limit, **arguments)
    assert found is not None
    sys.stderr.write(f"{found} in {get_device('cpu').lanes} lanes\n")
    assert found["extra"] <= limit
    whole = digests(tmp_path / "whole.zarr")
    assert convert(tmp_path / "a.h5", tmp_path / "killed.zarr", limit, kill_after=512 * MIB, **arguments) is None
    with pytest.raises(FileNotFoundError):
        gpuzarr.open(tmp_path / "killed.zarr", mode="r")
    resumed = convert(tmp_path / "a.h5", tmp_path / "killed.zarr", limit, **arguments)
    assert resumed is not None
    sys.stderr.write(f"{resumed}\n")
    assert resumed["extra"] <= limit
    assert resumed["regions"] // 2 - 4 <= resumed["resumed"] < resumed["regions"]
    assert digests(tmp_path / "killed.zarr") == whole
    with h5py.File(tmp_path / "a.h5") as file:
        z = gpuzarr.open_array(tmp_path / "killed.zarr", path="cube", mode="r")
        for i in range(0, len(z), 64):
            np.testing.assert_array_equal(z[i : i + 64], file["cube"][i : i + 64])
