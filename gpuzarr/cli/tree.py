"""`gpuzarr tree`: the hierarchy, drawn, with what its arrays are and how much of them is stored.

Bytes are counted by listing every object once. That is quick on a disk; at a service it costs requests, so there it is
done only where `--sizes` asks for it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place, positive
from gpuzarr.cli.places import Found, describe, hinting, is_url, members, open_place, walk
from gpuzarr.cli.printing import Column, Row, print_errors, print_json, print_table, ratio_text, size_text
from gpuzarr.cli.progress import Step, progress
from gpuzarr.errors import BaseZarrError
from gpuzarr.nodes import NODE_DOCUMENTS, can_list, parents
from gpuzarr.storage import Store
from gpuzarr.summary import codec_text, lengths_text
from gpuzarr.tree import branches

COLUMNS = (
    Column("node"),
    Column("shape"),
    Column("dtype", spare=1),
    Column("chunks", spare=4),
    Column("shards", spare=5),
    Column("size", right=True, spare=2),
    Column("stored", right=True, spare=3),
    Column("ratio", right=True, spare=6),
    Column("codecs", spare=7),
)
OFTEN = 1000  # objects between two movements of the progress bar
SHOWN = 10  # hidden nodes that are named


@dataclass
class Sizes:
    """Bytes of the objects of each node, by path; nodes whose documents are there but which no group has."""

    stored: Counter[str]
    hidden: list[str]


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    parser = add_command(commands, "tree", run, "draw the hierarchy", example="gpuzarr tree --depth 2 ocean.zarr")
    add_place(parser, what="path or URL of a store, or of a node in it")
    parser.add_argument(
        "--sizes",
        action=argparse.BooleanOptionalAction,
        help="count stored bytes by listing every object (default: yes for paths, no for URLs)",
    )
    parser.add_argument("--depth", type=positive, metavar="N", help="draw at most so many levels (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr tree PATH`."""
    wanted = not is_url(arguments.path) if arguments.sizes is None else arguments.sizes
    with hinting(arguments.path, arguments.option):
        store, path = open_place(arguments.path, arguments.option, "r")
        try:  # listing the groups only is much quicker than listing every chunk
            found = list(members(gpuzarr.open(store, path=path, mode="r")))
        except BaseZarrError:
            found = list(walk(store, path))
    with progress(not arguments.json) as step:
        sizes = measure(store, path, found, step) if wanted and can_list(store, path) else None
    if arguments.depth is not None:
        found = [each for each in found if each[0].strip("/").count("/") < arguments.depth]
    if arguments.json:
        print_json([_described(*each, sizes) for each in found])
    else:
        _print(found, sizes)
    damaged = [(name, node) for name, node in found if isinstance(node, Exception)]
    print_errors(f"{name}: {type(error).__name__}: {error}" for name, error in damaged)
    if sizes is not None and sizes.hidden:
        more = f" and {len(sizes.hidden) - SHOWN} more" if len(sizes.hidden) > SHOWN else ""
        print_errors([f"not shown, since no group of their format has them: {', '.join(sizes.hidden[:SHOWN])}{more}"])
    return 1 if damaged else 0


def measure(store: Store, path: str, found: Sequence[Found], step: Step) -> Sizes:
    """List every object once, and count its bytes to the node that it belongs to."""
    known = {name.strip("/") for name, _ in found}
    start = len(path) + 1 if path else 0
    sizes = Sizes(Counter(), [])
    for number, (key, size) in enumerate(store.list_sizes(path), start=1):
        if number % OFTEN == 0:
            step("objects", OFTEN)
        above, _, name = key[start:].rpartition("/")
        if name in NODE_DOCUMENTS and above not in known:
            sizes.hidden.append(f"/{above}")
        owner = next((each for each in reversed(parents(key[start:])) if each in known), None)
        if owner is not None:
            sizes.stored[owner] += size
    sizes.hidden.sort()
    return sizes


def _described(path: str, node: gpuzarr.Array | gpuzarr.Group | Exception, sizes: Sizes | None) -> dict[str, Any]:
    described = describe(path, node)
    if isinstance(node, gpuzarr.Array) and sizes is not None:
        described["nbytes_stored"] = sizes.stored[path.strip("/")]
    return described


def _print(found: Sequence[Found], sizes: Sizes | None) -> None:
    nodes = {path.strip("/"): node for path, node in found}
    rows = [_row("/", nodes[""], sizes, "")] if "" in nodes else [Row(["/", *[""] * 8])]
    for branch, name, path in branches(path for path in nodes if path):
        rows.append(_row(branch + name, nodes.get(path), sizes, path))
    print_table(COLUMNS, rows)
    arrays = [node for node in nodes.values() if isinstance(node, gpuzarr.Array)]
    groups = sum(isinstance(node, gpuzarr.Group) for node in nodes.values())
    total = sum(int(array.nbytes) for array in arrays)
    stored = f", stored in {size_text(sizes.stored.total())}" if sizes is not None else ""
    print(f"{len(arrays)} arrays, {groups} groups; {size_text(total)}{stored}")


def _row(drawn: str, node: gpuzarr.Array | gpuzarr.Group | Exception | None, sizes: Sizes | None, path: str) -> Row:
    if isinstance(node, Exception):
        return Row([drawn, "damaged", *[""] * 7], "red")
    if not isinstance(node, gpuzarr.Array):
        return Row([drawn, *[""] * 8], "bold" if node is not None else "")
    nbytes, metadata = int(node.nbytes), node.metadata
    stored = sizes.stored[path] if sizes is not None else None
    counted = ["", ""] if stored is None else [size_text(stored), ratio_text(nbytes, stored)]
    lengths = [lengths_text(metadata, what) for what in ("chunks", "shards")]
    return Row([drawn, str(node.shape), str(node.dtype), *lengths, size_text(nbytes), *counted, codec_text(metadata)])
