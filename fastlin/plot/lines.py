"""Lines over one axis: the mean over seeds and a band of one standard deviation."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from numpy.typing import NDArray

from fastlin import seed_statistics
from fastlin.errors import InputError
from fastlin.plot import style
from fastlin.validation import check_instance, suggest

MAX_LINES = 12  # beyond it no legend can be read
_SIGNED = LinearSegmentedColormap.from_list("signed", [style.COLOURS[0], "0.5", style.COLOURS[1]])


def profile(da: xr.DataArray, x: str = "lam", ax: Axes | None = None, **line: Any) -> Axes:
    """Draw an observable over one axis of a sweep: the mean over seeds and a band of one deviation.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides `x` and "seed" its dimensions have one value each.
    x : str
        A dimension. Of its values those are drawn that have a place on the axis: not t = inf, and not
        t = 0 where the scale is logarithmic.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    **line
        Properties of the line, such as color and label.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If `x` is no dimension, or another one has several values.
    """
    mean = seed_statistics.mean_over(da, (x,))
    spread = seed_statistics.deviation_over(da, (x,))
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    log = style.logarithmic(mean[x].values)
    place = style.drawable(mean[x].values)
    values, centre = mean[x].values[place], mean.values[place]
    colour = {"color": style.COLOURS[len(ax.lines) % len(style.COLOURS)]}
    (drawn,) = ax.plot(values, centre, **(colour | line))
    if spread is not None:
        half = spread.values[place]
        ax.fill_between(values, centre - half, centre + half, color=drawn.get_color(), alpha=0.2, linewidth=0)
    if log:
        ax.set_xscale("log")
    ax.set_xlabel(style.SYMBOLS.get(x, x))
    ax.set_ylabel(style.label(da))
    return ax


def trajectories(da: xr.DataArray, hue: str = "lam", ax: Axes | None = None, **line: Any) -> Axes:
    """Draw an observable over time, a line with a band over seeds for each value of another axis.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides "time", `hue` and "seed" its dimensions have one value each.
    hue : str
        A dimension of at most 12 values; its order is the order of the colours.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    **line
        Properties of all lines, such as linewidth.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If `hue` is no dimension or has more values, or another dimension has several.
    """
    check_instance("da", da, xr.DataArray, seed_statistics.OBSERVABLE)
    if not da.sizes.get(hue, 1):
        raise InputError(f"{hue} has no values here; there is nothing to draw")
    if hue not in da.dims or hue in ("time", "seed"):
        rest = [str(name) for name in da.dims if name not in ("time", "seed", "statistic")]
        raise InputError(f"{hue!r} is no dimension that tells lines apart; {suggest(hue, rest)}")
    if da.sizes[hue] > MAX_LINES:
        raise InputError(
            f"{hue} has {da.sizes[hue]} values, and {MAX_LINES} lines can be told apart; "
            f"select some first: .isel({{{hue!r}: slice(None, None, {-(-da.sizes[hue] // MAX_LINES)})}})"
        )
    # Beside new axes there is room; of others' nobody knows.
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if ax is None else {}
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    for index, colour in enumerate(_colours(da[hue].values)):
        one = da.isel({hue: index})
        profile(one, "time", ax, **({"color": colour, "label": _name(one, hue)} | line))
    ax.legend(title=style.SYMBOLS.get(hue, hue.replace("_", " ")), frameon=False, **place)
    return ax


def _colours(values: NDArray[Any]) -> list[Any]:
    """Return a colour for each value: in order for numbers, apart for names and few values.

    None of them is lost on white, or in a dark style on black.
    """
    if values.dtype.kind == "f" and values.size > 2:
        if values.min() < 0 < values.max():
            return list(_SIGNED(np.linspace(0.0, 1.0, values.size)))
        dark = sum(to_rgb(plt.rcParams["axes.facecolor"])) < 1.5
        ends = (0.35, 1.0) if dark else (0.0, 0.85)
        return list(colormaps[style.COLOUR_MAP](np.linspace(*ends, values.size)))
    return [style.COLOURS[index % len(style.COLOURS)] for index in range(values.size)]


def _name(da: xr.DataArray, hue: str) -> str:
    value = da[hue].values
    return f"${style.number(float(value))}$" if value.dtype.kind in "fi" else str(value).replace("_", " ")
