"""`gpuzarr convert`: HDF5, NetCDF, NPY, NPZ or Zarr to Zarr."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gpuzarr
from gpuzarr.cli.arguments import Commands, add_command, add_place, positive
from gpuzarr.cli.copy import finished
from gpuzarr.cli.places import hinting, open_inside
from gpuzarr.cli.printing import print_errors, print_json, ratio_text, size_text
from gpuzarr.cli.progress import progress

if TYPE_CHECKING:
    from gpuzarr.conversion.job import Progress
    from gpuzarr.conversion.report import Report

LISTED = 20  # items that are printed; all are in the JSON
_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
_LEVELS = {"zstd": "level", "gzip": "level", "blosc": "clevel"}


def add_parser(commands: Commands) -> None:
    """The command's arguments."""
    summary = "convert HDF5, NetCDF, NPY, NPZ or Zarr to Zarr; started again, it goes on where it was cut short"
    example = "gpuzarr convert run.h5 run.zarr --shards auto --compressor zstd:3 --exclude 'raw/*'"
    parser = add_command(commands, "convert", run, summary, example=example)
    add_place(parser, "source", what="a file, or path or URL of a Zarr store", option="source-option")
    add_place(parser, "target", what="path or URL of what is to be made", option="target-option")
    parser.add_argument("--source-path", default="", metavar="PATH", help="a group or array in the source")
    parser.add_argument("--format", type=int, choices=(2, 3), help="Zarr format (default: the source's, or 3)")
    shape = "keep, auto, one size, or one size an axis (100,100); PATTERN=... for arrays of matching paths, repeatedly"
    parser.add_argument("--chunks", action="append", default=[], metavar="SIZES", help=shape)
    parser.add_argument("--shards", action="append", default=[], metavar="SIZES", help=f"{shape}; none for none")
    parser.add_argument(
        "--compressor",
        default="keep",
        metavar="CODEC",
        help="keep, none, zstd, gzip, blosc, with a level as zstd:3, or JSON as in metadata (default: keep)",
    )
    parser.add_argument("--include", action="append", default=[], metavar="PATTERN", help="convert these only")
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave these out")
    parser.add_argument(
        "--skip-unsupported", action="store_true", help="leave out, and list, what Zarr has no form for"
    )
    consolidate = "write consolidated metadata, or not (default: as the Zarr source; for NetCDF)"
    parser.add_argument("--consolidate", action=argparse.BooleanOptionalAction, help=consolidate)
    parser.add_argument("--overwrite", action="store_true", help="remove what is at the target first")
    parser.add_argument("--no-resume", action="store_true", help="do not go on where a conversion was cut short")
    parser.add_argument("--verify", action="store_true", help="read back what was written, and compare")
    parser.add_argument("--memory", type=size, default="256MiB", metavar="SIZE", help="at most (default: 256MiB)")
    parser.add_argument("--threads", type=positive, metavar="N", help="regions worked on at once (default: cores)")


def run(arguments: argparse.Namespace) -> int:
    """`gpuzarr convert SOURCE TARGET`."""
    chosen = _choices(arguments)
    try:
        with hinting(arguments.target, arguments.target_option):
            store, path = open_inside(arguments.target, arguments.target_option, "a")
        with finished(store), hinting(arguments.source, arguments.source_option), _bar(not arguments.json) as moved:
            report = gpuzarr.convert(arguments.source, store, path=path, progress=moved, **chosen)
    except TypeError as error:  # options that do not belong to this kind of path, codecs of another kind
        raise ValueError(error) from error
    if arguments.json:
        found = {"source": arguments.source, "target": arguments.target, **asdict(report), "ratio": _ratio(report)}
        found |= {name: [each._asdict() for each in getattr(report, name)] for name in ("skipped", "notes")}
        print_json(found)
    else:
        _print(report)
    return 0


def _choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `gpuzarr.convert`. ValueError for sizes and codecs that are none."""
    return {
        "source_path": arguments.source_path,
        "zarr_format": arguments.format,
        "chunks": layout(arguments.chunks),
        "shards": layout(arguments.shards),
        "compressors": compressor(arguments.compressor),
        "include": arguments.include,
        "exclude": arguments.exclude,
        "skip_unsupported": arguments.skip_unsupported,
        "consolidate": arguments.consolidate,
        "overwrite": arguments.overwrite,
        "resume": not arguments.no_resume,
        "verify": arguments.verify,
        "memory_limit": arguments.memory,
        "threads": arguments.threads,
        "source_options": dict(arguments.source_option) or None,
    }


def size(text: str) -> int:
    """Bytes: a number with K, M, G or T, of 1024."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 256MiB")
    return int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ")


def layout(given: list[str]) -> Any:
    """The `chunks` or `shards` of `gpuzarr.convert`."""
    if not given:
        return "keep"
    pairs = [each.rpartition("=") for each in given]
    if not any(pattern for pattern, _, _ in pairs):
        return _lengths(given[-1])
    return {pattern or "*": _lengths(sizes) for pattern, _, sizes in sorted(pairs, key=lambda pair: not pair[0])}


def _lengths(text: str) -> Any:
    if text in ("keep", "auto"):
        return text
    if text == "none":
        return None
    try:
        lengths = tuple(int(each) for each in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not keep, auto, none or numbers such as 100,100") from None
    return lengths[0] if len(lengths) == 1 else lengths


def compressor(text: str) -> Any:
    """The `compressors` of `gpuzarr.convert`."""
    if text in ("keep", "auto"):
        return text
    if text == "none":
        return None
    if text.startswith(("{", "[")):
        return json.loads(text)
    name, _, level = text.partition(":")
    if name not in _LEVELS or not (level.isdecimal() or not level):
        raise ValueError(f"{text!r} is not keep, none, {', '.join(_LEVELS)} (with a level as zstd:3), or JSON")
    defaults: dict[str, dict[str, Any]] = {"zstd": {"level": 0}, "gzip": {"level": 5}, "blosc": {"shuffle": "shuffle"}}
    return {"name": name, "configuration": defaults[name] | ({_LEVELS[name]: int(level)} if level else {})}


@contextmanager
def _bar(show: bool) -> Iterator[Progress]:
    """A bar over MiB."""
    with progress(show) as step:
        over = 0

        def moved(path: str, nbytes: int, total: int) -> None:
            nonlocal over
            before, over = over >> 20, over + nbytes
            step(f"MiB, {path or '/'}", (over >> 20) - before, total >> 20)

        yield moved


def _ratio(report: Report) -> float | None:
    return round(report.nbytes / report.nbytes_stored, 3) if report.nbytes_stored else None


def _print(report: Report) -> None:
    told: tuple[tuple[str, list[Any]], ...] = (("left out", report.skipped), ("note", report.notes))
    for word, found in told:
        more = [f"and {len(found) - LISTED} more (see --json)"] * (len(found) > LISTED)
        print_errors([*(f"{word}: {each}" for each in found[:LISTED]), *more])
    stored = report.nbytes_stored
    ratio = "" if stored is None else f", stored {size_text(stored)}, ratio {ratio_text(report.nbytes, stored)}"
    resumed = f", {report.regions_resumed} of {report.regions} regions were done already" * bool(report.regions_resumed)
    nodes = f"{report.arrays} arrays, {report.groups} groups"
    print(f"{nodes}: {size_text(report.nbytes)}{ratio}, {report.seconds:.1f} s{resumed}")
