"""The extra `test` brings what tests ask for: what it lacked would be skipped everywhere, and nobody would see."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ASKED = re.compile(r'importorskip\(\s*"(\w+)')
ELSEWHERE = {"zarr_metadata"}  # needs Python 3.12; `.ci/run` installs it beside the newest zarr-python


def wanted(requirements: Iterable[str], extras: set[str]) -> list[Requirement]:
    """The requirements that hold on this machine."""
    found = [Requirement(text) for text in requirements]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras | {""})]


def brought() -> set[str]:
    """Names of all distributions that `pip install '.[test]'` installs, those that they need included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    left, names = wanted([*project["dependencies"], *project["optional-dependencies"]["test"]], set()), set()
    seen = set()
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        if (name, *sorted(one.extras)) in seen:
            continue
        seen.add((name, *sorted(one.extras)))
        if name == project["name"]:
            left += wanted([t for e in one.extras for t in project["optional-dependencies"][e]], set())
            continue
        names.add(name)
        try:
            left += wanted(requires(one.name) or [], one.extras)
        except PackageNotFoundError:
            continue  # what it needs is not here either
    return names


def test_what_is_skipped_where_a_package_is_missing_runs_with_the_extra() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    asked = set(ASKED.findall(text)) - ELSEWHERE
    assert {"zarr", "xarray", "h5py", "aiohttp"} <= asked
    distributions, names = packages_distributions(), brought()
    installed = asked & distributions.keys()
    assert {m for m in installed if not names & {canonicalize_name(d) for d in distributions[m]}} == set()
    if os.environ.get("CI"):
        assert asked - installed == set()
