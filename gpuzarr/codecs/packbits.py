"""`packbits`: elements of any number of bits, packed without gaps.

Kind: array -> bytes. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/packbits
Configuration: {"name": "packbits", "configuration": {"padding_encoding": "none", "first_bit": 0, "last_bit": 3}}.
Bits run from the lowest up, in elements and in bytes. Runs on: any device.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec, is_integer
from gpuzarr.codecs.engines.memory import Buffer, octets
from gpuzarr.errors import CorruptChunkError, MetadataError

_NAME = re.compile(r"(complex_)?(u?int|float|bfloat)(\d+)(_\w+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackBitsCodec(ArrayBytesCodec):
    """Bits `first_bit` to `last_bit` of each element; `padding_encoding` says where the number of padding bits
    stands: "first_byte", "last_byte" or "none"."""

    name = "packbits"

    padding_encoding: Literal["first_byte", "last_byte", "none"] = "none"
    first_bit: int | None = None
    last_bit: int | None = None

    def __post_init__(self) -> None:
        if self.padding_encoding not in ("first_byte", "last_byte", "none"):
            raise MetadataError(f"codec 'packbits': unknown padding_encoding {self.padding_encoding!r}")
        for bit in (self.first_bit, self.last_bit):
            if bit is not None and not is_integer(bit, 0, 63):
                raise MetadataError(f"codec 'packbits': a bit is an integer from 0, not {bit!r}")

    def configuration(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if self.padding_encoding != "none":
            chosen["padding_encoding"] = self.padding_encoding
        for key in ("first_bit", "last_bit"):
            if getattr(self, key) is not None:
                chosen[key] = getattr(self, key)
        return chosen

    def evolve(self, spec: ChunkSpec) -> Self:
        width, _ = _layout(spec)
        first, last = self._bits(width)
        if not first <= last < width:
            raise MetadataError(f"codec 'packbits': no bits {first} to {last} in {spec.data_type.name!r}")
        return self

    def _bits(self, width: int) -> tuple[int, int]:
        return self.first_bit or 0, width - 1 if self.last_bit is None else self.last_bit

    def _count(self, spec: ChunkSpec) -> int:
        """Bits in all."""
        width, parts = _layout(spec)
        first, last = self._bits(width)
        return spec.size * parts * (last - first + 1)

    def layout(self, spec: ChunkSpec) -> tuple[int, int, int]:
        """How many numbers there are (a complex one is two), the bits of each, and which bit is the first of these."""
        width, parts = _layout(spec)
        first, last = self._bits(width)
        return spec.size * parts, last - first + 1, first

    def encoded_size(self, spec: ChunkSpec) -> int:
        return -(-self._count(spec) // 8) + (self.padding_encoding != "none")

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        width, _ = _layout(spec)
        first, last = self._bits(width)
        values = _unsigned(chunk, spec)
        places = np.arange(first, last + 1).astype(values.dtype)
        bits = (values[:, None] >> places & values.dtype.type(1)).astype(np.uint8)
        packed = np.packbits(bits.reshape(-1), bitorder="little")
        padding = np.array([-bits.size % 8], np.uint8)
        if self.padding_encoding == "none":
            return packed
        return np.concatenate((padding, packed) if self.padding_encoding == "first_byte" else (packed, padding))

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        raw, count, size = octets(data), self._count(spec), self.encoded_size(spec)
        if raw.size != size:
            raise CorruptChunkError("wrong size", codec=self.name, expected=size, got=raw.size)
        if self.padding_encoding != "none":
            at_start = self.padding_encoding == "first_byte"
            padding = int(raw[0 if at_start else -1])
            if padding != -count % 8:
                raise CorruptChunkError("wrong padding", codec=self.name, expected=-count % 8, got=padding)
            raw = raw[1:] if at_start else raw[:-1]
        width, parts = _layout(spec)
        first, last = self._bits(width)
        bits = np.unpackbits(raw, count=count, bitorder="little").reshape(spec.size * parts, last - first + 1)
        unsigned = np.dtype(f"u{spec.dtype.itemsize // parts}")
        values = np.zeros(len(bits), unsigned)
        for place in range(first, last + 1):
            values |= bits[:, place - first].astype(unsigned) << unsigned.type(place)
        if spec.data_type.name.startswith("int"):
            ones = unsigned.type(np.iinfo(unsigned).max)
            values[bits[:, -1] == 1] |= (
                ones << unsigned.type(last) if last < 8 * unsigned.itemsize else unsigned.type(0)
            )
        native = values.view(spec.dtype.newbyteorder("=") if spec.dtype.isbuiltin == 1 else spec.dtype)
        return native.reshape(spec.shape).astype(spec.dtype, copy=False)


def _layout(spec: ChunkSpec) -> tuple[int, int]:
    """(bits of one component, components)."""
    name = spec.data_type.name
    if name == "bool":
        return 1, 1
    found = _NAME.fullmatch(name)
    if found is not None:
        return int(found[3]), 2 if found[1] else 1
    if name in ("complex64", "complex128"):
        return spec.dtype.itemsize * 4, 2
    raise MetadataError(f"codec 'packbits' does not know data type {name!r}")


def _unsigned(chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
    """The components as unsigned integers, flat, in C order."""
    _, parts = _layout(spec)
    native = chunk.astype(chunk.dtype.newbyteorder("="), copy=False) if chunk.dtype.isbuiltin == 1 else chunk
    return np.ascontiguousarray(native).reshape(-1).view(f"u{spec.dtype.itemsize // parts}")
