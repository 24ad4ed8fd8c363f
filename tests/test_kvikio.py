"""Files straight to a GPU by KvikIO, and the choice between that and the host: with what stands for KvikIO."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpuzarr
import gpuzarr.cli.machine as doctor
from gpuzarr.cli import main
from gpuzarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec
from gpuzarr.devices import EmulatedDevice, cuda, kvikio
from gpuzarr.devices.emulated_array import EmulatedArray
from gpuzarr.errors import CorruptChunkError, GpuError, GpuTimeoutError, ObjectChangedError
from gpuzarr.options import config
from gpuzarr.storage import LocalStore, MemoryStore

DATA = np.random.default_rng(3).integers(0, 1 << 30, (64, 96)).astype("i4")


class Future:
    """A read that is done when it is asked for the second time, and not before."""

    def __init__(self, fake: FakeKvikio, descriptor: int, array: EmulatedArray, size: int, offset: int) -> None:
        self._of, self._given = fake, (descriptor, array, size, offset)
        self._asked, self.over = 0, False

    def done(self) -> bool:
        self._asked += 1
        if self._asked == 2 and not self._of.hangs:
            descriptor, array, size, offset = self._given
            size -= self._of.short
            array._host[:size] = np.frombuffer(os.pread(descriptor, size, offset), np.uint8)
            self.over = True
        return self.over

    def get(self) -> int:
        assert self.over
        if self._of.fails:
            raise RuntimeError("cuFile: driver says no")
        return self._given[2] - self._of.short


class CuFile:
    """A file that is opened by name."""

    def __init__(self, fake: FakeKvikio, path: str, flags: str) -> None:
        assert flags == "r"
        self._fake, self._descriptor = fake, os.open(path, os.O_RDONLY)
        fake.opened += 1
        self._futures: list[Future] = []
        fake.files.append(self._futures)

    def pread(self, array: EmulatedArray, size: int, offset: int) -> Future:
        assert isinstance(array, EmulatedArray)
        assert array.shape == (size,)
        assert offset + size <= os.fstat(self._descriptor).st_size
        if len(self._fake.reads) == self._fake.refuses:
            raise RuntimeError("cuFile: too many")
        self._fake.reads.append((offset, size))
        if self._fake.before_read is not None:
            self._fake.before_read()
        self._futures.append(Future(self._fake, self._descriptor, array, size, offset))
        return self._futures[-1]

    def close(self) -> None:
        assert all(future.over for future in self._futures)
        os.close(self._descriptor)


class FakeKvikio(SimpleNamespace):
    """The module: `fails`, `short`, `refuses` (a read, by number) and `hangs` are what goes wrong; `files` has each
    one's reads."""

    def __init__(self) -> None:
        super().__init__(opened=0, reads=[], fails=False, short=0, before_read=None)
        self.files: list[list[Future]] = []
        self.hangs, self.refuses = False, -1

    def CuFile(self, path: str, flags: str) -> CuFile:
        return CuFile(self, path, flags)


@pytest.fixture
def fake() -> FakeKvikio:
    return FakeKvikio()


@pytest.fixture
def device(fake: FakeKvikio) -> EmulatedDevice:
    return EmulatedDevice(kvikio=fake, streams="lazy")


@pytest.fixture
def forced() -> Any:
    with config.set({"gpu.file_reads": "kvikio"}):
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUZARR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gpuzarr" / kvikio.CHOICES


def make(path: Any, **more: Any) -> gpuzarr.Array:
    """DATA but for its last rows, which are absent."""
    given: dict[str, Any] = {"chunks": (8, 12), "compressors": None, "fill_value": 5} | more
    a = gpuzarr.create_array(path, shape=DATA.shape, dtype="i4", **given)
    a[:48] = DATA[:48]
    return a


