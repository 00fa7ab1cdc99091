"""Lines over one axis: the mean over seeds and a band of one standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fastlin import seed_statistics
from fastlin.errors import InputError
from fastlin.plot import scales, sizes, style
from fastlin.plot.arguments import check_ax, passing
from fastlin.plot.axes import plain_numbers, set_axis
from fastlin.plot.captions import new_axes
from fastlin.validation import check_instance, suggest

MAX_BANDS = 6  # More bands hide each other.
MAX_LINES = 12  # A legend of more lines is too long to be read.
NO_HUE = ("time", "seed", "statistic")
_SIGNED = LinearSegmentedColormap.from_list("signed", [style.COLOURS[0], "0.5", style.COLOURS[1]])


def profile(
    da: xr.DataArray, x: str = "lam", ax: Axes | None = None, log: bool | None = None, **line: Any
) -> Axes:
    """Draw an observable over one axis of a sweep: the mean over seeds and a band of one deviation.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides `x` and "seed" its dimensions have one value each.
    x : str
        A dimension, or a size of the architectures, as in `phase_diagram`. Of its values those are drawn that
        have a place on the axis: not t = inf, and not t = 0 where the scale is logarithmic. The label of the
        axis names the values that are left out.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default a new figure is made. Its title has the values of the other dimensions.
    log : bool, optional
        Whether the axis of values is logarithmic. By default it stays as it is; in a new figure it is
        logarithmic where no value is negative and the positive ones span a decade, but for the kernel
        distance. Values of 0 have no place on it; the label says so.
    **line
        Properties of the line, such as color and label.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If `x` is no dimension, another one has several values, or values cannot be drawn on a
        logarithmic scale.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> part = ds.fastlin.select(architecture="4-2-2", init_scale=1.0, time=np.inf)
    >>> ax = fl.plot.profile(part.kernel_distance)  # over lam, with a band over seeds
    >>> len(ax.lines[0].get_xdata())  # one point for each lam
    5
    """
    check_instance("da", da, xr.DataArray, seed_statistics.OBSERVABLE)
    check_ax(ax)
    mean, merged = sizes.mean_along(da, (x,))
    mean = scales.drawn(mean, x)
    log = scales.log_values(mean, log) if ax is None or log else False
    if ax is None:
        ax = new_axes(da, x, band=_has_band(da, x, merged))
    draw_profile(da, x, ax, line, log=log, notes=log_notes(mean, log=log))
    return ax


def log_notes(every: xr.DataArray, *, log: bool) -> list[str]:
    """Return the notes in the label of an axis of values: that it is logarithmic, and lacks values of 0."""
    zeros = log and bool((np.abs(every) <= scales.zero(every.name)).any())
    return ["log scale"] * log + [style.without(np.zeros(1))] * zeros


def draw_profile(
    da: xr.DataArray, x: str, ax: Axes, line: Mapping[str, Any], *, log: bool, notes: Sequence[str]
) -> None:
    """Draw one line with its band. Values of 0 have no place on a logarithmic scale and are left out."""
    mean, merged = sizes.mean_along(da, (x,))
    spread = _deviation_along(da, x) if _has_band(da, x, merged) else None
    drawable = scales.drawable(mean[x].values)
    values, centre = mean[x].values[drawable], mean.values[drawable]
    if log:
        centre = np.where(np.abs(centre) <= scales.zero(da.name), np.nan, centre)
    with passing(line):
        properties = style.distinct(len(ax.lines)) | normalize_kwargs(dict(line), Line2D)
        (drawn,) = ax.plot(values, centre, **properties)
    if (alone := np.flatnonzero(_alone(centre))).size and drawn.get_marker() == "None":
        drawn.set(marker=".", markevery=alone.tolist())
    if spread is not None:
        half = spread.values[drawable]
        ax.fill_between(values, centre - half, centre + half, color=drawn.get_color(), alpha=0.2, linewidth=0)
    # Also where no value is finite, so that the axis has its values.
    ax.update_datalim(np.column_stack([values, np.zeros(values.size)]), updatey=False)
    ax.autoscale_view()
    set_axis(ax, "x", x, mean[x].values)
    if log:
        _set_log(ax, scales.zero(da.name))
    else:
        _keep_constant(ax, da.name)
    merging = [f"mean of up to {merged} architectures"] * (merged > 1)
    ax.set_ylabel(style.label(da, *notes, *merging))


def _alone(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are finite and have no finite neighbour, so that no line goes to them."""
    finite = np.isfinite(values)
    beside = np.pad(finite, 1)
    return np.asarray(finite & ~beside[:-2] & ~beside[2:])


def _has_band(da: xr.DataArray, x: str, merged: int) -> bool:
    """Return whether a line has a band: over seeds, and not where architectures are averaged."""
    return merged == 1 and x != "seed" and seed_statistics.deviation(da) is not None


def _deviation_along(da: xr.DataArray, x: str) -> xr.DataArray | None:
    """Return the standard deviation over seeds along `x`, if there is one."""
    if not sizes.is_size(da, x):
        return seed_statistics.deviation_over(da, (x,))
    spread = seed_statistics.deviation(da)
    return (
        None if spread is None else seed_statistics.mean_over(sizes.along(spread, [x], filled=False)[0], (x,))
    )


