"""Format 3 documents (`zarr.json`) into the model (Zarr v3 core, "Metadata").

Strict: integers are integers, every field must be known, unless it says `"must_understand": false`, and so must every
extension. One thing is repaired: a chunk length of 0 on an axis of length 0, which zarr-python once wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from gpuzarr.dtypes import data_type_from_v3
from gpuzarr.errors import MetadataError, NodeTypeValidationError
from gpuzarr.grid import Grid, KeyEncoding, RectilinearGrid, RegularGrid, Runs, merge_runs
from gpuzarr.metadata.documents import bad, integer
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, NamedConfig, Node
from gpuzarr.metadata.paths import validate_node_path

MAX_NDIM = 32
MAX_SIZE = 2**63 - 1

_ARRAY_FIELDS = frozenset(
    [
        "zarr_format",
        "node_type",
        "shape",
        "data_type",
        "chunk_grid",
        "chunk_key_encoding",
        "fill_value",
        "codecs",
        "attributes",
        "dimension_names",
        "storage_transformers",
    ]
)
_REQUIRED = ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
_GROUP_FIELDS = frozenset(["zarr_format", "node_type", "attributes", "consolidated_metadata"])
# Drafts of format 3 named extensions by URI.
_DRAFT_URI = re.compile(r"https://purl\.org/zarr/spec/[a-z-]+/([a-z0-9_.-]+?)(?:/[0-9.]+)?")


def node_from_v3(document: Mapping[str, Any], *, key: str) -> Node:
    """The array or group of a `zarr.json`. `key` begins the message of every error."""
    kind = document.get("node_type")
    if kind == "array":
        return array_from_v3(document, key=key)
    if kind == "group":
        return group_from_v3(document, key=key)
    raise bad(f"{key}: node_type", '"array" or "group"', kind)


def array_from_v3(document: Mapping[str, Any], *, key: str) -> ArrayMetadata:
    """The array of a `zarr.json`. MetadataError, or NodeTypeValidationError for a group's document."""
    try:
        return _array(document)
    except MetadataError as error:
        raise type(error)(f"{key}: {error}") from error


def group_from_v3(document: Mapping[str, Any], *, key: str) -> GroupMetadata:
    """The group of a `zarr.json`. MetadataError, or NodeTypeValidationError for an array's document."""
    try:
        _check_head(document, "group")
        extra = _extra(document, _GROUP_FIELDS)
        inline = document.get("consolidated_metadata")
        attributes = _attributes(document)
        nodes = None
        if isinstance(inline, dict) and inline.get("kind", "inline") == "inline":
            nodes = consolidated_from_v3(inline, path="consolidated_metadata")
        elif isinstance(inline, dict) and inline.get("must_understand") is False:
            extra["consolidated_metadata"] = inline  # another kind: not for us, and need not be
        elif inline is not None:
            raise bad("consolidated_metadata.kind", '"inline"', inline)
    except MetadataError as error:
        raise type(error)(f"{key}: {error}") from error
    return GroupMetadata(3, attributes, nodes, extra)


def consolidated_from_v3(inline: Mapping[str, Any], *, path: str = "") -> dict[str, Node]:
    """Nodes by relative path, in whatever order they are written. What a group in it consolidates joins in."""
    documents = inline.get("metadata")
    if not isinstance(documents, dict):
        raise bad(f"{path}.metadata", "an object", documents)
    nodes: dict[str, Node] = {}
    nested: dict[str, Node] = {}
    for name, document in documents.items():
        where = f"{path}.metadata.{name}"
        try:
            validate_node_path(name)
            if not isinstance(document, dict):
                raise bad("document", "an object", document)
        except ValueError as error:
            raise MetadataError(f"{where}: {error}") from error
        node = node_from_v3(document, key=where)
        if isinstance(node, GroupMetadata) and node.consolidated is not None:
            nested.update({f"{name}/{inner}": child for inner, child in node.consolidated.items()})
            node = node.with_consolidated(None)
        nodes[name] = node
    return {**nested, **nodes}


