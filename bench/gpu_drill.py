"""What a GPU does in need: `python bench/gpu_drill.py OUT.json [--device cuda]`, each drill in a process of its own.

streams   reads on several threads, each on a stream of its own, give the right values
memory    with little device memory left, a read gives the right values or raises GpuMemoryError, and the next one,
          with memory again, gives the right values
sticky    after an illegal access every use of the device raises GpuContextLostError, reading to the host goes on,
          and the process ends by itself; last, since it is the end of CUDA in its process
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from gpu_batch import prepared

import gpuzarr
from gpuzarr.codecs import BloscCodec, ZstdCodec
from gpuzarr.devices import EmulatedDevice
from gpuzarr.errors import GpuContextLostError, GpuMemoryError

MIB = 1 << 20
PATIENCE = 60  # seconds for a drill


def made(device: Any, mebibytes: int) -> list[tuple[Any, Any]]:
    """Arrays that are read to the device, and their values."""
    values = np.cumsum(np.random.default_rng(0).integers(-3, 4, mebibytes * MIB // 4)).astype("i4").reshape(-1, 1024)
    found = []
    for codec in (ZstdCodec(), BloscCodec(cname="lz4", shuffle="shuffle")):
        array = gpuzarr.create_array({}, data=values, chunks=(64, 1024), compressors=codec)
        found.append((array.to_device(device), values))
    return found


def right(device: Any, array: Any, values: Any) -> bool:
    """Whether a read gives the values."""
    return bool((device.download(array[...]) == values).all())


def streams(device: Any) -> dict[str, Any]:
    """Four threads, each with a stream."""
    arrays, found = made(device, 8), []

    def read(number: int) -> None:
        array, values = arrays[number % 2]
        on_cuda = device.name.startswith("cuda")
        with device.xp.cuda.Stream(non_blocking=True) if on_cuda else nullcontext():
            found.extend(right(device, array, values) for _ in range(4))

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"ok": found == [True] * 16}


def memory(device: Any) -> dict[str, Any]:
    """Take all memory but a little, and less and less of that."""
    pairs, said = made(device, 8), {}
    for left in (64, 32, 16, 9, 4):
        taken = _take(device, left * MIB)
        try:
            said[f"{left} MiB"] = [right(device, *pair) for pair in pairs]
        except GpuMemoryError as error:
            said[f"{left} MiB"] = str(error)[:200]
        del taken
        _give(device)
    fine = all(not isinstance(s, list) or all(s) for s in said.values())
    return {"ok": fine and all(right(device, *pair) for pair in pairs), "left": said}


def _take(device: Any, left: int) -> Any:
    if isinstance(device, EmulatedDevice):
        device.memory = device.used + left
        return None
    pool = device.xp.get_default_memory_pool()
    pool.free_all_blocks()
    free = device.xp.cuda.runtime.memGetInfo()[0]
    taken = device.allocate(free - left)
    pool.set_limit(size=pool.total_bytes() + left)
    return taken


def _give(device: Any) -> None:
    if isinstance(device, EmulatedDevice):
        device.memory = None
        return
    device.xp.get_default_memory_pool().set_limit(size=0)


def sticky(device: Any) -> dict[str, Any]:
    """An illegal access, and what is said afterwards."""
    ((array, values), *_) = made(device, 1)
    before = right(device, array, values)
    if isinstance(device, EmulatedDevice):
        device.lose_context_after = device.operations
    else:  # a write to an address that nobody has
        code = 'extern "C" __global__ void spoil(int* p) { *p = 1; }'
        device.xp.RawKernel(code, "spoil")((1,), (1,), (np.uint64(8),))
    said = []
    for _ in range(2):
        try:
            right(device, array, values)
            said.append("no error")
        except GpuContextLostError as error:
            said.append(f"GpuContextLostError: {error}"[:200])
    host = bool((array.to_device("cpu")[...] == values).all())
    lost = all(s.startswith("GpuContextLostError") for s in said)
    return {"ok": before and lost and host, "said": said, "host": host}


DRILLS = {drill.__name__: drill for drill in (streams, memory, sticky)}


def main(argv: list[str] | None = None) -> int:
    """Do all drills, print, write; 0 where all went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", help="JSON file; - for none")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--one", choices=DRILLS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        device = EmulatedDevice() if args.device == "emulated" else prepared(args.device)
        print(json.dumps(DRILLS[args.one](device)))
        return 0
    found: dict[str, Any] = {}
    for name in DRILLS:
        command = [sys.executable, __file__, "-", "--device", args.device, "--one", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            found[name] = json.loads(lines[-1]) if lines else {"ok": False, "error": done.stderr[-500:]}
            found[name]["status"] = done.returncode
        except subprocess.TimeoutExpired:
            found[name] = {"ok": False, "error": f"no end in {PATIENCE} s"}
        print(f"{name:<10} {json.dumps(found[name])}", flush=True)
        if args.out != "-":
            Path(args.out).write_text(json.dumps(found, indent=1))
    return 0 if all(drill["ok"] for drill in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
