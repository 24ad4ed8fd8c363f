"""`fsck`: what in a store is not as it should be. Reads only.

Findings by kind, with what `recover` does about them:

    temporary     a file or directory of a writer that died                     removed
    lock          a lock file whose holder died                                 removed
    outside       a chunk beyond the array's shape, of an append or a shrink    removed
                  that died
    consolidated  copies of metadata that are not as the metadata are           written again
    document      a metadata document that cannot be read                       left
    unfinished    the notes of a conversion that was cut short                  left
    stray         an object that no array and no group accounts for             left
    empty         a chunk of no bytes, as a loss of power leaves it             left
    size          a chunk of another size than all of its array must have       left
    index         a shard whose index is damaged, or wrong about some chunks    left
    damaged       a chunk that cannot be decoded (with `deep`)                  left

What is left has no right bytes to be made from. Such a chunk is an error where it is read, and can be written over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.devices import get_device
from gpuzarr.errors import BaseZarrError, GpuzarrError, StoreError
from gpuzarr.making import fresh_consolidated
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.nodes import join, parents, read_node
from gpuzarr.shards import read_index
from gpuzarr.storage.contract import Store
from gpuzarr.storage.keys import CONVERSION, DOCUMENTS
from gpuzarr.stored import StoredArray
from gpuzarr.survey import check_chunks

MENDED = frozenset({"temporary", "lock", "outside", "consolidated"})
_ANY = 2**63  # more chunks along an axis than any array has


class Finding(NamedTuple):
    """Something that is not as it should be. `key` is its place in the store."""

    kind: str
    key: str
    message: str

    @property
    def mended(self) -> bool:
        """Whether `recover` takes it away."""
        return self.kind in MENDED


def fsck(store: Store, path: str = "", *, deep: bool = False) -> Iterator[Finding]:
    """Look at everything under `path`; with `deep`, read and decode every chunk. What living writers hold at the
    moment is no finding. ValueError where the store cannot list what it holds, StoreError where it fails to."""
    if not store.supports_listing:
        raise ValueError(f"{store} cannot list what it holds, so there is no looking for what should not be there")
    for left in store.leftovers(path):
        if left.dead:
            yield Finding(left.kind, left.name, f"left by a process that is gone; {left.nbytes} bytes")
    nodes: dict[str, Node] = {}
    for place in sorted({key.rpartition("/")[0] for key in store.list(path) if _is_document(key)}):
        try:
            node = read_node(store, place)
        except (GpuzarrError, OSError) as error:
            yield Finding("document", join(place, "zarr.json"), f"{type(error).__name__}: {error}")
            continue
        if node is not None:
            nodes[place] = node
    yield from _objects(store, path, nodes)
    for place, node in nodes.items():
        if isinstance(node, GroupMetadata) and node.consolidated is not None:
            yield from _consolidated(store, place, node)
        if deep and isinstance(node, ArrayMetadata):
            yield from _decoded(store, place, node)


def _is_document(key: str) -> bool:
    return key.rpartition("/")[2] in DOCUMENTS


def _objects(store: Store, path: str, nodes: dict[str, Node]) -> Iterator[Finding]:
    """Every object, in the light of the nodes that there are."""
    arrays: dict[str, StoredArray] = {}
    for place, node in nodes.items():
        if isinstance(node, ArrayMetadata):
            try:
                arrays[place] = stored_array(store, place, node)
            except BaseZarrError as error:
                yield Finding("document", place or "/", f"{type(error).__name__}: {error}")
    for key, size in store.list_sizes(path):
        if _is_document(key):
            continue
        if key.rpartition("/")[2] == CONVERSION:
            yield Finding("unfinished", key, "a conversion was cut short here; start it again, or delete what is there")
            continue
        owner = next((each for each in reversed(parents(key)) if each in nodes), None)
        if owner is None or isinstance(nodes[owner], GroupMetadata):
            yield Finding("stray", key, f"no array accounts for it; {size} bytes")
        elif owner in arrays:
            yield from _chunk(arrays[owner], key, size)


def stored_array(store: Store, path: str, metadata: ArrayMetadata) -> StoredArray:
    """An array as the corridor sees it. MetadataError where its codecs cannot be run."""
    return StoredArray(store, path, metadata, CodecChain.from_metadata(metadata), get_device("cpu"))


def outside(stored: StoredArray, key: str) -> bool:
    """Whether a key is that of a chunk which the array would have if it were larger."""
    counts = stored.grid.counts
    place = stored.metadata.key_encoding.coords(key[len(stored.key_base) :], (_ANY,) * len(counts))
    return place is not None and any(i >= n for i, n in zip(place, counts, strict=True))


def _chunk(stored: StoredArray, key: str, size: int) -> Iterator[Finding]:
    """One object below an array."""
    place = stored.metadata.key_encoding.coords(key[len(stored.key_base) :], stored.grid.counts)
    if place is None:
        kind = "outside" if outside(stored, key) else "stray"
        where = f"beyond the shape {stored.metadata.shape}" if kind == "outside" else "not the key of a chunk"
        yield Finding(kind, key, f"{where} of the array at {stored.path or '/'!r}; {size} bytes")
        return
    expected = stored.chain.for_shape(stored.grid.chunk_shape(place)).encoded_size
    if size == 0:
        yield Finding("empty", key, "a chunk of no bytes")
    elif expected is not None and size != expected:
        yield Finding("size", key, f"a chunk of {size} bytes where all have {expected}")
    elif stored.sharding is not None:
        try:
            index = read_index(stored, key, place, bounded=True)
        except (GpuzarrError, OSError) as error:
            yield Finding("index", key, f"{type(error).__name__}: {error}")
        else:
            stored.shard_indexes.clear()
            if index is not None and index.lost is not None:
                yield Finding("index", key, f"it is wrong about {int(index.lost.sum())} inner chunks")


def _consolidated(store: Store, path: str, node: GroupMetadata) -> Iterator[Finding]:
    try:
        stale = fresh_consolidated(store, path, node).documents() != node.documents()
    except (GpuzarrError, OSError):
        return  # a document that cannot be read was found already
    if stale:
        yield Finding("consolidated", join(path, "zarr.json" if node.zarr_format == 3 else ".zmetadata"), "out of date")


def _decoded(store: Store, path: str, node: ArrayMetadata) -> Iterator[Finding]:
    try:
        for key, error in check_chunks(stored_array(store, path, node)):
            if error is not None:
                yield Finding("damaged", key, f"{type(error).__name__}: {error}")
    except (BaseZarrError, StoreError) as error:
        yield Finding("damaged", path or "/", f"{type(error).__name__}: {error}")
