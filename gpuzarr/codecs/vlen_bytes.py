"""`vlen-bytes`: byte strings of any length.

Kind: array -> bytes. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/vlen-bytes
Configuration: {"name": "vlen-bytes"}. The bytes are as those of `vlen-utf8`. Runs on: cpu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec
from gpuzarr.codecs.engines.memory import Buffer
from gpuzarr.codecs.vlen_utf8 import join_items, split_items
from gpuzarr.errors import EncodeError


def object_array(items: list[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Python objects as they are, in an array of this shape."""
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class VLenBytesCodec(ArrayBytesCodec):
    """Byte strings of any length."""

    name = "vlen-bytes"

    def to_dict(self) -> dict[str, Any]:
        # As zarr-python spells it, also inside of a sharding codec.
        return {"name": self.name, "configuration": {}}

    def encoded_size(self, spec: ChunkSpec) -> None:
        return None

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        return join_items([_octets(item) for item in chunk.ravel().tolist()])

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return object_array(split_items(data, spec.size, self.name), spec.shape)


def _octets(item: Any) -> bytes:
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    if item is None or (isinstance(item, int) and item == 0):
        return b""
    raise EncodeError(f"codec 'vlen-bytes' encodes bytes, not {type(item).__name__} {item!r}")
