"""Arrays and groups of a hierarchy as documents in a store: make, change, delete. `nodes.py` finds and lists them.

A node is written so that whoever finds its document finds the rest: parents before it, attributes before it. It is
changed under the store's lock for its document, or by compare and swap where that is how the store keeps writers
apart, and from what the store holds at that time, so that no change of another writer is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, TypeVar

from gpuzarr.attributes import Change
from gpuzarr.errors import ConflictError, ContainsArrayError, ContainsGroupError, ContainsNodeError
from gpuzarr.metadata.consolidated import build
from gpuzarr.metadata.documents import MAX_DOCUMENT_BYTES
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.nodes import (
    NODE_DOCUMENTS,
    ZarrFormat,
    check_name,
    descendants,
    describe,
    fetch_documents,
    join,
    kinds_at,
    node_v3,
    parents,
    read_node,
)
from gpuzarr.storage.contract import Buffer, Store
from gpuzarr.storage.keys import DOCUMENTS

N = TypeVar("N", ArrayMetadata, GroupMetadata)
_CHUNK_LIKE = re.compile(r"c$|c\.|\d")  # the first segment of a chunk's key, in any key encoding
_LOOKED_AT = 1000  # keys in search of chunks
_ATTEMPTS = 8  # to change attributes where a store compares and swaps, and others do so too


def write_metadata(store: Store, path: str, metadata: Node) -> None:
    """Put the documents of a node, the one that makes it a node last."""
    documents = metadata.documents()
    for name in sorted(documents, key=lambda name: name in NODE_DOCUMENTS):
        store.set(join(path, name), documents[name])


@contextmanager
def changing(
    store: Store, path: str, known: N, *, timeout: float = 60.0, synchronizer: Any = None
) -> Iterator[tuple[N, Callable[[N], None]]]:
    """Context manager: the metadata of a node as they are in the store now, and a function that replaces them; no
    other writer changes them meanwhile, or the function raises ConflictError. `known` is what the caller takes the
    node to be.

    Raises ConflictError where the node is gone or is of another kind, LockTimeoutError after `timeout` seconds.
    """
    last = next(name for name in NODE_DOCUMENTS if name in known.documents())
    key = join(path, last)
    store.check_writable(key)
    with store.lock(key, timeout=timeout), nullcontext() if synchronizer is None else synchronizer[key]:
        seen: dict[str, Buffer | None] = {}
        if store.swaps:
            seen = dict(zip(DOCUMENTS, fetch_documents(store, [join(path, name) for name in DOCUMENTS]), strict=True))
        now = read_node(store, path, known.zarr_format)
        if not isinstance(now, type(known)):
            raise ConflictError(f"the {known.node_type} at {describe(store, path)} is gone: another writer removed it")
        before = now.documents()

        def replace_by(new: N) -> None:
            documents = new.documents()
            for name in sorted(documents, key=lambda name: name in NODE_DOCUMENTS):
                if documents[name] != before.get(name):
                    _swap(store, join(path, name), seen.get(name), documents[name])

        yield now, replace_by


def _swap(store: Store, key: str, seen: Buffer | None, new: bytes) -> None:
    """Put a document in the place of the one that was seen. ConflictError where a store without a lock between
    processes finds another one there."""
    if not store.swaps:
        store.set(key, new)
        return

    def change(now: Buffer | None) -> bytes:
        if now != seen:
            raise ConflictError(f"{key!r} in {store} was changed by another writer at this moment; nothing was written")
        return new

    store.update(key, change, limit=MAX_DOCUMENT_BYTES)


def change_attributes(store: Store, path: str, known: N, change: Change, **waiting: Any) -> N:
    """Put what `change` makes of the attributes in the store; `known` with these attributes. As `changing`."""
    for attempt in range(_ATTEMPTS):
        try:
            with changing(store, path, known, **waiting) as (now, replace_by):
                attributes = change(dict(now.attributes))
                replace_by(now.with_attributes(attributes))
            break
        except ConflictError:
            if attempt == _ATTEMPTS - 1 or not store.swaps:
                raise
    return known.with_attributes(attributes)


def write_metadata_if_absent(store: Store, path: str, metadata: Node) -> bool:
    """Make a node where there is none of its kind and format; False, and nothing written, where there is one."""
    documents = metadata.documents()
    last = next(name for name in NODE_DOCUMENTS if name in documents)
    if store.exists(join(path, last)):
        return False
    for name, data in documents.items():
        if name != last:
            store.set_if_absent(join(path, name), data)
    return store.set_if_absent(join(path, last), documents[last])


def make_node(store: Store, path: str, metadata: Node, *, overwrite: bool = False) -> None:
    """Make a new node with the groups above it; as `making_node`."""
    with making_node(store, path, metadata, overwrite=overwrite):
        pass


@contextmanager
def making_node(store: Store, path: str, metadata: Node, *, overwrite: bool = False) -> Iterator[tuple[Store, str]]:
    """Context manager: a new node, with the groups above it. In the block, more of it may be written, to the store and
    the path that it yields.

    All is checked, and the documents are encoded, before anything is deleted or written. With `overwrite`,
    everything under `path` is replaced; where the store can (see `Store.replacing`), that is when the block has ended
    without an error, and else all stays as it was. Raises ContainsArrayError or ContainsGroupError where a node is in
    the way, or an array is above it, ContainsNodeError where chunks of an array that is gone are, and ReadOnlyError.
    """
    check_name(path)
    metadata.documents()
    store.check_writable(join(path, "zarr.json"))
    overwrite = overwrite and store.supports_deletes
    if not overwrite:
        refuse_existing(store, path)
        if isinstance(metadata, ArrayMetadata) and store.supports_listing:
            _refuse_chunks(store, path, metadata)
    missing = _missing_parents(store, path, metadata.zarr_format)
    _make_groups(store, missing, metadata.zarr_format)
    if overwrite:
        with store.replacing(path) as (place, inside):
            write_metadata(place, inside, metadata)
            yield place, inside
        return
    if not write_metadata_if_absent(store, path, metadata):
        raise ContainsNodeError(f"another writer made a node at {describe(store, path)} first")
    yield store, path


def refuse_existing(store: Store, path: str) -> None:
    """Raise ContainsArrayError or ContainsGroupError where a node of any format is at `path`."""
    for kind, form in kinds_at(store, path):
        error = ContainsArrayError if kind == "array" else ContainsGroupError
        raise error(f"a Zarr format {form} {kind} is in the way at {describe(store, path)}; overwrite=True replaces it")


def _refuse_chunks(store: Store, path: str, metadata: ArrayMetadata) -> None:
    """Raise ContainsNodeError where chunks lie at `path` that a new array there would take for its own: a process died
    while it deleted or moved an array."""
    start = len(path) + 1 if path else 0
    for name in store.list_dir(path):
        if _CHUNK_LIKE.match(name):
            for key in [join(path, name), *islice(store.list(join(path, name)), _LOOKED_AT)]:
                if metadata.key_encoding.coords(key[start:], metadata.grid.counts) is not None and store.exists(key):
                    raise ContainsNodeError(
                        f"there are chunks at {describe(store, path)}, such as {key!r}, of an array whose metadata are"
                        " gone; overwrite=True removes them"
                    )


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
    found = fetch_documents(store, [join(parent, name) for parent in above for name in names])
    missing = []
    for i, parent in enumerate(above):
        v3, zarray, zgroup = found[3 * i : 3 * i + 3]
        is_array = zarray is not None
        if v3 is not None:
            is_array = is_array or isinstance(node_v3(v3, join(parent, "zarr.json")), ArrayMetadata)
        if is_array:
            raise ContainsArrayError(
                f"{path!r} cannot be made: {describe(store, parent)} is an array, and only groups have members"
            )
        if (v3 if zarr_format == 3 else zgroup) is None:
            missing.append(parent)
    return missing


def delete_node(store: Store, path: str) -> None:
    """Delete a node and everything under it, its document first, so that no reader finds half a node."""
    if not store.deletes_at_once:
        for name in DOCUMENTS:
            store.delete(join(path, name))
    store.delete_prefix(path)


def fresh_consolidated(store: Store, path: str, metadata: GroupMetadata) -> GroupMetadata:
    """The group with copies of the metadata of every node below it, as they are in the store."""
    plain = metadata.with_consolidated(None)
    return build(plain, dict(descendants(store, path, plain, use_consolidated=False)))


def consolidate(store: Store, path: str, metadata: GroupMetadata) -> GroupMetadata:
    """Read every node below a group and write copies of their metadata into the group's own."""
    with changing(store, path, metadata) as (now, replace_by):
        consolidated = fresh_consolidated(store, path, now)
        replace_by(consolidated)
    return consolidated
