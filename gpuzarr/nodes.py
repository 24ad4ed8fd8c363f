"""Arrays and groups of a hierarchy as documents in a store: find, read, write, list, delete.

Format 3 has one document a node (`zarr.json`), which costs one request; format 2 has `.zarray` or `.zgroup` with
`.zattrs` beside it, fetched together. Where no format is asked for, format 3 is looked for first. A node is written
so that whoever finds its document finds the rest: parents before it, attributes before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from gpuzarr.errors import (
    ArrayNotFoundError,
    ContainsArrayError,
    ContainsGroupError,
    ContainsNodeError,
    GroupNotFoundError,
    KeyValidationError,
    MetadataError,
    NodeNotFoundError,
    NodeTypeValidationError,
    StoreError,
)
from gpuzarr.metadata.consolidated import build, subtree
from gpuzarr.metadata.consolidated import parse_v2 as consolidated_from_v2
from gpuzarr.metadata.documents import MAX_DOCUMENT_BYTES, parse_document
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.metadata.v2 import array_from_v2, group_from_v2
from gpuzarr.metadata.v3 import node_from_v3
from gpuzarr.storage.contract import Buffer, Store

ZarrFormat = Literal[2, 3]
UseConsolidated = bool | str | None
"""None: where it is there; True: it must be; False: never; a string: format 2's, under this key."""

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_NODE_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup")
_BATCH = 1000  # documents fetched in one call while listing
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
            return _consolidated(_node_v3(data, key), path, use_consolidated)
        if zarr_format == 3:
            return None
    zmetadata = use_consolidated if isinstance(use_consolidated, str) else ".zmetadata"
    names = [".zarray", ".zgroup", ".zattrs", *([] if use_consolidated is False else [zmetadata])]
    keys = [join(path, name) for name in names]
    found = _documents(store, keys)
    node = _node_v2(found, keys)
    if isinstance(node, GroupMetadata) and len(found) > 3 and found[3] is not None:
        document = parse_document(bytes(found[3]), key=keys[3])
        node = node.with_consolidated(subtree(consolidated_from_v2(document, key=keys[3]), ""))
    return None if node is None else _consolidated(node, path, use_consolidated)


def _documents(store: Store, keys: Sequence[str]) -> list[Buffer | None]:
    """Documents, None for absent ones. LimitError for one that is too long to be read."""
    return store.get_many(keys, limit=MAX_DOCUMENT_BYTES)


def _node_v3(data: Buffer, key: str) -> Node:
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
    v3, zarray, zgroup = _documents(store, [join(path, name) for name in _NODE_DOCUMENTS])
    found: list[tuple[Literal["array", "group"], ZarrFormat]] = []
    if v3 is not None:
        node = _node_v3(v3, join(path, "zarr.json"))
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


# ---- writing


def write_metadata(store: Store, path: str, metadata: Node) -> None:
    """Put the documents of a node, the one that makes it a node last."""
    documents = metadata.documents()
    for name in sorted(documents, key=lambda name: name in _NODE_DOCUMENTS):
        store.set(join(path, name), documents[name])


def write_metadata_if_absent(store: Store, path: str, metadata: Node) -> bool:
    """Make a node where there is none of its kind and format; False, and nothing written, where there is one."""
    documents = metadata.documents()
    last = next(name for name in _NODE_DOCUMENTS if name in documents)
    if store.exists(join(path, last)):
        return False
    for name, data in documents.items():
        if name != last:
            store.set_if_absent(join(path, name), data)
    return store.set_if_absent(join(path, last), documents[last])


