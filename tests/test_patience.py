"""Trying again: what is tried how often, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import pytest

from gpuzarr.errors import StoreReadError
from gpuzarr.options import config
from gpuzarr.storage.clients.contract import Changed, Transient
from gpuzarr.storage.event_loop import run
from gpuzarr.storage.patience import Patience


def call(patience: Patience, failures: Sequence[Exception]) -> int:
    """Tries that it took to get through these failures."""
    waiting = list(failures)
    tries = 0

    async def request() -> int:
        nonlocal tries
        tries += 1
        if waiting:
            raise waiting.pop(0)
        return tries

    return run(patience.call(request, what="read 'k'", kind=StoreReadError), 30)


def test_what_fails_in_passing_is_tried_again() -> None:
    assert call(Patience(5, 3), [Transient("busy")] * 3) == 4
    with pytest.raises(StoreReadError, match="read 'k': busy; tried 4 times"):
        call(Patience(5, 3), [Transient("busy")] * 4)


def test_short_answers_are_worth_fewer_tries_than_a_busy_server() -> None:
    short, busy = Transient("short", tries=3), Transient("busy")
    assert call(Patience(5, 9), [busy, busy, short, busy, short]) == 6
    with pytest.raises(StoreReadError, match="short; tried 4 times"):
        call(Patience(5, 9), [short, busy, short, short])


@pytest.mark.parametrize("failure", [Changed("412"), FileNotFoundError("404"), PermissionError("403"), ValueError()])
def test_what_is_final_is_not(failure: Exception) -> None:
    with pytest.raises(type(failure)) as caught:
        call(Patience(5, 3), [failure])
    assert caught.value is failure


def test_the_deadline_is_over_all_tries() -> None:
    start = monotonic()
    with pytest.raises(StoreReadError, match=r"no answer within 0\.3 s") as caught:
        call(Patience(0.3, 99), [Transient("busy", wait=0.1)] * 99)
    assert 0.25 < monotonic() - start < 3
    assert isinstance(caught.value.__cause__, Transient)
    with pytest.raises(StoreReadError, match="no answer within"):
        call(Patience(0.1, 9), [Transient("come back tomorrow", wait=60.0)])


def test_the_options_stand_in_for_none() -> None:
    with config.set({"async.timeout": 7, "async.retries": 2}):
        assert Patience.of(None, None) == (7.0, 2)
        assert Patience.of(1, 0) == (1.0, 0)
