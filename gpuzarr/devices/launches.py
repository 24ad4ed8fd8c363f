"""The kernels as functions: tables in, one launch (or a few) queued on the lane.

Tables are sent beforehand (`columns`); their offsets are bytes from the start of an area. Each function returns at
once. What it needs of alignment, it says; what lies outside an area is refused by the
kernel, and `lane.settle` raises for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.devices import kernels
from gpuzarr.devices.columns import Table
from gpuzarr.devices.gpu import DeviceArray, GpuDevice, GpuLane
from gpuzarr.devices.numpy_checksums import SEGMENT, adler32
from gpuzarr.devices.numpy_numbers import type_code

Array = np.ndarray[Any, Any]

DELTA_SEGMENT = 256  # numbers that one thread adds up


class Area(NamedTuple):
    """A stretch of device memory that offsets count from."""

    address: int
    nbytes: int


class Rows(NamedTuple):
    """Chunks in an area, each `stride` bytes behind the one before."""

    address: int
    nbytes: int
    stride: int


def copy(device: GpuDevice, lane: GpuLane, table: Table, largest: int, source: Area, dest: Area) -> None:
    """Copy ranges: columns of source offset, destination offset, size, which is at most `largest`. Any alignment will
    do; destinations on 16 bytes are quickest."""
    span = kernels.span(largest)
    device.launch("copy_rows", table.rows * span, (span, *table, *source, *dest), lane)


def list_streams(
    device: GpuDevice, lane: GpuLane, table: Table, source: Area, dest: Area, streams: DeviceArray
) -> None:
    """Make nvCOMP's list (`codecs.engines.nvcomp`) of streams: columns of source offset, size, destination offset,
    capacity."""
    device.launch("list_streams", table.rows, (*table, *source, *dest, streams), lane)


def byteswap(device: GpuDevice, lane: GpuLane, width: int, source: Area, dest: int) -> None:
    """Turn the bytes of all numbers of 2, 4 or 8 bytes in an area round, to address `dest`, which may be the area's."""
    device.launch("byteswap", -(-source.nbytes // 16), (source.nbytes, width, source.address, dest), lane)


# ---- checksums

# Kernel, type of a sum, sums a range, and bytes that a thread takes (0 for all of a range).
_CHECKSUMS = {
    "crc32c": ("crc32c_rows", np.uint32, 1, SEGMENT),
    "crc32": ("crc32_rows", np.uint32, 1, SEGMENT),
    "adler32": ("adler32_rows", np.uint64, 2, SEGMENT),
    "xxh64": ("xxh64_rows", np.uint64, 1, 0),
}
CHECKSUMS = frozenset(_CHECKSUMS)


def checksums(
    device: GpuDevice, lane: GpuLane, kind: str, table: Table, largest: int, source: Area
) -> Callable[[], Array]:
    """Checksums ("crc32c", "crc32", "adler32" or "xxh64") of ranges: columns of offset and size, which is at most
    `largest`. What is returned gives them (their low 32 bits, as int64) when the lane has been waited for."""
    kernel, dtype, width, segment = _CHECKSUMS[kind]
    nbytes = table.rows * width * np.dtype(dtype).itemsize
    sums = lane.area("checksums", nbytes)
    span = -(-largest // segment) or 1 if segment else 1
    if segment:
        device.clear(device.address(sums), nbytes, lane)
    device.launch(kernel, table.rows * span, (*((span,) if segment else ()), *table, *source, sums), lane)
    found = device.pinned(nbytes)
    device.copy_out(device.address(sums), found, lane)
    lane.hold(sums, found)  # even where the caller fails before it asks

    def low() -> Array:
        whole = found.view(dtype)
        whole = adler32(whole.reshape(-1, 2)) if kind == "adler32" else whole
        return whole.astype(np.int64) & 0xFFFFFFFF

    return low


# ---- numbers


def convert(
    device: GpuDevice,
    lane: GpuLane,
    rows: int,
    count: int,
    encoded: np.dtype[Any],
    decoded: np.dtype[Any],
    source: Rows,
    dest: Rows,
    spoilt: int,
    *,
    arithmetic: int = 0,
    scale: int = 0,
    offset: int = 0,
    rule: int = 0,
    pairs: Array | None = None,
) -> None:
    """Numbers of one type as another (`kernels/convert.cu` says what the rest means; `pairs` is its map)."""
    span = kernels.span(count * max(encoded.itemsize, decoded.itemsize))
    map, length = 0, 0
    if pairs is not None and pairs.size:
        (map,), length = lane.send(pairs), pairs.shape[1]
    there, here = type_code(encoded), type_code(decoded)
    args = (span, rows, count, *source, there, arithmetic, scale, offset, rule, map, length, *dest, here, spoilt)
    device.launch("convert_rows", rows * span if count else 0, args, lane)


def unpack(
    device: GpuDevice,
    lane: GpuLane,
    rows: int,
    count: int,
    decoded: np.dtype[Any],
    source: Rows,
    dest: Rows,
    spoilt: int,
    *,
    nbytes: int,
    width: int,
    first: int = 0,
    head: int = 0,
    padding_at: int | None = None,
    padding: int = 0,
    backwards: bool = False,
) -> None:
    """Numbers of `width` bits each, packed into `nbytes` bytes a chunk (`kernels/packbits.cu`), as `decoded`."""
    span = kernels.span(count * decoded.itemsize)
    at = nbytes if padding_at is None else padding_at
    layout = (nbytes, head, at, padding, width, first, int(backwards))
    args = (span, rows, count, *source, *layout, *dest, type_code(decoded), spoilt)
    device.launch("unpack_rows", rows * span, args, lane)


def sums_on_gpu(encoded: np.dtype[Any], decoded: np.dtype[Any]) -> bool:
    """Whether `delta` gives what numcodecs' Delta gives for these types (its `astype` and its `dtype`). Between the
    64-bit integers and others of another sign, NumPy adds in floats."""
    if encoded.kind == "f":
        return encoded == decoded and type_code(encoded) is not None
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
    source: Rows,
    dest: Rows,
    spoilt: int,
) -> None:
    """Running sums along `rows` chunks of `count` numbers, aligned on both sides. ValueError for types that
    `sums_on_gpu` has not."""
    if not sums_on_gpu(encoded, decoded):
        raise ValueError(f"delta from {encoded} to {decoded} is not for the GPU")
    there, here = type_code(encoded), type_code(decoded)
    if encoded.kind == "f":
        device.launch("delta_floats", rows if count else 0, (count, there, *source, *dest, spoilt), lane)
        return
    segments = -(-count // DELTA_SEGMENT)
    sums = lane.area("delta sums", rows * segments * 8)
    cut = (count, DELTA_SEGMENT, segments)
    device.launch("delta_sums", rows * segments, (*cut, *source, there, sums), lane)
    device.launch("delta_starts", rows if count else 0, (segments, sums), lane)
    device.launch("delta_running", rows * segments, (*cut, *source, there, sums, *dest, here), lane)
