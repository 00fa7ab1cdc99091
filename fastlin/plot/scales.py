"""Scales: which axes and which values are drawn logarithmically, and where the borders of cells lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogFormatter, NullLocator
from numpy.typing import NDArray

from fastlin.errors import InputError

WIDE = 10.0  # Largest over smallest value, from which on values are drawn on a logarithmic scale.
# The kernel distance lies between 0 and 1, and the thresholds of the regimes are read on a linear scale.
ALWAYS_LINEAR = frozenset({"kernel_distance"})
MINOR_LABELS = (1.5, 0.4)  # Decades of an axis up to which numbers between powers of ten are labelled.
LINEAR_TIME = 1.0  # The time axis is linear up to this t / tau and logarithmic beyond it.
MAX_POWERS = 4  # Powers of ten beyond 1 that fit a time axis as labels.
LONG_TIME = 30.0  # Up to this t / tau, a plain linear axis shows all of the dynamics.


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


class PlainLogFormatter(LogFormatter):
    """Labels of a logarithmic axis without exponents: 0.2 and 30 instead of 2e-01 and 3e+01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick, empty where there is none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain_numbers(axis: Axis | Colorbar, low: float, high: float) -> None:
    """Label a logarithmic axis by plain numbers where these are short."""
    if not 1e-3 <= low <= high < 1e4:
        return
    if isinstance(axis, Axis):
        axis.set_major_formatter(PlainLogFormatter())
        axis.set_minor_formatter(PlainLogFormatter(minor_thresholds=MINOR_LABELS))
    else:
        axis.formatter = PlainLogFormatter()
        axis.minorformatter = PlainLogFormatter(minor_thresholds=MINOR_LABELS)


def time_axis(ax: Axes, last: float) -> None:
    """Give `ax` a time axis from 0 to `last`: linear at first and logarithmic later if `last` is late."""
    if last > LONG_TIME:
        ax.set_xscale("asinh", linear_width=LINEAR_TIME)
        decades = int(np.log10(last * (1.0 + 1e-9)))
        powers = range(0, decades + 1, -(-decades // MAX_POWERS))
        names = [f"{10**power:,}" if power < 4 else f"$10^{{{power}}}$" for power in powers]
        ax.set_xticks([0, *(10.0**power for power in powers)], ["0", *names])
        ax.xaxis.set_minor_locator(NullLocator())
    if last > 0:
        ax.set_xlim(0.0, last)


def log_values(da: xr.DataArray, wanted: bool | None) -> bool:
    """Return whether the values of an observable are drawn on a logarithmic scale.

    If nothing is `wanted`, they are where none is negative and the positive ones span a decade or more.

    Raises
    ------
    InputError
        If a logarithmic scale is wanted and no value is positive, or one is negative.
    """
    finite = da.values[np.isfinite(da.values)]
    positive = finite[finite > 0]
    if wanted and (finite < 0).any():
        raise InputError(f"{da.name} is {finite.min():g} at its lowest; a logarithmic scale cannot show that")
    if wanted and not positive.size:
        raise InputError(f"{da.name} has no positive value; a logarithmic scale needs one")
    if wanted is not None or da.name in ALWAYS_LINEAR or not positive.size or (finite < 0).any():
        return bool(wanted)
    return bool(positive.max() >= WIDE * positive.min())


def colour_norm(values: NDArray[Any], *, log: bool) -> Normalize:
    """Return the scale of colours of all finite values, or of positive values if it is logarithmic."""
    shown = values[np.isfinite(values) & ((values > 0) | (not log))]
    limits = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 1.0)
    return LogNorm(*limits, clip=True) if log else Normalize(*limits)
