"""Copies, launches and waits of a wave do not grow with its chunks, and little but the stored bytes crosses the bus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpuzarr
from gpuzarr import fetch
from gpuzarr.storage import LocalStore
from tests.bus import CODECS, Counting, cost, stored

MEBIBYTE = 1 << 20
# What our kernels move, in multiples of the decoded bytes; of others it depends on how far the data shrink.
MOVED = {
    "none": 2,
    "zstd": 2,
    "zstd checksum": 3,
    "lz4": 2,
    "gzip": 3,
    "blosc lz4 shuffle": 3,  # and half of its planes do not shrink, so that they are copied
    "blosc zstd bitshuffle": 2,
    "shuffle zstd": 2,
    "big-endian zstd": 2,
    "delta zstd": 5,
    "fixedscaleoffset zstd": 3.5,
    "cast_value zstd": 3.5,
    "scale_offset lz4": 4,
}


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_wave_costs_what_its_bytes_cost(codec: str, sharded: bool) -> None:
    few, many = (cost(codec, MEBIBYTE, chunk << 10, sharded) for chunk in (64, 4))
    for name in ("copies_in", "copies_out", "waits", "launches", "kernels"):
        assert getattr(few, name) == getattr(many, name), name  # 16 chunks and 256
    assert few.more <= 0.005
    assert many.more <= 0.02
    assert few.bytes_out <= 0.01 * MEBIBYTE
    assert few.waits <= 3
    assert few.moved <= 5.05
    assert few.moved == pytest.approx(MOVED.get(codec, few.moved), abs=0.05)


def test_a_filter_costs_no_pass_and_no_memory_of_its_own() -> None:
    assert cost("blosc lz4 shuffle", MEBIBYTE, 1 << 16).kernels == "copy_rows list_streams scatter_filtered"
    assert cost("shuffle zstd", MEBIBYTE, 1 << 16).kernels == "list_streams scatter_filtered"
    most = []
    for codec in ("zstd", "blosc zstd bitshuffle", "shuffle zstd", "big-endian zstd"):
        device = Counting()
        device.download(stored({}, codec, 8 * MEBIBYTE, 1 << 16).to_device(device)[...])
        most.append(device.most_used)
    assert max(most) < most[0] + MEBIBYTE // 2  # decoded chunks take 8


@pytest.mark.parametrize("codec", ["none", "zstd", "blosc lz4 shuffle", "gzip"])
def test_files_of_a_wave_are_one_upload_from_where_they_were_read(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = gpuzarr.create_array(tmp_path, shape=(1 << 18,), chunks=(1 << 12,), **{"dtype": "f4"} | CODECS[codec])
    values = np.cumsum(np.random.default_rng(2).normal(size=a.shape)).astype("f4").round(1)
    values[: 1 << 14] = np.random.default_rng(2).random(1 << 14)  # which does not shrink
    a[:-40000] = values[:-40000]  # and absent chunks
    want = a[...].tobytes()
    got: list[str] = []
    get = LocalStore.get
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "get", lambda self, key, **more: got.append(key) or get(self, key, **more))
        device = Counting()
        there = a.to_device(device)
        assert device.download(there[...]).tobytes() == want
        assert got == []
        nbytes = sum(file.stat().st_size for file in tmp_path.rglob("c/*"))
        assert device.bytes_in <= 1.02 * nbytes + 10_000  # and the tables of 64 chunks
        patch.setattr(fetch, "MOST_PACKED", 200_000)  # less than the wave has: the rest is read by itself
        device = Counting()  # whose lanes have no room yet
        assert device.download(a.to_device(device)[...]).tobytes() == want
        assert len(got) > 3