def _array(document: Mapping[str, Any]) -> ArrayMetadata:
    _check_head(document, "array")
    missing = [name for name in _REQUIRED if name not in document]
    if missing:
        raise MetadataError(f"{missing[0]}: this field is required")
    extra = _extra(document, _ARRAY_FIELDS)
    shape = shape_from_json(document["shape"])
    data_type = data_type_from_v3(_plain_extension(document["data_type"], "data_type"))
    codecs = _codecs(document["codecs"])
    transformers = document.get("storage_transformers") or []
    if transformers:
        raise bad("storage_transformers", "none, since none is registered", transformers)
    try:
        fill = data_type.fill_from_json(document["fill_value"], 3)
    except MetadataError as error:
        raise type(error)(f"fill_value: {error}") from error
    return ArrayMetadata(
        zarr_format=3,
        shape=shape,
        data_type=data_type,
        grid=_grid(document["chunk_grid"], shape, codecs),
        key_encoding=_key_encoding(document["chunk_key_encoding"]),
        fill_value=fill,
        codecs=codecs,
        attributes=_attributes(document),
        dimension_names=_dimension_names(document.get("dimension_names"), len(shape)),
        extra=extra,
    )


def _check_head(document: Mapping[str, Any], kind: str) -> None:
    found = document.get("zarr_format")
    if type(found) is not int or found != 3:
        raise bad("zarr_format", "3", found)
    if document.get("node_type") != kind:
        error = bad("node_type", f'"{kind}"', document.get("node_type"))
        raise NodeTypeValidationError(str(error))


