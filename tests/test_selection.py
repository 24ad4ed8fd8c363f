"""Selections against NumPy, and the odd keys against zarr-python."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gpuzarr import indices
from gpuzarr import selection as sel
from gpuzarr.errors import (
    ArrayIndexError,
    BoundsCheckError,
    NegativeStepError,
    SelectionError,
    VindexInvalidSelectionError,
)
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.selection import Box, Coordinates, Points, Selection, Span
from gpuzarr.views import compose

quick = settings(derandomize=True, database=None, deadline=None, max_examples=200)


def field(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


def take(array: np.ndarray, selection: Selection) -> np.ndarray:
    """What a selection picks, spelled out one index at a time; also checks what a normal form promises."""
    if isinstance(selection, Coordinates):
        for axis, length in zip(selection.indices, array.shape, strict=True):
            check_indices(axis, length)
            assert len(axis) == selection.count
        return array[selection.indices].reshape(selection.shape)
    assert len(selection.axes) == len(selection.flips) == len(selection.dropped) == array.ndim
    lists = []
    for entry, flip, gone, length in zip(selection.axes, selection.flips, selection.dropped, array.shape, strict=True):
        if isinstance(entry, Points):
            check_indices(entry.indices, length)
            assert not flip
            found = entry.indices.tolist()
        else:
            assert type(entry.start) is type(entry.count) is type(entry.step) is int
            assert entry.step >= 1
            assert entry.count >= 0
            found = list(range(entry.start, entry.stop, entry.step))
            assert not found or (found[0] >= 0 and found[-1] < length and entry.stop == found[-1] + 1)
        assert len(found) == entry.count
        assert not gone or entry.count == 1
        lists.append(np.array(found[::-1] if flip else found, np.int64))
    assert selection.full_shape == tuple(map(len, lists))
    assert selection.size == math.prod(selection.full_shape)
    picked = array[np.ix_(*lists)] if lists else array[...]
    return picked.reshape(selection.shape)


def check_indices(indices: np.ndarray, length: int) -> None:
    assert indices.dtype == np.int64
    assert indices.ndim == 1
    assert indices.flags.c_contiguous
    assert not indices.flags.writeable
    assert not indices.size or (indices.min() >= 0 and indices.max() < length)


def one_axis_at_a_time(array: np.ndarray, key: tuple[Any, ...]) -> np.ndarray:
    """Orthogonal indexing by NumPy alone, from the last axis so that dropped axes move nothing."""
    for axis in reversed(range(array.ndim)):
        array = array[(slice(None),) * axis + (key[axis],)]
    return array


def same(expected: np.ndarray, got: np.ndarray) -> None:
    assert np.shape(expected) == got.shape
    assert np.array_equal(expected, got)


# --- random keys ---------------------------------------------------------------------------------------------------

SHAPES = [(), (1,), (7,), (0,), (5, 7), (1, 4), (0, 3), (4, 5, 6), (2, 1, 3, 4)]


def random_integer(rng: random.Random, length: int) -> Any:
    if not length or rng.random() < 0.05:
        return rng.choice([length, -length - 1, length + 5, 2**40])
    at = rng.randrange(-length, length)
    kinds: list[Any] = [int, np.int64, np.int8, lambda value: np.array(value, "<i4")]
    return rng.choice([*kinds, np.uint64] if at >= 0 else kinds)(at)


def random_slice(rng: random.Random, length: int) -> slice:
    def end() -> Any:
        return rng.choice([None, None, rng.randint(-length - 3, length + 3), np.int16(rng.randint(-length, length))])

    return slice(end(), end(), rng.choice([None, None, None, 1, 2, 3, -1, -2, -5, np.int8(2), length + 4, -length - 4]))


def random_array(rng: random.Random, length: int, shape: Any = None) -> Any:
    size = rng.choice([0, 1, 2, 3, 6, 12]) if shape is None else math.prod(shape)
    if not length:
        size = 0 if shape is None else size
    values = [rng.randrange(-length, length) if length else 0 for _ in range(size)]
    kind = rng.random()
    if shape is None and kind < 0.2:
        values.sort()
    if shape is None and kind > 0.9:
        bools = [rng.random() < 0.5 for _ in range(length)]
        return bools if length and rng.random() < 0.5 else np.array(bools, bool)
    if rng.random() < 0.03:
        values = [*values[1:], length]
        shape = None
    if shape is None and kind < 0.6:
        return values
    array = (
        np.array(values, rng.choice(["i1", "i4", ">i8", "i8"])) if shape is None else np.array(values).reshape(shape)
    )
    if array.size and array.min() >= 0 and rng.random() < 0.5:
        array = array.astype(rng.choice(["u1", "u8"]))
    array.flags.writeable = rng.random() < 0.5
    return array


def shortened(rng: random.Random, items: list[Any]) -> Any:
    """The same key as people write it: axes left out, or an Ellipsis somewhere."""
    how = rng.random()
    if how < 0.2 and items:
        items = items[: rng.randrange(len(items))]
    elif how < 0.5:
        at = rng.randint(0, len(items))
        items = [*items[:at], ..., *items[rng.randint(at, len(items)) :]]
    return items[0] if len(items) == 1 and rng.random() < 0.5 else tuple(items)


def judge(array: np.ndarray, expect: Any, door: Any, key: Any) -> Selection | None:
    """The same result as `expect`, or an IndexError from both."""
    try:
        expected = expect()
    except IndexError:
        with pytest.raises(SelectionError):
            door(key, array.shape)
        return None
    selection: Selection = door(key, array.shape)
    same(expected, take(array, selection))
    return selection


def test_basic_is_numpy() -> None:
    rng = random.Random(1)
    errors = 0
    for _ in range(3000):
        array = field(rng.choice(SHAPES))
        items = [rng.choice([random_integer, random_slice, random_slice])(rng, length) for length in array.shape]
        key = shortened(rng, items)
        errors += judge(array, lambda a=array, k=key: np.asarray(a[k]), sel.basic, key) is None
        assert judge(array, lambda a=array, k=key: np.asarray(a[k]), sel.index, key) is None or sel.index(
            key, array.shape
        ) == sel.basic(key, array.shape)
        judge(array, lambda a=array, k=key: np.asarray(a[k]), sel.orthogonal, key)
    assert 100 < errors < 1500


def test_orthogonal_is_numpy_one_axis_at_a_time() -> None:
    rng = random.Random(2)
    kinds: set[type] = set()
    errors = 0
    for _ in range(3000):
        array = field(rng.choice(SHAPES))
        makers = [random_integer, random_slice, random_array, random_array]
        key = tuple(rng.choice(makers)(rng, length) for length in array.shape)
        whole = tuple(np.array(item, int) if isinstance(item, list) and not item else item for item in key)
        found = judge(array, lambda a=array, k=whole: np.asarray(one_axis_at_a_time(a, k)), sel.orthogonal, key)
        errors += found is None
        kinds.update(type(entry) for entry in found.axes) if isinstance(found, Box) else None
    assert kinds == {Span, Points}
    assert 50 < errors < 1500


def test_coordinates_are_numpy() -> None:
    rng = random.Random(3)
    errors = 0
    for _ in range(2000):
        array = field(rng.choice([shape for shape in SHAPES if shape]))
        shape = rng.choice([(3,), (1,), (2, 3), (2, 1, 2), (0,), (2, 0)])
        key = []
        for length in array.shape:
            narrow = tuple(rng.choice([n, n, 1]) for n in shape)[rng.randint(0, len(shape) - 1) :]
            use_integer = rng.random() < 0.2
            key.append(random_integer(rng, length) if use_integer else random_array(rng, length, narrow))
        items = tuple(key)
        widened = tuple(np.atleast_1d(item) for item in items)  # integers alone give one point, as in zarr-python

        def expect(a: np.ndarray = array, k: Any = widened) -> np.ndarray:
            return np.asarray(a[k])

        found = judge(array, expect, sel.coordinate, items)
        errors += found is None
        if found is not None:
            assert sel.vindex(items, array.shape) == found
    assert 50 < errors < 1500


def test_masks_are_numpy() -> None:
    rng = np.random.default_rng(4)
    for shape in [shape for shape in SHAPES if shape] * 20:
        array = field(shape)
        mask = rng.random(shape) < rng.choice([0, 0.1, 0.5, 1])
        for door in (sel.mask, sel.vindex, sel.index):
            same(array[mask], take(array, door(mask, shape)))
            same(array[mask], take(array, door((mask,), shape)))
        if mask.size:
            same(array[mask], take(array, sel.vindex(mask.tolist(), shape)))


@quick
@given(st.data())
def test_basic_hypothesis(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    key = data.draw(npst.basic_indices(shape, allow_newaxis=False, allow_ellipsis=True))
    array = field(shape)
    same(np.asarray(array[key]), take(array, sel.index(key, shape)))


@quick
@given(st.data())
def test_coordinates_hypothesis(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9))
    key = data.draw(npst.integer_array_indices(shape, result_shape=npst.array_shapes(min_dims=1, max_dims=3)))
    array = field(shape)
    same(array[key], take(array, sel.index(key, shape)))
    same(array[key], take(array, sel.vindex(key, shape)))


# --- the rule of z[...] --------------------------------------------------------------------------------------------


def test_index_single_array_is_orthogonal() -> None:
    array = field((4, 5, 6))
    # As in zarr-python, and unlike NumPy, the result's axes keep the order of the array's.
    same(array[0][:, [1, 2]], take(array, sel.index((0, slice(None), [1, 2]), array.shape)))
    for key in (
        [2, 0],
        (slice(None), [2, 0]),
        (..., [5, 0]),
        ([True, False, True, False], slice(1, 3)),
        (np.int64(1), [3, 1]),
        np.array([True, False, True, True]),
        range(3, 0, -2),
        [],
    ):
        found = sel.index(key, array.shape)
        assert isinstance(found, Box)
        same(array[key], take(array, found))


def test_index_several_arrays_are_points_unless_one_is_bool() -> None:
    array = field((4, 5))
    assert isinstance(sel.index(([0, 1], [2, 3]), (4, 5)), Coordinates)
    same(array[[[0], [1]], [1, 2]], take(array, sel.index(([[0], [1]], [1, 2]), (4, 5))))
    bools = np.array([True, False, True, False])
    same(array[np.ix_(bools, [0, 3, 3])], take(array, sel.index((bools, [0, 3, 3]), (4, 5))))
    same(field((9,))[[[1, 2], [3, 4]]], take(field((9,)), sel.index([[1, 2], [3, 4]], (9,))))


@pytest.mark.parametrize(
    "key",
    [
        ([0, 1], slice(None), [1, 2]),
        ([0, 1], [1, 2]),
        (slice(None), [0], [0]),
        (np.ones(4, bool), np.ones(5, bool), 0),
        np.ones((4, 5), bool),
        (np.ones((4, 5), bool), slice(None)),
        np.ones((4, 5, 5), bool),
        ([[0, 1]], slice(None)),
    ],
    ids=str,
)
def test_index_refuses_what_has_two_meanings(key: Any) -> None:
    with pytest.raises(SelectionError):
        sel.index(key, (4, 5, 6))


# --- normal form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "span", "flip"),
    [
        (slice(None), Span(0, 10, 1), False),
        (slice(None, None, -1), Span(0, 10, 1), True),
        (slice(8, 1, -3), Span(2, 3, 3), True),
        (slice(1, 9, 4), Span(1, 2, 4), False),
        (slice(3, 4, 7), Span(3, 1, 1), False),
        (slice(3, 2, -7), Span(3, 1, 1), False),
        (slice(5, 5), Span(0, 0, 1), False),
        (slice(9, 2), Span(0, 0, 1), False),
        (slice(100, None), Span(0, 0, 1), False),
        (slice(True, 3), Span(1, 2, 1), False),
        (slice(None, None, True), Span(0, 10, 1), False),
        ([4, 6, 8], Span(4, 3, 2), False),
        (np.arange(2, 7), Span(2, 5, 1), False),
        (range(1, 10, 3), Span(1, 3, 3), False),
        ([7], Span(7, 1, 1), False),
        ([], Span(0, 0, 1), False),
        ([False] * 3 + [True] * 4 + [False] * 3, Span(3, 4, 1), False),
        ([-3, -2, -1], Span(7, 3, 1), False),
    ],
)
def test_one_axis(key: Any, span: Span, flip: bool) -> None:
    assert sel.orthogonal(key, (10,)) == Box((span,), (flip,), (False,))


@pytest.mark.parametrize("key", [[3, 2, 1], [1, 1], [1, 2, 4], [1, 3, 2, 4], range(5, 2, -1)])
def test_uneven_arrays_stay_points(key: Any) -> None:
    (entry,) = sel.orthogonal((key,), (10,)).axes
    assert entry == Points(np.array(key))
    assert entry != Points(np.array([9, 9]))
    assert entry != Span(1, 2, 1)
    assert hash(entry) == hash(Points(np.array(key)))


def test_integers_are_dropped_and_arrays_are_not() -> None:
    found = sel.orthogonal((3, [3], slice(3, 4)), (10, 10, 10))
    assert found.dropped == (True, False, False)
    assert found.shape == (1, 1)
    assert found.full_shape == (1, 1, 1)
    assert found.size == 1


def test_scalars() -> None:
    for key in ((), ...):
        for door in (sel.basic, sel.orthogonal, sel.index):
            assert door(key, ()) == Box((), (), ())
    assert sel.basic((), ()).size == 1
    assert sel.basic((), ()).shape == ()
    assert sel.index((1, np.array(2)), (3, 4)).shape == ()
    assert sel.index(np.array(2), (3, 4)).shape == (4,)
    assert sel.vindex((1, 2), (3, 4)).shape == (1,)
    assert sel.vindex((1, np.array(2)), (3, 4)).shape == (1,)


def test_stop_of_spans() -> None:
    assert Span(3, 4, 5).stop == 19
    assert Span(3, 1, 1).stop == 4
    assert Span(0, 0, 1).stop == 0


def test_equality_of_coordinates() -> None:
    points = sel.coordinate(([1, 2], [3, 4]), (5, 5))
    assert points == sel.coordinate(([-4, -3], [3, 4]), (5, 5))
    assert hash(points) == hash(sel.coordinate(([-4, -3], [3, 4]), (5, 5)))
    assert points != sel.coordinate(([1, 2], [3, 3]), (5, 5))
    assert points != sel.coordinate(([[1, 2]], [[3, 4]]), (5, 5))
    assert points != sel.coordinate([1, 2], (5,))
    assert points != sel.basic((), (5, 5))


def test_a_selection_is_its_own() -> None:
    """What was checked cannot change under the reader, and the caller's arrays are left as they were."""
    mine = np.array([4, 2, -1])
    axis = sel.orthogonal(mine, (5,)).axes[0]
    points = sel.coordinate((mine, mine), (5, 5))
    assert mine.tolist() == [4, 2, -1]
    mine[:] = 99
    assert isinstance(axis, Points)
    assert axis.indices.tolist() == [4, 2, 4]
    assert [indices.tolist() for indices in points.indices] == [[4, 2, 4]] * 2


