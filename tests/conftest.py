"""What all tests share: the devices, the third-party stores, and the long form.

`pytest` runs everything in its short form. `pytest --long` runs the long forms too: thousands of random cases where
the short form has a handful. Both are the same every time (hypothesis is derandomized).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

SLOW_MACHINES = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile(
    "short", max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=SLOW_MACHINES
)
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("short"), max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long forms of the tests too")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if not config.getoption("--long"):
        reasons["long"] = "a long form; run with --long"
    if not _cuda_works():
        reasons["gpu"] = "no CUDA device here"
    for item in items:
        for mark, reason in reasons.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def long_form(request: pytest.FixtureRequest) -> bool:
    """Whether this is a run with --long, for tests that count their own random cases."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(params=["cpu", "emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that works here, by name."""
    return str(request.param)


@pytest.fixture(scope="session")
def third_party_stores() -> Path:
    """Stores written by other Zarr libraries, with `expected.json`; skips where there are none."""
    place = Path(os.environ.get("GPUZARR_THIRD_PARTY_STORES", ROOT.parent / "shared" / "stores"))
    if not (place / "expected.json").exists():
        pytest.skip(f"no third-party stores at {place} (set GPUZARR_THIRD_PARTY_STORES)")
    return place


def _cuda_works() -> bool:
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    return bool(cupy.cuda.is_available())
