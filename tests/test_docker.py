"""The images, as far as they can be checked where nothing builds them."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_is_of_what_there_is(file: Path) -> None:
    text = file.read_text()
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {step[0] for step in steps} <= INSTRUCTIONS
    (base,) = [words for name, words in steps if name == "FROM"]
    assert re.fullmatch(r"[\w/]+:\d+\.\d+[\w.-]*", base)  # of one version
    (extras,) = re.findall(r"-e '\.\[([\w,]+)\]'", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    for name, words in steps:
        if name == "RUN":
            assert shlex.split(words)[0] in ("apt-get", "python3")
    command = next(words for name, words in steps if name == "CMD")
    assert command in ('["pytest"]', '["gpuzarr", "doctor"]')
    assert "gpuzarr" in PROJECT["scripts"]
    head = text[: text.index("FROM")]
    assert f"docker build -f docker/{file.name} -t " in head
    for path in re.findall(r"(?:bench|tests)/\w+\.py", head):
        assert (ROOT / path).is_file()
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv*"} <= set(ignored)  # the image makes its own


def test_both_are_there() -> None:
    assert [file.stem for file in FILES] == ["cpu", "cuda"]
