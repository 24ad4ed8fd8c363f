"""Arrays and groups of a hierarchy as documents in a store: find, read, list. `making.py` writes and deletes them.

Format 3 has one document a node (`zarr.json`), which costs one request; format 2 has `.zarray` or `.zgroup` with
`.zattrs` beside it, fetched together. Where no format is asked for, format 3 is looked for first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal

from gpuzarr.errors import (
    ArrayNotFoundError,
    ContainsArrayError,
    GroupNotFoundError,
    KeyValidationError,
    LimitError,
    MetadataError,
    NodeNotFoundError,
    NodeTypeValidationError,
    StoreError,
)
from gpuzarr.metadata.consolidated import parse_v2 as consolidated_from_v2
from gpuzarr.metadata.consolidated import subtree
from gpuzarr.metadata.documents import MAX_DOCUMENT_BYTES, parse_document
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.metadata.v2 import array_from_v2, group_from_v2
from gpuzarr.metadata.v3 import node_from_v3
from gpuzarr.storage.contract import Buffer, Store
from gpuzarr.storage.keys import DOCUMENTS

ZarrFormat = Literal[2, 3]
UseConsolidated = bool | str | None
"""None: where it is there; True: it must be; False: never; a string: format 2's, under this key."""

NODE_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup")
_BATCH = 1000  # nodes whose documents are fetched in one call while listing; fewer at first, as some want only a few
_FIRST = 64
_SHORT = 64 << 10  # bytes of a document, for that
_SHOWN = 10  # names that a message lists


# ---- paths


def normalize_path(path: object) -> str:
    """`"/a//b/"` -> `"a/b"`, None and "/" -> "". KeyValidationError for segments of dots only."""
    if path is None:
        return ""
    parts = [part for part in str(path).replace("\\", "/").split("/") if part]
    if any(not part.strip(".") for part in parts):
        raise KeyValidationError(f"path {path!r} is not allowed: it has a segment of dots only")
    return "/".join(parts)


def join(path: str, name: str) -> str:
    """The path of what is called `name` under `path`."""
    return f"{path}/{name}" if path and name else path or name


def parents(path: str) -> list[str]:
    """Paths above `path`, the root first."""
    parts = path.split("/") if path else []
    return ["/".join(parts[:i]) for i in range(len(parts))]


def check_name(path: str) -> None:
    """Refuse a node whose document would lie where another node's does. KeyValidationError."""
    reserved = set(path.split("/")) & set(DOCUMENTS)
    if reserved:
        raise KeyValidationError(f"a node cannot be called {min(reserved)!r}: that is the name of a metadata document")


def check_format(zarr_format: object) -> None:
    """MetadataError for anything but 2, 3 and None."""
    if isinstance(zarr_format, bool) or zarr_format not in (2, 3, None):
        raise MetadataError(f"zarr_format must be 2, 3 or None, got {zarr_format!r}")


# ---- reading


def read_node(
    store: Store, path: str, zarr_format: int | None = None, *, use_consolidated: UseConsolidated = None
) -> Node | None:
    """The metadata of the array or group at `path`, or None where there is none. One request for format 3.

    Raises MetadataError for a document that breaks the spec, and where consolidated metadata must be there and
    is not.
    """
    check_format(zarr_format)
    if zarr_format != 2:
        key = join(path, "zarr.json")
        data = store.get(key, limit=MAX_DOCUMENT_BYTES)
        if data is not None:
            return _consolidated(node_v3(data, key), path, use_consolidated)
        if zarr_format == 3:
            return None
    zmetadata = use_consolidated if isinstance(use_consolidated, str) else ".zmetadata"
    names = [".zarray", ".zgroup", ".zattrs", *([] if use_consolidated is False else [zmetadata])]
    keys = [join(path, name) for name in names]
    found = fetch_documents(store, keys)
    node = _node_v2(found, keys)
    if isinstance(node, GroupMetadata) and len(found) > 3 and found[3] is not None:
        document = parse_document(bytes(found[3]), key=keys[3])
        node = node.with_consolidated(subtree(consolidated_from_v2(document, key=keys[3]), ""))
    return None if node is None else _consolidated(node, path, use_consolidated)


