"""Reading whole arrays to a GPU: gpuzarr beside its rivals and beside what the machine can do at most, in one run.

    python bench/gpu.py                                # 1 GiB an array; some minutes on one GPU
    python bench/gpu.py --size 4096 --plot rates.png   # 4 GiB
    python bench/gpu.py --device emulated --quick      # does it run? (the figures mean nothing)

A rate is decoded bytes a second of wall time, from the call until the array is there. Files are in the page cache.
Every contender's first result is compared with the data. The floors of a cell are the times of: reading its files into
page-locked memory; one copy of the stored bytes over the bus; nvCOMP's own share, in the same read; one write of the
result. `share` is the slowest floor over our time: 1 would be perfect.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import distributions
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from cells import parse_size
from gpu_cells import CHUNKS, CODECS, DTYPES, SHARD, Cell, make, store, stored_bytes
from gpu_clock import read_seconds, synchronize, tallied, upload_rate, wall, write_rate
from gpu_contenders import ALL, OURS, SWEEP, Contender
from timing import take_turns

from gpuzarr.devices import get_device

HERE = Path(__file__).parent
MEGA = 1 << 20
NAMED = ("cupy", "nvidia", "kvikio", "numpy", "numcodecs", "zarr", "tensorstore", "gpuzarr")


def measure(cell: Cell, data: np.ndarray[Any, Any], device: Any, contenders: list[Contender], args: Any) -> Any:
    """One row of the results. A contender that fails, or gives other values, is left out, with why."""
    path = store(cell, data, args.folder)
    turns, failed = {}, {}
    for contender in contenders:
        try:
            read = contender.prepare(path, device)
            host = device.download(read())
        except Exception as error:  # noqa: BLE001 - a rival that fails is a finding, not the end of the run
            failed[contender.name] = f"{type(error).__name__}: {error}"[:300]
            continue
        if host.dtype != data.dtype or not np.array_equal(host, data):
            failed[contender.name] = "not the data that was written"
            continue
        del host
        turns[contender.name] = lambda read=read: wall(device, read)
    seconds = take_turns(turns, args.rounds) if turns else {}
    row: dict[str, Any] = {
        "cell": str(cell),
        "codec": cell.codec,
        "chunk": cell.chunk,
        "sharded": cell.sharded,
        "dtype": cell.dtype,
        "nbytes": data.nbytes,
        "stored": stored_bytes(path),
        "seconds": seconds,
        "failed": failed,
    }
    if OURS in turns:
        with tallied(device) as tally:
            tally.wall = turns[OURS]()
        row["stages"] = tally.as_json()
        row["floors"] = {
            "files": min(read_seconds(path, device, device.lanes) for _ in range(args.rounds)),
            "bus": row["stored"] / args.rates["upload"],
            "nvcomp": tally.seconds["nvcomp"],
            "write": data.nbytes / args.rates["write"],
        }
        row["share"] = max(row["floors"].values()) / min(seconds[OURS])
    shutil.rmtree(path)
    return row


def line(row: dict[str, Any]) -> str:
    """A row in one line: GB/s of each contender, and the share of the floor."""
    rates = "  ".join(f"{name} {row['nbytes'] / min(s) / 1e9:.2f}" for name, s in row["seconds"].items())
    slowest = max(row["floors"], key=row["floors"].get) if "floors" in row else "none"
    failed = "".join(f"  {name}: {why}" for name, why in row["failed"].items())
    return f"{row['cell']:<44} {rates} GB/s  share {row.get('share', 0):.2f} of {slowest}{failed}"


def about(device: Any) -> dict[str, Any]:
    """The machine, the card and the versions."""
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "device": device.name,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "lanes": device.lanes,
        "wave_bytes": device.wave_bytes,
        "versions": {d.name: d.version for d in distributions() if d.name.lower().startswith(NAMED)},
    }
    if device.name.startswith("cuda"):
        runtime = device.xp.cuda.runtime
        card = runtime.getDeviceProperties(device.number)
        found |= {
            "card": card["name"].decode(),
            "compute": f"{card['major']}.{card['minor']}",
            "memory": card["totalGlobalMem"],
            "driver": runtime.driverGetVersion(),
            "runtime": runtime.runtimeGetVersion(),
        }
    return found


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that was asked for."""
    device: Any = get_device(args.device)
    contenders = [c for c in ALL if c.available(device) and (not args.only or c.name in args.only)]
    contenders += SWEEP if args.sweep else []
    args.rates = {"upload": upload_rate(device, min(256, args.size)), "write": write_rate(device, min(256, args.size))}
    results: dict[str, Any] = {"about": about(device), "size": args.size, "rates": args.rates, "rows": []}
    print(f"{device.name}: upload {args.rates['upload'] / 1e9:.1f} GB/s, write {args.rates['write'] / 1e9:.1f} GB/s")
    ended = time.monotonic() + args.minutes * 60
    with tempfile.TemporaryDirectory(prefix="gpuzarr-bench-", dir=args.dir) as folder:
        args.folder = Path(folder)
        for dtype in args.dtype:
            data = make(args.size, dtype)
            for cell in [c for c in args.cells if c.dtype == dtype]:
                if time.monotonic() > ended:
                    results.setdefault("left_out", []).append(str(cell))
                    continue
                row = measure(cell, data, device, contenders, args)
                results["rows"].append(row)
                print(line(row), flush=True)
                write(args.out, results)  # whatever becomes of the next one
    synchronize(device)
    return results