def test_huge_axes() -> None:
    length = 2**62
    assert sel.basic(slice(1, None, 2), (length,)).axes[0] == Span(1, length // 2, 2)
    assert sel.basic(slice(None, None, -1), (length,)).flips == (True,)
    assert sel.orthogonal([-1], (length,)).axes[0] == Span(length - 1, 1, 1)
    assert sel.coordinate([0, -1], (length,)).indices[0].tolist() == [0, length - 1]


def test_plain_keys_never_touch_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sel, "np", None)
    monkeypatch.setattr(indices, "np", None)
    assert sel.basic((slice(1, 3), -1, ...), (4, 5, 6)).shape == (2, 6)
    assert sel.index((slice(1, 3), -1, ...), (4, 5, 6)).shape == (2, 6)


# --- errors --------------------------------------------------------------------------------------------------------

ALL_DOORS = [sel.basic, sel.orthogonal, sel.coordinate, sel.vindex, sel.index]


@pytest.mark.parametrize("door", ALL_DOORS)
@pytest.mark.parametrize(
    "item", [True, np.True_, np.array(True), 1.0, np.float32(1), None, "a", 1j, object(), b"1", {}, int, np.float32]
)
def test_not_an_index(door: Any, item: Any) -> None:
    for key in (item, (item,), (0, item)):
        with pytest.raises(SelectionError):
            door(key, (3, 3) if isinstance(key, tuple) and len(key) == 2 else (3,))


