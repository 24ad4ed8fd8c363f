"""The `gpuzarr` command.

Exit status: 0 all is well; 1 data are damaged or left over, or what was read is not what was written; 2 the command
cannot be carried out (usage, nothing at the path, no access, no form that is known); 130 interrupted; 141 nobody reads
on. With `--json` errors are JSON too, on the error output.

A command is a module of this package with a function `add_parser`, named in `COMMANDS`. What it needs beyond the
library itself it imports when it runs, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from gpuzarr._version import __version__
from gpuzarr.cli import completion, convert, copy, demo, doctor, fsck, info, recover, tree, verify
from gpuzarr.cli.arguments import EXIT_STATUS, Parser
from gpuzarr.cli.printing import print_failure
from gpuzarr.errors import CorruptChunkError, GpuzarrError

COMMANDS = (info, tree, verify, copy, convert, fsck, recover, doctor, demo, completion)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line in `argv` (default: the process's own) and return its exit status."""
    _stand_in_for_closed_streams()
    arguments = make_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # lines of a tree, and names, in an encoding that has no such letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except (BrokenPipeError, SystemExit):  # who read the output, `head` for one, has seen enough; so says rich
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain when it ends
        return 141
    except (GpuzarrError, OSError, ImportError, ValueError) as error:
        return _fail(error, as_json=arguments.json)
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = Parser(
        prog="gpuzarr",
        description="Zarr v2 and v3 stores.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gpuzarr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _stand_in_for_closed_streams() -> None:
    """Something to write to where a stream was closed (`>&-`): nobody reads it, and no file of a store that is opened
    next gets the stream's number, to which C libraries print."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(null, "w" if number else "r", closefd=False))


def _fail(error: Exception, *, as_json: bool) -> int:
    """Say on the error output what went wrong; notes of the error are hints for the user."""
    hints = [str(note) for note in getattr(error, "__notes__", ())]
    with suppress(OSError):  # the error output is full, or nobody reads it
        print_failure(type(error).__name__, str(error), hints, as_json=as_json)
    return 1 if isinstance(error, CorruptChunkError) else 2
