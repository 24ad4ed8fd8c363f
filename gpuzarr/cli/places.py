"""Places on the command line: opening them, walking what is there, and saying what is there where nothing was found."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import gpuzarr
from gpuzarr.errors import GpuzarrError, NodeNotFoundError
from gpuzarr.storage import Store, open_store

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup")
SHOWN = 12  # entries of a directory that an error message lists

Found = tuple[str, gpuzarr.Array | gpuzarr.Group | Exception]  # path, and the node or why it cannot be opened


def open_place(path: str, options: Sequence[tuple[str, object]], mode: str) -> tuple[Store, str]:
    """The store at a path or URL, and the path in it."""
    try:
        return open_store(path, mode=mode, storage_options=dict(options) or None)
    except TypeError as error:  # options that do not belong to this kind of path
        raise ValueError(error) from error


def the_store(arguments: argparse.Namespace) -> Store:
    """The store at the path on the command line, read-only."""
    return open_place(arguments.path, arguments.option, "r")[0]


def anything_at(arguments: argparse.Namespace, mode: str) -> tuple[Store, str]:
    """The store, and the path in it; NodeNotFoundError where it holds nothing, not even leftovers."""
    store, path = open_place(arguments.path, arguments.option, mode)
    if store.supports_listing and next(chain(store.list(path), store.leftovers(path)), None) is None:
        raise NodeNotFoundError(f"nothing is at {arguments.path!r}")
    return store, path


@contextmanager
def hinting(path: str) -> Iterator[None]:
    """Context manager: an error of a node that is not found gets a note that says what is there."""
    try:
        yield
    except NodeNotFoundError as error:
        if hint := what_is_there(path):
            error.add_note(hint)
        raise


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
    """A hint about a local path that does not exist: what the nearest directory holds."""
    place = os.path.abspath(path)
    if "://" in path or os.path.lexists(place):
        return ""
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"{place} is a file"
    names = sorted(name + "/" * os.path.isdir(os.path.join(place, name)) for name in os.listdir(place))
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{place} is there; it holds {listed or 'nothing'}"
