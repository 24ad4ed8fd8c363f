"""Array: a chunked array in a store, indexed like a NumPy array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np

from gpuzarr.as_dask import as_dask
from gpuzarr.attributes import Attributes, Change
from gpuzarr.cache import ChunkCache
from gpuzarr.devices import Device, get_device
from gpuzarr.devices.borrowing import destination
from gpuzarr.doors import ArrayDoors, everything
from gpuzarr.errors import ArrayNotFoundError, ConflictError, ReadOnlyError, SelectionError
from gpuzarr.explain import explain
from gpuzarr.facts import ArrayConfig
from gpuzarr.info import ArrayInfo
from gpuzarr.making import change_attributes, changing
from gpuzarr.metadata.model import ArrayMetadata
from gpuzarr.nodes import not_found, read_array
from gpuzarr.options import config
from gpuzarr.read import read
from gpuzarr.resize import clear_exposed, grown, remove_outside, trim
from gpuzarr.selection import Box, Coordinates, Selection, Span, index, known_fields, split_fields
from gpuzarr.storage.contract import Store
from gpuzarr.storage.resolve import open_store
from gpuzarr.stored import StoredArray, chain_for
from gpuzarr.survey import Count, check_chunks, chunks_initialized, stored_bytes
from gpuzarr.values import fitted, put, values_of


class Array(ArrayDoors):
    """A chunked array in a store.

    Made by `gpuzarr.open_array`, `gpuzarr.create_array` and their kin. Indexing reads and writes; what comes back
    is an array of `device`'s library. A handle keeps the shape that it was opened with, until it is resized
    through this handle or `refresh`ed. It fills the last chunk up beyond that shape, so where another writer has
    appended meanwhile, refresh before writing to the end.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        metadata: ArrayMetadata,
        *,
        device: str | Device | None = None,
        synchronizer: Any = None,
        config: Mapping[str, Any] | ArrayConfig | None = None,
        chunk_store: Store | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self.store = store
        self.path = path
        self.device = get_device(device)
        self.synchronizer = synchronizer
        self.chunk_store = chunk_store or store
        self.config = ArrayConfig.of(config, metadata.order if metadata.zarr_format == 2 else None)
        self._cache_bytes = _option("array.chunk_cache_bytes") if cache_bytes is None else cache_bytes
        self._take(metadata)

    @classmethod
    def open(cls, store: Any, zarr_format: int | None = None, **handle: Any) -> Self:
        """The array at a store or a StorePath, to read and write. ArrayNotFoundError, ContainsGroupError."""
        place, path = open_store(store)
        metadata = read_array(place, path, zarr_format)
        if metadata is None:
            raise not_found(place, path, "array", zarr_format)
        return cls(place, path, metadata, **handle)

    def _take(self, metadata: ArrayMetadata) -> None:
        """Go on with this metadata."""
        self.metadata = metadata
        self._dtype = metadata.dtype
        self._stored = self._stored_as(metadata)

    def _stored_as(self, metadata: ArrayMetadata) -> StoredArray:
        return StoredArray(
            self.chunk_store,
            self.path,
            metadata,
            chain_for(metadata, self.device),
            self.device,
            write_empty=self.config.write_empty_chunks,
            missing_is_error=not self.config.read_missing_chunks,
            lock_timeout=float(_option("array.lock_timeout")),
            synchronizer=self.synchronizer,
            cache=ChunkCache(self._cache_bytes) if self._cache_bytes else None,
        )

    def _change_attributes(self, change: Change) -> None:
        waiting = {"timeout": self._stored.lock_timeout, "synchronizer": self.synchronizer}
        self.metadata = change_attributes(self.store, self.path, self.metadata, change, **waiting)

    @contextmanager
    def _reshaping(self) -> Iterator[tuple[ArrayMetadata, Callable[[ArrayMetadata], None]]]:
        """The metadata in the store, and a function that replaces them and goes on with the new ones. Nobody else
        appends or resizes meanwhile. ConflictError where another writer did so since this array was opened."""
        # Chunks are locked inside: a synchronizer that has one lock for all keys would wait for itself.
        apart = getattr(self.synchronizer, "keeps_keys_apart", False)
        synchronizer, timeout = self.synchronizer if apart else None, self._stored.lock_timeout
        with changing(self.store, self.path, self.metadata, timeout=timeout, synchronizer=synchronizer) as (
            now,
            replace_by,
        ):
            if now.with_attributes({}) != self.metadata.with_attributes({}):
                raise ConflictError(
                    f"{self!r} was changed by another writer and has shape {now.shape} now; refresh() takes that over"
                )

            def commit(new: ArrayMetadata) -> None:
                replace_by(new)
                self._take(new)

            yield now, commit

    # ---- what can be set

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis; may be set, which resizes."""
        return self.metadata.shape

    @shape.setter
    def shape(self, shape: tuple[int, ...]) -> None:
        self.resize(shape)

    @property
    def attrs(self) -> Attributes:
        """The user's attributes; a mutable mapping, written at every change."""
        return Attributes(lambda: dict(self.metadata.attributes), self._change_attributes)

    # ---- reading

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The whole array, read and transposed."""
        return self.get_selection(everything(self.shape)).T

    def __getitem__(self, key: Any) -> Any:
        fields = None
        if self._dtype.names is not None:
            fields, key = split_fields(key)
        found = self.get_selection(index(key, self.metadata.shape), fields=fields)
        return found if self.metadata.shape else found[()]  # an array of no axes reads as a scalar, like zarr-python's

    def get_selection(self, selection: Selection, *, fields: Any = None, out: Any = None) -> Any:
        """Read a selection in normal form (`gpuzarr.selection`), into `out` where that is given.

        `out` is any array of the selection's shape in memory of the device: of NumPy or CuPy, or what they can take
        without a copy (DLPack, `__cuda_array_interface__`, buffers). Raises DeviceError where it lies elsewhere or may
        not be written to.
        """
        shape = selection.shape
        target: Any = None if out is None else destination(out, shape, self.device)
        direct = out is not None and fields is None and isinstance(selection, Box)
        if isinstance(selection, Box):
            result = target if direct else self.device.empty(shape, self._stored.chain.dtype, self.config.order)
            read(self._stored, selection, result[selection.to_axes])
        else:
            flat = self.device.empty((selection.count,), self._stored.chain.dtype)
            read(self._stored, selection, flat)
            result = flat.reshape(shape)
        if fields is not None:
            result = result[known_fields(fields, self.dtype)]
        if out is None:
            return result
        if not direct:
            target[...] = result
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("a chunked array has no memory that could be shared without a copy")
        return np.asarray(self.device.download(self.get_selection(everything(self.shape))), dtype=dtype)

    def __bool__(self) -> bool:
        return True  # as zarr-python's, whatever the length

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array with no axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        """Entries along the first axis; each chunk is read once."""
        if not self.shape:
            raise TypeError("an array with no axes cannot be iterated over")
        chunks = self.read_grid.axis(0)
        for i in range(chunks.count):
            yield from self[slice(*chunks.bounds(i))]

    # ---- writing

    def __setitem__(self, key: Any, value: Any) -> None:
        fields = None
        if self._dtype.names is not None:
            fields, key = split_fields(key)
        self.set_selection(index(key, self.metadata.shape), value, fields=fields)

    def set_selection(self, selection: Selection, value: Any, *, fields: Any = None) -> None:
        """Write a selection in normal form; `value` is broadcast to its shape and cast to the array's dtype."""
        if self.read_only:
            raise ReadOnlyError(f"cannot write to {self!r}: it was opened read-only")
        if fields is not None:
            fields = known_fields(fields, self.dtype)
            whole = self.to_device("cpu").get_selection(selection)
            whole[fields] = value
            value = whole
        source = fitted(values_of(value, self.dtype, self.device), selection.shape, self.device)
        if source.ndim:
            source = source[selection.to_axes] if isinstance(selection, Box) else source.reshape(-1)
        put(self._stored, selection, source)

    # ---- changing shape and metadata

    def resize(self, *shape: Any, new_shape: Any = None) -> None:
        """Change the shape: `resize(10, 20)`, `resize((10, 20))` or, as in zarr-python, `resize(new_shape=(10, 20))`.

        Chunks that fall outside are deleted, and what falls outside of a boundary chunk is set to the fill value.
        New elements are the fill value. ConflictError where another writer changed the shape since this array was
        opened.
        """
        self._check_writable("resize")
        if bool(shape) == (new_shape is not None):
            raise TypeError("resize takes the new shape once")
        given = shape if new_shape is None else (new_shape,)
        wanted = grown(self.metadata, given[0] if len(given) == 1 else given).shape
        with self._reshaping() as (now, commit):
            old, new = self._stored, now.with_shape(wanted)
            clear_exposed(old, self._stored_as(new))
            commit(new)
            if any(n < o for n, o in zip(new.shape, old.metadata.shape, strict=True)):
                trim(old, new.shape)
                remove_outside(self._stored, old)

    def append(self, data: Any, axis: int = 0) -> tuple[int, ...]:
        """Add `data` at the end of `axis`; returns the new shape.

        The chunks are written first and the new shape last, so that an append that is cut short leaves the array
        as it was. ConflictError, and nothing is written, where another writer changed the shape since this array was
        opened.
        """
        self._check_writable("append to")
        source = values_of(data, self.dtype, self.device)
        if source.ndim != self.ndim:
            raise ValueError(f"data to append has {source.ndim} axes, the array {self.ndim}")
        if not -self.ndim <= axis < self.ndim:
            raise SelectionError(f"an array of {self.ndim} axes has no axis {axis} to append along")
        axis %= self.ndim
        if any(i != axis and n != o for i, (n, o) in enumerate(zip(source.shape, self.shape, strict=True))):
            raise ValueError(f"data of shape {source.shape} cannot be appended to {self.shape} along axis {axis}")
        with self._reshaping() as (now, commit):
            start = now.shape[axis]
            shape = tuple(s + source.shape[axis] if i == axis else s for i, s in enumerate(now.shape))
            spans = tuple(
                Span(start, source.shape[axis], 1) if i == axis else Span(0, s, 1) for i, s in enumerate(now.shape)
            )
            new = now.with_shape(shape)
            selection = Box(spans, *((False,) * self.ndim,) * 2)
            put(replace(self._stored_as(new), committed=now.shape), selection, source)
            commit(new)
        return shape

    def update_attributes(self, new_attributes: Mapping[str, Any]) -> Self:
        """Add to the attributes, in one write; returns this array."""
        self.attrs.update(new_attributes)
        return self

    def refresh(self) -> Self:
        """Read the metadata again, as another process may have changed them; returns this array."""
        metadata = read_array(self.store, self.path, self.metadata.zarr_format)
        if metadata is None:
            raise ArrayNotFoundError(f"the array at {self.store_path} is no longer there")
        self._take(metadata)
        return self

    def _check_writable(self, what: str) -> None:
        if self.read_only:
            raise ReadOnlyError(f"cannot {what} {self!r}: it was opened read-only")

    # ---- other handles

    def _with(self, **changes: Any) -> Array:
        arguments: dict[str, Any] = {
            "device": self.device,
            "synchronizer": self.synchronizer,
            "config": self.config,
            "chunk_store": self.chunk_store,
            "cache_bytes": self._cache_bytes,
        }
        return type(self)(self.store, self.path, self.metadata, **(arguments | changes))

    def with_config(self, config: Mapping[str, Any] | ArrayConfig) -> Array:
        """A handle on the same array with other `ArrayConfig` values."""
        new = config if isinstance(config, ArrayConfig) else replace(self.config, **config)
        return self._with(config=new)

    def with_cache(self, nbytes: int) -> Array:
        """A handle on the same array with a cache of decoded chunks of at most `nbytes` bytes."""
        return self._with(cache_bytes=nbytes)

    def to_device(self, device: str | Device) -> Array:
        """A handle on the same array whose values are on another device."""
        return self._with(device=get_device(device))

    def to_dask(self, chunks: Any = None, *, name: str | bool | None = None, inline_array: bool = False) -> Any:
        """A `dask.array.Array` over this array, lazily read, whose blocks are units of writing (shards, or chunks).

        Other `chunks` are as dask takes them; "auto" and sizes in bytes are rounded to whole units. `name=False` is for
        an array whose chunks change while dask keeps results. See `gpuzarr.dask`. MissingPackageError without dask.
        """
        return as_dask(self, chunks, name=name, inline_array=inline_array)

    # ---- what is stored

    @property
    def nbytes_stored(self) -> Count:
        """Bytes of the array's objects in the store, metadata included; also callable."""
        return Count(stored_bytes(self.store, self.path))

    @property
    def nchunks_initialized(self) -> Count:
        """Chunks that are stored (all chunks of a stored shard count); also callable."""
        return Count(chunks_initialized(self._stored, self.read_grid))

    def check_chunks(self) -> Iterator[tuple[str, Exception | None]]:
        """Read every stored chunk; yields its key and the error, None where it is sound."""
        return check_chunks(self._stored)

    def info_complete(self) -> ArrayInfo:
        """The summary with what is stored; lists the array's keys."""
        return self._info(
            nbytes_stored=int(self.nbytes_stored), initialized=chunks_initialized(self._stored, self.write_grid)
        )

    def explain(self, selection: Any = Ellipsis) -> str:
        """The plan of reading a selection and its route: chunks, waves, requests, and where each codec runs."""
        chosen = selection if isinstance(selection, Box | Coordinates) else index(selection, self.shape)
        return explain(self._stored, chosen)

    # ---- Python's protocols

    def __repr__(self) -> str:
        return f"<Array {self.store_path} shape={self.shape} dtype={self.dtype}>"

    def _handle_token(self) -> tuple[object, ...]:
        return (self.device.name, self.config, None if self.chunk_store is self.store else self.chunk_store)

    def __reduce__(self) -> tuple[Any, ...]:
        state = (
            self.store,
            self.path,
            self.metadata,
            self.device.name,
            self.synchronizer,
            self.config,
            None if self.chunk_store is self.store else self.chunk_store,
            self._cache_bytes,
        )
        return (_rebuild, (type(self), *state))


def _rebuild(
    kind: type[Array],
    store: Store,
    path: str,
    metadata: ArrayMetadata,
    device: str,
    synchronizer: Any,
    config: ArrayConfig,
    chunk_store: Store | None,
    cache_bytes: int,
) -> Array:
    return kind(
        store,
        path,
        metadata,
        device=device,
        synchronizer=synchronizer,
        config=config,
        chunk_store=chunk_store,
        cache_bytes=cache_bytes,
    )


def _option(key: str) -> Any:
    return config.get(key)
