"""What a fuzzing target is: inputs made from good ones, and a judgement of what came of each.

A target raises nothing but `Finding`. Everything else that leaves `execute` (or a signal, a hang, memory beyond the
cap) is a finding, too; the supervisor sees to those.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import ClassVar


class Finding(Exception):
    """An input that did what none may do."""


class Target:
    """One kind of hostile input.

    `suffix` of its files; `step` is how many executions one call of `execute` stands for.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ".bin"
    step: ClassVar[int] = 1

    def prepare(self) -> None:
        """Make the good inputs. Called once, before the supervisor forks."""

    def generate(self, rng: Random) -> bytes:
        """The next input."""
        raise NotImplementedError

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        """Run one input; count in `tally` what came of it."""
        raise NotImplementedError
