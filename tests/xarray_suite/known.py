"""The committed list of xarray's tests that do not pass on gpuzarr, and what has been seen of them in this run."""

from __future__ import annotations

import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

KNOWN: list[dict[str, str]] = tomllib.loads((Path(__file__).parent / "known.toml").read_text())["known"]
"""Of each entry `test`, a pattern with `*` for the part of a test's id behind the file, and `reason`."""

seen: Counter[str] = Counter()
"""How often each pattern was found among the tests that were collected; "" counts all of xarray's tests."""


def reason_for(test: str) -> str | None:
    """Why a test is known not to pass; None for all others. Takes note of it."""
    seen[""] += 1
    for entry in KNOWN:
        if fnmatchcase(test, entry["test"].replace("[", "[[]")):
            seen[entry["test"]] += 1
            return entry["reason"]
    return None
