"""A batch of streams as nvCOMP decodes it, apart from any array: for questions to it, and for its rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuzarr.codecs.engines.gpu import engine_for
from gpuzarr.codecs.engines.nvcomp import list_bytes, results, unpack_results
from gpuzarr.devices import columns, get_device, launches
from gpuzarr.devices.launches import Area

UNIT = 16  # bytes, of which streams begin at multiples, plus the shift


class Batch:
    """Streams of one format on a lane of the device, ready to be decoded. `shift`: of every stream, bytes; `slack`:
    bytes of room beyond the decoded size."""

    def __init__(
        self,
        device: Any,
        lane: Any,
        format: str,
        streams: Sequence[bytes],
        sizes: Sequence[int],
        shift: int,
        slack: int,
    ) -> None:
        self.device, self.lane, self.format, self.sizes = device, lane, format, sizes
        room = [-(-len(s) // UNIT) * UNIT + UNIT for s in streams]
        starts = np.cumsum([0, *room[:-1]]) + shift
        host = device.pinned(sum(room) + UNIT)
        for start, stream in zip(starts.tolist(), streams, strict=True):
            host[start : start + len(stream)] = np.frombuffer(stream, np.uint8)
        self._capacity = np.array(sizes, np.int64) + slack
        self._places = np.cumsum([0, *self._capacity[:-1] + 1]) + 1  # odd addresses of the output too
        self._source = lane.area("source", host.size)
        self._dest = lane.area("dest", int(self._capacity.sum()) + 2 * len(streams))
        device.copy_in(device.address(self._source), host, lane)
        lane.hold(host)
        lengths = np.array([len(s) for s in streams])
        self._table = columns.send(lane, starts, lengths, self._places, self._capacity)
        self._listed = lane.area("streams", list_bytes(len(streams)))
        self.scratch = device.nvcomp.temp_size(format, len(streams), *self._extent)
        self._temp = lane.area("temp", max(1, self.scratch))

    @property
    def _extent(self) -> tuple[int, int]:
        return int(self._capacity.max()), int(self._capacity.sum())

    def decode(self) -> None:
        """Queue the list of streams and the decoding."""
        device, lane, count = self.device, self.lane, len(self.sizes)
        areas = [Area(device.address(area), area.nbytes) for area in (self._source, self._dest)]
        launches.list_streams(device, lane, self._table, *areas, self._listed)
        stream, listed = int(getattr(lane.stream, "ptr", lane.stream)), device.address(self._listed)
        temp = device.address(self._temp)
        device.nvcomp.decompress(self.format, count, listed, *self._extent, temp, self.scratch, stream)

    def found(self) -> tuple[list[int], list[int], list[bytes]]:
        """Wait; actual sizes, statuses, and what each stream should have become (of its true size)."""
        device, lane, part = self.device, self.lane, results(len(self.sizes))
        told, decoded = device.pinned(part.stop - part.start), device.pinned(self._dest.nbytes)
        device.copy_out(device.address(self._listed) + part.start, told, lane)
        device.copy_out(device.address(self._dest), decoded, lane)
        device.wait(lane)
        actual, statuses = unpack_results(told, len(self.sizes))
        pairs = zip(self._places.tolist(), self.sizes, strict=True)
        return actual.tolist(), statuses.tolist(), [decoded[p : p + n].tobytes() for p, n in pairs]


def prepared(name: str) -> Any:
    """The device, with its codec library loaded."""
    import gpuzarr

    device: Any = get_device(name)
    array = gpuzarr.create_array({}, shape=4, dtype="f4")
    engine_for(array._stored.chain, device)
    return device
