"""All that a GPU is asked, unattended, by one command, in under ten minutes and without a network.

    python bench/gpu_session.py OUT                        # OUT is a folder for at most eight files
    python bench/gpu_session.py OUT --wheels wheels        # first install all wheels that are there, for this run only
    python bench/gpu_session.py OUT --device emulated      # the same, end to end, where there is no GPU

The steps: what is here (`gpuzarr doctor`, nvidia-smi); questions to nvCOMP (`gpu_questions.py`); the tests that need a
GPU; the kernels under compute-sanitizer, where that is installed; rates of the parts alone (`gpu_rates.py`); the
benchmark's quick form, and a sweep of lanes and wave sizes; KvikIO against `preadv`, where it is installed; drills of
many streams, little memory and a lost context (`gpu_drill.py`); damaged streams last, since they may take the GPU down.
Each step is a process with a deadline of its own; one that fails or runs out of time ends that step only, and what was
found is written after every step. The last lines are a short table.

OUT/DATE-CARD-session.json has everything that the steps found, DATE-CARD-session.txt their whole output, and
DATE-CARD-STEP.json what a step measured. The checkout and the home folder need not be writable.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_session_table import table

ROOT = Path(__file__).parents[1]
LIMIT = 570.0  # seconds in all
DOCTOR = "import sys; from gpuzarr.cli import main; sys.exit(main(['doctor', '--json', *sys.argv[1:]]))"
KVIKIO = f"import importlib.util as u\nif u.find_spec('kvikio'): {DOCTOR}\nprint('KvikIO is not installed')"
LAST_LINES = 60  # of a step's output, in the JSON
LEAST = 5.0  # seconds that it makes sense to begin a step with
CLEANUP = 5.0  # seconds that a killed process has to go
KERNEL_TESTS = "tests/test_kernels.py"


@dataclass
class Step:
    """One command, its time limit, and whether it leaves a JSON file; `{}` among its words is where."""

    name: str
    command: list[str]
    seconds: float
    measures: bool = False
    found: dict[str, Any] = field(default_factory=dict)


def steps(args: argparse.Namespace) -> list[Step]:
    """What is done, in order."""
    listed: list[Step] = []
    if args.wheels:
        wheels = [str(path) for path in sorted(args.wheels.glob("*.whl"))]
        options = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--upgrade", "--target", args.site]
        listed.append(Step("install", [sys.executable, "-m", "pip", "install", "-q", *options, *wheels], 60))
    listed.append(Step("doctor", [sys.executable, "-c", DOCTOR], 40))
    if shutil.which("nvidia-smi"):
        listed.append(Step("nvidia-smi", ["nvidia-smi"], 15))
    listed.append(_script(args, "questions", 90))
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu"]
    lasting = ["--maxfail=30", "--continue-on-collection-errors"]  # of tests whose libraries are not here
    listed.append(Step("tests", [sys.executable, *tests, *lasting, *args.tests], 120))
    if sanitizer := shutil.which("compute-sanitizer"):
        for tool in ("memcheck", "initcheck"):
            options = ["--tool", tool, "--error-exitcode", "9", "--target-processes", "all"]
            listed.append(Step(tool, [sanitizer, *options, sys.executable, *tests, KERNEL_TESTS], 60))
    listed.append(_script(args, "rates", 60))
    quick = ["--out", "{}", "--quick", "--minutes", "2", *args.bench]
    listed.append(_script(args, "bench", 150, "gpu.py", quick))
    sweep = ["--sweep", "--only", "gpuzarr", "--codec", "none", "zstd", "blosc-lz4-shuffle", "--chunk", "256K"]
    listed.append(_script(args, "sweep", 60, "gpu.py", [*quick, *sweep]))
    if args.device != "emulated":
        listed.append(Step("kvikio", [sys.executable, "-c", KVIKIO, "--retry", args.site], 40))
    listed.append(_script(args, "drill", 60))
    listed.append(_script(args, "danger", 90, "gpu_questions.py", ["{}", "--danger", "--patience", "10"]))
    return [step for step in listed if not args.only or step.name in args.only]


def _script(args: Any, name: str, seconds: float, script: str = "", more: list[str] | None = None) -> Step:
    path = str(ROOT / "bench" / (script or f"gpu_{name}.py"))
    return Step(name, [sys.executable, path, *(more or ["{}"]), "--device", args.device], seconds, measures=True)


def perform(step: Step, args: Any, left: float) -> None:
    """Run a step; its output is added to the session's."""
    if left < LEAST:
        step.found = {"status": "no time left"}
        return
    limit = min(step.seconds, left)
    product = Path(f"{args.stem}-{step.name}.json")
    command = [str(product) if word == "{}" else word for word in step.command]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as text:
        try:
            status = _status(command, args, text, limit)
        except OSError as error:
            status = str(error)
        text.seek(0)
        said = text.read()
    step.found = {"status": status, "seconds": round(time.monotonic() - began, 1), "command": step.command}
    step.found["output"] = said.splitlines()[-LAST_LINES:]
    with Path(f"{args.stem}-session.txt").open("a") as whole:
        whole.write(f"===== {step.name}: {status}\n{said}\n")
    try:
        if step.measures and product.is_file():
            step.found["product"] = json.loads(product.read_text())
        elif said.startswith("{"):
            step.found["product"] = json.loads(said)
    except ValueError as error:  # it was stopped while it wrote
        step.found["product_error"] = str(error)


