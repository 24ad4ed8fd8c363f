"""`convert`, from beginning to end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gpuzarr.array import Array
from gpuzarr.conversion.contract import Source
from gpuzarr.conversion.plan import Filter, Plan, make_plan, refuse
from gpuzarr.conversion.record import Record, keeping
from gpuzarr.conversion.report import Report
from gpuzarr.conversion.sources import source_of
from gpuzarr.conversion.stored_nodes import ZarrSource
from gpuzarr.conversion.targets import Choices
from gpuzarr.conversion.work import MIB, Mover, Share, share
from gpuzarr.devices import get_device
from gpuzarr.errors import ConversionError, ObjectChangedError
from gpuzarr.making import make_parents, write_metadata
from gpuzarr.metadata.consolidated import build
from gpuzarr.metadata.model import GroupMetadata
from gpuzarr.nodes import check_format, join
from gpuzarr.opening import Place, place_of
from gpuzarr.options import config as options
from gpuzarr.storage.resolve import StorePath

Progress = Callable[[str, int, int], object]
"""Called with the path of an array, bytes of its values that are over since the last call, and bytes in all."""


def convert(
    source: Any,
    target: Any,
    *,
    source_path: str = "",
    path: str = "",
    zarr_format: int | None = None,
    chunks: Any = "keep",
    shards: Any = "keep",
    filters: Any = "keep",
    serializer: Any = "keep",
    compressors: Any = "keep",
    codecs: Any = None,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    skip_unsupported: bool = False,
    consolidate: bool | None = None,
    overwrite: bool = False,
    resume: bool = True,
    verify: bool = False,
    memory_limit: int = 256 * MIB,
    threads: int | None = None,
    progress: Progress | None = None,
    source_options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Convert `source` (a file of HDF5, NetCDF, NPY or NPZ, a Zarr array or group in any store, or one of h5py or Zarr
    that is open) to Zarr at `path` in the store `target`.

    Values, data types, attributes, dimension names and fill values are kept; `chunks`, `shards` and codecs where they
    are "keep" and the source has them. They are given as for `create_array`, for all arrays: what has one size an axis
    is for arrays of as many axes, and `chunks` and `shards` may be mappings from patterns of paths. `zarr_format` is
    the source's, or the default. `include` and `exclude` are patterns of paths (`*` goes across slashes) and mean what
    is below a group, too.

    At most about `memory_limit` bytes are used beside what the process had, by up to `threads` regions at once. Started
    again after it was cut short, with the same source and arguments, it goes on (`resume`) and makes the same bytes.
    `overwrite` removes what is at the target first. `consolidate` is as the source is, if it is Zarr, and true for
    NetCDF, since xarray looks for consolidated metadata. `verify` reads back and compares what was written.

    Raises CorruptChunkError where values of the source are damaged; ConversionError where it is none of these, or has
    what Zarr has no form for, all of which `skip_unsupported` leaves out
    and reports; ContainsNodeError where something is at the target; ConflictError where an unfinished conversion of
    another source is; LimitError where a shard does not fit the memory; ObjectChangedError where the source is changed
    meanwhile; ChecksumError where `verify` finds a difference.
    """
    began = time.perf_counter()
    check_format(zarr_format)
    with source_of(source, source_path, storage_options=source_options) as opened:
        if zarr_format is None:
            zarr_format = _format_of(opened)
        choices = Choices(
            zarr_format=zarr_format,
            chunks=chunks,
            shards=shards,
            filters=filters,
            serializer=serializer,
            compressors=compressors,
            codecs=codecs,
        )
        plan = make_plan(opened, choices, Filter(_as_list(include), _as_list(exclude)))
        if not skip_unsupported:
            refuse(plan.problems)
        if not plan.nodes:
            raise ConversionError(f"nothing is left to be converted of {source!r}")
        with _target(target, path, storage_options) as place:
            _refuse_overlap(opened, place)
            consolidate = opened.consolidated if consolidate is None else consolidate
            job = _Job(opened, plan, place, verify=verify, consolidate=consolidate, progress=progress)
            job.cut(memory_limit, threads or get_device("cpu").lanes)
            return job.run(began, overwrite=overwrite, resume=resume)


