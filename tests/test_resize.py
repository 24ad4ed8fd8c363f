"""Growing, shrinking and appending: what is cut off stays away, and a failure leaves one shape or the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import Crc32cCodec, ShardingCodec, TransposeCodec
from gpuzarr.errors import MetadataError, StoreWriteError
from gpuzarr.storage import LocalStore, MemoryStore
from gpuzarr.storage.contract import Store
from gpuzarr.storage.wrappers import WrapperStore
from tests.faults.faulty_store import Failing
from tests.oracle import same

KINDS: dict[str, dict[str, Any]] = {
    "plain": {"chunks": (4, 3)},
    "format 2": {"chunks": (4, 3), "zarr_format": 2},
    "format 2, F": {"chunks": (4, 3), "zarr_format": 2, "order": "F"},
    "sharded": {"chunks": (2, 3), "shards": (4, 6)},
    "a codec around shards": {
        "chunks": (4, 6),
        "serializer": ShardingCodec(chunk_shape=(2, 3)),
        "compressors": Crc32cCodec(),
    },
    "rectilinear": {"chunks": [[3, 1, 6], [4, 4, 1]]},
    "rectilinear shards": {"chunks": (2, 3), "shards": [[4, 2, 4], [3, 6]]},
    "a codec around rectilinear shards": {
        "chunks": [[4, 6], [6, 3]],
        "filters": TransposeCodec(order=(1, 0)),
        "serializer": ShardingCodec(chunk_shape=(3, 2)),
    },
}
SHAPE = (10, 9)


def made(kind: str, store: Any = None, **more: Any) -> tuple[gpuzarr.Array, np.ndarray]:
    z = gpuzarr.create_array(
        {} if store is None else store, shape=SHAPE, dtype="i4", fill_value=-1, **KINDS[kind], **more
    )
    values = np.arange(90, dtype="i4").reshape(SHAPE)
    z[...] = values
    return z, values


def resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    out = np.full(shape, -1, "i4")
    common = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, shape, strict=True))
    out[common] = values[common]
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_shrinking_and_growing_again_shows_the_fill_value(kind: str, device: str) -> None:
    z, values = made(kind, device=device)
    for shape in ((7, 9), (7, 5), (9, 9), (1, 1), (10, 9), (0, 9), (10, 9)):
        z.resize(shape)
        values = resized(values, shape)
        assert same(z[...], values), shape
        assert same(gpuzarr.open_array(z.store)[...], values)
    z[...] = 3
    assert same(z[...], np.full(SHAPE, 3, "i4"))


@pytest.mark.parametrize("kind", KINDS)
def test_growing_beyond_and_appending(kind: str, device: str) -> None:
    z, values = made(kind, device=device)
    z.resize(13, 11)
    values = resized(values, (13, 11))
    assert same(z[...], values)
    assert z.append(z.device.upload(np.full((3, 11), 7, "i4"))) == (16, 11)
    values = np.concatenate([values, np.full((3, 11), 7, "i4")])
    assert z.append(np.full((16, 2), 8), axis=1) == (16, 13)
    values = np.concatenate([values, np.full((16, 2), 8, "i4")], axis=1)
    assert z.append(z.device.upload(np.full((16, 1), 9)), axis=-1) == (16, 14)
    values = np.concatenate([values, np.full((16, 1), 9, "i4")], axis=1)
    assert same(z[...], values)
    assert same(gpuzarr.open_array(z.store)[...], values)
    z.shape = (5, 5)
    assert same(z[...], values[:5, :5])


def test_chunks_outside_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    for store in (MemoryStore(), LocalStore(tmp_path)):
        other = gpuzarr.create_array(store, name="ab", shape=(9, 9), chunks=(1, 1), dtype="u1")
        other[...] = 1
        z, _ = made("plain", store, name="a")
        store.set("a/c/notes", b"mine")
        z.resize(4, 4)
        assert sorted(store.list("a")) == ["a/c/0/0", "a/c/0/1", "a/c/notes", "a/zarr.json"]
        assert other[...].sum() == 81
        z.resize(0, 4)
        assert sorted(store.list("a")) == ["a/c/notes", "a/zarr.json"]


def test_a_store_that_cannot_list_is_trimmed_too() -> None:
    class Blind(WrapperStore):
        def __init__(self, store: Store) -> None:
            super().__init__(store)
            self.supports_listing = False

        def list(self, prefix: str = "") -> Any:
            raise AssertionError("cannot list")

    z, values = made("plain", MemoryStore())
    blind = gpuzarr.Array(Blind(z.store), "", z.metadata)
    blind.resize(3, 4)
    assert same(blind[...], values[:3, :4])
    blind.resize(SHAPE)
    assert same(blind[...], resized(values[:3, :4], SHAPE))


def test_a_huge_grid_is_trimmed_by_what_is_stored() -> None:
    z = gpuzarr.create_array({}, shape=(10**12,), chunks=(10,), dtype="u1")
    z[:25] = 1
    z[10**11] = 2
    z.resize(12)
    z.resize(10**12)
    assert z[:30].tolist() == [1] * 12 + [0] * 18
    assert z[10**11] == 0
    assert z.nchunks_initialized == 2


@pytest.mark.parametrize("shape", [(1,), (1, 2, 3), (-1, 2), ("a", 2), (1.5, 2), "ab", None], ids=str)
def test_what_is_no_shape_for_the_array_is_refused(shape: Any) -> None:
    z, values = made("plain")
    with pytest.raises(MetadataError):
        z.resize(shape)
    assert same(gpuzarr.open_array(z.store)[...], values)


@pytest.mark.parametrize("data", [np.zeros(9), np.zeros((2, 8)), np.zeros((1, 2, 9)), 1], ids=str)
def test_what_does_not_fit_is_not_appended(data: Any) -> None:
    z, values = made("plain")
    with pytest.raises(ValueError, match="append"):
        z.append(data)
    assert same(gpuzarr.open_array(z.store)[...], values)


@pytest.mark.parametrize("kind", ["plain", "sharded", "format 2"])
def test_an_append_that_is_cut_short_leaves_the_array_as_it_was(kind: str) -> None:
    for good in range(100):
        z, values = made(kind, MemoryStore())
        failing = gpuzarr.open_array(Failing(z.store, good))
        new = np.full((5, 9), 5, "i4")
        try:
            failing.append(new)
        except StoreWriteError:
            assert same(gpuzarr.open_array(z.store)[...], values), good
            assert failing.shape == SHAPE
            assert same(failing[...], values)
            z.append(new)  # and it can be done again
        assert same(gpuzarr.open_array(z.store)[...], np.concatenate([values, new]))
        if failing.shape != SHAPE:
            break
    assert 2 < good < 20


@pytest.mark.parametrize("kind", ["plain", "sharded", "format 2"])
def test_a_resize_that_is_cut_short_leaves_one_shape_or_the_other(kind: str) -> None:
    for shape in ((3, 9), (5, 4), (12, 12)):
        ended = False
        for good in range(100):
            z, values = made(kind, MemoryStore())
            failing = gpuzarr.open_array(Failing(z.store, good))
            try:
                failing.resize(shape)
                ended = True
            except StoreWriteError:
                pass
            again = gpuzarr.open_array(z.store)
            assert again.shape in (SHAPE, shape)
            assert same(again[...], resized(values, again.shape)), (shape, good)
            if ended:
                break
        assert ended


def test_another_handle_sees_the_new_shape_after_refresh() -> None:
    z, values = made("plain", MemoryStore())
    other = gpuzarr.open_array(z.store)
    z.append(np.zeros((2, 9), "i4"))
    assert other.shape == SHAPE
    assert same(other[...], values)
    assert other.refresh().shape == (12, 9)
    assert other[11, 0] == 0


def test_attributes_survive() -> None:
    z, _ = made("plain")
    z.attrs["a"] = 1
    z.resize(3, 3)
    z.append(np.zeros((1, 3), "i4"))
    assert dict(gpuzarr.open_array(z.store).attrs) == {"a": 1}
