"""Codecs for Python objects, which only format 2 has: json2, msgpack2, vlen-array, categorize.

The number of items is compared with the chunk's before an array is made for them. Pickle is never decoded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from typing import Any, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ArrayBytesCodec, ChunkSpec
from gpuzarr.codecs.engines.memory import Buffer, octets
from gpuzarr.codecs.numcodecs.base import Numcodec, dtype_of
from gpuzarr.codecs.vlen_bytes import object_array
from gpuzarr.codecs.vlen_utf8 import join_items, split_items
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import CorruptChunkError, MetadataError


class _Objects(Numcodec, ArrayBytesCodec):
    """A list of the items (nested as the chunk is), then its data type, then its shape."""

    def encoded_size(self, spec: ChunkSpec) -> None:
        return None

    def parse(self, data: bytes) -> Any:
        """The list."""
        raise NotImplementedError

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        return bytes(self.encoding(self.wrapped.encode, np.ascontiguousarray(chunk)))

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return self.safely(self._decode, octets(data).tobytes(), spec)

    def _decode(self, data: bytes, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        found = self.parse(data)
        if not isinstance(found, list) or len(found) < 2 or not isinstance(found[-1], list):
            raise CorruptChunkError("no list of items with data type and shape", codec=self.name)
        shape = found[-1]
        if any(not isinstance(n, int) or n < 0 for n in shape) or prod(shape) != spec.size:
            raise CorruptChunkError("another shape", codec=self.name, expected=spec.shape, got=shape)
        items = found[:-2]
        for _ in shape[1:]:
            items = [item for row in items for item in row]
        if len(items) != spec.size:
            raise CorruptChunkError("another number of items", codec=self.name, expected=spec.size, got=len(items))
        if spec.dtype.hasobject:
            return object_array(items, spec.shape)
        return np.array(items, spec.dtype).reshape(spec.shape)


class JSON(_Objects):
    """JSON text; the keywords are those of `json.JSONEncoder`."""

    codec_id = name = "json2"

    def check(self) -> None:
        encoding = self.config.get("encoding", "utf-8")
        if not isinstance(encoding, str):
            raise MetadataError(f"codec {self.name!r}: encoding is a string, not {encoding!r}")
        self.text = encoding

    def parse(self, data: bytes) -> Any:
        return json.loads(data.decode(self.text), strict=bool(self.config.get("strict", True)))


class MsgPack(_Objects):
    """MessagePack; `use_single_float`, `use_bin_type`, `raw`."""

    codec_id, name, package = "msgpack2", "msgpack2", "msgpack"

    def parse(self, data: bytes) -> Any:
        import msgpack

        return msgpack.unpackb(data, raw=bool(self.config.get("raw", False)), strict_map_key=False)


class VLenArray(Numcodec, ArrayBytesCodec):
    """One-dimensional arrays of one data type and any length; `dtype`."""

    codec_id = name = "vlen-array"

    def check(self) -> None:
        self.element = dtype_of(self, self.config.get("dtype"))

    def encoded_size(self, spec: ChunkSpec) -> None:
        return None

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> Buffer:
        def flat(item: Any) -> bytes:
            return b"" if item is None else np.ascontiguousarray(item, self.element).reshape(-1).tobytes()

        return self.encoding(lambda: join_items([flat(item) for item in chunk.ravel()]))

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        items = split_items(data, spec.size, self.name)
        if any(len(item) % self.element.itemsize for item in items):
            raise CorruptChunkError(f"an item is not a number of {self.element} elements", codec=self.name)
        # `a[:] = items` would stack arrays of one length.
        chunk = np.empty(len(items), object)
        for i, item in enumerate(items):
            chunk[i] = np.frombuffer(bytearray(item), self.element)
        return chunk.reshape(spec.shape)


class Categorize(Numcodec, ArrayArrayCodec):
    """Strings as numbers of `labels`, from 1; 0 is a string that is not among them, and reads as "". `dtype`,
    `astype`."""

    codec_id = name = "categorize"

    def check(self) -> None:
        labels = self.config.get("labels")
        if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
            raise MetadataError(f"codec {self.name!r}: labels is a list of strings, not {labels!r}")
        self.labels = list(labels)
        self.number = dtype_of(self, self.config.get("astype", "u1"))
        if self.number.kind not in "iu":
            raise MetadataError(f"codec {self.name!r}: astype is an integer type, not {self.number}")

    def evolve(self, spec: ChunkSpec) -> Self:
        if spec.dtype.kind not in "OTU":
            raise MetadataError(f"codec {self.name!r} is for strings, the array here is of {spec.dtype}")
        return self

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return replace(spec, data_type=parse_dtype(self.number, zarr_format=2), fill_value=self.number.type(0))

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        numbers = {label: i + 1 for i, label in enumerate(self.labels)}
        items = [numbers.get(item, 0) for item in chunk.ravel().tolist()]
        return np.array(items, self.number).reshape(chunk.shape)

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        numbers = chunk.reshape(-1).astype(np.int64)
        numbers[(numbers < 0) | (numbers > len(self.labels))] = 0
        table = np.array(["", *self.labels], spec.dtype)
        return table[numbers].reshape(spec.shape)