def make_node(store: Store, path: str, metadata: Node, *, overwrite: bool = False) -> None:
    """Make a new node with the groups above it.

    All is checked, and the documents are encoded, before anything is deleted or written. With `overwrite`,
    everything under `path` is deleted. Raises ContainsArrayError or ContainsGroupError where a node is in the
    way, or an array is above it, and ReadOnlyError.
    """
    check_name(path)
    metadata.documents()
    store.check_writable(join(path, "zarr.json"))
    if not (overwrite and store.supports_deletes):
        refuse_existing(store, path)
    missing = _missing_parents(store, path, metadata.zarr_format)
    if overwrite and store.supports_deletes:
        store.delete_prefix(path)
    _make_groups(store, missing, metadata.zarr_format)
    if not write_metadata_if_absent(store, path, metadata):
        raise ContainsNodeError(f"another writer made a node at {describe(store, path)} first")


def refuse_existing(store: Store, path: str) -> None:
    """Raise ContainsArrayError or ContainsGroupError where a node of any format is at `path`."""
    for kind, form in kinds_at(store, path):
        error = ContainsArrayError if kind == "array" else ContainsGroupError
        raise error(f"a Zarr format {form} {kind} is in the way at {describe(store, path)}; overwrite=True replaces it")


def make_parents(store: Store, path: str, zarr_format: ZarrFormat) -> None:
    """Make the groups above `path` that are not there. ContainsArrayError where one of them is an array."""
    _make_groups(store, _missing_parents(store, path, zarr_format), zarr_format)


def _make_groups(store: Store, paths: Sequence[str], zarr_format: ZarrFormat) -> None:
    for path in paths:
        write_metadata_if_absent(store, path, GroupMetadata(zarr_format=zarr_format))


def _missing_parents(store: Store, path: str, zarr_format: int) -> list[str]:
    above = parents(path)
    if not above:
        return []
    names = ("zarr.json", ".zarray", ".zgroup")
    found = _documents(store, [join(parent, name) for parent in above for name in names])
    missing = []
    for i, parent in enumerate(above):
        v3, zarray, zgroup = found[3 * i : 3 * i + 3]
        is_array = zarray is not None
        if v3 is not None:
            is_array = is_array or isinstance(_node_v3(v3, join(parent, "zarr.json")), ArrayMetadata)
        if is_array:
            raise ContainsArrayError(
                f"{path!r} cannot be made: {describe(store, parent)} is an array, and only groups have members"
            )
        if (v3 if zarr_format == 3 else zgroup) is None:
            missing.append(parent)
    return missing


def delete_node(store: Store, path: str) -> None:
    """Delete a node and everything under it, its document first, so that no reader finds half a node."""
    for name in DOCUMENTS:
        store.delete(join(path, name))
    store.delete_prefix(path)


# ---- listing


def children(store: Store, path: str, zarr_format: int) -> Iterator[tuple[str, Node]]:
    """Name and metadata of every direct member of the group at `path`, in the order of names.

    What is there without metadata of this format is no member. ValueError where the store cannot list.
    """
    if not store.supports_listing:
        raise ValueError(f"{store} cannot list what it holds; open the group with consolidated metadata")
    names = sorted(name.rstrip("/") for name in store.list_dir(path))
    names = [name for name in names if name not in DOCUMENTS]
    wanted = ("zarr.json",) if zarr_format == 3 else (".zarray", ".zgroup", ".zattrs")
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        keys = [f"{join(path, name)}/{document}" for name in batch for document in wanted]
        found = _documents(store, keys)
        for i, name in enumerate(batch):
            span = slice(i * len(wanted), (i + 1) * len(wanted))
            if zarr_format == 2:
                node = _node_v2(found[span], keys[span])
            else:
                data = found[i]
                node = None if data is None else _node_v3(data, keys[i])
            if node is not None:
                yield name, node


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


def consolidate(store: Store, path: str, metadata: GroupMetadata) -> GroupMetadata:
    """Read every node below a group and write copies of their metadata into the group's own."""
    plain = metadata.with_consolidated(None)
    nodes = dict(descendants(store, path, plain, use_consolidated=False))
    consolidated = build(plain, nodes)
    write_metadata(store, path, consolidated)
    return consolidated
