"""How a chain runs on a GPU: the route, and the decoding of a wave.

    checksums   around the compressed bytes: verified on the GPU before anything else looks at them
    streams     taken apart and checked on the host (`streams`), one upload a wave, one nvCOMP call a format
    contents    checksums that streams carry (gzip, zlib within Blosc, zstd): verified on the GPU when they are decoded
    steps       whatever else a chain does (`gpu_steps`), a launch or a few each
    placing     undoes what comes last of Blosc's shuffles, numcodecs' and another byte order as it loads the bytes
                (`Decoded.layout`), so that this costs no pass of its own; it also puts axes in another order right

What has no GPU form decodes on the host and is uploaded with the wave; so does a chunk whose streams do not pass the
checks, or that the GPU found fault with: the host then decodes it, or says what is wrong with it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import BytesBytesCodec
from gpuzarr.codecs.engines import streams
from gpuzarr.codecs.engines.gpu_steps import Obstacle, Settled, layout_of, settle
from gpuzarr.codecs.engines.gpu_wave import GpuWave, Integers, Names, Room
from gpuzarr.codecs.engines.nvcomp_emulated import EmulatedNvcomp
from gpuzarr.codecs.engines.streams import Filters, Pieces, Streams
from gpuzarr.devices import Lane, get_device
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.scatter import Layout
from gpuzarr.errors import CorruptChunkError

SPLITS = {"zstd": streams.split_zstd, "gzip": streams.split_gzip, "lz4": streams.split_lz4, "zlib": streams.split_zlib}
HOST_TASK = 1 << 20  # decoded bytes that one of the host's threads takes at a time
# Codecs that do nothing but add a checksum, and the kernel's name of it; "" for those that only the host verifies.
CHECKSUMS = {
    "crc32c": "crc32c",
    "numcodecs.crc32c": "crc32c",
    "numcodecs.crc32": "crc32",
    "numcodecs.adler32": "adler32",
    "numcodecs.fletcher32": "",
    "numcodecs.jenkins_lookup3": "",
}


class RouteStep(NamedTuple):
    """One codec of a route, in the order of decoding."""

    codec: str
    place: str  # "gpu" or "cpu"
    why: str  # a word on it, where it is on the cpu


class Decoded(NamedTuple):
    """Decoded chunks in device memory: axes in the order in which they are stored, and native elements, once what
    `layout` says is undone."""

    area: Any  # device array, uint8
    offsets: Integers  # of each row's chunk, bytes
    layout: Layout | None  # None for chunks in order


class GpuEngine:
    """A chain settled for a device. `order`: of the array's axes in which chunks are stored; `stride`: bytes from one
    decoded chunk to the next; `why`: what keeps the chain off the GPU, "" for nothing.

    `trusted` leaves out what `streams` looks for within compressed streams to keep damaged ones from nvCOMP, which may
    do anything with them: it is for stores that the user vouches for. Sizes, places and headers are checked all the
    same, since our own code goes by them, and so is every checksum.

    Raises GpuError where the chain's streams are nvCOMP's to decode and it is not there.
    """

    def __init__(self, chain: CodecChain, device: GpuDevice, trusted: bool = False) -> None:
        self.chain, self.device = chain, device
        rest = list(reversed(chain.bytes_codecs))
        self.checks: list[BytesBytesCodec] = []
        while rest and rest[0].name in CHECKSUMS:
            self.checks.append(rest.pop(0))
        self.host_checks = not all(CHECKSUMS[codec.name] for codec in self.checks)
        self.trusted = trusted  # a checksum is no word on it: whoever makes a stream can make its checksum, too
        self.format = _format(rest[0]) if rest else "plain"
        self.why = ""
        try:
            if self.format == "zlib" and not (trusted or self.checks):
                raise Obstacle("nothing tells the size of a zlib stream before it is decoded")
            if self.format == "blosc" and rest[0].configuration().get("cname") == "blosclz":
                raise Obstacle("no GPU form of blosclz")
            settled = settle(chain, rest if self.format == "plain" else rest[1:])
        except Obstacle as obstacle:
            self.why = str(obstacle)
            settled = Settled(chain.nbytes or 0, tuple(range(len(chain.spec.shape))))
        self.order, self.steps, self.packed = settled.order, settled.steps, settled.packed
        self.typesize, self.width = settled.typesize, settled.width
        if self.format != "plain" and not self.why and device.nvcomp is None:
            device.nvcomp = _nvcomp(device)
        self.stride = -(-settled.largest // 256) * 256

    @property
    def verbatim(self) -> bool:
        """Whether encoded chunks are the elements as they lie in memory, and nothing need look at them first."""
        return not self.why and self.format == "plain" and not self.steps and not self.checks and self._native

    @property
    def _native(self) -> bool:
        """Whether the steps leave nothing to the placing."""
        return self.typesize == self.width == 1

    @property
    def route(self) -> list[RouteStep]:
        """Where each codec decodes, outermost first."""
        names = [codec.name for codec in reversed(self.chain.codecs)]
        if self.why:
            return [RouteStep(name, "cpu", self.why) for name in names]
        by_host = len(self.checks) if self.host_checks else 0
        return [
            RouteStep(name, "cpu", "a checksum") if i < by_host else RouteStep(name, "gpu", "")
            for i, name in enumerate(names)
        ]

    # ---- one wave

    def decode(self, here: Room, name: Names, lane: GpuLane, by_host: bool = False) -> Decoded:
        """Decode the chunks of a wave; `by_host`, on the host whatever the route says. Raises CorruptChunkError,
        whose key `name` of the row says, and GpuMemoryError."""
        wave = GpuWave(self.device, lane, here, self.stride)
        area: Any = None
        layout = self._layout(wave.starts)
        if self.why or by_host:
            wave.bad[:] = True
        else:
            payload = self._vouched(wave)
            if (found := self._as_they_lie(wave, payload)) is not None:
                return found
            area, layout = self._decoded(wave, payload)
        if wave.bad.any():
            sent, offsets = wave.send(self._on_host(wave, name))
            if wave.bad.all():
                return Decoded(sent, offsets, None)
            wave.put(np.flatnonzero(wave.bad), sent, offsets, self.chain.nbytes or 0, area)
            layout = layout.without(wave.bad)
        return Decoded(area, wave.starts, None if layout.in_order else layout)

    def _layout(self, starts: Integers) -> Layout:
        """How chunks lie in the end."""
        return layout_of(starts, self.chain.nbytes or 0, self.typesize, self.width)

    def _vouched(self, wave: GpuWave) -> Room:
        """The wave's rows without the checksums around them. Which rows they do not hold for is known when the wave is
        settled next."""
        data, starts, sizes = wave.here
        for codec in self.checks:
            at_start = bool(getattr(codec, "at_start", False))
            if not self.host_checks:
                starts, sizes = wave.vouch(CHECKSUMS[codec.name], starts, sizes, at_start)
                continue
            for i in np.flatnonzero(~wave.bad).tolist():
                try:
                    codec.strip(Room(data, starts, sizes).row(i))
                except CorruptChunkError:
                    wave.bad[i] = True
            starts, sizes = starts + (4 if at_start else 0), np.maximum(sizes - 4, 0)
        return Room(data, starts, sizes)

    def _as_they_lie(self, wave: GpuWave, payload: Room) -> Decoded | None:
        """Chunks that are stored as their elements, where they were uploaded to; None where more is to be done."""
        if self.format != "plain" or self.steps:
            return None
        wave.settle()
        if wave.bad.any() or (payload.sizes != self.packed).any():
            return None
        area = wave.uploaded
        offsets = payload.starts - int(wave.here.starts.min())
        if area is None or (offsets % self.chain.dtype.itemsize).any():
            return None
        return Decoded(area, offsets, None if self._native else self._layout(offsets))

    def _decoded(self, wave: GpuWave, payload: Room) -> tuple[Any, Layout]:
        """Queue what makes chunks of the rows, and wait for it; the area that they lie in, and how."""
        layout = self._layout(wave.starts)
        if self.format == "plain":
            wave.bad |= payload.sizes != self.packed
            rows = np.flatnonzero(~wave.bad)
            area = wave.area()
            wave.copy_to_chunks(Pieces(payload.starts[rows], payload.sizes[rows], rows, 0 * rows), area)
        elif self.format == "blosc":
            area, filters = self._unpacked(wave, payload)
            if not (self.steps or self.typesize > 1):
                layout = layout._replace(**filters._asdict())
            elif filters.filter.any():  # there is more to do, for which chunks must be in order
                area = wave.put_in_order(layout_of(wave.starts, self.packed)._replace(**filters._asdict()), area)
        else:
            area = self._decompressed(wave, payload)
        if not wave.bad.all():
            area = wave.run(self.steps, area)
        wave.settle()
        return area, layout

    def _unpacked(self, wave: GpuWave, payload: Room) -> tuple[Any, Filters]:
        """Queue the decoding of the rows' Blosc containers; the area that the chunks come to lie in, and the filters
        that they then have."""
        blosc = streams.split_blosc(payload.data, payload.starts, payload.sizes, self.packed, trusted=self.trusted)
        wave.settle()  # nvCOMP believes what it is given, so checksums are waited for
        wave.bad |= blosc.unfit
        area = wave.area()
        self._queue(wave, blosc.streams, area)
        for pieces in (blosc.stored, blosc.plain):
            wave.copy_to_chunks(pieces.where(~wave.bad[pieces.row]), area)
        return area, blosc.filters

    def _decompressed(self, wave: GpuWave, payload: Room) -> Any:
        """Queue the decoding of the rows' streams; the area that the chunks come to lie in."""
        encoded = (payload.data, payload.starts, payload.sizes, self.packed)
        # Of zlib, which would come here for no other reason, a checksum tells that it is whole.
        vouched = self.trusted or self.format == "zlib"
        table, unfit = SPLITS[self.format](*encoded, trusted=vouched)
        wave.settle()
        wave.bad |= unfit
        area = wave.area()
        self._queue(wave, (table,), area)
        return area

    def _queue(self, wave: GpuWave, tables: tuple[Streams, ...], area: Any) -> None:
        for table in tables:
            chosen = table.where(~wave.bad[table.row])
            if len(chosen):
                wave.decompress(chosen, area)

    def _on_host(self, wave: GpuWave, name: Names) -> np.ndarray[Any, Any]:
        """The bad rows, decoded by the host's threads into page-locked memory: (rows, bytes of a chunk)."""
        chain, rows = self.chain, np.flatnonzero(wave.bad)
        chunks = self.device.pinned(len(rows) * (chain.nbytes or 0)).reshape(len(rows), -1)
        shape = [chain.spec.shape[axis] for axis in self.order]
        several = max(1, HOST_TASK // max(1, chunks.shape[1]))

        def decode(task: int, lane: Lane) -> None:
            for i in range(task * several, min(len(rows), (task + 1) * several)):
                data = wave.here.row(int(rows[i]))
                try:
                    if chain.lands:
                        chain.decode_into(data, chunks[i])
                    else:
                        chunks[i].view(chain.dtype).reshape(shape)[...] = chain.decode(data).transpose(self.order)
                except CorruptChunkError as error:
                    raise error.at(name(int(rows[i]))) from error.__cause__

        get_device("cpu").run(decode, -(-len(rows) // several))
        return chunks


@lru_cache(maxsize=256)
def engine_for(chain: CodecChain, device: GpuDevice, trusted: bool = False) -> GpuEngine:
    """The engine of a chain on a device; made once."""
    return GpuEngine(chain, device, trusted)


def _nvcomp(device: GpuDevice) -> Any:
    if device.nvcomp_kind == "emulated":
        faults = getattr(device, "bad_status_rows", ()), getattr(device, "wrong_size_rows", ())
        return EmulatedNvcomp(*faults, queue=getattr(device, "queue", None))
    from gpuzarr.codecs.engines.nvcomp import Nvcomp

    return Nvcomp()


def _format(codec: BytesBytesCodec) -> str:
    """What decompresses the chunks; "plain" where that is left to the steps, or to the host."""
    name = codec.name.removeprefix("numcodecs.")
    return name if name in SPLITS or name == "blosc" else "plain"
