"""The GPU's benchmark, the questions and the unattended session, end to end on the emulated device."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gpuzarr import devices
from tests import fake_cupy

ROOT = Path(__file__).parents[1]
DATED = re.compile(r"\d{4}-\d\d-\d\d-emulated-")  # what the session's files begin with: the day on which it began


def run(script: str, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-W", "error", str(ROOT / "bench" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("bench") / "gpu.json"
    text = run(
        "gpu.py", "--device", "emulated", "--quick", "--only", "gpuzarr", "gpuzarr cpu + copy", "--out", str(out)
    )
    found: dict[str, Any] = json.loads(out.read_text())
    assert all(row["cell"] in text for row in found["rows"])
    return found


def test_the_benchmark_has_a_row_for_each_cell(results: dict[str, Any]) -> None:
    codecs = {"none", "zstd", "lz4", "blosc-lz4-shuffle", "blosc-zstd-bitshuffle", "gzip"}
    assert {(r["codec"], r["chunk"]) for r in results["rows"]} == {(c, n << 10) for c in codecs for n in (64, 256)}
    assert results["about"]["device"] == "emulated"
    assert "numcodecs" in results["about"]["versions"]
    for row in results["rows"]:
        assert row["failed"] == {}
        assert set(row["seconds"]) == {"gpuzarr", "gpuzarr cpu + copy"}
        assert all(len(s) == 2 and min(s) > 0 for s in row["seconds"].values())


def test_stages_and_floors_are_of_what_was_read(results: dict[str, Any]) -> None:
    for row in results["rows"]:
        stages, floors = row["stages"], row["floors"]
        assert stages["peak_device_bytes"] >= row["nbytes"]
        placed = "filtered" if "shuffle" in row["codec"] else "parts"
        assert stages["calls"][f"kernel scatter_{placed}"] >= 1
        assert ("nvcomp" in stages["calls"]) == (row["codec"] not in ("none", "gzip")) or row["codec"] == "gzip"
        # What crosses the bus: the stored bytes, and the tables.
        if row["codec"] != "gzip":
            assert row["stored"] * 0.9 < stages["bytes"]["upload"] < row["stored"] * 1.1 + 300_000
        assert set(floors) == {"files", "bus", "nvcomp", "write"}
        assert row["share"] == pytest.approx(max(floors.values()) / min(row["seconds"]["gpuzarr"]))


def test_the_lines_for_cuda_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_cupy.install(monkeypatch)
    monkeypatch.setattr(devices, "_devices", {})
    monkeypatch.syspath_prepend(ROOT / "bench")
    bench = import_module("gpu")
    quick = ["--quick", "--size", "4", "--codec", "zstd", "--chunk", "64K", "--only", "gpuzarr", "gpuzarr cpu + copy"]
    assert bench.main([*quick, "--rounds", "1", "--out", str(tmp_path / "gpu.json")]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["about"]["card"] == "Fake 0"
    assert found["about"]["compute"] == "9.0"
    (row,) = found["rows"]
    stages = row["stages"]
    assert stages["seconds"]["nvcomp"] == pytest.approx(stages["calls"]["nvcomp"] / 1000)
    assert stages["seconds"]["upload"] == pytest.approx(stages["calls"]["upload"] / 1000)


def test_the_prediction_is_a_row_for_each_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction = import_module("bench.gpu_prediction")
    monkeypatch.setattr(prediction, "WAVE", 1 << 20)
    monkeypatch.setattr(prediction, "SHOWN", ("none", "blosc zstd bitshuffle"))
    prediction.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        [c, n] for c in ("none", "blosc zstd bitshuffle") for n in ("64 KiB", "256 KiB")
    ]
    for row in rows:
        read, host, bus, nvcomp, kernels = map(float, row[2:7])
        assert host > 0 <= kernels
        assert (nvcomp == 0) == (row[0] == "none")
        assert read > bus > 0


def test_a_wrong_result_is_said_and_not_timed(tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, "bench")
import gpu, gpu_contenders as g
def wrong(right):
    return lambda self, path, device: (lambda read: lambda: read() + 1)(right(self, path, device))
g.OnHost.prepare, g.OnDevice.prepare = wrong(g.OnHost.prepare), wrong(g.OnDevice.prepare)
sys.exit(gpu.main(["--device", "emulated", "--quick", "--codec", "none", "--chunk", "64K", *sys.argv[1:]]))
"""
    only = ("--only", "gpuzarr", "gpuzarr cpu + copy")
    command = [sys.executable, "-c", code, "--out", str(tmp_path / "gpu.json"), *only]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    (row,) = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert row["seconds"] == {}
    assert row["failed"] == dict.fromkeys(("gpuzarr", "gpuzarr cpu + copy"), "not the data that was written")
    assert "gpuzarr: not the data that was written" in done.stdout


def session(folder: Path) -> dict[str, Any]:
    """What the steps of a session found."""
    (file,) = (file for file in folder.iterdir() if DATED.sub("", file.name) == "session.json")
    steps: dict[str, Any] = json.loads(file.read_text())["steps"]
    return steps


