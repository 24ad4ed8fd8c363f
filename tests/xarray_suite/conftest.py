"""What xarray's tests need around them: its markers, an event loop, and our list of known differences."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from tests.xarray_suite.known import reason_for

HERE = Path(__file__).parent
MARKERS = ("asyncio", "flaky", "network", "slow", "slow_hypothesis", "mypy", "skip_if_param", "skip_with_dask_array")


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", f"{marker}: one of xarray's")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent != HERE or getattr(item, "cls", None) is None:
            continue
        _skip_if_param(item)
        for mark in item.iter_markers("xfail"):  # theirs depend on zarr-python's release
            mark.kwargs.setdefault("strict", False)
        reason = reason_for(item.nodeid.partition("::")[2])
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def _skip_if_param(item: pytest.Item) -> None:
    """xarray's marker, whose code its wheel leaves out: skip where all parameters are as it says."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    for mark in item.iter_markers("skip_if_param"):
        wanted = {k: v for k, v in mark.kwargs.items() if k not in ("reason", "condition")}
        if mark.kwargs.get("condition", True) and all(given.get(k) == v for k, v in wanted.items()):
            item.add_marker(pytest.mark.skip(reason=mark.kwargs["reason"]))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True
