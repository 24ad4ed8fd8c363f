"""What all commands print by: JSON for programs, and for people text that no store can drive their terminal with."""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """Names and messages come from the store, and must not drive the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(found: Any) -> None:
    """Print as JSON."""
    print(json.dumps(found, indent=2, default=str))