@pytest.mark.parametrize("door", [sel.orthogonal, sel.coordinate, sel.vindex, sel.index])
@pytest.mark.parametrize(
    "item",
    [[1.0], np.array([1.0]), ["a"], [None], [[1], [1, 2]], np.array([], float), [2**70], np.array([1], object)],
    ids=repr,
)
def test_not_an_index_array(door: Any, item: Any) -> None:
    with pytest.raises(SelectionError):
        door((item,), (3,))


@pytest.mark.parametrize("door", [sel.orthogonal, sel.coordinate, sel.vindex, sel.index])
@pytest.mark.parametrize(
    ("item", "worst"),
    [
        ([0, 5], 5),
        ([-6, 0], -6),
        (np.array([-6, 2], "i1"), -6),
        (np.array([2**64 - 1], "u8"), 2**64 - 1),
        (np.array([2**64 - 1, 1], "u8"), 2**64 - 1),
        (np.array([200], "u1"), 200),
        (range(3, 7), 6),
    ],
)
def test_arrays_out_of_bounds(door: Any, item: Any, worst: int) -> None:
    with pytest.raises(BoundsCheckError, match=rf"{worst} is out of bounds for axis 0 with size 5"):
        door((item,), (5,))


@pytest.mark.parametrize("at", [5, -6, np.int64(5), np.uint64(2**63), 2**70])
def test_integers_out_of_bounds(at: Any) -> None:
    for door in (sel.basic, sel.orthogonal, sel.index, sel.coordinate):
        with pytest.raises(BoundsCheckError, match=rf"{int(at)} is out of bounds for axis 1 with size 5"):
            door((0, at), (9, 5))


