"""Metadata documents: values, names and structure of good ones replaced.

What is accepted must make a chain of codecs or a typed error, must read back as itself, and where zarr-python accepts
the same document, both must see the same array.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from random import Random
from typing import Any

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.errors import GpuzarrError
from gpuzarr.metadata import ArrayMetadata, array_from_v2, node_from_v3, parse_document
from gpuzarr.metadata.consolidated import parse_v2
from tests.fuzz.mutators import Tokens, mutate_json
from tests.fuzz.target import Finding, Target
from tests.hostile.documents import GRID, GROUP, PLAIN, V2, V3, nested, sharding

COMPARED = 16  # one in so many accepted documents is shown to zarr-python

ARRAYS_V3: list[dict[str, Any]] = [
    V3,
    V3 | {"attributes": {"a": [1, {"b": None}], "c": "d"}, "dimension_names": ["x"], "storage_transformers": []},
    V3 | {"data_type": "float32", "fill_value": "NaN", "codecs": [*PLAIN, {"name": "zstd", "configuration": {
        "level": 3, "checksum": True}}, {"name": "crc32c"}]},
    V3 | {"data_type": "complex64", "fill_value": ["Infinity", "0x7fc00000"], "shape": [0]},
    V3 | {"shape": [4, 6, 8], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3, 4]}},
          "codecs": [{"name": "transpose", "configuration": {"order": [2, 0, 1]}}, sharding([2, 1, 3])]},
    V3 | {"codecs": [{"name": "transpose", "configuration": {"order": [0]}}, *PLAIN, {
        "name": "blosc", "configuration": {"typesize": 4, "cname": "lz4", "clevel": 5, "shuffle": "bitshuffle",
                                           "blocksize": 0}}]},
    V3 | {"codecs": [nested(2)], "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}},
    V3 | {"data_type": "string", "fill_value": "", "codecs": [{"name": "vlen-utf8"}, {"name": "gzip", "configuration": {
        "level": 5}}]},
    V3 | {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "us", "scale_factor": 10}}},
    V3 | {"data_type": {"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}}, "fill_value": "abc"},
    V3 | {"data_type": "r24", "fill_value": [1, 2, 3], "tea": {"must_understand": False, "name": "t"}},
    V3 | {"chunk_grid": {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [[1, [2, 1], 1]]}}},
    V3 | {"codecs": [{"name": "numcodecs.delta", "configuration": {"dtype": "<i4"}}, *PLAIN, {
        "name": "numcodecs.lzma", "configuration": {"format": 3, "filters": [{"id": 33, "preset": 1}]}}]},
    V3 | {"codecs": [{"name": "cast_value", "configuration": {"data_type": "int8", "rounding": "nearest-even"}},
                     {"name": "bytes"}]},
]  # fmt: skip
ARRAYS_V2: list[dict[str, Any]] = [
    V2,
    V2 | {"compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}, "order": "F"},
    V2 | {"filters": [{"id": "delta", "dtype": "<i4", "astype": "<i2"}, {"id": "shuffle", "elementsize": 2}],
          "compressor": {"id": "zlib", "level": 1}},
    V2 | {"dtype": "|O", "fill_value": "", "filters": [{"id": "vlen-utf8"}], "dimension_separator": "/"},
    V2 | {"dtype": "<M8[10us]", "fill_value": 0, "shape": [4, 5], "chunks": [2, 2]},
    V2 | {"dtype": [["a", "<i4"], ["b", "|S3", [2, 2]], ["c", [["d", ">f8"]]]], "fill_value": None},
    V2 | {"dtype": ">f8", "fill_value": "NaN", "filters": [{"id": "fixedscaleoffset", "offset": 1, "scale": 10,
                                                          "dtype": ">f8", "astype": "u1"}]},
    V2 | {"dtype": "|V4", "fill_value": "AAAAAA==", "compressor": {"id": "lzma", "format": 1, "check": -1}},
    V2 | {"dtype": "|O", "fill_value": None, "filters": [{"id": "json2", "encoding": "utf-8"}]},
    V2 | {"dtype": "|b1", "fill_value": True, "filters": [{"id": "packbits"}], "compressor": {"id": "lz4"}},
]  # fmt: skip
INLINE = {"kind": "inline", "must_understand": False, "metadata": {"a": V3, "g": GROUP, "g/b": ARRAYS_V3[4]}}
GROUPS_V3: list[dict[str, Any]] = [
    GROUP | {"consolidated_metadata": INLINE},
    GROUP | {"attributes": {"x": 1}, "consolidated_metadata": {**INLINE, "metadata": {
        "g": GROUP | {"consolidated_metadata": INLINE}}}},
    GROUP | {"consolidated_metadata": None},
]  # fmt: skip
GROUPS_V2: list[dict[str, Any]] = [
    {"zarr_consolidated_format": 1, "metadata": {
        ".zgroup": {"zarr_format": 2}, ".zattrs": {"x": 1}, "a/.zarray": V2, "a/.zattrs": {"y": None},
        "g/.zgroup": {"zarr_format": 2}, "g/b/.zarray": ARRAYS_V2[1]}},
]  # fmt: skip


class Documents(Target):
    """Mutants of some documents, read by one function."""

    suffix = ".json"

    def __init__(self, name: str, documents: list[dict[str, Any]], key: str) -> None:
        self.name, self.documents, self.key = name, documents, key  # type: ignore[misc]

    def prepare(self) -> None:
        self.seeds = [Tokens(document) for document in self.documents]

    def generate(self, rng: Random) -> bytes:
        seeds = self.seeds
        return mutate_json(seeds[int(rng.random() * len(seeds))], seeds[int(rng.random() * len(seeds))], rng)

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        try:
            document = parse_document(data, key=self.key)
            found = self.read(document)
        except GpuzarrError:
            tally["refused"] += 1
            return
        tally["accepted"] += 1
        for node in found:
            if isinstance(node, ArrayMetadata):
                self.judge(node, document, tally)

    def read(self, document: dict[str, Any]) -> list[Any]:
        """The nodes in a document."""
        if self.key == ".zarray":
            return [array_from_v2(document, None, key=self.key)]
        if self.key == ".zmetadata":
            return [*parse_v2(document, key=self.key).values()]
        node = node_from_v3(document, key=self.key)
        return [node] if isinstance(node, ArrayMetadata) else [*(node.consolidated or {}).values()]

    def judge(self, node: ArrayMetadata, document: dict[str, Any], tally: Counter[str]) -> None:
        """An array that was accepted."""
        try:
            chain = CodecChain.from_metadata(node)
        except GpuzarrError:
            tally["no chain"] += 1
        else:
            tally["chains"] += 1
            if chain.nbytes is not None and chain.nbytes < 0:
                raise Finding("a chunk of negative size")
        self.same_again(node)
        if document.get("node_type") != "group" and self.key != ".zmetadata" and not tally["accepted"] % COMPARED:
            self.compare(node, document, tally)

    def same_again(self, node: ArrayMetadata) -> None:
        """What is written is read as what it was."""
        written = {name: parse_document(data, key=name) for name, data in node.documents().items()}
        if node.zarr_format == 3:
            again: Any = node_from_v3(written["zarr.json"], key="zarr.json")
        else:
            again = array_from_v2(written[".zarray"], written[".zattrs"], key=".zarray")
        if again != node:
            raise Finding(f"written and read again it is another: {node.to_dict()} and {again.to_dict()}")

    def compare(self, node: ArrayMetadata, document: dict[str, Any], tally: Counter[str]) -> None:
        """zarr-python sees the same array, where it sees one."""
        theirs = _zarr_python(document)
        if theirs is None:
            tally["only ours"] += 1
            return
        tally["both"] += 1
        if tuple(theirs.shape) != node.shape:
            raise Finding(f"zarr-python has shape {theirs.shape}, we {node.shape}")
        native = np.dtype(theirs.dtype.to_native_dtype())
        if native.kind not in "OT" and native.newbyteorder("=") != node.dtype.newbyteorder("="):
            raise Finding(f"zarr-python has data type {native}, we {node.dtype}")
        if node.fill_value is not None and native.kind in "biufcSU" and theirs.fill_value is not None:
            ours, other = (np.asarray(value, native).tobytes() for value in (node.fill_value, theirs.fill_value))
            if ours != other:
                raise Finding(f"zarr-python has fill value {theirs.fill_value!r}, we {node.fill_value!r}")


def _zarr_python(document: dict[str, Any]) -> Any:
    """zarr-python's metadata; None where it refuses, in whatever way."""
    import warnings

    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

    kind: Any = ArrayV3Metadata if document.get("zarr_format") == 3 else ArrayV2Metadata
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return kind.from_dict(json.loads(json.dumps(document)))
        except Exception:
            return None


@cache
def targets() -> list[Target]:
    """All of them."""
    assert GRID in [document["chunk_grid"] for document in ARRAYS_V3]
    return [
        Documents("metadata-v3", ARRAYS_V3, "zarr.json"),
        Documents("metadata-v2", ARRAYS_V2, ".zarray"),
        Documents("consolidated-v3", GROUPS_V3, "zarr.json"),
        Documents("consolidated-v2", GROUPS_V2, ".zmetadata"),
    ]