CHAINS: dict[str, dict[str, Any]] = {
    "plain": {},
    "edges": {"chunks": (7, 13)},
    "transposed": {"filters": [TransposeCodec(order=(1, 0))]},
    "sharded": {"shards": (16, 48)},
    "sharded, index first": {
        "chunks": (16, 48),
        "serializer": gpuzarr.codecs.ShardingCodec(chunk_shape=(8, 12), codecs=[BytesCodec()], index_location="start"),
    },
}


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("chain", CHAINS)
def test_files_are_read_straight(chain: str, device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path) -> None:
    a = make(tmp_path / "a", **CHAINS[chain])
    there = a.to_device(device)
    assert "straight by KvikIO" in there.explain()
    for key in (..., (slice(3, 60, 2), slice(None, None, -1)), (5, 7), ([1, 63, 8], slice(20, 40))):
        fake.reads.clear()
        got = device.download(there[key])
        np.testing.assert_array_equal(got, a[key])
        assert fake.reads
    points = np.random.default_rng(0).integers(0, 64, (2, 30))
    np.testing.assert_array_equal(device.download(there.vindex[tuple(points)]), a.vindex[tuple(points)])
    wide = device.upload(np.zeros(DATA.shape))
    there.get_basic_selection(out=wide)
    np.testing.assert_array_equal(device.download(wide), a[...].astype("f8"))


@pytest.mark.usefixtures("forced")
def test_neighbours_in_a_shard_are_one_read(device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path) -> None:
    there = make(tmp_path / "a", shards=(16, 48)).to_device(device)
    there[...]
    shards = 3 * 2  # that are there, each with 2 x 4 inner chunks
    assert fake.opened == len(fake.reads) == shards
    assert sum(size for _, size in fake.reads) == DATA[:48].nbytes


@pytest.mark.usefixtures("forced")
def test_memory_that_runs_out_goes_by_halves(fake: FakeKvikio, tmp_path: Path) -> None:
    a = make(tmp_path / "a", shards=(16, 48))
    whole = EmulatedDevice(kvikio=fake)
    want = whole.download(a.to_device(whole)[...])
    for failing in range(2, whole.allocations + 1):
        tight = EmulatedDevice(kvikio=fake, fail_allocation_at=failing)
        np.testing.assert_array_equal(tight.download(a.to_device(tight)[...]), want)


@pytest.mark.parametrize(
    "more",
    [
        {"compressors": ZstdCodec()},
        {"compressors": Crc32cCodec()},
        {"serializer": BytesCodec(endian="big")},
        {"chunks": [[30, 34], [50, 46]]},
    ],
    ids=["compressed", "checksum", "byte order", "rectilinear"],
)
@pytest.mark.usefixtures("forced")
def test_what_must_be_looked_at_goes_by_the_host(
    more: Any, device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path
) -> None:
    a = make(tmp_path / "a", **more)
    np.testing.assert_array_equal(device.download(a.to_device(device)[...]), a[...])
    assert fake.opened == 0
    assert "KvikIO" not in a.to_device(device).explain()


@pytest.mark.usefixtures("forced")
def test_other_stores_caches_and_the_cpu_go_by_the_host(
    device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path
) -> None:
    for a in (make(MemoryStore()), make(tmp_path / "a").with_cache(1 << 20)):
        np.testing.assert_array_equal(device.download(a.to_device(device)[...]), a[...])
    make(tmp_path / "b")[...]
    assert fake.opened == 0


@pytest.mark.usefixtures("forced")
def test_a_chunk_of_another_size_is_corrupt_as_ever(device: EmulatedDevice, tmp_path: Path) -> None:
    for size in (0, 100, 8 * 12 * 4 + 1):
        a = make(tmp_path / f"{size}")
        (tmp_path / f"{size}" / "c/1/2").write_bytes(bytes(size))
        with pytest.raises(CorruptChunkError, match=r"'c/1/2'.*wrong size"):
            a.to_device(device)[...]


