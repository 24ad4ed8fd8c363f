"""Codec arguments of Zarr format 2 -> the numcodecs configurations that `.zarray` stores.

A configuration is stored as numcodecs spells it, with all its defaults, so that the document is the one that
zarr-python would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpuzarr.codecs.contract import Codec
from gpuzarr.dtypes import OBJECT_CODECS, DataType
from gpuzarr.errors import MetadataError, PickleCodecDisabledError, UnknownCodecError

DEFAULT_COMPRESSOR = {"id": "zstd", "level": 0}

# Format 3 codecs that are the same bytes in format 2.
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


def compressor_config(compressors: Any) -> dict[str, Any] | None:
    """The `compressor`: None, "auto", one codec, or a sequence of at most one. TypeError where there are more."""
    if isinstance(compressors, str) and compressors == "auto":
        return dict(DEFAULT_COMPRESSOR)
    given = _as_list(compressors)
    if len(given) > 1:
        raise TypeError(f"Zarr format 2 has one compressor, got {len(given)}: {given!r}")
    config = numcodecs_config(given[0]) if given else None
    if config is not None and config["id"] == "zstd" and not config.get("checksum", True):
        del config["checksum"]  # as zarr-python writes it, for readers from before there was one
    return config


def filter_configs(filters: Any, data_type: DataType, object_codec: Any) -> tuple[dict[str, Any], ...]:
    """The `filters`; types of variable length get the filter that turns their elements into bytes."""
    automatic = filters is None or (isinstance(filters, str) and filters == "auto")
    found = [] if automatic else [numcodecs_config(codec) for codec in _as_list(filters)]
    if data_type.itemsize is None and not any(config["id"] in OBJECT_CODECS for config in found):
        if object_codec is not None:
            found.insert(0, numcodecs_config(object_codec))
        elif automatic and data_type.object_codec in OBJECT_CODECS:
            found.append({"id": data_type.object_codec})
        else:
            raise MetadataError(
                f"data type {data_type} needs a filter that turns its elements into bytes"
                f" ({', '.join(OBJECT_CODECS)}); got {found!r}"
            )
    return tuple(found)


def object_codec_of(filters: Any, object_codec: Any) -> str | None:
    """The id of the codec that turns objects into bytes, where one is given."""
    if object_codec is not None:
        identifier: str = numcodecs_config(object_codec)["id"]
        return identifier
    if filters is None or isinstance(filters, str):
        return None
    ids = [numcodecs_config(codec)["id"] for codec in _as_list(filters)]
    return next((i for i in ids if i in OBJECT_CODECS), None)


def numcodecs_config(codec: Any) -> dict[str, Any]:
    """The configuration of a numcodecs codec, of its dict, or of one of ours that format 2 has too."""
    if hasattr(codec, "get_config"):
        return dict(codec.get_config())
    if isinstance(codec, Codec) or (isinstance(codec, Mapping) and "name" in codec and "id" not in codec):
        return _from_format_3(codec.to_dict() if isinstance(codec, Codec) else codec)
    if hasattr(codec, "to_dict") and not isinstance(codec, Mapping):
        return _from_format_3(codec.to_dict())
    if isinstance(codec, str):
        codec = {"id": codec}
    if not isinstance(codec, Mapping) or not isinstance(codec.get("id"), str):
        raise TypeError(f"not a codec of Zarr format 2: {codec!r}")
    if codec["id"] == "pickle":
        raise PickleCodecDisabledError("arrays of pickled objects are not written: reading them would run code")
    return _with_defaults(codec)


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    from numcodecs.registry import codec_registry, get_codec

    try:
        return dict(get_codec(dict(config)).get_config())
    except ValueError as error:
        if config["id"] not in codec_registry:
            raise UnknownCodecError(f"unknown codec {config['id']!r} of Zarr format 2: {error}") from error
        raise MetadataError(f"codec {dict(config)!r}: {error}") from error
    except TypeError as error:
        raise MetadataError(f"codec {dict(config)!r}: {error}") from error


def _from_format_3(document: Mapping[str, Any]) -> dict[str, Any]:
    name, configuration = document["name"], dict(document.get("configuration") or {})
    if name.startswith("numcodecs."):
        return _with_defaults({"id": name.removeprefix("numcodecs."), **configuration})
    if name == "zstd":
        return _with_defaults({"id": "zstd", **configuration})
    if name == "gzip":
        return _with_defaults({"id": "gzip", **configuration})
    if name == "blosc":
        configuration.pop("typesize", None)
        configuration["shuffle"] = _SHUFFLES.get(str(configuration.get("shuffle") or "shuffle"), 1)
        return _with_defaults({"id": "blosc", **configuration})
    raise MetadataError(f"Zarr format 2 has no codec {name!r}; give a numcodecs codec")


def _as_list(codecs: Any) -> list[Any]:
    if codecs is None:
        return []
    if isinstance(codecs, str | Mapping) or not isinstance(codecs, Iterable):
        return [codecs]
    return list(codecs)
