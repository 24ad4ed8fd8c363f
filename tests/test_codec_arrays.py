"""The array steps: transpose, reshape, packbits, bitround, cast_value, scale_offset, strings."""

from __future__ import annotations

import struct
import warnings
from typing import Any

import numpy as np
import pytest

from gpuzarr.codecs import (
    BitRound,
    BytesCodec,
    CastValue,
    PackBitsCodec,
    ReshapeCodec,
    ScaleOffset,
    TransposeCodec,
    VLenBytesCodec,
    VLenUTF8Codec,
)
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import CorruptChunkError, EncodeError, MetadataError, ZarrUserWarning

RNG = np.random.default_rng(11)


def spec_of(shape: tuple[int, ...], dtype: Any, fill: Any = None) -> ChunkSpec:
    data_type = parse_dtype(dtype)
    return ChunkSpec(shape, data_type, data_type.default_fill() if fill is None else data_type.cast_fill(fill))


def there_and_back(codecs: list[Any], chunk: np.ndarray[Any, Any], dtype: Any = None) -> np.ndarray[Any, Any]:
    chain = CodecChain.build(codecs, spec_of(chunk.shape, chunk.dtype if dtype is None else dtype))
    return chain.decode(bytes(chain.encode(chunk)))


def test_transpose() -> None:
    chunk = np.arange(24, dtype="i4").reshape(2, 3, 4)
    spec = spec_of((2, 3, 4), "int32")
    for order in ((2, 0, 1), (1, 2, 0), "C", "F"):
        chain = CodecChain.build([TransposeCodec(order=order), BytesCodec()], spec)
        axes = {"C": (0, 1, 2), "F": (2, 1, 0)}.get(order, order) if isinstance(order, str) else order
        assert bytes(chain.encode(chunk)) == chunk.transpose(axes).tobytes()
        np.testing.assert_array_equal(chain.decode(chain.encode(chunk)), chunk)
    for bad in ((0, 1), (0, 1, 1), (0, 1, 3), (-1, 0, 1)):
        with pytest.raises(MetadataError):
            TransposeCodec(order=bad).evolve(spec)
    for worse in ([True, False], [0.5], "A"):
        with pytest.raises(MetadataError):
            TransposeCodec(order=worse)  # type: ignore[arg-type]