def _extra(document: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    extra = {name: value for name, value in document.items() if name not in known}
    for name, value in extra.items():
        if not isinstance(value, dict) or value.get("must_understand") is not False:
            raise MetadataError(f'{name}: unknown field, and it does not say "must_understand": false')
    return extra


def shape_from_json(value: Any) -> tuple[int, ...]:
    """An array's shape. MetadataError for more than 32 axes, and sizes that are no integers from 0 to 2^63-1."""
    if not isinstance(value, list):
        raise bad("shape", "a list of integers", value)
    if len(value) > MAX_NDIM:
        raise MetadataError(f"shape: expected at most {MAX_NDIM} axes, got {len(value)}")
    return tuple(integer(size, f"shape[{i}]", 0, MAX_SIZE) for i, size in enumerate(value))


def chunks_from_json(value: Any, shape: tuple[int, ...], path: str, units: tuple[int, ...] = ()) -> tuple[int, ...]:
    """A chunk shape. A length of 0 is read as the least possible (of `units`, or 1) where the axis has length 0."""
    if not isinstance(value, list):
        raise bad(path, "a list of integers", value)
    if len(value) != len(shape):
        raise bad(path, f"one integer for each of {len(shape)} axes", value)
    least = units if len(units) == len(shape) else (1,) * len(shape)
    return tuple(
        unit if type(chunk) is int and chunk == 0 and size == 0 else integer(chunk, f"{path}[{i}]", 1, MAX_SIZE)
        for i, (chunk, size, unit) in enumerate(zip(value, shape, least, strict=True))
    )


def _named(value: Any, path: str) -> NamedConfig:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not value.keys() <= {"name", "configuration", "must_understand"}:
        raise bad(path, "a name, or an object with name and configuration", value)
    name, configuration = value.get("name"), value.get("configuration", {})
    must_understand = value.get("must_understand", True)
    if not isinstance(name, str) or not name:
        raise bad(f"{path}.name", "a name", name)
    if not isinstance(configuration, dict):
        raise bad(f"{path}.configuration", "an object", configuration)
    if not isinstance(must_understand, bool):
        raise bad(f"{path}.must_understand", "true or false", must_understand)
    draft = _DRAFT_URI.fullmatch(name)
    return NamedConfig(draft[1] if draft else name, configuration, must_understand)


def _needed(value: Any, path: str) -> NamedConfig:
    """An extension without which the array cannot be read."""
    named = _named(value, path)
    if not named.must_understand:
        raise MetadataError(f"{path}.must_understand: a {path} always must be understood")
    return named


def _plain_extension(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        named = _needed(value, path)
        return {"name": named.name, "configuration": named.configuration}
    draft = _DRAFT_URI.fullmatch(value) if isinstance(value, str) else None
    return draft[1] if draft else value


def _codecs(value: Any) -> tuple[NamedConfig, ...]:
    if not isinstance(value, list):
        raise bad("codecs", "a list", value)
    return tuple(_named(codec, f"codecs[{i}]") for i, codec in enumerate(value))


def _grid(value: Any, shape: tuple[int, ...], codecs: tuple[NamedConfig, ...]) -> Grid:
    named = _needed(value, "chunk_grid")
    path = "chunk_grid.configuration"
    if named.name == "regular" and named.configuration.keys() == {"chunk_shape"}:
        chunks = named.configuration["chunk_shape"]
        return RegularGrid(shape, chunks_from_json(chunks, shape, f"{path}.chunk_shape", _inner_chunks(codecs)))
    if named.name == "rectilinear" and named.configuration.keys() == {"kind", "chunk_shapes"}:
        if named.configuration["kind"] != "inline":
            raise bad(f"{path}.kind", '"inline"', named.configuration["kind"])
        given = named.configuration["chunk_shapes"]
        if not isinstance(given, list) or len(given) != len(shape):
            raise bad(f"{path}.chunk_shapes", f"one entry for each of {len(shape)} axes", given)
        pairs = enumerate(zip(given, shape, strict=True))
        return RectilinearGrid(shape, tuple(_edges(g, size, f"{path}.chunk_shapes[{i}]") for i, (g, size) in pairs))
    if named.name in ("regular", "rectilinear"):
        raise bad(path, "chunk_shape, or for rectilinear kind and chunk_shapes", named.configuration)
    raise bad("chunk_grid.name", '"regular" or "rectilinear"', named.name)


def _inner_chunks(codecs: tuple[NamedConfig, ...]) -> tuple[int, ...]:
    for codec in codecs:
        inner = codec.configuration.get("chunk_shape") if codec.name == "sharding_indexed" else None
        if isinstance(inner, list) and all(type(c) is int and c > 0 for c in inner):
            return tuple(inner)
    return ()


def _edges(value: Any, size: int, path: str) -> int | Runs:
    if not isinstance(value, list):
        return integer(value, path, 1, MAX_SIZE)
    runs = []
    for i, entry in enumerate(value):
        length, times = (entry if len(entry) == 2 else (entry, 1)) if isinstance(entry, list) else (entry, 1)
        runs.append((integer(length, f"{path}[{i}]", 1, MAX_SIZE), integer(times, f"{path}[{i}][1]", 1, MAX_SIZE)))
    total = sum(length * times for length, times in runs)
    if not runs or not size <= total <= MAX_SIZE:
        raise MetadataError(f"{path}: expected lengths that sum to at least {size} and at most {MAX_SIZE}, got {total}")
    return merge_runs(runs)


def _key_encoding(value: Any) -> KeyEncoding:
    named = _needed(value, "chunk_key_encoding")
    path = "chunk_key_encoding"
    standard: dict[str, Literal["/", "."]] = {"default": "/", "v2": "."}
    if named.name not in standard:
        raise bad(f"{path}.name", '"default" or "v2"', named.name)
    separator = named.configuration.get("separator", standard[named.name])
    if separator not in ("/", ".") or not named.configuration.keys() <= {"separator"}:
        raise bad(f"{path}.configuration", 'a separator, "/" or "."', named.configuration)
    return KeyEncoding("v2" if named.name == "v2" else "default", separator)


def _attributes(document: Mapping[str, Any]) -> dict[str, Any]:
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise bad("attributes", "an object", attributes)
    return attributes


def _dimension_names(value: Any, ndim: int) -> tuple[str | None, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != ndim or not all(n is None or isinstance(n, str) for n in value):
        raise bad("dimension_names", f"{ndim} strings or nulls", value)
    return tuple(value)
