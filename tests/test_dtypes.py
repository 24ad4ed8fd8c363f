"""Data types: JSON forms, NumPy dtypes, and fill values, compared bit by bit."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuzarr.dtypes import OBJECT_CODECS, DataType, data_type_from_v2, data_type_from_v3, parse_dtype
from gpuzarr.errors import DataTypeValidationError, MetadataError, PickleCodecDisabledError, ZarrUserWarning

RECORD = [("a", "i2"), ("b", ">f8"), ("n", [("x", "S2"), ("y", "M8[ns]")])]
RECORD_V3 = {
    "name": "struct",
    "configuration": {
        "fields": [
            {"name": "a", "data_type": "int16"},
            {"name": "b", "data_type": "float64"},
            {
                "name": "n",
                "data_type": {
                    "name": "struct",
                    "configuration": {
                        "fields": [
                            {
                                "name": "x",
                                "data_type": {"name": "null_terminated_bytes", "configuration": {"length_bytes": 2}},
                            },
                            {
                                "name": "y",
                                "data_type": {
                                    "name": "numpy.datetime64",
                                    "configuration": {"unit": "ns", "scale_factor": 1},
                                },
                            },
                        ]
                    },
                },
            },
        ]
    },
}


def length(name: str, size: int) -> dict:
    return {"name": name, "configuration": {"length_bytes": size}}


def time(kind: str, unit: str, scale: int = 1) -> dict:
    return {"name": f"numpy.{kind}64", "configuration": {"unit": unit, "scale_factor": scale}}


# What a user writes, the format 3 JSON, the format 2 JSON, bytes of an element, default fill value as JSON of format 3.
TYPES = [
    (None, "float64", "<f8", 8, 0.0),
    (bool, "bool", "|b1", 1, False),
    ("?", "bool", "|b1", 1, False),
    *[(f"i{n}", f"int{8 * n}", f"{'|' if n == 1 else '<'}i{n}", n, 0) for n in (1, 2, 4, 8)],
    *[(f"uint{8 * n}", f"uint{8 * n}", f"{'|' if n == 1 else '<'}u{n}", n, 0) for n in (1, 2, 4, 8)],
    *[(np.dtype(f"f{n}"), f"float{8 * n}", f"<f{n}", n, 0.0) for n in (2, 4, 8)],
    (np.complex64, "complex64", "<c8", 8, [0.0, 0.0]),
    ("c16", "complex128", "<c16", 16, [0.0, 0.0]),
    (int, "int64", "<i8", 8, 0),
    (float, "float64", "<f8", 8, 0.0),
    ("S3", length("null_terminated_bytes", 3), "|S3", 3, ""),
    ("U2", length("fixed_length_utf32", 8), "<U2", 8, ""),
    ("V5", length("raw_bytes", 5), "|V5", 5, "AAAAAAA="),
    ("r24", "r24", "|V3", 3, [0, 0, 0]),
    ("M8", time("datetime", "generic"), "<M8", 8, -(2**63)),
    ("M8[10us]", time("datetime", "us", 10), "<M8[10us]", 8, -(2**63)),
    ("m8[D]", time("timedelta", "D"), "<m8[D]", 8, -(2**63)),
    (str, "string", "|O", None, ""),
    ("str", "string", "|O", None, ""),
    ("string", "string", "|O", None, ""),
    (np.dtypes.StringDType(), "string", "|O", None, ""),
    (bytes, "variable_length_bytes", "|O", None, ""),
    ("bytes", "variable_length_bytes", "|O", None, ""),
    (RECORD, RECORD_V3, None, 20, {"a": 0, "b": 0.0, "n": {"x": "", "y": 0}}),
    (np.dtype(RECORD), RECORD_V3, None, 20, {"a": 0, "b": 0.0, "n": {"x": "", "y": 0}}),
]


@pytest.mark.parametrize(("written", "v3", "v2", "itemsize", "fill"), TYPES, ids=lambda v: str(v)[:30])
def test_forms(written, v3, v2, itemsize, fill):
    data_type = parse_dtype(written)
    assert data_type.to_v3() == v3
    assert data_type.itemsize == itemsize
    assert data_type.fill_to_json(data_type.default_fill(), 3) == fill
    if v2 is not None:
        assert data_type.to_v2() == v2
    assert data_type.numpy.isnative
    assert data_type_from_v3(json.loads(json.dumps(v3))) == data_type
    assert parse_dtype(v3) == data_type
    assert parse_dtype(data_type) is data_type
    assert hash(pickle.loads(pickle.dumps(data_type))) == hash(data_type)


def test_default_fill_is_a_scalar_of_the_type():
    for written, *_ in TYPES:
        data_type = parse_dtype(written)
        array = np.full(3, data_type.default_fill(), dtype=data_type.numpy)
        assert array.dtype == data_type.numpy


def test_byte_order_is_kept_in_format_2_only():
    for text in (">f4", ">i8", ">U3", ">M8[s]", ">c8"):
        assert parse_dtype(text, 2).numpy.str == np.dtype(text).str
        assert parse_dtype(text, 2).to_v2() == np.dtype(text).str
        assert parse_dtype(text, 3).numpy.isnative
        assert parse_dtype(text, 2) != parse_dtype(text, 3)
        assert parse_dtype(text, 2).native() == parse_dtype(text, 3)
    assert parse_dtype(RECORD, 2).numpy == np.dtype(RECORD)
    assert parse_dtype(RECORD, 2).to_v2() == [["a", "<i2"], ["b", ">f8"], ["n", [["x", "|S2"], ["y", "<M8[ns]"]]]]
    assert parse_dtype(RECORD, 3).numpy["b"].isnative


@pytest.mark.parametrize(
    ("spelled", "dtype"),
    [
        ("<u1", "|u1"),
        (">b1", "|b1"),
        ("<i1", "|i1"),
        ("<V4", "|V4"),
        ("|V4", "|V4"),
        (">S3", "|S3"),
        ("<f4", "<f4"),
        (">i8", ">i8"),
        ("<M8[μs]", "<M8[us]"),
        (">m8[25s]", ">m8[25s]"),
        ([["x", "<f4"], ["y", ">i2"]], [("x", "<f4"), ("y", ">i2")]),
        ([["z", "<f4", [2, 2]], ["w", "|u1", 3]], [("z", "<f4", (2, 2)), ("w", "|u1", (3,))]),
        ([["r", [["a", "<i4"], ["b", "|S2"]]]], [("r", [("a", "<i4"), ("b", "|S2")])]),
    ],
)
def test_v2_spellings(spelled, dtype):
    data_type = data_type_from_v2(spelled)
    assert data_type.numpy == np.dtype(dtype)
    assert data_type_from_v2(data_type.to_v2()) == data_type


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "f",
        "<f",
        "f4",
        "=f4",
        "<q8",
        "|f4",
        "<f16",
        "<f3",
        "|O",
        "<i4 ",
        "i4;",
        "<f8[ns]",
        "M8[xx]",
        "S0",
        "|V0",
        "|S99999999999",
        "object",
        "<M8[0s]x",
        5,
        None,
        True,
        {"a": 1},
        [],
        [["a"]],
        [["a", "<f4", [0]]],
        [["a", "<f4", [True]]],
        [["a", "|O"]],
        [["a", "<f4"], ["a", "<f4"]],
        [["", "<f4"]],
        [[1, "<f4"]],
        [["a", "<f4", 2, 3]],
        [["a", "<f4", [2**31]]],
    ],
    ids=str,
)
def test_v2_refused(spelled):
    with pytest.raises(DataTypeValidationError):
        data_type_from_v2(spelled)


def test_v2_objects():
    assert data_type_from_v2("|O", object_codec="vlen-utf8").numpy == np.dtypes.StringDType()
    for codec in OBJECT_CODECS:
        data_type = data_type_from_v2("|O", object_codec=codec)
        assert (data_type.itemsize, data_type.to_v2(), data_type.object_codec) == (None, "|O", codec)
        assert data_type == data_type_from_v2("|O", object_codec=codec)
    json2 = data_type_from_v2("|O", object_codec="json2")
    assert json2.numpy == np.dtype(object)
    assert json2.fill_from_json({"a": [1]}, 2) == {"a": [1]}
    assert json2 != data_type_from_v2("|O", object_codec="msgpack2")
    with pytest.raises(DataTypeValidationError):
        json2.to_v3()
    with pytest.raises(PickleCodecDisabledError):
        data_type_from_v2("|O", object_codec="pickle")
    with pytest.raises(DataTypeValidationError, match="vlen-utf8"):
        data_type_from_v2("|O", object_codec=None)


@pytest.mark.parametrize(
    "spelled",
    [
        "float128",
        "complex256",
        "r7",
        "r0",
        "r",
        "structured",
        "struct",
        "numpy.datetime64",
        "raw_bytes",
        "object",
        "<f4",
        "optional",
        "",
        5,
        None,
        {},
        {"name": 5},
        {"name": "float32", "configuration": {"endian": "big"}},
        {"name": "float32", "other": 1},
        {"name": "string", "configuration": []},
        length("raw_bytes", 0),
        length("raw_bytes", True),
        length("raw_bytes", "4"),
        length("fixed_length_utf32", 6),
        length("raw_bytes", 2**31),
        {"name": "raw_bytes", "configuration": {"length": 4}},
        time("datetime", "us", 0),
        time("datetime", "us", 2**31),
        time("datetime", "us", 1.0),
        time("datetime", "fortnight"),
        time("datetime", "generic", 2),
        time("datetime", []),
        {"name": "numpy.datetime64", "configuration": {"unit": "s"}},
        {"name": "struct", "configuration": {"fields": []}},
        {"name": "struct", "configuration": {"fields": {}}},
        {"name": "struct", "configuration": {"fields": [{"name": "a"}]}},
        {"name": "struct", "configuration": {"fields": [{"name": "a", "data_type": "string"}]}},
        {"name": "struct", "configuration": {"fields": [["a", "int8"], ["a", "int8"]]}},
    ],
    ids=str,
)
def test_v3_refused(spelled):
    with pytest.raises(DataTypeValidationError):
        data_type_from_v3(spelled)


def test_v3_microseconds_and_empty_configurations():
    for unit in ("us", "μs", "µs"):
        assert data_type_from_v3(time("datetime", unit)).numpy == np.dtype("M8[us]")
    assert data_type_from_v3({"name": "float32", "configuration": {}}).name == "float32"
    assert data_type_from_v3({"name": "float32"}).name == "float32"
    assert data_type_from_v3("bytes").to_v3() == "bytes"  # written back as it was read


@pytest.mark.parametrize(
    "written",
    [
        object,
        "O",
        "g",
        "float128",
        "nonsense",
        np.longdouble,
        3.5,
        [("a", "O")],
        np.dtype(("f4", (2,))),
        "S",
        "U",
        "V0",
        np.dtype([(("title", "name"), "i4")]),
        np.dtypes.StringDType(na_object=None),
        "complex256",
    ],
    ids=str,
)
def test_users_refused(written):
    with pytest.raises(DataTypeValidationError):
        parse_dtype(written)


def test_padded_records_are_packed():
    padded = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    with pytest.warns(ZarrUserWarning, match="9 bytes each"):
        data_type = parse_dtype(padded)
    assert data_type.numpy == np.dtype([("a", "u1"), ("b", "f8")])
    array = np.zeros(2, padded)
    array["b"] = 1.5
    assert (array.astype(data_type.numpy)["b"] == 1.5).all()


def test_subarrays_are_of_format_2_only():
    data_type = parse_dtype([("z", "<f4", (2, 2))], 2)
    assert data_type.to_v2() == [["z", "<f4", [2, 2]]]
    assert data_type.cast_fill((7.0,))["z"].tolist() == [[7.0, 7.0], [7.0, 7.0]]
    stored = data_type.fill_to_json(data_type.cast_fill(([[1, 2], [3, 4]],)), 2)
    assert data_type.fill_from_json(stored, 2)["z"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(DataTypeValidationError, match="only format 2"):
        data_type.to_v3()
    with pytest.raises(DataTypeValidationError):
        data_type.cast_fill(([1, 2, 3],))


def test_duck_typed_data_types():
    plain = SimpleNamespace(to_native_dtype=lambda: np.dtype("i4"))
    assert parse_dtype(plain).name == "int32"
    objects = SimpleNamespace(to_native_dtype=lambda: np.dtype(object), object_codec_id="vlen-bytes")
    assert parse_dtype(objects).name == "variable_length_bytes"
    assert parse_dtype({"name": "|O", "object_codec_id": "vlen-utf8"}, 2).name == "string"
    assert parse_dtype({"name": "<f4", "object_codec_id": None}, 2).name == "float32"


# --- fill values --------------------------------------------------------------------------------------------------


def bits(data_type: DataType, scalar) -> str:
    return data_type.fill_bytes(scalar).hex()


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        # From the spec, and from zarr-metadata's tests.
        ("float32", "0x7fc00000", "0000c07f"),
        ("float32", "0x7FC00001", "0100c07f"),
        ("float32", "0xffc00000", "0000c0ff"),
        ("float32", "0x7fa00000", "0000a07f"),
        ("float32", "NaN", "0000c07f"),
        ("float32", "Infinity", "0000807f"),
        ("float32", "-Infinity", "000080ff"),
        ("float32", -0.0, "00000080"),
        ("float32", 3.5e38, "0000807f"),
        ("float32", 10**39, "0000807f"),
        ("float32", -(10**400), "000080ff"),
        ("float32", 0.1, "cdcccc3d"),
        ("float16", 2049, "0068"),
        ("float16", 2051, "0268"),
        ("float16", 65519, "ff7b"),
        ("float16", 65520, "007c"),
        ("float16", "0x7d00", "007d"),
        ("float64", "0x7ff4000000000000", "000000000000f47f"),
        ("float64", 2**53 + 1, np.float64(2**53).tobytes().hex()),
        ("complex64", ["NaN", -0.0], "0000c07f00000080"),
        ("complex64", ["0x7fc00001", 1], "0100c07f0000803f"),
        ("complex128", [0.1, "-Infinity"], np.array([0.1, -np.inf]).tobytes().hex()),
        ("int8", -128, "80"),
        ("int8", 7.0, "07"),
        ("uint64", 2**64 - 1, "ff" * 8),
        ("bool", True, "01"),
        ("r16", [1, 255], "01ff"),
        ("string", "é", "c3a9"),
        ("bytes", [0, 255], "00ff"),
        ("bytes", "AQI=", "0102"),
        ("bytes", "", ""),
    ],
    ids=str,
)
def test_fill_from_v3(name, stored, expected):
    data_type = data_type_from_v3(name)
    scalar = data_type.fill_from_json(stored, 3)
    assert bits(data_type, scalar) == expected
    again = data_type.fill_from_json(json.loads(json.dumps(data_type.fill_to_json(scalar, 3))), 3)
    assert bits(data_type, again) == expected


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        *[("int8", v) for v in (True, 1.5, "5", None, 128, -129, [1], 10**5000)],
        *[("uint8", v) for v in (-1, 256)],
        ("uint64", 2**64),
        *[("float32", v) for v in (None, True, "nan", "inf", "0x7e00", "0x7fc0000g", "1.5", [1.0])],
        ("float16", "0x7fc00000"),
        *[("complex64", v) for v in ([1], [1, 2, 3], 1.0, "NaN", [1, "0x7ff8000000000000"], [None, 1])],
        *[("bool", v) for v in (2, "true", None, [])],
        *[("r16", v) for v in ([1], [1, 2, 3], [1, 256], [1, True], [1, -1], "AQ==", 1)],
        *[("bytes", v) for v in ([-1], "!!", "AQI", 3, None)],
        *[("string", v) for v in (1, None, [], "\ud800")],
        *[(time("datetime", "s"), v) for v in (1.5, 2**63, -(2**63) - 1, "2020-01-01", True, None)],
        *[(length("null_terminated_bytes", 2), v) for v in ("YWJj", "?", 0, None)],
        *[(length("fixed_length_utf32", 8), v) for v in (0, None, [])],
        *[
            (RECORD_V3, v)
            for v in (
                {"a": 1},
                [1, 2],
                None,
                "AAAA",
                {"a": 1, "b": 0, "n": {"x": "", "y": 0}, "c": 1},
                {"a": 1, "b": "x"},
            )
        ],
    ],
    ids=lambda v: repr(v)[:40] if not isinstance(v, int) else "int",
)
def test_fill_refused_in_v3(name, stored):
    with pytest.raises(MetadataError) as caught:
        data_type_from_v3(name).fill_from_json(stored, 3)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("dtype", "codec", "stored", "expected"),
    [
        ("<i4", None, 0.0, "00000000"),
        ("<i4", None, "7", "07000000"),
        (">i4", None, 7, "00000007"),
        (">f4", None, "NaN", "7fc00000"),
        ("<f8", None, "-Infinity", np.float64(-np.inf).tobytes().hex()),
        ("<f8", None, "2.5", np.float64(2.5).tobytes().hex()),
        ("|b1", None, 0, "00"),
        ("|b1", None, 1.0, "01"),
        ("<c8", None, [1.0, "NaN"], np.array([1, np.nan], "f4").tobytes().hex()),
        ("<c8", None, 2, np.array([2, 0], "f4").tobytes().hex()),
        ("|S3", None, "YWI=", "616200"),
        ("|S3", None, "", "000000"),
        ("|S3", None, 0, "000000"),
        ("|S1", None, "\0", "00"),
        ("<U2", None, "é", "e900000000000000"),
        (">U2", None, "é", "000000e900000000"),
        ("<U2", None, 0, "0000000000000000"),
        ("|V3", None, "AQID", "010203"),
        ("|V3", None, 0, "000000"),
        ("<M8[s]", None, 5, "0500000000000000"),
        (">M8[s]", None, "NaT", "8000000000000000"),
        ([["a", ">i2"], ["b", "<f4"]], None, "AAEAAMA/", "00010000c03f"),
        ([["a", ">i2"], ["b", "<f4"]], None, 0, "000000000000"),
        ("|O", "vlen-utf8", "x", "78"),
        ("|O", "vlen-utf8", 0, b"0".hex()),
        ("|O", "vlen-utf8", 1.5, b"1.5".hex()),
        ("|O", "vlen-bytes", "AQI=", "0102"),
        ("|O", "vlen-bytes", 0, ""),
    ],
    ids=str,
)
def test_fill_from_v2(dtype, codec, stored, expected):
    data_type = data_type_from_v2(dtype, object_codec=codec)
    scalar = data_type.fill_from_json(stored, 2)
    assert bits(data_type, scalar) == expected
    assert bits(data_type, data_type.fill_from_json(data_type.fill_to_json(scalar, 2), 2)) == expected


def test_legacy_structured_is_little_endian_base64():
    data_type = data_type_from_v3(
        {"name": "structured", "configuration": {"fields": [["a", "int16"], ["b", "float32"]]}}
    )
    scalar = data_type.fill_from_json("AQAAAMA/", 3)
    assert (scalar["a"], scalar["b"]) == (1, 1.5)
    assert data_type.fill_to_json(scalar, 3) == "AQAAAMA/"
    assert data_type.to_v3()["configuration"]["fields"] == [["a", "int16"], ["b", "float32"]]


@given(st.integers(0, 2**32 - 1))
def test_every_float32_survives_format_3(pattern):
    data_type = parse_dtype("f4")
    scalar = np.array(pattern, "u4").view("f4")[()]
    stored = json.loads(json.dumps(data_type.fill_to_json(scalar, 3), allow_nan=False))
    assert bits(data_type, data_type.fill_from_json(stored, 3)) == bits(data_type, scalar)


@given(st.floats(width=64), st.floats(width=64))
def test_every_complex_survives_format_2(real, imaginary):
    data_type = parse_dtype(">c16", 2)
    scalar = data_type.cast_fill(complex(real, imaginary))
    stored = json.loads(json.dumps(data_type.fill_to_json(scalar, 2), allow_nan=False))
    again = data_type.fill_from_json(stored, 2)
    same = np.array_equal(np.array([scalar]).view("f8"), np.array([again]).view("f8"), equal_nan=True)
    assert same
    assert np.signbit(again.real) == np.signbit(scalar.real) or np.isnan(scalar.real)


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("i4", 3.0, 3),
        ("i4", "7", 7),
        ("i4", np.int8(-1), -1),
        ("i4", np.array(5), 5),
        ("?", 5, True),
        ("?", np.True_, True),
        ("f4", "nan", "NaN"),
        ("f4", np.array(3.0), 3.0),
        ("f4", 1, 1.0),
        ("c8", 1 + 2j, [1.0, 2.0]),
        ("c8", 3, [3.0, 0.0]),
        ("S3", b"abcd", "YWJj"),
        ("S3", "ab", "YWI="),
        ("U3", "héllo", "hél"),
        ("U3", b"ab", "ab"),
        ("V3", b"abc", "YWJj"),
        ("V3", np.void(b"abc"), "YWJj"),
        ("V3", b"a", "YQAA"),
        (str, 5, "5"),
        (str, b"x", "x"),
        (bytes, "x", "eA=="),
        (bytes, bytearray(b"x"), "eA=="),
        ("M8[s]", "2020-01-01", 1577836800),
        ("M8[s]", np.datetime64("2020-01-01"), 1577836800),
        ("M8[D]", date(1970, 1, 3), 2),
        ("M8[s]", 7, 7),
        ("M8", 7, 7),
        ("M8[s]", None, -(2**63)),
        ("M8[s]", np.datetime64("NaT", "s"), -(2**63)),
        ("m8[10s]", np.timedelta64(100, "s"), 10),
        ("m8[s]", timedelta(minutes=1), 60),
        ([("a", "i2"), ("b", "f4")], (1, np.nan), {"a": 1, "b": "NaN"}),
        ([("a", "i2"), ("b", "f4")], {"b": 2, "a": 1}, {"a": 1, "b": 2.0}),
        ([("a", "i2"), ("b", "f4")], 0, {"a": 0, "b": 0.0}),
        ([("a", "i2"), ("b", "f4")], np.array((1, 2.5), "i4,f8")[()], {"a": 1, "b": 2.5}),
        ([("a", "i2"), ("b", "f4")], b"\1\0\0\0\xc0?", {"a": 1, "b": 1.5}),
    ],
    ids=str,
)
def test_cast_fill(written, value, expected):
    data_type = parse_dtype(written)
    scalar = data_type.cast_fill(value)
    assert data_type.fill_to_json(scalar, 3) == expected
    assert bits(data_type, data_type.cast_fill(scalar)) == bits(data_type, scalar)


def test_cast_fill_keeps_the_payload_of_a_nan():
    data_type = parse_dtype("f8")
    odd = np.uint64(0x7FF8_0000_0000_0001).view("f8")
    assert data_type.fill_to_json(data_type.cast_fill(odd), 3) == "0x7ff8000000000001"
    assert data_type.fill_to_json(data_type.cast_fill(odd), 2) == "NaN"
    assert data_type.fill_bytes(0.0) != data_type.fill_bytes(-0.0)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("u1", 300),
        ("i1", -129),
        ("i4", 1.5),
        ("i4", np.nan),
        ("i4", "x"),
        ("i4", None),
        ("i4", [1]),
        ("?", "yes"),
        ("f4", "x"),
        ("f4", None),
        ("f4", [1.0]),
        ("c8", "x"),
        ("S3", 1.5),
        ("S3", "é"),
        ("V3", b"abcd"),
        ("V3", 1),
        (str, None),
        (str, "\ud800"),
        (bytes, 5),
        ("M8[s]", "yesterday"),
        ("M8[s]", 1.5),
        ("M8[s]", 2**63),
        ("M8", "2020-01-01"),
        ([("a", "i2")], (1, 2)),
        ([("a", "i2")], {"b": 1}),
        ([("a", "i2")], b"x"),
        ([("a", "i2")], "x"),
        ([("a", "i2")], (10**6,)),
    ],
    ids=str,
)
def test_cast_fill_refused(written, value):
    with pytest.raises(DataTypeValidationError):
        parse_dtype(written).cast_fill(value)


# --- ml_dtypes ----------------------------------------------------------------------------------------------------

ML = {
    "bfloat16": (2, "0x7fc1", "c17f"),
    "float8_e3m4": (1, "0x71", "71"),
    "float8_e4m3": (1, "0x7a", "7a"),
    "float8_e4m3b11fnuz": (1, "NaN", "80"),
    "float8_e4m3fn": (1, "NaN", "7f"),
    "float8_e4m3fnuz": (1, 1.5, "44"),
    "float8_e5m2": (1, "Infinity", "7c"),
    "float8_e5m2fnuz": (1, -1.0, "c0"),
    "float8_e8m0fnu": (1, 1.0, "7f"),
    "float6_e2m3fn": (1, 1.0, "08"),
    "float6_e3m2fn": (1, 1.0, "0c"),
    "float4_e2m1fn": (1, 1.0, "02"),
    "int2": (1, -2, None),
    "int4": (1, -8, None),
    "uint2": (1, 3, None),
    "uint4": (1, 15, None),
    "complex_float16": (4, [1.0, "NaN"], "003c007e"),
    "complex_bfloat16": (4, [1.0, -2.0], "803f00c0"),
}


@pytest.mark.parametrize("name", ML)
def test_ml_dtypes(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    itemsize, stored, expected = ML[name]
    if name.startswith("complex") and not hasattr(ml_dtypes, "complex32"):
        pytest.skip("this ml_dtypes has no complex types yet")
    data_type = parse_dtype(name)
    assert (data_type.to_v3(), data_type.itemsize, data_type.to_v2()) == (name, itemsize, name)
    assert data_type_from_v2(name) == data_type == parse_dtype(data_type.numpy)
    scalar = data_type.fill_from_json(stored, 3)
    assert data_type.fill_to_json(scalar, 3) == stored
    if expected is not None:
        assert bits(data_type, scalar) == expected
    assert np.zeros(2, data_type.numpy).dtype == data_type.numpy


def test_ml_dtypes_ranges():
    pytest.importorskip("ml_dtypes")
    for name, low, high in (("int2", -2, 1), ("int4", -8, 7), ("uint2", 0, 3), ("uint4", 0, 15)):
        data_type = parse_dtype(name)
        for value in (low - 1, high + 1):
            with pytest.raises(DataTypeValidationError):
                data_type.fill_from_json(value, 3)
            with pytest.raises(DataTypeValidationError):
                data_type.cast_fill(value)
        assert [int(data_type.cast_fill(v)) for v in (low, high)] == [low, high]
    for name, absent in (("float8_e4m3fn", "Infinity"), ("float4_e2m1fn", "NaN"), ("float6_e2m3fn", "-Infinity")):
        with pytest.raises(DataTypeValidationError):
            data_type_from_v3(name).fill_from_json(absent, 3)


def test_without_ml_dtypes_the_error_names_it():
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "from gpuzarr.dtypes import parse_dtype, data_type_from_v3\n"
        "assert parse_dtype('f4').name == 'float32'\n"
        "try: data_type_from_v3('bfloat16')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ml_dtypes" in done.stdout


def test_parsing_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for written, *_ in TYPES:
            parse_dtype(written).cast_fill(parse_dtype(written).default_fill())


def test_zarr_pythons_names():
    from gpuzarr import dtype as names

    made = [
        (names.Bool(), "?"),
        (names.Int8(), "i1"),
        (names.UInt16(), "u2"),
        (names.Float32(endianness="big"), ">f4"),
        (names.Complex128(), "c16"),
        (names.DateTime64(unit="us", scale_factor=10), "M8[10us]"),
        (names.TimeDelta64(unit="s", endianness="big"), ">m8[s]"),
        (names.FixedLengthUTF32(length=3), "U3"),
        (names.NullTerminatedBytes(length=3), "S3"),
        (names.RawBytes(length=3), "V3"),
        (names.VariableLengthUTF8(), str),
        (names.VariableLengthBytes(), bytes),
        (names.Struct(fields=[("a", names.Int8()), ("b", ">f4")]), [("a", "i1"), ("b", ">f4")]),
    ]
    for data_type, written in made:
        assert data_type == parse_dtype(written, 2)
        assert isinstance(data_type, names.ZDType)
    assert names.parse_data_type("f4") == parse_dtype("float32")
    with pytest.raises(names.DataTypeValidationError):
        names.RawBytes(length=0)


@pytest.mark.parametrize("name", ["int8", "uint64", "float32"])
def test_cast_fill_drops_no_part_of_a_complex_number(name):
    for value in (np.complex64(1 + 2j), np.complex128(1), 1j):
        with pytest.raises(DataTypeValidationError):
            parse_dtype(name, 3).cast_fill(value)
