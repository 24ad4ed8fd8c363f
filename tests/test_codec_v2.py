"""Format 2: filters and compressor as a chain; numcodecs and its fixtures as judges."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.codecs.v2 import chain_codecs, codec_from_v2
from gpuzarr.dtypes import data_type_from_v2
from gpuzarr.errors import (
    CorruptChunkError,
    EncodeError,
    GpuzarrError,
    MetadataError,
    PickleCodecDisabledError,
    UnknownCodecError,
)

RNG = np.random.default_rng(17)


def v2_chain(
    shape: tuple[int, ...], dtype: str, filters: list[dict[str, Any]], compressor: Any = None, order: str = "C"
) -> CodecChain:
    objects = next((f["id"] for f in filters if dtype == "|O"), None)
    data_type = data_type_from_v2(dtype, object_codec=objects)
    spec = ChunkSpec(shape, data_type, data_type.default_fill())
    return CodecChain.build(chain_codecs(filters, compressor, order, spec), spec)


def by_numcodecs(chunk: np.ndarray[Any, Any], order: str, *configs: dict[str, Any]) -> bytes:
    """What zarr-python 2 stores: each numcodecs codec on what the one before gave."""
    import numcodecs
    from numcodecs.compat import ensure_bytes

    data: Any = chunk.astype(chunk.dtype, order=order)
    for config in configs:
        data = numcodecs.get_codec(config).encode(data)
    return bytes(ensure_bytes(data))


BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
CHAINS: list[tuple[str, list[dict[str, Any]], Any]] = [
    ("<i4", [], None),
    (">i4", [], {"id": "zlib", "level": 1}),
    ("<f8", [], BLOSC),
    ("<i2", [], {**BLOSC, "shuffle": -1}),
    ("|u1", [], {**BLOSC, "shuffle": -1}),
    ("<i4", [{"id": "delta", "dtype": "<i4", "astype": "<i2"}], BLOSC),
    ("<i4", [{"id": "delta", "dtype": "<i4"}, {"id": "shuffle", "elementsize": 4}], {"id": "zlib", "level": 5}),
    ("<i4", [{"id": "shuffle"}], {"id": "lz4", "acceleration": 2}),
    ("<f4", [{"id": "quantize", "digits": 3, "dtype": "<f4"}], {"id": "zstd", "level": 0}),
    ("<f4", [{"id": "bitround", "keepbits": 7}], None),
    (
        "<f4",
        [{"id": "fixedscaleoffset", "offset": 10, "scale": 5, "dtype": "<f4", "astype": "<i2"}],
        {"id": "bz2", "level": 9},
    ),
    ("<f8", [{"id": "astype", "encode_dtype": "<f4", "decode_dtype": "<f8"}], {"id": "lzma", "preset": 1}),
    ("|b1", [{"id": "packbits"}], {"id": "gzip", "level": 1}),
    ("<i8", [], {"id": "crc32"}),
    ("<i8", [{"id": "adler32"}, {"id": "fletcher32"}], {"id": "crc32c"}),
    ("<i8", [{"id": "jenkins_lookup3"}], {"id": "zlib", "level": 1}),
    ("<M8[s]", [{"id": "delta", "dtype": "<i8"}], {"id": "zstd", "level": 3}),
    ("<U3", [], BLOSC),
    ("|S5", [], BLOSC),
    ("<i4", [{"id": "zlib", "level": 1}, {"id": "delta", "dtype": "|u1"}], BLOSC),
    ("<i4", [{"id": "shuffle", "elementsize": 2}], {"id": "base64"}),
]


@pytest.mark.parametrize(("dtype", "filters", "compressor"), CHAINS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_bytes_are_numcodecs_bytes(dtype: str, filters: list[Any], compressor: Any, order: str) -> None:
    """Traps 10 and 11: order "F" with filters, typesize by inference."""
    kind = np.dtype(dtype)
    raw = RNG.integers(0, 50, (6, 5))
    chunk = raw.astype("S").astype(dtype) if kind.kind in "SU" else (raw % 2 if kind.kind == "b" else raw).astype(dtype)
    chain = v2_chain((6, 5), dtype, filters, compressor, order)
    encoded = bytes(memoryview(np.frombuffer(chain.encode(chunk), "u1")))
    if order == "F" and any(f["id"] == "bitround" for f in filters):
        # numcodecs turns the chunk round: what it stores in this order, it reads back transposed. We do not.
        np.testing.assert_allclose(chain.decode(encoded), chunk, rtol=0.02)
        return
    expected = by_numcodecs(chunk, order, *filters, *([compressor] if compressor else []))
    if compressor and compressor["id"] == "gzip":  # numcodecs stores the time of day
        expected = expected[:4] + bytes(4) + expected[8:]
    assert encoded == expected
    decoded = chain.decode(expected)
    assert decoded.dtype == kind
    if not any(f["id"] in ("quantize", "bitround", "fixedscaleoffset") for f in filters):
        np.testing.assert_array_equal(decoded, chunk)
    else:
        np.testing.assert_allclose(decoded, chunk, rtol=0.02, atol=0.2)


def test_order_and_landing() -> None:
    assert v2_chain((6, 5), ">f4", [], {"id": "zlib"}).lands
    assert v2_chain((6, 5), "<f4", []).plain
    assert not v2_chain((6, 5), "<f4", [], order="F").lands
    assert v2_chain((6,), "<f4", [], order="F").plain


@pytest.mark.parametrize("codec", ["json2", "msgpack2", "vlen-utf8", "vlen-bytes", "categorize"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_objects(codec: str, order: str) -> None:
    if codec == "msgpack2":
        pytest.importorskip("msgpack")
    config: dict[str, Any] = {"id": codec}
    items: list[Any] = ["a", "bb", "", "wörd", "c", "a"]
    if codec == "categorize":
        config |= {"labels": ["a", "bb", "wörd", "c"], "dtype": "|O", "astype": "|u1"}
    elif codec == "vlen-bytes":
        items = [b"a", b"", b"\0", b"b", b"cc", b"x"]
    elif codec in ("json2", "msgpack2"):
        items = ["a", 5, None, 2.5, True, "x"]
    chunk = np.empty(6, object)
    chunk[:] = items
    chunk = chunk.reshape(2, 3)
    chain = v2_chain((2, 3), "|O", [config], BLOSC, order)
    encoded = bytes(chain.encode(chunk.astype(chain.spec.dtype)))
    assert chain.decode(encoded).tolist() == chunk.tolist()
    if codec not in ("json2", "msgpack2") or order == "C":
        assert encoded == by_numcodecs(chunk, order, config, BLOSC)


def test_json_of_lists_and_objects() -> None:
    chunk = np.empty(3, object)
    chunk[:] = [[1, [2]], {"a": 1}, []]
    chain = v2_chain((3,), "|O", [{"id": "json2"}])
    assert chain.decode(chain.encode(chunk)).tolist() == chunk.tolist()


def test_ragged_arrays() -> None:
    chunk = np.empty(4, object)
    for i, n in enumerate((2, 2, 0, 5)):
        chunk[i] = np.arange(n, dtype="i2")
    for config in ({"id": "vlen-array", "dtype": "<i2"},):
        chain = v2_chain((2, 2), "|O", [config])
        encoded = bytes(chain.encode(chunk.reshape(2, 2)))
        assert encoded == by_numcodecs(chunk, "C", config)
        for ours, theirs in zip(chain.decode(encoded).ravel(), chunk, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.flags.writeable
    with pytest.raises(CorruptChunkError):
        chain.decode(struct.pack("<IIBIII", 4, 1, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ({"id": "json2"}, b"[" * 100000),
        ({"id": "json2"}, b"\xff"),
        ({"id": "json2"}, b'[1, 2, "|O", [1000000000000]]'),
        ({"id": "json2"}, b'[1, "|O", [2]]'),
        ({"id": "json2"}, b'[1, 2, "|O", [2.0]]'),
        ({"id": "json2"}, b'{"a": 1}'),
        ({"id": "json2"}, b'[1, 2, "|O", [2, 1]]'),
        ({"id": "msgpack2"}, b"\xdd\xff\xff\xff\xff"),
        ({"id": "msgpack2"}, b"\xc1"),
        ({"id": "vlen-utf8"}, struct.pack("<I", 2**31)),
        ({"id": "vlen-bytes"}, struct.pack("<I", 2**31)),
        ({"id": "vlen-array", "dtype": "<i2"}, struct.pack("<I", 2**31)),
    ],
)
def test_objects_that_lie(config: dict[str, Any], data: bytes) -> None:
    """Counts are checked before anything is allocated for them."""
    if config["id"] == "msgpack2":
        pytest.importorskip("msgpack")
    with pytest.raises(CorruptChunkError):
        v2_chain((2,), "|O", [config]).decode(data)


def test_pickle_is_refused_wherever_it_stands() -> None:
    """Trap 25."""
    for filters in ([{"id": "pickle"}], [{"id": "vlen-utf8"}, {"id": "pickle"}]):
        with pytest.raises(PickleCodecDisabledError):
            v2_chain((2,), "|O", filters)
    with pytest.raises(PickleCodecDisabledError):
        v2_chain((2,), "<i4", [], {"id": "pickle", "protocol": 5})


def test_what_cannot_be() -> None:
    for bad in ("zlib", {}, {"id": 5}):
        with pytest.raises(MetadataError):
            codec_from_v2(bad)
    with pytest.raises(UnknownCodecError, match="imagecodecs"):
        codec_from_v2({"id": "imagecodecs_jpegxl"})
    for filters, compressor, dtype in (
        ([{"id": "zlib"}, {"id": "vlen-utf8"}], None, "<i4"),
        ([{"id": "zlib"}, {"id": "packbits"}], None, "<i4"),
        ([{"id": "delta", "dtype": "|O"}], None, "<i4"),
        ([{"id": "delta", "dtype": "S99999"}], None, "<i4"),
        ([{"id": "delta", "dtype": "nonsense"}], None, "<i4"),
        ([{"id": "packbits"}], None, "<i4"),
        ([{"id": "categorize", "labels": "abc"}], None, "|S1"),
        ([{"id": "categorize", "labels": ["a"], "astype": "f4"}], None, "<U1"),
        ([{"id": "vlen-array", "dtype": None}, {"id": "vlen-array", "dtype": "O"}], None, "|O"),
        ([{"id": "json2", "encoding": 5}], None, "|O"),
    ):
        with pytest.raises(GpuzarrError):
            v2_chain((2,), dtype, filters, compressor)
    with pytest.raises(MetadataError):
        v2_chain((3,), "<i4", [{"id": "shuffle", "elementsize": 5}]).encode(np.zeros(3, "i4"))


@pytest.mark.parametrize("package", ["zfpy", "pcodec"])
def test_array_compressors(package: str, long_form: bool) -> None:
    pytest.importorskip(package)
    config = {"zfpy": {"id": "zfpy", "mode": 4, "tolerance": 0.01}, "pcodec": {"id": "pcodec"}}[package]
    chunk = np.cumsum(RNG.normal(size=60)).astype("f4").reshape(6, 10)
    for order in ("C", "F"):
        chain = v2_chain((6, 10), "<f4", [], config, order)
        encoded = bytes(chain.encode(chunk))
        assert len(encoded) <= chain.encoded_limit
        np.testing.assert_allclose(chain.decode(encoded), chunk, atol=0.01 if package == "zfpy" else 0)
        assert CodecChain.build(chain.codecs, chain.spec).codecs == chain.codecs
    other = v2_chain((6, 11), "<f4", [], config)
    doubles = v2_chain((6, 10), "<f8", [], config)
    for wrong in (other, doubles):
        with pytest.raises(CorruptChunkError):
            wrong.decode(encoded)
    rng = np.random.default_rng(4)
    for _ in range(3000 if long_form else 150):
        changed = bytearray(encoded)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        try:
            assert chain.decode(bytes(changed[: rng.integers(1, len(changed) + 1)])).shape == (6, 10)
        except CorruptChunkError:
            pass


def test_encode_errors_name_the_codec() -> None:
    chain = v2_chain((2,), "|O", [{"id": "vlen-array", "dtype": "<i2"}])
    chunk = np.empty(2, object)
    chunk[:] = ["x", "y"]
    with pytest.raises(EncodeError, match="vlen-array"):
        chain.encode(chunk)


# ---- numcodecs' own fixtures, from its source distribution

# What its fixtures hold and gpuzarr does not decode, with the reason.
NOT_HERE = {
    "pickle": "pickle is never decoded",
    "json": "an id that numcodecs itself no longer knows",
    "snappy": "numcodecs is built without Snappy",
}


def fixtures() -> list[Path]:
    place = os.environ.get("GPUZARR_NUMCODECS_FIXTURES")
    return sorted(Path(place).glob("*/codec.*/config.json")) if place else []


@pytest.mark.skipif(not fixtures(), reason="set GPUZARR_NUMCODECS_FIXTURES to the fixture folder of numcodecs' sdist")
@pytest.mark.parametrize("path", fixtures(), ids=lambda p: f"{p.parts[-3]}-{p.parts[-2]}")
def test_numcodecs_fixtures(path: Path) -> None:
    config = json.loads(path.read_text())
    lossy = config["id"] in ("quantize", "fixedscaleoffset", "astype", "zfpy")
    for encoded in sorted(path.parent.glob("encoded.*.dat")):
        chunk = np.load(path.parents[1] / f"array.{encoded.name.split('.')[1]}.npy", allow_pickle=True)
        order = "F" if chunk.flags.f_contiguous and not chunk.flags.c_contiguous else "C"
        dtype = "|O" if chunk.dtype == object else chunk.dtype.str
        flags = encoded.read_bytes()[2]
        snappy = config.get("cname") == "snappy" and flags >> 5 == 2 and not flags & 2
        if config["id"] in NOT_HERE or snappy:
            with pytest.raises(GpuzarrError):
                v2_chain(chunk.shape, dtype, [config], None, order).decode(encoded.read_bytes())
            continue
        decoded = v2_chain(chunk.shape, dtype, [config], None, order).decode(encoded.read_bytes())
        if config["id"] == "quantize":
            np.testing.assert_allclose(decoded, chunk, atol=10.0 ** -config["digits"])
        elif lossy:
            np.testing.assert_allclose(decoded.astype("f8"), chunk.astype("f8"), rtol=0.1, atol=0.1)
        elif decoded.dtype.kind in "OT":
            for ours, theirs in zip(decoded.ravel().tolist(), chunk.ravel().tolist(), strict=True):
                # Missing strings are stored as empty ones.
                assert np.array_equal(ours, theirs) or (ours in ("", b"") and theirs in (None, 0)) or theirs != theirs
        else:
            assert decoded.tobytes() == chunk.tobytes()