def test_errors_say_what_is_wrong() -> None:
    cases: list[tuple[Any, Any, tuple[int, ...], type[Exception], str]] = [
        (sel.basic, (0, 0, 0), (3, 3), SelectionError, "too many indices: expected at most 2 .* got 3"),
        (sel.basic, 0, (), SelectionError, "too many indices"),
        (sel.basic, (..., ...), (3, 3), SelectionError, "single Ellipsis"),
        (sel.index, (..., [1], ...), (3, 3), SelectionError, "single Ellipsis"),
        (sel.index, (None, 0, 0), (3, 3), SelectionError, "newaxis"),
        (sel.index, (None, 0), (3, 3), SelectionError, "newaxis"),
        (sel.basic, [1, 2], (3,), ArrayIndexError, "oindex or vindex"),
        (sel.basic, slice(0, 3, 0), (3,), NegativeStepError, "zero"),
        (sel.basic, slice(0.0, 3), (3,), SelectionError, "slices take integers"),
        (sel.orthogonal, [[1]], (3,), ArrayIndexError, "1-D"),
        (sel.orthogonal, [True], (3,), ArrayIndexError, "length 3, got 1"),
        (sel.coordinate, ([1],), (3, 3), VindexInvalidSelectionError, "each of the 2 axes, got 1"),
        (sel.coordinate, (), (), VindexInvalidSelectionError, "each of the 0 axes"),
        (sel.coordinate, (slice(None), [1]), (3, 3), VindexInvalidSelectionError, "use oindex"),
        (sel.vindex, ..., (3,), VindexInvalidSelectionError, "use oindex"),
        (sel.coordinate, ([True, False, True], [1]), (3, 3), VindexInvalidSelectionError, "mask is one bool array"),
        (sel.coordinate, ([1, 2], [0, 1, 2]), (3, 3), ArrayIndexError, "do not broadcast"),
        (sel.mask, np.ones(4, bool), (3,), VindexInvalidSelectionError, r"shape \(3,\), got bool of shape \(4,\)"),
        (sel.mask, [1, 0, 1], (3,), VindexInvalidSelectionError, "int64"),
        (sel.mask, True, (), ArrayIndexError, "expected a bool array"),
        (sel.vindex, np.ones(3, bool), (3, 3), VindexInvalidSelectionError, "expected a bool array of shape"),
    ]
    for door, key, shape, error, words in cases:
        with pytest.raises(error, match=words):
            door(key, shape)
        assert issubclass(error, IndexError)


