"""What notebooks show: small, well-formed, harmless whatever is in the store, and right about chunks."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuzarr
from gpuzarr.drawing import MOST_LINES, Axis, Cuts, cuts, draw, shortened
from gpuzarr.errors import StoreReadError
from gpuzarr.grid import RegularGrid
from gpuzarr.notebook import ATTRIBUTES, MEMBERS, group_html
from gpuzarr.storage import MemoryStore, WrapperStore

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "</td><script>alert('x')</script>\x1b[2J\u202e&amp;\"'" + "long" * 1000


class Tags(HTMLParser):
    """Tags, attributes and text of HTML; every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def harmless(self) -> bool:
        """Whether all of it is layout and text."""
        known = {"div", "table", "tr", "th", "td", "details", "summary", "p", "svg", "path", "text"}
        return self.tags <= known and not any(
            name.startswith("on") or name in ("href", "src") for name in self.attributes
        )


def facts(html: str) -> dict[str, str]:
    """The table of facts."""
    rows = re.findall(r'<tr><th style="text-align:left">(\w[^<]*)</th><td style="text-align:left">([^<]*)</td>', html)
    return dict(rows)


def points(svg: ElementTree.Element) -> list[tuple[float, float]]:
    """Every point of every path."""
    found = " ".join(path.attrib["d"] for path in svg.iter(f"{SVG}path"))
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", found)]


def drawn(*axes: Axis) -> ElementTree.Element:
    return ElementTree.fromstring(draw(axes))


def lines(svg: ElementTree.Element, width: str) -> int:
    """How many lines of this stroke width there are."""
    return sum(path.attrib["d"].count("M") for path in svg.iter(f"{SVG}path") if path.get("stroke-width") == width)


# ---- the drawing


def regular(size: int, length: int) -> Cuts:
    grid = RegularGrid((size,), (length,))
    return cuts(size, grid.counts[0], lambda i: grid.axis(0).bounds(i)[0])


def test_where_an_axis_is_cut() -> None:
    assert regular(10, 4) == Cuts((0.4, 0.8), 0.4)
    assert regular(10, 10) == regular(10, 20) == regular(0, 3) == Cuts((), 1.0)
    many = regular(10**12, 7)
    assert MOST_LINES / 2 < len(many.lines) <= MOST_LINES
    gaps = [b - a for a, b in pairwise(many.lines)]
    assert max(gaps) - min(gaps) < 1e-9
    assert many.first == 7e-12


def test_two_axes_are_a_rectangle_with_its_chunks() -> None:
    svg = drawn(Axis(60, regular(60, 20)), Axis(100, regular(100, 25)))
    assert lines(svg, "0.6") == 2 + 3
    outline = next(path for path in svg.iter(f"{SVG}path") if path.get("stroke-width") == "1.2")
    corners = [tuple(map(float, pair.split())) for pair in outline.attrib["d"][1:].split("L")]
    (left, top), (right, _), (_, bottom) = corners[:3]
    assert (bottom - top) / (right - left) == pytest.approx(0.6, abs=0.01)
    chunk = next(path for path in svg.iter(f"{SVG}path") if path.get("fill", "").startswith("#"))
    (a, b), (c, _), (_, d), _ = (tuple(map(float, pair.split())) for pair in chunk.attrib["d"][1:].split("L"))
    assert ((c - a) / (right - left), (d - b) / (bottom - top)) == pytest.approx((1 / 4, 1 / 3), abs=0.01)
    assert [text.text for text in svg.iter(f"{SVG}text")] == ["100", "60"]


def test_three_axes_are_a_block_with_shards() -> None:
    axes = [Axis(40, regular(40, 10), regular(40, 20), name) for name in ("time", "y", "x")]
    svg = drawn(*axes)
    assert lines(svg, "0.6") == 9
    assert lines(svg, "1.4") == 3
    assert {text.text for text in svg.iter(f"{SVG}text")} == {"time 40", "y 40", "x 40"}


