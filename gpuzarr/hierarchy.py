"""Several nodes at once: `create_hierarchy`, and moving a node to another path. Documents and objects only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from gpuzarr.errors import ContainsArrayError, ContainsGroupError, MetadataError
from gpuzarr.making import delete_node, make_parents, refuse_existing, write_metadata, write_metadata_if_absent
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.nodes import check_name, describe, join, kinds_at, normalize_path, parents
from gpuzarr.storage.contract import Store
from gpuzarr.storage.keys import DOCUMENTS


def make_nodes(store: Store, nodes: Mapping[str, Node], *, overwrite: bool = False) -> list[tuple[str, Node]]:
    """Make the nodes and all groups above them; what was made, parents before members.

    A group that is only implied, and is there already, stays as it is. All is checked before anything is deleted
    or written. MetadataError for mixed formats, two nodes at one path, or a node below an array;
    ContainsArrayError and ContainsGroupError where something is in the way and `overwrite` is not set.
    """
    wanted = _complete(nodes)
    if not wanted:
        return []
    store.check_writable(join(min(wanted, key=len), "zarr.json"))
    named = {normalize_path(path) for path in nodes}
    implied = [path for path in wanted if path not in named]
    for path, node in wanted.items():
        check_name(path)
        node.documents()
        if path in named and not overwrite:
            refuse_existing(store, path)
    for path in implied:
        if ("array", wanted[path].zarr_format) in kinds_at(store, path):
            raise ContainsArrayError(f"{describe(store, path)} is an array, and only groups have members")
    made = []
    for path, node in wanted.items():
        if path in named:
            with store.replacing(path) if overwrite else nullcontext((store, path)) as (place, inside):
                write_metadata(place, inside, node)
            made.append((path, node))
        elif write_metadata_if_absent(store, path, node):
            made.append((path, node))
    return made


def _complete(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """By normal path, with the groups that are implied, the shortest paths first."""
    found: dict[str, Node] = {}
    for path, node in nodes.items():
        if normalize_path(path) in found:
            raise MetadataError(f"two nodes at the path {normalize_path(path)!r}")
        found[normalize_path(path)] = node
    formats = {node.zarr_format for node in found.values()}
    if len(formats) > 1:
        raise MetadataError("the nodes of one hierarchy must all have one Zarr format, got 2 and 3")
    for path, node in list(found.items()):
        for above in parents(path):
            if isinstance(found.setdefault(above, GroupMetadata(zarr_format=node.zarr_format)), ArrayMetadata):
                raise MetadataError(
                    f"{path!r} cannot be below {above!r}: that is an array, and only groups have members"
                )
    return dict(sorted(found.items(), key=lambda item: (item[0].count("/") + bool(item[0]), item[0])))


def move_node(store: Store, source: str, target: str) -> None:
    """Rename a node and everything under it, in one step where the store can; else one object after another, with its
    documents as the last to arrive.

    Raises KeyError where nothing is at `source`, ContainsArrayError or ContainsGroupError where something is at
    `target`, ValueError where one path lies in the other.
    """
    kinds = kinds_at(store, source)
    if not kinds:
        raise KeyError(source)
    if f"{target}/".startswith(f"{source}/") or not source or not target:
        raise ValueError(f"cannot move {source!r} to {target!r}: one lies in the other")
    check_name(target)
    refuse_existing(store, target)
    if next(iter(store.list(target)), None) is not None:
        raise ContainsGroupError(f"there are objects at {describe(store, target)} already")
    make_parents(store, target, kinds[0][1])
    if store.move(source, target):
        return
    keys = sorted(store.list(source), key=lambda key: (key.rpartition("/")[2] in DOCUMENTS, key.count("/") * -1))
    for key in keys:
        data = store.get(key)
        if data is not None:
            store.set(target + key[len(source) :], data)
    delete_node(store, source)