def _keep_constant(ax: Axes, name: object) -> None:
    """Widen the axis of values where all of them are equal, so that rounding errors do not show."""
    (left, low), (_, high) = ax.dataLim.get_points()
    if np.isfinite([left, low, high]).all():
        ax.update_datalim([(left, end) for end in scales.limits(np.array([low, high]), name)])
        ax.autoscale_view()


def _set_log(ax: Axes, zero: float) -> None:
    """Make the axis of values logarithmic. Its lower end follows the lines, since bands may reach below 0."""
    ax.set_yscale("log")
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])
    positive = heights[np.isfinite(heights) & (heights > zero)]
    if positive.size:
        ax.set_ylim(0.7 * positive.min(), max(positive.max(), ax.dataLim.y1) / 0.7)
        plain_numbers(ax.yaxis, *ax.get_ylim())
    else:
        ax.set_ylim(*scales.EMPTY_LOG)


def trajectories(
    da: xr.DataArray, hue: str | None = None, ax: Axes | None = None, log: bool | None = None, **line: Any
) -> Axes:
    """Draw an observable over time: a line for each value of another axis, up to six of them with bands.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep or of one network; besides "time", `hue` and "seed" its dimensions have one
        value each.
    hue : str, optional
        A dimension of at most 12 values; its order is the order of the colours. By default "lam" or the
        only other dimension that has several values; if there is none, there is one line.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default a new figure is made. Its title has the values of the other dimensions.
    log : bool, optional
        Whether the axis of values is logarithmic, by default as for `profile`.
    **line
        Properties of all lines, such as linewidth.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InputError
        If `hue` is no dimension or has more values, or another dimension has several.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> part = ds.fastlin.select(architecture="4-2-2", init_scale=1.0)
    >>> ax = fl.plot.trajectories(part.loss)
    >>> len(ax.lines)  # one for each lam
    5
    """
    check_instance("da", da, xr.DataArray, seed_statistics.OBSERVABLE)
    check_ax(ax)
    seed_statistics.check_unique(da)
    hue = _default_hue(da) if hue is None else hue
    if hue is None:
        return profile(da, "time", ax, log, **line)
    _check_hue(da, hue)
    # A new figure has space for the legend beside its axes. The axes of a caller may have none.
    legend_position: dict[str, Any] = (
        {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if ax is None else {}
    )
    mean = scales.drawn(seed_statistics.mean(da), "time")
    log = scales.log_values(mean, log) if ax is None or log else False
    notes = log_notes(mean, log=log)
    bands = _has_band(da, "time", 1) and da.sizes[hue] <= MAX_BANDS
    if ax is None:
        ax = new_axes(da, "time", hue, band=bands)
    for index, look in enumerate(_looks(da[hue].values)):
        part = da.isel({hue: index})
        own = look | {"label": _name(part, hue)} | line
        draw_profile(part if bands else seed_statistics.mean(part), "time", ax, own, log=log, notes=notes)
    ax.legend(title=style.words(hue), frameon=False, **legend_position)
    return ax


def _default_hue(da: xr.DataArray) -> str | None:
    """Return the dimension that tells lines apart: "lam", else the only one that has several values."""
    if "lam" in da.dims:
        return "lam"
    several = [str(name) for name in da.dims if name not in NO_HUE and da.sizes[name] > 1]
    return several[0] if len(several) == 1 else None


def _check_hue(da: xr.DataArray, hue: str) -> None:
    """Raise unless the dimension `hue` can tell lines apart."""
    if not da.sizes.get(hue, 1):
        raise InputError(f"{hue} has no values here; there is nothing to draw")
    if hue not in da.dims or hue in ("time", "seed"):
        rest = [str(name) for name in da.dims if name not in NO_HUE]
        hint = suggest(hue, rest) if rest else "there is no other; leave hue out"
        raise InputError(f"{hue!r} is no dimension that tells lines apart; {hint}")
    if da.sizes[hue] > MAX_LINES:
        raise InputError(
            f"{hue} has {da.sizes[hue]} values, and {MAX_LINES} lines can be told apart; "
            f"select some first: .isel({{{hue!r}: slice(None, None, {-(-da.sizes[hue] // MAX_LINES)})}})"
        )


def _looks(values: NDArray[Any]) -> list[dict[str, Any]]:
    """Return colour and dashes of a line for each value: in order for numbers, distinct for names.

    All colours show on white, and in a dark style on black. Lines of negative numbers are dashed, because
    those of -lam and lam are the same for many networks.
    """
    if values.dtype.kind != "f" or values.size <= 2:
        return [style.distinct(index) for index in range(values.size)]
    places = np.linspace(0.0, 1.0, values.size)
    if values.min() < 0 < values.max():
        colours = _SIGNED(places)
    else:
        dark = sum(to_rgb(plt.rcParams["axes.facecolor"])) < 1.5
        low, high = (0.35, 1.0) if dark else (0.0, 0.85)
        colours = colormaps[style.COLOUR_MAP](low + (high - low) * places)
    dashes = np.where(values < 0, "--", "-").tolist()
    return [{"color": colour, "linestyle": dash} for colour, dash in zip(colours, dashes, strict=True)]


def _name(da: xr.DataArray, hue: str) -> str:
    value = da[hue].values
    return f"${style.number(float(value))}$" if value.dtype.kind in "fi" else str(value).replace("_", " ")
