"""`gpuzarr info` and `gpuzarr tree`, and what they share with `verify`: opening a path, walking a hierarchy."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import gpuzarr
from gpuzarr.errors import BaseZarrError, GpuzarrError
from gpuzarr.storage import Store, open_store
from gpuzarr.tree import tree_text

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup")
SHOWN = 12  # entries of a directory that an error message lists

Found = tuple[str, gpuzarr.Array | gpuzarr.Group | Exception]  # path, and the node or why it cannot be opened


def the_store(arguments: argparse.Namespace) -> Store:
    """The store at the path on the command line, read-only."""
    try:
        return open_store(arguments.path, mode="r", storage_options=dict(arguments.option) or None)[0]
    except TypeError as error:  # options that do not belong to this kind of path
        raise ValueError(error) from error


def walk(store: Store) -> Iterator[Found]:
    """Every node of a store by path, the root as "/", found by listing all keys.

    So a node is found whatever is wrong with those above it. NodeNotFoundError where there is no node at all.
    """
    if not store.supports_listing:
        yield from members(gpuzarr.open(store, mode="r"))
        return
    places = {key.rpartition("/")[0] for key in store.list() if key.rpartition("/")[2] in DOCUMENTS}
    if not places:
        gpuzarr.open(store, mode="r")
    for path in sorted(places, key=lambda path: path.split("/") if path else []):
        try:
            yield "/" + path, gpuzarr.open(store, mode="r", path=path, use_consolidated=False)
        except (GpuzarrError, OSError) as error:
            yield "/" + path, error


def members(node: gpuzarr.Array | gpuzarr.Group) -> Iterator[Found]:
    """A node as "/", and all below it as its group says."""
    yield "/", node
    if isinstance(node, gpuzarr.Group):
        for path, member in node.members(max_depth=None):
            yield "/" + path, member


def info(arguments: argparse.Namespace) -> int:
    """`gpuzarr info PATH`."""
    node = gpuzarr.open(the_store(arguments), mode="r")
    if not arguments.json:
        print(node.info_complete())
        return 0
    described = describe(arguments.path, node)
    if isinstance(node, gpuzarr.Array):
        described["nbytes_stored"] = int(node.nbytes_stored)
    print(json.dumps(described | {"metadata": node.metadata.to_dict()}, indent=2, default=str))
    return 0


def tree(arguments: argparse.Namespace) -> int:
    """`gpuzarr tree PATH`."""
    store = the_store(arguments)
    try:  # listing the groups only is much quicker than listing every chunk
        found = list(members(gpuzarr.open(store, mode="r")))
    except BaseZarrError:
        found = list(walk(store))
    if arguments.json:
        print(json.dumps([describe(path, node) for path, node in found], indent=2))
    elif len(found) == 1 and isinstance(found[0][1], gpuzarr.Array):
        print(f"/ {found[0][1].shape} {found[0][1].dtype}")
    else:
        print(tree_text((_drawn(*each) for each in found), max_nodes=sys.maxsize), end="")
    damaged = [(path, node) for path, node in found if isinstance(node, Exception)]
    for path, error in damaged:
        print(printable(f"{path}: {type(error).__name__}: {error}"), file=sys.stderr)
    return 1 if damaged else 0


def describe(path: str, node: gpuzarr.Array | gpuzarr.Group | Exception) -> dict[str, Any]:
    """What is known of a node without reading a chunk, as JSON."""
    if isinstance(node, Exception):
        return {"path": path, "type": "damaged", "error": f"{type(node).__name__}: {node}"}
    if isinstance(node, gpuzarr.Group):
        return {"path": path, "type": "group"}
    return {
        "path": path,
        "type": "array",
        "shape": node.shape,
        "dtype": str(node.dtype),
        "chunks": _lengths(node, "chunks"),
        "shards": _lengths(node, "shards"),
        "nbytes": int(node.nbytes),
    }


def _lengths(node: gpuzarr.Array, what: str) -> Any:
    """The shape of chunks or shards; of a rectilinear grid the lengths along each axis, as they are stored."""
    try:
        return getattr(node, what)
    except NotImplementedError:
        return node.metadata.grid.to_json()["configuration"]["chunk_shapes"]


def what_is_there(path: str) -> str:
    """The end of an error message about a local path that does not exist: what the nearest directory holds."""
    place = os.path.abspath(path)
    if "://" in path or os.path.lexists(place):
        return ""
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"\n{place} is a file"
    names = sorted(name + "/" * os.path.isdir(os.path.join(place, name)) for name in os.listdir(place))
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"\n{place} is there; it holds {listed or 'nothing'}"


def printable(text: str) -> str:
    """Names and messages come from the store, and must not drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _drawn(path: str, node: gpuzarr.Array | gpuzarr.Group | Exception) -> Any:
    if isinstance(node, gpuzarr.Array):
        return path, "array", node.shape, node.dtype
    return path, "group", None, None
