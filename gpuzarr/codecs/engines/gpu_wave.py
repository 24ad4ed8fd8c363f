"""A wave of encoded chunks on its way through a GPU's lane: what is queued for it, and which chunks that cannot serve.

Everything is queued in order on the lane's stream; `settle` waits for it once, and then knows which chunks nvCOMP, a
checksum or a step found fault with. Those are left to the host, which decodes them or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpuzarr.codecs.engines.gpu_steps import Step
from gpuzarr.codecs.engines.memory import memory_at, octets
from gpuzarr.codecs.engines.nvcomp import list_bytes, results, unpack_results
from gpuzarr.codecs.engines.streams import Pieces, Streams
from gpuzarr.codecs.engines.streams_table import unsigned
from gpuzarr.devices import columns, launches, scatter
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.launches import Area, Rows
from gpuzarr.devices.scatter import Layout

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Names: TypeAlias = Callable[[int], str]  # of the rows, for errors

# The checksum that streams of a format may carry.
CONTENTS = {"zstd": "xxh64", "gzip": "crc32", "deflate": "adler32"}
CHECKSUM = 4  # bytes of any of them as stored
# Bytes of nvCOMP's scratch for one call, which for zstd are 3 a decoded byte and 6,936 a stream: a wave of 64 MiB keeps
# within that down to streams of about 2 KiB.
MOST_SCRATCH = 384 << 20


class Room(NamedTuple):
    """The encoded chunks of a wave in host memory, one row each."""

    data: np.ndarray[Any, np.dtype[np.uint8]]
    starts: Integers
    sizes: Integers

    def row(self, i: int) -> memoryview:
        """The bytes of one chunk."""
        start = int(self.starts[i])
        return memoryview(self.data)[start : start + int(self.sizes[i])]  # type: ignore[arg-type]


def one_room(sources: list[Any], sizes: Integers, room: Any, base: int, device: GpuDevice) -> Room:
    """Where the rows lie in one host buffer: their addresses, with the buffer's own, or objects with their bytes. What
    lies elsewhere is brought together in page-locked memory, from which the device copies while the host goes on."""
    if room is not None and all(type(s) is int for s in sources):
        return Room(octets(room), np.array(sources, np.int64) - base, sizes)
    parts = [octets(memory_at(s, n) if type(s) is int else s) for s, n in zip(sources, sizes.tolist(), strict=True)]
    ends, total = np.cumsum(sizes), int(sizes.sum())
    data = device.pinned(total)
    if parts:
        np.concatenate(parts, out=data)
    return Room(data, ends - sizes, sizes)


class GpuWave:
    """One wave. `bad`: the rows that are left to the host. Decoded chunks lie at multiples of `stride`."""

    def __init__(self, device: GpuDevice, lane: GpuLane, here: Room, stride: int) -> None:
        self.device, self.lane, self.here, self.stride = device, lane, here, stride
        self.rows = len(here.sizes)
        self.bad: Bools = np.zeros(self.rows, bool)
        self._doubts: list[Callable[[], Integers]] = []  # each gives the rows that something found fault with
        self._areas = 0

    # ---- memory

    def area(self) -> Any:
        """Device memory for decoded chunks; two in turn, so that a step has one to read and one to write."""
        self._areas += 1
        return self.lane.area(f"chunks {self._areas % 2}", max(1, self.rows * self.stride))

    @cached_property
    def addresses(self) -> Integers:
        """The device address of each row's bytes, which are uploaded by one copy."""
        here = self.here
        if self.uploaded is not None:
            return self.device.address(self.uploaded) + here.starts - int(here.starts.min())
        pieces = [here.data[s : s + n] for s, n in zip(here.starts.tolist(), here.sizes.tolist(), strict=True)]
        return np.array(self.lane.send(*pieces), np.int64)

    @cached_property
    def uploaded(self) -> Any:
        """Device memory with all that lies between the first row and the last; None where little of it is rows."""
        here = self.here
        low, high = int(here.starts.min()), int((here.starts + here.sizes).max())
        if high - low > here.sizes.sum() * 1.02:
            return None
        area = self.lane.area("encoded", max(1, high - low))
        self.device.copy_in(self.device.address(area), here.data[low:high], self.lane)
        self.lane.hold(here.data)
        return area

    def _encoded(self) -> Area:
        """What the rows' bytes lie in on the device."""
        base = int(self.addresses.min())
        return Area(base, int((self.addresses + self.here.sizes).max()) - base)

    def _places(self, row: Integers, source: Integers) -> Integers:
        """Where bytes of these rows, at these places of the room, lie in `_encoded`."""
        moved = self.addresses - int(self.addresses.min()) - self.here.starts
        return source + (int(moved[0]) if (moved == moved[0]).all() else moved[row])

    def _chunks(self, area: Any) -> Rows:
        return Rows(self.device.address(area), area.nbytes, self.stride)

    # ---- what is queued

    def vouch(self, kind: str, starts: Integers, sizes: Integers, at_start: bool) -> tuple[Integers, Integers]:
        """Verify the checksum before or behind the payload of each row, which has these bytes of the room; where the
        payloads start, and their sizes."""
        source, payload = self._encoded(), np.maximum(sizes - CHECKSUM, 0)
        first = starts + (CHECKSUM if at_start else 0)
        stored = unsigned(self.here.data, starts if at_start else starts + payload, CHECKSUM)
        places = np.where(sizes < CHECKSUM, 0, self._places(np.arange(self.rows), first))
        table = columns.send(self.lane, places, payload)
        found = launches.checksums(self.device, self.lane, kind, table, int(payload.max()), source)
        self._doubts.append(lambda: np.flatnonzero((found() != stored) | (sizes < CHECKSUM)))
        return first, payload

    def decompress(self, table: Streams, dest: Any) -> None:
        """Decode the streams of one format, and verify the checksums of their contents."""
        device, nvcomp, lane = self.device, self.device.nvcomp, self.lane
        count, largest, total = len(table), int(table.capacity.max()), table.scratch_total
        scratch = nvcomp.temp_size(table.format, count, largest, total)
        if scratch > MOST_SCRATCH and count > 1:  # one half after the other
            self.decompress(table.where(slice(count // 2)), dest)
            self.decompress(table.where(slice(count // 2, None)), dest)
            return
        source, area = self._encoded(), Area(device.address(dest), dest.nbytes)
        at = self._places(table.row, table.source)
        rest = table.size, table.row * self.stride + table.offset, table.capacity
        if (alignment := nvcomp.alignment(table.format).input) > 1:
            starts, nbytes = table.aligned(alignment)
            aligned = lane.area("aligned " + table.format, nbytes + 16)
            sent = columns.send(lane, at, starts, *rest)
            there = Area(device.address(aligned), aligned.nbytes)
            launches.copy(device, lane, sent, int(table.size.max()), source, there)
            lane.hold(aligned)
            source, sent = there, sent.after(1)
        else:
            sent = columns.send(lane, at, *rest)
        temp, listed = lane.area("temp " + table.format, max(scratch, 1)), lane.area("streams", list_bytes(count))
        lane.hold(temp, listed)  # for a later call may need more, and get another
        launches.list_streams(device, lane, sent, source, area, listed)
        stream = int(getattr(lane.stream, "ptr", lane.stream))
        where = device.address(listed)
        nvcomp.decompress(table.format, count, where, largest, total, device.address(temp), scratch, stream)
        self._watch(table, where)
        if (table.checksum >= 0).any():
            found = launches.checksums(device, lane, CONTENTS[table.format], sent.after(2), largest, area)
            self._doubts.append(lambda: table.row[(table.checksum >= 0) & (found() != table.checksum)])

    def _watch(self, table: Streams, listed: int) -> None:
        """Bring down what the list of nvCOMP's, at this address, says of each stream."""
        count, part = len(table), results(len(table))
        host = self.device.pinned(part.stop - part.start)
        self.device.copy_out(listed + part.start, host, self.lane)
        self.lane.hold(host)

        def failed() -> Integers:
            actual, statuses = unpack_results(host, count)
            rows: Integers = table.row[(statuses != 0) | (actual != table.capacity)]
            return rows

        self._doubts.append(failed)

    def copy(self, pieces: Pieces, dest: Any) -> None:
        """Copy encoded bytes to offsets of `dest`."""
        if len(pieces):
            area = Area(self.device.address(dest), dest.nbytes)
            table = columns.send(self.lane, self._places(pieces.row, pieces.source), pieces.offset, pieces.size)
            launches.copy(self.device, self.lane, table, int(pieces.size.max()), self._encoded(), area)

    def copy_to_chunks(self, pieces: Pieces, dest: Any) -> None:
        """Copy encoded bytes to offsets of the chunks that they belong to."""
        self.copy(replace(pieces, offset=pieces.row * self.stride + pieces.offset), dest)

    def send(self, chunks: np.ndarray[Any, Any]) -> tuple[Any, Integers]:
        """Device memory with these chunks of the host's, (rows, bytes), and the offset of each; one copy."""
        area = self.lane.area("from host", max(1, chunks.nbytes))
        self.device.copy_in(self.device.address(area), chunks.reshape(-1), self.lane)
        self.lane.hold(chunks)
        return area, np.arange(len(chunks), dtype=np.int64) * chunks.shape[1]

    def put(self, rows: Integers, sent: Any, offsets: Integers, nbytes: int, dest: Any) -> None:
        """Copy what was sent to the places of these rows."""
        source, area = (Area(self.device.address(a), a.nbytes) for a in (sent, dest))
        table = columns.send(self.lane, offsets, rows * self.stride, 0 * rows + nbytes)
        launches.copy(self.device, self.lane, table, nbytes, source, area)

    @property
    def starts(self) -> Integers:
        """Where the chunks lie in an area."""
        return np.arange(self.rows, dtype=np.int64) * self.stride

    def put_in_order(self, layout: Layout, area: Any) -> Any:
        """Undo a filter; the area with the chunks as they were before it."""
        source, dest = area, self.area()
        areas = (Area(self.device.address(a), a.nbytes) for a in (source, dest))
        scatter.put_in_order(self.device, self.lane, layout, *areas)
        return dest

    def run(self, steps: list[Step], area: Any) -> Any:
        """Queue the steps on all chunks, which lie in `area`; the area where they lie in the end."""
        marks = 0
        if any(step.marks for step in steps):
            marks = self.device.address(self.lane.area("marks", 4 * self.rows))
            self.device.clear(marks, 4 * self.rows, self.lane)
        for step in steps:
            dest = area if step.in_place else self.area()
            step.run(self.device, self.lane, self.rows, self._chunks(area), self._chunks(dest), marks)
            area = dest
        if marks:
            host = self.device.pinned(4 * self.rows)
            self.device.copy_out(marks, host, self.lane)
            self.lane.hold(host)
            self._doubts.append(lambda: np.flatnonzero(host.view(np.uint32)))
        return area

    def settle(self) -> None:
        """Wait for what is queued, where something may have been found fault with."""
        if self._doubts:
            self.device.wait(self.lane)
            for rows in self._doubts:
                self.bad[rows()] = True
            self._doubts.clear()
