"""Waves of encoded chunks, the emulated decoder, and Blosc containers made by hand, for the tests of the GPU floor."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpuzarr.codecs.engines.gpu import GpuEngine
from gpuzarr.codecs.engines.gpu_wave import one_room
from gpuzarr.codecs.engines.nvcomp import list_bytes, results, unpack_results
from gpuzarr.codecs.engines.nvcomp_emulated import EmulatedNvcomp
from gpuzarr.codecs.engines.streams import BloscWave, Streams
from gpuzarr.devices.gpu import GpuDevice
from gpuzarr.devices.launches import Area
from gpuzarr.devices.scatter import put_in_order

Wave = tuple[np.ndarray, np.ndarray, np.ndarray]  # encoded bytes, starts, sizes


def wave(blobs: Sequence[bytes], gap: int = 0) -> Wave:
    """Blobs one behind another, `gap` bytes of rubbish between them; the last one ends the wave."""
    sizes = np.array([len(blob) for blob in blobs], np.int64)
    starts = np.cumsum(sizes + gap) - sizes
    return np.frombuffer(b"".join(b"\xa5" * gap + blob for blob in blobs), np.uint8), starts, sizes


def pack_list(sources: Any, sizes: Any, capacities: Any, destinations: Any) -> np.ndarray:
    """nvCOMP's list on the host, as bytes."""
    count = len(sizes)
    listed = np.zeros(list_bytes(count), np.uint8)
    listed[: 32 * count].view(np.uint64).reshape(4, count)[:] = sources, sizes, capacities, destinations
    listed[40 * count :] = 0xFF
    return listed


def decode(encoded: np.ndarray, streams: Streams, area: np.ndarray, pitch: int, nvcomp: Any = None) -> np.ndarray:
    """Decode streams into `area`, chunk i at i * pitch; gives which streams came out whole."""
    nvcomp = nvcomp or EmulatedNvcomp()
    source, offsets = encoded, streams.source
    if (alignment := nvcomp.alignment(streams.format).input) > 1:
        offsets, total = streams.aligned(alignment)
        room = np.zeros(total + alignment, np.uint8)
        source = room[-room.ctypes.data % alignment :]
        for start, size, place in zip(streams.source, streams.size, offsets, strict=True):
            source[place : place + size] = encoded[start : start + size]
    count, total = len(streams), streams.scratch_total
    table = pack_list(
        source.ctypes.data + offsets,
        streams.size,
        streams.capacity,
        area.ctypes.data + streams.row * pitch + streams.offset,
    )
    largest = int(streams.capacity.max(initial=0))
    temp = nvcomp.temp_size(streams.format, count, largest, total)
    nvcomp.decompress(streams.format, count, table.ctypes.data, largest, total, 0, temp, 0)
    actual, statuses = unpack_results(table[results(count)], count)
    return (statuses == 0) & (actual == streams.capacity)


