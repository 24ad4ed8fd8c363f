"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import arrays, compressed, containers, documents, joined, waves
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (documents, arrays, containers, compressed, joined, waves)
    for target in module.targets()
}
