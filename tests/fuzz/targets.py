"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import compressed
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in compressed.targets()}
