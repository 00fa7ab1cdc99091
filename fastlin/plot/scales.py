"""Scales: which axes and which values are drawn logarithmically, and where the borders of cells lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from fastlin.errors import InputError

WIDE = 10.0  # Largest over smallest value, from which on values are drawn on a logarithmic scale.
# The kernel distance lies between 0 and 1, and the thresholds of the regimes are read on a linear scale.
ALWAYS_LINEAR = frozenset({"kernel_distance"})
# Values that differ by less than this share of their size are equal up to rounding errors.
ROUNDING = 1e-12
# Rounding errors of these observables do not shrink with their values. The kernel distance is 1 - cosine.
SIZES_OF_VALUES = {"kernel_distance": 1.0}
EMPTY_LOG = (0.1, 1.0)  # Ends of a logarithmic scale on which no value has a place.
MARGIN = 0.1  # Share of their size that a scale extends beyond values that are all equal.


def logarithmic(values: NDArray[Any]) -> bool:
    """Return whether the values of an axis are positive and unevenly spaced, so that a log scale suits it."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size < 3 or (values < 0).any():
        return False
    steps = np.diff(positive)
    return bool(steps.max() > 3 * steps.min())


def drawable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the values of an axis that can be drawn: finite, and positive on a log scale."""
    return np.asarray(np.isfinite(values) & ((values > 0) | (not logarithmic(values))))


def drawn(da: xr.DataArray, *names: str) -> xr.DataArray:
    """Return the part of an observable whose values on the axes `names` can be drawn."""
    return da.isel({name: np.flatnonzero(drawable(da[name].values)) for name in names})


def edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the borders of cells around values: midpoints, or geometric means on a logarithmic axis.

    Where no value is negative, no cell reaches below 0.
    """
    centres = np.asarray(values, dtype=float)
    log = logarithmic(centres)
    scaled = np.log(centres) if log else centres
    middle = 0.5 * (scaled[1:] + scaled[:-1])
    ends = (2 * scaled[0] - middle[0], 2 * scaled[-1] - middle[-1])
    borders: NDArray[np.float64] = np.concatenate([[ends[0]], middle, [ends[1]]])
    if log:
        return np.asarray(np.exp(borders))
    borders[0] = max(borders[0], 0.0) if centres.min() >= 0 else borders[0]
    return borders


def zero(name: object) -> float:
    """Return the absolute value up to which an observable counts as 0."""
    return ROUNDING * SIZES_OF_VALUES.get(str(name), 0.0)


def limits(values: NDArray[Any], name: object) -> tuple[float, float]:
    """Return the least and the largest finite value of an observable, as ends of a scale.

    If all values are equal up to rounding errors, the ends are so far apart that these do not show.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    size = max(abs(low), abs(high), SIZES_OF_VALUES.get(str(name), 0.0))
    if high - low > ROUNDING * size:
        return low, high
    margin = MARGIN * (size or 1.0)
    return (max(low - margin, 0.0) if low >= -zero(name) else low - margin), high + margin


def log_values(da: xr.DataArray, wanted: bool | None) -> bool:
    """Return whether the values of an observable are drawn on a logarithmic scale.

    If nothing is `wanted`, they are where none is negative and the positive ones span a decade or more.

    Raises
    ------
    InputError
        If a logarithmic scale is wanted and no value is positive, or one is negative.
    """
    finite = da.values[np.isfinite(da.values)]
    least = zero(da.name)
    positive, negative = finite[finite > least], finite[finite < -least]
    if wanted and negative.size:
        raise InputError(
            f"{da.name} is {negative.min():g} at its lowest; a logarithmic scale cannot show that"
        )
    if wanted and not positive.size:
        raise InputError(f"{da.name} has no positive value; a logarithmic scale needs one")
    if wanted is not None or da.name in ALWAYS_LINEAR or not positive.size or negative.size:
        return bool(wanted)
    return bool(positive.max() >= WIDE * positive.min())


def colour_limits(da: xr.DataArray, *, log: bool) -> tuple[float, float]:
    """Return the ends of a scale of all finite values, or of positive values if it is logarithmic."""
    values = da.values
    if not log:
        return limits(values, da.name)
    positive = values[values > zero(da.name)]
    return limits(positive, da.name) if positive.size else EMPTY_LOG


def colour_norm(da: xr.DataArray, *, log: bool) -> Normalize:
    """Return the scale of colours of an observable, see `colour_limits`."""
    ends = colour_limits(da, log=log)
    return LogNorm(*ends, clip=True) if log else Normalize(*ends)