# --- blocks --------------------------------------------------------------------------------------------------------


@dataclass
class Edges:
    edges: list[int]

    def bounds(self, chunk: int) -> tuple[int, int]:
        return self.edges[chunk], self.edges[chunk + 1]


@dataclass
class Grid:
    """Any chunk edges; the last chunk may reach beyond the array."""

    shape: tuple[int, ...]
    edges: list[list[int]]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(edges) - 1 for edges in self.edges)

    def axis(self, axis: int) -> Edges:
        return Edges(self.edges[axis])


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (0, np.s_[0:2, 0:7]),
        ((0, 1), np.s_[0:2, 3:6]),
        ((-1, -1), np.s_[4:5, 6:7]),
        (np.int8(1), np.s_[2:4, 0:7]),
        (slice(1, None), np.s_[2:5, :]),
        (slice(1, 99), np.s_[2:5, :]),
        ((..., 1), np.s_[:, 3:6]),
        ((slice(-2, -1), slice(0, 2, 1)), np.s_[2:4, 0:6]),
        (slice(2, 1), np.s_[0:0, :]),
        (slice(0, -9), np.s_[0:0, :]),
        (..., np.s_[:, :]),
        ((), np.s_[:, :]),
    ],
    ids=str,
)
def test_blocks(key: Any, expected: Any) -> None:
    grid = Grid((5, 7), [[0, 2, 4, 6], [0, 3, 6, 9]])
    same(field((5, 7))[expected], take(field((5, 7)), sel.block(key, grid)))


def test_blocks_of_uneven_chunks() -> None:
    grid = Grid((10,), [[0, 1, 5, 10]])
    assert [sel.block(at, grid).axes[0] for at in range(3)] == [Span(0, 1, 1), Span(1, 4, 1), Span(5, 5, 1)]
    assert sel.block(slice(1, 3), grid).axes[0] == Span(1, 9, 1)


def test_blocks_of_our_grids() -> None:
    regular = RegularGrid((5, 7), (2, 3))
    same(field((5, 7))[4:5, 6:7], take(field((5, 7)), sel.block((-1, -1), regular)))
    same(field((5, 7))[2:5, :], take(field((5, 7)), sel.block(slice(1, None), regular)))
    uneven = RectilinearGrid((5, 7), (((1, 1), (4, 1)), 3))
    same(field((5, 7))[1:5, 3:6], take(field((5, 7)), sel.block((1, 1), uneven)))
    assert sel.block((), RegularGrid((0, 3), (2, 2))).shape == (0, 3)


