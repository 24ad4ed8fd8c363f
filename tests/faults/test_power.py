"""The short form of `power.py`, and that it finds what it is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gpuzarr.storage import local_writing
from gpuzarr.storage.syscalls import exchange
from tests.faults import power
from tests.faults.scenarios import LAYOUTS


@pytest.fixture(autouse=True)
def exchanges(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        if not exchange(directory, "a", "b"):
            pytest.skip("this file system cannot exchange names")
    finally:
        os.close(directory)


@pytest.mark.parametrize("durability", power.KINDS)
def test_a_loss_of_power_costs_nothing_that_was_promised(durability: str, long_form: bool) -> None:
    states = 40_000 if long_form else 1_000
    count, wrong = power.run(states, 1, [durability], [*LAYOUTS])
    assert wrong == []
    assert count >= states


def test_what_is_not_waited_for_is_found_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(power.KINDS, "fsync", ("rename", "any order"))
    _, wrong = power.run(1_000, 1, ["fsync"], ["plain"])
    assert len(wrong) == 20


@pytest.mark.parametrize("skipped", ["names", "bytes"])
def test_each_of_the_two_syncs_is_needed(monkeypatch: pytest.MonkeyPatch, skipped: str) -> None:
    real = local_writing.replace_file

    def careless(*args: Any, sync: bool, sync_name: bool) -> None:
        real(*args, sync=sync and skipped != "bytes", sync_name=sync_name and skipped != "names")

    monkeypatch.setattr(local_writing, "replace_file", careless)
    _, wrong = power.run(1_000, 1, ["fsync"], ["plain"])
    assert wrong
