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
    "BitRound": "bitround",
    "BloscCodec": "blosc",
    "BytesCodec": "bytes",
    "CastValue": "cast_value",
    "Codec": "contract",
    "CodecChain": "chain",
    "Crc32cCodec": "crc32c",
    "GzipCodec": "gzip",
    "PackBitsCodec": "packbits",
    "ReshapeCodec": "reshape",
    "ScaleOffset": "scale_offset",
    "ShardingCodec": "sharding_indexed",
    "TransposeCodec": "transpose",
    "VLenBytesCodec": "vlen_bytes",
    "VLenUTF8Codec": "vlen_utf8",
    "ZstdCodec": "zstd",
    "codec_from": "registry",
    "codec_names": "registry",
    "register_codec": "registry",
}
_SUBMODULES = ("numcodecs", "registry", "v2")

__all__ = [
    "BitRound",
    "BloscCodec",
    "BytesCodec",
    "CastValue",
    "Codec",
    "CodecChain",
    "Crc32cCodec",
    "GzipCodec",
    "PackBitsCodec",
    "ReshapeCodec",
    "ScaleOffset",
    "ShardingCodec",
    "TransposeCodec",
    "VLenBytesCodec",
    "VLenUTF8Codec",
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
