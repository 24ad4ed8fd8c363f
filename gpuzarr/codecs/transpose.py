"""`transpose`: another order of the axes.

Kind: array -> array. Spec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/transpose/
Configuration: {"name": "transpose", "configuration": {"order": [1, 0]}}; axis i of the result is axis order[i] of
the input. Known trouble: old drafts write "C" and "F". Runs on: any device, as a view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from gpuzarr.codecs.contract import ArrayArrayCodec, ChunkSpec
from gpuzarr.errors import MetadataError


@dataclass(frozen=True, slots=True)
class TransposeCodec(ArrayArrayCodec):
    """Axes in another order; "C" and "F" stand for the same and the reverse order, whatever the rank."""

    name = "transpose"

    order: tuple[int, ...] | str

    def __init__(self, *, order: Iterable[int] | str) -> None:
        if not isinstance(order, str):
            order = tuple(order)
            if any(isinstance(axis, bool) or not hasattr(axis, "__index__") for axis in order):
                raise MetadataError(f"codec 'transpose': order is a list of integers, not {order!r}")
            order = tuple(int(axis) for axis in order)
        elif order not in ("C", "F"):
            raise MetadataError(f"codec 'transpose': order is a list of axes, not {order!r}")
        object.__setattr__(self, "order", order)

    def evolve(self, spec: ChunkSpec) -> Self:
        axes = tuple(range(len(spec.shape)))
        if isinstance(self.order, str):
            return replace(self, order=axes if self.order == "C" else axes[::-1])
        if sorted(self.order) != list(axes):
            raise MetadataError(f"codec 'transpose': order {self.order} is no order of {len(axes)} axes")
        return self

    def _axes(self, spec: ChunkSpec) -> tuple[int, ...]:
        order = self.evolve(spec).order
        assert not isinstance(order, str)
        return order

    def is_identity(self, spec: ChunkSpec) -> bool:
        # Axes of length one may move freely: the order of the elements stays.
        moved = [axis for axis in self._axes(spec) if spec.shape[axis] != 1]
        return moved == sorted(moved) and self.resolve(spec).shape == spec.shape

    def resolve(self, spec: ChunkSpec) -> ChunkSpec:
        return replace(spec, shape=tuple(spec.shape[axis] for axis in self._axes(spec)))

    def encode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return chunk.transpose(self._axes(spec))

    def decode(self, chunk: np.ndarray[Any, Any], spec: ChunkSpec) -> np.ndarray[Any, Any]:
        return chunk.transpose(np.argsort(self._axes(spec)))
