"""What `explain` says of a read must be what the read does."""

from __future__ import annotations

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import BloscCodec, TransposeCodec
from gpuzarr.storage import CountingStore, MemoryStore


def test_plain_chunks_are_counted_as_they_are_fetched() -> None:
    store = CountingStore(MemoryStore())
    a = gpuzarr.create_array(store, shape=(100, 100), chunks=(30, 100), dtype="f4", compressors=BloscCodec())
    a[...] = 1
    store.keys.clear()
    a[35:95]
    fetched = {key for _, key in store.keys if key.startswith("c/")}
    text = a.explain((slice(35, 95),))
    assert text.splitlines() == [
        "read (60, 100) of (100, 100) float32 on cpu",
        f"  plan    3 chunks of 30x100, 1 waves of at most 2 MiB on {a.device.lanes} lanes",
        "  fetch   CountingStore: 3 whole objects",
        "  decode  blosc@cpu -> bytes@cpu",
        "  place   straight into the destination where a chunk is contiguous there",
    ]
    assert len(fetched) == 3


def test_shards_and_waves() -> None:
    a = gpuzarr.create_array({}, shape=(2048, 2048), chunks=(64, 64), shards=(1024, 1024), dtype="f8")
    with gpuzarr.config.set({"threading.max_workers": 2}):
        text = a.explain((slice(0, 1024), slice(0, 1100)))
    # 16 x 16 inner chunks of the first shard and 16 x 2 of the second; 128 of 32 KiB are a wave.
    assert "288 inner chunks of 64x64 in 2 shards, 4 waves of at most 4 MiB" in text
    assert "byte ranges of 2 shards, after their indexes" in text


@pytest.mark.parametrize("key", [(slice(None, None, -3), 5), ([1, 2], slice(2)), Ellipsis])
def test_any_selection_can_be_explained(key: object) -> None:
    a = gpuzarr.create_array({}, shape=(10, 10), chunks=(3, 3), dtype="i2", filters=[TransposeCodec(order=(1, 0))])
    assert f"read {np.empty((10, 10))[key].shape} of (10, 10) int16" in a.explain(key)  # type: ignore[index]
    assert "zstd@cpu -> bytes@cpu -> transpose@cpu" in a.explain(key)
    assert "by copy" in a.explain(key)


def test_a_view_explains_its_reading() -> None:
    a = gpuzarr.create_array({}, shape=(10, 10), chunks=(5, 5), dtype="i2")
    assert a.lazy[:3].explain() == a.explain(slice(0, 3))
    assert "4 chunks of 5x5" in a.explain()
