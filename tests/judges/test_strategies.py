"""zarr-python's own strategies for hypothesis, in both directions: arrays of every data type, codec, chunking and
shape that its developers test it with.

The short form draws 60 arrays; `--long` draws 2,000 in each direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import gpuzarr
from gpuzarr.storage import MemoryStore

zarr = pytest.importorskip("zarr")
strategies = pytest.importorskip("zarr.testing.strategies")

pytestmark = [pytest.mark.judge, pytest.mark.filterwarnings("ignore")]

SHORT, LONG = 60, 2000


@pytest.fixture(autouse=True, scope="module")
def _rectilinear() -> Iterator[None]:
    """zarr-python hides its rectilinear grids behind an option."""
    with zarr.config.set({"array.rectilinear_chunks": True}):
        yield


CHECKS = [  # drawing a whole array is slow, and no fault of the test's
    hypothesis.HealthCheck.too_slow,
    hypothesis.HealthCheck.filter_too_much,
    hypothesis.HealthCheck.data_too_large,
    hypothesis.HealthCheck.large_base_example,
]


def settings(examples: int) -> hypothesis.settings:
    return hypothesis.settings(
        hypothesis.settings.get_profile("short"), max_examples=examples, suppress_health_check=CHECKS
    )


def arrays() -> st.SearchStrategy[Any]:
    """Arrays of zarr-python's, filled by it."""
    names = ("arrays", "sharded_arrays", "rectilinear_arrays")  # the latter two from 3.4 on
    kinds = [getattr(strategies, name)() for name in names if hasattr(strategies, name)]
    return st.one_of(kinds)


def objects_of(array: Any) -> dict[str, bytes]:
    return {key: value.to_bytes() for key, value in array.store_path.store._store_dict.items()}


def equal(got: Any, want: Any) -> bool:
    """The same to the last bit; texts by value."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    if got.dtype.kind in "OT":
        return bool(got.tolist() == want.tolist())
    return got.tobytes() == want.tobytes()


def compare(z: gpuzarr.Array, a: Any, data: st.DataObject) -> None:
    """All of the array, what it says of itself, and parts."""
    want = np.asarray(a[...])
    assert equal(z[...], want)
    assert (z.shape, z.dtype, z.ndim) == (a.shape, a.dtype, a.ndim)
    assert dict(z.attrs) == dict(a.attrs)
    if a.metadata.zarr_format == 3:
        assert z.metadata.dimension_names == a.metadata.dimension_names
    key = data.draw(strategies.basic_indices(shape=a.shape), label="basic")
    assert equal(z[key], np.asarray(want[key], want.dtype))
    if a.ndim:
        theirs, ours = data.draw(strategies.orthogonal_indices(shape=a.shape), label="orthogonal")
        assert equal(z.oindex[theirs], np.asarray(want[ours], want.dtype))
        mask = data.draw(st.just(np.random.default_rng(a.size).random(a.shape) < 0.4))
        assert equal(z.vindex[mask], want[mask])


def documents(objects: dict[str, bytes]) -> dict[str, bytes]:
    return {k: v for k, v in objects.items() if k.rpartition("/")[2] in ("zarr.json", ".zarray", ".zattrs", ".zgroup")}


def as_stored(a: Any) -> Any:
    """The array opened anew: the handle that made it knows which NaN fills it; a document of format 2 does not."""
    return zarr.open_array(a.store_path.store, path=a.path, mode="r+")


def we_read_what_they_write(a: Any, data: st.DataObject) -> None:
    a = as_stored(a)
    z = gpuzarr.open_array(objects_of(a), path=a.path, mode="r")
    compare(z, a, data)
    assert [error for _, error in z.check_chunks() if error is not None] == []


def they_read_what_we_write(a: Any, data: st.DataObject) -> None:
    a = as_stored(a)
    values = np.asarray(a[...])
    ours: dict[str, Any] = dict(documents(objects_of(a)))
    z = gpuzarr.open_array(ours, path=a.path)
    z[...] = values
    store = zarr.storage.MemoryStore(
        {k: zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(bytes(v)) for k, v in ours.items()}
    )
    theirs = zarr.open_array(store, path=a.path, mode="r+")
    assert equal(theirs[...], values)
    assert equal(z[...], values)
    # A part, written by each of us to its own copy, comes to the same.
    key = data.draw(strategies.basic_indices(shape=a.shape), label="written")
    part = values[key].copy()[::-1] if values[key].ndim else values[key]
    z[key] = part
    theirs[key] = part
    assert equal(z[...], theirs[...])


@hypothesis.given(a=arrays(), data=st.data())
@settings(SHORT)
def test_we_read_what_they_write(a: Any, data: st.DataObject) -> None:
    we_read_what_they_write(a, data)


@hypothesis.given(a=arrays(), data=st.data())
@settings(SHORT)
def test_they_read_what_we_write(a: Any, data: st.DataObject) -> None:
    they_read_what_we_write(a, data)


@pytest.mark.long
@hypothesis.given(a=arrays(), data=st.data())
@settings(LONG)
def test_we_read_what_they_write_long(a: Any, data: st.DataObject) -> None:
    we_read_what_they_write(a, data)


@pytest.mark.long
@hypothesis.given(a=arrays(), data=st.data())
@settings(LONG)
def test_they_read_what_we_write_long(a: Any, data: st.DataObject) -> None:
    they_read_what_we_write(a, data)


@hypothesis.given(metadata=strategies.array_metadata())
@settings(SHORT)
def test_their_metadata_is_read_and_written_as_it_is(metadata: Any) -> None:
    """Documents with anything that the specification allows."""
    prototype = zarr.core.buffer.default_buffer_prototype()
    stored = {key: value.to_bytes() for key, value in metadata.to_buffer_dict(prototype).items()}
    store = MemoryStore()
    for key, value in stored.items():
        store.set(key, value)
    z = gpuzarr.open_array(store)
    assert (z.shape, z.dtype) == (metadata.shape, metadata.dtype.to_native_dtype())
    assert dict(z.attrs) == dict(metadata.attributes)
