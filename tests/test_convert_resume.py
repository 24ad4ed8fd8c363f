"""A conversion that is cut short: what readers see, what is done again, and that the bytes are the same at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import gpuzarr
from gpuzarr.conversion import npy, work
from gpuzarr.conversion import record as notes
from gpuzarr.errors import ConflictError, ContainsNodeError, NodeNotFoundError, ObjectChangedError, StoreError
from gpuzarr.fsck import fsck
from gpuzarr.storage import LocalStore, MemoryStore
from tests.faults.faulty_store import FaultyStore, Schedule

ROOT = Path(__file__).parents[1]
LAYOUT: dict[str, Any] = {"chunks": {"a": (5, 5), "b": (50,)}, "shards": {"a": (10, 10)}, "threads": 2}
LAYOUT["memory_limit"] = 32 << 20
REGIONS = 9 + 2

KILLED = """
import os, signal, sys
import gpuzarr
from gpuzarr.storage import LocalStore
from tests import test_convert_resume as here

class Dying(LocalStore):
    puts = 0

    def set_many(self, items):
        for item in items:
            if self.puts >= int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            self.puts += 1
            super().set_many([item])

here.one_unit_at_a_time()
gpuzarr.convert(sys.argv[1], Dying(sys.argv[2]), **here.LAYOUT)
print("done", flush=True)
"""


def one_unit_at_a_time(put: Any = setattr) -> None:
    """Regions of one shard, though there were room for more; and each is noted, however slow the disk is now."""
    put(work, "LARGEST_REGION", 1)
    put(notes, "_SHARE", 0)


@pytest.fixture(autouse=True)
def _one_unit_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one_unit_at_a_time(monkeypatch.setattr)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An archive with an array of nine shards, of which one is full of the fill value, and one of two chunks."""
    a = np.arange(900.0).reshape(30, 30)
    a[10:20, 10:20] = 0
    np.savez(tmp_path / "a.npz", a=a, b=np.arange(100))
    return tmp_path / "a.npz"


