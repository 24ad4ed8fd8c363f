"""Nodes from one store to another as they are stored: no chunk is decoded, no document is rewritten.

Chunks come first and documents last, those of groups after those of their members, so that nobody takes half a copy
for a whole one. Where the store can replace in one step, readers see what was there before, and then all of the copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from gpuzarr.errors import ContainsNodeError, LimitError, StoreWriteError
from gpuzarr.grid import chunk_count
from gpuzarr.making import consolidate, make_parents, refuse_existing
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.nodes import can_list, check_name, descendants, describe, join, not_found, parents, read_node
from gpuzarr.resize import MOST_KEYS
from gpuzarr.storage.contract import Buffer, Store

Place = tuple[Store, str]
Done = Callable[[str, int], object]  # told of every object that has been copied: its new key, and its bytes

BATCH_BYTES = 64 << 20  # that are held at a time, unless one object has more
EXAMPLES = 10
BATCH = 64  # objects that are fetched by one call, where the stores do not want more requests under way


class Cargo(NamedTuple):
    """An object to be copied."""

    key: str
    target: str
    size: int  # bytes; a guess where the store does not list


@dataclass
class Transfer:
    """What was copied, and what was left where it is."""

    arrays: int = 0
    groups: int = 0
    objects: int = 0  # documents and chunks
    nbytes: int = 0  # of the objects, as they are stored
    left: int = 0  # objects under the source that belong to no node of the copy
    examples: list[str] = field(default_factory=list)  # of their keys

    def leave(self, key: str) -> None:
        """Count an object that is not copied."""
        self.left += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(key)


def carry(old: Store, new: Store, cargo: Iterable[Cargo], done: Done | None = None) -> tuple[int, int]:
    """Copy objects from store to store, several at a time; how many there were, and their bytes.

    What is no longer there is left out. At most `BATCH_BYTES`, or one object, are held at a time.
    """
    count = total = 0
    most = max(BATCH, old.in_flight, new.in_flight)
    for batch in _batches(cargo, most):
        found = zip(batch, old.get_many([each.key for each in batch]), strict=True)
        items: list[tuple[str, Buffer]] = [(each.target, data) for each, data in found if data is not None]
        new.set_many(items)
        for key, data in items:
            size = memoryview(data).nbytes
            count, total = count + 1, total + size
            if done is not None:
                done(key, size)
    return count, total


def _batches(cargo: Iterable[Cargo], most: int) -> Iterator[list[Cargo]]:
    batch: list[Cargo] = []
    total = 0
    for each in cargo:
        if batch and (len(batch) == most or total + each.size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(each)
        total += each.size
    if batch:
        yield batch


def chunk_cargo(
    store: Store, path: str, arrays: Mapping[str, ArrayMetadata], other: Callable[[str], object] | None = None
) -> Iterator[Cargo]:
    """The stored chunks under `path` of these arrays (by their paths in the store), whose new keys are relative to it.

    `other` is told the keys of what is no chunk of them. Without listing, every chunk that an array may have is
    tried; LimitError where these are too many.
    """
    start = len(path) + 1 if path else 0
    if not can_list(store, path):
        for place, array in arrays.items():
            yield from _guessed(place, array, start)
        return
    for key, size in store.list_sizes(path):
        owner = next((each for each in reversed(parents(key)) if each in arrays), None)
        if owner is not None and _is_chunk(arrays[owner], key[len(owner) + 1 if owner else 0 :]):
            yield Cargo(key, key[start:], size)
        elif other is not None:
            other(key)


def _is_chunk(array: ArrayMetadata, name: str) -> bool:
    return array.key_encoding.coords(name, array.grid.counts) is not None


def _guessed(path: str, array: ArrayMetadata, start: int) -> Iterator[Cargo]:
    counts = array.grid.counts
    if math.prod(counts) > MOST_KEYS:
        raise LimitError(
            f"the store cannot list, and of {math.prod(counts)} chunks of {path!r} at most {MOST_KEYS} are tried"
        )
    for place in product(*map(range, counts)):
        key = join(path, array.key_encoding.key(place))
        yield Cargo(key, key[start:], math.prod(array.grid.chunk_shape(place)) * max(1, array.dtype.itemsize))


def transfer(
    source: Place,
    target: Place,
    *,
    overwrite: bool = False,
    begin: Callable[[int], object] | None = None,
    done: Done | None = None,
) -> Transfer:
    """Copy the node at `source`, with all below it, to `target`, and renew the consolidated metadata of groups above.

    `begin` is told how many objects there are at most. Those at the target are listed and counted before the copy takes
    its place. Raises NodeNotFoundError, ContainsNodeError where something is at the target and `overwrite` is not set
    (or the store cannot delete), and StoreWriteError where the target does not hold what was written.
    """
    (old, old_path), (new, new_path) = source, target
    if old == new and (_within(old_path, new_path) or _within(new_path, old_path)):
        raise ValueError(f"cannot copy {describe(*source)} onto itself")
    nodes = _nodes_at(old, old_path)
    _make_way(new, new_path, nodes[0][1], overwrite=overwrite)
    if begin is not None:
        begin(sum(len(_names(n)) + (chunk_count(n.grid) if isinstance(n, ArrayMetadata) else 0) for _, n in nodes))
    report = Transfer()
    replacing = overwrite and new.supports_deletes
    with new.replacing(new_path) if replacing else nullcontext((new, new_path)) as (place, inside):
        _fill(source, nodes, (place, inside), report, done)
        _check_counts(place, inside, report)
    _renew_above(new, new_path)
    return report


def _within(path: str, above: str) -> bool:
    return not above or f"{path}/".startswith(f"{above}/")


def _nodes_at(store: Store, path: str) -> list[tuple[str, Node]]:
    """The node at `path` and all below it, by their whole paths, parents before members."""
    node = read_node(store, path)
    if node is None:
        raise not_found(store, path, None)
    found = [(path, node)]
    if isinstance(node, GroupMetadata):
        listed = can_list(store, path)
        group = node.with_consolidated(None) if listed else node  # copies of metadata may be out of date
        below = descendants(store, path, group, use_consolidated=not listed)
        found += [(join(path, name), member) for name, member in below]
    return found


def _make_way(store: Store, path: str, node: Node, *, overwrite: bool) -> None:
    check_name(path)
    store.check_writable(join(path, "zarr.json"))
    if not (overwrite and store.supports_deletes):
        refuse_existing(store, path)
        if store.supports_listing and (key := next(iter(store.list(path)), None)) is not None:
            at = describe(store, path)
            raise ContainsNodeError(f"there are objects at {at} already, such as {key!r}; overwrite=True replaces them")
    make_parents(store, path, node.zarr_format)


def _fill(source: Place, nodes: Sequence[tuple[str, Node]], target: Place, report: Transfer, done: Done | None) -> None:
    (old, old_path), (new, new_path) = source, target
    start = len(old_path) + 1 if old_path else 0
    arrays = {path: node for path, node in nodes if isinstance(node, ArrayMetadata)}
    report.arrays, report.groups = len(arrays), len(nodes) - len(arrays)
    keys = [join(path, name) for path, node in reversed(nodes) for name in _names(node)]
    known = set(keys)
    chunks = chunk_cargo(old, old_path, arrays, lambda key: None if key in known else report.leave(key))
    documents = (Cargo(key, key[start:], 0) for key in keys)
    for cargo in (chunks, documents):
        placed = (each._replace(target=join(new_path, each.target)) for each in cargo)
        count, nbytes = carry(old, new, placed, done)
        report.objects, report.nbytes = report.objects + count, report.nbytes + nbytes


def _names(node: Node) -> tuple[str, ...]:
    """The documents of a node, the one that makes it a node last."""
    if node.zarr_format == 3:
        return ("zarr.json",)
    return (".zattrs", ".zarray") if isinstance(node, ArrayMetadata) else (".zattrs", ".zmetadata", ".zgroup")


def _check_counts(store: Store, path: str, report: Transfer) -> None:
    """StoreWriteError where the store does not list what was put there."""
    if not can_list(store, path):
        return
    count = nbytes = 0
    for _, size in store.list_sizes(path):
        count, nbytes = count + 1, nbytes + size
    if (count, nbytes) != (report.objects, report.nbytes):
        raise StoreWriteError(
            f"the copy at {describe(store, path)} is not what was written: expected {report.objects} objects of"
            f" {report.nbytes} bytes, got {count} of {nbytes}"
        )


def _renew_above(store: Store, path: str) -> None:
    """Consolidated metadata of groups above a new node have it, too."""
    for above in parents(path):
        group = read_node(store, above)
        if isinstance(group, GroupMetadata) and group.consolidated is not None:
            consolidate(store, above, group)
