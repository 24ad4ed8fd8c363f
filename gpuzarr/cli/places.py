"""Places on the command line: opening them, walking what is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from typing import Any

import gpuzarr
from gpuzarr.errors import GpuzarrError, NodeNotFoundError, StoreError
from gpuzarr.nodes import NODE_DOCUMENTS, can_list, join
from gpuzarr.storage import Store, open_store
from gpuzarr.summary import codec_text

Options = Sequence[tuple[str, object]]
Found = tuple[str, gpuzarr.Array | gpuzarr.Group | Exception]  # path, and the node or why it cannot be opened


def is_url(path: str) -> bool:
    """Whether a place on the command line is a URL."""
    return "://" in path


def open_place(path: str, options: Options, mode: str) -> tuple[Store, str]:
    """The store at a path or URL, and the path in it, where it goes on into a zip file. ValueError for options that
    do not belong to this kind of place."""
    archive, inside = _into_zip(path)
    try:
        store, prefix = open_store(archive, mode=mode, storage_options=dict(options) or None)
    except TypeError as error:
        raise ValueError(error) from error
    return store, join(prefix, inside)


def _into_zip(path: str) -> tuple[str, str]:
    """`a.zip/b/c` as the archive and the path in it, where there is such a file."""
    if is_url(path) or os.path.lexists(path):
        return path, ""
    above, inside = path.rstrip("/"), ""
    while above and above != os.path.dirname(above):
        above, name = os.path.split(above)
        inside = join(name, inside)
        if above.endswith(".zip") and os.path.isfile(above):
            return above, inside
    return path, ""


def open_inside(path: str, options: Options, mode: str) -> tuple[Store, str]:
    """The store at a path or URL and the path in it, where a local path that lies in a hierarchy is opened at the
    hierarchy's root: so that groups above are known."""
    store, inside = open_place(path, options, mode)
    if is_url(path) or inside or path.endswith(".zip"):
        return store, inside
    root, inside = os.path.abspath(path), ""
    above, below = root, ""
    while above != os.path.dirname(above):
        above, name = os.path.split(above)
        below = join(name, below)
        if any(os.path.exists(os.path.join(above, document)) for document in NODE_DOCUMENTS):
            root, inside = above, below
        elif os.path.lexists(above):
            break
    return open_place(root, options, mode)[0], inside


def anything_at(path: str, options: Options, mode: str) -> tuple[Store, str]:
    """The store, and the path in it; NodeNotFoundError where it holds nothing, not even leftovers."""
    store, inside = open_place(path, options, mode)
    if store.supports_listing and next(chain(store.list(inside), store.leftovers(inside)), None) is None:
        raise NodeNotFoundError(f"nothing is at {path!r}")
    return store, inside


@contextmanager
def hinting(path: str, options: Options) -> Iterator[None]:
    """Context manager: an error gets notes that say what is there instead of a node that was not found, or what may
    help where the store cannot be asked."""
    try:
        yield
    except (NodeNotFoundError, StoreError, ImportError) as error:
        hints = import_module("gpuzarr.cli.hints")
        missing = isinstance(error, NodeNotFoundError)
        for hint in hints.hints(path, options) if missing else hints.failure(path, error):
            error.add_note(hint)
        raise


def walk(store: Store, path: str = "") -> Iterator[Found]:
    """Every node under `path`, that one as "/", found by listing all keys.

    So a node is found whatever is wrong with those above it. NodeNotFoundError where there is no node at all.
    """
    if not can_list(store, path):
        yield from members(gpuzarr.open(store, path=path, mode="r"))
        return
    places = {key.rpartition("/")[0] for key in store.list(path) if key.rpartition("/")[2] in NODE_DOCUMENTS}
    if not places:
        gpuzarr.open(store, path=path, mode="r")
    start = len(path) + 1 if path else 0
    for place in sorted(places, key=lambda place: place.split("/") if place else []):
        try:
            yield "/" + place[start:], gpuzarr.open(store, mode="r", path=place, use_consolidated=False)
        except (GpuzarrError, OSError) as error:
            yield "/" + place[start:], error


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
        return {"path": path, "type": "group", "zarr_format": node.metadata.zarr_format}
    return {
        "path": path,
        "type": "array",
        "zarr_format": node.metadata.zarr_format,
        "shape": node.shape,
        "dtype": str(node.dtype),
        "chunks": _lengths(node, "chunks"),
        "shards": _lengths(node, "shards"),
        "codecs": codec_text(node.metadata),
        "nbytes": int(node.nbytes),
    }


def _lengths(node: gpuzarr.Array, what: str) -> Any:
    """The shape of chunks or shards; of a rectilinear grid the lengths along each axis, as they are stored."""
    try:
        return getattr(node, what)
    except NotImplementedError:
        return node.metadata.grid.to_json()["configuration"]["chunk_shapes"]
