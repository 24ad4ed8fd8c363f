"""A wave's bytes straight into device memory: parts of local files, by KvikIO (`devices.kvikio`).

Only for chains whose encoded chunks are their elements as they lie in memory. Everything else must be looked at by the
host before the GPU may have it: stream tables are parsed from the very bytes that nvCOMP gets, and a checksum or a size
that is not looked at first would be a wrong value or worse. What needs no look goes straight: sizes are known from the
file system and the shard index, and a chunk that is not of its size makes the wave go by the host, which says so. So
does whatever KvikIO does not manage, unless the option `gpu.file_reads` wants it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from gpuzarr.codecs.engines.gpu import engine_for
from gpuzarr.devices import kvikio
from gpuzarr.devices.gpu import DeviceArray, GpuDevice, GpuLane
from gpuzarr.errors import GpuError, GpuMemoryError
from gpuzarr.fetch import Encoded, Integers
from gpuzarr.grid import RegularGrid
from gpuzarr.stored import StoredArray

LEAST = 256 << 10  # bytes of a read, on average, below which the host is quicker whatever the machine


class Landed(Encoded):
    """Chunks as they are stored, in device memory already: `sources` are offsets in `area`."""

    def __init__(self, sources: list[Any], sizes: list[int], area: DeviceArray) -> None:
        super().__init__(sources, sizes, None, 0)
        self.area = area

    def part(self, rows: range) -> Landed:
        """Neighbouring rows."""
        part = slice(rows.start, rows.stop)
        return Landed(self.sources[part], self.sizes[part], self.area)


class Straight:
    """The way of one array's files to its device."""

    def __init__(self, stored: StoredArray, nbytes: int) -> None:
        self._store: Any = stored.store
        self._device: Any = stored.device
        self._nbytes = nbytes
        self._itemsize = stored.chain.dtype.itemsize
        self._wanted = kvikio.wanted() == "kvikio"
        self._way = ""  # known with the first file

    def objects(self, keys: Sequence[str], lane: GpuLane) -> Landed | None:
        """Whole objects, each a chunk; None where they must go by the host."""
        stride = -(-self._nbytes // 256) * 256
        if self._way == "host" or (self._nbytes < LEAST and not self._wanted):
            return None
        area = _room(lane, stride * len(keys))
        if area is None:
            return None
        sources: list[Any] = []
        for i, key in enumerate(keys):
            with self._store.steady(key) as found:
                if found is not None and found.size != self._nbytes:
                    return None
                sources.append(None if found is None else i * stride)
                if found is not None and not self._read(lane, found, [(0, self._nbytes)], area[i * stride :]):
                    return None
        return Landed(sources, [0 if s is None else self._nbytes for s in sources], area)

    def ranges(self, key: str, version: Hashable, starts: Integers, sizes: Integers, lane: GpuLane) -> Landed | None:
        """Byte ranges of one object (start -1 for no chunk), neighbours together; None where they must go by the host.

        Raises ObjectChangedError where the object is no longer in the state `version`."""
        there = starts >= 0
        if self._way == "host" or not there.any() or (sizes[there] != self._nbytes).any():
            return None
        order = np.sort(starts[there])
        cuts = np.flatnonzero(np.diff(order) > self._nbytes + self._store.coalesce_gap) + 1
        low = order[np.concatenate([[0], cuts])]
        high = order[np.concatenate([cuts - 1, [order.size - 1]])] + self._nbytes
        spans = list(zip(low.tolist(), high.tolist(), strict=True))
        if (high - low).sum() < LEAST * len(spans) and not self._wanted:
            return None
        span = np.searchsorted(low, starts[there], side="right") - 1
        offsets = starts[there] - low[span] + np.array(kvikio.places(spans))[span]
        if (offsets % self._itemsize).any():
            return None
        area = _room(lane, kvikio.extent(spans))
        if area is None:
            return None
        with self._store.steady(key, version) as found:
            if found is None or int(high[-1]) > found.size or not self._read(lane, found, spans, area):
                return None
        sources: list[Any] = [None] * starts.size
        for row, offset in zip(np.flatnonzero(there).tolist(), offsets.tolist(), strict=True):
            sources[row] = offset
        return Landed(sources, sizes.tolist(), area)

    def _read(self, lane: GpuLane, found: Any, spans: list[tuple[int, int]], area: DeviceArray) -> bool:
        """Whether KvikIO is the way, and did it."""
        self._way = self._way or kvikio.choice(self._device, found.path)
        if self._way != "kvikio":
            return False
        try:
            kvikio.read_ranges(self._device, lane, found.descriptor, spans, area)
        except GpuError:
            if self._wanted:
                raise
            return False
        return True


def _room(lane: GpuLane, nbytes: int) -> DeviceArray | None:
    """Device memory for a wave's bytes; None where there is not enough, as the host's way goes by halves then."""
    try:
        return lane.area("landed", nbytes)
    except GpuMemoryError:
        return None


def straight(stored: StoredArray) -> Straight | None:
    """The way of an array's files to its device, where there is one."""
    if not isinstance(stored.device, GpuDevice) or not stored.store.has_files or stored.cache is not None:
        return None
    way = kvikio.wanted()
    if way == "host" or (stored.sharding is None and not isinstance(stored.grid, RegularGrid)):
        return None
    chain = stored.chain if stored.sharding is None else stored.inner_chain
    if not chain.nbytes or not engine_for(chain, stored.device).verbatim:
        return None
    if way == "auto" and kvikio.why_not(stored.device):
        return None
    return Straight(stored, chain.nbytes)
