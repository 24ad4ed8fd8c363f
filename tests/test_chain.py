"""Chains: how steps are settled, what a chain promises, and that no bytes make it fail in another way."""

from __future__ import annotations

import pickle
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from gpuzarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ReshapeCodec,
    ShardingCodec,
    TransposeCodec,
    VLenUTF8Codec,
    ZstdCodec,
)
from gpuzarr.codecs.chain import CodecChain
from gpuzarr.codecs.contract import ArrayBytesCodec, BytesBytesCodec, ChunkSpec, Kind
from gpuzarr.codecs.engines.memory import address, writable_address
from gpuzarr.codecs.numcodecs import BZ2, CRC32, LZ4, LZMA, Adler32, Shuffle, Zlib
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import ChecksumError, CorruptChunkError, MetadataError, UnknownCodecError

RNG = np.random.default_rng(3)


def spec_of(shape: tuple[int, ...], dtype: Any = "float32", fill: Any = 0) -> ChunkSpec:
    data_type = parse_dtype(dtype)
    return ChunkSpec(shape, data_type, data_type.cast_fill(fill))


SPEC = spec_of((24, 36))
CHUNK = np.cumsum(RNG.normal(size=24 * 36)).astype("f4").reshape(24, 36)
AFTER: dict[str, list[BytesBytesCodec]] = {
    "none": [],
    "zstd": [ZstdCodec()],
    "zstd checksum": [ZstdCodec(level=3, checksum=True)],
    "blosc": [BloscCodec(cname="lz4")],
    "blosc zstd bit": [BloscCodec(cname="zstd", shuffle="bitshuffle", typesize=4)],
    "gzip": [GzipCodec()],
    "crc32c": [Crc32cCodec()],
    "zstd crc32c": [ZstdCodec(), Crc32cCodec()],
    "crc32c zstd": [Crc32cCodec(), ZstdCodec()],
    "blosc gzip": [BloscCodec(cname="lz4"), GzipCodec()],
    "lz4": [LZ4()],
    "zlib": [Zlib()],
    "bz2": [BZ2()],
    "lzma": [LZMA()],
    "shuffle zlib": [Shuffle(), Zlib(level=5)],
    "adler32 crc32": [Adler32(), CRC32(location="end")],
    "three": [GzipCodec(level=1), ZstdCodec(), LZ4()],
}
EVERY = pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)


@EVERY
def test_landing_chains(after: list[BytesBytesCodec]) -> None:
    chain = CodecChain.build([BytesCodec(), *after], SPEC)
    assert chain.lands
    assert chain.plain == (not after)
    encoded = bytes(chain.encode(CHUNK))
    assert len(encoded) <= chain.encoded_limit
    assert chain.encoded_size in (None, len(encoded))
    for data in (encoded, bytearray(encoded), memoryview(encoded), np.frombuffer(encoded, "u1")):
        np.testing.assert_array_equal(chain.decode(data), CHUNK)
        out = np.zeros((24, 36), "f4")
        chain.decode_into(data, out.reshape(-1).view("u1"))
        np.testing.assert_array_equal(out, CHUNK)
    out = np.zeros((24, 36), "f4")
    source = bytearray(encoded)
    chain.decode_addresses(address(source), len(source), writable_address(out))
    np.testing.assert_array_equal(out, CHUNK)
    with pytest.raises(ValueError, match="destination"):
        chain.decode_into(encoded, bytearray(100))
    again = pickle.loads(pickle.dumps(chain))
    np.testing.assert_array_equal(again.decode(encoded), CHUNK)