@pytest.mark.parametrize("key", [3, -4, slice(3, 9), slice(-9, None), (0, 3)], ids=str)
def test_blocks_out_of_bounds(key: Any) -> None:
    with pytest.raises(BoundsCheckError, match="block index"):
        sel.block(key, Grid((5, 7), [[0, 2, 4, 6], [0, 3, 6, 9]]))


@pytest.mark.parametrize("key", [slice(0, 2, 2), slice(None, None, -1), [0], True, None, 1.0, slice(1.0, 2), (0, 0, 0)])
def test_blocks_refused(key: Any) -> None:
    with pytest.raises(SelectionError):
        sel.block(key, Grid((5, 7), [[0, 2, 4, 6], [0, 3, 6, 9]]))


def test_blocks_of_nothing() -> None:
    grid = Grid((0, 3), [[0], [0, 2, 4]])
    assert sel.block(slice(None), grid).shape == (0, 3)
    assert sel.block((), Grid((), [])) == Box((), (), ())
    with pytest.raises(BoundsCheckError):
        sel.block(0, grid)


# --- fields --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "fields", "rest"),
    [
        ("a", "a", ()),
        (["a", "b"], ["a", "b"], ()),
        (["a"], ["a"], ()),
        (("a", 1), "a", (1,)),
        ((1, "a"), "a", (1,)),
        ((1, "a", slice(2)), "a", (1, slice(2))),
        (("a", "b"), ["a", "b"], ()),
        (("a", "b", 0), ["a", "b"], (0,)),
        ((["a"], 0), ["a"], (0,)),
        ((["a", "b"], 0), ["a", "b"], (0,)),
        ((0, 1), None, (0, 1)),
        ([0, 1], None, [0, 1]),
        ([], None, []),
        (..., None, ...),
    ],
    ids=str,
)
def test_split_fields(key: Any, fields: Any, rest: Any) -> None:
    assert sel.split_fields(key) == (fields, rest)


def test_split_fields_leaves_arrays_alone() -> None:
    mask = np.ones((2, 2), bool)
    assert sel.split_fields(mask) == (None, mask)
    fields, rest = sel.split_fields((mask, "a"))
    assert fields == "a"
    assert rest[0] is mask
    assert isinstance(sel.index(rest, (2, 2)), Coordinates)


# --- views of views ------------------------------------------------------------------------------------------------


def random_selection(rng: random.Random, shape: tuple[int, ...]) -> Selection:
    while True:
        kind = rng.random()
        try:
            if kind < 0.5:
                makers = [random_integer, random_slice, random_slice, random_slice]
                return sel.basic(tuple(rng.choice(makers)(rng, length) for length in shape), shape)
            if kind < 0.75:
                makers = [random_slice, random_array, random_integer]
                return sel.orthogonal(tuple(rng.choice(makers)(rng, length) for length in shape), shape)
            if kind < 0.85 and shape:
                return sel.mask(np.array([rng.random() < 0.5 for _ in range(math.prod(shape))]).reshape(shape), shape)
            if shape:
                points = rng.choice([(3,), (2, 3), (1,), (5, 1)])
                return sel.coordinate(tuple(random_array(rng, length, points) for length in shape), shape)
        except IndexError:
            continue


def test_compose_is_numpy_twice() -> None:
    rng = random.Random(5)
    pairs: dict[tuple[type, type], int] = {}
    for _ in range(3000):
        array = field(rng.choice([*SHAPES, (9, 11), (13,)]))
        outer = random_selection(rng, array.shape)
        once = take(array, outer)
        inner = random_selection(rng, once.shape)
        found = compose(outer, inner)
        assert found.shape == inner.shape
        assert found.size == inner.size
        same(take(once, inner), take(array, found))
        assert isinstance(found, Box) == (isinstance(outer, Box) and isinstance(inner, Box))
        pair = (type(outer), type(inner))
        pairs[pair] = pairs.get(pair, 0) + 1
        third = random_selection(rng, found.shape)
        same(take(take(once, inner), third), take(array, compose(found, third)))
        same(take(take(once, inner), third), take(array, compose(outer, compose(inner, third))))
    assert len(pairs) == 4
    assert min(pairs.values()) > 100


