"""What follows decompression on a GPU: the rest of a chain as a list of steps, one launch (or a few) a wave each.

A step takes the chunks of a wave from one area to another, or works where they lie. Chunks lie one stride apart in
every area, so a step needs no table. Moving axes is no step: the order in which they are stored is handed to whoever
places the chunks, and so are a shuffle and another byte order where they come last. Each step gives the bytes that the
codec gives on the host. Where a kernel cannot promise that for a value (see `kernels/numbers.h`), it marks the chunk,
and the host decodes that one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpuzarr.codecs import numcodecs
from gpuzarr.codecs.bitround import BitRound
from gpuzarr.codecs.bytes import BytesCodec, swap_unit
from gpuzarr.codecs.cast_value import CastValue
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ArrayArrayCodec, BytesBytesCodec, ChunkSpec, Codec
from gpuzarr.codecs.numcodecs.filters import Filter
from gpuzarr.codecs.packbits import PackBitsCodec
from gpuzarr.codecs.reshape import ReshapeCodec
from gpuzarr.codecs.scale_offset import ScaleOffset
from gpuzarr.codecs.transpose import TransposeCodec
from gpuzarr.codecs.v2 import FilteredBytes, OtherOrder, RawBytes
from gpuzarr.devices import launches, scatter
from gpuzarr.devices.gpu import GpuDevice, GpuLane
from gpuzarr.devices.launches import Area, Rows
from gpuzarr.devices.numpy_numbers import EXACT, RANGE, type_code
from gpuzarr.devices.scatter import NO_FILTER, SHUFFLE, Layout

# run(device, lane, chunks, source, dest, address of the marks)
Run: TypeAlias = Callable[[GpuDevice, GpuLane, int, Rows, Rows, int], None]

_MASK = (1 << 64) - 1


class Step(NamedTuple):
    """One codec's work on the decompressed chunks of a wave."""

    codec: str
    nbytes: int  # of a chunk, afterwards
    run: Run
    in_place: bool = False  # source and destination are the same area
    marks: bool = True  # whether it may mark a chunk
    # What it is to whoever can undo it in placing the chunks: a shuffle of elements of some bytes, or numbers of some
    # bytes to be turned round. 1 for neither.
    typesize: int = 1
    width: int = 1


class Obstacle(Exception):
    """Why a chain cannot run on a GPU."""


@dataclass
class Settled:
    """The steps of a chain, in the order of decoding; `packed` bytes of a chunk go in. `order`: the array's axes in the
    order in which they are stored. `typesize` and `width`: of a shuffle and of numbers to be turned round that are left
    to the placing, in this order."""

    packed: int
    order: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)
    typesize: int = 1
    width: int = 1

    @property
    def largest(self) -> int:
        """Bytes of a chunk where it is largest."""
        return max([self.packed, *(step.nbytes for step in self.steps)])


def settle(chain: CodecChain, inner: list[BytesBytesCodec]) -> Settled:
    """The steps behind a chain's compressor. `inner`: what is between that and the serializer, in the order of
    decoding. Raises Obstacle."""
    if chain.nbytes is None:
        raise Obstacle("elements vary in length")
    order, steps, spec = _array_steps(chain)
    size = chain.serializer.encoded_size(spec)
    if size is None:
        raise Obstacle(f"no GPU form of {chain.serializer.name}")
    before = _serializer_steps(chain.serializer, spec)
    for codec in reversed(inner):
        before, size = _bytes_steps(codec, size) + before, codec.encoded_size(size)
        assert size is not None, codec.name  # as there is a step for it
    steps = before + steps
    width = steps.pop().width if steps and steps[-1].width > 1 else 1
    typesize = steps.pop().typesize if steps and steps[-1].typesize > 1 else 1
    return Settled(size, order, steps, typesize, width)


def _array_steps(chain: CodecChain) -> tuple[tuple[int, ...], list[Step], ChunkSpec]:
    """The order of axes, the steps of the array->array codecs, and what the serializer is given."""
    order, spec = tuple(range(len(chain.spec.shape))), chain.spec
    fixed: Codec | None = None  # works along the elements as they lie, so axes can no longer be moved at the end
    steps: list[list[Step]] = []
    for codec in chain.array_codecs:
        if isinstance(codec, TransposeCodec):
            if fixed is not None and not codec.is_identity(spec):
                raise Obstacle(f"axes are moved between {fixed.name} and the bytes")
            if fixed is None:
                order = tuple(order[int(axis)] for axis in codec.evolve(spec).order)
        else:
            steps.append(_number_steps(codec, spec))
        if isinstance(codec, ReshapeCodec | numcodecs.Delta | numcodecs.PackBits):
            fixed = codec
        spec = codec.resolve(spec)
    return order, [step for one in reversed(steps) for step in one], spec