def decode_blosc(
    encoded: np.ndarray, split: BloscWave, rows: int, nbytes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the containers hold, by the tables alone: (rows, nbytes) bytes, and which rows came out whole; then the
    bytes before the filter is undone."""
    area = np.full((rows, nbytes), 0x5A, np.uint8)
    whole = ~split.unfit
    for streams in split.streams:
        good = decode(encoded, streams, area, nbytes)
        whole[streams.row[~good]] = False
    for pieces in (split.stored, split.plain):
        for source, size, row, offset in zip(pieces.source, pieces.size, pieces.row, pieces.offset, strict=True):
            area[row, offset : offset + size] = encoded[source : source + size]
    out = area.copy()
    for row, (size, typesize, kind) in enumerate(zip(*(column.tolist() for column in split.filters), strict=True)):
        for at in range(0, nbytes, size):
            out[row, at : at + size] = unfilter(area[row, at : at + size], typesize, kind)
    return out, whole, area


def by_gpu(engine: GpuEngine, device: GpuDevice, blobs: list[bytes]) -> list[bytes]:
    """Chunks as an engine decodes them, in one wave."""
    found: list[bytes] = []

    def task(_: int, lane: Any) -> None:
        room = one_room(blobs, np.array([len(b) for b in blobs]), None, 0, device)
        area, offsets, layout = engine.decode(room, str, lane)
        if layout is not None:
            source, area = area, device.allocate(area.nbytes)
            areas = (Area(device.address(a), a.nbytes) for a in (source, area))
            put_in_order(device, lane, layout, *areas)
        device.wait(lane)
        host, nbytes = device.download(area), engine.chain.nbytes
        assert nbytes is not None
        found.extend(host[at : at + nbytes].tobytes() for at in offsets.tolist())

    device.run(task, 1)
    return found


def unfilter(block: np.ndarray, typesize: int, kind: int) -> np.ndarray:
    """Undo the byte (1) or bit (2) shuffle of a block."""
    count = len(block) // typesize
    out = block.copy()
    head = block[: count * typesize]
    if kind == 1:
        out[: count * typesize] = head.reshape(typesize, count).T.reshape(-1)
    elif kind == 2 and count and count % 8 == 0:
        bits = np.unpackbits(head.reshape(typesize * 8, count // 8), axis=1, bitorder="little")
        out[: count * typesize] = np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").reshape(-1)
    return out


def apply_filter(block: np.ndarray, typesize: int, kind: int) -> np.ndarray:
    """The byte (1) or bit (2) shuffle of a block."""
    count = len(block) // typesize
    out = block.copy()
    head = block[: count * typesize].reshape(count, typesize)
    if kind == 1:
        out[: count * typesize] = head.T.reshape(-1)
    elif kind == 2 and count and count % 8 == 0:
        bits = np.unpackbits(head, axis=1, bitorder="little")
        out[: count * typesize] = np.packbits(np.ascontiguousarray(bits.T), axis=1, bitorder="little").reshape(-1)
    return out


def container(
    data: bytes,
    code: int,
    encode: Callable[[bytes], bytes],
    typesize: int,
    blocksize: int,
    kind: int,
    split: bool,
    order: Sequence[int] | None = None,
) -> bytes:
    """A Blosc container written by hand; `order` is the order in which its blocks lie."""
    flags = (0, 1, 4)[kind] | (0 if split else 0x10) | code << 5
    count = -(-len(data) // blocksize)
    blocks = []
    for b in range(count):
        plain = np.frombuffer(data[b * blocksize : (b + 1) * blocksize], np.uint8)
        filtered = apply_filter(plain, typesize, kind).tobytes()
        whole = len(plain) == blocksize
        parts = typesize if split and typesize <= 16 and blocksize // typesize >= 128 and whole else 1
        size, block = len(plain) // parts, b""
        for p in range(parts):
            part = filtered[p * size : (p + 1) * size]
            packed = encode(part)
            packed = part if len(packed) >= size else packed
            block += struct.pack("<i", len(packed)) + packed
        blocks.append(block)
    starts, body, place = [0] * count, b"", 16 + 4 * count
    for b in order or range(count):
        starts[b] = place + len(body)
        body += blocks[b]
    header = struct.pack("<BBBBiii", 2, 1, flags, typesize, len(data), blocksize, place + len(body))
    return header + struct.pack(f"<{count}i", *starts) + body


def snappy(data: bytes) -> bytes:
    """Raw Snappy, with literals of all lengths and copies of all three kinds."""
    size, out = len(data), bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    seen: dict[bytes, int] = {}
    at = start = 0
    while at + 4 <= len(data):
        word = data[at : at + 4]
        before, seen[word] = seen.get(word), at
        if before is None:
            at += 1
            continue
        _literal(out, data[start:at])
        length = 4
        while length < 64 and at + length < len(data) and data[before + length] == data[at + length]:
            length += 1
        distance = at - before
        if length <= 11 and distance < 1 << 11:
            out += bytes([1 | length - 4 << 2 | distance >> 8 << 5, distance & 0xFF])
        elif distance < 1 << 16:
            out += bytes([2 | length - 1 << 2]) + distance.to_bytes(2, "little")
        else:
            out += bytes([3 | length - 1 << 2]) + distance.to_bytes(4, "little")
        at += length
        start = at
    _literal(out, data[start:])
    return bytes(out)


def _literal(out: bytearray, piece: bytes) -> None:
    if not piece:
        return
    last = len(piece) - 1
    if last < 60:
        out.append(last << 2)
    else:
        width = (last.bit_length() + 7) // 8
        out += bytes([59 + width << 2]) + last.to_bytes(width, "little")
    out += piece


def contents(kind: str, nbytes: int, seed: int) -> bytes:
    """Bytes of a kind: "zeros", "walk" (compresses well, by shuffles too), "runs", "noise"."""
    rng = np.random.default_rng(seed)
    if kind == "zeros":
        return bytes(nbytes)
    if kind == "walk":
        return np.cumsum(rng.integers(-3, 4, nbytes // 4 + 1)).astype("<i4").tobytes()[:nbytes]
    if kind == "runs":
        return np.repeat(rng.integers(0, 256, nbytes // 7 + 1, np.uint8), 7).tobytes()[:nbytes]
    return rng.bytes(nbytes)


def deflate(data: bytes) -> bytes:
    """A zlib stream."""
    return zlib.compress(data, 6)
