"""`gpuzarr copy`: a node with all below it to another place, in any two stores, as its bytes are stored.

TARGET is the place of the copy itself, and a URL a root of its own: consolidated metadata are renewed where a group
above lies in a local directory or in the same archive. Where that group has the other format, arrays are decoded and
written anew, as `gpuzarr.copy` does it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place
from gpuzarr.cli.places import hinting, is_url, open_inside, open_place
from gpuzarr.cli.printing import print_errors, print_json, size_text
from gpuzarr.cli.progress import progress
from gpuzarr.nodes import not_found, parents, read_group, read_node
from gpuzarr.storage import LocalStore, Store
from gpuzarr.transfer import Transfer, transfer

NOTES = {  # the command line's spelling of what an error recommends
    "overwrite=True": "--overwrite replaces what is there",
    "skip_unsupported=True": "--skip-unsupported leaves it out",
    "memory_limit is": "--memory raises the limit; --chunks and --shards choose smaller ones",
}


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "copy an array or a group to another place, bytes as they are stored"
    example = "gpuzarr copy s3://bucket/ocean.zarr ocean.zarr --source-option anon=true"
    parser = add_command(commands, "copy", run, summary, example=example)
    add_place(parser, "source", what="path or URL of a store, or of a node in it", option="source-option")
    add_place(parser, "target", what="path or URL of the copy", option="target-option")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at TARGET")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr copy SOURCE TARGET`."""
    _refuse_nesting(arguments.source, arguments.target)
    with hinting(arguments.source, arguments.source_option):
        source = open_place(arguments.source, arguments.source_option, "r")
        node = read_node(*source)
        if node is None:
            raise not_found(*source, None)
    with hinting(arguments.target, arguments.target_option):
        target = _safe(*open_inside(arguments.target, arguments.target_option, "a"))
        above = _group_above(*target)
    same = above is None or above.metadata.zarr_format == node.zarr_format
    with finished(target[0]), progress(not arguments.json) as step:
        if above is None or same:
            report = transfer(
                source,
                target,
                overwrite=arguments.overwrite,
                begin=lambda most: step("", 0, most),
                done=lambda key, _: step(key, 1),
            )
        else:
            report = _rewrite(source, above, target[1], overwrite=arguments.overwrite)
    _print(arguments, report, same)
    return 0


def _safe(store: Store, path: str) -> tuple[Store, str]:
    """The target; local files are on the disk when it is closed, as the source may be deleted then."""
    return LocalStore(store.root, durability="batch") if isinstance(store, LocalStore) else store, path


@contextmanager
def finished(store: Store) -> Iterator[None]:
    """Context manager: closes the store; after an error, what takes effect on closing only does not."""
    try:
        yield
    except BaseException as error:
        getattr(store, "abandon", store.close)()
        for word, note in NOTES.items():
            if word in str(error):
                error.add_note(note)
        raise
    store.close()


def _refuse_nesting(source: str, target: str) -> None:
    """ValueError where one of two local paths lies in the other: a copy would be a part of itself."""
    if is_url(source) or is_url(target):
        return
    old, new = (os.path.join(os.path.realpath(path), "") for path in (source, target))
    if old.startswith(new) or new.startswith(old):
        raise ValueError(f"cannot copy {source!r} to {target!r}: one lies in the other")


def _group_above(store: Store, path: str) -> gpuzarr.Group | None:
    """The nearest group above a path in a store."""
    for above in reversed(parents(path)):
        metadata = read_group(store, above)
        if metadata is not None:
            return gpuzarr.Group(store, above, metadata)
    return None


def _rewrite(source: tuple[Store, str], above: gpuzarr.Group, path: str, *, overwrite: bool) -> Transfer:
    """Copy into a group of the other format."""
    name = path[len(above.path) + 1 if above.path else 0 :]
    node = gpuzarr.open(source[0], path=source[1], mode="r")
    gpuzarr.copy(node, above, name, if_exists="replace" if overwrite else "raise")
    made = above[name]
    nodes = [made, *([] if isinstance(made, gpuzarr.Array) else [member for _, member in made.members(max_depth=None)])]
    sizes = [size for _, size in above.store.list_sizes(path)]
    arrays = sum(isinstance(each, gpuzarr.Array) for each in nodes)
    return Transfer(arrays, len(nodes) - arrays, len(sizes), sum(sizes))


def _print(arguments: argparse.Namespace, report: Transfer, same: bool) -> None:
    if arguments.json:
        found = {"source": arguments.source, "target": arguments.target, "rewritten": not same}
        print_json(found | asdict(report))
        return
    how = "" if same else ", written anew in the format of the group above"
    nodes = f"{report.arrays} arrays, {report.groups} groups"
    print(f"{nodes}: {report.objects} objects of {size_text(report.nbytes)}{how}")
    if report.left:
        print_errors([f"{report.left} objects belong to no node and were not copied, such as {report.examples[0]!r}"])
