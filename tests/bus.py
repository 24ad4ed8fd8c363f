"""What a wave costs: copies and bytes over the bus, launches, bytes that the kernels move; on the emulated device.

`python -m tests.bus` prints the table by codec and chunk size.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

import gpuzarr
from gpuzarr.codecs import BloscCodec, BytesCodec, CastValue, Crc32cCodec, GzipCodec, ScaleOffset, ZstdCodec
from gpuzarr.codecs import numcodecs as nc
from gpuzarr.devices import EmulatedDevice
from gpuzarr.devices.gpu import GpuLane, HostArray

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


class Counting(EmulatedDevice):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.copies_in = self.copies_out = self.bytes_in = self.bytes_out = self.waits = 0
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

    @property
    def more(self) -> float:
        """Bytes to the device beyond what is stored, as a fraction of that."""
        return self.bytes_in / self.stored - 1


def cost(codec: str, total: int, chunk: int, sharded: bool = False) -> Cost:
    """Read `total` bytes of smooth numbers in chunks of `chunk` bytes."""
    options = {"dtype": "f4", "shards": None} | CODECS[codec]
    dtype = np.dtype(options.pop("dtype"))
    count, one = total // dtype.itemsize, chunk // dtype.itemsize
    options["shards"] = (count,) if sharded else None
    store: dict[str, Any] = {}
    a = gpuzarr.create_array(store, shape=(count,), chunks=(one,), dtype=dtype, **options)
    walk = np.cumsum(np.random.default_rng(1).normal(size=count))
    a[...] = (walk * 10).astype(dtype) if dtype.kind == "i" else walk.astype("f4").round(2).astype(dtype)
    device = Counting()
    there = a.to_device(device)
    there[...]
    first = device.launches.copy()
    before = (device.copies_in, device.bytes_in, device.copies_out, device.bytes_out, device.waits)
    there[...]
    after = (device.copies_in, device.bytes_in, device.copies_out, device.bytes_out, device.waits)
    numbers = [b - a for a, b in zip(before, after, strict=True)]
    launches = device.launches - first
    stored = sum(len(data) for key, data in store.items() if not key.endswith("zarr.json"))
    kernels = " ".join(f"{name}x{n}" if n > 1 else name for name, n in sorted(launches.items()))
    return Cost(total // chunk, stored, *numbers, sum(launches.values()), kernels)


if __name__ == "__main__":
    print("codec                  chunk   stored     to GPU    more   back  copies waits launches")  # noqa: T201
    for name in CODECS:
        for size in (4 << 10, 16 << 10, 64 << 10, 256 << 10):
            c = cost(name, 4 << 20, size)
            row = f"{name:22} {size >> 10:3} KiB {c.stored:9,} {c.bytes_in:9,} {c.more:+7.1%} {c.bytes_out:6,}"
            print(f"{row} {c.copies_in:2}+{c.copies_out} {c.waits:5} {c.launches:5}  {c.kernels}")  # noqa: T201
