"""`sharding_indexed`: many inner chunks in one object, with an index of where each lies.

Kind: array -> bytes. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
Configuration: {"name": "sharding_indexed", "configuration": {"chunk_shape": [32, 32], "codecs": [...],
"index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
"index_location": "end"}}.

The index is (offset, nbytes) of every inner chunk in C order, as uint64; an absent chunk has 2^64-1 twice. Inner
chunks may lie in any order, with gaps; zarr-python writes them in Morton order. Known trouble: an index at the
start must not shift the mark of absence; an index may point anywhere, so every entry is checked.

Reading and writing by inner chunk is the corridor's work (`shards`), with `parse_index`, `build_shard` and
`inner_chain` from here; `encode` and `decode` take a whole shard as a unit, for shards inside shards and shards
with other codecs around them. Runs on: any device; the index always on the cpu.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, Literal, Self

import numpy as np

from gpuzarr.codecs.bytes import BytesCodec
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ArrayBytesCodec, ChunkSpec, Codec
from gpuzarr.codecs.crc32c import Crc32cCodec
from gpuzarr.codecs.engines.memory import Buffer, octets, size_of
from gpuzarr.codecs.registry import codec_from
from gpuzarr.dtypes import data_type_from_v3
from gpuzarr.errors import CorruptChunkError, CorruptShardError, MetadataError
from gpuzarr.options import config

ABSENT = 2**64 - 1
NOWHERE = 2**64 - 2  # offset and size in the index of a chunk that is lost; no reader can take it for a place
LOST: Any = object()  # among encoded inner chunks: there was one, but the index was wrong about it
MAX_DEPTH = 4  # shards in shards
WriteOrder = Literal["morton", "unordered", "lexicographic", "colexicographic"]
WRITE_ORDERS = ("morton", "unordered", "lexicographic", "colexicographic")


@dataclass(frozen=True)
class ShardingCodec(ArrayBytesCodec):
    """Inner chunks of `chunk_shape`, each encoded with `codecs`. `subchunk_write_order` is where they lie in new
    shards; it is not recorded."""

    name = "sharding_indexed"
    holds_chunks = True

    chunk_shape: tuple[int, ...]
    codecs: tuple[Codec, ...]
    index_codecs: tuple[Codec, ...]
    index_location: Literal["start", "end"] = "end"
    subchunk_write_order: WriteOrder = "morton"
    _inner: CodecChain | None = field(default=None, init=False, repr=False, compare=False)

    def __init__(
        self,
        *,
        chunk_shape: int | Iterable[int],
        codecs: Iterable[Any] = (BytesCodec(endian="little"),),
        index_codecs: Iterable[Any] = (BytesCodec(endian="little"), Crc32cCodec()),
        index_location: Literal["start", "end"] = "end",
        subchunk_write_order: WriteOrder = "morton",
    ) -> None:
        put = object.__setattr__
        put(self, "chunk_shape", _shape(chunk_shape))
        put(self, "codecs", tuple(codec_from(c) for c in codecs))
        put(self, "index_codecs", tuple(codec_from(c) for c in index_codecs))
        put(self, "index_location", getattr(index_location, "value", index_location))
        put(self, "subchunk_write_order", subchunk_write_order)
        put(self, "_inner", None)
        if self.index_location not in ("start", "end"):
            raise MetadataError(f"codec 'sharding_indexed': index_location is 'start' or 'end', not {index_location!r}")
        if subchunk_write_order not in WRITE_ORDERS:
            raise MetadataError(
                f"codec 'sharding_indexed': subchunk_write_order is one of {', '.join(WRITE_ORDERS)},"
                f" not {subchunk_write_order!r}"
            )
        if self.depth > MAX_DEPTH:
            raise MetadataError(f"codec 'sharding_indexed': shards in shards go {MAX_DEPTH} deep, not {self.depth}")
        self.index_size((1,) * len(self.chunk_shape))

    @property
    def depth(self) -> int:
        """1, or more where the inner chunks are shards themselves."""
        return 1 + max((c.depth for c in self.codecs if isinstance(c, ShardingCodec)), default=0)

    def configuration(self) -> dict[str, Any]:
        return {
            "chunk_shape": list(self.chunk_shape),
            "codecs": [c.to_dict() for c in self.codecs],
            "index_codecs": [c.to_dict() for c in self.index_codecs],
            "index_location": self.index_location,
        }

    @classmethod
    def from_configuration(cls, configuration: Any) -> Self:
        if "subchunk_write_order" in configuration or "_inner" in configuration:
            raise MetadataError(f"codec 'sharding_indexed': unknown configuration in {sorted(configuration)}")
        for key in ("codecs", "index_codecs"):
            if key in configuration and not isinstance(configuration[key], list | tuple):
                raise MetadataError(f"codec 'sharding_indexed': {key} is a list, not {configuration[key]!r}")
        return super().from_configuration(configuration)

    def evolve(self, spec: ChunkSpec) -> Self:
        if len(spec.shape) != len(self.chunk_shape) or any(
            whole % part for whole, part in zip(spec.shape, self.chunk_shape, strict=True)
        ):
            raise MetadataError(
                f"codec 'sharding_indexed': inner chunks {self.chunk_shape} do not divide shards {spec.shape}"
            )
        inner = CodecChain.build(self.codecs, ChunkSpec(self.chunk_shape, spec.data_type, spec.fill_value))
        settled = replace(self, codecs=inner.codecs)
        object.__setattr__(settled, "_inner", inner)
        return settled

    def inner_chain(self, spec: ChunkSpec) -> CodecChain:
        """The chain of one inner chunk of shards like `spec`."""
        inner = self._inner if self._inner is not None else self.evolve(spec)._inner
        assert inner is not None
        return inner

    def counts(self, spec: ChunkSpec) -> tuple[int, ...]:
        """Inner chunks along each axis of a shard like `spec`."""
        return tuple(whole // part for whole, part in zip(spec.shape, self.chunk_shape, strict=True))

    # ---- the index

    def index_size(self, counts: tuple[int, ...]) -> int:
        """Bytes of the index of a shard with so many inner chunks along each axis."""
        size = _index_chain(self.index_codecs, counts).encoded_size
        if size is None:
            names = ", ".join(c.name for c in self.index_codecs)
            raise MetadataError(f"codec 'sharding_indexed': index_codecs must give a fixed size; {names} do not")
        return size

    def index_span(self, counts: tuple[int, ...]) -> tuple[int, int | None]:
        """Where the index lies in the shard, as (start, stop) of a slice."""
        size = self.index_size(counts)
        return (0, size) if self.index_location == "start" else (-size, None)

    def parse_index(
        self, data: Buffer, counts: tuple[int, ...], shard_size: int | None = None
    ) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The index in `data` as a table of (offset, nbytes), one row an inner chunk in C order; absent chunks
        have 2^64-1 twice.

        Its checksum is verified first. With the size of the shard, every chunk lies inside it; none reaches into
        the index, and two may share bytes only where they are the same. Raises ChecksumError, CorruptShardError.
        """
        table, wrong = self.survey_index(data, counts, shard_size)
        if wrong.any():
            row = int(wrong.argmax())
            offset, nbytes = table[row].tolist()
            raise CorruptShardError(
                f"an index entry is half absent, outside the data of the shard, or overlaps another: inner chunk {row}"
                f" at {offset}, {nbytes} bytes",
                codec=self.name,
            )
        return table

    def survey_index(
        self, data: Buffer, counts: tuple[int, ...], shard_size: int | None = None
    ) -> tuple[np.ndarray[Any, np.dtype[np.uint64]], np.ndarray[Any, np.dtype[np.bool_]]]:
        """As `parse_index`, with the rows that cannot be true as a mask instead of an error; of chunks that overlap,
        each is one."""
        size = self.index_size(counts)
        if size_of(data) != size:
            raise CorruptShardError(
                "too short to hold its index", codec=self.name, expected=f"{size} bytes", got=size_of(data)
            )
        try:
            table = _index_chain(self.index_codecs, counts).decode(data).reshape(-1, 2)
        except CorruptChunkError as error:
            error.what = f"shard index: {error.what}"
            raise
        first = size if self.index_location == "start" else 0
        stop = None if shard_size is None else shard_size - (0 if first else size)
        return table, _wrong_entries(table, first, stop)

    def build_shard(self, encoded: Sequence[Buffer | None], counts: tuple[int, ...]) -> list[Buffer]:
        """What a shard of encoded inner chunks is made of, one buffer after another. The chunks are given in C order,
        with None for absent ones; LOST ones stay unreadable."""
        table = np.full((len(encoded), 2), ABSENT, np.uint64)
        size = self.index_size(counts)
        at = size if self.index_location == "start" else 0
        pieces: list[Any] = []
        entries = table.tolist()
        for i in _write_order(counts, self.subchunk_write_order):
            data = encoded[i]
            if data is LOST:
                entries[i] = [NOWHERE, NOWHERE]
            elif data is not None:
                nbytes = size_of(data)
                entries[i] = [at, nbytes]
                at += nbytes
                pieces.append(data)
        table = np.array(entries, np.uint64).reshape(*counts, 2)
        index = _index_chain(self.index_codecs, counts).encode(table)
        pieces.insert(0 if self.index_location == "start" else len(pieces), index)
        return pieces

    def check_shard(self, shard: Sequence[Buffer], encoded: Sequence[Any], counts: tuple[int, ...]) -> None:
        """Raise CorruptShardError where the index of what `build_shard` gave does not say where its chunks are: a new
        shard is checked before it is stored."""
        index = shard[0 if self.index_location == "start" else -1]
        nbytes = sum(map(size_of, shard))
        table, wrong = self.survey_index(index, counts, nbytes)
        sizes = [ABSENT if data is None else NOWHERE if data is LOST else size_of(data) for data in encoded]
        lost = [data is LOST for data in encoded]
        total = sum(n for n in sizes if n < NOWHERE) + self.index_size(counts)
        if table[:, 1].tolist() != sizes or wrong.tolist() != lost or nbytes != total:
            raise CorruptShardError("the index of a new shard is wrong; nothing was stored", codec=self.name)

    # ---- a whole shard as a unit

    def encoded_size(self, spec: ChunkSpec) -> None:
        return None

    def encoded_limit(self, spec: ChunkSpec) -> int:
        # Shards may have gaps, so the option that bounds every chunk is the least of the bounds.
        inner = self.inner_chain(spec).encoded_limit * prod(self.counts(spec))
        return max(inner + self.index_size(self.counts(spec)), int(config.get("array.max_chunk_bytes")))

    def _parts(self, spec: ChunkSpec) -> Iterable[tuple[Any, ...]]:
        counts = self.counts(spec)
        edges = [[slice(i * c, (i + 1) * c) for i in range(n)] for n, c in zip(counts, self.chunk_shape, strict=True)]
        return product(*edges, [Ellipsis])  # with the last, NumPy gives a view where there are no axes, too

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec, write_empty: bool = False) -> Buffer:
        inner = self.inner_chain(spec)
        encoded: list[Buffer | None] = []
        for part in self._parts(spec):
            piece = chunk[part]
            empty = not write_empty and inner.spec.is_fill(piece)
            encoded.append(None if empty else inner.encode(piece, write_empty=write_empty))
        return b"".join(self.build_shard(encoded, self.counts(spec)))

    def decode(self, data: Buffer, spec: ChunkSpec) -> np.ndarray[Any, Any]:
        raw, counts = octets(data), self.counts(spec)
        start, stop = self.index_span(counts)
        table = self.parse_index(raw[start:stop], counts, raw.size)
        inner = self.inner_chain(spec)
        fill = spec.data_type.default_fill() if spec.fill_value is None else spec.fill_value
        shard = np.empty(spec.shape, spec.dtype)
        for part, (offset, nbytes) in zip(self._parts(spec), table.tolist(), strict=True):
            if offset == ABSENT:
                shard[part] = fill
            else:
                shard[part] = inner.decode(raw[offset : offset + nbytes])
        return shard


