"""The metadata of arrays and groups, one frozen model for both formats (Zarr v2; v3 core, "Metadata").

`v2.py` and `v3.py` read stored documents into it; it writes itself, byte for byte as zarr-python 3.4.2 does. Two are
equal where the same would be stored, in whatever order, so that NaN equals NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias
from unicodedata import normalize

import numpy as np

from gpuzarr.dtypes import DataType
from gpuzarr.errors import MetadataError
from gpuzarr.grid import Grid, KeyEncoding, RegularGrid
from gpuzarr.metadata.documents import encode_document

# zarr-python writes an empty configuration for these, and none for other codecs that have none.
_ALWAYS_CONFIGURED = frozenset(["vlen-utf8", "vlen-bytes"])


@dataclass(frozen=True)
class NamedConfig:
    """An extension in a format 3 document: a codec, as JSON."""

    name: str
    configuration: dict[str, Any] = field(default_factory=dict)
    must_understand: bool = True

    def to_json(self) -> dict[str, Any]:
        """The object form."""
        spelled: dict[str, Any] = {"name": self.name}
        if self.configuration or self.name in _ALWAYS_CONFIGURED:
            spelled["configuration"] = self.configuration
        if not self.must_understand:
            spelled["must_understand"] = False
        return spelled


class _Node:
    """What arrays and groups share."""

    def to_dict(self) -> dict[str, Any]:
        """The metadata as one JSON object, attributes included."""
        raise NotImplementedError

    @cached_property
    def _identity(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Node) and type(self) is type(other) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


@dataclass(frozen=True, eq=False)
class ArrayMetadata(_Node):
    """All that a store says about an array."""

    zarr_format: Literal[2, 3]
    shape: tuple[int, ...]
    data_type: DataType
    grid: Grid
    key_encoding: KeyEncoding
    fill_value: Any  # a scalar; None only where format 2 says null
    codecs: tuple[NamedConfig, ...] = ()  # format 3, as stored
    order: Literal["C", "F"] = "C"  # of chunks in format 2
    filters: tuple[dict[str, Any], ...] = ()  # format 2: numcodecs configurations
    compressor: dict[str, Any] | None = None  # format 2: numcodecs configuration
    attributes: dict[str, Any] = field(default_factory=dict)
    dimension_names: tuple[str | None, ...] | None = None
    storage_transformers: tuple[Any, ...] = ()  # none is known, so none is accepted
    extra: dict[str, Any] = field(default_factory=dict)  # fields that need not be understood, written back

    node_type = "array"

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the array in memory."""
        return self.data_type.numpy

    @property
    def fill_or_default(self) -> Any:
        """The fill value; the data type's default where format 2 leaves it undefined."""
        return self.data_type.default_fill() if self.fill_value is None else self.fill_value

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk; of an inner chunk where the array is sharded and nothing surrounds the sharding.
        NotImplementedError for rectilinear chunks."""
        inner = self.inner_chunks
        return self._outer_chunks("chunks") if inner is None else inner

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape of a shard, or None. NotImplementedError for rectilinear shards."""
        return None if self.inner_chunks is None else self._outer_chunks("shards")

    @property
    def inner_chunks(self) -> tuple[int, ...] | None:
        """Shape of the chunks in a shard; None where the array is not sharded, or something surrounds the sharding."""
        if len(self.codecs) != 1 or self.codecs[0].name != "sharding_indexed":
            return None
        inner = self.codecs[0].configuration.get("chunk_shape")
        if not isinstance(inner, (list, tuple)) or not all(type(c) is int and c > 0 for c in inner):
            raise MetadataError("codecs[0].configuration.chunk_shape: expected integers >= 1")
        return tuple(inner)

    def _outer_chunks(self, what: str) -> tuple[int, ...]:
        if not isinstance(self.grid, RegularGrid):
            raise NotImplementedError(f"`{what}` has no single shape: the array's chunk grid is rectilinear")
        return self.grid.chunks

    def with_shape(self, shape: tuple[int, ...]) -> ArrayMetadata:
        """The metadata of the array resized."""
        sharded = any(codec.name == "sharding_indexed" for codec in self.codecs)
        return replace(self, shape=shape, grid=self.grid.with_shape(shape, sharded=sharded))

    def with_attributes(self, attributes: Mapping[str, Any]) -> ArrayMetadata:
        """The same with other attributes."""
        return replace(self, attributes=dict(attributes))

    def to_dict(self) -> dict[str, Any]:
        """The metadata as one JSON object; in format 2 that is `.zarray` with the attributes added."""
        return self._v2() if self.zarr_format == 2 else self._v3()

    def documents(self) -> dict[str, bytes]:
        """The documents to store, by key relative to the array."""
        if self.zarr_format == 3:
            return {"zarr.json": encode_document(self._v3())}
        zarray = self._v2()
        zattrs = zarray.pop("attributes")
        return {".zarray": encode_document(zarray), ".zattrs": encode_document(zattrs)}

    def _v3(self) -> dict[str, Any]:
        names = {} if self.dimension_names is None else {"dimension_names": list(self.dimension_names)}
        return {
            "shape": list(self.shape),
            "data_type": self.data_type.to_v3(),
            "chunk_grid": self.grid.to_json(),
            "chunk_key_encoding": self.key_encoding.to_json(),
            "fill_value": self.data_type.fill_to_json(self.fill_value, 3),
            "codecs": [codec.to_json() for codec in self.codecs],
            "attributes": self.attributes,
            **names,
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": list(self.storage_transformers),
            **self.extra,
        }

    def _v2(self) -> dict[str, Any]:
        fill = None if self.fill_value is None else self.data_type.fill_to_json(self.fill_value, 2)
        return {
            "shape": list(self.shape),
            "chunks": list(self._outer_chunks("chunks")),
            "dtype": self.data_type.to_v2(),
            "fill_value": fill,
            "order": self.order,
            "filters": list(self.filters) or None,
            "dimension_separator": self.key_encoding.separator,
            "compressor": self.compressor,
            "attributes": self.attributes,
            "zarr_format": 2,
            **self.extra,
        }


