"""Zarr hierarchies and arrays of either format, in any store, as sources."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from math import prod
from typing import Any

import numpy as np

from gpuzarr.array import Array
from gpuzarr.conversion.contract import VARIABLE_ITEM, Found, FoundArray, FoundGroup, Region, Source, piece_shape
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.missing import DIMENSIONS, MISSING, fill_from_json
from gpuzarr.nodes import descendants, join, not_found, read_node
from gpuzarr.storage.contract import Store
from gpuzarr.storage.local import LocalStore
from gpuzarr.storage.resolve import StorePath


class ZarrSource(Source):
    """A node and what is below it."""

    def __init__(self, store: Store, path: str, *, closes: bool) -> None:
        self.store, self.path = store, path
        self._closes = closes
        found = read_node(store, path)
        if found is None:
            raise not_found(store, path, None)
        self._top: Node = found

    @property
    def zarr_format(self) -> int:
        """Of the topmost node."""
        return self._top.zarr_format

    @property
    def place(self) -> StorePath:
        return StorePath(self.store, self.path)

    @property
    def consolidated(self) -> bool:
        return isinstance(self._top, GroupMetadata) and self._top.consolidated is not None

    def close(self) -> None:
        if self._closes:
            self.store.close()

    def identity(self) -> dict[str, Any]:
        """Its place, all of its metadata, and the sizes of all objects, on a local disk with the times of their last
        change; of a store that is waited for only the metadata."""
        digest = hashlib.sha256()
        for path, node in self._all():
            for name, document in sorted(node.documents().items()):
                digest.update(f"{path}/{name}:{len(document)}\n".encode() + document)
        found = {"store": str(self.store), "path": self.path, "metadata": digest.hexdigest()}
        return found if self.store.in_flight or not self.store.supports_listing else found | {"objects": self._sum()}

    def _sum(self) -> str:
        """A sum over all objects, in whatever order they come."""
        total = 0
        root = self.store.root if isinstance(self.store, LocalStore) else None
        for key, size in self.store.list_sizes(self.path):
            changed = 0
            if root is not None:
                with suppress(FileNotFoundError):  # removed just now, which the sum will show the next time
                    changed = os.stat(root / key).st_mtime_ns
            digest = hashlib.blake2b(f"{key}:{size}:{changed}".encode(), digest_size=16).digest()
            total = (total + int.from_bytes(digest)) % (1 << 128)
        return f"{total:032x}"

    def _all(self) -> Iterator[tuple[str, Node]]:
        yield "", self._top
        if not isinstance(self._top, ArrayMetadata):
            listed = self.store.supports_listing
            yield from descendants(self.store, self.path, self._top.with_consolidated(None) if listed else self._top)

    def nodes(self) -> Iterator[Found]:
        for path, node in self._all():
            if isinstance(node, ArrayMetadata):
                yield self._array(path, node)
            else:
                yield FoundGroup(path=path, attributes=node.attributes, like=node)

    def _array(self, path: str, metadata: ArrayMetadata) -> FoundArray:
        array = Array(self.store, join(self.path, path), metadata, device="cpu")
        chunks = piece_shape(metadata)
        attributes, missing = _missing(metadata)
        return FoundArray(
            path=path,
            shape=metadata.shape,
            dtype=metadata.data_type,
            read=partial(_read, array),
            chunks=chunks,
            fill_value=metadata.fill_value,
            attributes=attributes,
            missing=missing,
            dimension_names=metadata.dimension_names,
            like=metadata,
            scratch=2 * prod(chunks) * (metadata.data_type.itemsize or VARIABLE_ITEM) * array.device.lanes,
        )


def _read(array: Array, region: Region) -> np.ndarray[Any, Any]:
    return np.asarray(array[region] if array.ndim else array)  # whose one element may be a list


def _missing(metadata: ArrayMetadata) -> tuple[dict[str, Any], Any]:
    """The attributes without the value for missing elements, and that value, where xarray has put it there."""
    attributes = dict(metadata.attributes)
    if metadata.zarr_format == 2:
        return attributes, metadata.fill_value if DIMENSIONS in attributes else None
    if MISSING not in attributes:
        return attributes, None
    try:
        missing = fill_from_json(attributes[MISSING], metadata.dtype, MISSING)
    except ValueError:
        return attributes, None  # somebody's own attribute of this name
    del attributes[MISSING]
    return attributes, missing
