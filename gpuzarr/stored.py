"""An array as the corridor sees it: where it lies, how its chunks are cut and coded, and on which device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.cache import ChunkCache
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.sharding_indexed import ShardingCodec
from gpuzarr.devices import Device
from gpuzarr.errors import LimitError
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.options import config
from gpuzarr.selection import Coordinates, Selection
from gpuzarr.storage.contract import Store

AHEAD_BYTES = 128 << 20  # decoded bytes of waves beyond the device's own lanes, where a store is waited for
KEPT_INDEXES = 32 << 20  # bytes of shard indexes that an open array keeps
GUESSED_ITEM = 32  # bytes of an element of variable length, for sizing waves
MOST_ROWS = 1 << 16  # of a wave: each costs some hundred bytes of keys and tables, however small its chunk
LEAST_SPARED = 16 << 10  # bytes of an uncompressed chunk that a part of it must spare
LEAST_ALONE = 96 << 10  # bytes that are read as quickly as a part of a single chunk is cut out
LEAST_LANES = 32 << 10  # bytes of a part that is read where it lies; of smaller ones a second lane would be in the way
LEAST_BLOCKS = (
    2 << 20
)  # bytes of a compressed chunk; of smaller ones, all blocks are decoded as quickly as some are found


def worth_cutting(part: int, chunk: int) -> bool:
    """Whether a part of an uncompressed chunk is read instead of the whole."""
    return part * 2 < chunk and chunk - part >= LEAST_SPARED


def chain_for(metadata: ArrayMetadata, device: Device) -> CodecChain:
    """The chain of a stored array on a device, which may want elements in its own byte order."""
    chain = CodecChain.from_metadata(metadata)
    if device.any_byte_order or chain.spec.dtype.isnative:
        return chain
    return CodecChain.build(*import_module("gpuzarr.codecs.v2").in_native_order(chain.codecs, chain.spec))


class Pace(NamedTuple):
    """How a read goes."""

    rows: int  # parts of one wave
    lanes: int
    cuts: bool  # parts of chunks may be had without their wholes


@dataclass
class StoredArray:
    """What reading and writing need to know; one for each state of the metadata."""

    store: Store  # of the chunks
    path: str  # of the array in the store, "" for the root
    metadata: ArrayMetadata
    chain: CodecChain  # of what one key holds: a chunk, or a whole shard
    device: Device
    write_empty: bool = False  # store chunks that hold nothing but the fill value
    missing_is_error: bool = False  # raise ChunkNotFoundError instead of filling
    lock_timeout: float = 60.0  # seconds
    synchronizer: Any = None  # mapping from key to a lock, beside the store's own
    cache: ChunkCache | None = None
    committed: tuple[int, ...] | None = None  # the shape beyond which stored values do not count; None: they all do
    shard_indexes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def grid(self) -> RegularGrid | RectilinearGrid:
        """The grid of what one key holds."""
        return self.metadata.grid

    @cached_property
    def sharding(self) -> ShardingCodec | None:
        """The sharding codec, where inner chunks can be read by byte range."""
        return self.chain.sharding

    @cached_property
    def inner_grid(self) -> RegularGrid:
        """The grid of inner chunks."""
        assert self.sharding is not None
        return RegularGrid(self.metadata.shape, self.sharding.chunk_shape)

    @cached_property
    def inner_chain(self) -> CodecChain:
        """The chain of one inner chunk."""
        assert self.sharding is not None
        return self.sharding.inner_chain(self.chain.spec)

    @cached_property
    def most_indexes(self) -> int:
        """Shard indexes that are kept: counted, since adding up their bytes would take longer than reading one."""
        assert self.sharding is not None
        largest = prod([s // c for s, c in zip(self.grid.largest_chunk, self.sharding.chunk_shape, strict=True)])
        return max(1, KEPT_INDEXES // (512 + 16 * largest))  # two integers an inner chunk; objects and key around them

    @cached_property
    def fill(self) -> Any:
        """What a chunk that is not there is full of; a list, which objects may be, in an array without axes, or it
        would be spread over the elements."""
        fill = self.metadata.fill_or_default
        if not isinstance(fill, list):
            return fill
        one = np.empty((), object)
        one[()] = fill
        return one

    @cached_property
    def key_base(self) -> str:
        """What every chunk key starts with."""
        return f"{self.path}/" if self.path else ""

    @cached_property
    def largest_chain(self) -> CodecChain:
        """The chain of the largest chunk, by which waves and their memory are measured."""
        return self.chain if isinstance(self.grid, RegularGrid) else self.chain.for_shape(self.grid.largest_chunk)

    @cached_property
    def part_bytes(self) -> int:
        """Decoded bytes of a chunk, or of an inner chunk of a shard; a guess where they vary."""
        spec = self.largest_chain.spec if self.sharding is None else self.inner_chain.spec
        itemsize = spec.data_type.itemsize
        return max(1, spec.size * (GUESSED_ITEM if itemsize is None else itemsize))

    def pace(self, parts: int, selection: Selection) -> Pace:
        """How a read goes of so many parts: chunks, or inner chunks of shards.

        A lane more must have about a millisecond of decoding to be worth waking, unless it will mostly wait.
        """
        if parts <= 1:  # as is the most frequent read
            return Pace(1, 1, worth_cutting(LEAST_ALONE, self.part_bytes) if self.cuts else self.cuts_blocks)
        cuts = self.cuts or self.cuts_blocks
        lanes, each, device = self.device.lanes, self.part_bytes, self.device
        if cuts and (part := self._reach(parts, selection)) is not None:
            cuts = worth_cutting(part, each)
            if cuts and self.cuts:
                each, lanes = part, lanes if part >= LEAST_LANES else 1
        waves = 1  # of a GPU are large
        if device.kind == "cpu":
            chain = self.largest_chain if self.sharding is None else self.inner_chain
            waves = lanes = min(lanes, 1 + parts * each // chain.bytes_per_ms)
        if not self.store.in_flight:
            return Pace(self.wave_rows(parts, each, device, waves), lanes, cuts)
        rows = self.wave_rows(parts, each, device, 1)  # the requests of a wave run together, and in a shard are one
        return Pace(rows, self.waiting_lanes(rows), cuts)

    def _reach(self, parts: int, selection: Selection) -> int | None:
        """Bytes of a chunk from the first to the last that is taken, on average; None where that is hard to tell."""
        itemsize = self.chain.spec.dtype.itemsize
        if isinstance(selection, Coordinates):
            points = selection.count / parts  # of n in a row at random, the outermost are (n - 1) / (n + 1) of it apart
            return itemsize + int(self.part_bytes * (points - 1) / (points + 1))
        return None if selection.reach is None else selection.reach * itemsize // parts

    def wave_rows(self, parts: int, each: int, device: Device, waves: int) -> int:
        """Parts of one wave, where so many of `each` bytes are to make up about `waves` waves, or more."""
        rows = max(1, min(ceil(parts / waves), self.wave_bytes(device) // max(1, each), MOST_ROWS))
        # Where inner chunks lie in Morton order, so many neighbours make up a box, which is quickly placed.
        return rows if self.sharding is None or rows >= parts else 1 << (rows.bit_length() - 1)

    def wave_bytes(self, device: Device) -> int:
        """Decoded bytes of one wave, at most."""
        if device.kind != "cpu":
            return device.wave_bytes
        if self.store.in_flight:  # what comes from there is in no cache, and every wave wakes threads on both sides
            return 4 * device.wave_bytes
        # In a shard, every wave costs a request and some tables, which more than outweigh the cache that it outgrows.
        return device.wave_bytes if self.sharding is None else 2 * device.wave_bytes

    def waiting_lanes(self, rows: int) -> int:
        """Lanes, with waves of so many parts, that keep a store busy which waits for a network: while some wait, others
        decode. 0 (as many as the device has) where the store waits for nothing."""
        if not self.store.in_flight:
            return 0
        requests = rows if self.sharding is None else 1  # of a wave: neighbours in a shard are read together
        ahead = min(ceil(self.store.in_flight / requests), AHEAD_BYTES // (rows * self.part_bytes))
        return self.device.lanes + ahead

    @cached_property
    def ceiling(self) -> int:
        """The most bytes that a chunk may have, decoded (option `array.max_chunk_bytes`)."""
        return int(config.get("array.max_chunk_bytes"))

    def check_ceiling(self, what: str, nbytes: int | None) -> None:
        """LimitError where something has more bytes than the ceiling."""
        if nbytes is not None and nbytes > self.ceiling:
            raise LimitError(
                f"{what} has {nbytes} bytes, more than the {self.ceiling} of the option 'array.max_chunk_bytes'"
            )

    @cached_property
    def cuts(self) -> bool:
        """Whether parts of chunks can be read without their wholes."""
        chain = self.chain if self.sharding is None else self.inner_chain
        regular = self.sharding is not None or isinstance(self.grid, RegularGrid)
        here = self.device.kind == "cpu" and self.cache is None and not self.missing_is_error
        return chain.plain and regular and here

    @cached_property
    def cuts_blocks(self) -> bool:
        """Whether parts of chunks can be decoded without their wholes."""
        chain = self.chain if self.sharding is None else self.inner_chain
        regular = self.sharding is not None or isinstance(self.grid, RegularGrid)
        large = chain.nbytes is not None and chain.nbytes >= LEAST_BLOCKS
        return chain.decode_parts is not None and large and regular and self.device.kind == "cpu"

    @cached_property
    def _joined(self) -> tuple[str, Any]:
        """What every chunk key starts with, and the function that joins the numbers after it."""
        encoding = self.metadata.key_encoding
        return (f"{self.path}/" if self.path else "") + encoding.prefix, encoding.separator.join

    def keys(self, coords: Sequence[tuple[int, ...]]) -> list[str]:
        """Store keys of chunks."""
        if coords == [()]:
            return [self.key_base + self.metadata.key_encoding.key(())]
        base, join = self._joined
        return [base + join(map(str, c)) for c in coords]
