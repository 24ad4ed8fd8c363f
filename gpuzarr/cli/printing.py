"""What all commands print by: JSON for programs, and for people tables that no store can drive their terminal with.

A terminal gets colours (unless NO_COLOR is set) and as many columns as it is wide; a pipe or a file gets everything,
in plain text.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TextIO
from unicodedata import category, east_asian_width

from gpuzarr.tree import printable

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
GAP = 2  # spaces between columns


@dataclass(frozen=True)
class Column:
    """A column of a table. `spare`: where a terminal is too narrow, columns with the highest go first; 0 stays."""

    name: str
    right: bool = False
    spare: int = 0


@dataclass(frozen=True)
class Row:
    """A line of a table, and its style in words of rich ("red", "bold")."""

    cells: Sequence[str]
    style: str = ""


def print_json(found: Any) -> None:
    """Print as JSON."""
    print(json.dumps(found, indent=2, default=str))


def print_failure(kind: str, message: str, hints: Sequence[str], *, as_json: bool) -> None:
    """Print to the error output why a command failed, and what may help."""
    if as_json:
        print(json.dumps({"error": {"type": kind, "message": message, "hints": hints}}, indent=2), file=sys.stderr)
    else:
        lines = f"{kind}: {message}".splitlines() + list(hints)
        print("gpuzarr: " + "\n".join(map(printable, lines)), file=sys.stderr)


def size_text(nbytes: int) -> str:
    """`12.3 MiB`: bytes in the unit that leaves up to four digits."""
    power = min(max(0, (nbytes.bit_length() - 1) // 10), len(UNITS) - 1)
    return f"{nbytes} B" if not power else f"{nbytes / 1024**power:.1f} {UNITS[power]}"


def ratio_text(nbytes: int, stored: int) -> str:
    """How many times smaller than its values something is stored."""
    ratio = nbytes / stored if stored else 0.0
    return f"{ratio:.2f}" if 0 < ratio < 1000 else f"{ratio:.0e}" if ratio else ""


def cell_width(text: str) -> int:
    """Places that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(c) in "WF" else category(c) not in ("Mn", "Me", "Cf") for c in text)


def print_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print rows below the columns' names, aligned; columns that are empty in all rows are left out."""
    kept = [i for i, _ in enumerate(columns) if not rows or any(row.cells[i] for row in rows)]
    table = [Row([printable(row.cells[i]) for i in kept], row.style) for row in rows]
    columns = [columns[i] for i in kept]
    widths = [max(cell_width(text) for text in (c.name, *(r.cells[i] for r in table))) for i, c in enumerate(columns)]
    console = terminal()
    shown = list(range(len(columns)))
    if console is not None:
        shown = _fitting(columns, widths, console.width)
    lines = [Row([column.name for column in columns], "bold"), *table]
    for row in lines:
        parts = [_padded(row.cells[i], widths[i], right=columns[i].right) for i in shown]
        line = (" " * GAP).join(parts).rstrip()
        _print_line(console, line, row.style)
    if len(shown) < len(columns):
        left_out = ", ".join(column.name for i, column in enumerate(columns) if i not in shown)
        _print_line(console, f"(too narrow for: {left_out})", "dim")


def _fitting(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The columns that are shown on a terminal so wide."""
    shown = list(range(len(columns)))
    for i in sorted(shown, key=lambda i: -columns[i].spare):
        if sum(widths[j] + GAP for j in shown) - GAP <= width or not columns[i].spare:
            break
        shown.remove(i)
    return shown


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_width(text))
    return space + text if right else text + space


def print_styled(line: str, style: str) -> None:
    """Print a line, on a terminal in a style, and cut where it is too long."""
    _print_line(terminal(), printable(line), style)


def print_fields(lines: Iterable[str]) -> None:
    """Print lines of a name, a colon and a value; on a terminal the names are bold, and nothing is cut."""
    console = terminal()
    for line in map(printable, lines):
        name, colon, value = line.partition(" : ")
        if console is None:
            print(line)
        else:
            text = import_module("rich.text").Text.assemble((name, "bold"), colon, value)
            console.print(text, soft_wrap=True, highlight=False)


def print_errors(lines: Iterable[str]) -> None:
    """Print to the error output what was found wrong."""
    for line in lines:
        print(printable(line), file=sys.stderr)


def _print_line(console: Any, line: str, style: str) -> None:
    if console is None:
        print(line)
    else:
        text = import_module("rich.text").Text(line, style=style)
        console.print(text, no_wrap=True, overflow="ellipsis", highlight=False)


def terminal() -> Any:
    """A rich Console where the output is a terminal, or None."""
    if not on_terminal(sys.stdout):
        return None
    console = import_module("rich.console").Console()
    return console if console.is_terminal else None


def on_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal, or FORCE_COLOR says to take it for one."""
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))
