"""What people want to know of an array at a glance, out of its metadata: in words, with nothing decoded or fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpuzarr.metadata.model import ArrayMetadata


def codec_text(metadata: ArrayMetadata) -> str:
    """The codecs by name, in the order of writing; with sharding those of inner chunks. "none" where bytes are as they
    are in memory."""
    if metadata.zarr_format == 2:
        steps = [*metadata.filters, *([] if metadata.compressor is None else [metadata.compressor])]
        return _chain((str(step.get("id")), step) for step in steps)
    codecs: list[tuple[str, Mapping[str, Any]]] = [(codec.name, codec.configuration) for codec in metadata.codecs]
    if len(codecs) == 1 and codecs[0][0] == "sharding_indexed":
        inner = codecs[0][1].get("codecs")
        codecs = [_named(each) for each in inner] if isinstance(inner, (list, tuple)) else []
    return _chain(codec for codec in codecs if codec[0] != "bytes")


def _named(codec: Any) -> tuple[str, Mapping[str, Any]]:
    """A codec as JSON, which may be its name alone."""
    if not isinstance(codec, Mapping):
        return str(codec), {}
    configuration = codec.get("configuration")
    return str(codec.get("name")), configuration if isinstance(configuration, Mapping) else {}


def _chain(codecs: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    names = [f"{name}({given['cname']})" if "cname" in given else name for name, given in codecs]
    return ", ".join(names) or "none"


def lengths_text(metadata: ArrayMetadata, what: str) -> str:
    """The shape of "chunks" or "shards"; "" where there are none, "variable" where they have several shapes."""
    try:
        shape = getattr(metadata, what)
    except NotImplementedError:
        return "variable"
    return "" if shape is None else str(shape)