@pytest.mark.usefixtures("forced")
def test_a_shard_that_is_replaced_meanwhile_is_read_by_its_new_index(
    device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path
) -> None:
    a = make(tmp_path / "a", shards=(64, 96))
    there = a.to_device(device)
    there[0, 0]  # now its index is known
    shard = tmp_path / "a" / "c/0/0"
    for number in range(3):
        new = shard.with_name("new")
        other = make(tmp_path / f"other{number}", shards=(64, 96))
        other[:48] = DATA[:48] + number
        new.write_bytes((tmp_path / f"other{number}" / "c/0/0").read_bytes())
        new.replace(shard)
        np.testing.assert_array_equal(device.download(there[:48]), DATA[:48] + number)
    # What is open is read to its end, though it is deleted meanwhile.
    fake.before_read = lambda: shard.unlink(missing_ok=True)
    np.testing.assert_array_equal(device.download(there[:8, :12]), DATA[:8, :12] + 2)
    assert not shard.exists()


def test_the_file_of_another_state_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.set("k", b"12345")
    with store.steady("k") as found:
        assert found is not None
        assert (found.size, os.pread(found.descriptor, 9, 0)) == (5, b"12345")
    with store.steady("absent") as found:
        assert found is None
    version = store.get_ranges("k", [gpuzarr.storage.Span(0, 1)]).version  # type: ignore[union-attr]
    with store.steady("k", version) as found:
        assert found is not None
    store.set("k", b"67890")
    with pytest.raises(ObjectChangedError, match="'k'"), store.steady("k", version):
        raise AssertionError
    (tmp_path / "folder").mkdir()
    with pytest.raises(gpuzarr.errors.GpuzarrError), store.steady("../k"):
        raise AssertionError


# ---- the choice


def test_without_kvikio_the_host_reads(tmp_path: Path) -> None:
    device, a = EmulatedDevice(), make(tmp_path / "a")
    np.testing.assert_array_equal(device.download(a.to_device(device)[...]), a[...])
    assert kvikio.why_not(device) == "KvikIO is not installed: pip install 'gpuzarr[kvikio]'"
    with config.set({"gpu.file_reads": "kvikio"}), pytest.raises(GpuError, match="'kvikio', but KvikIO is not inst"):
        a.to_device(device)[...]
    with config.set({"gpu.file_reads": "fast"}), pytest.raises(ValueError, match="one of auto, kvikio, host"):
        a.to_device(device)[...]


def test_a_kvikio_that_breaks_at_import_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    device = EmulatedDevice()
    monkeypatch.setattr(device, "kvikio", lambda: 1 / 0)
    assert kvikio.why_not(device) == "KvikIO cannot be used: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("trouble", ["fails", "short"])