def test_more_axes_are_told() -> None:
    svg = drawn(*[Axis(i + 1) for i in range(5)])
    assert "1 × 2 of these" in [text.text for text in svg.iter(f"{SVG}text")]
    svg = drawn(*[Axis(1, name=NASTY) for _ in range(500)])
    assert "(497 axes)" in " ".join(text.text or "" for text in svg.iter(f"{SVG}text"))


def test_no_axes_and_empty_ones() -> None:
    assert drawn().get("aria-label") == "scalar"
    svg = drawn(Axis(0), Axis(10, regular(10, 2)))
    assert lines(svg, "0.6") == 0
    assert any(path.get("stroke-dasharray") for path in svg.iter(f"{SVG}path"))


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 20), st.integers(0, 2**62)),
            st.one_of(st.integers(1, 20), st.integers(1, 2**62)),
            st.sampled_from([None, "", "x", "温度" * 10, NASTY]),
        ),
        max_size=6,
    )
)
def test_every_drawing_is_small_and_lies_on_its_paper(axes: list[tuple[int, int, str | None]]) -> None:
    text = draw([Axis(size, regular(size, length), regular(size, 3 * length), name) for size, length, name in axes])
    assert len(text) < 20_000
    svg = ElementTree.fromstring(text)
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    assert width < 800
    assert height < 300
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points(svg))


def test_text_of_a_store_is_short_and_drives_nothing() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
    assert len(shortened("\x1b" * 10**6, 50)) == 50
    assert shortened("a\x1b\u202e", 50) == "a\\x1b\\u202e"


# ---- arrays, views, groups


def test_the_facts_of_an_array() -> None:
    array = gpuzarr.create_array(
        {},
        shape=(30, 40),
        chunks=(5, 10),
        shards=(10, 20),
        dtype="i2",
        dimension_names=["y", None],
        compressors=gpuzarr.codecs.BloscCodec(cname="lz4"),
        attributes={"units": "K"},
    )
    html = array._repr_html_()
    found = facts(html)
    assert {name: found[name] for name in list(found)[:9]} == {
        "Array": "Zarr format 3",
        "Shape": "y: 30, 40",
        "Data type": "int16",
        "Fill value": "0",
        "Chunks": "(5, 10)",
        "Shards": "(10, 20)",
        "Number": "24 chunks in 6 shards",
        "Bytes": "2400 (2.3K)",
        "Codecs": "blosc(lz4)",
    }
    assert found["Device"] == "cpu"
    assert "memory://" in found["Place"]
    assert found["units"] == "K"
    assert Tags(html).harmless()
    svg = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    assert lines(svg, "0.6") == 5 + 3
    assert lines(svg, "1.4") == 2 + 1


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (0, 7), (3, 0, 2), (1, 1, 1, 1), (2**62, 1)])
def test_arrays_of_all_shapes(zarr_format: int, shape: tuple[int, ...]) -> None:
    chunks = tuple(min(max(1, n), 1000) for n in shape)
    array = gpuzarr.create_array({}, shape=shape, chunks=chunks, dtype="f4", zarr_format=zarr_format)
    html = array._repr_html_()
    assert Tags(html).harmless()
    assert facts(html)["Shape"] == str(shape)
    assert facts(html)["Codecs"] == "zstd"


def test_chunks_of_several_sizes() -> None:
    with gpuzarr.config.set({"array.rectilinear_chunks": True}):
        array = gpuzarr.create_array({}, shape=(60, 100), chunks=[[10, 20, 30], [50, 20, 20, 10]], dtype="f4")
    html = array._repr_html_()
    assert facts(html)["Chunks"] == "variable"
    assert facts(html)["Number"] == "12 chunks"
    svg = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    assert lines(svg, "0.6") == 2 + 3


