"""Zarr arrays as dask arrays and back: `from_zarr` and `to_zarr`, called as those of `dask.array`.

Every block is read, and written, by the task that needs it, on whatever thread, process or machine dask runs it; what
travels is a description of the array and no data. The unit of writing is the shard (the chunk, where there are no
shards). Two tasks never write one unit: blocks whose boundaries lie inside of units are refused before anything is
made or any task is started, or are rechunked where the caller asks for that. Hence nothing is locked as a whole.

Names of tasks are made of where an array lies, of its metadata and of the state of their document. They do not see
that chunks were written; where results are kept (`persist`) while chunks change, read with `name=False`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from gpuzarr.array import Array
from gpuzarr.as_dask import as_dask
from gpuzarr.blocks import first_split, realigned, regular_length
from gpuzarr.create import array_metadata
from gpuzarr.creation import config_with, new_array
from gpuzarr.devices.borrowing import home, on_host
from gpuzarr.errors import ChunkAlignmentError, ContainsNodeError, MetadataError, ReadOnlyError, StoreWriteError
from gpuzarr.extras import load
from gpuzarr.grid import Grid
from gpuzarr.group import Group
from gpuzarr.making import refuse_existing
from gpuzarr.opening import handle_of, open_array, place_of, refuse_anything
from gpuzarr.selection import Span, basic
from gpuzarr.storage.contract import Store
from gpuzarr.storage.resolve import StorePath

__all__ = ["from_zarr", "to_zarr"]


def from_zarr(
    url: Any,
    component: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    chunks: Any = None,
    name: str | bool | None = None,
    inline_array: bool = False,
    *,
    device: Any = None,
    **arguments: Any,
) -> Any:
    """The Zarr array at `url` (anything that `gpuzarr.open_array` takes, an Array, or a Group), as a dask array.

    `component` is the path in the store or group. Blocks are shards, or chunks; `chunks`, `name` and `inline_array` are
    as for `Array.to_dask`. With a `device` other than "cpu" the blocks are its arrays. Other `arguments` are those of
    `gpuzarr.open_array`, with mode "r". Raises as `open_array` does, MissingPackageError without dask.
    """
    if isinstance(url, Group) and component is not None:
        url, component = url[component], None
    if isinstance(url, Array):
        if component is not None or storage_options or arguments:
            raise TypeError("an open array takes no component, storage_options or arguments of open_array")
        array = url if device is None else url.to_device(device)
    else:
        mode = arguments.pop("mode", "r")
        place = _place(url, component, mode, storage_options)
        array = open_array(place, mode, config=arguments.pop("config", None), arguments={**arguments, "device": device})
    return as_dask(array, chunks, name=name, inline_array=inline_array)


def to_zarr(
    arr: Any,
    url: Any,
    component: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    region: Any = None,
    compute: bool = True,
    return_stored: bool = False,
    mode: str = "a",
    *,
    rechunk: bool = False,
    device: Any = None,
    **arguments: Any,
) -> Any:
    """Write the dask array `arr`: to a new array at `url`, `component`, or into one that is there.

    A new array takes `arguments` of `gpuzarr.create_array` (`shards`, `compressors`, `zarr_format`, `overwrite`, ...);
    its chunks are the blocks. `mode`: "a" makes it where nothing is; "w", as `overwrite=True`, replaces what is there;
    "w-" wants the place to be empty. An array that is there is given open, or by its place with mode "r+"; `region`
    (a slice an axis) says where in it `arr` goes, and is the whole array where it is not given.

    Boundaries of blocks must be boundaries of shards, or chunks, as the array counts them; only the edges of a region
    may lie within one. With `rechunk`, `arr` is rechunked until they are. With `compute=False` the result is what dask
    computes, which then writes; with `return_stored`, a dask array of what was written.

    When a block fails, the blocks that were written before are in the array, and the rest is as it was (the fill value,
    in a new array); a replacement takes its place only when it is complete, on stores that can do that (directories,
    memory). Blocks that overlap what other tasks of `arr` read of the same array are the caller's business.

    Raises ChunkAlignmentError, ContainsArrayError and its kin, and all that says that an array cannot be made or
    written, before anything is made and any task runs; what the tasks raise, later.
    """
    _check_known(arr)
    if mode not in ("a", "w", "w-", "r+"):
        raise ValueError(f"Cannot use mode {mode!r} to write: expected 'a', 'w', 'w-' or 'r+'")
    if component is not None and "name" in arguments:
        raise ValueError("`name` is another word for `component`: give one of them")
    component = arguments.pop("name", None) if component is None else component
    if isinstance(url, Array) or mode == "r+":
        array = _existing(url, component, storage_options, device, arguments)
        return _write_into(array, arr, region, compute, return_stored, rechunk)
    if region is not None:
        raise ValueError("a region is one of an array that is there: give the open array, or mode='r+'")
    place = _place(url, component, mode, storage_options)
    if mode == "w-":
        refuse_anything(*place)
    overwrite = bool(arguments.pop("overwrite", False)) or mode == "w"
    arguments["device"] = device or _device_of(arr)
    return _write_new(place, arr, arguments, overwrite, compute, return_stored, rechunk)


def _check_known(arr: Any) -> None:
    if not isinstance(arr, load("dask.array", "dask").Array):
        raise TypeError(f"to_zarr writes dask arrays, got a {type(arr).__name__}")
    if any(math.isnan(extent) for extent in arr.shape):
        raise MetadataError(
            f"a dask array of unknown chunk sizes has no shape to write: got {arr.shape}; `arr.compute_chunk_sizes()`"
            " finds them out"
        )


def _place(url: Any, component: str | None, mode: str, storage_options: Any) -> tuple[Store, str]:
    url = url.store_path if isinstance(url, Group) else url
    return place_of(url, component, mode=mode, storage_options=storage_options)


# ---- an array that is there


def _existing(url: Any, component: str | None, storage_options: Any, device: Any, arguments: dict[str, Any]) -> Array:
    if isinstance(url, Array):
        if component is not None or storage_options or arguments:
            raise TypeError("an open array takes no component, storage_options or arguments of create_array")
        return url if device is None else url.to_device(device)
    place = _place(url, component, "r+", storage_options)
    return open_array(place, "r+", config=arguments.pop("config", None), arguments={**arguments, "device": device})


def _write_into(array: Array, arr: Any, region: Any, compute: bool, return_stored: bool, rechunk: bool) -> Any:
    if array.read_only:
        raise ReadOnlyError(f"cannot write to {array!r}: it was opened read-only")
    selection = basic(... if region is None else region, array.shape)
    spans = [span for span in selection.axes if isinstance(span, Span)]
    if any(span.step != 1 for span in spans) or any(selection.flips) or any(selection.dropped):
        raise ValueError(f"region: expected slices of step 1, got {region!r}")
    if selection.shape != arr.shape:
        raise ValueError(f"region: expected one of the dask array's shape {arr.shape}, got shape {selection.shape}")
    arr = _aligned(arr, array.write_grid, [span.start for span in spans], rechunk, repr(array))
    array = array.to_device(_device_of(arr) or array.device)
    _check_reach(array.chunk_store, arr, compute)
    where = tuple(slice(span.start, span.start + span.count) for span in spans)
    if not compute:
        return _later(arr, array, where, return_stored)
    _now(arr, array, where)
    return as_dask(array)[where].rechunk(arr.chunks) if return_stored else None


# ---- a new array


def _write_new(
    place: tuple[Store, str],
    arr: Any,
    arguments: dict[str, Any],
    overwrite: bool,
    compute: bool,
    return_stored: bool,
    rechunk: bool,
) -> Any:
    handle, config = handle_of(arguments), arguments.pop("config", None)
    arguments = {"dtype": arr.dtype, "chunks": None, **arguments}
    if arguments["chunks"] is None:
        arguments["chunks"] = _chunks_for(arr, arguments.get("shards"), rechunk)
    metadata = array_metadata(shape=arr.shape, **arguments)
    config = config_with(config, arguments.get("order") if metadata.zarr_format == 3 else None)
    arr = _aligned(arr, metadata.grid, [0] * arr.ndim, rechunk, "the new array")
    _check_reach(handle.get("chunk_store", place[0]), arr, compute)
    if overwrite:
        refuse_own_source(arr, *place)
    if not compute:
        if overwrite:
            _refuse_replacing_later(*place)
        return _later(arr, new_array(*place, metadata, config=config, **handle), None, return_stored)
    array = new_array(*place, metadata, overwrite=overwrite, write=partial(_now, arr), config=config, **handle)
    return as_dask(array, arr.chunks) if return_stored else None


def _chunks_for(arr: Any, shards: Any, rechunk: bool) -> tuple[int, ...]:
    """Chunks that the blocks consist of; where shards of one shape are given, such as they consist of, too."""
    chunks = []
    for axis, along in enumerate(arr.chunks):
        length = regular_length(along)
        if length is None:
            if not rechunk:
                _refuse_irregular(axis, along)
            length = max(along)
        chunks.append(length)
    sizes = shards.get("shape") if isinstance(shards, Mapping) else shards
    sizes = (sizes,) * arr.ndim if isinstance(sizes, int) else sizes
    if isinstance(sizes, tuple | list) and len(sizes) == arr.ndim and all(isinstance(size, int) for size in sizes):
        chunks = [math.gcd(*pair) if pair[1] > 0 else pair[0] for pair in zip(chunks, sizes, strict=True)]
    return tuple(chunks)


def _refuse_irregular(axis: int, lengths: tuple[int, ...]) -> NoReturn:
    raise ChunkAlignmentError(
        f"axis {axis}: no chunks of one length fit blocks of lengths {_some(lengths)}: expected the shortest (but the"
        f" last) to divide the others. `rechunk=True` makes them {max(lengths)} long; chunks=arr.chunks makes chunks of"
        " just these lengths (a rectilinear grid, format 3)"
    )


def _refuse_replacing_later(store: Store, path: str) -> None:
    try:
        refuse_existing(store, path)
    except ContainsNodeError as error:
        raise type(error)(
            f"{str(error).partition(';')[0]}; it is replaced in one step when all is written, which compute=False puts"
            " off: delete it first, or compute at once"
        ) from error


def refuse_own_source(arr: Any, store: Store, path: str) -> None:
    """ValueError where the graph reads an array that lies at, above or below `path`, which is to be replaced."""
    for layer in arr.dask.layers.values():
        for source in _arrays_in([getattr(layer, "indices", ()), getattr(layer, "mapping", {})]):
            if source.store_path.overlaps(StorePath(store, path)):
                raise ValueError(
                    f"cannot replace {StorePath(store, path)} by what is computed from {source!r}, which would be"
                    " deleted before it is read: write to another path, or give the open array in place of its path"
                )


def _arrays_in(value: Any) -> Iterator[Array]:
    """The arrays of ours in a piece of a graph."""
    if isinstance(value, Array):
        yield value
    elif isinstance(value, tuple | list | set):
        for item in value:
            yield from _arrays_in(item)
    elif isinstance(value, Mapping):
        yield from _arrays_in(list(value.values()))
    elif hasattr(value, "args") and hasattr(value, "kwargs"):  # a task
        yield from _arrays_in([value.args, value.kwargs])
    elif hasattr(value, "array") or hasattr(value, "source"):  # what xarray's lazy indexing is around, and what we are
        yield from _arrays_in([getattr(value, "array", None), getattr(value, "source", None)])


# ---- both


def _aligned(arr: Any, grid: Grid, starts: Sequence[int], rechunk: bool, where: str) -> Any:
    """`arr` with blocks that share no unit of the grid. ChunkAlignmentError where it would have to be rechunked."""
    split = first_split(grid, starts, arr.chunks)
    if split is None:
        return arr
    better = realigned(grid, starts, arr.chunks)
    if rechunk:
        return arr.rechunk(better)
    raise ChunkAlignmentError(
        f"axis {split.axis}: two blocks of the dask array meet at index {split.at} of {where}, within the unit of"
        f" writing [{split.start}, {split.stop}) (a shard, or a chunk), and both write it: expected blocks such as"
        f" {_some(better[split.axis])}, got {_some(arr.chunks[split.axis])}. `rechunk=True` rechunks it so"
    )


def _some(lengths: Sequence[int]) -> str:
    return f"({', '.join(map(str, lengths[:6]))}{', ...' if len(lengths) > 6 else ''})"


def _device_of(arr: Any) -> str | None:
    """The device of the blocks; None for the host."""
    found = home(arr._meta)
    return None if on_host(found) else str(found)


def _check_reach(store: Store, arr: Any, compute: bool) -> None:
    """StoreWriteError where the tasks will run in other processes, where the store's objects are not."""
    if store.shares_after_pickle or not compute:
        return
    get = load("dask.base", "dask").get_scheduler(collections=[arr])
    module = getattr(type(getattr(get, "__self__", None)), "__module__", "")
    if module.startswith("distributed") or getattr(get, "__module__", "") == "dask.multiprocessing":
        raise _out_of_reach(store)