def fetch_documents(store: Store, keys: Sequence[str]) -> list[Buffer | None]:
    """Documents, None for absent ones. LimitError for one that is too long to be read."""
    return store.get_many(keys, limit=MAX_DOCUMENT_BYTES)


def node_v3(data: Buffer, key: str) -> Node:
    """The node of a `zarr.json`. MetadataError."""
    return node_from_v3(parse_document(bytes(data), key=key), key=key)


def _node_v2(found: Sequence[Buffer | None], keys: Sequence[str]) -> Node | None:
    """From `.zarray`, `.zgroup` and `.zattrs`."""
    zarray, zgroup, zattrs = (
        None if data is None else parse_document(bytes(data), key=key)
        for data, key in zip(found[:3], keys[:3], strict=True)
    )
    if zarray is not None:
        return array_from_v2(zarray, zattrs, key=keys[0])
    return None if zgroup is None else group_from_v2(zgroup, zattrs, key=keys[1])


def _consolidated(node: Node, path: str, use_consolidated: UseConsolidated) -> Node:
    if isinstance(node, ArrayMetadata):
        return node
    if use_consolidated is False:
        return node.with_consolidated(None) if node.consolidated is not None else node
    if isinstance(use_consolidated, str) and node.zarr_format == 3:
        raise TypeError("use_consolidated must be True, False or None for Zarr format 3: there is no key to choose")
    if use_consolidated and node.consolidated is None:
        raise MetadataError(
            f"the group at {path!r} has no consolidated metadata; gpuzarr.consolidate_metadata writes them"
        )
    return node


def read_array(store: Store, path: str, zarr_format: int | None = None) -> ArrayMetadata | None:
    """The metadata of the array at `path`, or None where there is nothing. NodeTypeValidationError for a group."""
    node = read_node(store, path, zarr_format, use_consolidated=False)
    if isinstance(node, GroupMetadata):
        raise NodeTypeValidationError(f"{describe(store, path)} is a group, not an array")
    return node


def read_group(
    store: Store, path: str, zarr_format: int | None = None, *, use_consolidated: UseConsolidated = None
) -> GroupMetadata | None:
    """The metadata of the group at `path`, or None where there is nothing. ContainsArrayError for an array."""
    node = read_node(store, path, zarr_format, use_consolidated=use_consolidated)
    if isinstance(node, ArrayMetadata):
        raise ContainsArrayError(f"{describe(store, path)} is an array, not a group")
    return node


def describe(store: Store, path: str) -> str:
    """Where a node is, for messages."""
    return f"{path or '/'!r} in {store}"


# ---- what is there


def kinds_at(store: Store, path: str) -> list[tuple[Literal["array", "group"], ZarrFormat]]:
    """Kind and format of every node document at `path`; several where formats are mixed."""
    v3, zarray, zgroup = fetch_documents(store, [join(path, name) for name in NODE_DOCUMENTS])
    found: list[tuple[Literal["array", "group"], ZarrFormat]] = []
    if v3 is not None:
        node = node_v3(v3, join(path, "zarr.json"))
        found.append(("array" if isinstance(node, ArrayMetadata) else "group", 3))
    if zarray is not None:
        found.append(("array", 2))
    if zgroup is not None:
        found.append(("group", 2))
    return found


def what_is_there(store: Store, path: str) -> str:
    """The end of a message about a node that is not found: what is at `path` instead, or around it."""
    try:
        kinds = kinds_at(store, path)
        if kinds:
            return "there is " + " and ".join(f"a Zarr format {form} {kind}" for kind, form in kinds)
        if not store.supports_listing:
            return "nothing is there"
        for place in reversed([*parents(path), path]):
            names = sorted(store.list_dir(place))
            if names:
                shown = ", ".join(map(repr, names[:_SHOWN])) + (
                    f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
                )
                return f"no metadata are there; {place or '/'!r} holds {shown}"
    except (StoreError, MetadataError, NotImplementedError) as error:
        return f"what is there could not be found out: {error}"
    return "the store is empty"


