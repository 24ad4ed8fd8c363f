"""Arrays before NumPy: every kind of indexing, get and set, on every kind of chunking (`tests/oracle.py`)."""

from __future__ import annotations

import pickle
import tempfile
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.errors import (
    ArrayNotFoundError,
    BoundsCheckError,
    ReadOnlyError,
    SelectionError,
    VindexInvalidSelectionError,
)
from gpuzarr.storage import MemoryStore
from tests.oracle import check, same

SHORT = {"cpu": 100, "emulated": 40, "cuda": 40}  # cases of ten selections each
LONG = 2000
SELECTIONS = 10


def test_every_selection_gives_what_numpy_gives(device: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(SHORT[device]):
            check(seed, SELECTIONS, folder, device)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_every_selection_gives_what_numpy_gives_long(part: int, device: str) -> None:
    per = LONG // 10
    with tempfile.TemporaryDirectory() as folder:
        done = sum(check(10_000 + seed, SELECTIONS, folder, device) for seed in range(part * per, (part + 1) * per))
    assert done == LONG * SELECTIONS // 10


@pytest.fixture
def small(device: str) -> gpuzarr.Array:
    """arange(60) as 6 x 10, in chunks of 4 x 3."""
    z = gpuzarr.create_array({}, name="small", shape=(6, 10), chunks=(4, 3), dtype="i4")
    z[...] = np.arange(60).reshape(6, 10)
    return z.to_device(device)


WRONG: list[tuple[Any, type[Exception]]] = [
    ((6,), BoundsCheckError),
    ((0, -11), BoundsCheckError),
    ((0, 0, 0), SelectionError),
    ((..., ...), SelectionError),
    ((slice(None, None, 0),), SelectionError),
    (("name",), SelectionError),
    ((1.5,), SelectionError),
    ((None,), SelectionError),
    (([0, 99],), BoundsCheckError),
    ((np.zeros(5, bool),), SelectionError),
]


@pytest.mark.parametrize(("key", "error"), WRONG, ids=str)
def test_an_index_that_does_not_fit_is_an_index_error(small: gpuzarr.Array, key: Any, error: type[Exception]) -> None:
    before = small[...]
    with pytest.raises(error):
        small[key]
    with pytest.raises(error):
        small[key] = 1
    with pytest.raises(IndexError):
        small[key]
    assert same(small[...], before)


def test_vindex_takes_no_slices(small: gpuzarr.Array) -> None:
    with pytest.raises(VindexInvalidSelectionError):
        small.vindex[:, [0]]


def test_several_arrays_beside_slices_must_say_what_they_mean() -> None:
    z = gpuzarr.zeros((4, 4, 4), store={}, chunks=(2, 2, 2))
    with pytest.raises(SelectionError, match=r"oindex .* vindex"):
        z[[0, 1], :, [0, 1]]


@pytest.mark.parametrize("value", [np.zeros((2, 10)), np.zeros((6, 9)), [1, 2, 3], np.zeros((1, 2, 6, 10))])
def test_a_value_that_does_not_broadcast_is_refused_and_nothing_is_written(small: gpuzarr.Array, value: Any) -> None:
    before = small[...]
    with pytest.raises(ValueError, match="shape"):
        small[...] = value
    assert same(small[...], before)


def test_out_of_another_shape_is_refused(small: gpuzarr.Array) -> None:
    with pytest.raises(SelectionError, match=r"\(6, 9\)"):
        small.get_basic_selection(..., out=small.device.upload(np.zeros((6, 9), "i4")))


def test_out_of_another_dtype_is_cast_into(small: gpuzarr.Array) -> None:
    out = small.device.upload(np.zeros((6, 10), "f8"))
    small.get_basic_selection(..., out=out)
    assert same(out, np.arange(60.0).reshape(6, 10))
    points = small.device.upload(np.zeros(2, "f8"))
    small.get_coordinate_selection(([1, 5], [2, 9]), out=points)
    assert points.tolist() == [12.0, 59.0]


def test_an_array_is_a_value_even_of_itself(small: gpuzarr.Array) -> None:
    want = np.arange(60, dtype="i4").reshape(6, 10)
    small[:, :5] = small.lazy[:, :4:-1]
    want[:, :5] = want[:, :4:-1].copy()
    assert same(small[...], want)
    other = gpuzarr.array(want.T.copy(), store={}, chunks=(3, 2))
    small[:, :6] = other.lazy[:6]
    want[:, :6] = want.T[:6].copy()
    assert same(small[...], want)


def test_iteration_reads_each_chunk_once(small: gpuzarr.Array) -> None:
    store = gpuzarr.storage.wrappers.CountingStore(small.store)
    z = gpuzarr.open_array(store, path="small", device=small.device)
    store.reset()
    rows = list(z)
    assert len(rows) == len(z) == 6
    assert same(np.stack(rows), small[...])
    assert len([key for _, key in store.keys]) == 8
    assert [block.sum().item() for block in z.blocks] == [
        small[i : i + 4, j : j + 3].sum().item() for i in (0, 4) for j in (0, 3, 6, 9)
    ]


def test_no_axes_no_length() -> None:
    z = gpuzarr.create_array({}, shape=(), dtype="i4")
    for use in (len, iter):
        with pytest.raises(TypeError):
            next(use(z))  # type: ignore[call-overload]
    assert z[()].shape == ()
    assert z.lazy[()].result() == 0
    assert np.asarray(z).shape == ()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("dtype", "value", "kind"),
    [
        ("i4", 3, np.int32),
        (str, "abc", str),
        ("S3", b"abc", np.bytes_),
        ([("a", "i4"), ("b", "f4")], (1, 2.0), np.void),
    ],
)
def test_one_element_alone_is_a_scalar(zarr_format: int, dtype: Any, value: Any, kind: type) -> None:
    z = gpuzarr.create_array({}, shape=(), dtype=dtype, zarr_format=zarr_format)
    z[...] = value
    row = gpuzarr.create_array({}, shape=(3,), chunks=(2,), dtype=dtype, zarr_format=zarr_format)
    row[...] = [value] * 3
    for got in (z[...], z[()], z.get_basic_selection(), row.get_basic_selection(1)):
        assert type(got) is kind
        assert got == np.asarray(value, z.dtype)[()]
    assert row[1].shape == np.asarray(z).shape == z.T.shape == ()
    out = np.zeros((), z.dtype)
    assert row.get_basic_selection(1, out=out) is out


