"""How blocks of another library lie on units of writing."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuzarr.blocks import filled, first_split, realigned, regular_length, unit_lengths
from gpuzarr.grid import Grid, RectilinearGrid, RegularGrid, merge_runs

REGULAR = RegularGrid((10, 7), (4, 7))
RECTILINEAR = RectilinearGrid((10, 7), (merge_runs([(3, 1), (3, 1), (4, 1)]), 7))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """A grid of one axis: regular, or of any lengths."""
    if draw(st.booleans()):
        return RegularGrid((draw(st.integers(1, 60)),), (draw(st.integers(1, 20)),))
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=8))
    return RectilinearGrid((sum(lengths),), (merge_runs((length, 1) for length in lengths),))


def owners(grid: Grid, start: int, lengths: tuple[int, ...]) -> dict[int, set[int]]:
    """Which blocks have elements of each unit, one element after another."""
    found: dict[int, set[int]] = {}
    at = start
    for block, length in enumerate(lengths):
        for element in range(at, at + length):
            found.setdefault(grid.axis(0).locate(element)[0], set()).add(block)
        at += length
    return found


def test_units() -> None:
    assert unit_lengths(REGULAR) == ((4, 4, 2), (7,))
    assert unit_lengths(RECTILINEAR) == ((3, 3, 4), (7,))
    assert unit_lengths(RegularGrid((0, 3), (2, 2))) == ((), (2, 1))
    assert unit_lengths(RectilinearGrid((5,), (merge_runs([(3, 1), (4, 2)]),))) == ((3, 2),)


@given(grids(), st.data())
def test_a_split_is_found_where_two_blocks_share_a_unit(grid: Grid, data: st.DataObject) -> None:
    size = grid.shape[0]
    start = data.draw(st.integers(0, size - 1))
    cuts = sorted(data.draw(st.sets(st.integers(start, size), max_size=4)) | {start, size})
    lengths = tuple(np.diff([start, *cuts]).tolist())  # with a block of no elements in front
    shared = {unit: blocks for unit, blocks in owners(grid, start, lengths).items() if len(blocks) > 1}
    split = first_split(grid, [start], (lengths,))
    if split is None:
        assert shared == {}
        return
    assert split.axis == 0
    unit = grid.axis(0).locate(split.at)[0]
    assert unit == min(shared)
    assert (split.start, split.stop) == grid.axis(0).bounds(unit)
    assert split.start < split.at < split.stop


@given(grids(), st.data())
def test_realigned_blocks_share_nothing_and_are_about_as_long(grid: Grid, data: st.DataObject) -> None:
    size = grid.shape[0]
    start = data.draw(st.integers(0, size - 1))
    longest = data.draw(st.integers(1, size - start))
    lengths = tuple(min(longest, size - at) for at in range(start, size, longest))
    (better,) = realigned(grid, [start], (lengths,))
    assert sum(better) == size - start
    assert min(better) > 0
    assert first_split(grid, [start], (better,)) is None
    assert max(better) <= max(longest, *grid.largest_chunk)
    if first_split(grid, [start], (lengths,)) is None:
        assert len(better) <= len(lengths)


@given(grids(), st.integers(1, 5000))
def test_filled_blocks_are_whole_units_of_about_the_bytes(grid: Grid, nbytes: int) -> None:
    (lengths,) = filled(grid, {}, nbytes, 8)
    assert sum(lengths) == grid.shape[0]
    assert first_split(grid, [0], (lengths,)) is None
    assert max(lengths) * 8 <= max(nbytes, grid.largest_chunk[0] * 8)


def test_filled_blocks_grow_along_all_free_axes_and_what_one_cannot_take_goes_to_others() -> None:
    grid = RegularGrid((1000, 1000), (10, 10))
    assert filled(grid, {}, 40 * 60 * 8, 8) == ((40,) * 25, (60,) * 16 + (40,))  # 4 x 6 of the 24 units that fit
    assert filled(grid, {1: (500, 500)}, 40 * 500 * 8, 8) == ((40,) * 25, (500, 500))
    flat = RegularGrid((10, 100_000), (5, 10))
    assert filled(flat, {}, 10 * 1000 * 8, 8) == ((10,), (1000,) * 100)
    assert filled(grid, {}, 1, 8) == unit_lengths(grid)
    assert filled(RegularGrid((), ()), {}, 100, 8) == ()


@pytest.mark.parametrize(
    ("lengths", "chunk"),
    [
        ((), 1),
        ((0,), 1),
        ((7,), 7),
        ((4, 4, 3), 4),
        ((4, 2, 4), 2),
        ((2, 2, 3), 2),
        ((67, 33), 67),
        ((0, 5, 0, 5, 1), 5),
        ((2, 1, 1, 2), 1),
        ((4, 6, 4), None),
        ((100, 99, 101), None),
    ],
)
def test_the_chunks_of_blocks(lengths: tuple[int, ...], chunk: int | None) -> None:
    assert regular_length(lengths) == chunk
    if chunk is not None and prod(lengths):
        assert first_split(RegularGrid((sum(lengths),), (chunk,)), [0], (lengths,)) is None
