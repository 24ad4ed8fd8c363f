"""Every compressor with every checksum, inside and outside of it, out of memory and out of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from gpuzarr.codecs import numcodecs as nc

DATA = np.arange(64 * 48, dtype="f4").reshape(64, 48)
COMPRESSORS = [
    ZstdCodec(),
    GzipCodec(),
    BloscCodec(),
    nc.LZ4(),
    nc.Zlib(),
    nc.BZ2(),
    nc.LZMA(),
    nc.Shuffle(elementsize=4),
]
CHECKSUMS = [Crc32cCodec(), nc.CRC32(), nc.CRC32C(), nc.Adler32(), nc.Fletcher32(), nc.JenkinsLookup3()]


@pytest.mark.parametrize("checksum", CHECKSUMS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda codec: codec.name)
def test_a_checksum_inside_and_outside(tmp_path: Path, compressor: Any, checksum: Any) -> None:
    for number, pair in enumerate(([compressor, checksum], [checksum, compressor])):
        for store in ({}, tmp_path / str(number)):
            a = gpuzarr.create_array(store, shape=DATA.shape, chunks=(16, 16), dtype="f4", compressors=pair)
            a[...] = DATA
            np.testing.assert_array_equal(a[...], DATA)
