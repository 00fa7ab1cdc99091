"""Phase diagrams: an observable over two axes, in colour, with the borders of the regimes as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize

from fastlin import seed_statistics
from fastlin.errors import InputError
from fastlin.plot import scales, sizes, style
from fastlin.plot.arguments import check_ax, passing
from fastlin.plot.axes import plain_numbers, set_axis
from fastlin.plot.borders import draw_borders, mark_levels
from fastlin.plot.captions import new_axes
from fastlin.validation import check_float, check_instance


def phase_diagram(
    da: xr.DataArray,
    x: str = "lam",
    y: str = "time",
    ax: Axes | None = None,
    contours: float | Sequence[float] = (),
    **mesh: Any,
) -> Axes:
    """Draw an observable over two axes of a sweep, in the mean over seeds.

    Cells without a finite value are left empty and hatched, also those of sizes that no architecture has.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides `x`, `y` and "seed" its dimensions have one value each.
    x, y : str
        Dimensions; or, for "architecture", one or two of its sizes: "n_i", "n_h", "n_o",
        "bottleneck_ratio" (N_h / min(N_i, N_o)). Architectures with the same sizes are averaged, and the
        colour bar says so. An axis of positive, unevenly spaced values is drawn on a logarithmic scale;
        t = 0 has no place on it and t = inf on none. They are left out, and the label of the axis says so.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default a new figure is made. Its title has the values of the other dimensions.
    contours : float or sequence of float, optional
        Values at which lines are drawn, such as `fastlin.observables.regimes.THRESHOLD`. One or two values of
        the kernel distance are the borders of regimes, which are named in the diagram.
    **mesh
        Properties of the mesh, such as cmap, vmin, vmax and norm. The scale of colours is logarithmic with
        norm="log", linear with norm="linear" or a given vmin or vmax. By default it is logarithmic where no
        value is negative and the positive ones span a decade, but for the kernel distance. The mesh is
        the first of the axes' collections that this call adds.

    Returns
    -------
    matplotlib.axes.Axes
        With a colour bar beside it, unless vmin and vmax are given: then panels share a scale, and
        one bar for all is the caller's.

    Raises
    ------
    InputError
        If `x` or `y` is no dimension, they are the same, another dimension has several values, values
        cannot be drawn on a logarithmic scale, or Matplotlib refuses `ax` or a property of the mesh.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> part = ds.fastlin.select(architecture="4-2-2", time=np.inf)
    >>> ax = fl.plot.phase_diagram(part.kernel_distance, x="lam", y="init_scale")
    >>> ax.figure.savefig("phase-diagram.png")
    """
    check_instance("da", da, xr.DataArray, seed_statistics.OBSERVABLE)
    check_ax(ax)
    grid, merged = grid_over(da, x, y)
    ax = new_axes(da, x, y) if ax is None else ax
    shown = scales.drawn(grid, x, y)
    drawn = draw_grid(ax, grid, contours, with_norm(shown, mesh))
    if not {"vmin", "vmax"} <= mesh.keys():
        colour_bar(drawn, [ax], shown, merged)
    return ax


def grid_over(da: xr.DataArray, x: str, y: str) -> tuple[xr.DataArray, int]:
    """Return the mean over seeds, (y, x), and the most architectures of a cell."""
    if x == y:
        raise InputError(f"x and y are {x!r} and {y!r}; two dimensions are needed")
    grid, merged = sizes.mean_along(da, (x, y))
    for name in (x, y):
        if scales.drawable(grid[name].values).sum() < 2:
            raise InputError(f"{name} has fewer than two values that can be drawn; choose another axis")
    return grid.transpose(y, x), merged


def with_norm(da: xr.DataArray, mesh: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties of a mesh with the scale of colours that they and the values ask for."""
    norm = mesh.get("norm")
    if norm is not None and norm not in ("log", "linear"):
        return dict(mesh)
    given = {name: mesh[name] for name in ("vmin", "vmax") if mesh.get(name) is not None}
    limits = {name: check_float(name, _scalar(value)) for name, value in given.items()}
    wanted = norm == "log" if norm or limits else None
    own = scales.colour_norm(da, log=scales.log_values(da, wanted))
    own.vmin, own.vmax = limits.get("vmin", own.vmin), limits.get("vmax", own.vmax)
    _check_limits(own)
    return {name: value for name, value in mesh.items() if name not in ("vmin", "vmax")} | {"norm": own}


def _scalar(value: Any) -> Any:
    """Return the number in an array without dimensions, such as the mean of an observable."""
    return np.asarray(value).item() if np.ndim(value) == 0 else value


def _check_limits(norm: Normalize) -> None:
    """Raise unless a scale of colours goes up, and from a positive value if it is logarithmic."""
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    if low > high:
        raise InputError(f"vmin is {low:g} and vmax is {high:g}; vmin must not be above vmax")
    if isinstance(norm, LogNorm) and low <= 0:
        raise InputError(f"vmin is {low:g}; a logarithmic scale of colours needs a positive one")


def draw_grid(
    ax: Axes, grid: xr.DataArray, contours: float | Sequence[float], mesh: Mapping[str, Any]
) -> QuadMesh:
    """Draw values (y, x) as a mesh with contours where they have a place on the axes, and name the axes."""
    y, x = map(str, grid.dims)
    for letter, name in (("x", x), ("y", y)):
        set_axis(ax, letter, name, grid[name].values)
    grid = scales.drawn(grid, x, y)
    if not np.isfinite(grid.values).all():
        ax.patch.set(hatch="////", edgecolor="0.6", linewidth=0.0)
    borders = scales.edges(grid[x].values), scales.edges(grid[y].values)
    properties: dict[str, Any] = {"cmap": style.COLOUR_MAP, "rasterized": True} | dict(mesh)
    with passing(properties):
        drawn = ax.pcolormesh(*borders, grid.values, **properties)
    draw_borders(ax, grid, contours)
    return drawn


def colour_bar(drawn: QuadMesh, axes: Sequence[Axes], da: xr.DataArray, merged: int) -> None:
    """Draw a colour bar beside axes. Its label names the scale, and the dimensions that are averaged."""
    notes = []
    if isinstance(drawn.norm, LogNorm):
        zeros = bool((da <= scales.zero(da.name)).any())
        notes.append("log scale, 0 in its first colour" if zeros else "log scale")
    if merged > 1:
        notes.append(f"mean of up to {merged} architectures")
    bar = axes[0].figure.colorbar(drawn, ax=list(axes), label=style.label(da, *notes), pad=0.02)
    mark_levels(bar, axes)
    if isinstance(drawn.norm, LogNorm):
        plain_numbers(bar, *drawn.get_clim())
