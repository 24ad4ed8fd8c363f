"""What was measured, as lines, as ratios, as JSON and as a picture.

A ratio is a rival's time over gpuzarr's: above 1, gpuzarr is the quicker.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp, log
from pathlib import Path
from typing import Any

from cells import MIB, QUESTIONS, Cell
from contenders import BRIDGE, CORES, DEFAULT, FUSED, OURS, versions

PIPELINES = (DEFAULT, FUSED)  # zarr-python's own
READS = ("read", "slices", "small", "points")


@dataclass
class Row:
    """All turns of one cell: seconds, or bytes for "memory"."""

    cell: Cell
    turns: dict[str, list[float]]
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, float]:
        """The quickest turn of each contender."""
        return {name: min(times) for name, times in self.turns.items() if times}

    def ratio(self, rivals: Iterable[str] | None = None, over: str = OURS) -> float | None:
        """The quickest of these rivals (default: of all) over gpuzarr, or another contender."""
        best = self.best
        rivals = best.keys() - {OURS, BRIDGE} if rivals is None else rivals
        times = [t for name, t in best.items() if name in rivals]
        return min(times) / best[over] if times and over in best and best[over] > 0 else None

    @property
    def bridge(self) -> float | None:
        """zarr-python's default pipeline over ours in zarr-python."""
        return self.ratio([DEFAULT], BRIDGE) if _timed(self) else None


@dataclass
class Results:
    """Everything of one run."""

    size: int
    zarr_format: int
    names: list[str]
    rows: list[Row] = field(default_factory=list)
    imports: dict[str, float] = field(default_factory=dict)


def line(row: Row) -> str:
    """One cell: every contender's time, then the ratios."""
    cells = [f"{name} {_amount(row.cell.what, value)}" for name, value in row.best.items()]
    cells += [f"{name} failed ({reason[:60]})" for name, reason in row.failed.items()]
    ratios = ""
    if row.cell.what != "memory" and (best := row.ratio()) is not None:
        default = row.ratio([DEFAULT])
        ratios = f"  | {best:.2f}x best" + (f", {default:.1f}x zarr" if default else "")
    if row.bridge is not None:
        ratios += f"  | our pipeline in zarr-python {row.bridge:.2f}x its default"
    return f"{row.cell!s:28} " + "  ".join(cells) + ratios


def summary(results: Results) -> str:
    """Geometric means by question, the cells where a rival is quicker, imports, memory."""
    lines = ["", f"{results.size} MiB of float32, zarr v{results.zarr_format}, {host()['cpu']}, {CORES} cores", ""]
    if OURS in results.names and results.rows:
        lines += _means(results)
        behind = sorted((r, str(row.cell)) for row in results.rows if _timed(row) and (r := row.ratio() or 9) < 1)
        lines += ["", "a rival is quicker in: " + ("; ".join(f"{c} ({r:.2f}x)" for r, c in behind) or "no cell")]
    if by_bridge := sorted((row.bridge, str(row.cell)) for row in results.rows if row.bridge is not None):
        mean, (least, cell) = _mean(ratio for ratio, _ in by_bridge), by_bridge[0]
        lines += ["", f"our pipeline in zarr-python: {mean:.2f}x its default, at least {least:.2f}x ({cell})"]
    if results.imports:
        lines += ["", "import (fresh process, NumPy's included): " + _pairs(results.imports, "import"), ""]
    for row in results.rows:
        if row.cell.what == "memory":
            beyond = {name: peak - results.size * MIB for name, peak in row.best.items()}
            lines.append(
                f"memory beyond the destination, {row.cell.codec} {row.cell.layout}: {_pairs(beyond, 'memory')}"
            )
    return "\n".join(lines)


def _means(results: Results) -> list[str]:
    """The table of geometric means."""
    columns = ("cells", "best rival", "zarr-python best", "zarr-python default", "worst cell")
    lines = [
        "geometric means of (rival's time / gpuzarr's time)",
        "",
        f"{'':10}" + "".join(f"{c:>21}" for c in columns),
    ]
    for name, questions in {**{q: (q,) for q in QUESTIONS}, "open": ("open",), "all reads": READS}.items():
        rows = [row for row in results.rows if row.cell.what in questions and row.ratio() is not None]
        if rows:
            means = [_mean(row.ratio(rivals) for row in rows) for rivals in (None, PIPELINES, (DEFAULT,))]
            numbers = [*means, min(row.ratio() or 0 for row in rows)]
            lines.append(f"{name:10}{len(rows):21}" + "".join(f"{n:21.2f}" for n in numbers))
    return lines


def to_json(results: Results) -> str:
    """The whole run, for later comparison."""
    document = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": host(),
        "versions": versions(),
        "size_mib": results.size,
        "zarr_format": results.zarr_format,
        "import_seconds": results.imports,
        "rows": [
            {
                "what": row.cell.what,
                "codec": row.cell.codec,
                "chunk": row.cell.layout.chunk,
                "shard": row.cell.layout.shard,
                "unit": "bytes" if row.cell.what == "memory" else "seconds",
                "best": row.best,
                "turns": row.turns,
                "failed": row.failed,
                "ratio_best_rival": row.ratio() if _timed(row) else None,
                "ratio_zarr_default": row.ratio([DEFAULT]) if _timed(row) else None,
                "ratio_zarr_default_over_bridge": row.bridge,
            }
            for row in results.rows
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def plot(results: Results, path: Path) -> None:
    """One row of dots for each cell: every rival's time over gpuzarr's."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in results.rows if _timed(row) and row.ratio() is not None][::-1]
    figure, axes = plt.subplots(figsize=(9, 1.5 + 0.2 * len(rows)), layout="constrained")
    for name in (n for n in results.names if n != OURS):
        dots = [(row.ratio([name]), i) for i, row in enumerate(rows) if row.ratio([name])]
        axes.plot([x for x, _ in dots], [y for _, y in dots], "o", markersize=4, label=name)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="rival's time / gpuzarr's time", yticks=range(len(rows)))
    axes.set_yticklabels([str(row.cell) for row in rows], fontsize=7)
    axes.set_title(f"{results.size} MiB float32, {host()['cpu']}, {CORES} cores", fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def host() -> dict[str, Any]:
    """The machine, as far as it matters."""
    cpu = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        cpu = found.group(1) if found else cpu
    except OSError:
        pass
    return {
        "cpu": cpu,
        "cores": CORES,
        "system": platform.system(),
        "python": platform.python_version(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def host_kind() -> str:
    """For a file name, e.g. "amd-epyc-2cores"."""
    return re.sub(r"[^a-z0-9]+", "-", f"{host()['cpu']} {CORES}cores".lower()).strip("-")


def _timed(row: Row) -> bool:
    return row.cell.what != "memory"


def _mean(ratios: Iterable[float | None]) -> float:
    logs = [log(r) for r in ratios if r]
    return exp(sum(logs) / len(logs)) if logs else float("nan")


def _pairs(values: dict[str, float], what: str) -> str:
    return ", ".join(f"{name} {_amount(what, value)}" for name, value in values.items())


def _amount(what: str, value: float) -> str:
    if what == "memory":
        return f"{value / MIB:.0f} MiB"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 1e-3 else f"{value * 1e6:.0f} us"
