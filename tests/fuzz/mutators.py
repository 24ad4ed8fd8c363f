"""Mutants of good inputs: bytes with known fields, and JSON by its tokens."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from random import Random
from typing import Any

Field = tuple[int, int]  # where a number lies, and how many bytes it has


@dataclass(frozen=True, slots=True)
class Seed:
    """A good input: its bytes, what it decodes to, and where its numbers are."""

    data: bytes
    decoded: bytes
    fields: tuple[Field, ...] = ()


def mutate_bytes(seed: Seed, other: Seed, rng: Random) -> bytearray:
    """One to four changes: of fields mostly, and of bytes, bits, ranges and the length."""
    random, data = rng.random, bytearray(seed.data)
    for _ in range(1 + int(random() * random() * 5)):
        kind, size = int(random() * 16), len(data)
        if kind < 6 and seed.fields:
            at, width = seed.fields[int(random() * len(seed.fields))]
            if at + width <= size:
                data[at : at + width] = _number(data[at : at + width], size, rng).to_bytes(width, "little")
        elif not size:
            data += seed.data[: int(random() * 40)]
        elif kind < 9:
            data[int(random() * size)] = int(random() * 256)
        elif kind < 11:
            data[int(random() * size)] ^= 1 << int(random() * 8)
        elif kind == 11:
            del data[int(random() * size) :]
        elif kind == 12:
            at = int(random() * size)
            del data[at : at + 1 + int(random() * 8)]
        elif kind == 13:
            at = int(random() * size)
            data[at:at] = data[at : at + 1 + int(random() * 16)] or b"\xff"
        elif kind == 14:
            at = int(random() * size)
            data[at:] = other.data[at:]
        else:
            data += bytes([int(random() * 256)]) * (1 + int(random() * 24))
    return data


def _number(old: bytearray, size: int, rng: Random) -> int:
    most = (1 << 8 * len(old)) - 1
    value = int.from_bytes(old, "little")
    kind = int(rng.random() * 12)
    if kind < 4:
        value += (1, -1, size, -size)[kind]
    elif kind < 10:
        value = (0, 1, most, most >> 1, (most >> 1) + 1, size)[kind - 4]
    elif kind == 10:
        value = int(rng.random() * (2 * size + 2))
    else:
        value = rng.getrandbits(8 * len(old))
    return value & most


# ---- JSON

_WORDS = r"""0 1 -1 -0 2147483648 9007199254740993 9223372036854775807 9223372036854775808 18446744073709551616 1e308
-1e400 1.0 0.5 NaN Infinity true false null "" "." ".." "../x" "/" "a/b" "\u0000" "\ud800" "x" "int8" "float16" "string"
"NaN" "-Infinity" "0x7fc00000" "AAAA" "|O" "|S0" "<U9" "M8[ns]" "r24" "pickle" "gzip" "zstd" "blosc" "crc32c"
"sharding_indexed" "vlen-utf8" "transpose" "numcodecs.lzma" [] {} [[]] [0] [1,1] [null] {"name":"x"}
{"must_understand":false}"""
HOSTILE = [*_WORDS.split(), "9" * 400, "[" * 70 + "]" * 70]
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
_STRUCTURE = frozenset("[]{}:,")


class Tokens:
    """A document as tokens, and which of them are values."""

    def __init__(self, document: Any) -> None:
        self.tokens: list[str] = _TOKENS.findall(json.dumps(document))
        self.values = [
            i for i, token in enumerate(self.tokens)
            if token not in _STRUCTURE and (i + 1 == len(self.tokens) or self.tokens[i + 1] != ":")
        ]  # fmt: skip
        self.names = [i for i, token in enumerate(self.tokens[:-1]) if self.tokens[i + 1] == ":"]


def mutate_json(seed: Tokens, other: Tokens, rng: Random) -> bytes:
    """One to three tokens replaced: values mostly, also names and structure; sometimes the text is cut."""
    random, tokens = rng.random, seed.tokens.copy()
    for _ in range(1 + int(random() * random() * 4)):
        kind = int(random() * 16)
        if kind < 9:
            tokens[_one(seed.values, rng)] = HOSTILE[int(random() * len(HOSTILE))]
        elif kind < 12:
            tokens[_one(seed.values, rng)] = other.tokens[_one(other.values, rng)]
        elif kind < 13:
            tokens[_one(seed.names, rng)] = other.tokens[_one(other.names, rng)]
        elif kind < 14:
            tokens[_one(seed.values, rng)] = "".join(other.tokens)
        else:
            at = int(random() * len(tokens))
            tokens[at] = ("", "[", "]", "{", "}", ",", ":", tokens[at] * 2)[int(random() * 8)]
    text = "".join(tokens)
    return (text[: int(random() * len(text))] if random() < 0.01 else text).encode()


def _one(places: list[int], rng: Random) -> int:
    return places[int(rng.random() * len(places))]