def test_nothing_is_read_for_an_array() -> None:
    class Silent(WrapperStore):
        def get_many(self, keys: Sequence[str], room: Any = None, *, limit: int | None = None) -> Any:
            raise AssertionError(keys)

        get = get_ranges = list = list_sizes = list_dir = size = exists = get_many  # type: ignore[assignment]

    inside = gpuzarr.create_array({}, data=np.arange(5))
    array = gpuzarr.Array(Silent(inside.store), "", inside.metadata)
    assert Tags(array._repr_html_()).harmless()
    assert Tags(array.lazy[1:3]._repr_html_()).harmless()


def test_a_view_is_shown_without_reading_it() -> None:
    array = gpuzarr.create_array({}, data=np.arange(100).reshape(10, 10))
    html = array.lazy[2:6, ::2]._repr_html_()
    assert facts(html)["Shape"] == "(4, 5)"
    assert facts(html)["View"] == "not read yet"
    assert "&lt;Array" in facts(html)["Of"]
    assert Tags(html).harmless()


def test_what_a_store_says_is_only_text() -> None:
    root = gpuzarr.group({}, attributes={NASTY: NASTY, "b": [NASTY], "deep": {"a": {"b": NASTY}}})
    name = NASTY.replace("/", "∕")[:200]
    nasty = root.create_array(name, shape=(3,), dtype="U5", fill_value="<b>", dimension_names=[NASTY])
    nasty.attrs.update({f"{i}{NASTY}": NASTY for i in range(100)})
    for html in (root._repr_html_(), nasty._repr_html_(), nasty.lazy[:2]._repr_html_()):
        tags = Tags(html)
        assert tags.harmless()
        assert "\x1b" not in html
        assert "\u202e" not in html
        assert "<script" not in html
        assert len(html) < 40_000
    assert nasty._repr_html_().count("</tr>") < 20 + ATTRIBUTES
    assert "and 80 more" in nasty._repr_html_()


def test_a_group_shows_its_first_members_and_asks_for_few() -> None:
    class Counting(WrapperStore):
        asked = 0

        def get_many(self, keys: Sequence[str], room: Any = None, *, limit: int | None = None) -> Any:
            self.asked += len(keys)
            return super().get_many(keys, room, limit=limit)

    inside = MemoryStore()
    root = gpuzarr.open_group(inside, mode="w")
    member = root.create_array("m00000", shape=(10, 20), chunks=(5, 5), dtype="f4")
    document = inside.get("m00000/zarr.json")
    assert document is not None
    for i in range(1, 10_000):
        inside.set(f"m{i:05}/zarr.json", document)
    store = Counting(inside)
    html = gpuzarr.open_group(store, mode="r")._repr_html_()
    assert html.count("m000") == MEMBERS
    assert "and more" in html
    assert html.count(str(member.shape)) == MEMBERS
    assert store.asked < 2 * MEMBERS
    assert Tags(html).harmless()


def test_a_group_without_members_and_one_that_cannot_be_listed() -> None:
    empty = gpuzarr.group({})
    assert Tags(empty._repr_html_()).harmless()
    assert "Member" not in empty._repr_html_()

    def failing() -> Iterator[Any]:
        yield "good", empty.metadata
        raise StoreReadError("<gone>")

    html = group_html(empty.metadata, "somewhere", failing())
    assert "members: &lt;gone&gt;" in html
    assert "good" in html
    store = WrapperStore(MemoryStore())
    gpuzarr.open_group(store, mode="w")
    store.supports_listing = False
    assert "cannot list" in gpuzarr.open_group(store, mode="r+")._repr_html_()


def test_a_document_that_is_damaged_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    root = gpuzarr.open_group(MemoryStore(), mode="w")
    root.create_group("a")
    root.store.set("b/zarr.json", b"{<b>")
    html = root._repr_html_()
    assert "members: " in html
    assert Tags(html).harmless()


def test_memory_for_a_large_array_is_small() -> None:
    array = gpuzarr.create_array({}, shape=(10**9, 10**9, 10**9), chunks=(1, 1, 1), dtype="f8", compressors=None)
    tracemalloc.start()
    html = array._repr_html_()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert len(html) < 20_000
    assert facts(html)["Number"] == f"{10**27} chunks"
