"""Targets with known defects: what the supervisor must find, or it finds nothing.

Run as a program, it says what was found of each.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from random import Random

from tests.fuzz import supervisor
from tests.fuzz.memory import Guarded
from tests.fuzz.target import Finding, Target

BAD = 37  # the input that does it


class Planted(Target):
    """Counts up; does something on one input."""

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]
        self.count = 0

    def prepare(self) -> None:
        self.memory, self.hoard = Guarded(4096), []

    def generate(self, rng: Random) -> bytes:
        self.count += 1
        return self.count.to_bytes(2, "little")

    def execute(self, data: bytes, tally: Counter[str]) -> None:
        tally["run"] += 1
        where = self.memory.put(data)
        if int.from_bytes(data, "little") == BAD:
            getattr(self, self.name)(where)

    def reads_behind(self, where: int) -> None:
        """One byte."""
        ctypes.string_at(where, 3)

    def reads_before(self, where: int) -> None:
        """One byte."""
        ctypes.string_at(self.memory.start - 1, 1)

    def writes_behind(self, where: int) -> None:
        """One byte."""
        ctypes.memset(self.memory.take(5, 0), 1, 6)

    def hangs(self, where: int) -> None:
        """For ever."""
        while True:
            pass

    def raises(self, where: int) -> None:
        """Not one of ours."""
        raise ZeroDivisionError("planted")

    def is_wrong(self, where: int) -> None:
        """By its own judgement."""
        raise Finding("planted")

    def hoards(self, where: int) -> None:
        """More memory than the cap."""
        self.hoard.append(b"x" * (300 << 20))

    def hoards_too_much(self, where: int) -> None:
        """More address space than there is."""
        self.hoard.append(bytearray(3 << 30))


NAMES = ("reads_behind", "reads_before", "writes_behind", "hangs", "raises", "is_wrong", "hoards", "hoards_too_much")


def main() -> None:
    supervisor.HANG = 1.0
    for name in NAMES:
        report = supervisor.fuzz(Planted(name), 5, most=100)
        what, data = report.findings[0]
        print(name, what.strip().splitlines()[-1], int.from_bytes(data, "little"), sep="; ")


if __name__ == "__main__":
    sys.exit(main())
