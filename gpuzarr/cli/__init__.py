"""The `gpuzarr` command.

Exit status: 0 all is well; 1 something in the store is damaged or left over, or what was read is not what was written;
2 the command cannot be carried out (usage, nothing at the path, no access); 130 interrupted; 141 nobody reads on.

A command is a module of this package with a function `add_parser`, named in `COMMANDS`. What it needs beyond the
library itself it imports when it runs, so that the command line starts quickly.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence

from gpuzarr._version import __version__
from gpuzarr.cli import completion, convert, copy, demo, doctor, fsck, info, recover, tree, verify
from gpuzarr.cli.arguments import EXIT_STATUS
from gpuzarr.errors import GpuzarrError
from gpuzarr.tree import printable

COMMANDS = (info, tree, verify, copy, convert, fsck, recover, doctor, demo, completion)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line in `argv` (default: the process's own) and return its exit status."""
    arguments = make_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # lines of a tree, and names, in an encoding that has no such letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who read the output, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain when it ends
        return 141
    except (GpuzarrError, OSError, ImportError, ValueError) as error:
        return _fail(error, as_json=arguments.json)
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
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


def _fail(error: Exception, *, as_json: bool) -> int:
    """Say on the error output what went wrong; notes of the error are hints for the user."""
    hints = [str(note) for note in getattr(error, "__notes__", ())]
    kind, message = type(error).__name__, str(error)
    if as_json:
        print(json.dumps({"error": {"type": kind, "message": message, "hints": hints}}, indent=2), file=sys.stderr)
    else:
        lines = f"{kind}: {message}".splitlines() + hints
        print("gpuzarr: " + "\n".join(map(printable, lines)), file=sys.stderr)
    return 2
