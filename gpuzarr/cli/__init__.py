"""The `gpuzarr` command.

Exit status: 0 all is well; 1 something in the store is damaged or left over, or what was read is not what was written;
2 the command cannot be carried out (usage, nothing at the path, no access).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from gpuzarr._version import __version__
from gpuzarr.cli import demo, fsck, inspect, verify
from gpuzarr.errors import GpuzarrError, NodeNotFoundError

EPILOG = "Exit status: 0 well, 1 damaged data, 2 the command could not be carried out."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line in `argv` (default: the process's own) and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except NodeNotFoundError as error:
        return _fail(f"{error}{inspect.what_is_there(arguments.path)}")
    except (GpuzarrError, OSError, ImportError, ValueError) as error:
        return _fail(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        return 130


def _fail(message: str) -> int:
    print(f"gpuzarr: {message}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpuzarr", description="Zarr v2 and v3 stores.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"gpuzarr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="write a field in several formats, read it back, check and time it")
    command.add_argument("--size", type=_positive, default=64, metavar="MIB", help="size of the field (default: 64)")
    command.add_argument("--path", help="keep the stores in this directory (default: a temporary one, removed)")
    command.add_argument("--device", default="auto", help="where to decode (default: the best that works)")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=demo.run)

    command = commands.add_parser("doctor", help="say what is on this machine, what is missing, and what is used")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument(
        "--retry", metavar="FOLDER", help="measure whether KvikIO or the host reads files there quicker to the GPU"
    )
    command.set_defaults(run=_doctor)

    for name, run, text in (
        ("info", inspect.info, "describe one array or group"),
        ("tree", inspect.tree, "draw the hierarchy"),
        ("verify", verify.run, "read and check every chunk of every array"),
        ("fsck", fsck.run, "look for what is not as it should be, and change nothing"),
        ("recover", fsck.run_recover, "take away what processes that died left"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".", epilog=EPILOG)
        command.add_argument("path", metavar="PATH", help="path or URL of a store, or of a node in it")
        command.add_argument(
            "-o",
            "--option",
            action="append",
            default=[],
            type=_option,
            metavar="KEY=VALUE",
            help="storage option for a URL, e.g. anon=true; may be given several times",
        )
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "fsck":
            command.add_argument("--deep", action="store_true", help="read and decode every chunk too")
        command.set_defaults(run=run)
    return parser


def _doctor(arguments: argparse.Namespace) -> int:
    """What only the doctor needs (CuPy, for one) is imported for it only."""
    return int(import_module("gpuzarr.cli.doctor").run(arguments))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _option(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    words: dict[str, object] = {"true": True, "false": False, "none": None}
    return key, words.get(value.lower(), int(value) if value.isdecimal() else value)