def _bytes_steps(codec: BytesBytesCodec, nbytes: int) -> list[Step]:
    """The steps of a bytes->bytes codec that gives `nbytes` decoded bytes."""
    if isinstance(codec, numcodecs.Shuffle):
        if nbytes % codec.elementsize:
            raise Obstacle(f"{nbytes} bytes are not whole elements of {codec.elementsize}")
        return [_unshuffle(codec.name, codec.elementsize, nbytes)] if codec.elementsize > 1 else []
    if isinstance(codec, FilteredBytes):
        byte = np.dtype(np.uint8)
        decoded = codec.step.input_dtype(byte)
        if nbytes % decoded.itemsize:
            raise Obstacle(f"{nbytes} bytes are not whole numbers of {decoded}")
        return _filter_steps(codec.step, nbytes // decoded.itemsize, decoded, codec.step.output_dtype(byte))
    raise Obstacle(f"no GPU form of {codec.name}")


def _serializer_steps(codec: Codec, spec: ChunkSpec) -> list[Step]:
    if isinstance(codec, BytesCodec | RawBytes):
        if codec.is_native(spec):
            return []
        return [_swap(codec.name, spec.dtype, prod(spec.shape) * spec.dtype.itemsize)]
    if isinstance(codec, PackBitsCodec):
        return [_unpack(codec, spec)]
    raise Obstacle(f"no GPU form of {codec.name}")


def _number_steps(codec: ArrayArrayCodec, spec: ChunkSpec) -> list[Step]:
    """The steps of an array->array codec that decodes to chunks like `spec`."""
    if isinstance(codec, ReshapeCodec | BitRound | numcodecs.BitRound):
        return []
    if isinstance(codec, OtherOrder):
        return [_swap(codec.name, spec.dtype, spec.size * spec.dtype.itemsize)]
    if isinstance(codec, ScaleOffset):
        return [_scale_offset(codec, spec)]
    if isinstance(codec, CastValue):
        return [_cast_value(codec, spec)]
    if isinstance(codec, numcodecs.PackBits):
        options = {"width": 1, "head": 1, "padding_at": 0, "padding": -spec.size % 8, "backwards": True}
        return [_unpacked(codec.name, np.dtype(bool), spec.size, 1 + -(-spec.size // 8), options)]
    if isinstance(codec, Filter):
        return _filter_steps(codec, spec.size, codec.input_dtype(spec.dtype), codec.output_dtype(spec.dtype))
    raise Obstacle(f"no GPU form of {codec.name}")


def _filter_steps(codec: Filter, count: int, decoded: np.dtype[Any], encoded: np.dtype[Any]) -> list[Step]:
    """The steps of one of numcodecs' filters of `count` numbers."""
    if isinstance(codec, numcodecs.Delta):
        if not launches.sums_on_gpu(encoded, decoded):
            raise Obstacle(f"delta from {encoded} to {decoded} is summed up by NumPy in its own way")
        return [_delta(codec.name, count, encoded, decoded)]
    if isinstance(codec, numcodecs.FixedScaleOffset):
        return [_convert(codec.name, count, encoded, decoded, **_fixed_scale(codec, encoded))]
    if isinstance(codec, numcodecs.AsType | numcodecs.Quantize):
        return [] if encoded == decoded else [_convert(codec.name, count, encoded, decoded)]
    raise Obstacle(f"no GPU form of {codec.name}")


# ---- steps


def layout_of(starts: Any, nbytes: int, typesize: int = 1, width: int = 1) -> Layout:
    """Chunks that a shuffle of elements of `typesize` bytes is left of (1 for none), and numbers of `width` bytes."""
    each = np.ones(len(starts), np.int64)
    filter = SHUFFLE if typesize > 1 else NO_FILTER
    return Layout(starts, nbytes, each * nbytes, each * typesize, each * filter, each * width)


def _unshuffle(codec: str, elementsize: int, nbytes: int) -> Step:
    def run(device: GpuDevice, lane: GpuLane, chunks: int, source: Rows, dest: Rows, marks: int) -> None:
        layout = layout_of(np.arange(chunks, dtype=np.int64) * source.stride, nbytes, typesize=elementsize)
        scatter.put_in_order(device, lane, layout, Area(*source[:2]), Area(*dest[:2]))

    return Step(codec, nbytes, run, marks=False, typesize=elementsize)


def _swap(codec: str, dtype: np.dtype[Any], nbytes: int) -> Step:
    width = swap_unit(dtype)
    if width not in (2, 4, 8) or dtype.names is not None:
        raise Obstacle(f"no GPU form of {dtype} in another byte order")

    def run(device: GpuDevice, lane: GpuLane, chunks: int, source: Rows, dest: Rows, marks: int) -> None:
        launches.byteswap(device, lane, width, Area(source.address, chunks * source.stride), dest.address)

    return Step(codec, nbytes, run, in_place=True, marks=False, width=width)


def _known(codec: str, *dtypes: np.dtype[Any]) -> None:
    for dtype in dtypes:
        if type_code(dtype) is None:
            raise Obstacle(f"no GPU form of {codec} for {dtype}")


def _delta(codec: str, count: int, encoded: np.dtype[Any], decoded: np.dtype[Any]) -> Step:
    def run(device: GpuDevice, lane: GpuLane, chunks: int, source: Rows, dest: Rows, marks: int) -> None:
        launches.delta(device, lane, chunks, count, encoded, decoded, source, dest, marks)

    return Step(codec, count * decoded.itemsize, run)


def _convert(codec: str, count: int, encoded: np.dtype[Any], decoded: np.dtype[Any], **options: Any) -> Step:
    _known(codec, encoded, decoded)

    def run(device: GpuDevice, lane: GpuLane, chunks: int, source: Rows, dest: Rows, marks: int) -> None:
        launches.convert(device, lane, chunks, count, encoded, decoded, source, dest, marks, **options)

    return Step(codec, count * decoded.itemsize, run)


def _unpacked(codec: str, decoded: np.dtype[Any], count: int, nbytes: int, options: dict[str, Any]) -> Step:
    def run(device: GpuDevice, lane: GpuLane, chunks: int, source: Rows, dest: Rows, marks: int) -> None:
        launches.unpack(device, lane, chunks, count, decoded, source, dest, marks, nbytes=nbytes, **options)

    return Step(codec, count * decoded.itemsize, run)


def _unpack(codec: PackBitsCodec, spec: ChunkSpec) -> Step:
    count, width, first = codec.layout(spec)
    size = spec.nbytes // count if spec.nbytes and count else 1
    if spec.dtype.isbuiltin == 2 or size not in (1, 2, 4, 8):
        raise Obstacle(f"no GPU form of {codec.name} for {spec.dtype}")
    letter = "i" if spec.dtype.kind == "i" else "u"
    decoded = np.dtype(f"{letter}{size}").newbyteorder("=" if spec.dtype.isnative else "S")
    nbytes = codec.encoded_size(spec)
    place = {"first_byte": 0, "last_byte": nbytes - 1, "none": None}[codec.padding_encoding]
    head = int(codec.padding_encoding == "first_byte")
    options = {"width": width, "first": first, "head": head, "padding_at": place, "padding": -count * width % 8}
    return _unpacked(codec.name, decoded, count, nbytes, options)


# ---- what the numbers mean


def _bits(value: Any) -> int:
    """A float as the bits of a double."""
    return int(np.float64(value).view(np.uint64))


def _arithmetic(codec: str, dtype: np.dtype[Any], scale: Any, offset: Any) -> dict[str, Any]:
    """Options of `convert` for x / scale + offset in floats of a type. Obstacle where it would make NaNs of numbers."""
    with np.errstate(all="ignore"):
        by, plus = (np.asarray(value).astype(dtype.newbyteorder("=")) for value in (scale, offset))
    if not (np.isfinite(by) and np.isfinite(plus) and by != 0):
        raise Obstacle(f"{codec} by {scale} and {offset}")
    return {"arithmetic": dtype.itemsize, "scale": _bits(by), "offset": _bits(plus)}


def _fixed_scale(codec: numcodecs.FixedScaleOffset, encoded: np.dtype[Any]) -> dict[str, Any]:
    scale, offset = codec.config.get("scale"), codec.config.get("offset")
    if type(scale) not in (int, float) or type(offset) not in (int, float):
        raise Obstacle(f"{codec.name} by {scale!r} and {offset!r}")
    try:  # NumPy says in which type it divides and adds
        with np.errstate(all="ignore"):
            divided = (np.empty(0, encoded) / scale).dtype
            added = (np.empty(0, divided) + offset).dtype
    except (TypeError, OverflowError) as error:
        raise Obstacle(f"{codec.name} of {encoded}: {error}") from error
    exact = divided == encoded.newbyteorder("=") or (encoded.kind != "f" and divided == np.float64)
    if divided != added or divided.kind != "f" or not exact:
        raise Obstacle(f"no GPU form of {codec.name} for {encoded}")
    return _arithmetic(codec.name, divided, scale, offset)


def _scale_offset(codec: ScaleOffset, spec: ChunkSpec) -> Step:
    offset, scale = codec.scalars(spec)
    if spec.dtype.kind == "f":
        return _convert(
            codec.name, spec.size, spec.dtype, spec.dtype, **_arithmetic(codec.name, spec.dtype, scale, offset)
        )
    whole = {"scale": int(scale) & _MASK, "offset": int(offset) & _MASK}
    return _convert(codec.name, spec.size, spec.dtype, spec.dtype, arithmetic=1, rule=RANGE, **whole)


def _cast_value(codec: CastValue, spec: ChunkSpec) -> Step:
    encoded, decoded = codec.data_type.numpy, spec.dtype
    _known(codec.name, encoded, decoded)
    pairs = codec.pairs("decode", codec.data_type, spec.data_type)
    keys = [_bits(k) if encoded.kind == "f" else int(k) & _MASK for k, _ in pairs]
    native = decoded.newbyteorder("=")
    values = [int.from_bytes(np.asarray(v, native).astype(native).tobytes(), "little") for _, v in pairs]
    nearest = codec.rounding in ("nearest-even", "nearest-away") or decoded.kind != "f"
    # Of floats only whole ones become integers here, which no rounding changes.
    rule = RANGE if nearest else EXACT
    return _convert(codec.name, spec.size, encoded, decoded, rule=rule, pairs=np.array([keys, values], np.uint64))
