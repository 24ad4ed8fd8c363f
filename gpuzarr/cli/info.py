"""`gpuzarr info`: what can be said of one array or group without reading a chunk."""

from __future__ import annotations

import argparse
import json
from typing import Any

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.places import describe, hinting, open_place
from gpuzarr.cli.printing import print_fields, print_json

SHOWN = 20  # attributes
LONGEST = 200  # characters of one of them


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    parser = add_command(
        commands, "info", run, "describe one array or group", example="gpuzarr info ocean.zarr/temperature"
    )
    add_place(parser, what="path or URL of a store, or of a node in it")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr info PATH`."""
    with hinting(arguments.path, arguments.option):
        store, path = open_place(arguments.path, arguments.option, "r")
        node = gpuzarr.open(store, path=path, mode="r")
    described = describe(arguments.path, node)
    if arguments.json:
        stored = {"nbytes_stored": int(node.nbytes_stored)} if isinstance(node, gpuzarr.Array) else {}
        print_json(described | stored | {"metadata": node.metadata.to_dict()})
        return 0
    print_fields(str(node.info_complete()).splitlines())
    if node.attrs:
        print_attributes(dict(node.attrs))
    return 0


def print_attributes(attributes: dict[str, Any]) -> None:
    """The first of them, as JSON, which has no control characters."""
    print("Attributes")
    for name, value in list(attributes.items())[:SHOWN]:
        text = json.dumps(value, default=str)
        print(f"  {json.dumps(name)}: {text if len(text) <= LONGEST else text[:LONGEST] + ' ...'}")
    if len(attributes) > SHOWN:
        print(f"  and {len(attributes) - SHOWN} more (see --json)")
