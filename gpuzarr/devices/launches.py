"""The kernels as functions: tables in, one launch (or a few) queued on the lane.

Rows are int64 columns of the same length; offsets are bytes from the start of an area. Each function sends its table
to the device and returns at once. What it needs of alignment, it says; what lies outside an area is refused by the
kernel, and `lane.settle` raises for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpuzarr.devices import kernels
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.numpy_kernels import CRC_SEGMENT

Array = np.ndarray[Any, Any]

DELTA_SEGMENT = 256  # numbers that one thread adds up


class Area(NamedTuple):
    """A stretch of device memory that offsets count from."""

    address: int
    nbytes: int


def copy(
    device: GpuDevice, lane: GpuLane, sources: Array, dests: Array, sizes: Array, source: Area, dest: Area
) -> None:
    """Copy ranges. Any alignment will do; destinations on 16 bytes are quickest."""
    _rows(device, lane, "copy_rows", np.array([sources, dests, sizes], np.uint64), source, dest)


def unfilter(
    device: GpuDevice,
    lane: GpuLane,
    sources: Array,
    dests: Array,
    sizes: Array,
    typesizes: Array,
    filters: Array,
    source: Area,
    dest: Area,
) -> None:
    """Undo Blosc's shuffle (filter 1) or bit shuffle (2) of blocks, or copy them (0); with a chunk for a block and
    filter 1, numcodecs' Shuffle. Any alignment will do; destinations on 16 bytes are quickest."""
    table = np.array([sources, dests, sizes, typesizes, filters], np.uint64)
    _rows(device, lane, "unfilter", table, source, dest)


def _rows(device: GpuDevice, lane: GpuLane, kernel: str, table: Array, source: Area, dest: Area) -> None:
    rows = table.shape[1]
    if rows:
        span = kernels.span(int(table[2].max()))
        (at,) = lane.send(table)
        device.launch(kernel, rows * span, (span, at, rows, *source, *dest), lane)


def byteswap(device: GpuDevice, lane: GpuLane, width: int, source: Area, dest: int) -> None:
    """Turn the bytes of all numbers of 2, 4 or 8 bytes in an area round, to address `dest`, which may be the area's."""
    device.launch("byteswap", -(-source.nbytes // 16), (source.nbytes, width, source.address, dest), lane)


def crc32c(device: GpuDevice, lane: GpuLane, starts: Array, sizes: Array, source: Area) -> int:
    """CRC-32C of ranges; the device address of the checksums, uint32, good until the wave is over."""
    rows = starts.size
    table, zeros = np.array([starts, sizes], np.uint64), np.zeros(rows, np.uint32)
    at, sums = lane.send(table, zeros)
    if rows:
        span = -(-int(table[1].max()) // CRC_SEGMENT) or 1
        device.launch("crc32c_rows", rows * span, (span, at, rows, *source, sums), lane)
    return sums


def sums_on_gpu(encoded: np.dtype[Any], decoded: np.dtype[Any]) -> bool:
    """Whether `delta` gives what numcodecs' Delta gives for these types (its `astype` and its `dtype`). Between the
    64-bit integers and others of another sign, NumPy adds in floats."""
    if not encoded.isnative or not decoded.isnative:
        return False
    if encoded.kind == "f":
        return encoded == decoded and encoded.itemsize in (4, 8)
    if encoded.kind not in "iu" or decoded.kind not in "iu":
        return False
    return np.result_type(encoded, decoded).kind != "f"


def delta(
    device: GpuDevice,
    lane: GpuLane,
    rows: int,
    count: int,
    encoded: np.dtype[Any],
    decoded: np.dtype[Any],
    source: Area,
    dest: Area,
) -> None:
    """Running sums along `rows` chunks of `count` numbers, one chunk behind the other on both sides; both aligned to
    their numbers. ValueError for types that `sums_on_gpu` has not."""
    if not sums_on_gpu(encoded, decoded):
        raise ValueError(f"delta from {encoded} to {decoded} is not for the GPU")
    if encoded.kind == "f":
        device.launch("delta_floats", rows if count else 0, (count, encoded.itemsize, *source, *dest), lane)
        return
    segments = -(-count // DELTA_SEGMENT)
    sums = lane.area("delta sums", rows * segments * 8)
    cut = (count, DELTA_SEGMENT, segments)
    there, here = (d.itemsize + (16 if d.kind == "i" else 0) for d in (encoded, decoded))
    device.launch("delta_sums", rows * segments, (*cut, *source, there, sums), lane)
    device.launch("delta_starts", rows if count else 0, (segments, sums), lane)
    device.launch("delta_running", rows * segments, (*cut, *source, there, sums, *dest, here), lane)