def not_found(store: Store, path: str, kind: str | None, zarr_format: int | None = None) -> NodeNotFoundError:
    """The error for a node that is not there, which says what is."""
    error = {"array": ArrayNotFoundError, "group": GroupNotFoundError}.get(kind or "", NodeNotFoundError)
    form = "" if zarr_format is None else f" of Zarr format {zarr_format}"
    return error(f"no {kind or 'array or group'}{form} at {describe(store, path)}: {what_is_there(store, path)}")


# ---- listing


def can_list(store: Store, path: str) -> bool:
    """Whether the store lists what it holds under a path at which something is. Web servers without index pages take
    the question, and show nothing."""
    if not store.supports_listing:
        return False
    return not store.in_flight or next(iter(store.list_dir(path)), None) is not None


def children(store: Store, path: str, zarr_format: int) -> Iterator[tuple[str, Node]]:
    """Name and metadata of every direct member of the group at `path`, in the order of names.

    What is there without metadata of this format is no member. ValueError where the store cannot list.
    """
    names = sorted(name.rstrip("/") for name in store.list_dir(path)) if store.supports_listing else []
    if not names and (store.in_flight or not store.supports_listing):  # not even the group's own document
        raise ValueError(f"{store} cannot list what it holds; open the group with consolidated metadata")
    names = [name for name in names if name not in DOCUMENTS]
    wanted = ("zarr.json",) if zarr_format == 3 else (".zarray", ".zgroup", ".zattrs")
    for start in chain((0,), range(_FIRST, len(names), _BATCH)):
        batch = names[start : start + (_BATCH if start else _FIRST)]
        keys = [f"{join(path, name)}/{document}" for name in batch for document in wanted]
        for i, (name, found) in enumerate(zip(batch, _by_node(store, keys, len(wanted)), strict=True)):
            if zarr_format == 2:
                node = _node_v2(found, keys[3 * i : 3 * i + 3])
            else:
                node = None if found[0] is None else node_v3(found[0], keys[i])
            if node is not None:
                yield name, node


def _by_node(store: Store, keys: Sequence[str], width: int) -> Iterator[list[Buffer | None]]:
    """The documents of each node, which has `width` of them; long ones apart, so that few are held at once."""
    if len(keys) == width:
        yield fetch_documents(store, keys)
        return
    try:
        found = store.get_many(keys, limit=_SHORT)
    except LimitError:
        half = len(keys) // width // 2 * width
        yield from _by_node(store, keys[:half], width)
        yield from _by_node(store, keys[half:], width)
    else:
        yield from (found[i : i + width] for i in range(0, len(found), width))


def descendants(
    store: Store, path: str, metadata: GroupMetadata, max_depth: int | None = None, *, use_consolidated: bool = True
) -> Iterator[tuple[str, Node]]:
    """Relative path and metadata of every node below a group, parents before their members.

    `max_depth` levels below the direct members; None is all of them. Consolidated metadata, where a group has
    them, answer without a request.
    """
    waiting: list[tuple[str, Iterator[tuple[str, Node]]]] = [("", _members(store, path, metadata))]
    while waiting:
        prefix, members = waiting[-1]
        for name, node in members:
            here = join(prefix, name)
            if isinstance(node, GroupMetadata) and not use_consolidated and node.consolidated is not None:
                node = node.with_consolidated(None)
            yield here, node
            if isinstance(node, GroupMetadata) and (max_depth is None or len(waiting) <= max_depth):
                waiting.append((here, _members(store, join(path, here), node)))
                break
        else:
            waiting.pop()


def _members(store: Store, path: str, metadata: GroupMetadata) -> Iterator[tuple[str, Node]]:
    if metadata.consolidated is None:
        return children(store, path, metadata.zarr_format)
    return ((name, below(metadata, name)) for name in sorted(metadata.consolidated) if "/" not in name)


def below(metadata: GroupMetadata, path: str) -> Node:
    """A node out of consolidated metadata; a group comes with what is known of its members. KeyError."""
    assert metadata.consolidated is not None
    node = metadata.consolidated[path]
    if isinstance(node, ArrayMetadata):
        return node
    return node.with_consolidated(subtree(metadata.consolidated, path))
