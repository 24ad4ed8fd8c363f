"""A small drawing of an array: its axes, and where chunks and shards cut them. Sizes in, SVG text out.

One axis is a bar, two are a rectangle (the last one runs to the right, the one before it downwards), three are a block
that goes back along the first. Of more axes the last three are drawn, and the others told. Lengths are to scale within
limits, and of very many lines only some are drawn, so that the drawing is always small. Everything is drawn in the
colour of the text around it, light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from gpuzarr.tree import printable

LONGEST, SHORTEST = 150.0, 26.0  # pixels of an axis
SLANT = 0.42  # how long an axis that goes back is drawn, and how steeply
APART = 3.0  # pixels between lines
MOST_LINES = 48  # of one axis
LETTER = 7.0  # pixels, about
LINE = 16.0  # pixels
MOST_AXES = 6  # whose lengths are told beside those which are drawn
ACCENT = "#e8833a"  # of the first chunk; seen well on light and dark


class Cuts(NamedTuple):
    """Where an axis is cut, as parts of its length; not all of it where there are very many."""

    lines: tuple[float, ...] = ()
    first: float = 1.0  # the end of the first piece


WHOLE = Cuts()


@dataclass(frozen=True)
class Axis:
    """An axis to be drawn."""

    size: int
    chunks: Cuts = WHOLE
    shards: Cuts = WHOLE
    name: str | None = None

    @property
    def label(self) -> str:
        """Its name, if it has one, and its length."""
        return str(self.size) if self.name is None else f"{shortened(self.name, 18)} {self.size}"


def shortened(text: object, most: int) -> str:
    """What a store says, of at most so many characters, none of which drives anything."""
    shown = printable(str(text)[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def cuts(size: int, count: int, start: Callable[[int], int]) -> Cuts:
    """The cuts of an axis of `size` into `count` pieces, the i-th of which begins at `start(i)`."""
    if size < 1 or count < 2:
        return WHOLE
    step = math.ceil((count - 1) / MOST_LINES)
    lines = tuple(start(i) / size for i in range(step, count, step))
    return Cuts(tuple(line for line in lines if 0 < line < 1), min(1.0, start(1) / size))


def draw(axes: Sequence[Axis]) -> str:
    """The drawing of an array with these axes."""
    drawn = list(axes[-3:])
    block = _Block(drawn)
    parts = [
        block.face(),
        block.first_chunk(),
        block.path(block.grid("chunks"), _THIN),
        block.path(block.grid("shards"), _BOLD),
        block.path(block.outline(), _EDGE + (' stroke-dasharray="3 3"' if block.empty else "")),
        *block.labels(),
    ]
    told = _told(axes[:-3])
    height = block.height + (LINE if told else 0)
    if told:
        parts.append(_text(told, 4, height - 4, "start"))
    width = max(block.width, 8 + LETTER * len(told))
    what = "scalar" if not axes else " by ".join(str(axis.size) for axis in axes[-8:])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" role="img"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" aria-label="{what}" font-size="11" font-family="sans-serif"'
        f' color="inherit" fill="none" stroke="none">{"".join(parts)}</svg>'
    )


_THIN = 'stroke="currentColor" stroke-width="0.6" stroke-opacity="0.45"'
_BOLD = 'stroke="currentColor" stroke-width="1.4" stroke-opacity="0.8"'
_EDGE = 'stroke="currentColor" stroke-width="1.2"'


def _told(axes: Sequence[Axis]) -> str:
    """The axes before the last three."""
    if not axes:
        return ""
    more = f" × … ({len(axes)} axes)" if len(axes) > MOST_AXES else ""
    return " × ".join(axis.label for axis in axes[:MOST_AXES]) + more + " of these"


def _text(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'


Point = tuple[float, float, float]  # along the axis to the right, down and back, each from 0 to 1


class _Block:
    """At most three axes on paper."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.empty = any(axis.size == 0 for axis in axes)
        self.right, self.down, self.back = (axes[-i] if len(axes) >= i else None for i in (1, 2, 3))
        longest = max((axis.size for axis in axes), default=0)
        lengths = [SHORTEST if a is None else _length(a.size, longest) for a in (self.right, self.down, self.back)]
        self.across, self.high = lengths[:2]
        self.aside = 0.0 if self.back is None else SLANT * lengths[2]
        beside = [axis.label for axis in (self.down, self.back) if axis is not None]
        self.x = 8 + LETTER * max(map(len, beside), default=0)
        self.y = 6 + self.aside
        below = 0.0 if self.right is None else LETTER * len(self.right.label) / 2
        self.width = self.x + max(self.across + self.aside, self.across / 2 + below) + 6
        self.height = self.y + self.high + LINE + 4

    def at(self, point: Point) -> str:
        """The place of a point on paper."""
        u, v, w = point
        return f"{self.x + u * self.across + w * self.aside:.1f} {self.y + v * self.high - w * self.aside:.1f}"

    def path(self, lines: Sequence[Sequence[Point]], style: str) -> str:
        """Lines from point to point."""
        if not lines:
            return ""
        return f'<path d="{"".join("M" + "L".join(map(self.at, line)) for line in lines)}" {style}/>'

    def outline(self) -> list[list[Point]]:
        """The edges that are seen."""
        front: list[Point] = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 0)]
        if self.back is None:
            return [front]
        return [front, [(0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 0)], [(1, 0, 0), (1, 0, 1)]]

    def face(self) -> str:
        """The sides that are seen, tinted."""
        return "" if self.empty else self.path(self.outline()[:2], 'fill="currentColor" fill-opacity="0.07"')

    def grid(self, what: str) -> list[list[Point]]:
        """The lines of all cuts on the sides that are seen; an empty array has no chunks."""
        if self.empty:
            return []
        deep = self.back is not None
        lines: list[list[Point]] = [
            [(f, 1, 0), (f, 0, 0), *([(f, 0.0, 1.0)] * deep)] for f in self._lines(self.right, what, self.across)
        ]
        lines += [[(0, f, 0), (1, f, 0), *([(1.0, f, 1.0)] * deep)] for f in self._lines(self.down, what, self.high)]
        lines += [[(0, 0, f), (1, 0, f), (1, 1, f)] for f in self._lines(self.back, what, self.aside)]
        return lines

    def _lines(self, axis: Axis | None, what: str, length: float) -> Sequence[float]:
        """Where an axis is cut; every second line, or third, ..., where they would run together."""
        lines: tuple[float, ...] = () if axis is None else getattr(axis, what).lines
        step = max(1, math.ceil(APART * len(lines) / length)) if lines else 1
        return lines[step - 1 :: step]

    def first_chunk(self) -> str:
        """The first chunk, filled."""
        if self.empty:
            return ""
        u, v, w = (_seen(axis, length) for axis, length in self._drawn())
        sides: list[list[Point]] = [[(0, 0, 0), (u, 0, 0), (u, v, 0), (0, v, 0)]]
        if self.back is not None:
            sides.append([(0, 0, 0), (0, 0, w), (u, 0, w), (u, 0, 0)])
            if u == 1:
                sides.append([(1, 0, 0), (1, 0, w), (1, v, w), (1, v, 0)])
        return self.path(sides, f'fill="{ACCENT}" fill-opacity="0.55"')

    def _drawn(self) -> list[tuple[Axis | None, float]]:
        return [(self.right, self.across), (self.down, self.high), (self.back, self.aside)]

    def labels(self) -> list[str]:
        """The length of each axis, beside it."""
        texts = []
        if self.right is not None:
            texts.append(_text(self.right.label, self.x + self.across / 2, self.y + self.high + LINE - 2, "middle"))
        if self.down is not None:
            texts.append(_text(self.down.label, self.x - 5, self.y + self.high / 2 + 4, "end"))
        if self.back is not None:
            texts.append(_text(self.back.label, self.x + self.aside / 2 - 5, self.y - self.aside / 2, "end"))
        return texts


def _length(size: int, longest: int) -> float:
    return max(SHORTEST, LONGEST * size / longest) if longest else SHORTEST


def _seen(axis: Axis | None, length: float) -> float:
    """The end of the first chunk, far enough away to be seen."""
    return 1.0 if axis is None else min(1.0, max(axis.chunks.first, 2 / max(length, 2)))
