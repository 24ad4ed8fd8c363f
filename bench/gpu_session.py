"""All that a GPU is asked, unattended, by one command, in under ten minutes and without a network.

    python bench/gpu_session.py OUT                        # OUT is a folder, for JSON and the steps' whole output
    python bench/gpu_session.py OUT --wheels wheels        # first install all wheels that are there
    python bench/gpu_session.py OUT --device emulated      # the same, end to end, where there is no GPU

The steps: what is here (`gpuzarr doctor`, nvidia-smi); the questions to nvCOMP (`bench/gpu_questions.py`); the tests
that need a GPU; the benchmark's quick form, and a sweep of lanes and wave sizes; the kernels under compute-sanitizer,
where that is installed; damaged streams last, since they may take the GPU down. A step that fails or runs out of time
ends that step only. The last lines are a short table; OUT/session.json has everything that the steps found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT = 570.0  # seconds in all
DOCTOR = "import sys; from gpuzarr.cli import main; sys.exit(main(['doctor', '--json']))"
LAST_LINES = 12  # of a step's output, in the JSON


@dataclass
class Step:
    """One command, its time limit, and the JSON file that it leaves."""

    name: str
    command: list[str]
    seconds: float
    product: str = ""  # a file in OUT
    found: dict[str, Any] = field(default_factory=dict)


def steps(args: argparse.Namespace) -> list[Step]:
    """What is done, in order."""
    python, out, device = sys.executable, args.out, args.device
    emulated = device == "emulated"
    listed: list[Step] = []
    if args.wheels:
        install = [python, "-m", "pip", "install", "--no-index", "--find-links", str(args.wheels)]
        listed.append(Step("install", [*install, *map(str, sorted(args.wheels.glob("*.whl")))], 90))
    listed.append(Step("doctor", [python, "-c", DOCTOR], 60))
    if shutil.which("nvidia-smi"):
        listed.append(Step("nvidia-smi", ["nvidia-smi"], 20))
    ask = [python, str(ROOT / "bench/gpu_questions.py")]
    listed.append(Step("questions", [*ask, str(out / "questions.json"), "--device", device], 90, "questions.json"))
    chosen = ["tests/test_public_api.py"] if emulated else ["-m", "gpu"]
    tests = [python, "-m", "pytest", "-q", "-x" if emulated else "--maxfail=30", "-p", "no:cacheprovider", *chosen]
    listed.append(Step("tests", tests, 150))
    bench = [python, str(ROOT / "bench/gpu.py"), "--quick", "--device", device, "--minutes", "2", *args.bench]
    listed.append(Step("bench", [*bench, "--out", str(out / "bench.json")], 180, "bench.json"))
    sweep = ["--sweep", "--only", "gpuzarr", "--codec", "none", "zstd", "blosc-lz4-shuffle", "--chunk", "256K"]
    listed.append(Step("sweep", [*bench, *sweep, "--out", str(out / "sweep.json")], 90, "sweep.json"))
    if sanitizer := shutil.which("compute-sanitizer"):
        for tool in ("memcheck", "initcheck"):
            kernels = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_devices.py", "-m", "gpu"]
            listed.append(Step(tool, [sanitizer, "--tool", tool, "--error-exitcode", "9", *kernels], 90))
    danger = [*ask, str(out / "danger.json"), "--device", device, "--danger", "--patience", "10"]
    listed.append(Step("danger", danger, 120, "danger.json"))
    return [step for step in listed if not args.only or step.name in args.only]


def perform(step: Step, out: Path, left: float) -> None:
    """Run a step; its output goes to OUT/NAME.txt."""
    limit = min(step.seconds, left)
    if limit < 5:
        step.found = {"status": "no time left"}
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("PYTEST_ADDOPTS", None)  # what whoever calls us asks of tests of their own, such as coverage
    began = time.monotonic()
    with (out / f"{step.name}.txt").open("w") as text:
        try:
            status = _status(step.command, environment, text, limit)
        except OSError as error:
            status = str(error)
    lines = (out / f"{step.name}.txt").read_text(errors="replace").splitlines()
    step.found = {"status": status, "seconds": round(time.monotonic() - began, 1), "output": lines[-LAST_LINES:]}
    if step.product and (out / step.product).is_file():
        step.found["product"] = json.loads((out / step.product).read_text())
    elif step.name == "doctor" and status == "ok":
        step.found["product"] = json.loads("\n".join(lines))


def _status(command: list[str], environment: dict[str, str], text: Any, limit: float) -> str:
    """Run a command in a group of its own, so that what it started ends with it."""
    running = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=text, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        code = running.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return f"stopped after {limit:.0f} s"
    return "ok" if code == 0 else f"exit status {code}"


def table(listed: list[Step]) -> str:
    """What came of it, a line each, and the benchmark's rows."""
    lines = []
    for step in listed:
        found = step.found
        said = {
            "questions": _answered,
            "danger": _harmed,
            "bench": _rates,
            "tests": _last,
            "doctor": _card,
            "sweep": _best,
        }
        detail = said.get(step.name, lambda found: "")(found)
        lines.append(f"{step.name:<12} {found['status']:<20} {found.get('seconds', 0):>6} s  {detail}")
    return "\n".join(lines)


