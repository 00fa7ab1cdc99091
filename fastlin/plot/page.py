"""Pages of the picture of a sweep: a phase diagram for each architecture, or one over their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastlin import seed_statistics
from fastlin.plot import scales, sizes
from fastlin.plot.captions import where, wrapped
from fastlin.plot.lines import profile
from fastlin.plot.planes import colour_bar, draw_grid, grid_over, with_norm
from fastlin.plot.style import COLOURS, SYMBOLS, Style, architectures, default_index
from fastlin.regimes import THRESHOLD

PER_PAGE = 12  # Architectures on a page. This number of lines can be distinguished.
IN_ONE_ROW = 4  # Diagrams in the row of the profile.
MAX_BANDS = 6  # More bands hide each other.
LETTERS = 12  # Letters of a caption that fit an inch.
NAMES_OF_NORMS = {True: "log", False: "linear", None: None}


@dataclass(frozen=True, eq=False)
class Pages:
    """The pages of a picture of a sweep, each drawn when it is iterated over; from `pages`."""

    da: xr.DataArray
    x: str
    y: str
    style: Style
    caption: tuple[str, ...]

    def __len__(self) -> int:
        return 1 if self._over_sizes else -(-self.da.sizes["architecture"] // PER_PAGE)

    def __iter__(self) -> Iterator[Figure]:
        if self._over_sizes:
            yield self._all_sizes()
            return
        for first in range(0, self.da.sizes["architecture"], PER_PAGE):
            yield self._page(first)

    @property
    def _over_sizes(self) -> bool:
        return self.x in sizes.SIZES or self.y in sizes.SIZES

    @property
    def _flat(self) -> bool:
        """Whether there is one row at most: that is no diagram, and a line shows it."""
        if self.y in sizes.SIZES:
            return False
        return self.y not in self.da.dims or int(scales.drawable(self.da[self.y].values).sum()) < 2

    @property
    def _bands(self) -> bool:
        few = self.da.sizes["architecture"] <= MAX_BANDS or self._over_sizes
        return few and seed_statistics.deviation(self.da) is not None

    def _mesh(self, values: xr.DataArray) -> dict[str, Any]:
        """Return the properties of all meshes: the colours and their scale, which spans the drawn values."""
        return with_norm(values, {"norm": NAMES_OF_NORMS[self.style.log], "cmap": self.style.cmap})

    def _contours(self) -> tuple[float, ...]:
        return THRESHOLD if self.da.name == "kernel_distance" else ()

    def _figure(self, width: float, height: float) -> Figure:
        figure = plt.figure(figsize=self.style.size or (width, height), layout="constrained")
        figure.set_layout_engine("constrained", w_pad=0.08)
        return figure

    def _add_caption(self, figure: Figure, *parts: str) -> None:
        lines = f"lines: lazy below {THRESHOLD[0]:g} (dashed), rich from {THRESHOLD[1]:g} (solid)"
        contours = [lines] if self._contours() and not self._flat else []
        text = wrapped(
            [self.caption[0], *contours, *self.caption[1:], *parts], int(LETTERS * figure.get_figwidth())
        )
        figure.suptitle(text, fontsize="medium")

    def _all_sizes(self) -> Figure:
        """Draw one diagram, or one line, with the architectures along an axis."""
        figure = self._figure(6.4, 4.4)
        ax = figure.subplots()
        if self._flat:
            late = self._late(self.da)
            log = scales.log_values(seed_statistics.mean(late), self.style.log)
            profile(late, self.x, ax, log, marker=".")
            notes = ["band: one standard deviation"] * (len(ax.collections) > 0)
        else:
            late = self.da
            grid, merged = grid_over(self.da, self.x, self.y)
            drawn = draw_grid(ax, grid, self._contours(), self._mesh(grid))
            colour_bar(drawn, [ax], grid, merged)
            notes = ["hatched: no value"] * (not np.isfinite(grid.values).all())
        ax.set_title(where(late, self.x))
        self._add_caption(figure, *notes)
        return figure

    def _page(self, first: int) -> Figure:
        """Draw a phase diagram for each of 12 architectures, and all of them at the default value of `y`."""
        shown = self.da.isel(architecture=slice(first, first + PER_PAGE))
        count = shown.sizes["architecture"]
        if self._flat:
            figure = self._figure(6.4, 4.0)
            last = figure.subplots()
        elif count <= IN_ONE_ROW and len(self) == 1:
            figure = self._figure(2.7 * count + 5.0, 2.8)
            *diagrams, last = figure.subplots(1, count + 1, squeeze=False)[0]
            self._draw_diagrams(diagrams, shown)
        else:
            columns = 3 if count in (5, 6, 9) else IN_ONE_ROW
            rows = -(-count // columns)
            figure = self._figure(11.4, 2.3 * rows + 3.4)
            top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.3 * rows, 2.8])[:, 0]
            grid = top.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
            self._draw_diagrams(list(grid[:count]), shown)
            for ax in grid[
                max(0, count - columns) : count
            ]:  # The lowest of each column, also above an empty place.
                ax.tick_params(labelbottom=True)
                ax.set_xlabel(SYMBOLS[self.x])
            for ax in grid[count:]:
                ax.set_visible(False)
            last = bottom.subplots()
        self._draw_lines(last, shown)
        notes = [f"page {first // PER_PAGE + 1} of {len(self)}"] * (len(self) > 1)
        notes += ["bands: one standard deviation"] * self._bands
        self._add_caption(figure, *notes)
        return figure

    def _draw_diagrams(self, axes: list[Axes], shown: xr.DataArray) -> None:
        """Draw a phase diagram for each architecture, and one colour bar for all."""
        means = seed_statistics.mean(self.da)
        for name in (self.x, self.y):
            means = means.isel({name: np.flatnonzero(scales.drawable(means[name].values))})
        mesh = self._mesh(means)
        figure = axes[0].figure
        # Beside the diagrams are the colour bar and the lines, which take as much as two diagrams.
        narrow = figure.bbox.width / figure.dpi / (len(axes) + 2) < 2.0
        for index, (ax, shape) in enumerate(zip(axes, architectures(shown), strict=True)):
            grid, _ = grid_over(shown.isel(architecture=index), self.x, self.y)
            drawn = draw_grid(ax, grid, self._contours(), mesh)
            ax.set_title(("\n" if narrow else " ").join((shape.family, str(shape))), fontsize="medium")
            ax.label_outer()
        colour_bar(drawn, axes, means, 1)

    def _draw_lines(self, ax: Axes, shown: xr.DataArray) -> None:
        """Draw a line for each architecture at the default value of `y`. All pages have the same scale."""
        every = seed_statistics.mean(self._late(self.da))
        log = scales.log_values(every, self.style.log)
        late = self._late(shown)
        for index, shape in enumerate(architectures(shown)):
            colour, dash = COLOURS[index % len(COLOURS)], "-" if index < len(COLOURS) else "--"
            one = late.isel(architecture=index)
            one = one if self._bands else seed_statistics.mean(one)
            profile(one, self.x, ax, log, color=colour, linestyle=dash, label=f"{shape.family} {shape}")
        if len(self) > 1:
            _set_limits(ax, every, log=log)
        ax.set_title(where(late, self.x), fontsize="medium")
        if len(ax.lines) > 1 or self._flat:
            ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def _late(self, da: xr.DataArray) -> xr.DataArray:
        """Return an observable at the default value of `y`."""
        return da.isel({self.y: default_index(self.y, da[self.y].values)}) if self.y in da.dims else da


def _set_limits(ax: Axes, every: xr.DataArray, *, log: bool) -> None:
    """Set the limits of the axis of values by those of all architectures, with a margin."""
    limits = scales.colour_norm(every.values, log=log)
    low, high = float(limits.vmin or 0.0), float(limits.vmax or 0.0)
    if log:
        ax.set_ylim(0.7 * low, high / 0.7)
    elif high > low:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