def write(path: Path | None, results: dict[str, Any]) -> None:
    """The results so far."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1))


def plot(results: dict[str, Any], path: Path) -> None:
    """Rates by chunk size, a panel for each codec; dashes are the slowest floor."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    codecs = list(dict.fromkeys(row["codec"] for row in results["rows"]))
    figure, panels = pyplot.subplots(1, len(codecs), figsize=(4 * len(codecs), 4), sharey=True, squeeze=False)
    for panel, codec in zip(panels[0], codecs, strict=True):
        rows = [r for r in results["rows"] if r["codec"] == codec and r["dtype"] == results["rows"][0]["dtype"]]
        for sharded, name in product((False, True), dict.fromkeys(n for r in rows for n in r["seconds"])):
            mine = [r for r in rows if r["sharded"] == sharded and name in r["seconds"]]
            points = [(r["chunk"] / 1024, r["nbytes"] / min(r["seconds"][name]) / 1e9) for r in mine]
            if points:
                panel.plot(*zip(*points, strict=True), "o-" if sharded else "s:", label=name + " sharded" * sharded)
        floors = [r for r in rows if r["sharded"] and "floors" in r]
        points = [(r["chunk"] / 1024, r["nbytes"] / max(r["floors"].values()) / 1e9) for r in floors]
        if points:
            panel.plot(*zip(*points, strict=True), "k--", label="slowest floor")
        panel.set(title=codec, xlabel="inner chunk, KiB", xscale="log", yscale="log")
    panels[0][0].set_ylabel("decoded GB/s")
    panels[0][-1].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="few cells, two rounds")
    parser.add_argument("--size", type=int, metavar="MIB", help="of an array: 4, 16, 64, 256, 1024 (default) or 4096")
    parser.add_argument("--codec", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--chunk", nargs="+", type=parse_size, help="inner chunks, e.g. 64K 1M")
    parser.add_argument("--layout", choices=("plain", "sharded", "both"), default="both")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=None)
    parser.add_argument("--only", nargs="+", help="only these contenders")
    parser.add_argument(
        "--sweep", action="store_true", help="gpuzarr with other numbers of lanes and sizes of waves too"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float, default=60, help="begin no cell after this long")
    parser.add_argument("--dir", help="where the stores go (default: the temporary directory)")
    parser.add_argument("--out", type=Path, help="JSON file (default: bench/results/DATE-gpu.json; none with --quick)")
    parser.add_argument("--plot", type=Path, help="PNG file")
    args = parser.parse_args(argv)
    small = args.quick and args.device == "emulated"
    args.size = args.size or (4 if small else 256 if args.quick else 1024)
    args.rounds = args.rounds or (2 if args.quick else 5)
    chunks = args.chunk or ((64 << 10, 256 << 10) if args.quick else CHUNKS)
    dtypes = args.dtype or (("float32",) if args.quick else DTYPES)
    layouts = {"plain": (False,), "sharded": (True,), "both": (False, True)}[args.layout]
    if args.quick and args.layout == "both":
        layouts = (True,)
    if not args.quick and args.out is None:
        args.out = HERE / "results" / f"{time.strftime('%Y-%m-%d')}-gpu.json"
    args.cells = [
        Cell(codec, chunk, sharded, dtype)
        for dtype, sharded, chunk, codec in product(dtypes, layouts, chunks, args.codec)
        if dtype == "float32" or args.dtype or (chunk == 256 << 10 and sharded)  # of the others, one layout
        if chunk <= (SHARD if sharded else args.size * MEGA)
    ]
    args.dtype = dtypes
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    args = parse(argv)
    results = run(args)
    write(args.out, results)
    if args.out:
        print(f"written: {args.out}")
    if args.plot:
        plot(results, args.plot)
        print(f"written: {args.plot}")
    return 1 if any(OURS in row["failed"] for row in results["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