@quick
@given(st.data())
def test_compose_of_slices_is_slices(data: st.DataObject) -> None:
    array = field(data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=12)))
    outer = sel.basic(data.draw(npst.basic_indices(array.shape, allow_newaxis=False)), array.shape)
    once = take(array, outer)
    inner = sel.basic(data.draw(npst.basic_indices(once.shape, allow_newaxis=False)), once.shape)
    found = compose(outer, inner)
    assert isinstance(found, Box)
    assert all(isinstance(entry, Span) for entry in found.axes)
    same(take(once, inner), take(array, found))


def test_compose_examples() -> None:
    shape = (20,)
    backwards = sel.basic(slice(None, None, -1), shape)
    assert compose(backwards, backwards) == sel.basic((), shape)
    assert compose(backwards, sel.basic(slice(2, 9, 3), shape)) == sel.basic(slice(17, 10, -3), shape)
    evens = sel.basic(slice(None, None, 2), shape)
    assert compose(evens, sel.basic(slice(1, None, 3), (10,))) == sel.basic(slice(2, None, 6), shape)
    assert compose(evens, sel.basic(-1, (10,))) == sel.basic(18, shape)
    scattered = sel.orthogonal([5, 0, 5, 9], shape)
    assert compose(scattered, sel.basic(slice(None, None, -1), (4,))) == sel.orthogonal([9, 5, 0, 5], shape)
    assert compose(scattered, sel.basic(slice(1, 3), (4,))) == sel.orthogonal([0, 5], shape)
    assert compose(scattered, sel.basic(0, (4,))) == sel.basic(5, shape)


def test_compose_refuses_another_rank() -> None:
    with pytest.raises(SelectionError, match="inner selection is of 2 axes, but the outer one gives 1"):
        compose(sel.basic((0,), (3, 3)), sel.basic((0, 0), (3, 3)))


# --- zarr-python ---------------------------------------------------------------------------------------------------

A = np.array
MASK = np.arange(35).reshape(5, 7) % 3 == 0

# Key by door: both must give the same result, or both an IndexError.
AGREED: dict[str, list[tuple[tuple[int, ...], Any]]] = {
    "index": [
        ((7,), A([], int)),
        ((7,), A([1.0])),
        ((7,), [1, 2]),
        ((7,), [1]),
        ((7,), [True, False, True, True, False, False, True]),
        ((7,), [True] * 6),
        ((7,), A([True] * 7)),
        ((7,), A([True] * 6)),
        ((7,), A([[0, 1], [2, 3]])),
        ((7,), (A([1, 2]),)),
        ((7,), (slice(10, 20),)),
        ((7,), slice(-100, 100, 3)),
        ((7,), np.uint8(3)),
        ((7,), A([2**64 - 1], "u8")),
        ((7,), 7),
        ((7,), -8),
        ((7,), [7]),
        ((7,), [-8]),
        ((7,), 1.0),
        ((7,), True),
        ((7,), None),
        ((7,), (0, 0)),
        ((7,), (..., ...)),
        ((5, 7), [0, 1]),
        ((5, 7), A([0, 1])),
        ((5, 7), (A([0, 1]),)),
        ((5, 7), ([0, 1], [1, 2])),
        ((5, 7), ([0], [1, 2])),
        ((5, 7), (0, [1, 2])),
        ((5, 7), (0, [1])),
        ((5, 7), (A([[0], [1]]), A([1, 2]))),
        ((5, 7), (slice(None), [0, 1])),
        ((5, 7), ([True] * 5, [0, 1])),
        ((5, 7), (A([True, False] * 2 + [True]), slice(None))),
        ((5, 7), [True, False, True, False, True]),
        ((5, 7), MASK),
        ((5, 7), (MASK,)),
        ((5, 7), (np.int64(0), [1, 2])),
        ((5, 7), (0, ..., 0)),
        ((5, 7), (0, 0, ...)),
        ((5, 7), (0, 0, 0)),
        ((5, 7), (0, 0, 0, ...)),
        ((4, 5, 6), (0, slice(None), [1, 2])),
        ((4, 5, 6), (0, [1, 2])),
        ((4, 5, 6), (0, [1, 2], [2, 3])),
        ((4, 5, 6), (0, [1, 2], 3)),
        ((4, 5, 6), ([0, 1], slice(None), [1, 2])),
        ((4, 5, 6), ([0, 1], [1, 2])),
        ((), ()),
        ((), ...),
        ((), 0),
        ((), slice(None)),
        ((0, 3), slice(None)),
        ((0, 3), 0),
        ((0, 3), (A([], int), A([], int))),
    ],
    "orthogonal": [
        ((7,), 3),
        ((7,), [True, False, True, True, False, False, True]),
        ((7,), [True] * 6),
        ((7,), A([[1]])),
        ((7,), [1.0]),
        ((7,), True),
        ((7,), None),
        ((7,), [True, 2]),
        ((7,), [-1, -7]),
        ((5, 7), (0, [1, 1, 0])),
        ((5, 7), ([3, 0, 0], [1, 1, 0])),
        ((5, 7), (..., [1])),
        ((5, 7), ([1], ...)),
        ((5, 7), MASK),
        ((5, 7), ([0], [1])),
        ((5, 7), (np.int32(0), [1])),
        ((5, 7), (A([True, False, True, False, True]), 2)),
        ((4, 5, 6), ([3, 1], 0, slice(1, None, 2))),
        ((), ()),
        ((), ...),
    ],
    "vindex": [
        ((7,), 3),
        ((7,), A(3)),
        ((7,), [1, 2]),
        ((7,), [True, False, True, True, False, False, True]),
        ((7,), slice(None)),
        ((7,), ...),
        ((7,), [1.0]),
        ((7,), True),
        ((7,), [7]),
        ((5, 7), (0, 0)),
        ((5, 7), (0, [1, 2])),
        ((5, 7), (A(0), A(1))),
        ((5, 7), [[0, 1], [2, 3]]),
        ((5, 7), ([[0, 1], [2, 3]], [1, 1])),
        ((5, 7), ([0, 1], [[2], [3]])),
        ((5, 7), A([True] * 5)),
        ((5, 7), MASK),
        ((5, 7), MASK.tolist()),
        ((5, 7), ([0],)),
        ((5, 7), ([True] * 5, [0])),
        ((5, 7), (A([], int), A([], int))),
        ((5, 7), (True, 0)),
        ((5, 7), (..., [0], [1])),
        ((5, 7), ([-6], [0])),
        ((), ()),
        ((), ...),
    ],
    "blocks": [
        ((5, 7), key)
        for key in (
            *(0, (0, 0), (-1, -1), (3, 0), -4, slice(1, None), slice(1, 99), slice(5, 9), slice(-9, None), slice(2, 1)),
            *(slice(0, -9), slice(0, 2, 2), slice(None, None, 1), ..., (..., 1), [0], True, None, 1.0, np.int8(1)),
            *((0, 0, 0), slice(0, 0), slice(None, None, -1)),
        )
    ],
}

