"""`vlen-utf8`: strings of any length.

Kind: array -> bytes. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/vlen-utf8
Configuration: {"name": "vlen-utf8"}. The bytes are a uint32 item count, then for each item in C order a uint32
length and that many bytes of UTF-8, all little-endian. Known trouble: writers put 0 or None for missing strings;
they read and write as "". Runs on: cpu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec
from gpuzarr.codecs.engines.memory import Buffer, octets
from gpuzarr.errors import CorruptChunkError, EncodeError


def join_items(items: list[bytes]) -> bytes:
    """The count, then each item with its length before it."""
    parts = [len(items).to_bytes(4, "little")]
    for item in items:
        if len(item) >= 2**32:
            raise EncodeError(f"an element of {len(item)} bytes is longer than 4 GiB")
        parts += (len(item).to_bytes(4, "little"), item)
    return b"".join(parts)


def split_items(data: Buffer, count: int, codec: str) -> list[bytes]:
    """The items. Raises CorruptChunkError where there are not exactly `count`, or they do not fill `data`."""
    raw = octets(data).tobytes()
    found = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or found != count:
        raise CorruptChunkError("another number of items", codec=codec, expected=count, got=found)
    if 4 + 4 * count > len(raw):  # before anything is allocated for them
        raise CorruptChunkError("too short for its items", codec=codec, expected=4 + 4 * count, got=len(raw))
    items, at, end, number = [], 4, len(raw), int.from_bytes
    for _ in range(count):
        start = at + 4
        at = start + number(raw[at:start], "little")
        if at > end or start > end:
            raise CorruptChunkError("an item reaches beyond the end", codec=codec, expected=f"<= {end}", got=at)
        items.append(raw[start:at])
    if at != end:
        raise CorruptChunkError("bytes behind the last item", codec=codec, expected=at, got=end)
    return items


@dataclass(frozen=True, slots=True, kw_only=True)
class VLenUTF8Codec(ArrayBytesCodec):
    """Strings of any length."""

    name = "vlen-utf8"

    def to_dict(self) -> dict[str, Any]:
        # As zarr-python spells it, also inside of a sharding codec.
        return {"name": self.name, "configuration": {}}

    def encoded_size(self, spec: ChunkSpec) -> None:
        return None

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        # "T" is NumPy's string type; with an `na_object` it holds things that are not strings.
        try:
            return join_items([_text(item).encode() for item in chunk.ravel().tolist()])
        except UnicodeEncodeError as error:
            raise EncodeError(f"codec {self.name!r}: {error}") from error

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        try:
            items = [item.decode() for item in split_items(data, spec.size, self.name)]
        except UnicodeDecodeError as error:
            raise CorruptChunkError(f"not UTF-8: {error}", codec=self.name) from error
        return np.array(items, spec.dtype).reshape(spec.shape)


def _text(item: Any) -> str:
    if isinstance(item, str):
        return item
    if item is None or (isinstance(item, int) and item == 0):
        return ""
    raise EncodeError(f"codec 'vlen-utf8' encodes strings, not {type(item).__name__} {item!r}")
