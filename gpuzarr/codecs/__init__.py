"""Codecs, under zarr-python's names. Each module is imported when one of its names is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuzarr.codecs.bitround import BitRound
    from gpuzarr.codecs.blosc import BloscCodec
    from gpuzarr.codecs.bytes import BytesCodec
    from gpuzarr.codecs.cast_value import CastValue
    from gpuzarr.codecs.chain import CodecChain
    from gpuzarr.codecs.contract import Codec
    from gpuzarr.codecs.crc32c import Crc32cCodec
    from gpuzarr.codecs.gzip import GzipCodec
    from gpuzarr.codecs.names import BloscCname, BloscShuffle, Endian, ShardingCodecIndexLocation, SubchunkWriteOrder
    from gpuzarr.codecs.numcodecs import (
        BZ2,
        CRC32,
        CRC32C,
        LZ4,
        LZMA,
        ZFPY,
        Adler32,
        AsType,
        Blosc,
        Delta,
        FixedScaleOffset,
        Fletcher32,
        GZip,
        JenkinsLookup3,
        PackBits,
        PCodec,
        Quantize,
        Shuffle,
        Zlib,
        Zstd,
    )
    from gpuzarr.codecs.packbits import PackBitsCodec
    from gpuzarr.codecs.registry import codec_from, codec_names, register_codec
    from gpuzarr.codecs.reshape import ReshapeCodec
    from gpuzarr.codecs.scale_offset import ScaleOffset
    from gpuzarr.codecs.sharding_indexed import ShardingCodec
    from gpuzarr.codecs.transpose import TransposeCodec
    from gpuzarr.codecs.vlen_bytes import VLenBytesCodec
    from gpuzarr.codecs.vlen_utf8 import VLenUTF8Codec
    from gpuzarr.codecs.zstd import ZstdCodec

_MODULES = {
    "Adler32": "numcodecs",
    "AsType": "numcodecs",
    "BZ2": "numcodecs",
    "BitRound": "bitround",
    "Blosc": "numcodecs",
    "BloscCname": "names",
    "BloscCodec": "blosc",
    "BloscShuffle": "names",
    "BytesCodec": "bytes",
    "CRC32": "numcodecs",
    "CRC32C": "numcodecs",
    "CastValue": "cast_value",
    "Codec": "contract",
    "CodecChain": "chain",
    "Crc32cCodec": "crc32c",
    "Delta": "numcodecs",
    "Endian": "names",
    "FixedScaleOffset": "numcodecs",
    "Fletcher32": "numcodecs",
    "GZip": "numcodecs",
    "GzipCodec": "gzip",
    "JenkinsLookup3": "numcodecs",
    "LZ4": "numcodecs",
    "LZMA": "numcodecs",
    "PCodec": "numcodecs",
    "PackBits": "numcodecs",
    "PackBitsCodec": "packbits",
    "Quantize": "numcodecs",
    "ReshapeCodec": "reshape",
    "ScaleOffset": "scale_offset",
    "ShardingCodec": "sharding_indexed",
    "ShardingCodecIndexLocation": "names",
    "Shuffle": "numcodecs",
    "SubchunkWriteOrder": "names",
    "TransposeCodec": "transpose",
    "VLenBytesCodec": "vlen_bytes",
    "VLenUTF8Codec": "vlen_utf8",
    "ZFPY": "numcodecs",
    "Zlib": "numcodecs",
    "Zstd": "numcodecs",
    "ZstdCodec": "zstd",
    "codec_from": "registry",
    "codec_names": "registry",
    "register_codec": "registry",
}
_SUBMODULES = ("numcodecs", "registry", "v2")

__all__ = [
    "Adler32",
    "AsType",
    "BZ2",
    "BitRound",
    "Blosc",
    "BloscCname",
    "BloscCodec",
    "BloscShuffle",
    "BytesCodec",
    "CRC32",
    "CRC32C",
    "CastValue",
    "Codec",
    "CodecChain",
    "Crc32cCodec",
    "Delta",
    "Endian",
    "FixedScaleOffset",
    "Fletcher32",
    "GZip",
    "GzipCodec",
    "JenkinsLookup3",
    "LZ4",
    "LZMA",
    "PCodec",
    "PackBits",
    "PackBitsCodec",
    "Quantize",
    "ReshapeCodec",
    "ScaleOffset",
    "ShardingCodec",
    "ShardingCodecIndexLocation",
    "Shuffle",
    "SubchunkWriteOrder",
    "TransposeCodec",
    "VLenBytesCodec",
    "VLenUTF8Codec",
    "ZFPY",
    "Zlib",
    "Zstd",
    "ZstdCodec",
    "codec_from",
    "codec_names",
    "register_codec",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
