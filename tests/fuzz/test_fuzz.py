"""The corpus is replayed, every target runs for a while, and the supervisor finds what was planted for it.

`python -m tests.fuzz --seconds 3600` is the long form. In children of their own, since forking wants a process without
threads.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.planted import BAD
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/corpus"


def run(*arguments: str) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_corpus_is_refused_or_right(tmp_path: Path) -> None:
    """One file for every defect that was ever found: here, in other libraries, and by the fuzzer."""
    folders = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
    assert set(folders) <= TARGETS.keys()
    count = sum(1 for folder in folders for _ in (CORPUS / folder).iterdir())
    told = run("-m", "tests.fuzz", "--replay", str(CORPUS), "--findings", str(tmp_path), "--target", *folders)
    assert f"{count} executions, 0 findings" in told


def test_every_target_for_a_while(tmp_path: Path) -> None:
    told = run(
        "-m", "tests.fuzz", "--seconds", "60", "--executions", "2000", "--seed", "1", "--findings", str(tmp_path)
    )  # fmt: skip
    lines = told.splitlines()[1:-1]
    assert len(lines) == len(TARGETS)
    assert "0 findings" in told.splitlines()[-1]
    for line in lines:  # an input that is never accepted, or never refused, tests nothing
        assert "refused" in line or "unfit" in line, line
        assert any(word in line for word in (" decoded", " accepted", " opened", " fit")), line


@pytest.mark.long
def test_every_target_for_a_minute(tmp_path: Path) -> None:
    run("-m", "tests.fuzz", "--seconds", "60", "--findings", str(tmp_path))


def test_the_supervisor_finds_what_is_planted() -> None:
    found = dict(line.split("; ", 1) for line in run("-m", "tests.fuzz.planted").splitlines())
    for name in ("reads_behind", "reads_before", "writes_behind"):
        assert found[name] == f"killed by SIGSEGV; {BAD}"
    assert found["hangs"] == f"took more than 1.0 s; {BAD}"
    assert found["raises"] == f"ZeroDivisionError: planted; {BAD}"
    assert found["is_wrong"] == f"tests.fuzz.target.Finding: planted; {BAD}"
    assert found["hoards"].startswith("memory grew by 3")
    assert found["hoards_too_much"] == f"MemoryError; {BAD}"
