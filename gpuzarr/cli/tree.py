"""`gpuzarr tree`: the hierarchy, drawn."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.places import describe, hinting, members, the_store, walk
from gpuzarr.cli.printing import print_json, printable
from gpuzarr.errors import BaseZarrError
from gpuzarr.tree import tree_text


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    parser = add_command(commands, "tree", run, "draw the hierarchy", example="gpuzarr tree ocean.zarr")
    add_place(parser, what="path or URL of a store, or of a node in it")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr tree PATH`."""
    with hinting(arguments.path):
        store = the_store(arguments)
        try:  # listing the groups only is much quicker than listing every chunk
            found = list(members(gpuzarr.open(store, mode="r")))
        except BaseZarrError:
            found = list(walk(store))
    if arguments.json:
        print_json([describe(path, node) for path, node in found])
    elif len(found) == 1 and isinstance(found[0][1], gpuzarr.Array):
        print(f"/ {found[0][1].shape} {found[0][1].dtype}")
    else:
        print(tree_text((_drawn(*each) for each in found), max_nodes=sys.maxsize), end="")
    damaged = [(path, node) for path, node in found if isinstance(node, Exception)]
    for path, error in damaged:
        print(printable(f"{path}: {type(error).__name__}: {error}"), file=sys.stderr)
    return 1 if damaged else 0


def _drawn(path: str, node: gpuzarr.Array | gpuzarr.Group | Exception) -> Any:
    if isinstance(node, gpuzarr.Array):
        return path, "array", node.shape, node.dtype
    return path, "group", None, None
