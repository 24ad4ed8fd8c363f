"""Where in the stored arrays a dataset belongs: the `region` of `to_zarr`, and finding it by coordinates."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from xarray import Dataset

Region = Mapping[Hashable, slice]


def resolved(
    region: Any, dataset: Dataset, stored: Callable[[Hashable], Any], *, mode: str, append_dim: Hashable | None
) -> dict[Hashable, slice]:
    """A region with a slice for each of its dimensions. `stored` gives the stored values of a coordinate.

    "auto", for all dimensions or for one, looks the dataset's coordinates up in the stored ones. Raises TypeError and
    ValueError for what is no region of this dataset, KeyError for coordinates that are not stored.
    """
    if isinstance(region, str) and region == "auto":
        region = dict.fromkeys(dataset.dims, "auto")
    if not isinstance(region, Mapping):
        raise TypeError(f"``region`` must be a dict, or 'auto', got {region!r}")
    automatic = [dim for dim, where in region.items() if isinstance(where, str) and where == "auto"]
    if automatic and mode not in ("r+", "a"):
        raise ValueError(f"region='auto' needs mode 'r+' or 'a', got {mode!r}")
    found = {dim: _found(dim, dataset, stored) if dim in automatic else where for dim, where in region.items()}
    _check(found, dataset, append_dim)
    return found


def _found(dim: Hashable, dataset: Dataset, stored: Callable[[Hashable], Any]) -> slice:
    if dim not in dataset.variables:
        return slice(0, dataset.sizes[dim])
    where = dataset.get_index(dim).__class__(stored(dim)).get_indexer(dataset.get_index(dim))
    if (where == -1).any():
        missing = dataset.get_index(dim)[where == -1][0]
        raise KeyError(f"coordinate {dim!r}: {missing!r} is not in the store, so there is no region for it")
    if not len(where):
        return slice(0, 0)
    if (np.diff(where) != 1).any():
        raise ValueError(f"coordinate {dim!r}: what is to be written lies at several places of the store, not in one")
    return slice(int(where[0]), int(where[-1]) + 1)


def _check(region: Region, dataset: Dataset, append_dim: Hashable | None) -> None:
    if not set(region) <= set(dataset.dims):
        raise ValueError(
            f"all keys in ``region`` are not in Dataset dimensions: expected some of {list(dataset.dims)},"
            f" got {list(region)}"
        )
    for dim, where in region.items():
        if not isinstance(where, slice):
            raise TypeError(f"values of ``region`` must be slice objects or 'auto', got {where!r} for {dim!r}")
        if where.step not in (1, None):
            raise ValueError(f"the step on all slices in ``region`` is 1, got {where!r} for {dim!r}")
    if append_dim is not None and append_dim in region:
        raise ValueError(f"cannot list the same dimension in both append_dim and ``region``: {append_dim!r}")
    apart = [name for name, variable in dataset.variables.items() if not set(region).intersection(variable.dims)]
    if region and apart:
        raise ValueError(
            "with ``region``, all variables in the dataset to write must have at least one dimension in common with"
            f" it, {list(region)}; drop the others first: .drop_vars({apart!r})"
        )
