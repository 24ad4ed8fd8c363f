"""`gpuzarr info` and `gpuzarr tree`, and what they share: opening a path, walking a hierarchy."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import Any

import gpuzarr

Node = Any  # gpuzarr.Array | gpuzarr.Group
SHOWN = 12  # entries of a directory that an error message lists


def open_node(arguments: argparse.Namespace) -> Node:
    """The node at the path on the command line, read-only. Raises NodeNotFoundError."""
    options = dict(arguments.option) or None
    return gpuzarr.open(arguments.path, mode="r", storage_options=options)


def walk(node: Node) -> Iterator[tuple[str, Node]]:
    """The node itself as "/", then what is below it, by path."""
    yield "/", node
    if isinstance(node, gpuzarr.Group):
        for path, member in sorted(node.members(max_depth=None), key=lambda item: item[0].split("/")):
            yield "/" + path.strip("/"), member


def describe(path: str, node: Node) -> dict[str, Any]:
    """What is known of a node without reading a chunk, as JSON."""
    is_array = isinstance(node, gpuzarr.Array)
    found: dict[str, Any] = {"path": path, "type": "array" if is_array else "group"}
    if is_array:
        found |= {
            "shape": list(node.shape),
            "dtype": str(node.dtype),
            "chunks": _plain(node.chunks),
            "shards": _plain(node.shards),
            "nbytes": int(node.nbytes),
        }
    return found


def info(arguments: argparse.Namespace) -> int:
    """`gpuzarr info PATH`."""
    node = open_node(arguments)
    if not arguments.json:
        print(node.info)
        return 0
    found = describe(arguments.path, node)
    if isinstance(node, gpuzarr.Array):
        found["nbytes_stored"] = int(node.nbytes_stored)
    print(json.dumps(found | {"metadata": node.metadata.to_dict()}, indent=2, default=str))
    return 0


def tree(arguments: argparse.Namespace) -> int:
    """`gpuzarr tree PATH`."""
    node = open_node(arguments)
    if arguments.json:
        print(json.dumps([describe(path, member) for path, member in walk(node)], indent=2))
    elif isinstance(node, gpuzarr.Group):
        print(node.tree())
    else:
        print(f"/ {tuple(node.shape)} {node.dtype}")
    return 0


def what_is_there(path: str) -> str:
    """The end of an error message about `path`: what the nearest existing directory holds."""
    if path is None or "://" in path:
        return ""
    place = os.path.abspath(path)
    missing = not os.path.lexists(place)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"\n{place} is a file"
    names = sorted(name + "/" * os.path.isdir(os.path.join(place, name)) for name in os.listdir(place))
    listed = ", ".join(names[:SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "")
    return f"\n{place} {'is the nearest that exists; it' if missing else ''} holds: {listed or 'nothing'}"


def _plain(chunks: Any) -> Any:
    return None if chunks is None else [list(c) if isinstance(c, tuple) else int(c) for c in chunks]