@EVERY
@pytest.mark.parametrize("before", [[], [TransposeCodec(order=(1, 0))]], ids=["straight", "transposed"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_other_chains(before: list[Any], endian: Any, after: list[BytesBytesCodec]) -> None:
    chain = CodecChain.build([*before, BytesCodec(endian=endian), *after], SPEC)
    assert chain.lands == (not before and endian == "little")
    encoded = chain.encode(CHUNK[:, :])
    decoded = chain.decode(encoded)
    np.testing.assert_array_equal(decoded, CHUNK)
    assert decoded.dtype == CHUNK.dtype
    if not chain.lands:
        with pytest.raises(ValueError, match="in place"):
            chain.decode_into(encoded, bytearray(CHUNK.nbytes))


@EVERY
def test_wrong_bytes_are_always_corrupt_chunks(after: list[BytesBytesCodec], long_form: bool) -> None:
    chain = CodecChain.build([BytesCodec(), *after], SPEC)
    encoded = bytes(chain.encode(CHUNK))
    rng = np.random.default_rng(len(encoded))
    out = bytearray(CHUNK.nbytes)
    cases = [b"", b"\0", b"\xff" * 100, encoded[:-1], encoded[1:], encoded + b"\0", encoded * 2]
    for _ in range(3000 if long_form else 60):
        changed = bytearray(encoded)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        cases.append(bytes(changed))
    for data in cases:
        results = []
        for decode in (chain.decode, lambda d: chain.decode_into(d, out)):
            try:
                decode(data)
                results.append(True)
            except (CorruptChunkError, UnknownCodecError):
                results.append(False)
        assert results[0] == results[1]
    for data in cases[:6]:
        if not (data == encoded + b"\0" and isinstance(after[-1] if after else None, GzipCodec)):
            with pytest.raises(CorruptChunkError):
                chain.decode(data)


def test_checksums_come_first() -> None:
    chain = CodecChain.build([BytesCodec(), ZstdCodec(), Crc32cCodec()], SPEC)
    encoded = bytearray(chain.encode(CHUNK))
    encoded[10] ^= 1
    with pytest.raises(ChecksumError, match="crc32c"):
        chain.decode(encoded)
    with pytest.raises(ChecksumError, match="crc32c"):
        chain.decode_into(encoded, bytearray(CHUNK.nbytes))


def test_identity_steps_still_land() -> None:
    assert CodecChain.build([TransposeCodec(order=(0, 1)), BytesCodec()], SPEC).plain
    assert CodecChain.build([ReshapeCodec(shape=[-1]), BytesCodec(), ZstdCodec()], SPEC).lands
    row = spec_of((1, 5, 1))
    assert not CodecChain.build([TransposeCodec(order=(1, 0, 2)), BytesCodec()], row).codecs[0].is_identity(SPEC_3D)
    flat = ChunkSpec((5, 1), parse_dtype("int16"), 0)
    assert CodecChain.build([TransposeCodec(order=(0, 1)), BytesCodec()], flat).lands


SPEC_3D = spec_of((2, 3, 4))


def test_order_of_steps() -> None:
    """Trap 24: drafts without array->bytes codec are refused, by name."""
    for codecs in ([], [ZstdCodec()], [TransposeCodec(order=(0, 1))]):
        with pytest.raises(MetadataError, match="array->bytes"):
            CodecChain.build(codecs, SPEC)
    for codecs in (
        [ZstdCodec(), BytesCodec()],
        [BytesCodec(), TransposeCodec(order=(0, 1))],
        [BytesCodec(), BytesCodec()],
    ):
        with pytest.raises(MetadataError, match="go array->array"):
            CodecChain.build(codecs, SPEC)
    with pytest.raises(MetadataError):
        CodecChain.build([BytesCodec()], spec_of((2,), "string", ""))


def test_for_shape() -> None:
    chain = CodecChain.build([BytesCodec(), BloscCodec()], SPEC)
    other = chain.for_shape((5, 7))
    assert other is chain.for_shape((5, 7))
    assert chain.for_shape((24, 36)) is chain
    part = CHUNK[:5, :7]
    np.testing.assert_array_equal(other.decode(other.encode(part)), part)
    assert other.codecs == chain.codecs


def test_settling_takes_the_array_that_arrives() -> None:
    """Trap 5: what comes behind a cast is settled for the cast's type."""
    from gpuzarr.codecs import CastValue

    chain = CodecChain.build([CastValue(data_type="int16"), BytesCodec(endian="big"), BloscCodec()], SPEC)
    assert chain.bytes_codecs[0].typesize == 2  # type: ignore[attr-defined]
    assert chain.serializer == BytesCodec(endian="big")
    single = CodecChain.build([CastValue(data_type="uint8"), BytesCodec(), BloscCodec()], SPEC)
    assert single.serializer == BytesCodec(endian=None)
    assert single.bytes_codecs[0].shuffle == "bitshuffle"  # type: ignore[attr-defined]
    whole = np.round(CHUNK)
    np.testing.assert_array_equal(chain.decode(chain.encode(whole)), whole)


def test_only_a_lone_sharding_codec_is_read_by_range() -> None:
    """Trap 4: codecs around the shard are not skipped."""
    shard = ShardingCodec(chunk_shape=(12, 12))
    assert CodecChain.build([shard], SPEC).sharding is not None
    for codecs in ([shard, Crc32cCodec()], [TransposeCodec(order=(1, 0)), ShardingCodec(chunk_shape=(12, 12))]):
        chain = CodecChain.build(codecs, SPEC)
        assert chain.sharding is None
        np.testing.assert_array_equal(chain.decode(chain.encode(CHUNK)), CHUNK)
    assert CodecChain.build([BytesCodec()], SPEC).sharding is None


def test_zero_sized_and_zero_dimensional_chunks() -> None:
    for after in AFTER.values():
        scalar = spec_of(())
        chain = CodecChain.build([BytesCodec(), *after], scalar)
        value = np.array(3.5, "f4")
        assert chain.decode(chain.encode(value)) == value


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "uint16", "int64", "float16", "complex64", "complex128", "M8[10us]", "m8[ns]", "S5", "U3", "V6",
     [("a", "i2"), ("b", "f8"), ("c", "S3")]],
)  # fmt: skip
@pytest.mark.parametrize("endian", ["little", "big"])
def test_bytes_of_every_type(dtype: Any, endian: Any) -> None:
    """Traps 12 and 14: byte order of plain, structured and text elements."""
    data_type = parse_dtype(dtype)
    spec = ChunkSpec((3, 5), data_type, data_type.default_fill())
    rng = np.random.default_rng(1)
    chunk = rng.integers(0, 100, 15 * data_type.numpy.itemsize).astype("u1")
    chunk = (chunk % 2 if data_type.name == "bool" else chunk * (data_type.numpy.kind != "U")).view(data_type.numpy)
    chunk = chunk.reshape(3, 5)
    chain = CodecChain.build([BytesCodec(endian=endian)], spec)
    encoded = bytes(chain.encode(chunk))
    assert encoded == chunk.astype(chunk.dtype.newbyteorder(endian)).tobytes()
    decoded = chain.decode(encoded)
    assert decoded.dtype == chunk.dtype
    assert decoded.tobytes() == chunk.tobytes()


