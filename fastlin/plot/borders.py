"""Borders in phase diagrams: lines where values cross levels, and the names of the regimes between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.contour import ContourSet
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from fastlin.plot import scales
from fastlin.plot.axes import inches
from fastlin.plot.style import LETTERS
from fastlin.validation import check_float

# Light with a dark rim, so that lines and letters show on any colour.
COLOUR, WIDTH = "white", 1.2
RIM: list[AbstractPathEffect] = [withStroke(linewidth=2.4, foreground="#000000a0")]
RASTER = 64  # Points along each side of a diagram, at which a place for a name is sought.
LETTER_HEIGHT = 0.2  # Inches of a line of text.
ROOMY = 0.75  # Share above which a name fits well. It is upright only if it would fit less well otherwise.
LEAST_ROOM = 0.2  # Share of a name's size from its middle to the border, below which it is left out.


def draw_borders(ax: Axes, grid: xr.DataArray, contours: float | Sequence[float]) -> None:
    """Draw lines where values (y, x) cross levels: the highest is solid, all others are dashed.

    One or two levels of the kernel distance are borders of regimes. The regimes are named in the diagram,
    "lazy" below the lowest level and "rich" from the highest one on. Other levels have their number at their
    line.
    """
    several = [contours] if np.ndim(contours) == 0 else list(contours)  # type: ignore[arg-type]
    levels = sorted({check_float("contours", level) for level in several})
    values = np.ma.masked_invalid(grid.values)
    crossed = [level for level in levels if values.min() < level < values.max()]
    if not crossed:
        return
    y, x = grid.dims
    dashes = [dash(level, levels) for level in crossed]
    lines = ax.contour(
        grid[x].values,
        grid[y].values,
        values,
        levels=crossed,
        colors=COLOUR,
        linestyles=dashes,
        linewidths=WIDTH,
    )
    lines.set_path_effects(RIM)
    if grid.name == "kernel_distance" and len(levels) <= 2:
        _name_regime(ax, grid, "lazy", grid.values < levels[0])
        _name_regime(ax, grid, "rich", grid.values >= levels[-1])
    else:
        for text in ax.clabel(lines, fmt="%g", inline=False, colors=COLOUR, fontsize="medium"):
            text.set_path_effects(RIM)


def dash(level: float, levels: Sequence[float]) -> str:
    """Return how the line of a level is drawn."""
    return "solid" if level == max(levels) else "dashed"


def mark_levels(bar: Colorbar, axes: Sequence[Axes]) -> None:
    """Draw the borders of diagrams in their colour bar, too, where the levels can be read."""
    for level, linestyle in _drawn(axes).items():
        line = bar.ax.axhline(level, color=COLOUR, linewidth=WIDTH, linestyle=linestyle)
        line.set_path_effects(RIM)


def drawn_levels(axes: Sequence[Axes]) -> list[float]:
    """Return the levels of the borders that show in diagrams, in ascending order."""
    return sorted(_drawn(axes))


def _drawn(axes: Sequence[Axes]) -> dict[float, str]:
    """Return the line styles of the borders that show in diagrams, by level."""
    found: dict[float, str] = {}
    for lines in (lines for ax in axes for lines in ax.collections if isinstance(lines, ContourSet)):
        if lines.get_path_effects() is RIM:  # others are of the user
            styles: Any = lines.linestyles
            parts = zip(lines.levels, styles, lines.get_paths(), strict=True)
            found |= {float(level): style for level, style, path in parts if np.size(path.vertices)}
    return found


def _name_regime(ax: Axes, grid: xr.DataArray, name: str, inside: NDArray[np.bool_]) -> None:
    """Write a name where a regime is widest, upright in one that is narrow and high."""
    shares = (np.arange(RASTER) + 0.5) / RASTER
    corners = np.stack([shares, shares], axis=-1)
    x, y = (ax.transAxes + ax.transData.inverted()).transform(corners).T
    cells = [
        np.clip(np.searchsorted(scales.edges(grid[dim].values), places) - 1, 0, grid.sizes[dim] - 1)
        for dim, places in zip(grid.dims, (y, x), strict=True)
    ]
    raster = np.pad(inside[np.ix_(*cells)], 1)
    length, high_wide = len(name) / LETTERS, np.array(inches(ax)[::-1])
    places = []
    for rotation, size in ((0.0, (LETTER_HEIGHT, length)), (90.0, (length, LETTER_HEIGHT))):
        room = distance_transform_edt(raster, sampling=high_wide / RASTER / size)[1:-1, 1:-1]
        margins = np.ceil(0.5 * np.array(size) / high_wide * RASTER).astype(int)
        most, row, column = _widest(room, margins)
        places.append((min(most, ROOMY), -rotation, x[column], y[row]))
    room, turned, across, up = max(places)
    if room >= LEAST_ROOM:
        text = ax.text(across, up, name, color=COLOUR, rotation=-turned, clip_on=True)
        text.set(ha="center", va="center", path_effects=RIM)


def _widest(room: NDArray[np.float64], margins: NDArray[np.intp]) -> tuple[float, int, int]:
    """Return the most room, and the place in the middle of all that have it.

    A place in the margins is taken only if there is too little room elsewhere, and is then moved out of them.
    """
    inner = np.zeros(room.shape)
    free = tuple(slice(margin, size - margin) for margin, size in zip(margins, room.shape, strict=True))
    inner[free] = room[free]
    sought = inner if inner.max() >= LEAST_ROOM else room
    best = np.argwhere(sought >= 0.98 * sought.max())
    place = best[np.argmin(((best - best.mean(axis=0)) ** 2).sum(axis=1))]
    margins = np.minimum(margins, RASTER // 2 - 1)
    row, column = np.clip(place, margins, RASTER - 1 - margins)
    return float(sought.max()), int(row), int(column)
