"""Plans against NumPy: placing the parts of every plan must give what NumPy's index gives."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from gpuzarr.grid import RectilinearGrid, RegularGrid, merge_runs
from gpuzarr.place import put
from gpuzarr.plan import plan_chunks, plan_shards
from gpuzarr.selection import Box, Selection, Span, basic, coordinate, orthogonal
from gpuzarr.waves import Wave

Grid = RegularGrid | RectilinearGrid


def chunk_of(array: np.ndarray, grid: Grid, coords: tuple[int, ...]) -> np.ndarray:
    """The chunk as stored: declared shape, -1 beyond the array."""
    shape, origin = grid.chunk_shape(coords), grid.chunk_origin(coords)
    inside = array[tuple(slice(o, o + n) for o, n in zip(origin, shape, strict=True))]
    chunk = np.full(shape, -1)
    chunk[tuple(slice(0, n) for n in inside.shape)] = inside
    return chunk


def place_all(waves: Iterable[Wave], array: np.ndarray, grid: Grid, dest: np.ndarray) -> None:
    for wave in waves:
        columns = wave.coords, wave.in_chunk, wave.in_dest, wave.full, wave.covers
        for coords, in_chunk, in_dest, full, covers in zip(*columns, strict=True):
            chunk = chunk_of(array, grid, coords)
            part = chunk[in_chunk]
            if full:
                assert part.shape == chunk.shape
            if covers:
                assert part.size == np.prod(np.minimum(grid.chunk_shape(coords), [
                    s - o for s, o in zip(array.shape, grid.chunk_origin(coords), strict=True)
                ]))  # fmt: skip
            dest[in_dest] = part


def place_blocks(waves: Iterable[Wave], array: np.ndarray, grid: Grid, dest: np.ndarray) -> int:
    """How many blocks there were."""
    count = 0
    for wave in waves:
        chunks = np.stack([chunk_of(array, grid, coords) for coords in wave.coords])
        for block in wave.blocks():
            put(chunks, block, dest)
            count += 1
    return count


def random_key(rng: random.Random, shape: tuple[int, ...], fancy: bool) -> tuple[Any, ...]:
    key: list[Any] = []
    for size in shape:
        kind = rng.random()
        if fancy and size and kind < 0.5:
            points = [rng.randrange(size) for _ in range(rng.randint(0, 9))]
            key.append(np.array(sorted(points) if rng.random() < 0.3 else points, dtype=int))
        elif size and kind < 0.2:
            key.append(rng.randrange(size))
        else:
            ends = [rng.choice([None, rng.randint(-size - 1, size + 1)]) for _ in range(2)]
            key.append(slice(*ends, rng.choice([None, 1, 2, 3, 9, 50])))
    return tuple(key)


def expected(array: np.ndarray, selection: Selection) -> np.ndarray:
    if not isinstance(selection, Box):
        return array[selection.indices]
    entries = selection.axes
    return array[np.ix_(*[np.arange(e.start, e.stop, e.step) if isinstance(e, Span) else e.indices for e in entries])]


def case(seed: int) -> tuple[random.Random, np.ndarray, Grid, RegularGrid | None, Selection]:
    rng = random.Random(seed)
    shape = tuple(rng.choice([0, 1, 5, 17, 60, 130]) for _ in range(rng.randint(1, 3)))
    array = np.arange(int(np.prod(shape))).reshape(shape)
    grid: Grid
    shards = None
    if rng.random() < 0.3:
        edges = []
        for size in shape:
            lengths = [(rng.randint(1, 20), 1)]
            while sum(n for n, _ in lengths) < size:
                lengths.append((rng.randint(1, 20), 1))
            edges.append(merge_runs(lengths + [(3, 1)] * rng.randint(0, 1)))
        grid = RectilinearGrid(shape, tuple(edges))
    else:
        inner = tuple(rng.randint(1, 7) for _ in shape)
        grid = RegularGrid(shape, inner)
        shards = RegularGrid(shape, tuple(n * rng.randint(1, 4) for n in inner))
    if rng.random() < 0.4 and all(shape):
        count = rng.randint(0, 20)
        points = tuple(np.array([rng.randrange(s) for _ in range(count)], dtype=int) for s in shape)
        return rng, array, grid, shards, coordinate(points, shape)
    fancy = rng.random() < 0.5
    return rng, array, grid, shards, (orthogonal if fancy else basic)(random_key(rng, shape, fancy), shape)


@pytest.mark.parametrize("block", range(20))
def test_parts_make_the_selection(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        rng, array, grid, shards, selection = case(seed)
        want = expected(array, selection)
        plan, step = plan_chunks(grid, selection), rng.randint(1, 50)
        dest = np.full(want.shape, -9)
        waves = (plan.wave(range(i, min(plan.size, i + step))) for i in range(0, plan.size, step))
        place_all(waves, array, grid, dest)
        np.testing.assert_array_equal(dest, want)
        if isinstance(grid, RegularGrid):
            dest[...] = -9
            waves = (plan.wave(range(i, min(plan.size, i + step))) for i in range(0, plan.size, step))
            assert place_blocks(waves, array, grid, dest) <= plan.size
            np.testing.assert_array_equal(dest, want)
        if shards is not None:
            assert isinstance(grid, RegularGrid)
            dest[...] = -9
            place_by_shard(rng, array, grid, shards, selection, dest)
            np.testing.assert_array_equal(dest, want)


def place_by_shard(
    rng: random.Random,
    array: np.ndarray,
    grid: RegularGrid,
    shards: RegularGrid,
    selection: Selection,
    dest: np.ndarray,
) -> None:
    split = plan_shards(grid, shards, selection)
    seen = set()
    for number in range(split.size):
        coords, rows = split.shard(number)
        assert coords not in seen
        assert rows.size <= split.largest
        seen.add(coords)
        for axis, places in enumerate(rows.coords()):
            assert (places * grid.chunks[axis] // shards.chunks[axis] == coords[axis]).all()
        order = list(range(rows.size))
        rng.shuffle(order)
        place_all([rows.wave(order)], array, grid, dest)
        some = np.arange(rows.size)
        rng.shuffle(cuts := [0, rows.size, rng.randint(0, rows.size)])
        for part in (order[: cuts[0]], sorted(order[cuts[0] :]), some[: cuts[1]]):
            if len(part):
                place_blocks([rows.wave(part)], array, grid, dest)


def test_chunks_that_are_whole_and_side_by_side_are_one_block() -> None:
    array = np.arange(20 * 30).reshape(20, 30)
    grid = RegularGrid(array.shape, (4, 5))
    plan = plan_chunks(grid, basic((slice(None), slice(None)), array.shape))
    dest = np.zeros_like(array)
    assert place_blocks([plan.wave(range(plan.size))], array, grid, dest) == 1
    np.testing.assert_array_equal(dest, array)
    morton = [0, 1, 6, 7]  # two by two; then two rows, one short
    assert [b.counts for b in plan.wave(morton).blocks()] == [(2, 2)]
    assert [b.counts for b in plan.wave([6, 7, 0, 1]).blocks()] == [(1, 2), (1, 2)]
    assert [b.counts for b in plan.wave(range(11)).blocks()] == [(1, 6), (1, 5)]
    band = plan_chunks(grid, basic((slice(1, 3), slice(2, 28)), array.shape))
    assert [b.counts for b in band.wave(range(band.size)).blocks()] == [None, (1, 4), None]


def test_chunks_that_are_spread_over_the_destination_are_no_block() -> None:
    places = np.array([0, 2, 4, 1, 3, 5])  # of two chunks of three, every other element
    plan = plan_chunks(RegularGrid((6,), (3,)), orthogonal((np.argsort(places),), (6,)))
    dest = np.zeros(6, int)
    assert place_blocks([plan.wave(range(2))], np.arange(6), RegularGrid((6,), (3,)), dest) == 2
    assert dest.tolist() == np.argsort(places).tolist()


def test_one_row_for_each_chunk_however_points_are_ordered() -> None:
    points = (np.array([9, 0, 9, 1, 0]), np.array([0, 0, 1, 1, 0]))
    plan = plan_chunks(RegularGrid((10, 2), (2, 2)), coordinate(points, (10, 2)))
    wave = plan.wave(range(plan.size))
    assert wave.coords == [(0, 0), (4, 0)]
    assert wave.in_dest[0][0].tolist() == [1, 3, 4]  # in the caller's order, so that the last write wins


def test_a_plan_over_2_to_the_62_chunks_costs_what_it_touches() -> None:
    grid = RegularGrid((2**62, 2**62), (1, 1))
    plan = plan_chunks(grid, basic((slice(5, 7), 2**61), grid.shape))
    assert plan.wave(range(2)).coords == [(5, 2**61), (6, 2**61)]


def test_the_spans_of_a_wave_are_its_slices() -> None:
    grid = RegularGrid((1000, 60), (7, 25))
    for key in ((slice(3, 990, 2), slice(1, 58)), (slice(0, 1000), 5), (slice(0, 5), slice(None))):
        plan = plan_chunks(grid, basic(key, (1000, 60)))
        wave = plan.wave(range(1, plan.size)) if plan.size > 2 else plan.wave(range(plan.size))
        for axis in range(2):
            table = wave.spans(axis)
            assert table is not None
            for row, (start, step, to, count) in enumerate(table.T.tolist()):
                index, place = wave.in_chunk[row][axis], wave.in_dest[row][axis]
                assert range(index.start, index.stop, index.step or 1) == range(start, start + count * step, step)
                assert (place.start, place.stop) == (to, to + count)
    listed = plan_chunks(grid, orthogonal(([3, 1, 500, 2], slice(None)), (1000, 60)))
    assert listed.wave(range(listed.size)).spans(0) is None
