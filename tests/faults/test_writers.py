"""Several writers: threads, processes, however they were started; and what happens to the locks of the dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import LockTimeoutError
from gpuzarr.storage import LocalStore
from tests.faults import writers

DEADLINE = 60  # seconds; whatever takes longer hangs


@pytest.fixture(autouse=True)
def no_hang() -> Any:
    def fail(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(600)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("layout", writers.LAYOUTS)
def test_no_write_of_threads_and_processes_is_lost(layout: str, long_form: bool) -> None:
    count, wrong = writers.run(layout, 40_000 if long_form else 600, 2, 3, "fork")
    assert wrong == []
    assert count >= 600


def test_without_locks_writes_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStore, "lock", lambda self, key, timeout=60.0: nullcontext())
    _, wrong = writers.run("plain", 600, 2, 3, "fork")
    assert wrong


def use(root: str, what: str) -> None:
    """What a child does with a store."""
    z = gpuzarr.open_array(LocalStore(root))
    if what == "read":
        assert z[...].sum() >= 0
    else:
        z[:1000] = 1
        z[1] = 5


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("moment", ["before", "after", "during"])
def test_children_read_and_write_however_they_are_started(tmp_path: Path, start: str, moment: str) -> None:
    root = str(tmp_path / "a")
    gpuzarr.create_array(root, shape=(4000,), chunks=(100,), dtype="i4")
    z = gpuzarr.open_array(LocalStore(root))
    if moment != "before":
        z[...] = 2  # the pool of threads is running
    context: Any = multiprocessing.get_context(start)
    children = [context.Process(target=use, args=(root, what)) for what in ("read", "write")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with z.store.lock("c/9") if moment == "during" else nullcontext():
            for child in children:
                child.start()
    for child in children:
        child.join(DEADLINE)
        assert child.exitcode == 0, f"{start}, {moment}: {child.exitcode}"
    assert z[:3].tolist() == [1, 5, 1]
    z[950] = 3
    assert z[950] == 3


def test_a_child_that_is_forked_while_a_chunk_is_locked_waits_for_it(tmp_path: Path) -> None:
    with gpuzarr.config.set({"array.lock_timeout": 0.05}):
        z = gpuzarr.create_array(LocalStore(tmp_path), shape=(4,), chunks=(4,), dtype="i4")
    with z.store.lock("c/0"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if not child:
            try:
                z[1] = 1
            except LockTimeoutError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    z[1] = 2
    assert z[1] == 2


def test_the_lock_of_a_process_that_dies_is_free(tmp_path: Path) -> None:
    z = gpuzarr.create_array(LocalStore(tmp_path), shape=(4,), chunks=(4,), dtype="i4")
    ready, go = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        with z.store.lock("c/0"), z.store.lock("zarr.json"):
            os.write(go, b"1")
            time.sleep(DEADLINE)
        os._exit(0)
    os.read(ready, 1)
    with pytest.raises(LockTimeoutError), z.store.lock("c/0", timeout=0.02):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(go)
    z[1] = 1
    assert z.append(np.ones(2, "i4")) == (6,)
    assert sorted(path.name for path in tmp_path.rglob("*gzlock")) == []


def test_whole_chunks_take_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z = gpuzarr.create_array(LocalStore(tmp_path), shape=(10,), chunks=(4,), dtype="i4")
    monkeypatch.setattr(LocalStore, "lock", None)
    z[...] = 1
    z[4:] = 2
    assert z[...].tolist() == [1] * 4 + [2] * 6
