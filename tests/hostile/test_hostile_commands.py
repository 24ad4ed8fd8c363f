"""The commands on hostile stores: they say what is wrong, and end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gpuzarr
from gpuzarr import survey
from gpuzarr.cli import main
from tests.hostile import test_hostile_chunks, test_hostile_metadata
from tests.hostile.bounds import bounded
from tests.hostile.documents import PLAIN, chunked, sharding, v3

GZIP = {"name": "gzip", "configuration": {"level": 5}}
SMALL = 1 << 20  # bytes of a document or chunk that is written to disk here
STORES = {
    f"{i}-{case[0]}": case[1]
    for i, case in enumerate([*test_hostile_metadata.CASES, *test_hostile_chunks.CASES])
    if all(len(value) < SMALL for value in case[1].values())
} | {
    "huge shard of one chunk": chunked([2**40], shape=[2**40], codecs=[sharding([2**38], codecs=[*PLAIN, GZIP])])
    | {"c/0": b"\xff" * 64},
    "large shard without chunks": chunked([2**35], shape=[2**35], codecs=[sharding([2**30])]) | {"c/0": b"\xff" * 512},
    "absent chunks of a vast array": v3(shape=[2**62]),
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them, in directories beside one another."""
    root = tmp_path_factory.mktemp("hostile")
    places = {}
    for number, (name, objects) in enumerate(STORES.items()):
        places[name] = root / str(number)
        for key, value in objects.items():
            (places[name] / key).parent.mkdir(parents=True, exist_ok=True)
            (places[name] / key).write_bytes(value)
    return places


@pytest.mark.parametrize("command", ["info", "verify", "fsck --deep"])
def test_commands_end(command: str, hostile: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for name, place in hostile.items():
        with bounded():
            status = main([*command.split(), str(place)])
        assert status in (0, 1, 2), name
        told = capsys.readouterr()
        assert told.out or told.err, name


@pytest.mark.parametrize("command", ["tree", "tree --json", "verify --json", "fsck", "fsck --json"])
def test_commands_end_on_all_together(
    command: str, hostile: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with bounded(seconds=10):
        assert main([*command.split(), str(next(iter(hostile.values())).parent)]) == 1
    assert capsys.readouterr().out


@pytest.mark.parametrize("slab", [1, 5000, 1 << 28])
def test_a_large_shard_is_verified_slab_by_slab(slab: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SLAB", slab)
    shape = {"shape": (70, 64), "chunks": (8, 8), "shards": (64, 64)}
    a = gpuzarr.create_array(tmp_path, dtype="i4", compressors=None, **shape)
    a[...] = np.arange(70 * 64).reshape(70, 64)
    assert [(key, error) for key, error in a.check_chunks()] == [("c/0/0", None), ("c/1/0", None)]
    shard = bytearray((tmp_path / "c/0/0").read_bytes())
    shard[-20:-4] = b"\xff" * 8 + bytes(8)  # of the last inner chunk
    (tmp_path / "c/0/0").write_bytes(shard)
    (found, error), (_, none) = gpuzarr.open_array(tmp_path).check_chunks()
    assert found == "c/0/0"
    assert isinstance(error, gpuzarr.errors.CorruptChunkError)
    assert none is None


def test_the_chunks_of_a_rectilinear_array_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpuzarr.create_array(tmp_path, shape=(6,), chunks=[[1, 2, 3]], dtype="i4")
    for command in ("info", "tree"):
        assert main([command, "--json", str(tmp_path)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told if command == "info" else told[0])["chunks"] == [[1, 2, 3]]
