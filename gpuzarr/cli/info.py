"""`gpuzarr info`: what can be said of one array or group without reading a chunk."""

from __future__ import annotations

import argparse

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.places import describe, hinting, the_store
from gpuzarr.cli.printing import print_json


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    parser = add_command(
        commands, "info", run, "describe one array or group", example="gpuzarr info ocean.zarr/temperature"
    )
    add_place(parser, what="path or URL of a store, or of a node in it")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr info PATH`."""
    with hinting(arguments.path):
        node = gpuzarr.open(the_store(arguments), mode="r")
        if not arguments.json:
            print(node.info_complete())
            return 0
        described = describe(arguments.path, node)
        if isinstance(node, gpuzarr.Array):
            described["nbytes_stored"] = int(node.nbytes_stored)
        print_json(described | {"metadata": node.metadata.to_dict()})
        return 0
