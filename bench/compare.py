"""gpuzarr beside zarr-python, zarrs and tensorstore: the same files, in one run, taking turns.

    python bench/compare.py               everything (about an hour on two cores)
    python bench/compare.py --quick       seconds: small data, few cells
    python bench/compare.py --what read --codec zstd --chunk 64K 1M

Prints seconds and ratios, writes JSON and, with --plot, a picture. See bench/README.md for how numbers are taken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import report
from cells import CODECS, PLAIN, QUESTIONS, SHARDED, Cell, Layout, field, parse_size, points, slabs, windows
from contenders import ALL, DEFAULT, FUSED, OURS, Contender, create
from timing import ROUNDS, clock, median_latency, take_turns

HERE = Path(__file__).parent
EXTRA = ("open", "memory")  # asked of the zstd stores only: the codec makes no difference
WHOLE = (slice(None), slice(None))


class WrongResult(Exception):
    """A contender returned or wrote something else than the data; its time would mean nothing."""


class Store:
    """One set of files, and the turns of a contender on it."""

    def __init__(self, path: Path, data: np.ndarray[Any, Any]) -> None:
        self.path, self.data = path, data
        self._checked: set[tuple[str, str]] = set()
        self._small, self._slabs, self._points = windows(data.shape, 100), slabs(data.shape), points(data.shape)

    def fill(self, codec: str, layout: Layout, zarr_format: int) -> None:
        """Write the files, with zarr-python."""
        create(self.path, self.data.shape, layout, codec, zarr_format)
        writer = next(c for c in ALL if c.name in (FUSED, DEFAULT) and c.available())
        writer.write(writer.open(self.path, "r+"), self.data)

    def turn(self, what: str, contender: Contender) -> Callable[[], float]:
        """A function that does `what` once and returns its seconds (bytes for "memory")."""
        if what in ("read", "slices", "points"):
            return lambda: self._read(what, contender)
        return {
            "small": lambda: self._small_reads(contender),
            "write": lambda: self._write(contender),
            "open": lambda: median_latency([lambda: contender.open(self.path, "r")] * 50),
            "memory": lambda: float(fresh("memory", contender.name, str(self.path))),
        }[what]

    def _read(self, what: str, contender: Contender) -> float:
        array = contender.open(self.path, "r")
        if what == "points":
            ask, expected = lambda: [contender.points(array, *self._points)], [self.data[self._points]]
        else:
            selections = [WHOLE] if what == "read" else self._slabs
            ask = lambda: [contender.read(array, s) for s in selections]  # noqa: E731
            expected = [self.data[s] for s in selections]
        began = time.perf_counter()
        got = ask()
        seconds = time.perf_counter() - began
        self._check(what, contender, got, expected)
        return seconds

    def _small_reads(self, contender: Contender) -> float:
        array = contender.open(self.path, "r")
        got = [contender.read(array, s) for s in self._small[:3]]
        self._check("small", contender, got, [self.data[s] for s in self._small[:3]])
        return median_latency([lambda s=s: contender.read(array, s) for s in self._small])

    def _write(self, contender: Contender) -> float:
        target = self.path.with_suffix(".written")
        target.mkdir()
        try:
            document = next(self.path / n for n in ("zarr.json", ".zarray") if (self.path / n).exists())
            shutil.copy(document, target)
            array = contender.open(target, "r+")
            seconds = clock(lambda: contender.write(array, self.data))
            if ("write", contender.name) not in self._checked:
                judge = next(c for c in reversed(ALL) if c.name != contender.name and c.available())
                self._check("write", contender, [judge.read(judge.open(target, "r"), WHOLE)], [self.data])
        finally:
            shutil.rmtree(target)
        return seconds

    def _check(self, what: str, contender: Contender, got: list[Any], expected: list[Any]) -> None:
        """Compare the results of a contender's first turn."""
        if (what, contender.name) in self._checked:
            return
        if not all(np.array_equal(g, e) for g, e in zip(got, expected, strict=True)):
            raise WrongResult(f"{contender.name} {what} {self.path.name}: not the data that was written")
        self._checked.add((what, contender.name))


def fresh(*arguments: str) -> str:
    """What bench/fresh.py prints."""
    command = [sys.executable, str(HERE / "fresh.py"), *arguments]
    # Installed packages are compiled; a source tree is too, after its first import, unless the environment forbids it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def import_times(contenders: list[Contender], rounds: int) -> dict[str, float]:
    """Seconds of the quickest import of each contender's modules in a fresh process, NumPy's included."""
    modules = {"numpy": ("numpy",)} | {c.name: c.modules for c in contenders if c.name != FUSED}
    turns = {name: (lambda m=m: float(fresh("import", *m))) for name, m in modules.items()}
    return {name: min(times) for name, times in take_turns(turns, 2 * rounds).items()}


