"""Moving the values: region by region, several at once, within the memory that there is.

A region that is worked on takes its values once as they are read, once encoded, and once more for what codecs and data
types need in between; beside that there is what reading needs for a source chunk, and a chunk of the target for each
thread. Elements of variable length are taken to have 128 bytes; nobody knows before they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from gpuzarr.array import Array
from gpuzarr.conversion.contract import VARIABLE_ITEM, FoundArray, Region, piece_shape
from gpuzarr.conversion.record import Record
from gpuzarr.devices import Lane, get_device
from gpuzarr.errors import ChecksumError, EncodeError, LimitError
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.regions import Regions, regions
from gpuzarr.storage.contract import byte_view

MIB = 1 << 20
LARGEST_REGION = 64 * MIB
COPIES = 3  # of a region's values while it is worked on
SLACK = 4  # a part in so many of the memory is left to the allocator and to what is not counted
CONTEXT = 16 * MIB  # of libraries that are loaded when work begins, tables and notes

Moved = Callable[[str, int], object]


@dataclass(frozen=True)
class Share:
    """How an array is cut, and how many regions are worked on at once."""

    regions: Regions
    workers: int


def share(found: FoundArray, metadata: ArrayMetadata, memory_limit: int, threads: int, *, verify: bool) -> Share:
    """The largest share that fits the memory. LimitError where not even one shard (or chunk) does."""
    item = metadata.data_type.itemsize or VARIABLE_ITEM
    grid, copies = metadata.grid, COPIES + verify
    inner = piece_shape(metadata)
    lanes = get_device("cpu").lanes
    unit = prod(grid.largest_chunk) * item
    scratch = CONTEXT + found.scratch + 2 * lanes * min(unit, prod(inner) * item)
    usable = memory_limit - memory_limit // SLACK - scratch
    for workers in range(threads, 0, -1):
        room = usable // (workers * copies)
        if room >= unit:
            cut = regions(grid, item, min(room, max(unit, LARGEST_REGION)), found.chunks)
            return Share(cut, min(workers, max(1, cut.count)))
    needed = (unit * copies + scratch) * SLACK // (SLACK - 1)
    raise LimitError(
        f"array {found.path or '/'!r}: its {'shards' if unit > prod(inner) * item else 'chunks'} of {unit} bytes take"
        f" about {needed} bytes to convert, and memory_limit is {memory_limit}; choose smaller ones or raise it"
    )


class Mover:
    """One array on its way from the source to the target."""

    def __init__(self, found: FoundArray, target: Array, record: Record | None, moved: Moved, *, verify: bool) -> None:
        self._found, self._target, self._record, self._moved, self._verify = found, target, record, moved, verify

    def move(self, share: Share) -> int:
        """Move all that is not done; how many regions were moved."""
        cut = share.regions
        done = set() if self._record is None else self._record.done(self._found.path, cut.steps)

        def one_region(i: int, lane: Lane) -> None:
            region = cut[i]
            if i not in done:
                self._one(region, i)
            elif self._verify:
                self._compare(region, self._values(region))
            self._moved(self._found.path, self._bytes(region))

        try:
            if cut.count:
                get_device("cpu").run(one_region, cut.count, share.workers)
        finally:
            self._found.release()
        return cut.count - len(done)

    def _one(self, region: Region, number: int) -> None:
        values = self._values(region)
        self._target[region] = values
        if self._verify:
            self._compare(region, values)
        if self._record is not None:
            self._record.note(self._found.path, number)

    def _values(self, region: Region) -> np.ndarray[Any, Any]:
        """Of the source, in the data type of the target."""
        values = self._found.read(region)
        expected = tuple(side.stop - side.start for side in region)
        if values.shape != expected:
            raise EncodeError(f"{self._found.path or '/'!r} at {region}: expected shape {expected}, got {values.shape}")
        dtype = self._target.dtype
        return values if dtype.kind in "OT" else values.astype(dtype, copy=False)

    def _compare(self, region: Region, values: np.ndarray[Any, Any]) -> None:
        """ChecksumError where the target does not have these values."""
        target = self._target
        stored, dtype = np.asarray(target[region] if target.ndim else target), target.dtype
        if dtype.kind not in "OT":  # scalars of NumPy have no byte order, and text and bytes no length of their own
            stored = stored.astype(dtype, copy=False)
        if not same(stored, values):
            raise ChecksumError(f"array {self._target.path or '/'!r} at {region} is not what was written")

    def _bytes(self, region: Region) -> int:
        count: int = prod(side.stop - side.start for side in region)
        return count * self._target.itemsize


def same(stored: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> bool:
    """Whether both hold the same values, to the last bit; of elements of variable length, equal ones."""
    if stored.shape != values.shape:
        return False
    if stored.dtype.kind in "OT":
        return bool(np.all(stored == values.astype(stored.dtype)))
    left, right = (byte_view(np.ascontiguousarray(each).reshape(-1).view(np.uint8)) for each in (stored, values))
    return left == right