def test_reshape() -> None:
    chunk = RNG.integers(0, 99, (4, 3, 6)).astype("i2")
    spec = spec_of((4, 3, 6), "int16")
    for shape, expected in (
        ([[0, 1], 2, 3], (12, 2, 3)),
        ([-1], (72,)),
        ([[0], [1, 2]], (4, 18)),
        ([2, -1, 6], (2, 6, 6)),
    ):
        codec = ReshapeCodec(shape=shape)
        assert codec.resolve(spec).shape == expected
        np.testing.assert_array_equal(there_and_back([codec, TransposeCodec(order="F"), BytesCodec()], chunk), chunk)
        assert ReshapeCodec.from_configuration(codec.configuration()) == codec
    for shape in ([[0, 1], 7], [5, -1], [[0], [3]], [12, [2], 2], [[1], -1]):
        with pytest.raises(MetadataError):
            ReshapeCodec(shape=shape).resolve(spec)
    for shape in ([[1], [0]], [-1, -1], [0], ["a"], 3, [True]):
        with pytest.raises(MetadataError):
            ReshapeCodec(shape=shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", ["none", "first_byte", "last_byte"])
def test_packbits(padding: Any) -> None:
    flags = RNG.integers(0, 2, 19).astype(bool)
    codec = PackBitsCodec(padding_encoding=padding)
    chain = CodecChain.build([codec], spec_of((19,), "bool"))
    encoded = bytes(chain.encode(flags))
    packed = np.packbits(flags, bitorder="little").tobytes()
    assert encoded == {"none": packed, "first_byte": b"\x05" + packed, "last_byte": packed + b"\x05"}[padding]
    np.testing.assert_array_equal(chain.decode(encoded), flags)
    assert chain.encoded_size == len(encoded)
    with pytest.raises(CorruptChunkError):
        chain.decode(encoded + b"\0")
    if padding != "none":
        with pytest.raises(CorruptChunkError, match="padding"):
            chain.decode(encoded.replace(b"\x05", b"\x04"))
    for dtype in ("int4", "uint4", "int2", "uint2"):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        low, high = (
            (-(2 ** (int(dtype[-1]) - 1)), 2 ** (int(dtype[-1]) - 1)) if dtype[0] == "i" else (0, 2 ** int(dtype[-1]))
        )
        values = RNG.integers(low, high, (3, 5)).astype(getattr(ml_dtypes, dtype))
        decoded = there_and_back([codec], values, dtype)
        np.testing.assert_array_equal(decoded.astype("i1"), values.astype("i1"))


def test_packbits_of_a_bit_range() -> None:
    values = RNG.integers(-(2**11), 2**11, (4, 3)).astype("i2")
    codec = PackBitsCodec(first_bit=0, last_bit=11)
    chain = CodecChain.build([codec], spec_of((4, 3), "int16"))
    assert chain.encoded_size == 18
    np.testing.assert_array_equal(chain.decode(chain.encode(values)), values)
    whole = RNG.normal(size=7).astype("f4")
    np.testing.assert_array_equal(there_and_back([PackBitsCodec()], whole), whole)
    parts = whole + 1j * whole
    np.testing.assert_array_equal(there_and_back([PackBitsCodec()], parts), parts)
    shifted = there_and_back([PackBitsCodec(first_bit=4)], np.array([0x1234], "u2"))
    assert shifted == 0x1230
    for bad in (PackBitsCodec(first_bit=5, last_bit=4), PackBitsCodec(last_bit=16)):
        with pytest.raises(MetadataError):
            bad.evolve(spec_of((2,), "int16"))
    with pytest.raises(MetadataError):
        PackBitsCodec(padding_encoding="odd")  # type: ignore[arg-type]
    with pytest.raises(MetadataError):
        PackBitsCodec(first_bit=-1)
    with pytest.raises(MetadataError):
        PackBitsCodec().evolve(spec_of((2,), "M8[s]"))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("keepbits", [1, 5, 10])
def test_bitround_is_numcodecs_bitround(dtype: str, keepbits: int) -> None:
    from numcodecs import BitRound as Judge

    chunk = RNG.normal(size=200).astype(dtype) * 100
    codec = BitRound(keepbits=keepbits)
    ours = codec.encode(chunk, spec_of((200,), dtype))
    np.testing.assert_array_equal(ours, np.asarray(Judge(keepbits).encode(chunk.copy())).view(dtype))
    assert codec.decode(ours, spec_of((200,), dtype)) is ours


def test_bitround_of_integers() -> None:
    spec = spec_of((6,), "uint8")
    rounded = BitRound(keepbits=3).encode(np.array([0, 5, 9, 0b1011, 0b11011, 255], "u1"), spec)
    assert rounded.tolist() == [0, 5, 8, 12, 28, 0b11100000]
    complexes = np.array([1.2345 + 2.3456j])
    assert BitRound(keepbits=2).encode(complexes, spec_of((1,), "complex128")).tolist() == [1.25 + 2.5j]
    for bad in ({"keepbits": 0}, {"keepbits": True}, {"keepbits": "3"}):
        with pytest.raises(MetadataError):
            BitRound(**bad)  # type: ignore[arg-type]
    with pytest.raises(MetadataError):
        BitRound(keepbits=24).evolve(spec_of((1,), "float32"))
    with pytest.raises(MetadataError):
        BitRound(keepbits=2).evolve(spec_of((1,), "S3"))


def cast(values: Any, source: str, target: str, **more: Any) -> list[Any]:
    codec = CastValue(data_type=target, **more)
    chunk = np.array(values, parse_dtype(source).numpy)
    result = codec.evolve(spec_of(chunk.shape, source)).encode(chunk, spec_of(chunk.shape, source))
    assert result.dtype == parse_dtype(target).numpy
    return result.astype(object).tolist() if result.dtype.kind in "iu" else result.astype("f8").tolist()


def test_cast_value_rounding() -> None:
    values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.4, 2.6]
    for rounding, expected in {
        "nearest-even": [-2, -2, 0, 0, 2, 2, 3],
        "towards-zero": [-2, -1, 0, 0, 1, 2, 2],
        "towards-positive": [-2, -1, 0, 1, 2, 3, 3],
        "towards-negative": [-3, -2, -1, 0, 1, 2, 2],
        "nearest-away": [-3, -2, -1, 1, 2, 2, 3],
    }.items():
        assert cast(values, "float64", "int16", rounding=rounding) == expected
    tenth = cast([0.1, -0.1], "float64", "float32", rounding="towards-zero")
    assert 0 < tenth[0] < 0.1
    assert tenth[1] == -tenth[0]
    up, down = (cast([2**53 + 1], "int64", "float64", rounding=f"towards-{w}")[0] for w in ("positive", "negative"))
    assert (up, down) == (2.0**53 + 2, 2.0**53)


