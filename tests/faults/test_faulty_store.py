"""Whatever a store does at its Nth operation: the right values or an error of ours, and the old state or the new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import Crc32cCodec, ZstdCodec
from gpuzarr.errors import GpuzarrError
from gpuzarr.storage import LocalStore, MemoryStore
from gpuzarr.storage.contract import Store
from tests.faults.faulty_store import READ_FAULTS, FaultyStore, Schedule
from tests.faults.scenarios import CHUNK, FILL, LAYOUTS, NEW, OLD, is_mixture, same, state_of

CHECKED: dict[str, dict[str, Any]] = {
    "plain": {"compressors": [ZstdCodec(), Crc32cCodec()]},
    "shards": {"compressors": [ZstdCodec(), Crc32cCodec()]},
    "format 2": {"compressor": {"id": "zstd", "level": 1, "checksum": True}},
}


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    def fresh() -> Store:
        if request.param == "memory":
            return MemoryStore()
        fresh.count = getattr(fresh, "count", 0) + 1  # type: ignore[attr-defined]
        return LocalStore(tmp_path / str(fresh.count))  # type: ignore[attr-defined]

    return fresh


def made(store: Store, layout: str) -> None:
    z = gpuzarr.create(
        store=store, path="z", shape=(20,), dtype="i4", fill_value=FILL, **{**LAYOUTS[layout], **CHECKED[layout]}
    )
    z[...] = OLD - 100
    z[...] = OLD


READS: list[Callable[[gpuzarr.Array], Any]] = [
    lambda z: z[...],
    lambda z: z[3:17:2],
    lambda z: z.vindex[[1, 18, 7]],
    lambda z: z.oindex[[True, False] * 10],
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", ["fail", "short", "flip", "stale", "slow"])
def test_reads_give_the_right_values_or_an_error(store: Callable[[], Store], layout: str, fault: Any) -> None:
    inner = store()
    made(inner, layout)
    wants = [read(gpuzarr.open_array(inner, path="z")) for read in READS]
    errors = 0
    for read, want in zip(READS, wants, strict=True):
        for number in range(1, 60):
            schedule = Schedule(fault, number, past={"z/zarr.json": b"{"})
            faulty = FaultyStore(inner, schedule)
            try:
                got = read(gpuzarr.open_array(faulty, path="z"))
            except GpuzarrError:
                errors += 1
            else:
                assert np.array_equal(got, want), (number, got)
            if schedule.count < number:
                break
        assert 2 < number < 60
    assert (errors == 0) == (fault in ("slow",)), errors


def append(store: Store) -> None:
    gpuzarr.open_array(store, path="z").append(NEW[:7])


def partial(store: Store) -> None:
    gpuzarr.open_array(store, path="z")[2:11] = NEW[2:11]


def resize(store: Store) -> None:
    gpuzarr.open_array(store, path="z").resize(6)


def grow(store: Store) -> None:
    gpuzarr.open_array(store, path="z").resize(31)


def attributes(store: Store) -> None:
    gpuzarr.open_array(store, path="z").attrs["a"] = 1


def group(store: Store) -> None:
    gpuzarr.create_group(store, path="g/h", attributes={"a": 1})


def consolidate(store: Store) -> None:
    gpuzarr.open_group(store, mode="a")
    gpuzarr.consolidate_metadata(store)


def replace(store: Store) -> None:
    gpuzarr.create_array(store, name="z", data=NEW, chunks=(CHUNK,), overwrite=True)


ACTS = [append, partial, resize, grow, attributes, group, replace]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("fault", ["fail", "fail from then on", "short"])
def test_changes_are_done_or_not_done(layout: str, act: Any, fault: Any) -> None:
    undisturbed = MemoryStore()
    made(undisturbed, layout)
    before = state_of(undisturbed)
    act(undisturbed)
    after = state_of(undisturbed)
    for number in range(1, 100):
        inner = MemoryStore()
        made(inner, layout)
        schedule = Schedule(fault, number)
        try:
            act(FaultyStore(inner, schedule))
        except GpuzarrError:
            done = False
        else:
            done = True
        found = state_of(inner)
        if done and fault not in READ_FAULTS:
            assert same(found, after), (number, found)
        else:
            assert same(found, before) or same(found, after) or is_mixture(found, before, after), (number, found)
        z = gpuzarr.open_array(inner, path="z")  # and what a failure left is never shown
        want = np.concatenate([z[...], np.full(47 - z.shape[0], z.fill_value, "i4")])
        z.resize(47)
        assert np.array_equal(z[...], want), number
        if schedule.count < number:
            break
    assert 2 < number < 100