def _status(command: list[str], args: Any, text: Any, limit: float) -> str:
    """Run a command in a group of its own, so that what it started ends with it."""
    running = subprocess.Popen(
        command, cwd=ROOT, env=_environment(args), stdout=text, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        code = running.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        try:
            running.wait(CLEANUP)
        except subprocess.TimeoutExpired:  # a driver holds it
            return f"stopped after {limit:.0f} s, and still there"
        return f"stopped after {limit:.0f} s"
    return "ok" if code == 0 else f"exit status {code}"


def _environment(args: Any) -> dict[str, str]:
    """What a step finds: our code and the wheels first, and folders to write to that are its own."""
    found = dict(os.environ)
    paths = [str(ROOT), str(ROOT / "bench"), args.site, found.get("PYTHONPATH", "")]
    found["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    found["PYTHONDONTWRITEBYTECODE"] = found["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # whatever else is installed
    found.setdefault("CUPY_CACHE_DIR", str(Path(args.site, "cupy")))
    found.setdefault("GPUZARR_CACHE_DIR", str(Path(args.site, "cache")))
    found.pop("PYTEST_ADDOPTS", None)  # what whoever calls us asks of tests of their own, such as coverage
    return found


def card(device: str) -> str:
    """The GPU's name as a word for files; the device's own where there is none."""
    if device != "emulated" and (smi := shutil.which("nvidia-smi")):
        query = [smi, "--query-gpu=name", "--format=csv,noheader"]
        try:
            said = subprocess.run(query, capture_output=True, text=True, timeout=15, check=True).stdout.splitlines()
            device = said[0]
        except (OSError, subprocess.SubprocessError, IndexError):
            pass
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for what is found")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, all of which are installed first")
    parser.add_argument("--only", nargs="+", help="only these steps")
    parser.add_argument("--seconds", type=float, default=LIMIT, help=f"in all (default: {LIMIT:.0f})")
    parser.add_argument("--tests", nargs="+", default=[], help="only these files of tests")
    parser.add_argument(
        "--bench", action="append", default=[], help="one more argument for the benchmark: --bench=--codec=zstd"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Do all steps; 0 where all went well."""
    began, args = time.monotonic(), parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    args.stem = str(args.out.resolve() / f"{time.strftime('%Y-%m-%d')}-{card(args.device)}")
    Path(f"{args.stem}-session.txt").write_text("")
    with tempfile.TemporaryDirectory(prefix="gpuzarr-session-") as args.site:
        listed = steps(args)
        for step in listed:
            print(f"{step.name} ...", flush=True)
            perform(step, args, args.seconds - (time.monotonic() - began))
            found = {"device": args.device, "steps": {s.name: s.found for s in listed if s.found}}
            Path(f"{args.stem}-session.json").write_text(json.dumps(found, indent=1))
    print(table({step.name: step.found for step in listed}), flush=True)
    return 0 if all(step.found["status"] == "ok" for step in listed) else 1


if __name__ == "__main__":
    sys.exit(main())
