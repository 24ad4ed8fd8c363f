"""Reading and writing metadata documents: the model, strict JSON, consolidated metadata."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest

from gpuzarr.dtypes import data_type_from_v3
from gpuzarr.errors import DataTypeValidationError, MetadataError, NodeTypeValidationError, PickleCodecDisabledError
from gpuzarr.grid import KeyEncoding, RectilinearGrid, RegularGrid
from gpuzarr.metadata import (
    GroupMetadata,
    NamedConfig,
    array_from_v2,
    array_from_v3,
    encode_document,
    group_from_v2,
    group_from_v3,
    node_from_v3,
    parse_document,
    validate_node_path,
)
from gpuzarr.metadata.consolidated import build, parse_v2, parse_v3, subtree

V3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [10, 6],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 3]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": "NaN",
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    "attributes": {"units": "K"},
    "dimension_names": ["y", None],
    "storage_transformers": [],
}
V2 = {
    "zarr_format": 2,
    "shape": [10, 6],
    "chunks": [4, 3],
    "dtype": ">f4",
    "compressor": {"id": "zlib", "level": 1},
    "fill_value": "NaN",
    "order": "F",
    "filters": [{"id": "delta", "dtype": ">f4"}],
    "dimension_separator": "/",
}
SHARDING = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [2, 3],
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    },
}


def v3(**changes):
    document = copy.deepcopy(V3) | changes
    return {k: v for k, v in document.items() if v is not ...}


def v2(**changes):
    document = copy.deepcopy(V2) | changes
    return {k: v for k, v in document.items() if v is not ...}


def read(document, key="a/zarr.json"):
    """The whole way: bytes -> JSON -> model."""
    parsed = parse_document(json.dumps(document).encode(), key=key)
    return node_from_v3(parsed, key=key) if key.endswith("zarr.json") else array_from_v2(parsed, {}, key=key)


# --- the model ----------------------------------------------------------------------------------------------------


def test_array_of_format_3():
    array = read(V3)
    assert (array.zarr_format, array.shape, array.ndim, array.dtype) == (3, (10, 6), 2, np.dtype("f4"))
    assert array.grid == RegularGrid((10, 6), (4, 3))
    assert array.key_encoding == KeyEncoding("default", "/")
    assert np.isnan(array.fill_value)
    assert array.fill_or_default is array.fill_value
    assert array.codecs == (NamedConfig("bytes", {"endian": "little"}), NamedConfig("crc32c"))
    assert (array.attributes, array.dimension_names) == ({"units": "K"}, ("y", None))
    assert (array.chunks, array.shards, array.order, array.node_type) == ((4, 3), None, "C", "array")
    assert read(array.to_dict()) == array
    assert hash(pickle.loads(pickle.dumps(array))) == hash(array)


def test_array_of_format_2():
    array = read(V2, ".zarray")
    assert (array.zarr_format, array.shape, array.dtype, array.order) == (2, (10, 6), np.dtype(">f4"), "F")
    assert array.key_encoding == KeyEncoding("v2", "/")
    assert (array.filters, array.compressor) == (({"id": "delta", "dtype": ">f4"},), {"id": "zlib", "level": 1})
    assert (array.chunks, array.shards, array.codecs, array.dimension_names) == ((4, 3), None, (), None)
    documents = array.documents()
    assert list(documents) == [".zarray", ".zattrs"]
    assert json.loads(documents[".zarray"]) == V2
    assert documents[".zattrs"] == b"{}"


def test_equality_is_what_would_be_stored():
    array = read(V3)
    assert array == read(V3)
    assert array != read(v3(fill_value="0x7fc00001"))
    assert read(v3(fill_value=0.0)) != read(v3(fill_value=-0.0))
    assert array != array.with_attributes({})
    assert array != read(V2, ".zarray")
    assert GroupMetadata() == GroupMetadata(attributes={})
    assert GroupMetadata() != GroupMetadata(consolidated={})


def test_fill_value_may_be_undefined_in_format_2():
    for dtype, default in (("<i4", 0), ("<f8", 0.0), ("|S3", b""), ("|b1", False)):
        array = read(v2(dtype=dtype, fill_value=None, filters=None), ".zarray")
        assert array.fill_value is None
        assert array.fill_or_default == default
        assert json.loads(array.documents()[".zarray"])["fill_value"] is None
    array = read(v2(dtype="|O", fill_value=None, filters=[{"id": "vlen-utf8"}]), ".zarray")
    assert array.fill_or_default == ""


def test_resizing_and_attributes():
    array = read(V3)
    grown = array.with_shape((20, 6))
    assert (grown.shape, grown.grid.counts) == ((20, 6), (5, 2))
    assert array.shape == (10, 6)
    assert array.with_attributes({"a": 1}).attributes == {"a": 1}
    grid = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [[4, 6], 3]}}
    grown = read(v3(chunk_grid=grid)).with_shape((12, 6))
    assert grown.to_dict()["chunk_grid"]["configuration"]["chunk_shapes"] == [[4, 6, 2], 3]


def test_sharded_arrays_report_inner_chunks():
    array = read(v3(codecs=[SHARDING]))
    assert (array.chunks, array.shards) == ((2, 3), (4, 3))
    around = read(v3(codecs=[SHARDING, {"name": "crc32c"}]))
    assert (around.chunks, around.shards) == ((4, 3), None)  # as zarr-python reports it
    with pytest.raises(MetadataError):
        _ = read(v3(codecs=[{"name": "sharding_indexed", "configuration": {}}])).chunks


def test_rectilinear_arrays_have_no_chunk_shape():
    grid = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [[[4, 2], 2], 3]}}
    array = read(v3(chunk_grid=grid))
    assert array.grid == RectilinearGrid((10, 6), (((4, 2), (2, 1)), 3))
    with pytest.raises(NotImplementedError):
        _ = array.chunks
    sharded = read(v3(chunk_grid=grid, codecs=[SHARDING]))
    assert sharded.chunks == (2, 3)
    with pytest.raises(NotImplementedError):
        _ = sharded.shards


def test_short_hand_names_and_draft_uris():
    array = read(
        v3(
            codecs=["bytes", {"name": "https://purl.org/zarr/spec/codec/gzip/1.0", "configuration": {"level": 1}}],
            chunk_key_encoding="v2",
            data_type="https://purl.org/zarr/spec/data-type/int8",
            fill_value=0,
        )
    )
    assert [codec.name for codec in array.codecs] == ["bytes", "gzip"]
    assert array.to_dict()["codecs"][0] == {"name": "bytes"}  # readers of 3.0 know no short-hand
    assert array.key_encoding == KeyEncoding("v2", ".")
    assert array.dtype == np.dtype("i1")


def test_stores_without_an_array_to_bytes_codec_are_kept_as_they_are():
    assert read(v3(codecs=[])).codecs == ()
    assert read(v3(codecs=[{"name": "gzip", "configuration": {"level": 1}}])).codecs[0].name == "gzip"


def test_fields_that_need_not_be_understood_are_written_back():
    note = {"must_understand": False, "text": "x"}
    array = read(v3(note=note))
    assert array.extra == {"note": note}
    assert list(json.loads(array.documents()["zarr.json"]))[-1] == "note"
    group = read({"zarr_format": 3, "node_type": "group", "note": note})
    assert json.loads(group.documents()["zarr.json"])["note"] == note
    odd = {"must_understand": False, "kind": "elsewhere", "url": "x"}
    group = read({"zarr_format": 3, "node_type": "group", "consolidated_metadata": odd})
    assert (group.consolidated, group.extra) == (None, {"consolidated_metadata": odd})
    array = read(v2(_NCZARR_ARRAY={"dimrefs": ["/y", "/x"]}), ".zarray")
    assert json.loads(array.documents()[".zarray"])["_NCZARR_ARRAY"] == {"dimrefs": ["/y", "/x"]}


def test_least_documents():
    array = read(v3(attributes=..., dimension_names=..., storage_transformers=...))
    assert (array.attributes, array.dimension_names) == ({}, None)
    assert "dimension_names" not in json.loads(array.documents()["zarr.json"])
    assert read(v3(dimension_names=None)).dimension_names is None
    array = read(v2(dimension_separator=..., filters=..., compressor=...), ".zarray")
    assert (array.key_encoding.separator, array.filters, array.compressor) == (".", (), None)
    assert read(v2(filters=[]), ".zarray").filters == ()
    group = read({"zarr_format": 3, "node_type": "group"})
    assert (group.attributes, group.consolidated) == ({}, None)
    assert group_from_v2({"zarr_format": 2}, None, key=".zgroup").attributes == {}


def test_arrays_without_axes():
    array = read(v3(shape=[], chunk_grid={"name": "regular", "configuration": {"chunk_shape": []}}, dimension_names=[]))
    assert (array.shape, array.chunks, array.grid.counts) == ((), (), ())
    assert read(v2(shape=[], chunks=[]), ".zarray").chunks == ()


def test_chunk_length_zero_of_an_empty_axis_is_repaired():
    grid = {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}
    assert read(v3(shape=[0, 6], chunk_grid=grid)).chunks == (1, 3)
    sharded = read(v3(shape=[0, 6], chunk_grid=grid, codecs=[SHARDING]))
    assert (sharded.shards, sharded.chunks) == ((2, 3), (2, 3))
    assert read(v2(shape=[0, 6], chunks=[0, 3]), ".zarray").chunks == (1, 3)


def test_pickle_is_refused_wherever_it_stands():
    pickled = {"id": "pickle", "protocol": 5}
    for changes in (
        {"dtype": "|O", "filters": [pickled]},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}, pickled]},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}], "compressor": pickled},
        {"compressor": pickled},
    ):
        with pytest.raises(PickleCodecDisabledError, match=r"\.zarray: (filters|compressor)"):
            read(v2(fill_value=None, **changes), ".zarray")


def test_kinds_of_nodes():
    with pytest.raises(NodeTypeValidationError):
        group_from_v3(V3, key="zarr.json")
    with pytest.raises(NodeTypeValidationError):
        array_from_v3({"zarr_format": 3, "node_type": "group"}, key="zarr.json")
    with pytest.raises(MetadataError, match="node_type"):
        node_from_v3({"zarr_format": 3}, key="zarr.json")


# --- hostile documents: each is refused, with the place in the document -----------------------------------------------


def grid(*chunks, **changes):
    return {"name": "regular", "configuration": {"chunk_shape": list(chunks)}} | changes


def rectilinear(*shapes, **changes):
    return {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": list(shapes)} | changes}


HOSTILE_V3 = [
    ({"shape": [-1, 6]}, "shape[0]: expected an integer >= 0, got -1"),
    ({"shape": [10.0, 6]}, "shape[0]: expected an integer >= 0, got 10.0"),
    ({"shape": [True, 6]}, "shape[0]: expected an integer >= 0, got true"),
    ({"shape": ["10", 6]}, 'shape[0]: expected an integer >= 0, got "10"'),
    ({"shape": [10, None]}, "shape[1]: expected an integer >= 0, got null"),
    ({"shape": [2**63, 6]}, "shape[0]: expected at most 9223372036854775807"),
    ({"shape": [10**4000, 6]}, "shape[0]: expected at most"),
    ({"shape": 10}, "shape: expected a list"),
    ({"shape": {}}, "shape: expected a list"),
    ({"shape": [1] * 33}, "shape: expected at most 32 axes, got 33"),
    ({"shape": ...}, "shape: this field is required"),
    ({"zarr_format": 3.0}, "zarr_format: expected 3, got 3.0"),
    ({"zarr_format": True}, "zarr_format: expected 3, got true"),
    ({"zarr_format": "3"}, "zarr_format"),
    ({"node_type": "Array"}, "node_type"),
    ({"chunk_grid": grid(4, True)}, "chunk_grid.configuration.chunk_shape[1]: expected an integer >= 1, got true"),
    ({"chunk_grid": grid(0, 3)}, "chunk_grid.configuration.chunk_shape[0]: expected an integer >= 1, got 0"),
    ({"chunk_grid": grid(False, 3), "shape": [0, 6]}, "chunk_shape[0]: expected an integer >= 1, got false"),
    ({"chunk_grid": grid(-4, 3)}, "chunk_shape[0]"),
    ({"chunk_grid": grid(4.0, 3)}, "chunk_shape[0]"),
    ({"chunk_grid": grid([4, 6], 3)}, "chunk_shape[0]"),
    ({"chunk_grid": grid(2**63, 3)}, "chunk_shape[0]: expected at most"),
    ({"chunk_grid": grid(4)}, "chunk_shape: expected one integer for each of 2 axes"),
    ({"chunk_grid": grid(4, 3, must_understand=False)}, "chunk_grid.must_understand"),
    ({"chunk_grid": grid(4, 3, other=1)}, "chunk_grid: expected a name"),
    ({"chunk_grid": "regular"}, "chunk_grid.configuration"),
    ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 3], "x": 1}}}, "chunk_grid.configuration"),
    ({"chunk_grid": {"name": "hexagonal"}}, "chunk_grid.name"),
    ({"chunk_grid": rectilinear([4, 5], 3)}, "chunk_shapes[0]: expected lengths that sum to at least 10"),
    ({"chunk_grid": rectilinear([], 3)}, "chunk_shapes[0]"),
    ({"chunk_grid": rectilinear([4, 0, 6], 3)}, "chunk_shapes[0][1]"),
    ({"chunk_grid": rectilinear([[5, 0], 10], 3)}, "chunk_shapes[0][0][1]"),
    ({"chunk_grid": rectilinear([[5, True], 10], 3)}, "chunk_shapes[0][0][1]"),
    ({"chunk_grid": rectilinear([[5, 2, 1]], 3)}, "chunk_shapes[0][0]"),
    ({"chunk_grid": rectilinear([[2**62, 2**62]], 3)}, "chunk_shapes[0]: expected lengths that sum"),
    ({"chunk_grid": rectilinear(0, 3)}, "chunk_shapes[0]: expected an integer >= 1"),
    ({"chunk_grid": rectilinear(4)}, "chunk_shapes: expected one entry"),
    ({"chunk_grid": rectilinear(4, 3, kind="file")}, "chunk_grid.configuration.kind"),
    ({"chunk_key_encoding": {"name": "v3"}}, "chunk_key_encoding.name"),
    ({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}}}, "chunk_key_encoding"),
    ({"chunk_key_encoding": {"name": "default", "configuration": {"prefix": "x"}}}, "chunk_key_encoding"),
    ({"chunk_key_encoding": {"name": "default", "must_understand": False}}, "chunk_key_encoding.must_understand"),
    ({"chunk_key_encoding": None}, "chunk_key_encoding"),
    ({"data_type": "float33"}, "unknown data type 'float33'"),
    ({"data_type": {"name": "float32", "must_understand": False}}, "data_type.must_understand"),
    ({"data_type": {"name": "r8", "configuration": {}, "more": 1}}, "data_type"),
    ({"data_type": 5}, "data type"),
    ({"fill_value": None}, "fill_value: fill value of data type float32"),
    ({"fill_value": ...}, "fill_value: this field is required"),
    ({"codecs": {}}, "codecs: expected a list"),
    ({"codecs": [5]}, "codecs[0]"),
    ({"codecs": [{"name": ""}]}, "codecs[0].name"),
    ({"codecs": [{"configuration": {}}]}, "codecs[0].name"),
    ({"codecs": [{"name": "bytes", "configuration": []}]}, "codecs[0].configuration"),
    ({"codecs": [{"name": "bytes", "must_understand": 0}]}, "codecs[0].must_understand"),
    ({"codecs": [{"name": "bytes", "endian": "little"}]}, "codecs[0]"),
    ({"attributes": []}, "attributes: expected an object"),
    ({"attributes": None}, "attributes: expected an object"),
    ({"dimension_names": ["y"]}, "dimension_names: expected 2 strings or nulls"),
    ({"dimension_names": ["y", 5]}, "dimension_names"),
    ({"dimension_names": "yx"}, "dimension_names"),
    ({"storage_transformers": [{"name": "x"}]}, "storage_transformers"),
    ({"secret": 1}, "secret: unknown field"),
    ({"secret": {"must_understand": True}}, "secret: unknown field"),
    ({"secret": {"must_understand": 0}}, "secret: unknown field"),
]
HOSTILE_V2 = [
    ({"zarr_format": 2.0}, "zarr_format: expected 2, got 2.0"),
    ({"shape": [True, 6]}, "shape[0]"),
    ({"shape": [-1, 6]}, "shape[0]"),
    ({"shape": ...}, "shape: this field is required"),
    ({"chunks": [0, 3]}, "chunks[0]: expected an integer >= 1, got 0"),
    ({"chunks": [4]}, "chunks: expected one integer for each of 2 axes"),
    ({"chunks": None}, "chunks: expected a list"),
    ({"chunks": True}, "chunks: expected a list"),
    ({"order": "K"}, "order"),
    ({"order": ["C"]}, "order"),
    ({"dimension_separator": "/../"}, "dimension_separator"),
    ({"dimension_separator": None}, "dimension_separator"),
    ({"dtype": "|O", "filters": None}, "dtype"),
    ({"dtype": "<f99"}, "dtype"),
    ({"dtype": [["a", "|O"]], "filters": [{"id": "vlen-utf8"}]}, "dtype"),
    ({"fill_value": "many"}, "fill_value"),
    ({"fill_value": ...}, "fill_value: this field is required"),
    ({"compressor": "zlib"}, "compressor: expected an object with the id of a codec"),
    ({"compressor": {"level": 1}}, "compressor"),
    ({"filters": {"id": "delta"}}, "filters: expected a list, or null"),
    ({"filters": [None]}, "filters[0]"),
]


@pytest.mark.parametrize(("changes", "message"), HOSTILE_V3, ids=lambda v: str(v)[:50])
def test_hostile_v3(changes, message):
    with pytest.raises(MetadataError) as caught:
        array_from_v3(parse_document(json.dumps(v3(**changes)).encode(), key="a/zarr.json"), key="a/zarr.json")
    assert str(caught.value).startswith("a/zarr.json: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("changes", "message"), HOSTILE_V2, ids=lambda v: str(v)[:50])
def test_hostile_v2(changes, message):
    with pytest.raises(MetadataError) as caught:
        read(v2(**changes), "a/.zarray")
    assert str(caught.value).startswith("a/.zarray: ")
    assert message in str(caught.value)


def test_errors_keep_their_kind():
    with pytest.raises(DataTypeValidationError, match=r"^a/zarr\.json: "):
        array_from_v3(v3(data_type="float33"), key="a/zarr.json")
    with pytest.raises(DataTypeValidationError, match=r"^a/zarr\.json: fill_value: "):
        array_from_v3(v3(fill_value=[]), key="a/zarr.json")


# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JSON document"),
        (b"{", "not a JSON document"),
        (b"[]", "expected a JSON object, got []"),
        (b"null", "expected a JSON object, got null"),
        (b'{"a": 1, "b": 2, "a": 3}', 'key "a" stands twice'),
        (b'{"x": {"a": 1, "a": 1}}', 'key "a" stands twice'),
        (b'{"a": "\xff"}', "not a JSON document"),
        (b"\xff\xfe{\x00}\x00", "not a JSON document"),
        (b'{"fill_value": NaN}', "fill_value: NaN and Infinity are no JSON"),
        (b'{"codecs": [{"x": -Infinity}]}', "codecs[0].x: NaN and Infinity are no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a JSON document"),
        (b"[" * 100_000, "nests deeper than 64"),
        (b'{"a":' * 100_000, "nests deeper than 64"),
        (b'{"attributes": ' + b"[" * 64 + b"]" * 64 + b"}", "nests deeper than 64"),
        (b'{"a": ' + b"]" * 100 + b"[" * 100, "not"),
        (b'{"a": "' + b'\\"' * 50_000 + b"[" * 100 + b"\\", "not a JSON document"),
    ],
    ids=lambda v: repr(v)[:40],
)
def test_documents_that_are_refused(data, message):
    with pytest.raises(MetadataError) as caught:
        parse_document(data, key="zarr.json")
    assert str(caught.value).startswith("zarr.json: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_documents_that_are_accepted():
    deep = b'{"attributes": ' + b"[" * 63 + b"]" * 63 + b"}"
    assert parse_document(deep, key="zarr.json")
    brackets = json.dumps({"a": "[" * 1000, "b": '"[{\\' * 100, "c": [[]] * 100}).encode()
    assert parse_document(brackets, key="zarr.json")["b"] == '"[{\\' * 100
    old = b'{"attributes": {"missing": NaN, "range": [-Infinity, Infinity]}}'
    assert np.isnan(parse_document(old, key="zarr.json")["attributes"]["missing"])
    assert np.isnan(parse_document(b'{"missing": NaN}', key="a/.zattrs")["missing"])
    zmetadata = b'{"metadata": {"a/.zattrs": {"missing": NaN}}}'
    assert np.isnan(parse_document(zmetadata, key=".zmetadata")["metadata"]["a/.zattrs"]["missing"])
    assert parse_document(memoryview(b"{}"), key="zarr.json") == {}
    assert parse_document('{"é": 1}'.encode(), key="zarr.json") == {"é": 1}


def test_size_limit(monkeypatch):
    monkeypatch.setattr("gpuzarr.metadata.documents.MAX_DOCUMENT_BYTES", 100)
    with pytest.raises(MetadataError, match="101 bytes, more than 100"):
        parse_document(b" " * 101, key="zarr.json")
    with pytest.raises(MetadataError, match="more than 100 bytes"):
        encode_document({"a": "x" * 100})


def test_what_is_written_can_be_read():
    nested: list = []
    for _ in range(70):
        nested = [nested]
    for attributes in ({"a": object()}, {"a": {1, 2}}, {"a": nested}, {"a": np.float32(1)}, {"a": b"x"}):
        with pytest.raises(MetadataError):
            read(V3).with_attributes(attributes).documents()
    endless: dict = {}
    endless["self"] = endless
    with pytest.raises(MetadataError):
        GroupMetadata(attributes=endless).documents()


def test_short_runs_of_equal_lengths_stay_short_in_memory():
    document = v3(shape=[2**60, 6], chunk_grid=rectilinear([[1, 2**60]], 3))
    tracemalloc.start()
    array = read(document)
    assert array.grid.counts == (2**60, 2)
    assert json.loads(array.documents()["zarr.json"])["chunk_grid"] == document["chunk_grid"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


# --- names and consolidated metadata ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "a/.../b",
        "zarr.json",
        "a/.zarray",
        ".zattrs",
        "a\\b",
        "a\0",
        "\ud800",
    ],
    ids=ascii,
)
def test_paths_that_name_no_node(path):
    with pytest.raises(MetadataError):
        validate_node_path(path)
    document = {"zarr_format": 3, "node_type": "group"}
    with pytest.raises(MetadataError, match=r"consolidated_metadata\.metadata"):
        group_from_v3(document | {"consolidated_metadata": {"metadata": {path: document}}}, key="zarr.json")


def test_paths_that_do():
    for path in ("a", "a/b", ".hidden", "a b", "é", "c", "0.0", "__x"):
        assert validate_node_path(path) == path
    with pytest.raises(MetadataError, match="reserved"):
        validate_node_path("a/__x", new=True)


def hierarchy(zarr_format):
    """A group with children whose names differ in case, and interleaved subtrees."""
    array = read(V3) if zarr_format == 3 else read(V2, ".zarray")
    group = GroupMetadata(zarr_format, {"g": 1})
    return {
        "a": group,
        "A": group,
        "a/x": array,
        "b": array,
        "A/x": array,
        "a/deep": group,
        "a/deep/y": array,
        "C": group,
    }


def test_consolidated_v3_round_trip_in_any_order():
    nodes = hierarchy(3)
    root = build(GroupMetadata(3, {"r": 1}), nodes)
    document = parse_document(root.documents()["zarr.json"], key="zarr.json")
    inline = document["consolidated_metadata"]
    assert (inline["kind"], inline["must_understand"]) == ("inline", False)
    assert list(inline["metadata"]) == ["a", "A", "b", "C", "a/deep", "a/x", "A/x", "a/deep/y"]
    assert inline["metadata"]["C"]["consolidated_metadata"]["metadata"] == {}
    again = group_from_v3(document, key="zarr.json")
    assert again.consolidated == nodes
    assert again == root
    inline["metadata"] = dict(reversed(inline["metadata"].items()))
    assert group_from_v3(document, key="zarr.json").consolidated == nodes
    assert parse_v3(inline) == nodes


def test_consolidated_v3_of_groups_within():
    inner = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"metadata": {"x": V3}}}
    outer = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"metadata": {"a": inner}}}
    nodes = group_from_v3(outer, key="zarr.json").consolidated
    assert set(nodes) == {"a", "a/x"}
    assert nodes["a"].consolidated is None


def test_consolidated_v2_round_trip_in_any_order():
    nodes = hierarchy(2)
    root = build(GroupMetadata(2, {"r": 1}), nodes)
    documents = root.documents()
    assert list(documents) == [".zgroup", ".zattrs", ".zmetadata"]
    zmetadata = parse_document(documents[".zmetadata"], key=".zmetadata")
    assert zmetadata["metadata"]["a/.zgroup"] == {"zarr_format": 2}
    again = parse_v2(zmetadata)
    assert again.pop("") == GroupMetadata(2, {"r": 1})
    assert again == nodes
    zmetadata["metadata"] = dict(reversed(zmetadata["metadata"].items()))
    assert {k: v for k, v in parse_v2(zmetadata).items() if k} == nodes


def test_consolidated_v2_tolerates_what_others_write():
    odd = {"zarr_format": 2, "consolidated_metadata": {"metadata": {}, "must_understand": False, "kind": "inline"}}
    entries = {".zgroup": odd, "a/.zgroup": odd, "a/x/.zarray": V2, ".nczgroup": {}, "lost/.zattrs": {}}
    nodes = parse_v2({"zarr_consolidated_format": 1, "metadata": entries})
    assert set(nodes) == {"", "a", "a/x"}
    assert nodes["a"] == GroupMetadata(2)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "zarr_consolidated_format"),
        ({"zarr_consolidated_format": True, "metadata": {}}, "zarr_consolidated_format"),
        ({"zarr_consolidated_format": 1, "metadata": []}, "metadata"),
        ({"zarr_consolidated_format": 1, "metadata": {"a/.zarray": []}}, "metadata.a/.zarray"),
        ({"zarr_consolidated_format": 1, "metadata": {"a/.zgroup": {"zarr_format": 2}, "a/.zattrs": 5}}, "a/.zgroup"),
        ({"zarr_consolidated_format": 1, "metadata": {"../a/.zgroup": {"zarr_format": 2}}}, "no path of a node"),
        ({"zarr_consolidated_format": 1, "metadata": {"/.zgroup": {"zarr_format": 2}}}, "no path of a node"),
        ({"zarr_consolidated_format": 1, "metadata": {"a/.zarray": v2(shape=[-1, 1])}}, "a/.zarray: shape[0]"),
        (
            {"zarr_consolidated_format": 1, "metadata": {"a/.zarray": V2, "a/.zgroup": {"zarr_format": 2}}},
            "an array and a group",
        ),
    ],
    ids=lambda v: str(v)[:40],
)
def test_hostile_consolidated_v2(document, message):
    with pytest.raises(MetadataError) as caught:
        parse_v2(document)
    assert str(caught.value).startswith(".zmetadata: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("inline", "message"),
    [
        ([], "consolidated_metadata"),
        ({"kind": "other", "metadata": {}}, "consolidated_metadata.kind"),
        ({"metadata": []}, "consolidated_metadata.metadata"),
        ({"metadata": {"a": 5}}, "consolidated_metadata.metadata.a"),
        ({"metadata": {"a": {"zarr_format": 3}}}, "metadata.a: node_type"),
        ({"metadata": {"a": v3(shape=[True, 1])}}, "metadata.a: shape[0]"),
    ],
    ids=str,
)
def test_hostile_consolidated_v3(inline, message):
    document = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": inline}
    with pytest.raises(MetadataError) as caught:
        group_from_v3(document, key="zarr.json")
    assert str(caught.value).startswith("zarr.json: ")
    assert message in str(caught.value)


def test_subtrees():
    nodes = hierarchy(3)
    assert set(subtree(nodes, "a")) == {"x", "deep", "deep/y"}
    assert set(subtree(nodes, "a/deep")) == {"y"}
    assert subtree(nodes, "C") == {}
    assert set(subtree(nodes, "")) == set(nodes)
    with pytest.raises(MetadataError):
        build(GroupMetadata(), {"../a": GroupMetadata()})


def test_named_configurations():
    assert NamedConfig("vlen-utf8").to_json() == {"name": "vlen-utf8", "configuration": {}}
    assert NamedConfig("x", {"a": 1}, False).to_json() == {
        "name": "x",
        "configuration": {"a": 1},
        "must_understand": False,
    }
    assert data_type_from_v3("float32").to_v3() == "float32"


# --- fuzzing ------------------------------------------------------------------------------------------------------

JUNK = [
    *(None, True, False, 0, -1, 1.5, 2**64, 10**400, "", "x", "NaN", "\0", "\ud800", [], [[]], {}, [None], [1, 2, 3]),
    *({"name": "x"}, {"id": "pickle"}, "|O", [["a", "|O"]], "r99999999999", "<M8[Y]", "<U999999999"),
    {"name": "struct", "configuration": {"fields": [[]]}},
]


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, junk):
    if not path:
        return junk
    value = copy.copy(value)
    value[path[0]] = replaced(value[path[0]], path[1:], junk)
    return value


RECTILINEAR = v3(chunk_grid=rectilinear([[4, 2], 2], 3), codecs=[SHARDING])
STRUCT = {"name": "struct", "configuration": {"fields": [{"name": "a", "data_type": "r16"}, ["b", "complex64"]]}}
RECORDS = v3(data_type=STRUCT, fill_value={"a": [1, 2], "b": [1.0, "NaN"]})
RECORDS_V2 = v2(dtype=[["a", "<f4", [2]], ["b", [["c", "|S3"]]]], fill_value=None, filters=None)
ROOT = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"kind": "inline", "metadata": {"a": V3}}}
ZMETADATA = {
    "zarr_consolidated_format": 1,
    "metadata": {".zgroup": {"zarr_format": 2}, "a/.zarray": V2, "a/.zattrs": {}},
}


@pytest.mark.parametrize(
    "document", [V3, RECTILINEAR, RECORDS, V2, RECORDS_V2, ROOT, ZMETADATA], ids=lambda d: str(d)[:20]
)
def test_junk_anywhere_is_read_or_refused(document):
    """No other error than ours, and what is read can be written and read again."""

    def read_any(changed):
        parsed = parse_document(json.dumps(changed).encode(), key="k")
        if document is ZMETADATA:
            return list(parse_v2(parsed, key="k").values())
        return [array_from_v2(parsed, {}, key="k") if "chunks" in document else node_from_v3(parsed, key="k")]

    refused = 0
    for path in places(document):
        for junk in JUNK:
            try:
                nodes = read_any(replaced(document, path, junk))
            except (MetadataError, PickleCodecDisabledError) as error:
                refused += str(error).startswith("k: ")
                continue
            for node in nodes:
                written = {key: parse_document(data, key=key) for key, data in node.documents().items()}
                if node.zarr_format == 3:
                    assert node_from_v3(written["zarr.json"], key="again") == node
                elif ".zarray" in written:
                    assert array_from_v2(written[".zarray"], written[".zattrs"], key="again") == node
    assert refused > 100