def test_cast_value_range() -> None:
    assert cast([-5, 300, 7], "int16", "uint8", out_of_range="clamp") == [0, 255, 7]
    assert cast([-5, 300, 7], "int16", "uint8", out_of_range="wrap") == [251, 44, 7]
    assert cast([-5.4, 300.2, np.inf], "float32", "uint8", out_of_range="clamp") == [0, 255, 255]
    assert cast([-5.4, 300.2], "float32", "uint8", out_of_range="wrap") == [251, 44]
    assert cast([1e30, -1e30], "float64", "int64", out_of_range="clamp") == [2**63 - 1, -(2**63)]
    assert cast([2**64 - 1, 5], "uint64", "int64", out_of_range="wrap") == [-1, 5]
    assert cast([2**64 - 1], "uint64", "int64", out_of_range="clamp") == [2**63 - 1]
    assert cast([1e300], "float64", "float32", out_of_range="clamp") == [float(np.finfo("f4").max)]
    assert cast([np.inf, np.nan], "float64", "float32")[0] == np.inf
    for values, source, target in (
        ([300], "int16", "uint8"),
        ([9e9], "float64", "int32"),
        ([1e300], "float64", "float32"),
        ([np.nan], "float32", "int8"),
        ([np.inf], "float32", "int8"),
    ):
        with pytest.raises(EncodeError):
            cast(values, source, target)
    with pytest.raises(EncodeError):
        cast([np.inf], "float32", "int8", out_of_range="wrap")


def test_cast_value_maps_and_small_types() -> None:
    scalar_map = {"encode": [["NaN", 255], [7, 1]], "decode": [[255, "NaN"]]}
    codec = CastValue(data_type="uint8", scalar_map=scalar_map)
    chunk = np.array([np.nan, 7, 3], "f4")
    spec = spec_of((3,), "float32", 0.0)
    encoded = codec.evolve(spec).encode(chunk, spec)
    assert encoded.tolist() == [255, 1, 3]
    np.testing.assert_array_equal(codec.decode(encoded, spec), np.array([np.nan, 1, 3], "f4"))
    assert CastValue.from_configuration(codec.configuration()).to_dict() == codec.to_dict()
    pytest.importorskip("ml_dtypes")
    assert cast([-9, 9, 3], "int16", "int4", out_of_range="clamp") == [-8, 7, 3]
    assert cast([9], "int8", "int4", out_of_range="wrap") == [-7]
    assert cast([1.5, 2.0], "float32", "bfloat16") == [1.5, 2.0]
    assert cast([1e6], "float32", "float8_e4m3fn", out_of_range="clamp") == [448.0]


def test_cast_value_refuses() -> None:
    for bad in (
        {"data_type": "string"},
        {"data_type": "uint8", "rounding": "up"},
        {"data_type": "uint8", "out_of_range": "ignore"},
        {"data_type": "float32", "out_of_range": "wrap"},
        {"data_type": "uint8", "scalar_map": {"both": []}},
        {"data_type": "uint8", "scalar_map": {"encode": [1]}},
        {"data_type": "uint8", "odd": 1},
        {},
    ):
        with pytest.raises(MetadataError):
            CastValue.from_configuration(bad)
    with pytest.raises(MetadataError):
        CastValue(data_type="uint8", scalar_map={"encode": [["x", 1]]}).evolve(spec_of((1,), "float32"))
    with pytest.raises(MetadataError):
        CastValue(data_type="uint8").evolve(spec_of((1,), "string"))
    with pytest.raises(MetadataError, match="fill value"):
        CastValue(data_type="uint8").resolve(spec_of((1,), "float32", np.nan))
    with pytest.raises(CorruptChunkError):
        CastValue(data_type="int64").decode(np.array([300]), spec_of((1,), "int8"))


