"""How a chain runs on a GPU: the route, and the decoding of a wave.

    checksums   on the host, before anything else
    streams     taken apart and checked on the host (`streams`), one upload a wave, one nvCOMP call a format
    filters     Blosc's and numcodecs' shuffle by one launch (`unfilter`)
    elements    bytes in another order are swapped, axes in another order are put right when the chunk is placed

What has no GPU form decodes on the host and is uploaded with the wave; so does a chunk whose streams do not pass the
checks, or whose decoding nvCOMP reports as failed: the host then decodes it, or says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import BytesBytesCodec
from gpuzarr.codecs.engines import streams
from gpuzarr.codecs.engines.memory import memory_at, octets
from gpuzarr.codecs.engines.nvcomp import pack_table, results, table_length, unpack_results
from gpuzarr.codecs.engines.nvcomp_emulated import EmulatedNvcomp
from gpuzarr.codecs.engines.streams import BloscWave, Streams
from gpuzarr.codecs.engines.streams_table import Pieces
from gpuzarr.codecs.transpose import TransposeCodec
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.kernels import span
from gpuzarr.errors import CorruptChunkError

Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Names: TypeAlias = Callable[[int], str]

SPLITS = {"zstd": streams.split_zstd, "gzip": streams.split_gzip, "lz4": streams.split_lz4, "zlib": streams.split_zlib}
CHECKSUMS = ("crc32c",)
SHUFFLE = 1  # filter of `unfilter`


class Step(NamedTuple):
    """One codec of a route, in the order of decoding."""

    codec: str
    place: str  # "gpu" or "cpu"
    why: str  # a word on it, where it is on the cpu


class Decoded(NamedTuple):
    """Decoded chunks in device memory: native elements, axes in the order in which they are stored."""

    area: Any  # device array, uint8
    offsets: Integers  # of each row's chunk, bytes


class Room(NamedTuple):
    """The encoded chunks of a wave in host memory, one row each."""

    data: np.ndarray[Any, np.dtype[np.uint8]]
    starts: Integers
    sizes: Integers

    def row(self, i: int) -> memoryview:
        """The bytes of one chunk."""
        start = int(self.starts[i])
        return memoryview(self.data)[start : start + int(self.sizes[i])]  # type: ignore[arg-type]


class GpuEngine:
    """A chain settled for a device. `order` is the order of axes in which chunks are stored."""

    def __init__(self, chain: CodecChain, device: GpuDevice) -> None:
        self.chain, self.device = chain, device
        if device.nvcomp is None:
            device.nvcomp = _nvcomp(device)
        rest = list(reversed(chain.bytes_codecs))
        self.checks: list[BytesBytesCodec] = []
        while rest and rest[0].name in CHECKSUMS:
            self.checks.append(rest.pop(0))
        self.format = _format(rest[0]) if rest else "plain"
        inner = rest[1:]
        self.shuffled = 0  # bytes of an element that numcodecs' shuffle spread out; 0 for no shuffle
        if inner and inner[0].name == "numcodecs.shuffle" and self.format in SPLITS:
            self.shuffled = int(inner.pop(0).elementsize)  # type: ignore[attr-defined]
        order = _order(chain)
        self.why = self._obstacle(inner, order)
        if self.why:
            self.format = "host"
        self.order = tuple(range(len(chain.spec.shape))) if self.why or order is None else order
        nbytes = chain.nbytes or 0
        self.stride = -(-nbytes // 256) * 256

    def _obstacle(self, inner: list[Any], order: tuple[int, ...] | None) -> str:
        """Why the chain cannot run on the GPU; "" where it can."""
        if self.chain.nbytes is None:
            return "elements vary in length"
        if self.format == "host":
            return "this compressor has no GPU form"
        if inner:
            return f"no GPU form of {inner[0].name}"
        if order is None:
            names = [c.name for c in self.chain.array_codecs if not isinstance(c, TransposeCodec)]
            return f"no GPU form of {names[0]}"
        if not _native(self.chain):
            return "bytes in another order"
        return ""

    @property
    def trusted(self) -> bool:
        """Whether a checksum has vouched for the streams before they are looked at."""
        return bool(self.checks)

    @property
    def route(self) -> list[Step]:
        """Where each codec decodes, outermost first."""
        names = [codec.name for codec in reversed(self.chain.codecs)]
        if self.why or (self.format in ("gzip", "zlib") and not self.trusted):
            return [Step(name, "cpu", self.why or f"{self.format}'s checksum is verified there") for name in names]
        return [Step(n, "cpu" if n in CHECKSUMS else "gpu", "a checksum" if n in CHECKSUMS else "") for n in names]

    # ---- one wave

    def decode(
        self,
        sources: list[Any],
        sizes: list[int],
        room: Any,
        base: int,
        name: Names,
        lane: GpuLane,
        by_host: bool = False,
    ) -> Decoded:
        """Decode the chunks of a wave; `by_host`, on the host whatever the route says. Raises CorruptChunkError,
        whose key `name` of the row says, and GpuMemoryError."""
        rows = len(sources)
        here = _room(sources, sizes, room, base)
        area = lane.area("decoded", max(1, rows * self.stride))
        offsets = np.arange(rows, dtype=np.int64) * self.stride
        if self.format != "host":
            here = self._checked(here, name)
        if self.format == "host" or by_host:
            self._on_host(np.arange(rows), here, area, name, lane)
            return Decoded(area, offsets)
        if self.format == "plain":
            self._right_size(here, name)
            addresses = self._upload(here, lane)
            self._copy(_whole(here, offsets), addresses, here, area, lane)
            return Decoded(area, offsets)
        left = self._streams(here, area, lane)
        if len(left):
            self._on_host(left, here, area, name, lane)
        return Decoded(area, offsets)

    def _checked(self, here: Room, name: Names) -> Room:
        """The wave without its checksums, which hold."""
        for codec in self.checks:
            sizes = here.sizes.copy()
            for i in range(len(sizes)):
                try:
                    payload = codec.strip(here.row(i))
                except CorruptChunkError as error:
                    raise error.at(name(i)) from None
                sizes[i] = memoryview(payload).nbytes  # type: ignore[arg-type]
            here = Room(here.data, here.starts, sizes)
        return here

    def _right_size(self, here: Room, name: Names) -> None:
        wrong = np.flatnonzero(here.sizes != self.chain.nbytes)
        if wrong.size:
            i = int(wrong[0])
            raise CorruptChunkError(
                "wrong size", key=name(i), codec="bytes", expected=self.chain.nbytes, got=int(here.sizes[i])
            )

    def _upload(self, here: Room, lane: GpuLane) -> Integers:
        """The device address of each row's bytes; one copy."""
        low, high = int(here.starts.min()), int((here.starts + here.sizes).max())
        if high - low <= here.sizes.sum() * 1.02:
            area = lane.area("encoded", high - low)
            self.device.copy_in(self.device.address(area), here.data[low:high], lane)
            return self.device.address(area) + here.starts - low
        pieces = [here.data[s : s + n] for s, n in zip(here.starts.tolist(), here.sizes.tolist(), strict=True)]
        return np.array(lane.send(*pieces), np.int64)

    def _streams(self, here: Room, area: Any, lane: GpuLane) -> Integers:
        """Decode what can be decoded here; the rows that are left to the host."""
        nbytes = self.chain.nbytes
        assert nbytes is not None
        wave: BloscWave | None = None
        if self.format == "blosc":
            wave = streams.split_blosc(here.data, here.starts, here.sizes, nbytes, trusted=self.trusted)
            tables, unfit, filtered = wave.streams, wave.unfit, wave.filtered
        else:
            table, unfit = SPLITS[self.format](here.data, here.starts, here.sizes, nbytes, trusted=self.trusted)
            tables, filtered = (table,), self.shuffled > 1
        if not self.trusted:  # checksums of the decoded bytes are verified by the host's decoders only
            for table in tables:
                unfit[table.row[table.checksum >= 0]] = True
        tables = tuple(table.where(~unfit[table.row]) for table in tables)
        if unfit.all():
            return np.flatnonzero(unfit)
        addresses = self._upload(here, lane)
        staging = lane.area("staging", area.nbytes) if filtered else area
        found = [self._decompress(table, addresses, here, staging, lane) for table in tables if len(table)]
        if wave is not None:
            self._copy(_shifted(wave.stored, self.stride), addresses, here, staging, lane)
            self._copy(_shifted(wave.plain, self.stride), addresses, here, area, lane)
            if filtered:
                self._unfilter(wave.blocks, staging, area, lane)
        elif filtered:
            rows = np.flatnonzero(~unfit)
            ones = np.ones(len(rows), np.int64)
            whole = streams.Blocks(rows, 0 * ones, nbytes * ones, self.shuffled * ones, SHUFFLE * ones)
            self._unfilter(whole, staging, area, lane)
        self.device.wait(lane)  # the one check of a wave
        bad = unfit.copy()
        for table, host in found:
            actual, statuses = unpack_results(host, len(table))
            bad[table.row[(statuses != 0) | (actual != table.capacity)]] = True
        return np.flatnonzero(bad)

    def _decompress(
        self, table: Streams, addresses: Integers, here: Room, dest: Any, lane: GpuLane
    ) -> tuple[Streams, np.ndarray[Any, Any]]:
        """Queue the decoding of the streams of one format; the table, and host memory for its results."""
        device, nvcomp = self.device, self.device.nvcomp
        sources = addresses[table.row] + (table.source - here.starts[table.row])
        alignment = nvcomp.alignment(table.format).input
        if alignment > 1:
            starts, total = table.aligned(alignment)
            aligned = lane.area("aligned " + table.format, total + 16)
            self._copy(Pieces(table.source, table.size, table.row, starts), addresses, here, aligned, lane)
            sources = device.address(aligned) + starts
        count, largest, total = len(table), int(table.capacity.max()), table.scratch_total
        scratch = nvcomp.temp_size(table.format, count, largest, total)
        temp = lane.area("temp " + table.format, max(scratch, 1))
        places = device.address(dest) + table.row * self.stride + table.offset
        packed = pack_table(sources, table.size, table.capacity, places)
        (where,) = lane.send(packed)
        nvcomp.decompress(table.format, count, where, largest, total, device.address(temp), scratch, _pointer(lane))
        part = results(count)
        host = device.pinned(8 * (table_length(count) - part.start))
        device.copy_out(where + 8 * part.start, host, lane)
        return table, host.view(np.uint64)

    def _copy(self, pieces: Pieces, addresses: Integers, here: Room, dest: Any, lane: GpuLane) -> None:
        """Queue copies of encoded bytes to offsets of `dest`; one launch."""
        rows = len(pieces)
        if not rows:
            return
        source = addresses[pieces.row] + (pieces.source - here.starts[pieces.row])
        base = int(addresses.min())
        extent = int((addresses + here.sizes).max()) - base
        table = np.stack([source - base, pieces.offset, pieces.size]).astype(np.uint64)
        (where,) = lane.send(table)
        width = span(int(pieces.size.max()))
        self.device.launch("copy_rows", rows * width, (width, where, rows, base, extent, dest, dest.nbytes), lane)

    def _unfilter(self, blocks: Any, staging: Any, area: Any, lane: GpuLane) -> None:
        rows = len(blocks)
        if not rows:
            return
        at = blocks.row * self.stride + blocks.offset
        table = np.stack([at, at, blocks.size, blocks.typesize, blocks.filter]).astype(np.uint64)
        (where,) = lane.send(table)
        width = span(int(blocks.size.max()))
        arguments = (width, where, rows, staging, staging.nbytes, area, area.nbytes)
        self.device.launch("unfilter", rows * width, arguments, lane)

    def _on_host(self, rows: Integers, here: Room, area: Any, name: Names, lane: GpuLane) -> None:
        """Decode rows on the host, and put them in their places by one copy and one launch."""
        chunks = []
        for i in rows.tolist():
            try:
                chunk = self._host_chain(here.row(i))
            except CorruptChunkError as error:
                raise error.at(name(i)) from error.__cause__
            chunks.append(np.ascontiguousarray(chunk.transpose(self.order)).reshape(-1).view(np.uint8))
        addresses = np.array(lane.send(*chunks), np.int64)
        sizes = np.array([chunk.nbytes for chunk in chunks], np.int64)
        numbers = np.arange(len(rows))
        local = Room(here.data, 0 * sizes, sizes)
        self._copy(Pieces(0 * sizes, sizes, numbers, rows * self.stride), addresses, local, area, lane)

    def _host_chain(self, data: memoryview) -> np.ndarray[Any, Any]:
        """Decode on the host; `data` has lost its checksums where this engine checked them."""
        return self._unchecked.decode(data)

    @property
    def _unchecked(self) -> CodecChain:
        if not self.checks or self.format == "host":
            return self.chain
        codecs = self.chain.codecs[: len(self.chain.codecs) - len(self.checks)]
        return CodecChain.build(codecs, self.chain.spec)


