"""What `z.info` and `group.info` print: the fields, and zarr-python's layout of them.

Plain values only; whoever knows an array or a group fills them in. The text is
for people: nothing parses it, and zarr-python keeps it out of its public API too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_UNITS = "KMGTPE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayInfo:
    """An array in a dozen lines.

    `chunk_shape` of None stands for chunks of several shapes; `shard_shape` of
    None for no shards, and "<variable>" for shards of several shapes. The counts
    of stored bytes and of chunks that exist need the store: None leaves them out.
    """

    zarr_format: int
    data_type: object
    fill_value: object
    shape: tuple[int, ...]
    shard_shape: tuple[int, ...] | Literal["<variable>"] | None = None
    chunk_shape: tuple[int, ...] | None = None
    order: str
    read_only: bool
    store_type: str
    filters: object = ()
    serializer: object = None
    compressors: object = ()
    count_bytes: int | None = None
    count_bytes_stored: int | None = None
    count_chunks_initialized: int | None = None

    def __repr__(self) -> str:
        raw, stored, made = self.count_bytes, self.count_bytes_stored, self.count_chunks_initialized
        rows: list[tuple[str, object]] = [
            ("Type", "Array"),
            ("Zarr format", self.zarr_format),
            ("Data type", self.data_type),
            ("Fill value", self.fill_value),
            ("Shape", self.shape),
            ("Shard shape", self.shard_shape),
            ("Chunk shape", "<variable>" if self.chunk_shape is None else self.chunk_shape),
            ("Order", self.order),
            ("Read-only", self.read_only),
            ("Store type", self.store_type),
            ("Filters", self.filters),
            ("Serializer", self.serializer),
            ("Compressors", self.compressors),
            ("No. bytes", None if raw is None else byte_text(raw)),
            ("No. bytes stored", None if stored is None else byte_text(stored)),
            ("Storage ratio", f"{raw / stored:.1f}" if raw is not None and stored else None),
            ("Chunks Initialized" if self.shard_shape is None else "Shards Initialized", made),
        ]
        # None is a field that does not apply, except where it is the value itself.
        return _table(18, (row for row in rows if row[1] is not None or row[0] in ("Fill value", "Filters")))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """A group in a few lines; the counts of members need the store, and None leaves them out."""

    name: str
    zarr_format: int
    read_only: bool
    store_type: str
    count_members: int | None = None
    count_arrays: int | None = None
    count_groups: int | None = None

    def __repr__(self) -> str:
        rows: list[tuple[str, object]] = [
            ("Name", self.name),
            ("Type", "Group"),
            ("Zarr format", self.zarr_format),
            ("Read-only", self.read_only),
            ("Store type", self.store_type),
            ("No. members", self.count_members),
            ("No. arrays", self.count_arrays),
            ("No. groups", self.count_groups),
        ]
        return _table(11, (row for row in rows if row[1] is not None))


def byte_text(size: int) -> str:
    """`1536 (1.5K)`: the exact count, and from 1 KiB a readable one in binary units."""
    if size < 1024:
        return str(size)
    scale = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"{size} ({size / 1024**scale:.1f}{_UNITS[scale - 1]})"


def _table(width: int, rows: Iterable[tuple[str, object]]) -> str:
    return "\n".join(f"{label:{width}} : {value}" for label, value in rows)
