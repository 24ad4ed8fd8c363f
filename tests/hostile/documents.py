"""Small stores to be made hostile: one array of four int32 in two chunks, of either format."""

from __future__ import annotations

import json
from typing import Any

PLAIN = [{"name": "bytes", "configuration": {"endian": "little"}}]
GRID = {"name": "regular", "configuration": {"chunk_shape": [2]}}
V3: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4],
    "data_type": "int32",
    "chunk_grid": GRID,
    "chunk_key_encoding": {"name": "default"},
    "fill_value": 0,
    "codecs": PLAIN,
}
V2: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [2],
    "dtype": "<i4",
    "compressor": None,
    "fill_value": 0,
    "order": "C",
    "filters": None,
}
GROUP = {"zarr_format": 3, "node_type": "group"}


def v3(**changes: Any) -> dict[str, bytes]:
    """A store with an array of format 3, some fields of its document replaced."""
    return {"zarr.json": json.dumps(V3 | changes).encode()}


def v2(**changes: Any) -> dict[str, bytes]:
    """The same in format 2."""
    return {".zarray": json.dumps(V2 | changes).encode()}


def chunked(chunk_shape: Any, **changes: Any) -> dict[str, bytes]:
    """Format 3 with other chunks."""
    return v3(chunk_grid={"name": "regular", "configuration": {"chunk_shape": chunk_shape}}, **changes)


def coded(chunk: bytes, *codecs: Any, **changes: Any) -> dict[str, bytes]:
    """Format 3, one chunk of four elements, `codecs` behind `bytes`; an array->bytes codec takes its place."""
    steps = [*PLAIN, *codecs] if changes.pop("plain", True) else [*codecs]
    return chunked([4], codecs=steps, **changes) | {"c/0": chunk}


def compressed(chunk: bytes, compressor: Any, **changes: Any) -> dict[str, bytes]:
    """Format 2, one chunk of four elements."""
    return v2(chunks=[4], compressor=compressor, **changes) | {"0": chunk}


def sharding(inner: Any = (2,), **configuration: Any) -> dict[str, Any]:
    """The sharding codec, its index without a checksum so that a test can write one."""
    return {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": list(inner), "codecs": PLAIN, "index_codecs": PLAIN} | configuration,
    }


def nested(levels: int) -> Any:
    """Shards in shards in shards."""
    codec: Any = sharding([1])
    for _ in range(levels - 1):
        codec = sharding([1], codecs=[codec])
    return codec
