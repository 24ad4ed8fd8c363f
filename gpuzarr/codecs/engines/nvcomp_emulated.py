"""nvCOMP's calls on host memory, with the CPU codecs behind them: for the emulated device.

Addresses are host addresses. Each stream gets a status and an actual size as nvCOMP reports them: a stream that
decodes to less than its capacity is a success with a smaller size; one that decodes to more, or is damaged, has
status 12. Checksums of the contents are not looked at, since nothing says that nvCOMP does. The work goes to
`queue(stream, work)`; without one it is done at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from ctypes import memmove, memset
from typing import Any

import numpy as np

from gpuzarr.codecs.engines import cpu
from gpuzarr.codecs.engines.memory import memory_at, octets, writable_address
from gpuzarr.codecs.engines.nvcomp import FORMATS, Alignments, status_name
from gpuzarr.codecs.engines.snappy import decode_snappy
from gpuzarr.errors import CorruptChunkError, GpuError

CANNOT_DECOMPRESS = 12
_DEFLATE_ALIGNMENT = 4
_ZSTD_BLOCK = 128 << 10
_ZSTD_START = b"\x28\xb5\x2f\xfd"
_ZSTD_CHECKSUM = 4  # in a frame's descriptor, its fifth byte

Decode = Callable[[int, int, int, int], int]  # (source, size, destination, capacity) -> actual size


class EmulatedNvcomp:
    """As `Nvcomp`. Faults: the streams at these places of every batch fail, or come out a byte short."""

    def __init__(
        self,
        bad_status_rows: Iterable[int] = (),
        wrong_size_rows: Iterable[int] = (),
        queue: Callable[[int, Callable[[], None]], None] | None = None,
    ) -> None:
        self.version = (6, 0, 0)
        self._queue = queue or (lambda stream, work: work())
        self.bad_status_rows, self.wrong_size_rows = frozenset(bad_status_rows), frozenset(wrong_size_rows)

    def status_name(self, status: int) -> str:
        """What a status says."""
        return status_name(status)

    def alignment(self, format: str) -> Alignments:
        """What nvCOMP 6.0 says."""
        if format not in FORMATS:
            raise KeyError(format)
        return Alignments(_DEFLATE_ALIGNMENT if format == "deflate" else 1, 1, 8 if format == "zstd" else 1)

    def temp_size(self, format: str, chunks: int, largest: int, total: int, stream: int = 0) -> int:
        """What nvCOMP 6.0 says: three times the output and 6,936 bytes a block for zstd, nothing for others."""
        if format not in FORMATS:
            raise KeyError(format)
        blocks = max(chunks, -(-total // _ZSTD_BLOCK))
        return 3 * total + 6936 * blocks if format == "zstd" and chunks else 0

    def decompress(
        self,
        format: str,
        count: int,
        listed: int,
        largest: int,
        total: int,
        temp: int,
        temp_bytes: int,
        stream: int,
    ) -> None:
        """Decode `count` streams; `listed` is the address of their list (`nvcomp.list_bytes`)."""
        if count:
            self._queue(stream, lambda: self._decompress(format, count, listed, largest, total, temp_bytes))

    def _decompress(self, format: str, count: int, listed: int, largest: int, total: int, temp_bytes: int) -> None:
        columns = np.frombuffer(memory_at(listed, 40 * count, writable=True), np.uint64).reshape(5, count)
        statuses = np.frombuffer(memory_at(listed + 40 * count, 4 * count, writable=True), np.int32)
        self._check(format, columns, largest, total, temp_bytes)
        decode = _DECODERS[format]
        for i, (source, size, capacity, destination) in enumerate(columns[:4].T.tolist()):
            try:
                actual = decode(source, size, destination, capacity)
            except (CorruptChunkError, zlib.error):
                actual = -1
            columns[4, i], statuses[i] = (0, CANNOT_DECOMPRESS) if actual < 0 else (actual, 0)
        self._injure(columns, statuses, count)

    def _check(self, format: str, columns: Any, largest: int, total: int, temp_bytes: int) -> None:
        """Raise where a real GPU would be led astray: sizes, scratch or addresses other than agreed."""
        sources, capacities = columns[0], columns[2]
        if int(capacities.max()) > largest or int(capacities.sum()) > total:
            raise GpuError(f"nvCOMP: {format}: capacities of up to {capacities.max()} and {capacities.sum()} in all, "
                           f"told {largest} and {total}")  # fmt: skip
        if temp_bytes < self.temp_size(format, columns.shape[1], largest, total):
            raise GpuError(f"nvCOMP: {format}: {temp_bytes} bytes of scratch are too few")
        if (sources % np.uint64(self.alignment(format).input)).any():
            raise GpuError(f"nvCOMP: {format}: {status_name(17)} (status 17)")

    def _injure(self, columns: Any, statuses: Any, count: int) -> None:
        for i in self.bad_status_rows:
            if i < count:
                memset(int(columns[3, i]), 0xA5, int(columns[2, i]))
                columns[4, i], statuses[i] = 0, CANNOT_DECOMPRESS
        for i in self.wrong_size_rows:
            if i < count and columns[4, i]:
                columns[4, i] -= np.uint64(1)


def _zstd(source: int, size: int, destination: int, capacity: int) -> int:
    frame = memory_at(source, size)
    if size > 9 and frame[:4] == _ZSTD_START and frame[4] & _ZSTD_CHECKSUM:  # the same frame without its checksum
        held = bytearray(frame[:-4])
        held[4] ^= _ZSTD_CHECKSUM
        return _zstd(writable_address(held), len(held), destination, capacity)
    try:
        cpu.zstd().decoder(capacity)(source, size, destination)
    except CorruptChunkError:
        decoded = octets(cpu.zstd().decode(frame, capacity))
        memmove(destination, decoded.tobytes(), len(decoded))
        return len(decoded)
    return capacity


def _lz4(source: int, size: int, destination: int, capacity: int) -> int:
    try:
        cpu.lz4().decode_block(source, size, destination, capacity)
    except CorruptChunkError as error:
        # The library's own code where it failed, the size where that is just another one.
        return error.got if isinstance(error.got, int) else -1
    return capacity


def _deflate(source: int, size: int, destination: int, capacity: int) -> int:
    stream = zlib.decompressobj(-15)
    decoded = stream.decompress(memory_at(source, size), capacity + 1)
    if not stream.eof or len(decoded) > capacity or stream.unused_data:
        return -1
    memmove(destination, decoded, len(decoded))
    return len(decoded)


def _gzip(source: int, size: int, destination: int, capacity: int) -> int:
    head = _gzip_header(bytes(memory_at(source, size)))
    return _deflate(source + head, size - head - 8, destination, capacity) if 0 < head <= size - 8 else -1


def _gzip_header(member: bytes) -> int:
    """Bytes of a member's header (RFC 1952), 0 where there is none."""
    if len(member) < 18 or not member.startswith(b"\x1f\x8b\x08"):
        return 0
    flags, at = member[3], 10
    if flags & 4:  # an extra field
        at += 2 + int.from_bytes(member[at : at + 2], "little")
    for flag in (8, 16):  # a name, a comment
        if flags & flag:
            at = member.find(b"\0", at) + 1 or len(member)
    return at + (flags & 2)  # a checksum of the header


def _snappy(source: int, size: int, destination: int, capacity: int) -> int:
    decoded = decode_snappy(bytes(memory_at(source, size)), capacity)
    memmove(destination, decoded, len(decoded))
    return len(decoded)


_DECODERS: dict[str, Decode] = {"zstd": _zstd, "lz4": _lz4, "gzip": _gzip, "deflate": _deflate, "snappy": _snappy}