def test_fill_is_compared_bit_for_bit() -> None:
    """Trap 9."""
    assert spec_of((2,), "float32", 0.0).is_fill(np.zeros(2, "f4"))
    assert not spec_of((2,), "float32", 0.0).is_fill(np.array([0.0, -0.0], "f4"))
    assert spec_of((2,), "float64", np.nan).is_fill(np.full(2, np.nan))
    assert spec_of((2,), "M8[s]", np.datetime64("NaT", "s")).is_fill(np.full(2, np.datetime64("NaT", "s")))
    assert spec_of((2,), "complex128", 1 + 2j).is_fill(np.full((2, 2), 1 + 2j).T)
    assert not spec_of((2,), "complex128", 1 + 2j).is_fill(np.array([1 + 2j, 1 + 3j]))
    assert spec_of((2,), "string", "x").is_fill(np.array(["x", "x"], np.dtypes.StringDType()))
    assert not spec_of((2,), "string", "x").is_fill(np.array(["x", "y"], np.dtypes.StringDType()))
    assert spec_of((), "int32", 7).is_fill(np.array(7, "i4"))
    assert not ChunkSpec((2,), parse_dtype("i4"), None).is_fill(np.zeros(2, "i4"))


@given(st.binary(max_size=300), st.sampled_from(sorted(AFTER)))
def test_any_bytes(data: bytes, name: str) -> None:
    chain = CodecChain.build([BytesCodec(), *AFTER[name]], spec_of((4, 4), "int16"))
    try:
        chunk = chain.decode(data)
    except (CorruptChunkError, MetadataError):
        return
    assert chunk.shape == (4, 4)
    assert chunk.dtype == np.int16


