"""What to say of a place where no node was found: what is there, what is near, and what may have been meant.

Looking is bounded, and where it fails there is no hint; the error that it belongs to is told in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice

from gpuzarr.cli.places import Options, is_url, open_place
from gpuzarr.errors import GpuzarrError
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.nodes import NODE_DOCUMENTS, children, read_node

SHOWN = 12  # names that a hint lists
LOOKED_AT = 1000  # names among which similar ones are sought
MEANT = 3  # names that are suggested
LEVELS = 8  # that are gone up in search of something that is there
EXTRAS = {"s3": "gpuzarr[s3]", "gs": "gpuzarr[gcs]", "gcs": "gpuzarr[gcs]", "http": "aiohttp", "https": "aiohttp"}
ANONYMOUS = {"s3": "anon=true", "gs": "token=anon", "gcs": "token=anon"}
DENIED = ("credential", "403", "401", "forbidden", "denied")
HALVES = (".zattrs", ".zmetadata")  # what a format 2 node has beside the document that makes it one


def hints(path: str, options: Options) -> Iterator[str]:
    """What is there instead, a line each."""
    wanted = ""  # the first part of the path that is not there
    place = path.rstrip("/") if is_url(path) else os.path.abspath(path)
    for _ in range(LEVELS):
        node = _node_at(place, options)
        if node is not None and wanted:
            yield from _near_node(place, node, wanted, options)
            return
        if not is_url(place) and os.path.lexists(place):
            yield from _in_directory(place, wanted)
            return
        above, _, wanted = place.rpartition("/") if is_url(place) else _split(place)
        if not wanted or above in ("", place) or above.endswith(("/", ":")):
            return
        place = above


def failure(path: str, error: Exception) -> Iterator[str]:
    """What may help where the store cannot be asked."""
    scheme = path.rpartition("::")[2].partition("://")[0] if is_url(path) else ""
    extra = EXTRAS.get(scheme)
    if isinstance(error, ImportError) and extra is not None:
        yield f"pip install {extra!r}"
    elif scheme in ANONYMOUS and any(word in str(error).lower() for word in DENIED):
        yield f"where the data are public, no credentials are needed: --option {ANONYMOUS[scheme]}"


def _split(path: str) -> tuple[str, str, str]:
    above, name = os.path.split(path)
    return above, os.sep, name


def _node_at(place: str, options: Options) -> Node | None:
    try:
        return read_node(*open_place(place, options, "r"))
    except (GpuzarrError, OSError, ImportError, ValueError):
        return None


def _near_node(place: str, node: Node, wanted: str, options: Options) -> Iterator[str]:
    """There is a node above the one that was wanted."""
    kind = f"format {node.zarr_format} {node.node_type}"
    if isinstance(node, ArrayMetadata):
        yield f"{place!r} is a {kind}, and arrays have no members"
        return
    names = _members(place, node, options)
    yield f"{place!r} is a {kind}" + ("" if names is None else f"; it has {_listed(names) or 'no members'}")
    yield from _meant(place, wanted, names or ())


def _members(place: str, node: GroupMetadata, options: Options) -> list[str] | None:
    """Names of members, as far as they are looked at; None where they cannot be known."""
    if node.consolidated is not None:
        return sorted({name.partition("/")[0] for name in node.consolidated})[:LOOKED_AT]
    try:
        store, path = open_place(place, options, "r")
        return [name for name, _ in islice(children(store, path, node.zarr_format), LOOKED_AT)]
    except (GpuzarrError, OSError, ValueError):
        return None


def _in_directory(place: str, wanted: str) -> Iterator[str]:
    """There is something of the file system, which is no node."""
    if not os.path.isdir(place):
        yield f"{place} is a file"
        return
    try:
        names = sorted(os.listdir(place))
    except OSError as error:
        yield f"{place} is there, but cannot be looked into: {error.strerror}"
        return
    nodes = [name for name in names[:LOOKED_AT] if _looks_like_node(os.path.join(place, name))]
    halves = [name for name in HALVES if name in names]
    if wanted or not names:
        slashes = [name + "/" * os.path.isdir(os.path.join(place, name)) for name in names[: SHOWN + 1]]
        yield f"{place} is there; it holds {_listed(slashes + names[SHOWN + 1 :]) or 'nothing'}"
        yield from _meant(place, wanted, names[:LOOKED_AT])
    elif halves:
        yield f"there is {' and '.join(halves)}, but neither .zarray nor .zgroup: the node's own document is gone"
    elif nodes:
        yield f"nodes are one level below: {_listed([os.path.join(place, name) for name in nodes])}"


def _looks_like_node(path: str) -> bool:
    return path.endswith(".zip") or any(os.path.exists(os.path.join(path, name)) for name in NODE_DOCUMENTS)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _meant(place: str, wanted: str, names: Sequence[str]) -> Iterator[str]:
    """Names that are like the one which was given."""
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.lower(), name)
    word = wanted.lower()
    close = [lower[name] for name in get_close_matches(word, list(lower), n=MEANT, cutoff=0.7)]
    close = close or [name for low, name in lower.items() if len(word) > 2 and word in low][:MEANT]
    if close:
        yield "did you mean " + " or ".join(repr(f"{place.rstrip('/')}/{name}") for name in close) + "?"
