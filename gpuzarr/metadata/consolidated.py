"""Consolidated metadata: copies of all documents below a group, in one.

Format 2: `.zmetadata` beside the root's `.zgroup`. Format 3: `consolidated_metadata` in the group's `zarr.json`. Both
are read in any order; what is written is ordered as zarr-python orders it. The `.zmetadata` has no
`consolidated_metadata` inside its entries, which zarr-python writes there though the format has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpuzarr.errors import MetadataError
from gpuzarr.metadata.documents import bad
from gpuzarr.metadata.model import GroupMetadata, Node
from gpuzarr.metadata.paths import validate_node_path
from gpuzarr.metadata.v2 import array_from_v2, group_from_v2
from gpuzarr.metadata.v3 import consolidated_from_v3 as parse_v3

__all__ = ["build", "parse_v2", "parse_v3", "subtree"]


def parse_v2(document: Mapping[str, Any], *, key: str = ".zmetadata") -> dict[str, Node]:
    """Nodes by path, "" for the root, from the document of a `.zmetadata`."""
    if type(document.get("zarr_consolidated_format")) is not int or document["zarr_consolidated_format"] != 1:
        raise bad(f"{key}: zarr_consolidated_format", "1", document.get("zarr_consolidated_format"))
    entries = document.get("metadata")
    if not isinstance(entries, dict):
        raise bad(f"{key}: metadata", "an object", entries)
    nodes: dict[str, Node] = {}
    for name, entry in entries.items():
        path, _, kind = name.rpartition("/")
        if kind not in (".zarray", ".zgroup"):
            continue
        where = f"{key}: metadata.{name}"
        zattrs = entries.get(f"{path}/.zattrs" if path else ".zattrs", {})
        if not isinstance(entry, dict) or not isinstance(zattrs, dict):
            raise bad(where, "an object, and so its .zattrs", entry)
        try:
            _check_path(path, name)
        except MetadataError as error:
            raise MetadataError(f"{where}: {error}") from error
        if path in nodes:
            raise MetadataError(f"{where}: the path holds an array and a group")
        nodes[path] = (array_from_v2 if kind == ".zarray" else group_from_v2)(entry, zattrs, key=where)
    return nodes


def _check_path(path: str, name: str) -> None:
    if path or name.startswith("/"):
        validate_node_path(path)


def build(group: GroupMetadata, nodes: Mapping[str, Node]) -> GroupMetadata:
    """The group with all nodes below it, by relative path, consolidated; its `documents()` hold them."""
    return group.with_consolidated({validate_node_path(path): node for path, node in nodes.items()})


def subtree(nodes: Mapping[str, Node], path: str) -> dict[str, Node]:
    """The nodes below `path`, by path relative to it."""
    prefix = f"{path}/" if path else ""
    return {name[len(prefix) :]: node for name, node in nodes.items() if name and name.startswith(prefix)}
