"""What a wave should take on an H100, from counts and assumed rates: `python -m bench.gpu_prediction`, at the root.

No measurement of a GPU: the counts are the emulated device's (`tests/bus.py`), the rates are the assumptions below, and
they stand here so that the first real run (`gpu_rates.py`, `gpu.py`) has something to be compared with. Only the host's
own time is measured, on the machine at hand: what a wave costs besides its reading, copies, launches and nvCOMP calls.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from gpuzarr import read  # noqa: E402
from gpuzarr.devices import EmulatedDevice  # noqa: E402
from gpuzarr.devices.gpu import GpuLane  # noqa: E402
from tests.bus import CODECS, cost, stored  # noqa: E402

MIB = 1 << 20
WAVE = 64 * MIB
CHUNKS = (64 << 10, 256 << 10)
SHOWN = ("none", "zstd", "lz4", "gzip", "blosc lz4 shuffle", "blosc zstd bitshuffle", "blosc zlib")

# Bytes a second. The bus: PCIe 5 from page-locked memory. Memory: what a copy within an H100 moves, read and written,
# and what a kernel may reach of that.
BUS, MEMORY, REACHED = 50e9, 3.0e12, 0.8
# nvCOMP's, of decoded bytes in streams of 64 KiB and more. NVIDIA publishes no figures that apply, only an order (LZ4
# and Snappy, then Zstandard, then Deflate), so these are guesses.
NVCOMP = {"lz4": 80e9, "zstd": 25e9, "zlib": 10e9, "gzip": 10e9}
READ = 8e9  # bytes a second that a thread reads out of the page cache
CALL = 8e-6  # seconds of a copy, a launch or an nvCOMP call on the host
LANES = 3


def host_seconds(codec: str, chunk: int) -> float:
    """Of a wave, without the reading and without what it asks of the device (such as memory, for which a GPU has a
    pool). Of the processor's time, as the machine may do other things."""
    device: Any = EmulatedDevice()
    device.lanes = 1
    spent: list[float] = []
    owners = [(device, name) for name in ("copy_in", "copy_out", "clear", "launch", "pinned", "allocate", "wait")]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        there = stored(folder, codec, WAVE, chunk, sharded=True).to_device(device)
        there[...]
        owners += [(read, "fetch_ranges"), (GpuLane, "trim")] + (
            [(device.nvcomp, "decompress")] if device.nvcomp else []
        )
        for owner, name in owners:
            patches.enter_context(patch.object(owner, name, _timed(getattr(owner, name), spent)))
        found = []
        for _ in range(7):
            spent.clear()
            began = time.process_time()
            result = there[...]
            found.append(time.process_time() - began - sum(spent))
            del result  # whose memory goes back to the system here, and to a pool on a GPU
    return min(found)


def _timed(call: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        before, began = len(spent), time.process_time()
        try:
            return call(*args, **kwargs)
        finally:
            spent[before:] = [time.process_time() - began]  # with what it called in turn

    return timed


def predicted(codec: str, chunk: int) -> dict[str, float]:
    """Seconds of each part of a wave."""
    counted = cost(codec, WAVE, chunk)
    format = next((name for name in reversed(NVCOMP) if name in codec), "")
    calls = counted.launches + counted.copies_in + counted.copies_out + bool(format)
    over = counted.bytes_in
    return {
        "read": over / READ,
        "host": host_seconds(codec, chunk) + calls * CALL,
        "bus": over / BUS,
        "nvcomp": WAVE / NVCOMP[format] if format else 0.0,
        "kernels": counted.moved * WAVE / (MEMORY * REACHED),
    }


def main() -> None:
    """Print the table, in milliseconds and decoded GB/s."""
    print("| codec | chunk | read | host | bus | nvCOMP | kernels | one lane, GB/s | three lanes, GB/s | bound by |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for codec in SHOWN:
        assert codec in CODECS
        for chunk in CHUNKS:
            parts = predicted(codec, chunk)
            whole = sum(parts.values())
            # Lanes read side by side; the interpreter, the bus and the GPU serve one at a time.
            apart = {
                "host": parts["host"],
                "bus": parts["bus"],
                "GPU": parts["nvcomp"] + parts["kernels"],
                "lanes": whole / LANES,
            }
            slowest = max(apart, key=lambda name: apart[name])
            cells = " | ".join(f"{1e3 * seconds:.2f}" for seconds in parts.values())
            one, many = (WAVE / seconds / 1e9 for seconds in (whole, apart[slowest]))
            print(f"| {codec} | {chunk >> 10} KiB | {cells} | {one:.0f} | {many:.0f} | {slowest} |")


if __name__ == "__main__":
    main()
