"""`gpuzarr recover`: take away what the dead left in a store."""

from __future__ import annotations

import argparse

from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.fsck import print_findings
from gpuzarr.cli.places import anything_at, hinting
from gpuzarr.recover import recover


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "take away what processes that died left"
    parser = add_command(commands, "recover", run, summary, example="gpuzarr recover ocean.zarr")
    add_place(parser, what="path or URL of a store, or of a node in it")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr recover PATH`."""
    with hinting(arguments.path, arguments.option):
        store, path = anything_at(arguments.path, arguments.option, "r+")
    with store:
        findings = list(recover(store, path))
    print_findings(arguments, findings)
    return 0 if all(done for _, done in findings) else 1