@dataclass(frozen=True, eq=False)
class GroupMetadata(_Node):
    """All that a store says about a group. `consolidated` holds every node below it by relative path, where the
    group's documents hold copies of theirs; in format 2 those are in `.zmetadata`."""

    zarr_format: Literal[2, 3] = 3
    attributes: dict[str, Any] = field(default_factory=dict)
    consolidated: dict[str, Node] | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # fields that need not be understood, written back

    node_type = "group"

    def with_attributes(self, attributes: Mapping[str, Any]) -> GroupMetadata:
        """The same with other attributes."""
        return replace(self, attributes=dict(attributes))

    def with_consolidated(self, nodes: Mapping[str, Node] | None) -> GroupMetadata:
        """The same with other consolidated metadata."""
        return replace(self, consolidated=None if nodes is None else dict(nodes))

    @property
    def consolidated_metadata(self) -> ConsolidatedMetadata | None:
        """The consolidated metadata as zarr-python shows them; None where there are none."""
        return None if self.consolidated is None else ConsolidatedMetadata(self.consolidated)

    def to_dict(self) -> dict[str, Any]:
        """The metadata as one JSON object."""
        document: dict[str, Any] = {"attributes": self.attributes, "zarr_format": self.zarr_format}
        if self.consolidated is not None:
            document["consolidated_metadata"] = consolidated_to_json(self.consolidated)
        return {**document, "node_type": "group", **self.extra}

    def documents(self) -> dict[str, bytes]:
        """The documents to store, by key relative to the group; `.zmetadata` where the group is consolidated."""
        if self.zarr_format == 3:
            return {"zarr.json": encode_document(self.to_dict())}
        documents = {
            ".zgroup": encode_document({"zarr_format": 2, **self.extra}),
            ".zattrs": encode_document(self.attributes),
        }
        if self.consolidated is not None:
            documents[".zmetadata"] = encode_document(self._zmetadata(), indented=False)
        return documents

    def _zmetadata(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": self.attributes}
        for path, node in in_stored_order(self.consolidated or {}):
            metadata[f"{path}/.zattrs"] = node.attributes
            if isinstance(node, ArrayMetadata):
                metadata[f"{path}/.zarray"] = {k: v for k, v in node.to_dict().items() if k != "attributes"}
            else:
                metadata[f"{path}/.zgroup"] = {"zarr_format": 2}
        return {"metadata": metadata, "zarr_consolidated_format": 1}


Node: TypeAlias = ArrayMetadata | GroupMetadata


@dataclass(frozen=True)
class ConsolidatedMetadata:
    """What a group knows of the nodes below it; `flattened_metadata` has all of them, by relative path."""

    flattened_metadata: dict[str, Node]

    kind = "inline"
    must_understand = False

    @property
    def metadata(self) -> dict[str, Node]:
        """The direct members by name; groups come with what is known below them."""
        members = {path: node for path, node in self.flattened_metadata.items() if "/" not in path}
        return {name: self._with_below(name, node) for name, node in members.items()}

    def _with_below(self, name: str, node: Node) -> Node:
        if isinstance(node, ArrayMetadata):
            return node
        start = f"{name}/"
        inside = {p.removeprefix(start): n for p, n in self.flattened_metadata.items() if p.startswith(start)}
        return node.with_consolidated(inside)


def consolidated_to_json(nodes: Mapping[str, Node]) -> dict[str, Any]:
    """The `consolidated_metadata` of a format 3 group. Groups in it carry an empty one, as zarr-python's do: it says
    that their children are known, not that they have none."""
    metadata = {}
    for path, node in in_stored_order(nodes):
        if isinstance(node, GroupMetadata):
            node = node.with_consolidated({})
        metadata[path] = node.to_dict()
    return {"kind": "inline", "must_understand": False, "metadata": metadata}


def in_stored_order(nodes: Mapping[str, Node]) -> list[tuple[str, Node]]:
    """Nodes as zarr-python orders them: by depth, then by name without regard to case, then as they come."""
    return sorted(nodes.items(), key=lambda item: (item[0].count("/"), normalize("NFKC", item[0]).casefold()))
