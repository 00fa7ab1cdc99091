"""The axes of pictures: their scale, their label and their ticks."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.ticker import (
    LogFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)
from numpy.typing import NDArray

from fastlin.plot import scales, sizes, style

MINOR_LABELS = (1.5, 0.4)  # Decades of a colour bar up to which numbers between powers of ten are labelled.
# Decades of an axis. Ticks are evenly spaced below the first, and at 1, 2, 5, 10 up to the second.
FEW_DECADES = (0.7, 2.0)
PLAIN_NUMBERS = (1e-3, 1e4)  # Numbers that are short without an exponent.
MAX_TICKS = 12  # Sizes on an axis, up to which each of them is labelled.
SHARE_OF_AXIS = 0.9  # Share of an axis of lines between its first and its last value.
MAX_COLUMNS = 3  # Panels in a row of a page.
LINEAR_TIME = 1.0  # The time axis is linear up to this t / tau and logarithmic beyond it.
MAX_POWERS = 4  # Powers of ten beyond 1 that fit a time axis as labels.
LONG_TIME = 30.0  # Up to this t / tau, a plain linear axis shows all of the dynamics.


def new_panels(count: int, height: float, layout: str = "constrained") -> list[Axes]:
    """Return the axes of a new figure, in rows of at most three. Each row is so many inches high.

    The layout "compressed" moves panels of a fixed aspect, such as matrices, close together.
    """
    columns = 2 if count == 4 else min(count, MAX_COLUMNS)
    rows = -(-count // columns)
    _, axes = plt.subplots(rows, columns, figsize=(style.WIDTH, rows * height), layout=layout, squeeze=False)
    for ax in axes.flat[count:]:
        ax.remove()
    return list(axes.flat[:count])


def inches(ax: Axes) -> tuple[float, float]:
    """Return the width and the height of axes in inches, before their layout is settled."""
    box = ax.get_window_extent()
    return box.width / ax.figure.dpi, box.height / ax.figure.dpi


def set_axis(ax: Axes, letter: str, name: str, values: NDArray[Any]) -> None:
    """Set the label, the scale and the ticks of the axis x or y.

    The label names the values that have no place on the axis, such as t = inf.
    """
    log = scales.logarithmic(values)
    if log:
        ax.set(**{f"{letter}scale": "log"})
    drawable = scales.drawable(values)
    axis = ax.xaxis if letter == "x" else ax.yaxis
    axis.set_label_text(style.axis_label(name, values[~drawable]))
    if name in sizes.SIZES and _fit(ax, letter, values, log=log):
        axis.set_ticks(values, _names(values))
        axis.set_minor_locator(NullLocator())
    elif log:
        _set_round_numbers(axis, values[drawable], whole=name in style.SIZE_NAMES)
    elif name in style.SIZE_NAMES:
        axis.set_major_locator(MaxNLocator(integer=True))


def _names(values: NDArray[Any]) -> list[str]:
    return [f"{value:.3g}" for value in values]


def _fit(ax: Axes, letter: str, values: NDArray[Any], *, log: bool) -> bool:
    """Return whether each value of an axis can be labelled, so that no two labels touch."""
    if values.size > MAX_TICKS:
        return False
    share = min(SHARE_OF_AXIS, 1 - 1 / values.size)  # In a diagram, half a cell lies beyond each end.
    length = share * inches(ax)[0 if letter == "x" else 1]
    positions = np.log(values) if log else values.astype(float)
    gaps = np.diff(positions) * length / (np.ptp(positions) or 1.0)
    lengths = np.array([len(name) for name in _names(values)])
    needed = (0.5 * (lengths[1:] + lengths[:-1]) + 1.0) if letter == "x" else np.full(gaps.shape, 2.0)
    return bool((gaps * style.LETTERS >= needed).all())


def _set_round_numbers(axis: Axis, values: NDArray[Any], *, whole: bool) -> None:
    """Label a logarithmic axis at round numbers, without exponents where these are short."""
    low, high = float(values.min()), float(values.max())
    decades = np.log10(high / low)
    if not PLAIN_NUMBERS[0] <= low <= high < PLAIN_NUMBERS[1]:
        return
    if decades < FEW_DECADES[0]:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades <= FEW_DECADES[1] else (1.0,)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


class PlainLogFormatter(LogFormatter):
    """Labels of a logarithmic axis without exponents: 0.2 and 30 instead of 2e-01 and 3e+01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick, empty where there is none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain_numbers(axis: Axis | Colorbar, low: float, high: float) -> None:
    """Label a logarithmic axis of values by plain numbers where these are short."""
    if not PLAIN_NUMBERS[0] <= low <= high < PLAIN_NUMBERS[1]:
        return
    if isinstance(axis, Axis):
        axis.set_major_formatter(PlainLogFormatter())
        axis.set_minor_formatter(PlainLogFormatter(minor_thresholds=MINOR_LABELS))
    else:
        axis.formatter = PlainLogFormatter()
        axis.minorformatter = PlainLogFormatter(minor_thresholds=MINOR_LABELS)


def set_time_axis(ax: Axes, times: NDArray[np.float64]) -> None:
    """Give `ax` a time axis from 0 to the last finite time.

    It is linear at first and logarithmic later if the last time is late. The label says if t = inf is left
    out.
    """
    finite = np.isfinite(times)
    last = float(times.max(where=finite, initial=0.0))
    ax.set_xlabel(style.axis_label("time", times[~finite]))
    if last > LONG_TIME:
        ax.set_xscale("asinh", linear_width=LINEAR_TIME)
        decades = int(np.log10(last * (1.0 + 1e-9)))
        powers = range(0, decades + 1, -(-decades // MAX_POWERS))
        names = [f"{10**power:,}" if power < 4 else f"$10^{{{power}}}$" for power in powers]
        ax.set_xticks([0, *(10.0**power for power in powers)], ["0", *names])
        ax.xaxis.set_minor_locator(NullLocator())
    if last > 0:
        ax.set_xlim(0.0, last)
