"""Boxes of a copy: every element once, whole units of writing, and source chunks read as seldom as the bytes allow."""

from __future__ import annotations

from itertools import product
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.regions import Regions, regions

AXES = st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(1, 12))  # extent, unit, source chunk


@given(st.lists(AXES, max_size=3), st.integers(0, 3000))
def test_every_element_is_in_one_box_of_whole_units(axes: list[tuple[int, int, int]], nbytes: int) -> None:
    shape, units, source = (tuple(axis[i] for axis in axes) for i in range(3))
    cut = regions(RegularGrid(shape, units), 4, nbytes, source)
    seen = np.zeros(shape, int)
    for i in range(cut.count):
        seen[cut[i]] += 1
        for side, unit, extent in zip(cut[i], units, shape, strict=True):
            assert side.start % unit == 0
            assert side.stop % unit == 0 or side.stop == extent
        assert prod(cut.steps) * prod(units) * 4 <= max(nbytes, prod(units) * 4)
    assert (seen == 1).all()
    assert list(cut) == [cut[i] for i in range(cut.count)]
    with pytest.raises(IndexError):
        cut[cut.count]


def test_a_rectilinear_grid_is_cut_at_its_own_edges() -> None:
    cut = regions(RectilinearGrid((10, 20), (((4, 2), (2, 1)), 7)), 1, 70)
    assert {(side.start, side.stop) for box in cut for side in box[:1]} <= {(0, 4), (4, 8), (8, 10), (0, 8), (4, 10)}


def chunk_reads(cut: Regions, source: tuple[int, ...]) -> int:
    """How many source chunks are read in all, counted one by one."""
    return sum(
        prod(ceil(side.stop / chunk) - side.start // chunk for side, chunk in zip(box, source, strict=True))
        for box in cut
    )


@pytest.mark.parametrize("nbytes", [64, 512, 4096, 16384])
@pytest.mark.parametrize(
    ("unit", "source"), [((8, 8), (64, 1)), ((8, 8), (1, 64)), ((1, 64), (64, 1)), ((6, 4), (5, 9))]
)
def test_source_chunks_are_read_as_seldom_as_by_the_best_box_of_that_size(
    unit: tuple[int, int], source: tuple[int, int], nbytes: int
) -> None:
    grid = RegularGrid((64, 64), unit)
    found = chunk_reads(regions(grid, 4, nbytes, source), source)
    fits = [s for s in product(range(1, 65), repeat=2) if prod(s) * prod(unit) * 4 <= nbytes] or [(1, 1)]
    steps = {tuple(min(step, count) for step, count in zip(each, grid.counts, strict=True)) for each in fits}
    best = min(chunk_reads(Regions(grid, each), source) for each in sorted(steps))
    assert found <= 1.4 * best


def test_with_room_for_it_every_source_chunk_is_read_once() -> None:
    cut = regions(RegularGrid((64, 64), (8, 8)), 4, 64 * 8 * 4, (64, 1))
    assert cut.steps == (8, 1)
    assert chunk_reads(cut, (64, 1)) == 64


def test_neighbours_in_memory_come_first_where_the_source_has_no_chunks() -> None:
    assert regions(RegularGrid((64, 64), (8, 8)), 4, 8 * 64 * 4).steps == (1, 8)


def test_a_grid_of_very_many_units_takes_no_time() -> None:
    cut = regions(RegularGrid((2**60, 2**60), (1, 1)), 8, 1 << 20, (3, 5))
    assert len(cut.counts) == 2
    assert cut[0][0].start == 0
