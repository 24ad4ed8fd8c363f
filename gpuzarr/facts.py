"""What can be said of an open array without reading from the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from gpuzarr.blocks import unit_lengths
from gpuzarr.cache import ChunkCache
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import Codec
from gpuzarr.grid import RectilinearGrid, RegularGrid
from gpuzarr.info import ArrayInfo
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.node import StoredNode
from gpuzarr.options import config
from gpuzarr.stored import StoredArray


@dataclass(frozen=True)
class ArrayConfig:
    """How an open array behaves; nothing of it is stored."""

    order: str = "C"  # memory order of what reading returns
    write_empty_chunks: bool = False
    read_missing_chunks: bool = True  # False: an absent chunk is a ChunkNotFoundError

    @classmethod
    def of(cls, given: Mapping[str, Any] | ArrayConfig | None, order: str | None = None) -> ArrayConfig:
        """The options, where `given` and `order` do not say otherwise. TypeError for unknown names."""
        if isinstance(given, ArrayConfig):
            return given
        defaults = cls(
            order or config.get("array.order"),
            config.get("array.write_empty_chunks"),
            config.get("array.read_missing_chunks"),
        )
        known = {k: v for k, v in (given or {}).items() if v is not None}
        return replace(defaults, **known)


class ArrayFacts(StoredNode):
    """The properties of an array that follow from its metadata and its handle."""

    metadata: ArrayMetadata
    config: ArrayConfig
    _stored: StoredArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.metadata.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of what reading returns."""
        return self.metadata.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.metadata.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.metadata.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements in memory, uncompressed."""
        return self.size * self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory."""
        return self.dtype.itemsize

    @property
    def fill_value(self) -> Any:
        """What elements of absent chunks are; None where a v2 array leaves that open."""
        return self.metadata.fill_value

    @property
    def order(self) -> str:
        """Memory order of what reading returns: "C" or "F"."""
        return self.config.order

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk shape; with sharding, of the inner chunks. NotImplementedError for rectilinear grids."""
        return self.metadata.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shard shape; None where the array is not sharded."""
        return self.metadata.shards

    @property
    def read_grid(self) -> RegularGrid | RectilinearGrid:
        """The grid of the smallest pieces that can be read: inner chunks where there are shards."""
        inner = self.metadata.inner_chunks
        return self._stored.grid if inner is None else RegularGrid(self.shape, inner)

    @property
    def write_grid(self) -> RegularGrid | RectilinearGrid:
        """The grid of the units of writing: shards where there are shards."""
        return self._stored.grid

    @property
    def read_chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Lengths of the chunks along each axis, clipped to the array."""
        return unit_lengths(self.read_grid)

    @property
    def write_chunk_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Lengths of the units of writing (shards, or chunks) along each axis, clipped to the array."""
        return unit_lengths(self._stored.grid)

    @property
    def cdata_shape(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return self.read_grid.counts

    @property
    def nchunks(self) -> int:
        """Number of chunks, stored or not."""
        return math.prod(self.cdata_shape)

    @property
    def filters(self) -> tuple[Any, ...]:
        """array->array codecs; for v2 numcodecs' filters."""
        if self.metadata.zarr_format == 2:
            return tuple(map(_numcodec, self.metadata.filters))
        return self._chunk_chain.array_codecs

    @property
    def serializer(self) -> Codec | None:
        """The array->bytes codec; None for v2."""
        return None if self.metadata.zarr_format == 2 else self._chunk_chain.serializer

    @property
    def compressors(self) -> tuple[Any, ...]:
        """bytes->bytes codecs; for v2 numcodecs' compressor."""
        if self.metadata.zarr_format == 2:
            return () if self.metadata.compressor is None else (_numcodec(self.metadata.compressor),)
        return self._chunk_chain.bytes_codecs

    @property
    def _chunk_chain(self) -> CodecChain:
        """The chain of one chunk; with sharding, of an inner one."""
        return self._stored.chain if self._stored.sharding is None else self._stored.inner_chain

    @property
    def compressor(self) -> Any:
        """The one compressor; None where there is none."""
        return self.compressors[0] if self.compressors else None

    @property
    def info(self) -> ArrayInfo:
        """A summary that prints well; reads nothing from the store."""
        return self._info()

    def _info(self, *, nbytes_stored: int | None = None, initialized: int | None = None) -> ArrayInfo:
        variable = self.metadata.inner_chunks is not None and isinstance(self.write_grid, RectilinearGrid)
        return ArrayInfo(
            zarr_format=self.metadata.zarr_format,
            data_type=self.metadata.data_type,
            fill_value=self.fill_value,
            shape=self.shape,
            shard_shape="<variable>" if variable else self.shards,
            chunk_shape=None if isinstance(self.read_grid, RectilinearGrid) else self.chunks,
            order=self.order,
            read_only=self.read_only,
            store_type=type(self.store).__name__,
            filters=self.filters,
            serializer=self.serializer,
            compressors=self.compressors,
            count_bytes=self.nbytes,
            count_bytes_stored=nbytes_stored,
            count_chunks_initialized=initialized,
        )

    def _repr_html_(self) -> str:
        """A table of facts and a drawing, for notebooks; reads nothing."""
        return str(
            import_module("gpuzarr.notebook").array_html(self.metadata, str(self.store_path), self._stored.device.name)
        )

    @property
    def cache(self) -> ChunkCache | None:
        """The cache of decoded chunks, if there is one."""
        return self._stored.cache


def _numcodec(configuration: dict[str, Any]) -> Any:
    """The numcodecs object of a v2 codec."""
    return import_module("numcodecs").get_codec(dict(configuration))
