"""xarray on gpuzarr: `xr.open_dataset(store, engine="gpuzarr")`, and the way back, `to_zarr`.

Stores are laid out as xarray lays them out (https://docs.xarray.dev/en/stable/internals/zarr-encoding-spec.html):
dimensions are an array's `dimension_names` in Zarr 3 and its attribute `_ARRAY_DIMENSIONS` in Zarr 2, values are coded
by the CF conventions. What xarray's own engine wrote is read here, and the reverse, without zarr-python.

With a `device`, data variables are arrays in its memory, read and decoded there when they are asked for; coordinates
(which indexes are made of) and what a GPU has no elements for (dates, strings) are NumPy's.
"""

from gpuzarr.xarray.backend import GpuzarrBackendEntrypoint, open_zarr
from gpuzarr.xarray.datastore import GpuzarrStore
from gpuzarr.xarray.saving import to_zarr

__all__ = ["GpuzarrBackendEntrypoint", "GpuzarrStore", "open_zarr", "to_zarr"]