@given(st.binary(max_size=200))
def test_any_bytes_as_strings(data: bytes) -> None:
    chain = CodecChain.build([VLenUTF8Codec()], spec_of((3,), "string", ""))
    try:
        assert chain.decode(data).shape == (3,)
    except CorruptChunkError:
        pass


def test_what_a_codec_does_not_foresee_is_a_corrupt_chunk() -> None:
    class Broken(BytesBytesCodec):
        name = "broken"

        def encode(self, data: Any) -> Any:
            return data

        def decode_into(self, data: Any, out: Any) -> None:
            raise RuntimeError("odd")

        def decode(self, data: Any, limit: int) -> Any:
            raise RuntimeError("odd")

        def configuration(self) -> dict[str, Any]:
            return {}

    chain = CodecChain.build([BytesCodec(), Broken()], SPEC)
    for decode in (chain.decode, lambda d: chain.decode_into(d, bytearray(SPEC.nbytes or 0))):
        with pytest.raises(CorruptChunkError, match="bytes -> broken") as caught:
            decode(b"12")
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert Broken.kind is Kind.BYTES_TO_BYTES
    assert ArrayBytesCodec.kind is Kind.ARRAY_TO_BYTES
    assert "broken" in repr(chain)


def test_from_metadata() -> None:
    from gpuzarr.metadata.v2 import array_from_v2
    from gpuzarr.metadata.v3 import array_from_v3

    v3 = {
        "zarr_format": 3, "node_type": "array", "shape": [10, 10], "data_type": "int16", "fill_value": 3,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 6]}},
        "chunk_key_encoding": {"name": "default"}, "codecs": [BytesCodec().to_dict(), {"name": "zstd"}],
    }  # fmt: skip
    chain = CodecChain.from_metadata(array_from_v3(v3, key="zarr.json"))
    assert [c.name for c in chain.codecs] == ["bytes", "zstd"]
    assert (chain.spec.shape, chain.spec.dtype, chain.spec.fill_value) == ((4, 6), np.int16, 3)
    with pytest.raises(UnknownCodecError, match="imagecodecs"):
        CodecChain.from_metadata(array_from_v3({**v3, "codecs": [{"name": "imagecodecs_jpeg"}]}, key="zarr.json"))
    v2 = {
        "zarr_format": 2, "shape": [10, 10], "chunks": [4, 6], "dtype": ">i2", "fill_value": None, "order": "F",
        "filters": [{"id": "delta", "dtype": ">i2"}], "compressor": {"id": "zlib", "level": 1},
    }  # fmt: skip
    chain = CodecChain.from_metadata(array_from_v2(v2, None, key=".zarray"))
    assert [c.name for c in chain.codecs] == ["transpose", "numcodecs.delta", "bytes", "numcodecs.zlib"]
    chunk = np.arange(24, dtype=">i2").reshape(4, 6)
    np.testing.assert_array_equal(chain.decode(chain.encode(chunk)), chunk)