class _Job:
    """A plan that is carried out."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        place: Place,
        *,
        verify: bool,
        consolidate: bool,
        progress: Progress | None,
    ) -> None:
        self._source, self._plan, self._place = source, plan, place
        self._verify, self._consolidate, self._progress = verify, consolidate, progress
        self._shares: list[Share] = []
        self._lock = threading.Lock()

    def cut(self, memory_limit: int, threads: int) -> None:
        """Settle what is moved at a time. LimitError."""
        for found, metadata in self._plan.arrays:
            self._shares.append(share(found, metadata, memory_limit, threads, verify=self._verify))

    def run(self, began: float, *, overwrite: bool, resume: bool) -> Report:
        """Write the target."""
        store, path = self._place
        store.check_writable(path)
        top = self._plan.nodes[""]
        make_parents(store, path, top.zarr_format)
        before = self._source.identity()
        identity = {"source": before, "target": self._plan.digest(), "consolidated": self._consolidate}
        with keeping(store, path, identity, overwrite=overwrite, resume=resume) as record:
            moved = sum(self._move(i, record) for i in range(len(self._shares)))
            if self._source.identity() != before:
                raise ObjectChangedError(f"the source was changed while it was converted: {before}")
            self._finish()
            if record is not None:
                record.remove()
        regions = sum(share.regions.count for share in self._shares)
        return Report(
            arrays=len(self._plan.arrays),
            groups=len(self._plan.nodes) - len(self._plan.arrays),
            nbytes=self._plan.nbytes,
            nbytes_stored=sum(size for _, size in store.list_sizes(path)) if store.supports_listing else None,
            regions=regions,
            regions_resumed=regions - moved,
            seconds=time.perf_counter() - began,
            skipped=self._plan.problems,
            notes=self._plan.notes,
        )

    def _move(self, i: int, record: Record | None) -> int:
        found, metadata = self._plan.arrays[i]
        store, path = self._place
        target = Array(store, join(path, found.path), metadata, device="cpu")
        return Mover(found, target, record, self._moved, verify=self._verify).move(self._shares[i])

    def _moved(self, path: str, nbytes: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(path, nbytes, self._plan.nbytes)

    def _finish(self) -> None:
        """Write the documents, members before their groups, so that who finds one finds all that is below it."""
        store, path = self._place
        store.flush()
        nodes = dict(self._plan.nodes)
        top = nodes.pop("")
        if self._consolidate and isinstance(top, GroupMetadata):
            top = build(top, nodes)
        for inner in sorted(nodes, key=lambda inner: inner.count("/"), reverse=True):
            write_metadata(store, join(path, inner), nodes[inner])
        write_metadata(store, path, top)
        store.flush()


def _format_of(source: Source) -> int:
    """The format of a Zarr source, else the default."""
    if isinstance(source, ZarrSource):
        return source.zarr_format
    return int(options.get("default_zarr_format"))


def _refuse_overlap(source: Source, place: Place) -> None:
    """ConversionError where the target would lie in its own source, or around it."""
    target = StorePath(*place)
    if source.place.overlaps(target):
        raise ConversionError(f"source and target overlap: {source.place} and {target}")


def _as_list(patterns: str | Sequence[str]) -> list[str]:
    return [each.strip("/") for each in ([patterns] if isinstance(patterns, str) else patterns)]


@contextmanager
def _target(target: Any, path: str, storage_options: Mapping[str, Any] | None) -> Iterator[Place]:
    """The place, in a store that is closed again where it was not open before."""
    place = place_of(target, path, mode="a", storage_options=storage_options)
    if not isinstance(target, str | os.PathLike):
        yield place
        return
    try:
        yield place
    except BaseException:
        getattr(place[0], "abandon", place[0].close)()  # an archive stays as it was
        raise
    place[0].close()
