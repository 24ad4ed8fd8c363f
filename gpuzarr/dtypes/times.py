"""Points in time and durations: `numpy.datetime64` and `numpy.timedelta64` (zarr-extensions/data-types).

In JSON a fill value is the 64-bit count, or "NaT".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from gpuzarr.dtypes.model import DataType, plain_scalar, shown
from gpuzarr.errors import DataTypeValidationError

_NAMES = {"M": "numpy.datetime64", "m": "numpy.timedelta64"}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_UNITS = frozenset(["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "μs", "µs", "ns", "ps", "fs", "as", "generic"])
_NAT = -(2**63)


def time_from_numpy(dtype: np.dtype[Any]) -> Time:
    """The type of a datetime64 or timedelta64 dtype, byte order kept."""
    return Time(_NAMES[dtype.kind], dtype)


def time_from_v3(name: str, configuration: dict[str, Any]) -> Time:
    """From {"unit": ..., "scale_factor": ...}."""
    if name not in _KINDS or configuration.keys() != {"unit", "scale_factor"}:
        raise DataTypeValidationError(f"data type {name}: expected unit and scale_factor, got {shown(configuration)}")
    unit, scale = configuration["unit"], configuration["scale_factor"]
    if not isinstance(unit, str) or unit not in _UNITS:
        raise DataTypeValidationError(f"data type {name}: unit: expected one of {sorted(_UNITS)}, got {shown(unit)}")
    if not isinstance(scale, int) or isinstance(scale, bool) or not 1 <= scale < 2**31:
        raise DataTypeValidationError(
            f"data type {name}: scale_factor: expected an integer from 1 to 2147483647, got {shown(scale)}"
        )
    kind = _KINDS[name]
    if unit == "generic":
        if scale != 1:
            raise DataTypeValidationError(f"data type {name}: scale_factor: NumPy's generic unit has no scale but 1")
        return Time(name, np.dtype(f"{kind}8"))
    # NumPy spells microseconds "us" only.
    return Time(name, np.dtype(f"{kind}8[{scale}{'us' if unit in ('μs', 'µs') else unit}]"))


@dataclass(frozen=True)
class Time(DataType):
    """A 64-bit count of a unit; the smallest count is "not a time"."""

    def to_v3(self) -> dict[str, Any]:
        unit, scale = np.datetime_data(self.numpy)
        return {"name": self.name, "configuration": {"unit": unit, "scale_factor": scale}}

    def default_fill(self) -> Any:
        return self._from_count(_NAT)

    def cast_fill(self, value: Any) -> Any:
        value = plain_scalar(value)
        if value is None or (isinstance(value, (np.datetime64, np.timedelta64)) and np.isnat(value)) or value == "NaT":
            return self._from_count(_NAT)
        if isinstance(value, (int, np.integer)) and not isinstance(
            value, (bool, np.timedelta64)
        ):  # NumPy's is an integer
            return self._checked(int(value))
        if isinstance(value, (str, bytes, date, datetime, timedelta, np.datetime64, np.timedelta64)):
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            native = self.numpy.newbyteorder("=")
            try:
                scalar = np.asarray(text, dtype=native)[()]
            except (TypeError, ValueError, OverflowError) as error:
                raise DataTypeValidationError(f"fill value of data type {self.name}: {error}") from error
            if scalar.dtype != native:  # the generic unit takes on the unit of a date
                raise self.refusal(value, "a count, since the type has no unit")
            return scalar
        raise self.refusal(value, "a time")

    def fill_from_json(self, value: Any, zarr_format: int) -> Any:
        if value == "NaT":
            return self._from_count(_NAT)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refusal(value, 'an integer or "NaT"')
        return self._checked(value)

    def fill_to_json(self, scalar: Any, zarr_format: int) -> int:
        return int(np.asarray(scalar, dtype=self.numpy.newbyteorder("=")).view("i8")[()])

    def _checked(self, count: int) -> Any:
        if not -(2**63) <= count < 2**63:
            raise self.refusal(count, "an integer of 64 bits")
        return self._from_count(count)

    def _from_count(self, count: int) -> Any:
        return np.asarray(count, dtype="i8").view(self.numpy.newbyteorder("="))[()]
