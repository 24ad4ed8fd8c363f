"""`gpuzarr fsck`: what is wrong with a store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.places import anything_at, hinting
from gpuzarr.cli.printing import print_json
from gpuzarr.fsck import Finding, fsck
from gpuzarr.tree import printable

LISTED = 100  # findings that are printed; all are in the JSON


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "look for what is not as it should be, and change nothing"
    parser = add_command(commands, "fsck", run, summary, example="gpuzarr fsck --deep ocean.zarr")
    add_place(parser, what="path or URL of a store, or of a node in it")
    parser.add_argument("--deep", action="store_true", help="read and decode every chunk too")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr fsck PATH`."""
    with hinting(arguments.path, arguments.option):
        store, path = anything_at(arguments.path, arguments.option, "r")
    findings = list(fsck(store, path, deep=arguments.deep))
    print_findings(arguments, [(finding, None) for finding in findings])
    return 1 if findings else 0


def print_findings(arguments: argparse.Namespace, findings: Sequence[tuple[Finding, bool | None]]) -> None:
    """Findings, and of each whether it is mended now (None where nobody tried)."""
    if arguments.json:
        shown = [
            finding._asdict() | ({"mendable": finding.mended} if done is None else {"mended": done})
            for finding, done in findings
        ]
        print_json({"path": arguments.path, "findings": shown})
        return
    for finding, done in findings[:LISTED]:
        end = ": mended" if done else ": left as it is" if done is not None else ""
        print(printable(f"{finding.kind} {finding.key}: {finding.message}{end}"))
    if len(findings) > LISTED:
        print(f"and {len(findings) - LISTED} more (see --json)", file=sys.stderr)
    mendable = sum(finding.mended for finding, done in findings if done is None)
    hint = f"; `gpuzarr recover` mends {mendable}" if mendable else ""
    print(f"{len(findings)} findings{hint}" if findings else "nothing to be found")
