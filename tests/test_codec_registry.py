"""Names, configurations, and what a user may hand in as a codec."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import gpuzarr.codecs as codecs
from gpuzarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    VLenUTF8Codec,
    ZstdCodec,
    codec_from,
    codec_names,
    register_codec,
    registry,
)
from gpuzarr.codecs.contract import BytesBytesCodec, ChunkSpec
from gpuzarr.dtypes import parse_dtype
from gpuzarr.errors import MetadataError, PickleCodecDisabledError, UnknownCodecError, ZarrUserWarning


def test_importing_codecs_loads_nothing_heavy() -> None:
    program = (
        "import sys, gpuzarr.codecs, gpuzarr.codecs.chain, gpuzarr.codecs.blosc, gpuzarr.codecs.numcodecs,"
        " gpuzarr.codecs.v2\n"
        "print([m for m in ('numcodecs', 'google_crc32c', 'ml_dtypes', 'zfpy', 'pcodec', 'msgpack', 'zarr') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_name_resolves() -> None:
    for name in codec_names():
        assert registry.codec_class(name).name == name
    for name in codecs.__all__:
        assert getattr(codecs, name) is not None
    assert "BloscCodec" in dir(codecs)
    assert codecs.numcodecs.Delta.name == "numcodecs.delta"
    with pytest.raises(AttributeError):
        codecs.NoSuchCodec  # noqa: B018


def test_aliases() -> None:
    assert codec_from({"name": "endian", "configuration": {"endian": "big"}}) == BytesCodec(endian="big")
    assert codec_from("https://purl.org/zarr/spec/codec/gzip/1.0") == GzipCodec()
    assert codec_from("https://purl.org/zarr/spec/codec/endian/1.0").name == "bytes"
    assert codec_from({"name": "pcodec"}).name == "numcodecs.pcodec"


@pytest.mark.parametrize(
    "codec",
    [BytesCodec(), BytesCodec(endian=None), ZstdCodec(level=3, checksum=True), GzipCodec(level=1), Crc32cCodec(),
     TransposeCodec(order=(1, 0)), BloscCodec(typesize=4, cname="lz4", shuffle="shuffle"), VLenUTF8Codec(),
     codecs.numcodecs.Delta(dtype="<i2"), codecs.numcodecs.LZ4(acceleration=3), codecs.numcodecs.BZ2(level=5)],
    ids=str,
)  # fmt: skip
def test_to_dict_and_back(codec: Any) -> None:
    again = codec_from(codec.to_dict())
    assert again == codec
    assert hash(again) == hash(codec)
    assert codec_from(codec) is codec


def test_zarr_pythons_documents() -> None:
    assert ZstdCodec().to_dict() == {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
    assert GzipCodec().to_dict() == {"name": "gzip", "configuration": {"level": 5}}
    assert Crc32cCodec().to_dict() == {"name": "crc32c"}
    assert BytesCodec(endian=None).to_dict() == {"name": "bytes"}
    assert BloscCodec().to_dict()["configuration"] == {
        "typesize": 1, "cname": "zstd", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0,
    }  # fmt: skip
    assert ShardingCodec(chunk_shape=(2,)).to_dict()["configuration"]["index_codecs"] == [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "crc32c"},
    ]


def test_from_what_others_make() -> None:
    import numcodecs

    blosc = codec_from(numcodecs.Blosc(cname="zstd", clevel=3, shuffle=2))
    assert blosc.name == "numcodecs.blosc"
    assert blosc.to_dict()["configuration"]["clevel"] == 3
    assert codec_from({"id": "vlen-utf8"}) == VLenUTF8Codec()

    class Theirs:
        def to_dict(self) -> dict[str, Any]:
            return {"name": "gzip", "configuration": {"level": 2}}

    assert codec_from(Theirs()) == GzipCodec(level=2)
    assert codec_from({"name": "crc32c", "must_understand": True}) == Crc32cCodec()
    for bad in (5, None, {}, {"name": 5}, {"name": "gzip", "configuration": [1]}, {"name": "gzip", "level": 5}):
        with pytest.raises(MetadataError):
            codec_from(bad)


def test_unknown_names_say_where_to_look() -> None:
    for name, hint in (
        ("imagecodecs_jpeg2k", "imagecodecs"),
        ("numcodecs.wavpack", "wavpack-numcodecs"),
        ("sz3", "numcodecs-sz3"),
        ("nonsense", "known codecs"),
    ):
        with pytest.raises(UnknownCodecError, match=hint):
            codec_from(name)
    for name in ("pickle", "numcodecs.pickle"):
        with pytest.raises(PickleCodecDisabledError):
            codec_from(name)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import numcodecs

    def refuse(config: Any) -> Any:
        raise ValueError(f"codec not available: {config['id']!r}")

    monkeypatch.setattr(numcodecs, "get_codec", refuse)
    with pytest.raises(UnknownCodecError, match="'zfpy'"):
        _ = codecs.numcodecs.ZFPY(mode=4).wrapped
    monkeypatch.setattr(numcodecs, "get_codec", lambda config: int("x"))
    with pytest.raises(MetadataError):
        _ = codecs.numcodecs.Quantize(digits=1).wrapped


def test_register() -> None:
    @register_codec
    class Mine(BytesBytesCodec):
        name = "test.mine"

        def configuration(self) -> dict[str, Any]:
            return {}

        @classmethod
        def from_configuration(cls, configuration: Any) -> Mine:
            return cls()

        def encode(self, data: Any) -> Any:
            return data

        def decode(self, data: Any, limit: int) -> Any:
            return data

    try:
        assert isinstance(codec_from("test.mine"), Mine)
        assert "test.mine" in codec_names()
        assert Mine().strip(b"") is None
    finally:
        del registry._registered["test.mine"]


def test_blosc_arguments() -> None:
    """Trap 11."""
    spec = ChunkSpec((4,), parse_dtype("float32"), 0.0)
    byte = ChunkSpec((4,), parse_dtype("uint8"), 0)
    assert BloscCodec().evolve(spec) == BloscCodec(typesize=4, shuffle="shuffle")
    assert BloscCodec().evolve(byte) == BloscCodec(typesize=1, shuffle="bitshuffle")
    assert BloscCodec(typesize=2, shuffle="noshuffle").evolve(spec) == BloscCodec(typesize=2, shuffle="noshuffle")
    with pytest.warns(ZarrUserWarning, match="zlib"):
        assert BloscCodec(cname="gzip").cname == "zlib"  # type: ignore[arg-type]
    assert BloscCodec(shuffle=2).shuffle == "bitshuffle"  # type: ignore[arg-type]
    for bad in (
        {"cname": "brotli"},
        {"shuffle": -1},
        {"shuffle": "auto"},
        {"clevel": 10},
        {"clevel": True},
        {"typesize": 0},
        {"blocksize": -1},
        {"odd": 1},
    ):
        with pytest.raises(MetadataError):
            BloscCodec.from_configuration(bad)


@pytest.mark.parametrize(
    ("cls", "bad"),
    [(ZstdCodec, {"level": 23}), (ZstdCodec, {"level": "3"}), (ZstdCodec, {"checksum": 1}), (GzipCodec, {"level": 10}),
     (GzipCodec, {"level": None}), (Crc32cCodec, {"x": 1}), (TransposeCodec, {})],
)  # fmt: skip
def test_bad_configurations(cls: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(MetadataError):
        cls.from_configuration(bad)


@pytest.mark.parametrize(
    ("name", "bad"),
    [("zstd", {"level": "x"}), ("lz4", {"acceleration": None}), ("blosc", {"cname": "x"}), ("bz2", {"level": 0}),
     ("lzma", {"filters": 3}), ("shuffle", {"elementsize": -1}), ("crc32", {"location": "middle"}), ("astype", {}),
     ("zlib", {"id": "gzip"})],
)  # fmt: skip
def test_bad_numcodecs_configurations(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(MetadataError):
        registry.codec_class(f"numcodecs.{name}").from_configuration(bad)
