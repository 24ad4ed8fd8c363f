"""What `group.tree()` prints: the hierarchy as zarr-python draws it.

    /
    ├── humidity (365, 720) float32
    └── temperature
        └── t2m (365, 720, 1440) float32

Pure: whoever walks the store hands in the nodes. The drawing is plain text; names
are bold only while it is printed to a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Node: TypeAlias = tuple[str, Literal["array", "group"], tuple[int, ...] | None, object]
"""Path below the drawn group, kind, and of an array shape and data type (printed as they are)."""

_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Tree:
    """A drawing: printed, or turned into text with `str`."""

    rows: tuple[tuple[str, str, str], ...]  # branches, name, what follows
    note: str = ""
    plain: bool = False

    def __str__(self) -> str:
        bold = not self.plain and sys.stdout is not None and sys.stdout.isatty()
        before, after = (_BOLD, _NORMAL) if bold else ("", "")
        return self.note + "".join(f"{branch}{before}{name}{after}{rest}\n" for branch, name, rest in self.rows)

    __repr__ = __str__


@dataclass(slots=True)
class _Branch:
    """A node while it is sorted into its place; a path whose parents nobody named still hangs somewhere."""

    path: str = ""
    children: dict[str, _Branch] = field(default_factory=dict)


def tree_text(
    nodes: Iterable[Node],
    *,
    name: str = "/",
    level: int | None = None,
    expand: bool | None = None,
    max_nodes: int = 500,
    plain: bool = False,
) -> Tree:
    """Draw the nodes below a group called `name`, in the order of their names.

    `level`: how many groups to go down, 0 for direct members only. No more than
    `max_nodes` are taken, and a first line says so. `expand` is for callers of
    zarr-python 2, where it opened a widget; the drawing is always open.
    """
    texts: dict[str, str] = {}
    note = ""
    for path, kind, shape, dtype in nodes:
        parts = [part for part in path.split("/") if part]
        if not parts or (level is not None and len(parts) > level + 1):  # the drawn group itself, or too deep
            continue
        if len(texts) == max_nodes:
            note = f"Truncated at max_nodes={max_nodes}, some nodes and their children may be missing\n"
            break
        texts["/".join(parts)] = f" {shape} {dtype}" if kind == "array" else ""
    drawn = tuple((branch, shown, texts.get(path, "")) for branch, shown, path in branches(texts))
    return Tree((("", printable(name), ""), *drawn), note, plain)


def branches(paths: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """What stands before each of these paths in a drawing, its name, and the path; by name, parents first."""
    root = _Branch()
    for path in paths:
        branch, here = root, ""
        for part in path.split("/"):
            here = f"{here}/{part}" if here else part
            branch = branch.children.setdefault(part, _Branch(here))
    # A stack and no recursion: a store may be nested deeper than Python's call stack.
    waiting = [("", iter(_ordered(root)))]
    while waiting:
        prefix, members = waiting[-1]
        for name, branch, last in members:
            yield prefix + ("└── " if last else "├── "), printable(name), branch.path
            if branch.children:
                waiting.append((prefix + ("    " if last else "│   "), iter(_ordered(branch))))
                break
        else:
            waiting.pop()


def _ordered(branch: _Branch) -> list[tuple[str, _Branch, bool]]:
    names = sorted(branch.children)
    return [(name, branch.children[name], name == names[-1]) for name in names]


def printable(text: str) -> str:
    """Names and messages come from the store, and must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
