"""Rates of a GPU's parts alone: `python bench/gpu_rates.py OUT.json [--device cuda] [--mib 256]`.

    copy      from page-locked memory to the device, back, and within the device
    nvcomp    nvCOMP for each format and size of stream, of as many as make a wave, in decoded bytes a second
    kernels   each of gpuzarr's kernels on regular chunks of 256 KiB, in bytes that it moves a second, and as a share of
              the copy within the device (bytes read and bytes written both count)

Times are of CUDA events around a call, the quickest of some; on the emulated device they mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gpu_streams
import numpy as np
from cells import KIB, MIB
from gpu import about
from gpu_batch import Batch, prepared
from gpu_clock import seconds_on

from gpuzarr.devices import columns, launches
from gpuzarr.devices.launches import Area, Rows
from gpuzarr.devices.scatter import BITSHUFFLE, SHUFFLE, Layout, Parts, scatter

Work = Callable[[], object]

CHUNK = 256 * KIB
STREAMS = (4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB)
ENCODERS = {name: getattr(gpu_streams, name) for name in ("zstd", "lz4", "deflate", "gzip", "snappy")}
FILTERS = (("shuffle 2", 2, SHUFFLE), ("shuffle 4", 4, SHUFFLE), ("shuffle 8", 8, SHUFFLE), ("bits 4", 4, BITSHUFFLE))
CHECKSUMS = ("crc32c", "crc32", "adler32", "xxh64")


def copies(device: Any, lane: Any, nbytes: int) -> Iterator[tuple[str, int, Work]]:
    """Name, bytes moved, and the call."""
    host, here, there = device.pinned(nbytes), lane.area("here", nbytes), lane.area("there", nbytes)
    host[:] = 1
    yield "upload", nbytes, lambda: device.copy_in(device.address(here), host, lane)
    yield "download", nbytes, lambda: device.copy_out(device.address(here), host, lane)

    def within() -> None:
        there[:nbytes] = here[:nbytes]

    yield "within", 2 * nbytes, within


def kernels(device: Any, lane: Any, nbytes: int) -> Iterator[tuple[str, int, Work]]:
    """Likewise."""
    rows, stride = nbytes // CHUNK, CHUNK
    areas = [Area(device.address(lane.area(name, nbytes)), nbytes) for name in ("here", "there")]
    here, there = (Rows(*area, stride) for area in areas)
    half = Rows(here.address, nbytes // 2, stride // 2)
    at, one = np.arange(rows) * stride, np.ones(rows, np.int64)
    table = columns.send(lane, at, at, one * CHUNK)
    yield "copy_rows", 2 * nbytes, partial(launches.copy, device, lane, table, CHUNK, *areas)
    for name, parts in (("rows", _strips(rows)), ("squares", _squares(rows))):
        yield f"scatter_parts {name}", 2 * nbytes, partial(scatter, device, lane, parts, 4, *areas)
        for what, typesize, kind in FILTERS:
            layout = Layout(at, CHUNK, one * CHUNK, one * typesize, one * kind, one)
            placed = partial(scatter, device, lane, parts, 4, *areas, layout)
            yield f"scatter_filtered {name}, {what}", 2 * nbytes, placed
    yield "byteswap", 2 * nbytes, partial(launches.byteswap, device, lane, 4, areas[0], there.address)
    f4, f8, i4 = (np.dtype(name) for name in ("f4", "f8", "i4"))
    convert = partial(launches.convert, device, lane, rows, CHUNK // 8, f4, f8, half, there, 0)
    yield "convert_rows f4 to f8", nbytes + nbytes // 2, convert
    delta = partial(launches.delta, device, lane, rows, CHUNK // 4, i4, i4, here, there, 0)
    yield "delta", 3 * nbytes, delta
    for sum in CHECKSUMS:
        yield f"{sum}_rows", nbytes, partial(launches.checksums, device, lane, sum, table.after(1), CHUNK, areas[0])


def _strips(rows: int) -> Parts:
    """Chunks that follow one another in the destination."""
    at = np.arange(rows) * CHUNK
    steps = np.full(1, 4, np.int64)
    return Parts(at, at, np.full((1, rows), CHUNK // 4), steps, steps)


def _squares(rows: int) -> Parts:
    """Chunks of 256 x 256 numbers side by side in a picture."""
    at, edge = np.arange(rows), 256
    across = max(1, int(rows**0.5))
    wide = across * edge * 4
    dest = at // across * edge * wide + at % across * edge * 4
    return Parts(at * CHUNK, dest, np.full((2, rows), edge), np.array([edge * 4, 4]), np.array([wide, 4]))


def batches(device: Any, lane: Any, nbytes: int) -> Iterator[tuple[str, int, Work]]:
    """Name, decoded bytes, and the call."""
    for name, encode in ENCODERS.items():
        for size in STREAMS:
            several = [encode(gpu_streams.walk(size + i)[:size]) for i in range(4)]
            count = max(1, nbytes // size)
            batch = Batch(device, lane, name, [several[i % 4] for i in range(count)], [size] * count, 0, 0)
            yield f"{name} {size // KIB}K", count * size, batch.decode


def measure(device: Any, nbytes: int) -> dict[str, Any]:
    """All rates, bytes a second."""
    found: dict[str, Any] = {"copy": {}, "nvcomp": {}, "kernels": {}}
    wave = min(nbytes, device.wave_bytes)

    def task(_: int, lane: Any) -> None:
        for title, parts, size in (("copy", copies, nbytes), ("kernels", kernels, nbytes), ("nvcomp", batches, wave)):
            for name, moved, work in parts(device, lane, size):
                rate = moved / seconds_on(device, lane, work)
                share = f"  {rate / found['copy']['within']:.2f} of the copy" if title == "kernels" else ""
                found[title][name] = rate
                print(f"{title:<8} {name:<34} {rate / 1e9:9.2f} GB/s{share}", flush=True)

    device.run(task, 1)
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mib", type=int, help="of memory (default: 256; 1 on the emulated device)")
    args = parser.parse_args(argv)
    device = prepared(args.device)
    mebibytes = args.mib or (1 if args.device == "emulated" else 256)
    rates = measure(device, mebibytes * MIB)
    args.out.write_text(json.dumps({"about": about(device), "mebibytes": mebibytes, "rates": rates}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
