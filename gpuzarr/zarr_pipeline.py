"""zarr-python's reads and writes by way of gpuzarr: a codec pipeline for

    zarr.config.set({"codec_pipeline.path": "gpuzarr.zarr_pipeline.CodecPipeline"})

(https://zarr.readthedocs.io/en/stable/user-guide/extending/). zarr-python keeps the metadata, the indexing and the
stores; which bytes are fetched, how they are decoded and where they land is done here, many chunks at once on gpuzarr's
threads. Files of a `LocalStore` are read and written by gpuzarr itself; of other stores zarr-python's own methods are
called, on the event loop that asked. Results go where zarr-python wants them, in host memory or on a GPU.

What gpuzarr does not have (a codec, a data type, a grid) goes by zarr-python's own pipeline, with one warning for each
reason. What it has for most arrays but not for a certain call goes there without one: selected fields of records,
values that must be broadcast, the listing of missing chunks, orders of inner chunks other than Morton.

This is the only module that imports zarr-python, and nothing imports this one.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from zarr.abc.codec import CodecPipeline as ZarrCodecPipeline
from zarr.codecs import ShardingCodec
from zarr.core.buffer import cpu
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.errors import ZarrUserWarning
from zarr.registry import register_pipeline
from zarr.storage import LocalStore as ZarrLocalStore
from zarr.storage import StorePath

from gpuzarr.devices import Device, get_device
from gpuzarr.devices.borrowing import NAMES, home, on_host
from gpuzarr.errors import ChunkNotFoundError, GpuzarrError, MetadataError, StoreError
from gpuzarr.grid import RegularGrid
from gpuzarr.metadata import ArrayMetadata, array_from_v2, array_from_v3, parse_document
from gpuzarr.options import config
from gpuzarr.read import read
from gpuzarr.selection import Box, Selection
from gpuzarr.storage import LocalStore, Store
from gpuzarr.storage.zarr_python import ZarrPythonStore
from gpuzarr.stored import StoredArray, chain_for
from gpuzarr.values import put, values_of
from gpuzarr.zarr_batch import Listed, batch_of

CALLS = 32  # reads and writes that are under way at once; each of them has the crew's threads beside its own


class _Caller:
    """Threads in which calls wait. Not the event loop's own: a store may need those to answer."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """As in a fresh process."""
        self._pool = ThreadPoolExecutor(CALLS, thread_name_prefix="gpuzarr-zarr")

    async def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call the function in a thread, and wait for it."""
        await asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, function, *arguments)


_caller = _Caller()
os.register_at_fork(after_in_child=_caller.forget)
_warned: set[str] = set()


class _Route(NamedTuple):
    """An array as gpuzarr sees it."""

    metadata: ArrayMetadata
    stored: dict[str, StoredArray]  # by device
    writes: bool  # the same bytes as zarr-python would


@dataclass(frozen=True)
class CodecPipeline(ZarrCodecPipeline):
    """The pipeline of one array, or of a list of codecs, which is zarr-python's own.

    `codecs`: as zarr-python has them. `metadata`, `store`: zarr-python's, of an array.
    """

    codecs: tuple[Any, ...]
    metadata: Any = None
    store: Any = None
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_codecs(cls, codecs: Iterable[Any]) -> Self:
        """A pipeline of these codecs, for whoever has no array: what encloses it does its reading and writing."""
        return cls(tuple(codecs))

    @classmethod
    def from_array_metadata_and_store(cls, array_metadata: Any, store: Any) -> Self:
        """The pipeline of an array. Nothing is looked at before the first read or write."""
        if array_metadata.zarr_format == 2:
            from zarr.codecs._v2 import V2Codec

            codecs: tuple[Any, ...] = (V2Codec(filters=array_metadata.filters, compressor=array_metadata.compressor),)
        else:
            codecs = tuple(array_metadata.codecs)
        return cls(codecs, array_metadata, store)

    def evolve_from_array_spec(self, array_spec: Any) -> Self:
        """The pipeline for such chunks."""
        codecs = tuple(codec.evolve_from_array_spec(array_spec=array_spec) for codec in self.codecs)
        return type(self)(codecs, self.metadata, self.store)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.codecs, self.metadata, self.store)

    # ---- reading and writing

    async def read(self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()) -> Any:
        """Fill `out`. What is returned tells of each chunk that it is there, where the array is set to raise for
        missing ones, and is empty otherwise."""
        items = list(batch_info)
        if not items:
            return ()
        array = out.as_ndarray_like()
        task = self._task(items, array, drop_axes, writing=False)
        if task is None:
            return await self._own(items).read(items, out, drop_axes)
        stored, selection = task
        dest = array[selection.to_axes] if isinstance(selection, Box) else array
        try:
            await self._call(read, stored, selection, dest)
        except ChunkNotFoundError:
            return await self._own(items).read(items, out, drop_axes)  # which says for all chunks whether they are
        return tuple({"status": "present"} for _ in items) if stored.missing_is_error else ()

    async def write(self, batch_info: Iterable[Any], value: Any, drop_axes: tuple[int, ...] = ()) -> None:
        """Put `value` into the chunks."""
        items = list(batch_info)
        if not items:
            return
        array = value.as_ndarray_like()
        task = self._task(items, array, drop_axes, writing=True)
        if task is None:
            await self._own(items).write(items, value, drop_axes)
            return
        stored, selection = task
        source = values_of(array, stored.chain.dtype, stored.device)
        if source.ndim and isinstance(selection, Box):
            source = source[selection.to_axes]
        await self._call(put, stored, selection, source)

    async def _call(self, function: Callable[..., None], stored: StoredArray, *arguments: Any) -> None:
        try:
            await _caller.call(function, stored, *arguments)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(stored.store, ZarrPythonStore) and isinstance(cause, Exception):
                raise cause from cause.__cause__  # what the store raised, as whoever uses zarr-python knows it
            raise

    def _task(
        self, items: Sequence[Any], array: Any, drop_axes: tuple[int, ...], writing: bool
    ) -> tuple[StoredArray, Selection] | None:
        """The array and the selection of it that these chunks are; None where zarr-python must do it."""
        route = self._route()
        if route is None or (writing and not route.writes):
            return None
        place, spec = items[0][:2]
        grid, metadata = route.metadata.grid, route.metadata
        assert isinstance(grid, RegularGrid)
        if not isinstance(place, StorePath) or place.store != self.store or spec.shape != grid.chunks:
            return None
        strict = not getattr(spec.config, "read_missing_chunks", True) and not writing
        places, _, *rest = zip(*items, strict=True)
        listed = Listed([place.path for place in places], *rest)
        batch = batch_of(listed, metadata.key_encoding, grid.chunks, drop_axes)
        if batch is None or (array.shape != batch.selection.shape and not (writing and array.shape == ())):
            return None
        stored = self._stored(route, _device_of(array))
        if (strict and stored.sharding is not None) or array.dtype.names != stored.chain.dtype.names:
            return None
        stored = replace(
            stored,
            store=self._store(),
            path=batch.path,
            metadata=metadata.with_shape(batch.shape),
            write_empty=spec.config.write_empty_chunks,
            missing_is_error=strict,
        )
        return stored, batch.selection

    def _store(self) -> Store:
        """The store as gpuzarr takes it, for one call."""
        if type(self.store) is not ZarrLocalStore:
            return ZarrPythonStore(self.store, loop=asyncio.get_running_loop())
        if "store" not in self._kept:
            self._kept["store"] = LocalStore(self.store.root, read_only=self.store.read_only)
        return self._kept["store"]  # type: ignore[no-any-return]

    def _stored(self, route: _Route, device: Device) -> StoredArray:
        """The array on a device."""
        found = route.stored.get(device.name)
        if found is None:
            chain, timeout = chain_for(route.metadata, device), float(config.get("array.lock_timeout"))
            found = StoredArray(self._store(), "", route.metadata, chain, device, lock_timeout=timeout)
            route.stored[device.name] = found
        return found

    def _route(self) -> _Route | None:
        """The array as gpuzarr sees it; None, with a warning, where it cannot."""
        if "route" not in self._kept:
            self._kept["route"] = None if self.metadata is None else self._find_route()
        return self._kept["route"]  # type: ignore[no-any-return]

    def _find_route(self) -> _Route | None:
        try:
            metadata = _model_of(self.metadata)
            chain_for(metadata, get_device("cpu"))
            if not isinstance(metadata.grid, RegularGrid):
                raise MetadataError("the chunk grid is not regular")
        except GpuzarrError as error:
            _left_to_zarr(str(error))
            return None
        return _Route(metadata, {}, all(_in_morton_order(codec) for codec in self.codecs))

    # ---- the rest is zarr-python's

    def _own(self, items: Sequence[Any] = ()) -> Any:
        """zarr-python's pipeline of these codecs; for reading and writing, settled for the chunks."""
        settled = self.evolve_from_array_spec(items[0][1]) if items else self
        return BatchedCodecPipeline.from_codecs(settled.codecs)

    @property
    def supports_partial_decode(self) -> bool:
        """Whether parts of chunks can be read, by zarr-python's measure."""
        return bool(self._own().supports_partial_decode)

    @property
    def supports_partial_encode(self) -> bool:
        """Whether parts of chunks can be written, by zarr-python's measure."""
        return bool(self._own().supports_partial_encode)

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise where the codecs do not go with the array."""
        for codec in self.codecs:
            codec.validate(shape=shape, dtype=dtype, chunk_grid=chunk_grid)

    def compute_encoded_size(self, byte_length: int, array_spec: Any) -> int:
        """Bytes of an encoded chunk. NotImplementedError where they vary."""
        return int(self._own().compute_encoded_size(byte_length, array_spec))

    async def decode(self, chunk_bytes_and_specs: Iterable[Any]) -> Iterable[Any]:
        """Decode chunks that somebody else has fetched."""
        items = list(chunk_bytes_and_specs)
        return list(await self._own(items).decode(items))

    async def encode(self, chunk_arrays_and_specs: Iterable[Any]) -> Iterable[Any]:
        """Encode chunks that somebody else will put."""
        items = list(chunk_arrays_and_specs)
        return list(await self._own(items).encode(items))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.codecs)


def _model_of(metadata: Any) -> ArrayMetadata:
    """zarr-python's metadata as ours. Raises GpuzarrError where there is something in them that is not known here."""
    documents = {
        name: parse_document(buffer.to_bytes(), key=name)
        for name, buffer in metadata.to_buffer_dict(cpu.buffer_prototype).items()
    }
    if metadata.zarr_format == 2:
        return array_from_v2(documents[".zarray"], documents.get(".zattrs"), key=".zarray")
    return array_from_v3(documents["zarr.json"], key="zarr.json")


def _left_to_zarr(reason: str) -> None:
    """Say once that zarr-python's own pipeline is used."""
    if reason not in _warned:
        _warned.add(reason)
        message = f"gpuzarr leaves such arrays to zarr-python's own pipeline: {reason}"
        warnings.warn(message, ZarrUserWarning, stacklevel=2)


def _device_of(array: Any) -> Device:
    """The device in whose memory an array is."""
    found = home(array)
    if found is None or on_host(found):
        return get_device("cpu")
    name = NAMES.get(found.kind, str(found))
    return get_device(f"cuda:{max(0, found.number)}" if name == "cuda" else name)


def _in_morton_order(codec: Any) -> bool:
    """Whether inner chunks are stored in the order in which gpuzarr stores them; no document says."""
    if not isinstance(codec, ShardingCodec):
        return True
    order = getattr(codec, "subchunk_write_order", "morton")
    return str(order) == "morton" and all(_in_morton_order(inner) for inner in codec.codecs)


register_pipeline(CodecPipeline)

__all__ = ["CodecPipeline"]