def _out_of_reach(store: Store) -> StoreWriteError:
    return StoreWriteError(
        f"{store} is held by this process, and tasks in other processes cannot write to it: write to a directory or a"
        " service, or compute with scheduler='threads'"
    )


def _now(arr: Any, array: Array, where: tuple[slice, ...] | None = None) -> None:
    """Write, and come back when all is written. (dask's own `return_stored` may come back before.)"""
    target = Target(array)
    try:
        arr.store(target, lock=False, regions=where, compute=True)
    except BaseException:
        target.end()
        raise


def _later(arr: Any, array: Array, where: tuple[slice, ...] | None, return_stored: bool) -> Any:
    """A dask array that writes when it is computed."""
    return arr.store(Target(array), lock=False, regions=where, compute=False, return_stored=return_stored)


class Target:
    """Where the tasks of one `to_zarr` put their blocks."""

    def __init__(self, array: Array, *, away: bool = False) -> None:
        self._array, self._away = array, away
        self._running, self._ended, self._change = 0, False, threading.Condition()

    def __setitem__(self, index: Any, block: Any) -> None:
        with self._change:
            if self._ended:
                raise StoreWriteError(f"nothing more is written to {self._array!r}: another block failed")
            self._running += 1
        try:
            self._array[index] = block
            if self._away:  # nobody will be able to flush this handle's store when all is done
                self._array.chunk_store.flush()
        finally:
            with self._change:
                self._running -= 1
                self._change.notify_all()

    def end(self) -> None:
        """Let the tasks of this process that are writing finish, and no other begin: after an error dask leaves them
        to themselves, and what they write to may be taken away."""
        with self._change:
            self._ended = True
            self._change.wait_for(lambda: not self._running, timeout=self._array._stored.lock_timeout)

    def __getitem__(self, index: Any) -> Any:
        return self._array[index]

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._array.chunk_store.shares_after_pickle:
            raise _out_of_reach(self._array.chunk_store)
        return (partial(Target, away=True), (self._array,))

    def __dask_tokenize__(self) -> object:
        return os.urandom(16).hex()  # writing twice is not the same as writing once
