"""What a conversion will make: every node of the target, known before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from gpuzarr.attributes import as_json
from gpuzarr.conversion.contract import Found, FoundArray, FoundGroup, Note, Problem, Source
from gpuzarr.conversion.targets import Choices, data_type_of, unplaced_missing
from gpuzarr.errors import ConversionError, DataTypeValidationError, KeyValidationError
from gpuzarr.metadata.model import ArrayMetadata, GroupMetadata, Node
from gpuzarr.missing import MISSING
from gpuzarr.nodes import check_name, parents
from gpuzarr.storage.keys import CONVERSION, validate_key

SHOWN = 10  # problems that a message lists


@dataclass
class Plan:
    """Nodes of the target by relative path, parents first, and the arrays whose values are to be moved."""

    nodes: dict[str, Node] = field(default_factory=dict)
    arrays: list[tuple[FoundArray, ArrayMetadata]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def digest(self) -> str:
        """A hash of all documents."""
        whole = hashlib.sha256()
        for path in sorted(self.nodes):
            for name, document in sorted(self.nodes[path].documents().items()):
                whole.update(f"{path}/{name}:{len(document)}\n".encode() + document)
        return whole.hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of all values in memory."""
        return sum(_nbytes(metadata) for _, metadata in self.arrays)


def _nbytes(metadata: ArrayMetadata) -> int:
    count = 1
    for length in metadata.shape:
        count *= length
    return count * metadata.dtype.itemsize


@dataclass(frozen=True)
class Filter:
    """Which paths are converted: those that match a pattern of `include`, with what is below them, but for those that
    match one of `exclude`, with what is below them. No `include` is everything."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, path: str) -> bool:
        """Whether a node is converted for its own sake."""
        lineage = [*parents(path)[1:], path]
        if any(fnmatchcase(each, pattern) for pattern in self.exclude for each in lineage):
            return False
        return not self.include or any(fnmatchcase(each, pattern) for pattern in self.include for each in lineage)


def make_plan(source: Source, choices: Choices, chosen: Filter) -> Plan:
    """All that the source has and the filter takes, as it will be in the target. MetadataError where the choices do
    not fit an array."""
    plan = Plan()
    groups: dict[str, FoundGroup] = {}
    of_attributes: list[Problem] = []
    for found in source.nodes():
        if isinstance(found, FoundGroup):
            groups[found.path] = found
        if isinstance(found, Problem) and found.attribute is not None:
            of_attributes.append(found)
        elif not chosen.takes(found.path):
            continue
        elif isinstance(found, Problem):
            plan.problems.append(found)
        elif isinstance(found, Note):
            plan.notes.append(found)
        elif (reason := _unnameable(found.path) or _no_room(plan, found)) is not None:
            plan.problems.append(Problem(found.path, reason))
        else:
            _add(plan, found, choices, groups, labelled=source.labelled)
    plan.problems += [problem for problem in of_attributes if problem.path in plan.nodes]
    plan.notes += choices.unused([found.path for found, _ in plan.arrays])
    return plan


def _unnameable(path: str) -> str | None:
    try:
        if path:
            validate_key(path)
        check_name(path)
    except KeyValidationError as error:
        return str(error)
    return f"the name {CONVERSION!r} is kept for notes" if CONVERSION in path.split("/") else None


def _no_room(plan: Plan, found: FoundArray | FoundGroup) -> str | None:
    """Why there is no place for a node beside those found before: a name in an archive, for one, may be there twice."""
    there = plan.nodes.get(found.path)
    if there is not None and (isinstance(found, FoundArray) or isinstance(there, ArrayMetadata)):
        return "one more node of the same path"
    arrays = [above for above in parents(found.path) if isinstance(plan.nodes.get(above), ArrayMetadata)]
    return f"it is below {arrays[0] or '/'!r}, which is an array and has no members" if arrays else None


def _add(plan: Plan, found: Found, choices: Choices, groups: dict[str, FoundGroup], *, labelled: bool) -> None:
    """Put a node into the plan, with the groups above it."""
    metadata: Node
    if isinstance(found, FoundArray):
        try:
            data_type = data_type_of(found, choices.zarr_format)
        except DataTypeValidationError as error:
            plan.problems.append(Problem(found.path, str(error)))
            return
        if (reason := unplaced_missing(found, data_type, choices.zarr_format)) is not None:
            plan.problems.append(Problem(found.path, reason, MISSING))
            found = replace(found, missing=None)
        metadata = choices.metadata(found, data_type, labelled=labelled)
        plan.arrays.append((found, metadata))
    else:
        assert isinstance(found, FoundGroup)
        metadata = _group(found, choices.zarr_format)
    for above in parents(found.path) if found.path else []:
        if above not in plan.nodes:
            plan.nodes[above] = _group(groups.get(above, FoundGroup(path=above)), choices.zarr_format)
    plan.nodes[found.path] = metadata


def _group(found: FoundGroup, zarr_format: Any) -> GroupMetadata:
    if found.like is not None and found.like.zarr_format == zarr_format:
        return found.like.with_consolidated(None)
    return GroupMetadata(zarr_format=zarr_format, attributes=as_json(found.attributes))


def refuse(problems: Iterable[Problem]) -> None:
    """ConversionError that names every problem, or the first of many."""
    found = list(problems)
    if found:
        lines = [str(problem) for problem in found[:SHOWN]]
        more = [f"and {len(found) - SHOWN} more"] * (len(found) > SHOWN)
        raise ConversionError(
            "what Zarr has no form for is in the source (skip_unsupported=True leaves it out):\n  "
            + "\n  ".join([*lines, *more])
        )