def measure(store: Store, cell: Cell, contenders: list[Contender], rounds: int) -> report.Row:
    """One row of the table; a contender that cannot do it is left out, with the reason."""
    turns, failed = {}, {}
    for contender in contenders:
        turn = store.turn(cell.what, contender)
        try:
            first = turn()
        except WrongResult:
            raise
        except Exception as error:  # noqa: BLE001 - a rival that fails is a finding, not the end of the run
            failed[contender.name] = f"{type(error).__name__}: {error}"
            continue
        turns[contender.name] = _after(first, turn)
    if cell.what == "memory":
        rounds = 1
    return report.Row(cell, take_turns(turns, rounds), failed)


def _after(first: float, turn: Callable[[], float]) -> Callable[[], float]:
    """The turns of a contender whose first one is already over."""
    waiting = [first]
    return lambda: waiting.pop() if waiting else turn()


def run(arguments: argparse.Namespace) -> report.Results:
    """Measure everything that was asked for."""
    contenders = [c for c in ALL if c.available() and (not arguments.only or c.name in arguments.only)]
    missing = [c.name for c in ALL if c not in contenders]
    print(f"taking part: {', '.join(c.name for c in contenders)}" + (f"; not: {', '.join(missing)}" if missing else ""))
    results = report.Results(arguments.size, arguments.zarr_format, [c.name for c in contenders])
    if "import" in arguments.what:
        results.imports = import_times(contenders, arguments.rounds)
    data = field(arguments.size)
    with tempfile.TemporaryDirectory(prefix="gpuzarr-bench-", dir=arguments.dir) as directory:
        for layout in arguments.layouts:
            for codec in arguments.codec:
                path = Path(directory) / f"{codec}-{layout}".replace(" ", "-")
                asked = [w for w in arguments.what if w in QUESTIONS or (w in EXTRA and codec == "zstd")]
                if not asked:
                    continue
                store = Store(path, data)
                store.fill(codec, layout, arguments.zarr_format)
                for what in asked:
                    row = measure(store, Cell(what, codec, layout), contenders, arguments.rounds)
                    results.rows.append(row)
                    print(report.line(row), flush=True)
                shutil.rmtree(path)
    return results


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    everything = (*QUESTIONS, *EXTRA, "import")
    parser.add_argument("--quick", action="store_true", help="16 MiB, few cells, two rounds: a check that it runs")
    parser.add_argument("--what", nargs="+", choices=everything, default=list(everything))
    parser.add_argument("--codec", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--chunk", nargs="+", type=parse_size, help="only these chunk sizes, e.g. 16K 1M")
    parser.add_argument("--plain", action="store_true", help="no shards")
    parser.add_argument("--sharded", action="store_true", help="only shards")
    parser.add_argument("--only", nargs="+", help="only these contenders")
    parser.add_argument("--zarr-format", type=int, choices=(2, 3), default=3)
    parser.add_argument("--size", type=int, default=256, metavar="MIB", help="size of the array (default: 256)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each contender (default: {ROUNDS})")
    parser.add_argument("--dir", help="where the stores go (default: the temporary directory)")
    parser.add_argument("--out", type=Path, help="JSON file (default: bench/results/DATE-HOST.json; none with --quick)")
    parser.add_argument("--plot", type=Path, help="PNG file")
    arguments = parser.parse_args(argv)
    layouts = [] if arguments.sharded else list(PLAIN)
    if not arguments.plain and arguments.zarr_format == 3:
        layouts += SHARDED
    if arguments.quick:
        arguments.size, arguments.rounds = 16, 2
        arguments.codec = [c for c in arguments.codec if c in ("none", "zstd")]
        layouts = [x for x in layouts if x.chunk in (64 << 10, 1 << 20) and (x.shard or 0) <= 16 << 20]
    elif arguments.out is None:
        arguments.out = HERE / "results" / f"{time.strftime('%Y-%m-%d')}-{report.host_kind()}.json"
    if arguments.chunk:
        layouts = [x for x in layouts if x.chunk in arguments.chunk]
    arguments.layouts = [x for x in layouts if (x.shard or x.chunk) <= arguments.size << 20]
    return arguments


def main() -> int:
    """Measure, print, write."""
    arguments = parse()
    results = run(arguments)
    print(report.summary(results))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(report.to_json(results))
        print(f"written: {arguments.out}")
    if arguments.plot:
        report.plot(results, arguments.plot)
        print(f"written: {arguments.plot}")
    behind = [row for row in results.rows if OURS in row.failed]
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