def test_fields_that_are_not_there() -> None:
    z = gpuzarr.create_array({}, shape=(3,), dtype=[("a", "i4"), ("b", "f4")])
    for get in (
        lambda: z["c"],
        lambda: z[["a", "c"]],
        lambda: z.oindex["c", 1],
        lambda: z.get_basic_selection(1, fields="c"),
    ):
        with pytest.raises(SelectionError, match=r"no field 'c'.* 'a', 'b'"):
            get()
    with pytest.raises(SelectionError, match="no field 'c'"):
        z["c"] = 1
    assert z.get_basic_selection(slice(None), fields=("b", "a")).dtype.names == ("b", "a")
    with pytest.raises(SelectionError, match="its fields are: none"):
        gpuzarr.zeros((3,)).get_basic_selection(0, fields="a")


@pytest.mark.parametrize(("shape", "axis"), [((), 0), ((2, 3), 2), ((2, 3), -3)])
def test_no_axis_to_append_along(shape: tuple[int, ...], axis: int) -> None:
    z = gpuzarr.zeros(shape)
    with pytest.raises(SelectionError, match=f"no axis {axis}"):
        z.append(np.ones(shape), axis=axis)
    assert z.shape == shape


def test_keywords_of_zarr_python() -> None:
    small = gpuzarr.array(np.arange(12).reshape(3, 4), chunks=(2, 2), store={})
    points = small[...] > 3
    values = small.get_mask_selection(mask=points)
    small.set_mask_selection(mask=points, value=7)
    assert small[points].tolist() == [7] * len(values)
    assert dict(small.update_attributes(new_attributes={"a": 1}).attrs) == {"a": 1}
    small.resize(new_shape=(2, 3))
    assert small.shape == (2, 3)
    for wrong in ({}, {"new_shape": (1, 1)}):
        with pytest.raises(TypeError, match="once"):
            small.resize(*([(1, 1)] if wrong else []), **wrong)
    again = gpuzarr.Array.open(small.store_path)
    assert (type(again), again.shape) == (gpuzarr.Array, (2, 3))
    with pytest.raises(ArrayNotFoundError):
        gpuzarr.Array.open({})


