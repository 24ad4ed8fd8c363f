"""A dataset with a bit of everything that xarray keeps in Zarr stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr


def weather(days: int = 4, start: str = "2000-01-01") -> Any:
    """A dataset with a bit of everything that the two libraries write alike."""
    grid = ("time", "lat")
    return xr.Dataset(
        {
            "temperature": (grid, np.linspace(250, 300, days * 3).reshape(days, 3), {"units": "K", "n": np.int64(3)}),
            "wet": (grid, np.arange(days * 3).reshape(days, 3) % 2 == 0),
            "packed": (grid, np.where(np.arange(days * 3) % 5, 0.5, np.nan).reshape(days, 3)),
            "count": (grid, np.arange(days * 3, dtype="u2").reshape(days, 3)),
            "wave": (("time",), np.exp(1j * np.arange(days))),
            "station": (("lat",), np.array(["a", "bb", "çcc"], dtype=object)),
            "code": (("lat",), np.array([b"x", b"yy", b"zzz"])),
            "version": ((), np.int8(7)),
            "lag": (("time",), pd.timedelta_range("1h", periods=days).values.astype("m8[ns]")),
        },
        coords={
            "time": pd.date_range(start, periods=days).values.astype("M8[ns]"),
            "lat": [10.0, 20.0, 30.0],
            "height": ("lat", [1.0, 2.0, 3.0]),
        },
        attrs={"title": "weather", "levels": np.array([1, 2])},
    )


PACKED = {"packed": {"dtype": "i2", "scale_factor": 0.25, "add_offset": 1.0, "_FillValue": -999}}