def _shape(value: Any) -> tuple[int, ...]:
    shape = (value,) if isinstance(value, int) else tuple(value)
    if any(isinstance(n, bool) or not hasattr(n, "__index__") or int(n) < 1 for n in shape):
        raise MetadataError(f"codec 'sharding_indexed': chunk_shape is a list of positive integers, not {value!r}")
    return tuple(int(n) for n in shape)


@lru_cache(maxsize=64)
def _index_chain(codecs: tuple[Codec, ...], counts: tuple[int, ...]) -> CodecChain:
    return CodecChain.build(codecs, ChunkSpec((*counts, 2), data_type_from_v3("uint64"), np.uint64(ABSENT)))


def _wrong_entries(
    table: np.ndarray[Any, np.dtype[np.uint64]], first: int, stop: int | None
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows with a mark of absence in one half, outside [first, stop), or of two chunks that share some bytes."""
    signed = table.astype(np.int64)  # a mark of absence is -1, and what no file can have is negative
    offset, nbytes = signed[:, 0], signed[:, 1]
    absent = offset == -1
    limit = 2**63 - 1 if stop is None else max(stop, 0)
    # limit - offset cannot wrap where offset is not negative, and where it is, the row is decided by that.
    outside = (offset < first) | (nbytes < 0) | (nbytes > limit - offset)
    wrong: np.ndarray[Any, np.dtype[np.bool_]] = np.where(absent, nbytes != -1, outside)
    rows = np.flatnonzero(~(wrong | absent) & (nbytes > 0))
    rows = rows[np.argsort(offset[rows], kind="stable")]
    start, size = offset[rows], nbytes[rows]
    if (start[1:] >= (start + size)[:-1]).all():  # as in any shard that was written well
        return wrong
    rows = rows[np.lexsort((size, start))]
    start, size = offset[rows], nbytes[rows]
    # Same bytes twice are one chunk stored once.
    new = np.ones(len(rows), bool)
    new[1:] = (start[1:] != start[:-1]) | (size[1:] != size[:-1])
    low, high = start[new], (start + size)[new]
    reach = np.maximum.accumulate(high)
    overlap = np.zeros(len(low), bool)
    overlap[1:] = reach[:-1] > low[1:]
    overlap[:-1] |= high[:-1] > low[1:]
    wrong[rows[overlap[np.cumsum(new) - 1]]] = True
    return wrong


@lru_cache(maxsize=64)
def _write_order(counts: tuple[int, ...], order: WriteOrder) -> tuple[int, ...]:
    """Rows of the index in the order in which new inner chunks are laid down."""
    total = prod(counts)
    if order == "colexicographic":
        return tuple(np.arange(total).reshape(counts).T.reshape(-1).tolist())
    if order != "morton":
        return tuple(range(total))
    # Bits of the coordinates, interleaved from the lowest up, the first axis lowest; an axis that has run out of
    # bits is passed over.
    coords = np.indices(counts).reshape(len(counts), total)
    code = np.zeros(total, np.uint64)
    place = 0
    widths = [(n - 1).bit_length() for n in counts]
    for bit in range(max(widths, default=0)):
        for axis, width in enumerate(widths):
            if bit < width:
                code |= ((coords[axis] >> bit) & 1).astype(np.uint64) << np.uint64(place)
                place += 1
    return tuple(np.argsort(code, kind="stable").tolist())
