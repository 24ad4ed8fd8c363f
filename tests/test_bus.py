"""Copies, launches and waits of a wave do not grow with its chunks, and little but the stored bytes crosses the bus."""

from __future__ import annotations

import pytest

from tests.bus import CODECS, cost

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_wave_costs_what_its_bytes_cost(codec: str, sharded: bool) -> None:
    few, many = (cost(codec, MEBIBYTE, chunk << 10, sharded) for chunk in (64, 8))
    for name in ("copies_in", "copies_out", "waits", "launches", "kernels"):
        assert getattr(few, name) == getattr(many, name), name  # 16 chunks and 128
    assert few.more <= 0.02
    assert few.bytes_out <= 0.01 * MEBIBYTE
    assert few.waits <= 3