def _last(found: dict[str, Any]) -> str:
    return found["output"][-1] if found.get("output") else ""


def _card(found: dict[str, Any]) -> str:
    return str(found.get("product", {}).get("gpu", {}).get("cuda", ""))


def _answered(found: dict[str, Any]) -> str:
    answers = found.get("product", {}).get("answers", {})
    wrong = [name for name, a in answers.items() if a.get("equal") != a.get("streams") or "error" in a]
    return (
        f"{len(answers) - len(wrong)} of {len(answers)} decoded to the right bytes; not: {', '.join(wrong) or 'none'}"
    )


def _harmed(found: dict[str, Any]) -> str:
    answers = found.get("product", {}).get("answers", {}).values()
    refused = sum("error" not in a and (a["statuses"] != [0] or not a["sizes_right"]) for a in answers)
    ended = sum("error" in a for a in answers)
    return (
        f"{len(answers)} damaged streams: {refused} reported, {len(answers) - refused - ended} not, {ended} no answer"
    )


def _best(found: dict[str, Any]) -> str:
    rows = [row for row in found.get("product", {}).get("rows", []) if row["seconds"]]
    best = [min(row["seconds"], key=lambda name: min(row["seconds"][name])) for row in rows]
    return "; ".join(f"{row['codec']}: {name}" for row, name in zip(rows, best, strict=True))


def _rates(found: dict[str, Any]) -> str:
    rows = found.get("product", {}).get("rows", [])
    lines = [
        f"{row['cell']:<44} {row['nbytes'] / min(row['seconds']['gpuzarr']) / 1e9:8.2f} GB/s  share {row['share']:.2f}"
        for row in rows
        if "gpuzarr" in row["seconds"]
    ]
    return "\n    ".join([f"{len(rows)} cells", *lines])


def main(argv: list[str] | None = None) -> int:
    """Do all steps; 0 where all went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for what is found")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, all of which are installed first")
    parser.add_argument("--only", nargs="+", help="only these steps")
    parser.add_argument(
        "--bench", action="append", default=[], help="one more argument for the benchmark: --bench=--codec=zstd"
    )
    args = parser.parse_args(argv)
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    began, listed = time.monotonic(), steps(args)
    for step in listed:
        print(f"{step.name} ...", flush=True)
        perform(step, args.out, LIMIT - (time.monotonic() - began))
        found = {s.name: s.found for s in listed if s.found}
        (args.out / "session.json").write_text(json.dumps({"device": args.device, "steps": found}, indent=1))
    print(table(listed))
    return 0 if all(step.found["status"] == "ok" for step in listed) else 1


if __name__ == "__main__":
    sys.exit(main())