def test_shards_of_several_shapes() -> None:
    shards: Any = [[20, 40, 60], [50, 50]]
    z = gpuzarr.create_array({}, shape=(120, 100), chunks=(10, 10), shards=shards, dtype="i4")
    with pytest.raises(NotImplementedError, match="rectilinear"):
        z.shards  # noqa: B018
    assert (z.chunks, z.cdata_shape, z.nchunks, z.nchunks_initialized) == ((10, 10), (12, 10), 120, 0)
    assert z.read_chunk_sizes == ((10,) * 12, (10,) * 10)
    assert z.write_chunk_sizes == ((20, 40, 60), (50, 50))
    assert "Shard shape        : <variable>" in str(z.info)
    z[:] = values = np.arange(12_000).reshape(120, 100)
    assert z.nchunks_initialized == 120
    assert "Shards Initialized : 6" in str(z.info_complete())
    assert same(np.stack(list(z)), values.astype("i4"))
    z[20:60, :50] = 0
    assert z.nchunks_initialized == 100  # a shard of 40 x 50 is no longer stored
    assert "Shards Initialized : 5" in str(z.info_complete())


def test_numpy_protocols(small: gpuzarr.Array) -> None:
    assert np.asarray(small, "f4").dtype == "f4"
    assert same(np.asarray(small.lazy[::2]), small[::2])
    with pytest.raises(ValueError, match="copy"):
        np.array(small, copy=False)
    with pytest.raises(ValueError, match="copy"):
        np.array(small.lazy[1:], copy=False)
    assert same(small.astype("f8")[1:3].result(), small[1:3].astype("f8"))


def test_a_lazy_view_knows_its_shape_without_reading(small: gpuzarr.Array) -> None:
    store = gpuzarr.storage.wrappers.CountingStore(small.store)
    z = gpuzarr.open_array(store, path="small", device=small.device)
    store.reset()
    view = z.lazy[1:5, ::-2].oindex[[0, 3], 1:].astype("f8")
    assert (view.shape, view.ndim, view.size, view.nbytes, view.dtype, len(view)) == ((2, 4), 2, 8, 64, "f8", 2)
    assert "(2, 4)" in repr(view)
    assert store.keys == []
    want = np.arange(60.0).reshape(6, 10)[1:5, ::-2][[0, 3], 1:]
    assert same(view.result(), want)
    assert [same(row.result(), w) for row, w in zip(view, want, strict=True)] == [True, True]


def test_a_pickled_array_reads_the_same(tmp_path: Any) -> None:
    z = gpuzarr.create_array(tmp_path, shape=(5, 5), chunks=(2, 2), dtype="f4", config={"order": "F"}, cache_bytes=1000)
    z[...] = np.eye(5)
    again = pickle.loads(pickle.dumps(z))
    assert again == z
    assert same(again[...], z[...])
    assert again[...].flags.f_contiguous
    assert again.cache is not None
    assert again.cache.limit == 1000


def test_a_read_only_array_refuses_every_write() -> None:
    store = MemoryStore()
    gpuzarr.create_array(store, shape=(4,), chunks=(2,), dtype="i4")
    z = gpuzarr.open_array(store, mode="r")
    for write in (
        lambda: z.__setitem__(0, 1),
        lambda: z.resize(3),
        lambda: z.append(np.zeros(1, "i4")),
        lambda: z.attrs.update(a=1),
        lambda: z.lazy[1:].write(0),
    ):
        with pytest.raises(ReadOnlyError):
            write()
    assert sorted(store.list()) == ["zarr.json"]


def test_the_result_has_the_order_that_was_asked_for(small: gpuzarr.Array) -> None:
    f = small.with_config({"order": "F"})
    assert f.device is small.device
    assert f[...].flags.f_contiguous
    assert small[...].flags.c_contiguous
    assert same(f[...], small[...])
    assert same(f.vindex[[[0, 1], [2, 3]], [[4, 5], [6, 7]]], small.vindex[[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
