"""`gpuzarr fsck` and `gpuzarr recover`: what is wrong with a store, and taking away what the dead left in it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import chain

from gpuzarr.cli.inspect import printable
from gpuzarr.errors import NodeNotFoundError
from gpuzarr.fsck import Finding, fsck
from gpuzarr.recover import recover
from gpuzarr.storage import Store, open_store

LISTED = 100  # findings that are printed; all are in the JSON


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr fsck PATH`."""
    store, path = _place(arguments, "r")
    findings = list(fsck(store, path, deep=arguments.deep))
    _print(arguments, [(finding, None) for finding in findings])
    return 1 if findings else 0


def run_recover(arguments: argparse.Namespace) -> int:
    """`gpuzarr recover PATH`."""
    store, path = _place(arguments, "r+")
    with store:
        findings = list(recover(store, path))
    _print(arguments, findings)
    return 0 if all(done for _, done in findings) else 1


def _place(arguments: argparse.Namespace, mode: str) -> tuple[Store, str]:
    try:
        store, path = open_store(arguments.path, mode=mode, storage_options=dict(arguments.option) or None)
    except TypeError as error:  # options that do not belong to this kind of path
        raise ValueError(error) from error
    if store.supports_listing and next(chain(store.list(path), store.leftovers(path)), None) is None:
        raise NodeNotFoundError(f"nothing is at {arguments.path!r}")
    return store, path


def _print(arguments: argparse.Namespace, findings: Sequence[tuple[Finding, bool | None]]) -> None:
    if arguments.json:
        shown = [
            finding._asdict() | ({"mendable": finding.mended} if done is None else {"mended": done})
            for finding, done in findings
        ]
        print(json.dumps({"path": arguments.path, "findings": shown}, indent=2))
        return
    for finding, done in findings[:LISTED]:
        end = ": mended" if done else ": left as it is" if done is not None else ""
        print(printable(f"{finding.kind} {finding.key}: {finding.message}{end}"))
    if len(findings) > LISTED:
        print(f"and {len(findings) - LISTED} more (see --json)", file=sys.stderr)
    mendable = sum(finding.mended for finding, done in findings if done is None)
    hint = f"; `gpuzarr recover` mends {mendable}" if mendable else ""
    print(f"{len(findings)} findings{hint}" if findings else "nothing to be found")