@lru_cache(maxsize=256)
def engine_for(chain: CodecChain, device: GpuDevice) -> GpuEngine:
    """The engine of a chain on a device; made once."""
    return GpuEngine(chain, device)


def _nvcomp(device: GpuDevice) -> Any:
    if device.nvcomp_kind == "emulated":
        faults = getattr(device, "bad_status_rows", ()), getattr(device, "wrong_size_rows", ())
        return EmulatedNvcomp(*faults, queue=getattr(device, "queue", None))
    from gpuzarr.codecs.engines.nvcomp import Nvcomp

    return Nvcomp()


def _pointer(lane: GpuLane) -> int:
    """The lane's stream as nvCOMP takes it."""
    return int(getattr(lane.stream, "ptr", lane.stream))


def _format(codec: BytesBytesCodec) -> str:
    name = codec.name.removeprefix("numcodecs.")
    return name if name in SPLITS or name == "blosc" else "host"


def _order(chain: CodecChain) -> tuple[int, ...] | None:
    """The array's axes in the order in which chunks are stored; None where more is done than to move axes."""
    order = tuple(range(len(chain.spec.shape)))
    spec = chain.spec
    for codec in chain.array_codecs:
        if not isinstance(codec, TransposeCodec):
            return None
        moved = codec.evolve(spec).order
        order = tuple(order[int(axis)] for axis in moved)
        spec = codec.resolve(spec)
    return order


def _native(chain: CodecChain) -> bool:
    """Whether the serializer stores elements as they are in memory."""
    spec = chain.spec
    for codec in chain.array_codecs:
        spec = codec.resolve(spec)
    return chain.serializer.is_native(spec)


def _room(sources: list[Any], sizes: list[int], room: Any, base: int) -> Room:
    """Where the rows lie in one host buffer; what lies elsewhere is brought together."""
    lengths = np.array(sizes, np.int64)
    if room is not None and all(type(s) is int for s in sources):
        return Room(octets(room), np.array(sources, np.int64) - base, lengths)
    parts = [octets(memory_at(s, n) if type(s) is int else s) for s, n in zip(sources, sizes, strict=True)]
    ends = np.cumsum(lengths)
    return Room(np.concatenate(parts) if parts else np.empty(0, np.uint8), ends - lengths, lengths)


def _shifted(pieces: Pieces, stride: int) -> Pieces:
    """Offsets in the wave's area, of offsets in each chunk."""
    return Pieces(pieces.source, pieces.size, pieces.row, pieces.row * stride + pieces.offset)


def _whole(here: Room, offsets: Integers) -> Pieces:
    return Pieces(here.starts, here.sizes, np.arange(len(here.sizes)), offsets)
