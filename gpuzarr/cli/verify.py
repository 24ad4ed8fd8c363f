"""`gpuzarr verify`: read and check every chunk of every array of a store.

A chunk that is absent is no fault (it stands for the fill value) and is only counted. What is damaged, or what the
store fails to give, is reported, and the check goes on with the next. Where an array is sharded, shards are counted.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.places import hinting, open_place, walk
from gpuzarr.cli.printing import Column, Row, print_errors, print_json, print_table
from gpuzarr.cli.progress import Step, progress

COLUMNS = (Column("array"), *(Column(name, right=True) for name in ("good", "missing", "corrupt")))
LISTED = 20  # findings that are printed for one array; all are in the JSON


@dataclass
class Finding:
    """One chunk, or shard, that could not be read."""

    key: str
    error: str
    message: str


@dataclass
class Verdict:
    """What was found in one array. `unopened` says why a node cannot even be opened; nothing is counted then."""

    path: str
    good: int = 0
    missing: int = 0
    corrupt: int = 0
    findings: list[Finding] = field(default_factory=list)
    unopened: str | None = None

    @property
    def sound(self) -> bool:
        """Whether all that is stored was read."""
        return not self.corrupt and self.unopened is None


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "read and check every chunk of every array"
    parser = add_command(commands, "verify", run, summary, example="gpuzarr verify ocean.zarr")
    add_place(parser, what="path or URL of a store, or of a node in it")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr verify PATH`."""
    verdicts = []
    with progress(not arguments.json) as step, hinting(arguments.path, arguments.option):
        for path, node in walk(*open_place(arguments.path, arguments.option, "r")):
            if isinstance(node, Exception):
                verdicts.append(Verdict(path, unopened=f"{type(node).__name__}: {node}"))
            elif isinstance(node, gpuzarr.Array):
                verdicts.append(check(path, node, step))
    if arguments.json:
        print_json({"path": arguments.path, "arrays": [asdict(verdict) for verdict in verdicts]})
    else:
        _print(verdicts)
    return 0 if all(verdict.sound for verdict in verdicts) else 1


def check(path: str, array: gpuzarr.Array, step: Step) -> Verdict:
    """Read every chunk of one array."""
    verdict = Verdict(path)
    step(path, 0)
    for key, error in array.check_chunks():
        if error is None:
            verdict.good += 1
        else:
            verdict.corrupt += 1
            verdict.findings.append(Finding(key, type(error).__name__, str(error)))
        step(path, 1)
    verdict.missing = math.prod(array.write_grid.counts) - verdict.good - verdict.corrupt
    return verdict


def _print(verdicts: list[Verdict]) -> None:
    rows = []
    for verdict in verdicts:
        counts = [str(n) for n in (verdict.good, verdict.missing, verdict.corrupt)]
        cells = counts if verdict.unopened is None else ["", "", "unopened"]
        rows.append(Row([verdict.path, *cells], "" if verdict.sound else "red"))
    print_table(COLUMNS, rows)
    for verdict in verdicts:
        print_errors(f"{verdict.path}: {line}" for line in _complaints(verdict))
    arrays = sum(verdict.unopened is None for verdict in verdicts)
    good, corrupt = (sum(getattr(verdict, name) for verdict in verdicts) for name in ("good", "corrupt"))
    unopened = f", {len(verdicts) - arrays} cannot be opened" if arrays < len(verdicts) else ""
    print(f"{arrays} arrays, {good} good chunks, {corrupt} corrupt{unopened}")


def _complaints(verdict: Verdict) -> Iterator[str]:
    if verdict.unopened is not None:
        yield verdict.unopened
    for finding in verdict.findings[:LISTED]:
        yield f"{finding.error}: {finding.message}"
    if len(verdict.findings) > LISTED:
        yield f"and {len(verdict.findings) - LISTED} more (see --json)"
