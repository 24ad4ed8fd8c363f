"""`gpuzarr doctor`: what was found on this machine, what is missing, and what will be used."""

from __future__ import annotations

import argparse
from importlib import import_module

from gpuzarr.cli.arguments import Commands, add_command
from gpuzarr.cli.printing import print_json, print_styled
from gpuzarr.errors import GpuError


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "say what is on this machine, what is missing, and what is used"
    parser = add_command(commands, "doctor", run, summary, example="gpuzarr doctor")
    parser.add_argument(
        "--retry", metavar="FOLDER", help="measure whether KvikIO or the host reads files there quicker to the GPU"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what was found. GpuError where a trial that was asked for could not be made."""
    machine = import_module("gpuzarr.cli.machine")  # codecs, and the ways to a GPU
    if arguments.retry is not None and (reason := machine.retry(arguments.retry)):
        raise GpuError(reason)
    found = machine.examine()
    if arguments.json:
        print_json(found)
        return 0
    for title, rows in found.items():
        print_styled(title, "bold")
        width = max(map(len, rows))
        for name, text in rows.items():
            print(f"  {name:<{width}}  {text}")
    return 0
