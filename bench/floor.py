"""How far whole reads are from the floor: the codec's library alone, on all cores.

    python bench/floor.py --codec zstd --chunk 256K

The floor decodes every chunk from memory into one buffer a thread, which stays in the processor's cache: no files, no
result, nothing but the calls of the library that all contenders decode with. Nobody who decodes with that library on
these cores can be quicker, so zarr-python's time over the floor bounds what any pipeline can gain. Contenders take
turns, and the quickest turn counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import cells
import numpy as np
import report
from cells import PLAIN, Cell
from compare import Store
from contenders import ALL, BRIDGE, CORES, DEFAULT, OURS, versions
from timing import take_turns

import gpuzarr
from gpuzarr.codecs.engines.memory import address

FLOOR = "floor"
CODECS = tuple(name for name in cells.CODECS if name != "none")


def floor(path: Path) -> Callable[[], float]:
    """A turn of the floor on an array without shards: seconds to decode all of its chunks."""
    chain = gpuzarr.open_array(path, mode="r")._stored.chain
    if chain.nbytes is None or not chain.lands:
        raise SystemExit(f"{path.name}: chunks that are not decoded by one call have no such floor")
    nbytes = chain.nbytes
    encoded = [file.read_bytes() for file in (path / "c").rglob("*") if file.is_file()]
    places = [(address(data), len(data)) for data in encoded]

    def turn() -> float:
        left = iter(range(len(encoded)))

        def walk() -> None:
            room = np.empty(nbytes, np.uint8)
            for i in left:
                chain.decode_addresses(*places[i], room.ctypes.data)

        threads = [threading.Thread(target=walk) for _ in range(CORES)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    return turn


def measure(path: Path, data: np.ndarray, cell: Cell, rounds: int) -> report.Row:
    """One cell."""
    store = Store(path, data)
    store.fill(cell.codec, cell.layout, 3)
    contenders = [c for c in ALL if c.name in (OURS, DEFAULT, BRIDGE) and c.available()]
    turns = {FLOOR: floor(path)} | {c.name: store.turn(cell.what, c) for c in contenders}
    for turn in turns.values():
        turn()  # values are checked, caches are filled
    return report.Row(cell, take_turns(turns, rounds))


def over_floor(row: report.Row) -> dict[str, float]:
    """Everybody's quickest turn over the floor's."""
    return {name: seconds / row.best[FLOOR] for name, seconds in row.best.items() if name != FLOOR}


def line(row: report.Row) -> str:
    """One cell."""
    ratios = "  ".join(f"{name} {ratio:.2f}" for name, ratio in over_floor(row).items())
    return f"{row.cell!s:20} floor {row.best[FLOOR] * 1e3:8.1f} ms;  over the floor: {ratios}"


def to_json(size: int, rows: list[report.Row]) -> str:
    """Every turn, for the record."""
    cells_of = [
        {"cell": asdict(row.cell), "seconds": row.turns, "best": row.best, "over_floor": over_floor(row)}
        for row in rows
    ]
    document = {"host": report.host(), "versions": versions(), "size_mib": size, "rows": cells_of}
    return json.dumps(document, indent=1) + "\n"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--codec", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--chunk", nargs="+", type=cells.parse_size, help="only these chunk sizes, e.g. 16K 1M")
    parser.add_argument("--size", type=int, default=256, metavar="MIB", help="size of the array (default: 256)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender (default: 9)")
    parser.add_argument("--dir", help="where the stores go (default: the temporary directory)")
    parser.add_argument("--out", type=Path, help="JSON file (default: none)")
    arguments = parser.parse_args()
    rows: list[report.Row] = []
    data = cells.field(arguments.size)
    with tempfile.TemporaryDirectory(prefix="gpuzarr-bench-", dir=arguments.dir) as directory:
        for layout in PLAIN:
            if layout.chunk > arguments.size << 20 or (arguments.chunk and layout.chunk not in arguments.chunk):
                continue
            for codec in arguments.codec:
                path = Path(directory) / f"{codec}-{layout}"
                rows.append(measure(path, data, Cell("read", codec, layout), arguments.rounds))
                print(line(rows[-1]), flush=True)
                shutil.rmtree(path)
    if arguments.out:
        arguments.out.write_text(to_json(arguments.size, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
