"""Names of nodes (Zarr v3 core, "Node names"; v2, "Logical storage paths")."""

from __future__ import annotations

from gpuzarr.errors import MetadataError

# What holds metadata cannot be a node.
_RESERVED = frozenset(["zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"])


def validate_node_path(path: str, *, new: bool = False) -> str:
    """`path` itself, where it names a node below the root: names joined by "/". MetadataError where not.

    A name is not empty, not only dots, no metadata document, without NUL and backslash. A `new` one does not begin
    with "__" either, which the spec reserves.
    """
    for name in path.split("/"):
        if not name or not name.strip(".") or name in _RESERVED or "\0" in name or "\\" in name:
            raise MetadataError(f"{path[:100]!r} is no path of a node: {name[:100]!r} cannot be a name")
        if new and name.startswith("__"):
            raise MetadataError(f"{path[:100]!r}: names that begin with '__' are reserved")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise MetadataError(f"{path[:100]!r} is no path of a node: it is no Unicode text") from None
    return path
