"""`gpuzarr verify`: read and check every chunk of every array of a store.

A chunk that is absent is no fault (it stands for the fill value) and is only counted. A damaged chunk, or one that
the store fails to give, is reported and the check goes on with the next.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import gpuzarr
from gpuzarr.cli.inspect import open_node, walk
from gpuzarr.errors import ChunkNotFoundError

LISTED = 20  # findings that are printed for one array; all are in the JSON


@dataclass
class Finding:
    """One chunk that could not be read."""

    key: str
    error: str
    message: str


@dataclass
class Verdict:
    """What was found in one array."""

    path: str
    good: int = 0
    missing: int = 0
    corrupt: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, key: str, error: Exception | None) -> None:
        """Count one chunk."""
        if error is None:
            self.good += 1
        elif isinstance(error, ChunkNotFoundError):
            self.missing += 1
        else:
            self.corrupt += 1
            self.findings.append(Finding(key, type(error).__name__, str(error)))


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr verify PATH`."""
    nodes = list(walk(open_node(arguments)))
    verdicts = [check(path, node) for path, node in nodes if isinstance(node, gpuzarr.Array)]
    if arguments.json:
        print(json.dumps({"path": arguments.path, "arrays": [asdict(verdict) for verdict in verdicts]}, indent=2))
    else:
        _print(verdicts)
    return 1 if any(verdict.corrupt for verdict in verdicts) else 0


def check(path: str, array: Any) -> Verdict:
    """Read every chunk of one array."""
    verdict = Verdict(path)
    for key, error in array.check_chunks():
        verdict.add(key, error)
    return verdict


def _print(verdicts: list[Verdict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("array", box=None, pad_edge=False)
    for name in ("good", "missing", "corrupt"):
        table.add_column(name, justify="right")
    for verdict in verdicts:
        counts = [str(n) for n in (verdict.good, verdict.missing, verdict.corrupt)]
        table.add_row(verdict.path, *counts, style="red" if verdict.corrupt else None)
    Console().print(table)
    for verdict in verdicts:
        for finding in verdict.findings[:LISTED]:
            print(f"{verdict.path}: {finding.error}: {finding.message}", file=sys.stderr)
        if len(verdict.findings) > LISTED:
            print(f"{verdict.path}: and {len(verdict.findings) - LISTED} more (see --json)", file=sys.stderr)
    corrupt = sum(verdict.corrupt for verdict in verdicts)
    chunks = sum(verdict.good for verdict in verdicts)
    print(f"{len(verdicts)} arrays, {chunks} good chunks, {corrupt} corrupt")
