"""The drawing of a hierarchy."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from gpuzarr.tree import Node, tree_text

NODES: list[Node] = [
    ("temperature", "group", None, None),
    ("humidity", "array", (365, 720), "float32"),
    ("temperature/t2m", "array", (365, 720, 1440), "float32"),
    ("temperature/levels", "group", None, None),
    ("temperature/levels/p", "array", (), "int8"),
    ("zonal", "group", None, None),
]

DRAWING = """\
/
├── humidity (365, 720) float32
├── temperature
│   ├── levels
│   │   └── p () int8
│   └── t2m (365, 720, 1440) float32
└── zonal
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_drawing() -> None:
    for nodes in (NODES, NODES[::-1]):
        tree = tree_text(nodes)
        assert str(tree) == repr(tree) == DRAWING
    assert str(tree_text([])) == "/\n"
    assert str(tree_text([], name="/a/b")) == "/a/b\n"
    assert str(tree_text(NODES, expand=True)) == DRAWING
    assert str(tree_text([("", "group", None, None), *NODES])) == DRAWING


def test_last_branch_is_open() -> None:
    nodes: list[Node] = [("a", "group", None, None), ("a/b", "group", None, None), ("a/b/c", "array", (1,), "u1")]
    assert str(tree_text(nodes)) == "/\n└── a\n    └── b\n        └── c (1,) u1\n"


def test_level() -> None:
    assert str(tree_text(NODES, level=0)).splitlines() == [
        "/",
        "├── humidity (365, 720) float32",
        "├── temperature",
        "└── zonal",
    ]
    assert "└── p" not in str(tree_text(NODES, level=1))
    assert str(tree_text(NODES, level=2)) == DRAWING


def test_max_nodes_stops_the_walk() -> None:
    asked = 0

    def walk() -> Iterator[Node]:
        nonlocal asked
        for node in NODES:
            asked += 1
            yield node

    lines = str(tree_text(walk(), max_nodes=2)).splitlines()
    assert asked == 3
    assert lines[0] == "Truncated at max_nodes=2, some nodes and their children may be missing"
    assert lines[1:] == ["/", "├── humidity (365, 720) float32", "└── temperature"]
    assert "Truncated" not in str(tree_text(NODES, max_nodes=6))


def test_parents_that_nobody_named_are_drawn() -> None:
    assert str(tree_text([("a/b/c", "array", (2,), "i4")])) == "/\n└── a\n    └── b\n        └── c (2,) i4\n"


def test_bold_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_text(NODES[:2])
    monkeypatch.setattr(sys, "stdout", Terminal())
    bold = "\x1b[1m/\x1b[0m\n├── \x1b[1mhumidity\x1b[0m (365, 720) float32\n└── \x1b[1mtemperature\x1b[0m\n"
    assert str(tree) == repr(tree) == bold
    assert "\x1b" not in str(tree_text(NODES, plain=True))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert "\x1b" not in str(tree)
    monkeypatch.setattr(sys, "stdout", None)  # as under pythonw
    assert "\x1b" not in str(tree)


def test_names_cannot_drive_the_terminal() -> None:
    text = str(tree_text([("a\x1b[2Jb\n", "group", None, None), ("größe", "group", None, None)]))
    assert text == "/\n├── a\\x1b[2Jb\\n\n└── größe\n"


def test_deep_hierarchies() -> None:
    deep = "/".join(["g"] * 3000)
    assert str(tree_text([(deep, "group", None, None)])).count("g") == 3000


def test_the_drawing_is_zarr_pythons() -> None:
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group({})
    nodes: list[Node] = []
    for path in ("b", "a", "a/x", "b/c", "b/c/y", "a-b", "a/w", "b/c/d"):
        if path[-1] in "wxy":
            root.create_array(path, shape=(2, 3), dtype="int16")
            nodes.append((path, "array", (2, 3), "int16"))
        else:
            root.create_group(path)
            nodes.append((path, "group", None, None))
    theirs = str(root.tree()).replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip("\n")
    assert str(tree_text(nodes)).rstrip("\n") == theirs
