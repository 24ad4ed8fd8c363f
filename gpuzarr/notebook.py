"""What arrays, views and groups look like in a notebook: a table of facts, and of arrays a drawing. HTML text.

Whatever a store says is escaped, and shortened: no script runs, and the text is small, whatever is in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from math import prod
from typing import Any

from gpuzarr.drawing import Axis, Cuts, cuts, draw, shortened
from gpuzarr.errors import GpuzarrError
from gpuzarr.grid import Grid, RegularGrid
from gpuzarr.info import byte_text
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.summary import codec_text, lengths_text

HEAD = ("Member", "Shape", "Type", "Bytes", "Codecs")
MEMBERS = 50  # of a group that are shown
ATTRIBUTES = 20  # that are shown
LONGEST = 200  # characters of a value
MOST_AXES = 32  # that are named

Rows = list[tuple[str, str]]


def array_html(metadata: ArrayMetadata, place: str, device: str) -> str:
    """An array that lies at `place`, and is read to `device`."""
    return _beside(_facts(metadata, place, device), draw(_axes(metadata)), metadata.attributes)


def _facts(metadata: ArrayMetadata, place: str, device: str) -> Rows:
    shards = lengths_text(metadata, "shards")
    itemsize = metadata.dtype.itemsize
    count = prod(metadata.grid.counts)
    per_shard = f" in {count} shards" if shards else ""
    return [
        ("Array", f"Zarr format {metadata.zarr_format}"),
        ("Shape", _named_lengths(metadata)),
        ("Data type", str(metadata.dtype)),
        ("Fill value", _fill(metadata.fill_value)),
        ("Chunks", lengths_text(metadata, "chunks")),
        *([("Shards", shards)] if shards else []),
        ("Number", f"{prod(_chunk_grid(metadata).counts)} chunks{per_shard}"),
        ("Bytes", byte_text(prod(metadata.shape) * itemsize)),
        ("Codecs", codec_text(metadata)),
        ("Device", device),
        ("Place", place),
    ]


def _fill(value: Any) -> str:
    return repr(value) if isinstance(value, str | bytes) else str(value)


def _named_lengths(metadata: ArrayMetadata) -> str:
    names = metadata.dimension_names or ()
    if not any(name is not None for name in names):
        return str(metadata.shape)
    pairs = zip(names[:MOST_AXES], metadata.shape, strict=False)
    return ", ".join(str(size) if name is None else f"{shortened(name, 40)}: {size}" for name, size in pairs)


def _chunk_grid(metadata: ArrayMetadata) -> Grid:
    """The grid of chunks; of inner ones where there are shards."""
    return RegularGrid(metadata.shape, metadata.chunks) if lengths_text(metadata, "shards") else metadata.grid


def _axes(metadata: ArrayMetadata) -> list[Axis]:
    chunks, pieces = _chunk_grid(metadata), metadata.grid
    names = metadata.dimension_names or (None,) * len(metadata.shape)
    sharded = chunks is not pieces
    return [
        Axis(size, _cuts(chunks, i), _cuts(pieces, i) if sharded else Cuts(), names[i])
        for i, size in enumerate(metadata.shape)
    ]


def _cuts(grid: Grid, i: int) -> Cuts:
    axis = grid.axis(i)
    return cuts(axis.size, axis.count, lambda chunk: axis.bounds(chunk)[0])


def view_html(shape: Sequence[int], dtype: object, itemsize: int, of: str) -> str:
    """A selection of an array that has not been read."""
    rows = [
        ("View", "not read yet"),
        ("Shape", str(tuple(shape))),
        ("Data type", str(dtype)),
        ("Bytes", byte_text(prod(shape) * itemsize)),
        ("Of", of),
    ]
    return _beside(rows, draw([Axis(size) for size in shape]))


def group_html(metadata: GroupMetadata, place: str, members: Iterable[tuple[str, Node]]) -> str:
    """A group that lies at `place`; of its members the first `MEMBERS` are taken."""
    rows = [("Group", f"Zarr format {metadata.zarr_format}"), ("Place", place)]
    found: list[tuple[str, Node]] = []
    problem = ""
    try:
        found.extend(islice(members, MEMBERS + 1))
    except (GpuzarrError, ValueError, OSError) as error:  # to be seen, but no reason for showing nothing
        problem = f"<p>{_text(f'members: {error}')}</p>"
    shown = [_member(name, node) for name, node in found[:MEMBERS]]
    more = '<tr><td colspan="5" style="text-align:left">and more</td></tr>' if len(found) > MEMBERS else ""
    head = "".join(
        f'<th style="text-align:left">{name}</th>' for name in ("Member", "Shape", "Type", "Bytes", "Codecs")
    )
    table = f"<table><tr>{head}</tr>{''.join(shown)}{more}</table>" if shown else ""
    return _beside(rows, table + problem, metadata.attributes)


def _member(name: str, node: Node) -> str:
    cells = [name, "group", "", "", ""]
    if isinstance(node, ArrayMetadata):
        nbytes = byte_text(prod(node.shape) * node.dtype.itemsize)
        cells = [name, str(node.shape), str(node.dtype), nbytes, codec_text(node)]
    return "<tr>" + "".join(f'<td style="text-align:left">{_text(cell)}</td>' for cell in cells) + "</tr>"


def _beside(rows: Rows, drawing: str, attributes: Mapping[str, Any] | None = None) -> str:
    table = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in rows
    )
    style = "display:flex;flex-wrap:wrap;gap:2em;align-items:flex-start"
    beside = f'<div style="{style}"><table>{table}</table><div>{drawing}</div></div>'
    return f"<div>{beside}{_attributes(attributes or {})}</div>"


def _attributes(attributes: Mapping[str, Any]) -> str:
    if not attributes:
        return ""
    lines = [
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(_json(value))}</td></tr>'
        for name, value in islice(attributes.items(), ATTRIBUTES)
    ]
    more = f"<p>and {len(attributes) - ATTRIBUTES} more</p>" if len(attributes) > ATTRIBUTES else ""
    title = f"{len(attributes)} attribute{'s' * (len(attributes) > 1)}"
    return f"<details><summary>{title}</summary><table>{''.join(lines)}</table>{more}</details>"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _text(value: object) -> str:
    """As text of HTML: short, printable and escaped."""
    return escape(shortened(value, LONGEST))
