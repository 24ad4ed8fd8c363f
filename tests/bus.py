"""What a wave costs: copies and bytes over the bus, launches, bytes that the kernels move; on the emulated device.

`python -m tests.bus` prints the table by codec and chunk size. "moved" is what our kernels read and write, in multiples
of the decoded bytes; what nvCOMP moves is not in it, at least the compressed bytes and the decoded ones. Least is 2 for
a read that must place chunks, and 1 more for a checksum of the contents.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

import gpuzarr
from gpuzarr.codecs import BloscCodec, BytesCodec, CastValue, Crc32cCodec, GzipCodec, ScaleOffset, ZstdCodec
from gpuzarr.codecs import numcodecs as nc
from gpuzarr.devices import EmulatedDevice, kernels
from gpuzarr.devices.gpu import GpuLane, HostArray
from gpuzarr.devices.numpy_memory import columns_at

SCALED = nc.FixedScaleOffset(offset=0, scale=100, dtype="f4", astype="i2")
CODECS: dict[str, dict[str, Any]] = {
    "none": {"compressors": None},
    "zstd": {"compressors": ZstdCodec()},
    "zstd checksum": {"compressors": ZstdCodec(checksum=True)},
    "zstd crc32c": {"compressors": [ZstdCodec(), Crc32cCodec()]},
    "lz4": {"compressors": nc.LZ4()},
    "gzip": {"compressors": GzipCodec(level=1)},
    "zlib crc32c": {"compressors": [nc.Zlib(), Crc32cCodec()]},
    "blosc lz4 shuffle": {"compressors": BloscCodec(cname="lz4", shuffle="shuffle")},
    "blosc zstd bitshuffle": {"compressors": BloscCodec(cname="zstd", shuffle="bitshuffle")},
    "blosc zlib": {"compressors": BloscCodec(cname="zlib", shuffle="shuffle", clevel=1)},
    "shuffle zstd": {"compressors": [nc.Shuffle(elementsize=4), ZstdCodec()]},
    "big-endian zstd": {"serializer": BytesCodec(endian="big"), "compressors": ZstdCodec()},
    "delta zstd": {"filters": [nc.Delta(dtype="i4")], "dtype": "i4", "compressors": ZstdCodec()},
    "fixedscaleoffset zstd": {"filters": [SCALED], "compressors": ZstdCodec()},
    "cast_value zstd": {"filters": [CastValue(data_type="float32")], "dtype": "f8", "compressors": ZstdCodec()},
    "scale_offset lz4": {"filters": [ScaleOffset(scale=0.5)], "compressors": nc.LZ4()},
}


def moved(kernel: str, items: int, args: tuple[Any, ...]) -> int:
    """Bytes that a launch reads and writes, but for its table."""
    told = dict(zip([p.name for p in kernels.signature(kernel)], map(int, args), strict=True))
    rows = told.get("rows", 0)
    there, here = (told.get(name, 0) & 15 for name in ("source_type", "dest_type"))  # bytes of a number
    if kernel == "copy_rows":
        return 2 * int(columns_at(told["table"], 3, rows)[2].sum())
    if kernel in ("crc32c_rows", "crc32_rows", "adler32_rows", "xxh64_rows"):
        return int(columns_at(told["table"], 2, rows)[1].sum())
    if kernel in ("scatter_parts", "scatter_filtered"):
        counts = columns_at(told["table"], 2 + told["axes"], rows)[2:]
        return 2 * told["unit"] * int(counts.prod(axis=0).sum())
    if kernel == "list_streams":
        return 44 * rows
    if kernel == "byteswap":
        return 2 * told["nbytes"]
    if kernel == "convert_rows":
        return rows * told["count"] * (there + here)
    segments = told["segments"]  # of delta, whose sums have 8 bytes
    sums = 8 * (items * segments if kernel == "delta_starts" else items)
    numbers = 0 if kernel == "delta_starts" else items // segments * told["count"]
    return sums + numbers * (there + here)


class Counting(EmulatedDevice):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.copies_in = self.copies_out = self.bytes_in = self.bytes_out = self.waits = self.moved = 0
        self.launches: Counter[str] = Counter()

    def copy_in(self, dest_address: int, source: HostArray, lane: GpuLane) -> None:
        """Count a copy to the device."""
        self.copies_in, self.bytes_in = self.copies_in + 1, self.bytes_in + source.nbytes
        super().copy_in(dest_address, source, lane)

    def copy_out(self, source_address: int, dest: HostArray, lane: GpuLane) -> None:
        """Count a copy from it."""
        self.copies_out, self.bytes_out = self.copies_out + 1, self.bytes_out + dest.nbytes
        super().copy_out(source_address, dest, lane)

    def clear(self, address: int, nbytes: int, lane: GpuLane) -> None:
        """Count it as a launch."""
        self.launches["clear"] += 1
        super().clear(address, nbytes, lane)

    def launch(self, kernel: str, threads: int, args: tuple[Any, ...], lane: GpuLane) -> None:
        """Count a launch."""
        self.launches[kernel] += threads > 0
        values = kernels.convert(kernel, args, self.address)
        self.moved += moved(kernel, threads, tuple(values)) if threads else 0
        super().launch(kernel, threads, args, lane)

    def wait(self, lane: GpuLane) -> None:
        """Count a wait."""
        self.waits += 1
        super().wait(lane)


class Cost(NamedTuple):
    """Of reading an array whose wave is all of it."""

    chunks: int
    stored: int  # bytes
    copies_in: int
    bytes_in: int
    copies_out: int
    bytes_out: int
    waits: int
    launches: int
    kernels: str
    moved: float  # by our kernels, in multiples of the decoded bytes

    @property
    def more(self) -> float:
        """Bytes to the device beyond what is stored, as a fraction of that."""
        return self.bytes_in / self.stored - 1


def stored(store: Any, codec: str, total: int, chunk: int, sharded: bool = False) -> gpuzarr.Array:
    """An array of `total` bytes of smooth numbers in chunks of `chunk` bytes."""
    options = {"dtype": "f4", "shards": None} | CODECS[codec]
    dtype = np.dtype(options.pop("dtype"))
    count, one = total // dtype.itemsize, chunk // dtype.itemsize
    options["shards"] = (count,) if sharded else None
    a = gpuzarr.create_array(store, shape=(count,), chunks=(one,), dtype=dtype, **options)
    walk = np.cumsum(np.random.default_rng(1).normal(size=count))
    a[...] = (walk * 10).astype(dtype) if dtype.kind == "i" else walk.astype("f4").round(2).astype(dtype)
    return a


def cost(codec: str, total: int, chunk: int, sharded: bool = False) -> Cost:
    """Read such an array."""
    store: dict[str, Any] = {}
    a = stored(store, codec, total, chunk, sharded)
    nbytes = sum(len(data) for key, data in store.items() if not key.endswith("zarr.json"))
    device = Counting()
    there = a.to_device(device)
    there[...]
    first = device.launches.copy()
    names = ("copies_in", "bytes_in", "copies_out", "bytes_out", "waits", "moved")
    before = [getattr(device, name) for name in names]
    there[...]
    after = [getattr(device, name) for name in names]
    numbers = [b - a for a, b in zip(before, after, strict=True)]
    launches = device.launches - first
    listed = " ".join(f"{name}x{n}" if n > 1 else name for name, n in sorted(launches.items()))
    return Cost(total // chunk, nbytes, *numbers[:-1], sum(launches.values()), listed, numbers[-1] / total)


if __name__ == "__main__":
    print("codec                  chunk   stored     to GPU    more   back  copies waits moved launches")  # noqa: T201
    for name in CODECS:
        for size in (4 << 10, 16 << 10, 64 << 10, 256 << 10):
            c = cost(name, 4 << 20, size)
            row = f"{name:22} {size >> 10:3} KiB {c.stored:9,} {c.bytes_in:9,} {c.more:+7.1%} {c.bytes_out:6,}"
            print(f"{row} {c.copies_in:2}+{c.copies_out} {c.waits:5} {c.moved:5.2f} {c.launches:5}  {c.kernels}")  # noqa: T201
