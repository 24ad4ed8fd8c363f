"""`reshape`: the same elements in the same order under another shape.

Kind: array -> array. Spec: https://github.com/zarr-developers/zarr-extensions/tree/main/codecs/reshape
Configuration: {"name": "reshape", "configuration": {"shape": [[0, 1], [2], 3]}}: each axis of the result is a size,
a list of input axes that it joins, or -1 for what is left. Runs on: any device, as a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ChunkSpec
from gpuzarr.errors import MetadataError


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class ReshapeCodec(ArrayArrayCodec):
    """Another shape."""

    name = "reshape"

    shape: tuple[int | tuple[int, ...], ...]

    def __init__(self, *, shape: Sequence[int | Sequence[int]]) -> None:
        axes: list[int | tuple[int, ...]] = []
        for axis in shape if isinstance(shape, list | tuple) else (None,):
            if _is_int(axis) and (axis > 0 or axis == -1):
                axes.append(axis)
            elif isinstance(axis, list | tuple) and all(_is_int(a) and a >= 0 for a in axis):
                axes.append(tuple(axis))
            else:
                raise MetadataError(f"codec 'reshape': not a shape: {shape!r}")
        joined = [a for axis in axes if isinstance(axis, tuple) for a in axis]
        if axes.count(-1) > 1 or any(b <= a for a, b in pairwise(joined)):
            raise MetadataError(f"codec 'reshape': at most one -1, and input axes in rising order: {shape!r}")
        object.__setattr__(self, "shape", tuple(axes))

    def configuration(self) -> dict[str, Any]:
        return {"shape": [list(axis) if isinstance(axis, tuple) else axis for axis in self.shape]}

    def is_identity(self, spec: ChunkSpec) -> bool:
        return True

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        if any(a >= len(spec.shape) for axis in self.shape if isinstance(axis, tuple) for a in axis):
            raise MetadataError(f"codec 'reshape': {self.shape} names an axis that {spec.shape} has not")
        sizes = [prod(spec.shape[a] for a in axis) if isinstance(axis, tuple) else axis for axis in self.shape]
        if -1 in sizes:
            rest = prod(n for n in sizes if n != -1)
            sizes[sizes.index(-1)] = spec.size // rest if rest else 0
        if prod(sizes) != spec.size:
            raise MetadataError(f"codec 'reshape': {spec.shape} does not go into {tuple(sizes)}")
        for i, axis in enumerate(self.shape):
            if isinstance(axis, tuple) and axis:
                before, behind = prod(spec.shape[: axis[0]]), prod(spec.shape[axis[-1] + 1 :])
                if prod(sizes[:i]) != before or prod(sizes[i + 1 :]) != behind:
                    raise MetadataError(f"codec 'reshape': axes {axis} of {spec.shape} are not axis {i} of {sizes}")
        return replace(spec, shape=tuple(sizes))

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return chunk.reshape(self.resolve(spec).shape)

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return chunk.reshape(spec.shape)
