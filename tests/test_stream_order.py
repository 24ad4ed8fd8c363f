"""What is queued on a GPU runs later: reading on streams that do nothing before somebody waits for them.

The emulated device's lazy streams do the queued copies, launches and nvCOMP calls in order, at the wait. So a result
that is used before the wait, and host memory that is written again while a copy from it is queued, give wrong values
here, as they might on a GPU on a bad day.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr import devices
from gpuzarr.cache import ChunkCache
from gpuzarr.devices import EmulatedDevice
from gpuzarr.devices.columns import send
from gpuzarr.devices.contract import Lane
from gpuzarr.devices.gpu import GpuLane
from gpuzarr.devices.launches import Area, copy
from gpuzarr.errors import GpuContextLostError
from gpuzarr.storage import LocalStore
from tests import oracle
from tests.test_read import Meddling
from tests.test_reading_on_a_gpu import COMPRESSORS, FIELD, SHAPE, check, make

SMALL = 16 * 24 * 4 * 2  # two chunks a wave: every lane is used again and again


@pytest.fixture
def lazy() -> EmulatedDevice:
    device = EmulatedDevice(streams="lazy")
    device.wave_bytes = SMALL
    return device


def once(device: EmulatedDevice, work: Any) -> Any:
    found: list[Any] = []

    def task(_: int, lane: Lane) -> None:
        found.append(work(lane))

    device.run(task, 1)
    return found[0]


@pytest.mark.parametrize("shards", [None, (32, 48)], ids=["plain", "sharded"])
@pytest.mark.parametrize("codec", COMPRESSORS)
def test_every_codec(lazy: EmulatedDevice, codec: str, shards: tuple[int, ...] | None) -> None:
    check(make(compressors=COMPRESSORS[codec], shards=shards), lazy, seed=len(codec))


def test_files_are_read_into_a_lanes_room_again_and_again(lazy: EmulatedDevice, tmp_path: Any) -> None:
    a = make(LocalStore(tmp_path), chunks=(3, 5))
    lazy.wave_bytes = 3 * 5 * 4
    check(a, lazy, seed=1)
    lazy.lanes = 1
    check(a, lazy, seed=2)


def test_every_selection(lazy: EmulatedDevice, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._devices, "emulated", lazy)
    for seed in range(500, 525):
        oracle.check(seed, 6, str(tmp_path), "emulated")


def test_faults_and_little_memory(lazy: EmulatedDevice) -> None:
    for codec in ("none", "zstd", "blosc-lz4-shuffle", "gzip"):
        a = make(compressors=COMPRESSORS[codec], chunks=(8, 8))
        check(a, EmulatedDevice(streams="lazy", bad_status_rows={0, 3}), seed=10)
        want = a[...].tobytes()
        whole = EmulatedDevice(streams="lazy")
        assert whole.download(a.to_device(whole)[...]).tobytes() == want
        for failing in range(2, whole.allocations + 1):
            tight = EmulatedDevice(streams="lazy", fail_allocation_at=failing)
            assert tight.download(a.to_device(tight)[...]).tobytes() == want


def test_destinations_and_casts(lazy: EmulatedDevice) -> None:
    a = make()
    for dtype in ("f4", "f8", "f2"):
        out = lazy.upload(np.zeros((91, 67), dtype)).T
        a.to_device(lazy).get_basic_selection((slice(None), slice(None)), out=out)
        np.testing.assert_array_equal(lazy.download(out), a[...].astype(dtype))


def test_values_are_whole_when_they_come_down(lazy: EmulatedDevice) -> None:
    a = make()
    there = a.to_device(lazy)
    there[3:50] = there[7:54] * 2
    np.testing.assert_array_equal(a[3:50], make()[7:54] * 2)


def test_threads_read_at_once(lazy: EmulatedDevice) -> None:
    a = make(compressors=COMPRESSORS["blosc-lz4-shuffle"], chunks=(8, 8))
    there, want, wrong = a.to_device(lazy), a[...].tobytes(), list[int]()

    def read(number: int) -> None:
        for _ in range(5):
            if lazy.download(there[...]).tobytes() != want:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- that it would be seen


def test_a_result_before_the_wait_is_not_there(lazy: EmulatedDevice) -> None:
    def work(lane: GpuLane) -> tuple[list[int], list[int]]:
        area, host = lane.area("x", 4), lazy.pinned(4)
        lazy.copy_in(lazy.address(area), np.arange(4, dtype="u1"), lane)
        lazy.copy_out(lazy.address(area), host, lane)
        before = host.tolist()
        lazy.wait(lane)
        return before, host.tolist()

    assert once(lazy, work) == ([0xA5] * 4, [0, 1, 2, 3])


def test_host_memory_that_is_written_too_early_is_seen(lazy: EmulatedDevice) -> None:
    def work(lane: GpuLane) -> list[int]:
        room, _ = lane.room(4)
        area = lane.area("x", 4)
        room[:4] = 1
        lazy.copy_in(lazy.address(area), room[:4], lane)
        room[:4] = 2  # the copy has not run yet
        lazy.wait(lane)
        found: list[int] = area[:4].tolist()
        return found

    assert once(lazy, work) == [2] * 4


def test_a_room_that_grows_leaves_the_old_one_to_its_copy(lazy: EmulatedDevice) -> None:
    def work(lane: GpuLane) -> list[int]:
        room, _ = lane.room(4)
        area = lane.area("x", 4)
        room[:4] = 1
        lazy.copy_in(lazy.address(area), room[:4], lane)
        larger, _ = lane.room(1 << 20)
        larger[:] = 2
        lane.area("x", 1 << 20)  # and the area that is written to is let go of
        lazy.wait(lane)
        found: list[int] = area[:4].tolist()
        return found

    assert once(lazy, work) == [1] * 4


def test_what_is_sent_may_be_changed_at_once(lazy: EmulatedDevice) -> None:
    def work(lane: GpuLane) -> list[int]:
        data, size = np.arange(4, dtype="u1"), np.array([4])
        (at,) = lane.send(data)
        area = lane.area("x", 4)
        table = send(lane, size * 0, size * 0, size)
        copy(lazy, lane, table, 4, Area(at, 4), Area(lazy.address(area), 4))
        data[:], size[:] = 9, 9
        lane.settle()
        found: list[int] = area[:4].tolist()
        return found

    assert once(lazy, work) == [0, 1, 2, 3]


def test_computations_come_behind_what_is_queued(lazy: EmulatedDevice) -> None:
    def work(lane: GpuLane) -> list[int]:
        area = lane.area("x", 4)
        lazy.copy_in(lazy.address(area), np.arange(4, dtype="u1"), lane)
        found: list[int] = (area[:4] + 1).tolist()
        return found

    assert once(lazy, work) == [1, 2, 3, 4]


def test_a_lost_device_does_nothing_more(lazy: EmulatedDevice) -> None:
    host = lazy.pinned(4)

    def work(lane: GpuLane) -> None:
        lazy.copy_out(lazy.address(lane.area("x", 4)), host, lane)
        host[:] = 7
        lazy.lose_context_after = lazy.operations
        lane.settle()

    with pytest.raises(GpuContextLostError):
        once(lazy, work)
    assert host.tolist() == [7] * 4


def test_a_sound_read_waits_once_a_wave_and_once_more_for_its_statuses() -> None:
    """Lanes are what overlaps waves, so a wave may wait for itself, but not for every chunk."""
    waits = []

    class Counting(EmulatedDevice):
        def wait(self, lane: GpuLane) -> None:
            waits.append(lane)
            super().wait(lane)

    device = Counting(streams="lazy")
    for codec, most in (("none", 1), ("zstd", 2), ("blosc-lz4-shuffle", 2)):
        a = gpuzarr.create_array({}, shape=SHAPE, chunks=(8, 8), dtype="f8", compressors=COMPRESSORS[codec])
        a[...] = FIELD
        there = a.to_device(device)
        device.wave_bytes = 8 * 8 * 8 * 30
        waits.clear()
        there[...]
        assert len(waits) <= most * -(-9 * 12 // 30)


def test_a_replaced_shard_is_read_again_in_several_waves(tmp_path: Any) -> None:
    """A room is written again only when the wave before has been sent."""
    store = LocalStore(tmp_path)
    z = gpuzarr.create_array(store, shape=(64,), chunks=(4,), shards=(64,), dtype="i8", compressors=None)
    z[:32] = 7  # the first half of the chunks, so that the second state has another layout
    first = bytes(store.get("c/0"))  # type: ignore[arg-type]
    z[...] = np.arange(64) + 1000
    second = bytes(store.get("c/0"))  # type: ignore[arg-type]
    store.set("c/0", first)
    device = EmulatedDevice(streams="lazy")
    device.wave_bytes, device.lanes = 32, 1
    meddling = Meddling(store)
    there = gpuzarr.open_array(meddling).to_device(device)
    meddling.meddle = lambda read: store.set("c/0", second) if read == 3 else None
    assert device.download(there[...]).tolist() == [n + 1000 for n in range(64)]
    assert meddling.reads > 8  # one wave after another


def test_a_chunk_is_whole_when_it_is_kept(lazy: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds it in the cache reads it on another stream."""
    a, kept = make(compressors=None), list[Any]()
    put, want = ChunkCache.put, a[...]

    def looked_at(cache: ChunkCache, coords: tuple[int, ...], chunk: Any, generation: int) -> None:
        kept.append((coords, chunk._host.copy()))
        put(cache, coords, chunk, generation)

    monkeypatch.setattr(ChunkCache, "put", looked_at)
    a.with_cache(1 << 20).to_device(lazy)[...]
    assert len(kept) == 20
    for (i, j), chunk in kept:
        part = want[16 * i : 16 * i + 16, 24 * j : 24 * j + 24]
        np.testing.assert_array_equal(chunk[: part.shape[0], : part.shape[1]], part)
