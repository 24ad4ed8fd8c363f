"""Arrays that other Zarr writers made (Rust, JavaScript, zarr-python): read, checked and rewritten.

`expected.json` beside the stores holds, for each array, its shape, data type and the SHA-256 of its values as
zarr-python reads them; `oracle_rejects` marks those that zarr-python cannot read, whose values are told here from
what their generators wrote.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpuzarr
from gpuzarr.cli import main
from gpuzarr.errors import DataTypeValidationError

COUNTING = np.arange(100, dtype="f4").reshape(10, 10)

# What zarr-python does not read, and what was written there.
REJECTED: dict[str, Any] = {
    "zarrita/v2/data.zarr/1d.contiguous.json2.O": np.array(["foo", "bar", "baz", "qux"], object),
    "zarrs/v2/array_pcodec_C.zarr": COUNTING,
    "zarrs/v2/array_zfpy_C.zarr": COUNTING,
    "zarrs/v3/array_pcodec.zarr": COUNTING,
    "zarrs/v3/array_zfpy.zarr": COUNTING,
    "zarrs/v3_zarr_python/array_pcodec.zarr": COUNTING,
    "zarrs/v3_zarr_python/array_zfpy.zarr": COUNTING,
    # Three bits after the leading one are kept of each.
    "zarrs/codec/bitround/bitround_float32.zarr": np.array(
        [0.0, 0.1, 1.2, 12.3, 123.4, 1234.5, np.nan, np.inf, -np.inf], "f4"
    ),
    "zarrs/codec/bitround/bitround_uint8.zarr": np.array([0, 1, 10, 11, 100, 123, 200, 208, 209, 255], "u1"),
}
# A data type of zarrs' own, which no specification has.
NOT_OURS = ("zarrs/v3/array_optional.zarr/array", "zarrs/v3/array_optional_nested.zarr/array")
LOSSY = ("zfpy",)


@pytest.fixture(scope="module")
def expected(third_party_stores: Path) -> dict[str, dict[str, Any]]:
    documents: dict[str, dict[str, Any]] = json.loads((third_party_stores / "expected.json").read_text())
    return documents


@pytest.fixture(scope="module")
def readable(expected: dict[str, dict[str, Any]]) -> list[str]:
    return [path for path in expected if path not in NOT_OURS]


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def digest(values: np.ndarray) -> str:
    if values.dtype.kind in "OTUV":
        text = json.dumps(plain(values.ravel().tolist()), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def test_every_array_reads_as_its_writer_meant(third_party_stores: Path, expected: dict[str, dict[str, Any]]) -> None:
    wrong = []
    read = 0
    for path, want in expected.items():
        if "oracle_rejects" in want:
            continue
        array = gpuzarr.open_array(third_party_stores / path, mode="r")
        values = array[...]
        got = {
            "dtype": str(values.dtype),
            "sha256": digest(values),
            "shape": list(values.shape),
            "zarr_format": array.metadata.zarr_format,
        }
        read += 1
        if got != want:
            wrong.append((path, got, want))
    assert wrong == []
    assert read >= 136


@pytest.mark.parametrize("path", REJECTED)
def test_what_zarr_python_rejects_reads_too(third_party_stores: Path, path: str) -> None:
    pytest.importorskip("pcodec" if "pcodec" in path else "zfpy" if "zfpy" in path else "numpy")
    values = gpuzarr.open_array(third_party_stores / path, mode="r")[...]
    want = REJECTED[path]
    assert values.shape == want.shape
    assert values.dtype == want.dtype
    if "bitround" in path:
        finite = np.isfinite(want)
        assert np.array_equal(values[~finite], want[~finite], equal_nan=want.dtype.kind == "f")
        error = np.abs(values[finite].astype("f8") - want[finite].astype("f8"))
        assert (error <= want[finite].astype("f8") / 8).all()
        if want.dtype.kind == "f":  # all bits below the third of the mantissa are gone
            assert not (values[:6].view("u4") & 0x000FFFFF).any()
    elif "zfpy" in path:
        np.testing.assert_allclose(values, want, atol=0.01)
    else:
        assert np.array_equal(values, want)


def test_of_the_arrays_that_zarr_python_rejects_at_least_eight_are_told_here(
    expected: dict[str, dict[str, Any]],
) -> None:
    rejected = {path for path, want in expected.items() if "oracle_rejects" in want}
    assert rejected == {*REJECTED, *NOT_OURS}
    assert len(REJECTED) >= 8


@pytest.mark.parametrize("path", NOT_OURS)
def test_an_unknown_data_type_is_named(third_party_stores: Path, path: str) -> None:
    with pytest.raises(DataTypeValidationError, match="'optional'"):
        gpuzarr.open_array(third_party_stores / path, mode="r")


def test_every_array_rewritten_in_its_own_format_and_codecs_reads_back(
    third_party_stores: Path, readable: list[str]
) -> None:
    wrong = []
    for path in readable:
        source = gpuzarr.open_array(third_party_stores / path, mode="r")
        values = source[...]
        if values.nbytes > 16 << 20:  # 80 MB of one value; its first rows do
            values = values[:500]
        store: dict[str, bytes] = {}
        copy = gpuzarr.from_array(store, data=source, write_data=False)
        if values.shape != source.shape:
            copy.resize(values.shape)
        copy[...] = values
        again = gpuzarr.open_array(store, mode="r")
        if again.metadata.zarr_format != source.metadata.zarr_format or _codecs(again) != _codecs(source):
            wrong.append((path, "metadata", again.metadata, source.metadata))
        if not _equal(again[...], values, lossy=any(name in path for name in LOSSY)):
            wrong.append((path, "values", again[...], values))
    assert wrong == []


def _codecs(array: gpuzarr.Array) -> Any:
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return array.filters, array.compressors, metadata.order  # with numcodecs' defaults for what is not said
    one_byte = metadata.data_type.itemsize == 1  # a byte has no byte order, though some writers name one
    return [
        (codec.name, {} if one_byte and codec.name == "bytes" else codec.configuration) for codec in metadata.codecs
    ]


def _equal(got: np.ndarray, want: np.ndarray, *, lossy: bool) -> bool:
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    if lossy:
        return bool(np.allclose(got, want, atol=0.01))
    return digest(got) == digest(want)


def test_tree_and_verify_find_all_well(
    third_party_stores: Path, readable: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # Of a path such as a/b.zarr/c/d the store is a/b.zarr.
    stores = sorted({path.partition(".zarr")[0] + ".zarr" for path in readable})
    for store in stores:
        for command in ("tree", "verify"):
            status = main([command, str(third_party_stores / store)])
            said = capsys.readouterr()
            assert (status, said.err) == (0, ""), (command, store)
            if command == "verify":
                assert " 0 corrupt" in said.out


def test_verify_says_which_array_it_cannot_open(third_party_stores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = NOT_OURS[0].removesuffix("/array")
    assert main(["verify", str(third_party_stores / store)]) == 1
    assert "'optional'" in capsys.readouterr().err
