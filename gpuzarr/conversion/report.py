"""What a conversion says when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from gpuzarr.conversion.contract import Note, Problem


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a conversion did. `nbytes` are those of the values in memory, `nbytes_stored` those of the target's objects
    (None where its store cannot list them); `regions_resumed` of `regions` were done by an earlier process."""

    arrays: int
    groups: int
    nbytes: int
    nbytes_stored: int | None
    regions: int
    regions_resumed: int
    seconds: float
    skipped: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
