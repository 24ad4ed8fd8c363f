"""zarr-python's lists of chunks, turned back into selections, without zarr-python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpuzarr.grid import KeyEncoding
from gpuzarr.selection import Box, Coordinates, Points, Span
from gpuzarr.zarr_batch import Batch, Listed, batch_of

V3 = KeyEncoding("default", "/")
WHOLE = slice(0, 4, 1)


def items(*rows: tuple[str, Any, Any], complete: bool = False) -> Listed:
    keys, taken, places = zip(*rows, strict=True)
    return Listed(keys, taken, places, [complete] * len(rows))


def box(found: Batch | None) -> tuple[Any, ...]:
    assert found is not None
    assert isinstance(found.selection, Box)
    return found.selection.axes


@pytest.mark.parametrize(
    ("encoding", "keys", "path"),
    [
        (V3, ["a/c/3/0", "a/c/3/1"], "a"),
        (V3, ["c/3/0", "c/3/1"], ""),
        (KeyEncoding("default", "."), ["c/1/c.3.0", "c/1/c.3.1"], "c/1"),
        (KeyEncoding("v2", "."), ["3.0", "3.1"], ""),
        (KeyEncoding("v2", "."), ["a.1/b/3.0", "a.1/b/3.1"], "a.1/b"),
        (KeyEncoding("v2", "/"), ["7/7/3/0", "7/7/3/1"], "7/7"),
    ],
)
def test_the_array_is_found_in_the_keys(encoding: KeyEncoding, keys: list[str], path: str) -> None:
    rows = [(key, (2, WHOLE), (slice(4 * i, 4 * i + 4),)) for i, key in enumerate(keys)]
    found = batch_of(items(*rows), encoding, (4, 4))
    assert box(found) == (Span(14, 1, 1), Span(0, 8, 1))
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize("name", ["c", "0"])
def test_an_array_without_axes(name: str) -> None:
    encoding = KeyEncoding("default" if name == "c" else "v2", "/")
    for path in ("", "a/b"):
        found = batch_of(items((f"{path}/{name}".lstrip("/"), (), ())), encoding, ())
        assert found is not None
        assert (found.path, box(found)) == (path, ())
    assert batch_of(items((f"a{name}", (), ())), encoding, ()) is None


def test_steps_and_lists_and_points() -> None:
    stepped = items(("c/0", (slice(1, 4, 3),), (slice(0, 1),)), ("c/1", (slice(0, 4, 3),), (slice(1, 3),)))
    assert box(batch_of(stepped, V3, (4,))) == (Span(1, 3, 3),)
    listed = items(("c/1", (np.array([3, 0]),), (np.array([2, 0]),)), ("c/0", (np.array([1]),), (np.array([1]),)))
    (axis,) = box(batch_of(listed, V3, (4,)))
    assert isinstance(axis, Points)
    assert axis.indices.tolist() == [4, 1, 7]
    rows = [("c/1/0", (np.array([3, 0]), np.array([1, 2])), slice(0, 2)), ("c/0/1", (np.array([1]),) * 2, slice(2, 3))]
    found = batch_of(items(*rows), V3, (4, 4))
    assert found is not None
    assert isinstance(found.selection, Coordinates)
    assert [i.tolist() for i in found.selection.indices] == [[7, 4, 1], [1, 2, 5]]


A, B = ("c/0/0", (WHOLE, WHOLE), (WHOLE, WHOLE)), ("c/0/1", (WHOLE, WHOLE), (WHOLE, slice(4, 8)))
C, D = ("c/1/0", (WHOLE, WHOLE), (slice(4, 8), WHOLE)), ("c/1/1", (WHOLE, WHOLE), (slice(4, 8), slice(4, 8)))


def test_a_whole_box() -> None:
    assert box(batch_of(items(A, B, C, D), V3, (4, 4))) == (Span(0, 8, 1),) * 2


def test_axes_may_go_any_way_round() -> None:
    """As those of an orthogonal selection with lists do."""
    assert box(batch_of(items(C, D, A, B), V3, (4, 4))) == (Span(0, 8, 1),) * 2
    rows = [("c/1/0", (np.array([[1]]), np.array([[3, 0]])), (np.array([[0]]), np.array([[1, 0]])))]
    rows += [("c/0/0", (np.array([[2]]), np.array([[3, 0]])), (np.array([[1]]), np.array([[1, 0]])))]
    one, other = box(batch_of(items(*rows), V3, (4, 4)))
    assert (one.indices.tolist(), other.indices.tolist()) == ([5, 2], [0, 3])


@pytest.mark.parametrize(
    "rows",
    [
        [A, B, C],  # a corner is missing
        [A, C, B, D],  # no indexer goes down the columns
        [A, B, C, C],
        [A, B, C, ("c/1/1", (WHOLE, slice(0, 3, 1)), (slice(4, 8), slice(4, 8)))],  # takes less than its column
        [A, B, C, ("c/1/1", (WHOLE, WHOLE), (slice(4, 8), slice(5, 9)))],  # goes elsewhere
        [A, B, C, ("x/c/1/1", (WHOLE, WHOLE), (slice(4, 8), slice(4, 8)))],  # of another array
        [A, B, C, ("c/1", (WHOLE, WHOLE), (slice(4, 8), slice(4, 8)))],
        [("zarr.json", (WHOLE, WHOLE), (WHOLE, WHOLE))],
        [("c/00/1", (WHOLE, WHOLE), (WHOLE, WHOLE))],
        [("c/0/0", (WHOLE,), (WHOLE,))],
        [("c/0/0", (WHOLE, WHOLE), (WHOLE,))],
        [("c/0/0", (slice(3, None, -1), WHOLE), (WHOLE, WHOLE))],
        [("c/0/0", (np.array([[0], [4]]), np.array([[0]])), (slice(0, 2), slice(0, 1)))],  # beyond the chunk
        [("c/0/0", (np.array([[0], [-1]]), np.array([[0]])), (slice(0, 2), slice(0, 1)))],
        [("c/0/0", (np.array([[0], [1]]), np.array([[0]])), (np.array([[0], [0]]), slice(0, 1)))],  # twice in one place
        [("c/0/0", (np.array([0, 1]), np.array([0])), slice(0, 2))],  # points with half a coordinate
    ],
)
def test_what_no_indexer_makes_is_not_guessed(rows: list[Any]) -> None:
    assert batch_of(items(*rows), V3, (4, 4)) is None


def test_the_end_of_the_array_is_where_a_complete_chunk_ends_early() -> None:
    before, last = ("c/1", (WHOLE,), (slice(0, 4),)), ("c/2", (slice(0, 3, 1),), (slice(4, 7),))
    found = batch_of(items(before, last, complete=True), V3, (4,))
    assert found is not None
    assert found.shape == (11,)
    for other in (items(before, complete=True), items(before, last)._replace(complete=[True, False])):
        found = batch_of(other, V3, (4,))
        assert found is not None
        assert found.shape[0] > 1 << 60
    # A chunk in the middle ends where the next one begins, whatever is said of it.
    early = ("c/1", (slice(0, 3, 1),), (slice(0, 3),))
    found = batch_of(items(early, ("c/2", (WHOLE,), (slice(3, 7),)), complete=True), V3, (4,))
    assert found is not None
    assert found.shape[0] > 1 << 60
