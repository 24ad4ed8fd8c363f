"""Columns arrive as they were sent, whatever their numbers, and regular ones take no room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpuzarr.devices.columns import HEAD, pack
from gpuzarr.devices.numpy_memory import columns_at

Array = np.ndarray[Any, Any]
NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 1 << 12),
    st.integers(0, 1 << 24).map(lambda n: n << 8),
    st.sampled_from([-(1 << 63), (1 << 63) - 1, -1, 0]),
)


def there(*columns: Array) -> Array:
    """What kernels read."""
    packed = pack(*columns)
    return columns_at(packed.ctypes.data, len(columns), len(columns[0]))


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.int64, st.integers(0, 40), elements=NUMBERS), st.integers(0, 40))
def test_any_numbers_arrive(column: Array, by: int) -> None:
    rows = np.arange(column.size)
    sent = column, np.sort(column), (column & 0xFF) + (rows << by), column.view(np.uint64)[::-1]
    assert (there(*sent) == np.array([c.astype(np.uint64) for c in sent]).reshape(4, -1)).all()


@pytest.mark.parametrize(
    ("column", "entries"),
    [
        (np.full(1000, -1), 0),
        (np.arange(1000) * -65536 + (1 << 40), 0),
        (np.arange(1), 0),
        (np.arange(1000) * 4096 + np.arange(1000) % 3, 1000),
        (np.arange(1000) % 7 * 4096, 1000),  # all of them whole pages
        (np.arange(1000) * 300 + np.arange(1000) % 999, 2000),
        (np.random.default_rng(0).integers(0, 1 << 30, 1000) * 4, 4000),
        (np.arange(1000) % 2 * (1 << 40) + np.arange(1000) % 3, 8000),
    ],
)
def test_a_column_takes_as_little_as_it_tells(column: Array, entries: int) -> None:
    assert len(pack(column)) == HEAD + entries
    assert (there(column).view(np.int64) == column).all()


def test_the_last_columns_of_a_table_are_a_table() -> None:
    rng = np.random.default_rng(1)
    sent = [rng.integers(0, 1 << bits, 50) for bits in (7, 15, 31, 62)]
    packed = pack(*sent)
    assert (columns_at(packed.ctypes.data + 2 * HEAD, 2, 50) == np.array(sent[2:], np.uint64)).all()
