"""Phase diagrams: an observable over two axes, in colour, with the borders of the regimes as lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fastlin import seed_statistics
from fastlin.architecture import sizes_of
from fastlin.errors import InputError
from fastlin.plot import style
from fastlin.validation import check_float, check_instance

SIZES = ("n_i", "n_h", "n_o", "bottleneck_ratio")


def phase_diagram(
    da: xr.DataArray,
    x: str = "lam",
    y: str = "time",
    ax: Axes | None = None,
    contours: float | Sequence[float] = (),
    **mesh: Any,
) -> Axes:
    """Draw an observable over two axes of a sweep, in the mean over seeds.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides `x`, `y` and "seed" its dimensions have one value each.
    x, y : str
        Dimensions; or, for "architecture", one or two of its sizes: "n_i", "n_h", "n_o",
        "bottleneck_ratio" (N_h / min(N_i, N_o)), no two architectures with the same. An axis of positive,
        unevenly spaced values is drawn on a logarithmic scale; t = 0 has no place on it and t = inf on
        none, so these are left out.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    contours : float or sequence of float, optional
        Values at which lines are drawn, such as `fastlin.regimes.THRESHOLD`.
    **mesh
        Properties of the mesh, such as cmap, vmin and vmax. It is the first of the axes' collections that
        this call adds.

    Returns
    -------
    matplotlib.axes.Axes
        With a colour bar beside it, unless vmin and vmax are given: then panels share a scale, and
        one bar for all is the caller's.

    Raises
    ------
    InputError
        If `x` or `y` is no dimension, they are the same, or another dimension has several values.
    """
    check_instance("da", da, xr.DataArray, seed_statistics.OBSERVABLE)
    da = _with_sizes(da)
    if x == y:
        raise InputError(f"x and y are {x!r} and {y!r}; two dimensions are needed")
    sizes = [name for name in (x, y) if name in SIZES and name in da.coords and name not in da.dims]
    if len(sizes) == 2:
        grid = _over_two_sizes(da, x, y)
    else:
        grid = seed_statistics.mean_over(along_size(da, sizes[0]) if sizes else da, (x, y))
    grid = grid.transpose(y, x)
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    for name, axis in ((x, ax.xaxis), (y, ax.yaxis)):
        values = np.asarray(grid[name].values, dtype=float)
        grid = grid.isel({name: np.flatnonzero(style.drawable(values))})
        if grid.sizes[name] < 2:
            raise InputError(f"{name} has fewer than two values that can be drawn; choose another axis")
        if style.logarithmic(values):
            axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        if name in ("n_i", "n_h", "n_o"):
            axis.set_major_locator(MaxNLocator(integer=True))
    properties: dict[str, Any] = {"cmap": style.COLOUR_MAP, "rasterized": True} | mesh
    borders = style.edges(grid[x].values), style.edges(grid[y].values)
    drawn = ax.pcolormesh(*borders, grid.values, **properties)
    _contours(ax, grid, x, y, contours)
    ax.set_xlabel(style.SYMBOLS.get(x, x))
    ax.set_ylabel(style.SYMBOLS.get(y, y))
    if not {"vmin", "vmax"} <= mesh.keys():
        ax.figure.colorbar(drawn, ax=ax, label=style.label(da))
    return ax


def _with_sizes(da: xr.DataArray) -> xr.DataArray:
    """Return an observable with the sizes that the names of its architectures say."""
    if "architecture" not in da.dims or "architecture" not in da.coords:
        return da
    sizes = sizes_of(da["architecture"].values)
    return da.assign_coords({name: ("architecture", values) for name, values in sizes.items()})


def along_size(da: xr.DataArray, name: str) -> xr.DataArray:
    """Return an observable along a size of its architectures instead of their names, rising.

    Raises
    ------
    InputError
        If there is one architecture, or two have the same.
    """
    _check_distinct(da, (name,))
    return da.swap_dims(architecture=name).sortby(name)


def _over_two_sizes(da: xr.DataArray, x: str, y: str) -> xr.DataArray:
    """Return the mean over seeds along two sizes of the architectures; NaN where no architecture has both."""
    _check_distinct(da, (x, y))
    numbered = da.assign_coords(architecture=np.arange(da.sizes["architecture"]))
    means = seed_statistics.mean_over(numbered, ("architecture",))
    others = [name for name in means.coords if name not in ("architecture", x, y)]
    return means.drop_vars(others).set_index(architecture=[x, y]).unstack("architecture")


def _check_distinct(da: xr.DataArray, names: tuple[str, ...]) -> None:
    """Raise where two architectures have the same sizes, or there is one architecture."""
    if "architecture" not in da.dims:
        raise InputError(f"{names[0]} is an axis where there are several architectures; here is one")
    counts = Counter(zip(*(da[name].values.tolist() for name in names), strict=True))
    same, count = counts.most_common(1)[0]
    if count > 1:
        values = " and ".join(f"{name} is {value:g}" for name, value in zip(names, same, strict=True))
        raise InputError(f"{values} for more than one architecture; select some with different values first")


def _contours(ax: Axes, grid: xr.DataArray, x: str, y: str, wanted: float | Sequence[float]) -> None:
    """Draw lines where the grid crosses levels, light with a dark rim so that they show on any colour."""
    several = [wanted] if np.ndim(wanted) == 0 else list(wanted)  # type: ignore[arg-type]
    levels = sorted({check_float("contours", level) for level in several})
    values = np.ma.masked_invalid(grid.values)
    crossed = [level for level in levels if values.min() < level < values.max()]
    if not crossed:
        return
    styles = ["solid" if level == max(levels) else "dashed" for level in crossed]
    lines = ax.contour(
        grid[x].values, grid[y].values, values, levels=crossed, colors="w", linestyles=styles, linewidths=1.2
    )
    lines.set_path_effects([patheffects.withStroke(linewidth=2.4, foreground="#00000090")])
