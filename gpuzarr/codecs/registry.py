"""Which class stands for which codec name.

Codecs are resolved from this table and from what a program registers itself (`register_codec`), never from
installed entry points: a store must not choose which code runs. Modules are imported when a name is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from gpuzarr.codecs.contract import Codec
from gpuzarr.errors import MetadataError, PickleCodecDisabledError, UnknownCodecError

_HERE = "gpuzarr.codecs."
_TABLE: dict[str, str] = {
    "bitround": "bitround:BitRound",
    "blosc": "blosc:BloscCodec",
    "bytes": "bytes:BytesCodec",
    "cast_value": "cast_value:CastValue",
    "crc32c": "crc32c:Crc32cCodec",
    "gzip": "gzip:GzipCodec",
    "packbits": "packbits:PackBitsCodec",
    "reshape": "reshape:ReshapeCodec",
    "scale_offset": "scale_offset:ScaleOffset",
    "sharding_indexed": "sharding_indexed:ShardingCodec",
    "transpose": "transpose:TransposeCodec",
    "vlen-bytes": "vlen_bytes:VLenBytesCodec",
    "vlen-utf8": "vlen_utf8:VLenUTF8Codec",
    "zstd": "zstd:ZstdCodec",
}
_NUMCODECS: dict[str, str] = {
    "adler32": "Adler32",
    "astype": "AsType",
    "bitround": "BitRound",
    "blosc": "Blosc",
    "bz2": "BZ2",
    "crc32": "CRC32",
    "crc32c": "CRC32C",
    "delta": "Delta",
    "fixedscaleoffset": "FixedScaleOffset",
    "fletcher32": "Fletcher32",
    "gzip": "GZip",
    "jenkins_lookup3": "JenkinsLookup3",
    "lz4": "LZ4",
    "lzma": "LZMA",
    "packbits": "PackBits",
    "pcodec": "PCodec",
    "quantize": "Quantize",
    "shuffle": "Shuffle",
    "zfpy": "ZFPY",
    "zlib": "Zlib",
    "zstd": "Zstd",
}
_TABLE |= {f"numcodecs.{name}": f"numcodecs:{cls}" for name, cls in _NUMCODECS.items()}

# Old and second names, read but never written anew.
_ALIASES: dict[str, str] = {
    "endian": "bytes",
    "fixedscaleoffset": "numcodecs.fixedscaleoffset",
    "fletcher32": "numcodecs.fletcher32",
    "pcodec": "numcodecs.pcodec",
    "shuffle": "numcodecs.shuffle",
    "zfpy": "numcodecs.zfpy",
    "numcodecs.vlen-bytes": "vlen-bytes",
    "numcodecs.vlen-utf8": "vlen-utf8",
    "numcodecs.vlen_bytes": "vlen-bytes",
    "numcodecs.vlen_utf8": "vlen-utf8",
    "https://codec.zarrs.dev/array_to_bytes/vlen_utf8": "vlen-utf8",
} | {
    f"https://purl.org/zarr/spec/codec/{name}/1.0": name.replace("endian", "bytes")
    for name in ("blosc", "bytes", "endian", "gzip", "transpose", "sharding_indexed", "zstd", "crc32c")
}

# Packages that carry codecs which are not built in here.
_PACKAGES: dict[str, str] = {
    "imagecodecs_": "imagecodecs",
    "numcodecs.wavpack": "wavpack-numcodecs",
    "wavpack": "wavpack-numcodecs",
    "flac": "flac-numcodecs",
    "zfp": "zarrs",
    "vlen": "zarrs",
    "n5_default": "z5py",
    "conditional": "tensorstore",
    "jpeg": "tensorstore",
    "grib": "gribberish",
    "gribscan": "gribscan",
    "sz3": "numcodecs-sz3",
    "ebcc": "ebcc",
    "virtual_tiff": "virtual-tiff",
    "imagecodecs": "imagecodecs",
    "any-numcodecs": "numcodecs-combinators",
    "combinators": "numcodecs-combinators",
}

_registered: dict[str, type[Codec]] = {}


def register_codec(cls: type[Codec], name: str | None = None) -> type[Codec]:
    """Make `cls` the codec for `name` (its own name, where none is given) in this process; may be used as a
    decorator. A built-in name is replaced."""
    _registered[name or cls.name] = cls
    return cls


def codec_names() -> list[str]:
    """Every name that can be resolved, aliases left out."""
    return sorted({*_TABLE, *_registered})


def codec_class(name: str) -> type[Codec]:
    """The class for a codec name or alias.

    Raises UnknownCodecError, which names the package that has the codec where one is known, and
    PickleCodecDisabledError.
    """
    if name not in _registered:
        name = _ALIASES.get(name, name)
    if (cls := _registered.get(name)) is not None:
        return cls
    if (where := _TABLE.get(name)) is None:
        raise unknown_codec(name)
    module, _, attribute = where.partition(":")
    found: type[Codec] = getattr(import_module(_HERE + module), attribute)
    return found


def unknown_codec(name: str) -> Exception:
    """The error for a name that cannot be resolved."""
    plain = name.removeprefix("numcodecs.")
    if plain == "pickle":
        return PickleCodecDisabledError(
            "this array is encoded with pickle, which runs code from the store when it is read; gpuzarr never does"
        )
    for prefix, package in _PACKAGES.items():
        if plain.startswith(prefix):
            hint = f"the package {package!r} has it; register a class for it with gpuzarr.codecs.register_codec"
            break
    else:
        hint = f"known codecs: {', '.join(codec_names())}"
    return UnknownCodecError(f"unknown codec {name!r}: {hint}")


def codec_from_config(name: str, configuration: Mapping[str, Any]) -> Codec:
    """The codec that metadata name."""
    return codec_class(name).from_configuration(configuration)


def codec_from(value: Any) -> Codec:
    """A codec from whatever a user may hand in: one of ours, its JSON (object or short-hand string), a codec of
    zarr-python (`to_dict`), or one of numcodecs (`get_config`)."""
    if isinstance(value, Codec):
        return value
    if isinstance(value, str):
        return codec_from_config(value, {})
    if not isinstance(value, Mapping):
        if hasattr(value, "to_dict"):
            value = value.to_dict()
        elif hasattr(value, "get_config"):
            value = value.get_config()
        else:
            raise MetadataError(f"not a codec: {value!r}")
    if "name" in value:
        name, configuration = value["name"], value.get("configuration") or {}
        unknown = set(value) - {"name", "configuration", "must_understand"}
    elif "id" in value:
        name, configuration = value["id"], {k: v for k, v in value.items() if k != "id"}
        name, unknown = name if name in ("vlen-utf8", "vlen-bytes") else f"numcodecs.{name}", set()
    else:
        raise MetadataError(f"a codec needs a name: {value!r}")
    if not isinstance(name, str) or not isinstance(configuration, Mapping) or unknown:
        raise MetadataError(f"not a codec: {value!r}")
    return codec_from_config(name, configuration)
