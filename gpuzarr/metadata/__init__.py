"""Metadata: JSON documents to and from one frozen model."""

from gpuzarr.metadata.documents import encode_document, parse_document
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, NamedConfig, Node
from gpuzarr.metadata.paths import validate_node_path
from gpuzarr.metadata.v2 import array_from_v2, group_from_v2
from gpuzarr.metadata.v3 import array_from_v3, group_from_v3, node_from_v3

__all__ = [
    "ArrayMetadata",
    "GroupMetadata",
    "NamedConfig",
    "Node",
    "array_from_v2",
    "array_from_v3",
    "encode_document",
    "group_from_v2",
    "group_from_v3",
    "node_from_v3",
    "parse_document",
    "validate_node_path",
]
