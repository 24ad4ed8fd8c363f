"""What the parsers of several commands share: the command itself, places with their options, numbers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from gpuzarr.cli.printing import print_failure

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Run: TypeAlias = Callable[[argparse.Namespace], int]

EXIT_STATUS = """\
exit status:
  0    all is well
  1    data are damaged or left over, or what was read is not what was written
  2    the command could not be carried out: usage, nothing at the path, no access,
       no form that is known
  130  interrupted
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are JSON where `--json` is among the arguments."""

    _as_json = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As its base has it."""
        self._as_json = "--json" in (sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the process with status 2."""
        if self._as_json:
            print_failure("UsageError", message, [], as_json=True)
            self.exit(2)
        super().error(message)


def add_command(
    commands: Commands, name: str, run: Run, summary: str, *, example: str, with_json: bool = True
) -> Parser:
    """A command of its own, with `--json` and a help that ends with an example and the exit status."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}\n\n{EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if with_json:
        parser.add_argument("--json", action="store_true", help="print JSON, errors too")
    parser.set_defaults(run=run, json=False)
    return parser


def add_place(parser: argparse.ArgumentParser, name: str = "path", *, what: str, option: str = "option") -> None:
    """A path or URL called `name`, and `--OPTION KEY=VALUE` for the storage options that belong to it."""
    short = ("-o",) if option == "option" else ()
    parser.add_argument(name, metavar=name.upper(), type=_place, help=what)
    parser.add_argument(
        *short,
        f"--{option}",
        action="append",
        default=[],
        type=storage_option,
        metavar="KEY=VALUE",
        help=f"storage option for a URL as {name.upper()}, e.g. anon=true; JSON for more; may be given several times",
    )


def _place(text: str) -> str:
    """A path or URL. An empty one is most likely a shell's variable that is not set, and never means the working
    directory, which a command may be told to overwrite."""
    if text in ("", "file://"):
        raise argparse.ArgumentTypeError("the path is empty; . is the working directory")
    return text


def positive(text: str) -> int:
    """A number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def storage_option(text: str) -> tuple[str, object]:
    """`KEY=VALUE`, where true, false, none, numbers, and JSON objects and lists are what they say."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    if value.startswith(("{", "[")):
        try:
            return key, json.loads(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"the value of {key!r} is no JSON: {error}") from error
    words: dict[str, object] = {"true": True, "false": False, "none": None}
    return key, words.get(value.lower(), int(value) if value.isdecimal() else value)