# zarr-python (the oldest one tested against) raises, or gives what nobody can want; here they are NumPy's.
BEYOND: list[tuple[tuple[int, ...], Any]] = [
    ((7,), slice(None, None, -1)),
    ((7,), range(3)),
    ((7,), []),
    ((7,), A([6, 0], "u8")),
    ((7,), [[0, 1], [2, 3]]),
    ((7,), A(3)),
    ((5, 7), A(3)),
    ((5, 7), (0, A(3))),
    ((5, 7), (..., [0, 1])),
    ((5, 7), A([True, False, True, False, True])),
    ((5, 7), (MASK,)),
]


def outcome(read: Any) -> Any:
    """The result, or None for an error of the kinds that a wrong index gives."""
    try:
        return np.asarray(read())
    except (IndexError, ValueError, TypeError):
        return None


@pytest.mark.parametrize("door", AGREED)
def test_odd_keys_are_zarr_pythons(door: str) -> None:
    zarr = pytest.importorskip("zarr")
    chunks = {(): (), (7,): (3,), (5, 7): (2, 3), (4, 5, 6): (2, 3, 4), (0, 3): (1, 2)}
    edges = Grid((5, 7), [[0, 2, 4, 6], [0, 3, 6, 9]])
    results = 0
    for shape, key in AGREED[door]:
        array = field(shape)
        judge = zarr.create_array({}, shape=shape, chunks=chunks[shape], dtype=array.dtype)
        if array.size:
            judge[...] = array
        doors = {"index": judge, "orthogonal": judge.oindex, "vindex": judge.vindex, "blocks": judge.blocks}
        theirs = outcome(lambda at=doors[door], key=key: at[key])
        try:
            found = sel.block(key, edges) if door == "blocks" else getattr(sel, door)(key, shape)
        except IndexError:
            assert theirs is None, f"{door} {shape} {key!r}: zarr-python gives {theirs!r}"
            continue
        assert theirs is not None, f"{door} {shape} {key!r}: zarr-python raises"
        same(theirs, take(array, found))
        results += 1
    assert 0 < results < len(AGREED[door])


@pytest.mark.parametrize(("shape", "key"), BEYOND, ids=str)
def test_beyond_zarr_python(shape: tuple[int, ...], key: Any) -> None:
    same(np.asarray(field(shape)[key]), take(field(shape), sel.index(key, shape)))