def test_scale_offset() -> None:
    codec = ScaleOffset(offset=5, scale=0.5)
    chunk = np.linspace(0, 9, 7).astype("f4")
    spec = spec_of((7,), "float32", 7.0)
    np.testing.assert_array_equal(codec.encode(chunk, spec), (chunk - np.float32(5)) * np.float32(0.5))
    assert codec.resolve(spec).fill_value == 1.0
    whole = ScaleOffset(offset=-3, scale=2)
    for dtype in ("i1", "u2", "i4", "i8", "u8"):
        values = np.array([0, 1, 40], dtype)
        one = spec_of((3,), dtype)
        np.testing.assert_array_equal(whole.decode(whole.encode(values, one), one), values) if dtype[0] == "i" else None
        with pytest.raises(EncodeError if dtype[0] == "i" else MetadataError):
            whole.encode(np.array([np.iinfo(dtype).max], dtype), one)
    with pytest.raises(CorruptChunkError, match="multiple"):
        ScaleOffset(scale=3).decode(np.array([4]), spec_of((1,), "int64"))
    with pytest.raises(CorruptChunkError):
        ScaleOffset(offset=100).decode(np.array([100], "i1"), spec_of((1,), "int8"))
    assert ScaleOffset().to_dict() == {"name": "scale_offset"}
    assert codec.to_dict() == {"name": "scale_offset", "configuration": {"offset": 5, "scale": 0.5}}
    for bad in ({"offset": True}, {"scale": None}):
        with pytest.raises(MetadataError):
            ScaleOffset(**bad)  # type: ignore[arg-type]
    for codec, dtype in ((ScaleOffset(scale=0), "int8"), (ScaleOffset(scale=0.5), "int8"), (ScaleOffset(), "bool")):
        with pytest.raises(MetadataError):
            codec.evolve(spec_of((1,), dtype))


def test_bytes_without_endian() -> None:
    with pytest.raises(MetadataError, match="endian"):
        BytesCodec(endian=None).evolve(spec_of((2,), "int16"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert BytesCodec().evolve(spec_of((2,), "S3")).endian is None
    with pytest.warns(ZarrUserWarning, match="little"):
        assert BytesCodec(endian=None).evolve(spec_of((2,), [("a", "i2")])).endian == "little"
    with pytest.raises(MetadataError):
        BytesCodec(endian="middle")  # type: ignore[arg-type]


def test_strings() -> None:
    """Trap 22: missing strings are empty, and nothing else is a string."""
    words = ["", "a", "wörd", "🎉" * 3, "x" * 500, "b"]
    chunk = np.array(words, np.dtypes.StringDType()).reshape(2, 3)
    spec = spec_of((2, 3), "string")
    chain = CodecChain.build([VLenUTF8Codec()], spec)
    encoded = bytes(chain.encode(chunk))
    assert encoded[:8] == struct.pack("<II", 6, 0)
    assert chain.decode(encoded).tolist() == chunk.tolist()
    assert chain.encoded_size is None
    objects = np.array([None, 0, "a", "b", "c", "d"], object).reshape(2, 3)
    assert chain.decode(chain.encode(objects)).ravel().tolist() == ["", "", "a", "b", "c", "d"]
    with pytest.raises(EncodeError):
        chain.encode(np.array([1, 2, 3, 4, 5, 6], object))
    missing = np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan))
    with pytest.raises(EncodeError):
        VLenUTF8Codec().encode(missing, spec)
    with pytest.raises(EncodeError):
        VLenUTF8Codec().encode(np.array(["\ud800"], object), spec)
    # F-contiguous input is stored in C order (trap 10).
    assert bytes(chain.encode(np.asfortranarray(chunk))) == encoded


def test_strings_that_lie() -> None:
    chain = CodecChain.build([VLenUTF8Codec()], spec_of((2,), "string"))
    good = struct.pack("<II", 2, 1) + b"a" + struct.pack("<I", 2) + b"bc"
    assert chain.decode(good).tolist() == ["a", "bc"]
    for bad in (
        b"",
        good[:3],
        struct.pack("<I", 2**31) + good[4:],
        struct.pack("<I", 1) + good[4:],
        good[:-1],
        good + b"x",
        good[:4] + struct.pack("<I", 2**32 - 1) + good[8:],
        struct.pack("<II", 2, 1) + b"\xff" + struct.pack("<I", 0),
        struct.pack("<III", 2, 3, 0),
    ):
        with pytest.raises(CorruptChunkError):
            chain.decode(bad)


def test_byte_strings() -> None:
    data_type = parse_dtype("bytes")
    spec = ChunkSpec((2, 2), data_type, b"")
    chunk = np.empty((2, 2), object)
    chunk[...] = [[b"", b"\0\xff"], [None, bytearray(b"xyz")]]
    chain = CodecChain.build([VLenBytesCodec()], spec)
    assert chain.decode(chain.encode(chunk)).tolist() == [[b"", b"\0\xff"], [b"", b"xyz"]]
    with pytest.raises(EncodeError):
        chain.encode(np.array([["a", "b"], ["c", "d"]], object))
