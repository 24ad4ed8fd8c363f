"""Metadata documents as bytes: strict JSON (RFC 8259) in, the bytes zarr-python would write out.

What stands in a store is not trusted: a document is at most 64 MiB and nests at most 64 deep, an object names each
key once, and NaN and Infinity, which are no JSON, and numbers beyond range are accepted in attributes only, where older
writers put them. Whatever is wrong is a MetadataError that begins with the document's key.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

import numpy as np

from gpuzarr.errors import MetadataError
from gpuzarr.options import config

MAX_DOCUMENT_BYTES = 64 << 20
MAX_DEPTH = 64

# A string, also one that never ends; possessive, so that no input makes it slow.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def parse_document(data: bytes, *, key: str) -> dict[str, Any]:
    """The JSON object in `data`, the bytes at `key`; any bytes-like object."""
    data = bytes(data)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise MetadataError(f"{key}: the document has {len(data)} bytes, more than {MAX_DOCUMENT_BYTES}")
    if nests_too_deep(data):
        raise MetadataError(f"{key}: the document nests deeper than {MAX_DEPTH}")
    constants: list[str] = []

    def constant(name: str) -> float:
        constants.append(name)
        return float(name)

    def number(text: str) -> float:
        value = float(text)
        return value if isfinite(value) else constant(text)  # 1e999 is JSON, and Infinity when it is written again

    try:
        text = data.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=constant, parse_float=number)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or an integer of too many digits
        raise MetadataError(f"{key}: not a JSON document: {error}") from error
    if not isinstance(document, dict):
        raise MetadataError(f"{key}: expected a JSON object, got {shown_json(document)}")
    if constants and not key.endswith(".zattrs"):
        _refuse_constants(document, f"{key}: ")
    return document


def nests_too_deep(data: bytes) -> bool:
    """Whether arrays and objects nest deeper than the limit; reads no more than brackets."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    text = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    step = np.zeros(256, dtype=np.int32)
    step[list(b"[{")], step[list(b"]}")] = 1, -1
    return int(step[text].cumsum(dtype=np.int32).max(initial=0)) > MAX_DEPTH


def encode_document(document: dict[str, Any], *, indented: bool = True) -> bytes:
    """The bytes of a document. MetadataError where a value is no JSON, or would be refused when read back."""
    try:
        data = json.dumps(document, indent=config.get("json_indent") if indented else None).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MetadataError(f"metadata that JSON cannot hold: {error}") from error
    if len(data) > MAX_DOCUMENT_BYTES or nests_too_deep(data):
        raise MetadataError(
            f"metadata of more than {MAX_DOCUMENT_BYTES} bytes, or nested deeper than {MAX_DEPTH}, could not be read"
        )
    return data


def bad(path: str, expected: str, got: Any) -> MetadataError:
    """The error for a value at `path` of a document."""
    return MetadataError(f"{path}: expected {expected}, got {shown_json(got)}")


def shown_json(value: Any) -> str:
    """A value as JSON, cut short."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):  # among them integers of very many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def integer(value: Any, path: str, least: int, most: int) -> int:
    """`value`, where it is an integer (true and 1.0 are not) in the range."""
    if type(value) is not int or not least <= value <= most:
        raise bad(
            path, f"an integer >= {least}" if type(value) is not int or value < least else f"at most {most}", value
        )
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"key {shown_json(twice)} stands twice in one object")
    return found


def _refuse_constants(value: Any, path: str) -> None:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise MetadataError(f"{path.rstrip('.')}: NaN and Infinity are no JSON; only attributes may hold them")
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "attributes" and not name.endswith(".zattrs"):
                _refuse_constants(inner, f"{path}{name}.")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _refuse_constants(inner, f"{path.rstrip('.')}[{i}].")