def test_the_session_does_its_steps_and_leaves_what_it_found(tmp_path: Path) -> None:
    steps = ("doctor", "questions", "tests", "rates", "bench", "drill")
    quick = ("--bench=--codec=zstd", "--bench=--chunk=64K", "--tests", "tests/test_kernels.py")
    text = run("gpu_session.py", str(tmp_path / "out"), "--device", "emulated", "--only", *steps, *quick)
    found = session(tmp_path / "out")
    assert {name: step["status"] for name, step in found.items()} == dict.fromkeys(steps, "ok")
    products = ("questions", "rates", "bench", "drill")
    names = {*(f"{name}.json" for name in products), "session.json", "session.txt"}
    assert {DATED.sub("", file.name) for file in (tmp_path / "out").iterdir()} == names
    answers = found["questions"]["product"]["answers"]
    assert len(answers) > 20
    wrong = {name for name, a in answers.items() if a.get("equal") != a.get("streams")}
    assert wrong == {"deflate with its Adler-32"}
    assert found["doctor"]["product"]["machine"]["gpuzarr"]
    assert "skipped" in found["tests"]["output"][-1]
    rates = found["rates"]["product"]["rates"]
    assert {len(rates["copy"]), len(rates["kernels"]), len(rates["nvcomp"])} == {3, 18, 25}
    assert all(rate > 0 for part in rates.values() for rate in part.values())
    assert [drill["ok"] for drill in found["drill"]["product"].values()] == [True] * 3
    *_, cell, last = text.splitlines()
    assert cell.startswith("    zstd 64K in 64M float32")
    assert "GB/s" in cell
    assert last.startswith("drill        ok")


def test_the_sweep_reads_with_other_lanes_and_waves(tmp_path: Path) -> None:
    quick = ("--bench=--codec=none", "--bench=--rounds=1")
    text = run("gpu_session.py", str(tmp_path), "--device", "emulated", "--only", "sweep", *quick)
    rows = session(tmp_path)["sweep"]["product"]["rows"]
    assert [row["codec"] for row in rows] == ["none", "zstd", "blosc-lz4-shuffle"]
    assert all(len(row["seconds"]) == 1 + 12 and "gpuzarr 2 x 64M" in row["seconds"] for row in rows)
    assert text.splitlines()[-1].count("gpuzarr") == 3


def test_a_step_that_fails_ends_that_step_only(tmp_path: Path) -> None:
    arguments = ("--only", "bench", "doctor", "--bench=--codec=nonsense")
    text = run("gpu_session.py", str(tmp_path), "--device", "emulated", *arguments, status=1)
    found = session(tmp_path)
    assert found["doctor"]["status"] == "ok"
    assert found["bench"]["status"] == "exit status 2"
    assert "invalid choice: 'nonsense'" in found["bench"]["output"][-1]
    assert "bench        exit status 2" in text


def test_without_a_gpu_a_session_soon_says_so(tmp_path: Path) -> None:
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    run("gpu_session.py", str(tmp_path), "--only", "questions", status=1)
    (step,) = json.loads(next(tmp_path.glob("*-session.json")).read_text())["steps"].values()
    assert step["status"] == "exit status 1"
    assert "CuPy is not installed" in step["product"]["error"]


def test_a_step_has_a_deadline_and_may_leave_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "bench")
    unattended = import_module("gpu_session")
    code = "import sys, time; print('begun', flush=True); open(sys.argv[1], 'w').write('{'); time.sleep(60)"
    step = unattended.Step("slow", [sys.executable, "-S", "-c", code, "{}"], 1, measures=True)
    unattended.perform(step, Namespace(stem=str(tmp_path / "x"), site=str(tmp_path)), 5)
    assert step.found["status"] == "stopped after 1 s"
    assert step.found["output"] == ["begun"]
    assert "product" not in step.found
    assert step.found["product_error"]
    assert "===== slow: stopped after 1 s\nbegun" in (tmp_path / "x-session.txt").read_text()
    unattended.perform(step, Namespace(stem=str(tmp_path / "x"), site=str(tmp_path)), 4.9)
    assert step.found == {"status": "no time left"}


def test_questions_go_on_behind_one_that_ends_its_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT / "bench")
    questions = import_module("gpu_questions")
    hung, dead, fine = {"error": "no answer in 1 s"}, {"error": "exit status -6: "}, {"equal": 1}
    replies = [fine, hung, fine, {"error": "GpuError: refused"}, dead, fine]
    begun, ended = [], []

    class Child:
        def __init__(self, kind: str, first: int, alone: bool, device: str) -> None:
            begun.append((kind, first, alone))
            self.left = iter([{"nvcomp": [6]}, *replies[first:]])

        def next(self, patience: float) -> dict[str, Any]:
            return next(self.left)

        def end(self) -> None:
            ended.append(True)

    monkeypatch.setattr(questions, "Child", Child)
    monkeypatch.setattr(questions, "KINDS", {"sound": lambda: [Namespace(name=str(i)) for i in range(len(replies))]})
    args, found = Namespace(device="cuda", patience=1, out=str(tmp_path / "x.json")), {"answers": {}}
    questions.interview("sound", False, args, found)
    assert [first for _, first, _ in begun] == [0, 2, 5]
    assert found == {"answers": {str(i): reply for i, reply in enumerate(replies)}, "nvcomp": [6]}
    assert json.loads((tmp_path / "x.json").read_text()) == found
    begun.clear()
    questions.interview("sound", True, args, {"answers": {}})
    assert [first for _, first, _ in begun] == list(range(6))
    monkeypatch.setattr(Child, "next", lambda self, patience: dead)
    begun.clear()
    questions.interview("sound", True, args, nothing := {"answers": {}})
    assert (len(begun), nothing) == (1, {"answers": {}} | dead)
    assert len(ended) == 10