def objects(root: Path) -> dict[str, bytes]:
    store = LocalStore(root)
    return {key: store.get(key) or b"" for key in store.list()}


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a conversion makes that nothing stops."""
    gpuzarr.convert(source, tmp_path / "whole.zarr", **LAYOUT)
    found = objects(tmp_path / "whole.zarr")
    assert len(found) == 8 + 2 + 3
    return found


def kill(source: Path, target: Path, puts: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED, str(source), str(target), str(puts)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("puts", [0, 1, 8, 15, 22, 24])
def test_killed_and_started_again_it_ends_with_the_same_bytes(
    source: Path, whole: dict[str, bytes], tmp_path: Path, puts: int
) -> None:
    done = kill(source, tmp_path / "b.zarr", puts)
    assert done.returncode == -9, done.stderr
    with pytest.raises(NodeNotFoundError):
        gpuzarr.open(tmp_path / "b.zarr", mode="r")
    report = gpuzarr.convert(source, tmp_path / "b.zarr", **LAYOUT, verify=True)
    assert report.regions == REGIONS
    assert report.regions_resumed >= (puts - 4) // 2  # two at work, each a chunk and a note
    assert objects(tmp_path / "b.zarr") == whole
    assert not [name for name in os.listdir(tmp_path / "b.zarr") if name.startswith(".conversion")]


def test_the_kills_reach_from_the_first_object_to_the_last(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    done = kill(source, tmp_path / "b.zarr", 25)
    assert done.stdout == "done\n", done.stderr
    assert objects(tmp_path / "b.zarr") == whole


class Stopped(Exception):
    """What stops a conversion in these tests."""


def cut_short(source: Any, target: Any, after: int, **arguments: Any) -> None:
    """A conversion that is stopped when so many regions are done."""
    seen = 0

    def stop(path: str, nbytes: int, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == after:
            raise Stopped

    with pytest.raises(Stopped):
        gpuzarr.convert(source, target, progress=stop, **{**LAYOUT, "threads": 1, **arguments})


def test_finished_regions_are_not_read_again(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_short(source, tmp_path / "b.zarr", 7)
    reads: list[Any] = []
    found = npy._found

    def counting(path: str, *rest: Any) -> Any:
        array = found(path, *rest)
        object.__setattr__(
            array, "read", lambda region, read=array.read: (reads.append((path, region)), read(region))[1]
        )
        return array

    monkeypatch.setattr(npy, "_found", counting)
    report = gpuzarr.convert(source, tmp_path / "b.zarr", **LAYOUT)
    assert (report.regions, report.regions_resumed, len(reads)) == (REGIONS, 7, REGIONS - 7)
    assert objects(tmp_path / "b.zarr") == whole


def test_finished_regions_are_compared_all_the_same(source: Path, tmp_path: Path) -> None:
    cut_short(source, tmp_path / "b.zarr", 7)
    done = sorted((tmp_path / "b.zarr" / "a" / "c").glob("*/*"))[0]
    done.write_bytes(done.read_bytes()[:-1])
    with pytest.raises(gpuzarr.errors.CorruptChunkError):
        gpuzarr.convert(source, tmp_path / "b.zarr", **LAYOUT, verify=True)


def test_with_another_limit_what_is_cut_otherwise_is_done_again(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_short(source, tmp_path / "b.zarr", 10)  # all of a, and half of b
    monkeypatch.setattr(work, "LARGEST_REGION", 1600)
    report = gpuzarr.convert(source, tmp_path / "b.zarr", **LAYOUT)
    assert report.regions_resumed == 0
    assert objects(tmp_path / "b.zarr") == whole


@pytest.mark.parametrize("change", ["source", "arguments", "not wanted", "damaged note"])
def test_an_unfinished_conversion_of_something_else_is_in_the_way(
    source: Path, whole: dict[str, bytes], tmp_path: Path, change: str
) -> None:
    cut_short(source, tmp_path / "b.zarr", 7)
    arguments = dict(LAYOUT)
    if change == "source":
        os.utime(source, ns=(1, 1))
    elif change == "arguments":
        arguments["compressors"] = None
    elif change == "not wanted":
        arguments["resume"] = False
    else:
        (tmp_path / "b.zarr" / notes.NAME).write_bytes(b"{")
    before = objects(tmp_path / "b.zarr")
    with pytest.raises(ConflictError, match="unfinished conversion"):
        gpuzarr.convert(source, tmp_path / "b.zarr", **arguments)
    assert objects(tmp_path / "b.zarr") == before
    report = gpuzarr.convert(source, tmp_path / "b.zarr", **arguments, overwrite=True)
    assert report.regions_resumed == 0
    if change != "arguments":
        assert objects(tmp_path / "b.zarr") == whole


def test_a_chunk_of_the_source_that_was_changed_is_noticed(source: Path, tmp_path: Path) -> None:
    gpuzarr.convert(source, tmp_path / "a.zarr", compressors=None, **LAYOUT)
    cut_short(tmp_path / "a.zarr", tmp_path / "b.zarr", 7)
    z = gpuzarr.open_array(tmp_path / "a.zarr", path="b")
    z[0] = z[0] + 1  # no size is another
    with pytest.raises(ConflictError, match="unfinished conversion"):
        gpuzarr.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **LAYOUT)

    def change(path: str, nbytes: int, total: int) -> None:
        z[0] = z[0] + 1

    with pytest.raises(ObjectChangedError):
        gpuzarr.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", overwrite=True, progress=change, **LAYOUT)


def test_overwriting_goes_on_too_where_it_was_cut_short(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    gpuzarr.save_array(tmp_path / "b.zarr", np.arange(3))
    cut_short(source, tmp_path / "b.zarr", 7, overwrite=True)
    with pytest.raises(NodeNotFoundError):
        gpuzarr.open(tmp_path / "b.zarr", mode="r")
    report = gpuzarr.convert(source, tmp_path / "b.zarr", **LAYOUT, overwrite=True)
    assert report.regions_resumed == 7
    assert objects(tmp_path / "b.zarr") == whole
    with pytest.raises(ContainsNodeError):
        gpuzarr.convert(source, tmp_path / "b.zarr", **LAYOUT)


def test_after_a_restart_of_the_machine_what_was_not_waited_for_is_done_again(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for durability, resumed in (("rename", 0), ("fsync", 7)):
        root = tmp_path / f"{durability}.zarr"
        (tmp_path / "boot").write_text("one")
        monkeypatch.setattr(notes, "_BOOT", tmp_path / "boot")
        cut_short(source, LocalStore(root, durability=durability), 7)  # type: ignore[arg-type]
        (tmp_path / "boot").write_text("two")
        report = gpuzarr.convert(source, LocalStore(root, durability=durability), **LAYOUT)  # type: ignore[arg-type]
        assert report.regions_resumed == resumed
        assert objects(root) == whole


def test_two_at_once_do_not_meet(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_PATIENCE", 0.05)
    store, refused = MemoryStore(), []

    def meanwhile(path: str, nbytes: int, total: int) -> None:
        if not refused:
            with pytest.raises(ConflictError, match="under way") as caught:
                gpuzarr.convert(source, store, overwrite=True, **LAYOUT)
            refused.append(caught)

    gpuzarr.convert(source, store, progress=meanwhile, **{**LAYOUT, "threads": 1})
    assert len(refused) == 1
    assert gpuzarr.open_group(store, mode="r")["b"][7] == 7


def test_while_it_is_unfinished_its_group_does_not_show_it_and_fsck_does(source: Path, tmp_path: Path) -> None:
    root = gpuzarr.open_group(tmp_path / "b.zarr", mode="w")
    root.create_array("there", data=np.arange(3))
    cut_short(source, tmp_path / "b.zarr", 7, path="new/one")
    group = gpuzarr.open_group(tmp_path / "b.zarr", mode="r")
    assert [path for path, _ in group.members(max_depth=None)] == ["new", "there"]
    found = [finding for finding in fsck(LocalStore(tmp_path / "b.zarr")) if finding.kind == "unfinished"]
    assert [finding.key for finding in found] == [f"new/one/{notes.NAME}"]
    gpuzarr.convert(source, tmp_path / "b.zarr", path="new/one", **LAYOUT)
    assert list(fsck(LocalStore(tmp_path / "b.zarr"))) == []


def test_notes_are_runs_and_cost_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(MemoryStore):
        puts = 0

        def set(self, key: str, value: Any) -> None:
            self.puts += 1
            clock[0] += 1.0
            super().set(key, value)

    clock = [0.0]
    monkeypatch.setattr(notes, "monotonic", lambda: clock[0])
    monkeypatch.setattr(notes, "_SHARE", 50)
    store = Slow()
    record = notes.Record(store, "x", {"a": 1})
    record.done("y", (1, 2))
    for number in [*range(400), 500]:
        clock[0] += 1.0
        record.note("y", number)
    assert 4 <= store.puts <= 12
    record.write()
    document = json.loads(store.get(f"x/{notes.NAME}"))
    assert document["arrays"] == {"y": [[1, 2], [[0, 400], [500, 501]]]}
    again = notes.Record(store, "x", {"a": 1})
    again.take_over(document["arrays"])
    assert again.done("y", (1, 2)) == {*range(400), 500}
    assert again.done("y", (2, 2)) == set()


def test_whatever_operation_fails_it_ends_with_the_same_bytes(source: Path) -> None:
    """Of a store that fails at its Nth operation, and from then on; then it works again."""
    expected = MemoryStore()
    gpuzarr.convert(source, expected, **LAYOUT)
    number, failed = 0, True
    while failed:
        number += 1
        store = MemoryStore()
        faulty = FaultyStore(store, Schedule("fail from then on", number))
        try:
            gpuzarr.convert(source, faulty, **{**LAYOUT, "threads": 1})
        except StoreError:
            if store.get("zarr.json") is not None:  # only what comes after the last document failed
                assert set(store.list()) - set(expected.list()) <= {notes.NAME}
            gpuzarr.convert(source, store, **LAYOUT, overwrite=notes.NAME not in store.list())
        else:
            failed = False
        assert {key: store.get(key) for key in store.list()} == {key: expected.get(key) for key in expected.list()}
    assert number > 30


def test_a_store_on_the_network_takes_notes_too(source: Path) -> None:
    place = f"memory://{uuid.uuid4()}/a.zarr"
    cut_short(source, place, 7)
    report = gpuzarr.convert(source, place, **LAYOUT)
    assert report.regions_resumed == 7
    whole = MemoryStore()
    gpuzarr.convert(source, whole, **LAYOUT)
    found = fsspec.get_mapper(place)
    assert dict(found) == {key: whole.get(key) for key in whole.list()}
