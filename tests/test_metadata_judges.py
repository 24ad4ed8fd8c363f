"""Metadata before outside judges: third-party stores, zarr-python's documents, zarr-metadata's cases and validators.

zarr-metadata's cases are in its source distribution only. Unpack that and set GPUZARR_ZARR_METADATA_CASES to its
`tests` folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from gpuzarr.dtypes import data_type_from_v3, parse_dtype
from gpuzarr.errors import MetadataError
from gpuzarr.grid import KeyEncoding, RegularGrid
from gpuzarr.metadata import (
    ArrayMetadata,
    GroupMetadata,
    NamedConfig,
    array_from_v2,
    array_from_v3,
    group_from_v2,
    group_from_v3,
    node_from_v3,
    parse_document,
)
from gpuzarr.metadata.consolidated import build, parse_v2, parse_v3

pytestmark = pytest.mark.judge


@pytest.fixture
def zarr():
    """zarr-python, where it is the one whose documents ours equal."""
    zarr = pytest.importorskip("zarr", minversion="3.4")
    with zarr.config.set({"array.rectilinear_chunks": True}):
        yield zarr


def read_node(folder: Path):
    def document(name):
        path = folder / name
        return parse_document(path.read_bytes(), key=str(path)) if path.exists() else None

    if (found := document("zarr.json")) is not None:
        return node_from_v3(found, key=str(folder))
    zarray = document(".zarray")
    read = group_from_v2 if zarray is None else array_from_v2
    return read(document(".zgroup") if zarray is None else zarray, document(".zattrs"), key=str(folder))


# --- third-party stores ---

UNKNOWN = {"array_optional.zarr", "array_optional_nested.zarr"}  # the data type "optional", which only zarrs has


def test_third_party_documents(third_party_stores):
    names = ("zarr.json", ".zarray", ".zgroup")
    folders = sorted({path.parent for name in names for path in third_party_stores.rglob(name)})
    assert len(folders) > 100
    for folder in folders:
        if UNKNOWN & set(folder.parts):
            with pytest.raises(MetadataError, match="unknown data type 'optional'"):
                read_node(folder)
            continue
        node = read_node(folder)
        (folder_again := dict(node.documents())).pop(".zmetadata", None)
        parsed = [parse_document(data, key=key) for key, data in folder_again.items()]
        if node.zarr_format == 3:
            assert node_from_v3(parsed[0], key="again") == node
        else:
            read = array_from_v2 if isinstance(node, ArrayMetadata) else group_from_v2
            assert read(*parsed, key="again") == node


def test_third_party_arrays_have_the_expected_shape_and_type(third_party_stores):
    expected = json.loads((third_party_stores / "expected.json").read_text())
    checked = 0
    for name, facts in expected.items():
        if "shape" in facts:
            array = read_node(third_party_stores / name)
            assert list(array.shape) == facts["shape"], name
            assert str(array.dtype) == facts["dtype"], name
            assert array.zarr_format == facts["zarr_format"], name
            checked += 1
    assert checked > 100


def test_third_party_consolidated(third_party_stores):
    found = list(third_party_stores.rglob(".zmetadata"))
    for path in found:
        nodes = parse_v2(parse_document(path.read_bytes(), key=str(path)))
        for name, node in nodes.items():
            if isinstance(node, ArrayMetadata):
                assert node == read_node(path.parent / name)


# --- zarr-python ----------------------------------------------------------------------------------------------------

RECORD = [("a", "i2"), ("b", ">f8"), ("n", [("x", "S2"), ("y", "M8[ns]")])]
DTYPES = [
    "?",
    "i1",
    "u1",
    "i2",
    "u8",
    ">i4",
    "f2",
    "f4",
    ">f8",
    "c8",
    "c16",
    "S3",
    "U2",
    ">U2",
    "V5",
    "M8[10us]",
    "m8",
    "M8",
    "M8[D]",
    ">M8[ns]",
    "m8[s]",
    str,
    "string",
    RECORD,
    "float32",
    np.int16,
    int,
    float,
    bool,
]
FILLS = [
    ("f4", np.float32(1.1)),
    ("f4", 1.1),
    ("f8", float("inf")),
    ("f8", -np.inf),
    ("f4", "nan"),
    ("f4", None),
    (">f4", 2.5),
    ("c8", 1 + 2j),
    ("c16", complex(np.nan, -0.0)),
    ("f2", 65504),
    ("u8", 2**64 - 1),
    ("i4", 3.0),
    ("i4", "7"),
    ("i4", None),
    ("i4", np.int64(3)),
    ("f4", np.array(3.0)),
    ("?", 5),
    ("?", True),
    ("V3", b"abc"),
    ("S3", b"abcd"),
    ("S3", "ab"),
    ("U3", "héllo"),
    (str, 5),
    (str, "x"),
    (str, None),
    ("M8[s]", np.datetime64("2020-01-01")),
    ("M8[s]", "2020-01-01"),
    ("M8[s]", 7),
    ("m8[10s]", np.timedelta64(100, "s")),
    (RECORD, (1, np.nan, (b"x", 5))),
    (RECORD, 0),
]


def their_documents(zarr, zarr_format, **arguments):
    stored = {}
    arguments = {"shape": (4,), **arguments}
    zarr.create_array(zarr.storage.MemoryStore(stored), zarr_format=zarr_format, **arguments)
    return {key: value.to_bytes() for key, value in stored.items()}


def our_array(documents):
    parsed = {key: parse_document(data, key=key) for key, data in documents.items()}
    if "zarr.json" in parsed:
        return array_from_v3(parsed["zarr.json"], key="zarr.json")
    return array_from_v2(parsed[".zarray"], parsed[".zattrs"], key=".zarray")


@pytest.mark.filterwarnings("ignore")  # zarr-python warns of data types without a specification
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(("dtype", "fill"), [*((d, ...) for d in DTYPES), *FILLS], ids=str)
def test_documents_equal_zarr_pythons(zarr, zarr_format, dtype, fill):
    arguments = {} if fill is ... else {"fill_value": fill}
    documents = their_documents(zarr, zarr_format, dtype=dtype, attributes={"é": [1, None, {}]}, **arguments)
    array = our_array(documents)
    assert array.documents() == documents
    # And from the user's side: the same data type and fill value.
    data_type = parse_dtype(dtype, zarr_format)
    assert data_type == array.data_type
    if fill is None and zarr_format == 2:
        assert array.fill_value is None
    else:
        ours = data_type.default_fill() if fill is ... or fill is None else data_type.cast_fill(fill)
        assert data_type.fill_bytes(ours) == data_type.fill_bytes(array.fill_value)


@pytest.mark.filterwarnings("ignore")
def test_documents_equal_zarr_pythons_in_all_fields(zarr):
    numcodecs = pytest.importorskip("numcodecs")
    codecs = zarr.codecs
    chain = [codecs.BloscCodec(), codecs.GzipCodec(), codecs.Crc32cCodec()]
    transposed = {"filters": [codecs.TransposeCodec(order=(1, 0))], "compressors": chain}
    v2_codecs = {"filters": [numcodecs.Delta("i4")], "compressors": numcodecs.Blosc()}
    plane = {"shape": (10, 6), "dtype": "i4"}
    cases = [
        (3, {"dtype": "f4", "dimension_names": ["x"]}),
        (3, {"dtype": "f4", "dimension_names": [None]}),
        (3, plane | {"chunks": [[5, 5], [2, 2, 2]]}),
        (3, plane | {"chunks": [[5, 3, 2], 3]}),
        (3, plane | {"chunks": (2, 3), "shards": (4, 6)}),
        (3, plane | transposed),
        (3, plane | {"chunk_key_encoding": {"name": "v2", "separator": "/"}}),
        (3, {"dtype": "i4", "shape": ()}),
        (2, {"dtype": "i4", "shape": (), "chunk_key_encoding": {"name": "v2", "separator": "/"}}),
        (2, plane | {"order": "F"}),
        (2, plane | v2_codecs),
    ]
    for zarr_format, arguments in cases:
        documents = their_documents(zarr, zarr_format, **arguments)
        assert our_array(documents).documents() == documents, arguments


def their_hierarchy(zarr, zarr_format):
    stored = {}
    store = zarr.storage.MemoryStore(stored)
    root = zarr.create_group(store, attributes={"x": 1}, zarr_format=zarr_format)
    a = root.create_group("a")
    a.create_array("b", shape=(3,), dtype="i2", attributes={"q": 1})
    root.create_array("Z", shape=(3,), dtype="f4", fill_value=np.nan)
    root.create_group("b")
    a.create_group("B2").create_group("deep")
    root.create_group("A", attributes={"é": 2})
    zarr.consolidate_metadata(store)
    return {key: value.to_bytes() for key, value in stored.items()}


@pytest.mark.filterwarnings("ignore")
def test_consolidated_v3_equals_zarr_pythons(zarr):
    documents = their_hierarchy(zarr, 3)
    root = group_from_v3(parse_document(documents["zarr.json"], key="zarr.json"), key="zarr.json")
    assert root.documents()["zarr.json"] == documents["zarr.json"]
    nodes = {
        key.removesuffix("/zarr.json"): node_from_v3(parse_document(data, key=key), key=key)
        for key, data in documents.items()
        if key != "zarr.json"
    }
    assert build(root.with_consolidated(None), nodes) == root


@pytest.mark.filterwarnings("ignore")
def test_consolidated_v2_equals_zarr_pythons(zarr):
    documents = their_hierarchy(zarr, 2)
    nodes = parse_v2(parse_document(documents[".zmetadata"], key=".zmetadata"))
    root = nodes.pop("")
    theirs = json.loads(documents[".zmetadata"])
    for key, entry in theirs["metadata"].items():
        if key.endswith(".zgroup"):
            entry.pop("consolidated_metadata", None)  # theirs alone; the format has none
    ours = build(root, nodes).documents()
    assert ours[".zmetadata"] == json.dumps(theirs).encode()
    for key in (".zgroup", ".zattrs"):
        assert ours[key] == documents[key]


@pytest.mark.filterwarnings("ignore")
def test_zarr_python_reads_our_documents(zarr):
    make_buffer = pytest.importorskip("zarr.buffer").cpu.Buffer.from_bytes
    little = NamedConfig("bytes", {"endian": "little"})
    for dtype, _ in FILLS:
        for zarr_format in (2, 3):
            data_type = parse_dtype(dtype, zarr_format)
            string = data_type.object_codec is not None
            ours = ArrayMetadata(
                zarr_format=zarr_format,
                shape=(4,),
                data_type=data_type,
                grid=RegularGrid((4,), (2,)),
                key_encoding=KeyEncoding() if zarr_format == 3 else KeyEncoding("v2", "."),
                fill_value=data_type.default_fill(),
                codecs=((NamedConfig("vlen-utf8") if string else little),) if zarr_format == 3 else (),
                filters=({"id": "vlen-utf8"},) if string and zarr_format == 2 else (),
            )
            store = zarr.storage.MemoryStore({key: make_buffer(data) for key, data in ours.documents().items()})
            theirs = zarr.open_array(store, mode="r")
            assert theirs.shape == (4,)
            assert theirs.dtype == ours.dtype


@pytest.mark.filterwarnings("ignore")
def test_zarr_pythons_data_types_are_accepted():
    zdtypes = pytest.importorskip("zarr.dtype")
    cases = [
        (zdtypes.Float32(), "float32"),
        (zdtypes.Int16(endianness="big"), "int16"),
        (zdtypes.DateTime64(unit="ms", scale_factor=10), "numpy.datetime64"),
        (zdtypes.FixedLengthUTF32(length=3), "fixed_length_utf32"),
        (zdtypes.VariableLengthUTF8(), "string"),
        (zdtypes.VariableLengthBytes(), "variable_length_bytes"),
        (zdtypes.RawBytes(length=3), "raw_bytes"),
    ]
    for theirs, name in cases:
        assert parse_dtype(theirs).name == name


# --- zarr-metadata --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cases():
    place = os.environ.get("GPUZARR_ZARR_METADATA_CASES")
    if not place:
        pytest.skip("set GPUZARR_ZARR_METADATA_CASES to the tests folder of zarr-metadata's source distribution")
    return Path(place)


def named_cases(path: Path):
    """The cases in one file: a document, or an object of them."""
    found = json.loads(path.read_text())
    return found.items() if path.name in ("cases.json", "fill_values.json") else [(path.stem, found)]


LEAST_V3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [],
    "data_type": "int8",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
    "chunk_key_encoding": {"name": "default"},
    "fill_value": 0,
    "codecs": ["bytes"],
}


def test_zarr_metadata_documents(cases):
    for path in sorted((cases / "v3" / "array").glob("*.json")):
        document = parse_document(path.read_bytes(), key=path.name)
        array = array_from_v3(document, key=path.name)
        assert array_from_v3(parse_document(array.documents()["zarr.json"], key="again"), key="again") == array
    for path in sorted((cases / "v3" / "group").glob("*.json")):
        assert isinstance(node_from_v3(json.loads(path.read_text()), key=path.name), GroupMetadata)
    for path in sorted((cases / "v3" / "consolidated").glob("*.json")):
        document = json.loads(path.read_text())
        assert set(parse_v3(document)) == set(document["metadata"])
    for path in sorted((cases / "v2" / "array").glob("*.json")):
        array = array_from_v2(json.loads(path.read_text()), {}, key=path.name)
        assert array_from_v2(json.loads(array.documents()[".zarray"]), {}, key="again") == array
    for path in sorted((cases / "v2" / "group").glob("*.json")):
        group_from_v2(json.loads(path.read_text()), {}, key=path.name)
    for path in sorted((cases / "v2" / "consolidated").glob("*.json")):
        parse_v2(json.loads(path.read_text()))


def test_zarr_metadata_extension_cases(cases):
    count = 0
    for folder in sorted(p for p in (cases / "v3").glob("c*/*") if (p / "cases.json").exists()):
        for name, case in named_cases(folder / "cases.json"):
            document = dict(LEAST_V3)
            match folder.parent.name:
                case "codec":
                    document["codecs"] = [case]
                case "chunk_key_encoding":
                    document["chunk_key_encoding"] = case
                case "chunk_grid":
                    shapes = case["configuration"]
                    ndim = len(shapes.get("chunk_shape", shapes.get("chunk_shapes")))
                    document |= {"chunk_grid": case, "shape": [30] * ndim}
            array = array_from_v3(document, key=f"{folder.name}.{name}")
            again = array_from_v3(array.to_dict(), key="again")
            assert again == array
            count += 1
    assert count > 30


def test_zarr_metadata_fill_values(cases):
    count = 0
    for path in sorted((cases / "v3" / "data_type").glob("*/fill_values.json")):
        named = path.parent / "data_type.json"
        name = {"raw": "r32"}.get(path.parent.name, path.parent.name)
        data_type = data_type_from_v3(json.loads(named.read_text()) if named.exists() else name)
        for label, case in named_cases(path):
            scalar = data_type.fill_from_json(case, 3)
            stored = json.loads(json.dumps(data_type.fill_to_json(scalar, 3), allow_nan=False))
            assert data_type.fill_bytes(data_type.fill_from_json(stored, 3)) == data_type.fill_bytes(scalar), label
            count += 1
    assert count > 40


def test_zarr_metadata_finds_nothing_wrong_with_our_documents():
    model = pytest.importorskip("zarr_metadata.model")
    for dtype, fill in FILLS:
        if np.dtype(parse_dtype(dtype).numpy).kind in "SV" and dtype is not RECORD:
            continue  # null_terminated_bytes and raw_bytes, which are registered nowhere
        data_type = parse_dtype(dtype)
        document = LEAST_V3 | {
            "data_type": data_type.to_v3(),
            "fill_value": data_type.fill_to_json(
                data_type.default_fill() if fill is None else data_type.cast_fill(fill), 3
            ),
            "codecs": [
                {"name": "vlen-utf8"} if dtype is str else {"name": "bytes", "configuration": {"endian": "little"}}
            ],
        }
        written = array_from_v3(document, key="zarr.json").documents()["zarr.json"]
        problems = [
            p for p in model.read_array_metadata_v3(json.loads(written)).problems if "null_terminated" not in str(p)
        ]
        assert not problems, (dtype, fill, problems)
