"""gpuzarr before and after a change: two source trees on the same files, in one run, taking turns.

    git worktree add ../before 711fc7c
    python bench/before.py ../before --what read --seconds 30

Each tree lives in a process of its own, and there are several such pairs of processes one after the other, for where a
process happens to lie in memory is worth a few per cent by itself. The questions are those of compare.py, but every
cell gets as many turns as fit into its seconds. A ratio is the time after over the time before, of the least times and
of the medians: above 1 the change made it slower.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any, Self

import cells
import numpy as np
import report
from cells import CODECS, PLAIN, SHARDED, Cell, Layout
from compare import Store
from contenders import ALL, OURS

HERE = Path(__file__).parent
GENERATIONS = 3  # pairs of processes
LEAST_ROUNDS = 4  # of each generation
LIMIT = 1.03
DATA = "data.npy"


class Tree:
    """A process with the gpuzarr of one source tree."""

    def __init__(self, root: Path, data_file: Path) -> None:
        command = [sys.executable, str(HERE / "before.py"), "--serve", str(root), str(data_file)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str, store: Path) -> float:
        """Seconds of one turn."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([what, str(store)]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{what} {store.name}: a tree's process ended with {self._process.wait()}")
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@dataclass
class Pair:
    """The turns of one cell on both trees, in seconds."""

    cell: Cell
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> tuple[float, float]:
        """After over before: of the least times, and of the medians."""
        return min(self.after) / min(self.before), median(self.after) / median(self.before)

    def __str__(self) -> str:
        least, middle = self.ratios
        slower = "  slower" if least > LIMIT else ""
        times = f"{min(self.before) * 1e3:10.3f} {min(self.after) * 1e3:10.3f} ms"
        return f"{self.cell!s:28} {times}  x {least:.3f} least, x {middle:.3f} median, {len(self.after)} turns{slower}"


def serve(root: Path, data_file: Path) -> None:
    """Answer questions on standard input with seconds, by the gpuzarr of `root`."""
    sys.path.insert(0, str(root))
    import gpuzarr

    if not Path(gpuzarr.__file__).is_relative_to(root):
        raise SystemExit(f"gpuzarr comes from {gpuzarr.__file__}, not from {root}")
    contender = next(c for c in ALL if c.name == OURS)
    data = np.load(data_file)
    stores: dict[str, Store] = {}
    for question in sys.stdin:
        what, path = json.loads(question)
        store = stores.setdefault(path, Store(Path(path), data))
        print(store.turn(what, contender)(), flush=True)


def run(arguments: argparse.Namespace) -> list[Pair]:
    """All cells that were asked for."""
    data = cells.field(arguments.size)
    pairs = []
    with tempfile.TemporaryDirectory(prefix="gpuzarr-bench-", dir=arguments.dir) as directory:
        np.save(Path(directory) / DATA, data)
        for layout in arguments.layouts:
            for codec in arguments.codec:
                path = Path(directory) / f"{codec}-{layout}".replace(" ", "-")
                Store(path, data).fill(codec, layout, 3)
                pairs += both(path, [Pair(Cell(what, codec, layout)) for what in arguments.what], arguments)
                shutil.rmtree(path)
    return pairs


def both(path: Path, pairs: list[Pair], arguments: argparse.Namespace) -> list[Pair]:
    """The turns of both trees on one store."""
    data_file = path.parent / DATA
    for _ in range(GENERATIONS):
        with Tree(arguments.before, data_file) as before, Tree(arguments.after, data_file) as after:
            for pair in pairs:
                what = pair.cell.what
                for tree in (before, after):
                    tree.ask(what, path)  # the first turn checks the values and fills the caches of the process
                began, number = time.perf_counter(), 0
                while number < LEAST_ROUNDS or time.perf_counter() - began < arguments.seconds / GENERATIONS:
                    turns = [(before, pair.before), (after, pair.after)]
                    for tree, times in turns if number % 2 else reversed(turns):
                        times.append(tree.ask(what, path))
                    number += 1
    for pair in pairs:
        print(pair, flush=True)
    return pairs


def summary(pairs: list[Pair]) -> str:
    """The geometric mean and the slower cells of each question."""
    lines = [""]
    for what in dict.fromkeys(pair.cell.what for pair in pairs):
        ratios = {str(pair.cell): pair.ratios[0] for pair in pairs if pair.cell.what == what}
        mean = exp(sum(map(log, ratios.values())) / len(ratios))
        worst = max(ratios, key=lambda cell: ratios[cell])
        slower = sum(ratio > LIMIT for ratio in ratios.values())
        lines.append(
            f"{what}: x {mean:.3f} in the geometric mean of {len(ratios)} cells; {slower} slower by more than 3%; "
            f"worst x {ratios[worst]:.3f} ({worst})"
        )
    return "\n".join(lines)


def to_json(arguments: argparse.Namespace, pairs: list[Pair]) -> str:
    """Every turn, for the record."""
    rows = [{**asdict(pair), "ratio_of_least": pair.ratios[0], "ratio_of_medians": pair.ratios[1]} for pair in pairs]
    document: dict[str, Any] = {"host": report.host(), "size_mib": arguments.size}
    for name, root in (("before", arguments.before), ("after", arguments.after)):
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        document[name] = subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or None
    return json.dumps({**document, "rows": rows}, indent=1) + "\n"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=lambda p: Path(p).resolve(), nargs="?", help="a checkout from before the change")
    parser.add_argument("--after", type=lambda p: Path(p).resolve(), default=HERE.parent, help="default: this one")
    parser.add_argument("--what", nargs="+", choices=report.READS, default=list(report.READS))
    parser.add_argument("--codec", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--chunk", nargs="+", type=cells.parse_size, help="only these chunk sizes, e.g. 16K 1M")
    parser.add_argument("--plain", action="store_true", help="no shards")
    parser.add_argument("--sharded", action="store_true", help="only shards")
    parser.add_argument("--size", type=int, default=256, metavar="MIB", help="size of the array (default: 256)")
    parser.add_argument("--seconds", type=float, default=15, help="time for the turns of a cell (default: 15)")
    parser.add_argument("--dir", help="where the stores go (default: the temporary directory)")
    parser.add_argument("--out", type=Path, help="JSON file (default: none)")
    parser.add_argument("--serve", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    layouts: list[Layout] = [] if arguments.sharded else list(PLAIN)
    layouts += [] if arguments.plain else SHARDED
    if arguments.chunk:
        layouts = [x for x in layouts if x.chunk in arguments.chunk]
    arguments.layouts = [x for x in layouts if (x.shard or x.chunk) <= arguments.size << 20]
    if arguments.serve is None and arguments.before is None:
        parser.error("which tree is the one before?")
    return arguments


def main() -> int:
    """Measure, print, write; 1 where a cell is slower by more than 3%."""
    arguments = parse()
    if arguments.serve is not None:
        serve(*arguments.serve)
        return 0
    pairs = run(arguments)
    print(summary(pairs))
    if arguments.out:
        arguments.out.write_text(to_json(arguments, pairs))
    return int(any(pair.ratios[0] > LIMIT for pair in pairs))


if __name__ == "__main__":
    sys.exit(main())