def test_what_kvikio_does_not_manage_the_host_does(
    trouble: str, device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(fake, trouble, 1)
    a = make(tmp_path / "a", shards=(16, 48))
    monkeypatch.setattr(gpuzarr.devices.kvikio, "choice", lambda device, path: "kvikio")
    monkeypatch.setattr("gpuzarr.fetch_to_gpu.LEAST", 0)
    np.testing.assert_array_equal(device.download(a.to_device(device)[...]), a[...])
    assert fake.opened > 0
    with (
        config.set({"gpu.file_reads": "kvikio"}),
        pytest.raises(GpuError, match=r"KvikIO (failed|read 1 bytes too few)"),
    ):
        a.to_device(device)[...]


@pytest.mark.usefixtures("forced")
def test_a_read_that_has_no_end_has_a_deadline(device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path) -> None:
    there = make(tmp_path, shards=(64, 96)).to_device(device)
    fake.hangs, device.lanes = True, 1
    with config.set({"gpu.timeout": 0.01}), pytest.raises(GpuTimeoutError, match="is lost for this process"):
        there[...]
    (lane,) = device._stuck
    assert fake.files[0] in lane._held  # with the memory that they may still write to
    assert "landed" in lane._areas


@pytest.mark.usefixtures("forced")
def test_no_read_goes_on_where_another_was_refused(device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path) -> None:
    there = make(tmp_path, chunks=(64, 2), shards=(64, 96)).to_device(device)
    there.store.coalesce_gap = 0  # every chunk is a read
    fake.refuses, device.lanes = 2, 1
    with pytest.raises(GpuError, match="KvikIO failed on device 'emulated': cuFile: too many"):
        there[:, ::10]
    assert len(fake.reads) == 2
    assert [future.over for future in fake.files[0]] == [True, True]


def test_the_quicker_way_is_measured_once_and_kept(
    device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(9 << 20))
    small = tmp_path / "small"
    small.write_bytes(bytes(100))
    assert kvikio.choice(device, small) == "host"  # no sample
    assert fake.opened == 0
    times = {"kvikio": 0.0, "host": 1.0}
    monkeypatch.setattr(kvikio, "_quickest", lambda work: (work(), times[work.__name__.removeprefix("by_")])[1])
    assert kvikio.choice(device, big) == "kvikio"
    assert kvikio.choices() == {f"emulated / file system {big.stat().st_dev}": times}
    assert json.loads(own_cache.read_text()) == kvikio.choices()
    times.update(kvikio=2.0)
    assert kvikio.choice(device, small) == "kvikio"  # as was measured
    assert kvikio.retry(device, big) == times
    assert kvikio.choice(device, big) == "host"
    with config.set({"gpu.file_reads": "host"}):
        opened = fake.opened
        assert kvikio.choice(device, big) == "host"
        assert fake.opened == opened
    for nonsense in ("", "[]", '{"a": 1}', '{"a": {"kvikio": "x", "host": 1}}', "\x00"):
        own_cache.write_text(nonsense)
        assert kvikio.choices() == {}


def test_a_trial_reads_what_it_times(device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(9 << 20))
    found = kvikio.retry(device, big)
    assert set(found) == {"kvikio", "host"}
    assert min(found.values()) > 0
    assert fake.reads == [(0, 9 << 20)] * kvikio.ROUNDS


def test_large_uncompressed_shards_are_tried_by_themselves(
    device: EmulatedDevice, fake: FakeKvikio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(3 << 20, dtype="i4").reshape(1024, 3072)
    a = gpuzarr.create_array(tmp_path / "a", data=values, chunks=(256, 512), shards=(1024, 3072), compressors=None)
    monkeypatch.setattr(kvikio, "_quickest", lambda work: (work(), float("kvikio" not in work.__name__))[1])
    there = a.to_device(device)
    assert "whichever is quicker" in there.explain()
    np.testing.assert_array_equal(device.download(there[...]), values)
    trials = [size for start, size in fake.reads if start + size > values.nbytes]
    assert len(trials) == 1  # one, though all lanes ask
    assert sum(size for _, size in fake.reads) == values.nbytes + trials[0]


# ---- the doctor


def test_the_doctor_measures_again_and_says_what_was_found(
    device: EmulatedDevice, tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.retry(str(tmp_path), device) == ""
    (found,) = doctor.examine()["file reads to a GPU"].items()
    assert found[0] == f"emulated / file system {tmp_path.stat().st_dev}"
    assert re.fullmatch(r"(KvikIO|the host, and one copy) \(KvikIO [\d.]+ ms, the host [\d.]+ ms\)", found[1])
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]  # the sample is gone
    assert doctor.retry(str(tmp_path / "absent"), device).startswith(f"no trial in {tmp_path / 'absent'}: ")
    assert doctor.retry(str(tmp_path), EmulatedDevice()).startswith("KvikIO is not installed")
    if cuda.why_not() is not None:
        assert main(["doctor", "--retry", str(tmp_path)]) == 2
        assert "device 'cuda:0' cannot be used" in capsys.readouterr().err


def test_the_doctor_tells_how_kvikio_reads(
    fake: FakeKvikio, monkeypatch: pytest.MonkeyPatch, device: EmulatedDevice
) -> None:
    for compat, said in ((True, "without GPUDirect Storage"), (False, "with GPUDirect Storage")):
        defaults = SimpleNamespace(is_compat_mode_preferred=lambda compat=compat: compat)
        monkeypatch.setitem(sys.modules, "kvikio", fake)
        monkeypatch.setitem(sys.modules, "kvikio.defaults", defaults)
        monkeypatch.setattr(doctor, "get_device", lambda name: device)
        assert f"{said}; for uncompressed files, option gpu.file_reads: auto" in doctor._kvikio(usable=True)
    assert "not used: CUDA does not work" in doctor._kvikio(usable=False)
