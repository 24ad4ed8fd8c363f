"""Every codec that runs on a GPU, on all data types: the CPU's bytes, or the CPU's error; with the kernels' sources
where there is a compiler, and with their NumPy equals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpuzarr.codecs import (
    BitRound,
    BytesCodec,
    CastValue,
    Crc32cCodec,
    GzipCodec,
    PackBitsCodec,
    ReshapeCodec,
    ScaleOffset,
    TransposeCodec,
    ZstdCodec,
)
from gpuzarr.codecs import numcodecs as nc
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ChunkSpec
from gpuzarr.codecs.engines.gpu import GpuEngine
from gpuzarr.codecs.engines.memory import octets
from gpuzarr.codecs.v2 import chain_codecs, in_native_order
from gpuzarr.devices import EmulatedDevice, get_device, kernels
from gpuzarr.devices.gpu import GpuDevice
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import CorruptChunkError
from tests.kernel_cases import Rng, chunks_of
from tests.streams import by_gpu

SHAPE = (5, 3, 7)
ALL = ["?", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"]
REALS = ["f2", "f4", "f8"]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("source", marks=pytest.mark.skipif(kernels.compiler() is None, reason="no C++ compiler here")),
        "numpy",
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
def gpu(request: pytest.FixtureRequest) -> GpuDevice:
    found = get_device("cuda") if request.param == "cuda" else EmulatedDevice(kernels=request.param)
    assert isinstance(found, GpuDevice)
    return found


def v3(dtype: str, *codecs: Any) -> CodecChain:
    return CodecChain.build(codecs, ChunkSpec(SHAPE, parse_dtype(np.dtype(dtype)), None))


def v2(dtype: str, *filters: dict[str, Any], compressor: Any = None, order: str = "C") -> CodecChain:
    data_type = parse_dtype(np.dtype(dtype), zarr_format=2)
    spec = ChunkSpec(SHAPE, data_type, None)
    codecs = chain_codecs(filters, compressor, order, spec)
    native = data_type.numpy.isnative
    return CodecChain.build(codecs, spec) if native else CodecChain.build(*in_native_order(codecs, spec))


def by_cpu(chain: CodecChain, blob: bytes, order: tuple[int, ...]) -> bytes | None:
    """The decoded chunk as it is stored; None where it is damaged."""
    try:
        chunk = chain.decode(blob)
    except CorruptChunkError:
        return None
    return chunk.transpose(order).tobytes()


def check(chain: CodecChain, device: GpuDevice, blobs: list[bytes], *, at_home: bool = False) -> None:
    """`at_home`: nothing may be left to the host."""
    engine = GpuEngine(chain, device)
    assert not at_home or engine.why == "", chain
    wanted = [by_cpu(chain, blob, engine.order) for blob in blobs]
    if at_home:
        engine._on_host = None  # type: ignore[method-assign,assignment]
    for blob, want in zip(blobs, wanted, strict=True):
        if want is None:
            with pytest.raises(CorruptChunkError):
                by_gpu(engine, device, [blob])
    good = [(blob, want) for blob, want in zip(blobs, wanted, strict=True) if want is not None]
    if good:
        assert by_gpu(engine, device, [blob for blob, _ in good]) == [want for _, want in good], chain


def raw(rng: Rng, dtype: Any, rows: int = 4, count: int = 105) -> list[bytes]:
    """Numbers of a type with edge values, and any bits."""
    area = chunks_of(rng, rows, count * np.dtype(dtype).itemsize, count, dtype)
    blobs: list[bytes] = [row.tobytes() for row in area.reshape(rows, -1)]
    anything = rng.integers(0, 256, len(blobs[0]), dtype=np.uint8)
    return [*blobs, (anything % 2 if np.dtype(dtype).kind == "b" else anything).tobytes()]


def plain(dtype: Any, low: int = 0) -> list[bytes]:
    """Small numbers, which every type has."""
    return [(np.arange(i, i + 105) % 100 + low).astype(dtype).tobytes() for i in range(3)]


@pytest.mark.parametrize("encoded", [*ALL, ">f4", ">i2"])
def test_numcodecs_astype_and_fixed_scale_offset(gpu: GpuDevice, encoded: str) -> None:
    rng = np.random.default_rng(ALL.index(encoded) if encoded in ALL else 50)
    for decoded in [*ALL, ">f8", ">u4"]:
        cast = v2(decoded, {"id": "astype", "encode_dtype": encoded, "decode_dtype": decoded})
        scaled = {"id": "fixedscaleoffset", "dtype": decoded, "astype": encoded}
        scales = itertools.product((0.1, 10), (273.15, 0))
        check(cast, gpu, raw(rng, encoded))
        check(cast, gpu, plain(encoded), at_home=True)
        for scale, offset in scales:
            chain = v2(decoded, scaled | {"scale": scale, "offset": offset})
            check(chain, gpu, raw(rng, encoded, rows=2))
        if np.dtype(decoded).itemsize > 1 and decoded != "?":
            check(chain, gpu, plain(encoded), at_home=True)


@pytest.mark.parametrize("encoded", REALS)
def test_quantize_and_bitround(gpu: GpuDevice, encoded: str) -> None:
    rng = np.random.default_rng(1)
    for decoded in REALS:
        chain = v2(decoded, {"id": "quantize", "digits": 2, "dtype": decoded, "astype": encoded})
        check(chain, gpu, raw(rng, encoded))
        check(chain, gpu, plain(encoded), at_home=True)
    rounded = v3(encoded, BitRound(keepbits=5), BytesCodec())
    check(rounded, gpu, raw(rng, encoded), at_home=True)
    check(v3(encoded, nc.BitRound(keepbits=5), BytesCodec()), gpu, raw(rng, encoded), at_home=True)


@pytest.mark.parametrize("decoded", [*ALL[1:], ">i4", ">f4"])
def test_delta(gpu: GpuDevice, decoded: str) -> None:
    rng = np.random.default_rng(2)
    for encoded in [*ALL[1:], ">i2", ">f4"]:
        chain = v2(decoded, {"id": "delta", "dtype": decoded, "astype": encoded}, order="F")
        check(chain, gpu, raw(rng, encoded))
        if encoded == decoded:
            check(chain, gpu, plain(encoded), at_home=True)


def test_subnormal_floats(gpu: GpuDevice) -> None:
    """CuPy compiles with -ftz=true, which would make them zero."""
    number = np.random.default_rng(5).integers(0, 1 << 21, 105, dtype=np.uint32).view("f4")
    small = [number.tobytes(), (-number).tobytes()]
    check(v2("f8", {"id": "astype", "encode_dtype": "f4", "decode_dtype": "f8"}), gpu, small, at_home=True)
    wide = [(number / 3.0).astype("f8").tobytes()]
    check(v2("f4", {"id": "astype", "encode_dtype": "f8", "decode_dtype": "f4"}), gpu, wide, at_home=True)
    scaled = {"id": "fixedscaleoffset", "dtype": "f4", "scale": 3.0, "offset": 0}
    for codec in ({"id": "delta", "dtype": "f4"}, scaled):
        check(v2("f4", codec), gpu, small, at_home=True)


@pytest.mark.parametrize("dtype", ALL[1:])
def test_scale_offset(gpu: GpuDevice, dtype: str) -> None:
    rng = np.random.default_rng(3)
    numbers = [(0, 1), (5, 3), (100, 2)] if dtype[0] == "u" else [(0, 1), (-5, -1), (7, -3)]
    for offset, scale in numbers if dtype[0] != "f" else [(0.0, 1.0), (0.1, -0.3), (1e3, 7.0)]:
        chain = v3(dtype, ScaleOffset(offset=offset, scale=scale), BytesCodec())
        check(chain, gpu, raw(rng, dtype))
        steps = np.arange(105) % 20 * (int(scale) if dtype[0] != "f" else 1)
        check(chain, gpu, [steps.astype(dtype).tobytes()] * 3, at_home=True)


CASTS: list[dict[str, Any]] = [
    {},
    {"out_of_range": "clamp"},
    {"out_of_range": "wrap"},
    {"rounding": "towards-zero", "out_of_range": "clamp"},
    {"rounding": "nearest-away"},
    {"scalar_map": {"decode": [[1, 7], [0, 1], [1, 3]]}},
]


@pytest.mark.parametrize("encoded", ALL[1:])
def test_cast_value(gpu: GpuDevice, encoded: str) -> None:
    rng = np.random.default_rng(4)
    for decoded, options in itertools.product(ALL[1:], CASTS):
        if options.get("out_of_range") == "wrap" and encoded[0] == "f":
            continue
        chain = v3(decoded, CastValue(data_type=np.dtype(encoded).name, **options), BytesCodec())
        check(chain, gpu, raw(rng, encoded, rows=1))
        check(chain, gpu, plain(encoded), at_home=True)


def test_nan_is_mapped_both_ways(gpu: GpuDevice) -> None:
    there = CastValue(data_type="int16", scalar_map={"encode": [["NaN", -9]], "decode": [[-9, "NaN"]]})
    back = CastValue(data_type="float32", scalar_map={"encode": [[-9, "NaN"]], "decode": [["NaN", -9]]})
    for chain in (v3("f8", there, BytesCodec()), v3("i4", back, BytesCodec())):
        chunk = np.arange(105).reshape(SHAPE).astype(chain.dtype)
        chunk[::2, 1] = np.nan if chain.dtype.kind == "f" else -9
        blob = octets(chain.encode(chunk)).tobytes()
        check(chain, gpu, [blob] * 2, at_home=True)


@pytest.mark.parametrize("dtype", [*ALL, "c8", "c16"])
def test_packbits(gpu: GpuDevice, dtype: str) -> None:
    rng = np.random.default_rng(5)
    most = 1 if dtype == "?" else np.dtype(dtype).itemsize * 8 // (2 if dtype[0] == "c" else 1)
    for padding, first, last in itertools.product(
        ("none", "first_byte", "last_byte"), {0, most // 3}, {most - 1, max(most // 2, most // 3)}
    ):
        chain = v3(dtype, PackBitsCodec(padding_encoding=padding, first_bit=first, last_bit=last))
        assert chain.encoded_size is not None
        anything = [rng.integers(0, 256, chain.encoded_size, dtype=np.uint8).tobytes() for _ in range(2)]
        chunk = rng.integers(0, 256, chain.nbytes, dtype=np.uint8)
        chunk = (chunk % 2 if dtype == "?" else chunk).view(dtype).reshape(SHAPE)
        sound = octets(chain.encode(chunk)).tobytes()
        check(chain, gpu, [sound] * 2, at_home=True)
        check(chain, gpu, [sound, *anything])


def test_numcodecs_packbits(gpu: GpuDevice) -> None:
    for order in "CF":
        chain = v2("?", {"id": "packbits"}, compressor={"id": "zstd", "level": 1}, order=order)
        sound = octets(chain.encode(np.random.default_rng(6).random(SHAPE) < 0.5)).tobytes()
        check(chain, gpu, [sound] * 3, at_home=True)
    bare = v2("?", {"id": "packbits"})
    check(bare, gpu, [b"\x07" + bytes(14), b"\x08" + bytes(14), b"\x00" + bytes(14)])


def test_orders_of_bytes_and_axes(gpu: GpuDevice) -> None:
    rng = np.random.default_rng(7)
    for dtype in (*ALL, "c8", "c16"):
        for codecs in (
            [BytesCodec(endian="big")],
            [TransposeCodec(order=(2, 0, 1)), BytesCodec(endian="big")],
            [TransposeCodec(order=(2, 0, 1)), ReshapeCodec(shape=(-1,)), BytesCodec()],
            [ReshapeCodec(shape=([0, 1], 7)), TransposeCodec(order=(0, 1)), BytesCodec()],
            [TransposeCodec(order=(1, 0, 2)), TransposeCodec(order=(2, 0, 1)), BytesCodec(endian="big")],
        ):
            blobs = raw(rng, dtype) if dtype[0] != "c" else [rng.bytes(105 * np.dtype(dtype).itemsize)]
            check(v3(dtype, *codecs), gpu, blobs, at_home=True)
    check(v3("f4", ReshapeCodec(shape=([0, 1], 7)), TransposeCodec(order=(1, 0)), BytesCodec()), gpu, raw(rng, "f4"))


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">c16", ">u2", ">f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_format_2_in_the_other_byte_order(gpu: GpuDevice, dtype: str, order: str) -> None:
    rng = np.random.default_rng(8)
    blobs = [rng.bytes(105 * np.dtype(dtype).itemsize) for _ in range(3)]
    check(v2(dtype, order=order), gpu, blobs, at_home=True)
    chain = v2(dtype, {"id": "shuffle", "elementsize": 2}, compressor={"id": "blosc"}, order=order)
    chunks = [np.frombuffer(blob, dtype).reshape(SHAPE) for blob in blobs]
    check(chain, gpu, [octets(chain.encode(chunk)).tobytes() for chunk in chunks], at_home=True)


def test_filters_behind_one_that_makes_bytes(gpu: GpuDevice) -> None:
    filters = [{"id": "shuffle", "elementsize": 4}, {"id": "delta", "dtype": "u1", "astype": "u1"}]
    chain = v2("i4", *filters, compressor={"id": "lz4"})
    chunk = np.arange(105, dtype="i4").reshape(SHAPE)
    check(chain, gpu, [octets(chain.encode(chunk + i)).tobytes() for i in range(4)], at_home=True)


def test_a_long_chain(gpu: GpuDevice) -> None:
    codecs = (
        CastValue(data_type="float32"),
        TransposeCodec(order=(2, 1, 0)),
        nc.FixedScaleOffset(offset=-7, scale=100, astype="i4"),
        nc.Delta(dtype="i4"),
        BytesCodec(endian="big"),
        nc.Shuffle(elementsize=4),
        GzipCodec(level=1),
        Crc32cCodec(),
    )
    chain = v3("f8", *codecs)
    chunks = np.random.default_rng(9).normal(size=(6, *SHAPE)).round(2)
    check(chain, gpu, [octets(chain.encode(chunk)).tobytes() for chunk in chunks], at_home=True)


def test_numbers_that_only_the_host_promises_go_there(gpu: GpuDevice) -> None:
    """Chunks with such a number beside ones without."""
    chain = v2("i2", {"id": "astype", "encode_dtype": "f4", "decode_dtype": "i2"}, compressor={"id": "zstd"})
    chunks = np.arange(4 * 105, dtype="f4").reshape(4, 105)
    chunks[1, 50], chunks[3, 0] = 1e9, np.nan
    compressor = ZstdCodec()
    check(chain, gpu, [octets(compressor.encode(chunk)).tobytes() for chunk in chunks])
    (signalling,) = np.array([0x7F800001], np.uint32).view("f4")
    wide = v2("f8", {"id": "astype", "encode_dtype": "f4", "decode_dtype": "f8"})
    blob = np.full(105, signalling).tobytes()
    check(wide, gpu, [blob])


def test_what_numpy_computes_in_its_own_way_is_left_to_the_host(gpu: GpuDevice) -> None:
    scaled = {"id": "fixedscaleoffset", "dtype": "f4", "astype": "f4"}
    for config, reason in (
        ({"id": "delta", "dtype": "i8", "astype": "u8"}, "summed up by NumPy"),
        (scaled | {"scale": 0, "offset": 0}, "by 0 and 0"),
        (scaled | {"scale": "1", "offset": 0}, "by '1' and 0"),
        (scaled | {"scale": 10**60, "offset": 0}, "fixedscaleoffset"),
        ({"id": "astype", "encode_dtype": "c8", "decode_dtype": "f4"}, "for complex64"),
    ):
        assert reason in GpuEngine(v2(str(config.get("dtype", "f4")), config), gpu).why
