"""Pages of the picture of a sweep: a phase diagram for each architecture, or one over their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure

from fastlin import seed_statistics
from fastlin.errors import InputError
from fastlin.observables.regimes import THRESHOLD
from fastlin.plot import scales, sizes
from fastlin.plot.axes import inches
from fastlin.plot.borders import drawn_levels
from fastlin.plot.captions import regimes, where, wrapped
from fastlin.plot.fitting import sizing_fault
from fastlin.plot.lines import MAX_BANDS, draw_profile, log_notes
from fastlin.plot.planes import colour_bar, draw_grid, grid_over
from fastlin.plot.style import (
    LETTERS,
    WIDTH,
    Style,
    architectures,
    default_index,
    distinct,
    fits,
    symbol,
    words,
)

PER_PAGE = 12  # Architectures on a page. This number of lines can be distinguished.
IN_ONE_ROW = 4  # Diagrams in the row of the profile.
# Inches by default of a row of diagrams, of the lines below all rows, and of the caption above them.
ROW, LINES, CAPTION = 2.2, 2.8, 0.6
LEAST_ROW, LEAST_REST = 0.9, 3.0  # Inches of a row, and of lines and caption, that can be drawn.
AROUND = 0.8  # Inches of a row for titles, numbers and gaps.
BESIDE = 1.5  # Inches of the colour bar and the names of axes beside diagrams.
NARROW = 2.3  # Inches of a place in a row below which diagrams stand above the lines.


@dataclass(frozen=True, eq=False)
class Pages:
    """The pages of a picture of a sweep, each drawn when it is iterated over; from `pages`.

    Examples
    --------
    >>> drawn = fl.plot.pages(fl.open_sweep("small.zarr"), style=fl.plot.Style(size=(9.0, 4.0)))
    >>> len(drawn), drawn.per_page
    (1, 4)
    >>> figure = next(iter(drawn))
    """

    da: xr.DataArray
    x: str
    y: str
    style: Style
    caption: tuple[str, ...]
    log: bool  # Whether values have a logarithmic scale, in all panels of all pages.

    def __len__(self) -> int:
        return 1 if self._over_sizes else -(-self.da.sizes["architecture"] // self.per_page)

    def __iter__(self) -> Iterator[Figure]:
        if self._over_sizes:
            yield self._checked(self._all_sizes())
            return
        for first in range(0, self.da.sizes["architecture"], self.per_page):
            yield self._checked(self._page(first))

    @property
    def per_page(self) -> int:
        """Number of architectures on a page: 12, or as many rows of diagrams as fit a lower page."""
        if self.style.size is None or self._flat:
            return PER_PAGE
        rows = int((self.style.size[1] - LEAST_REST) / LEAST_ROW)
        return min(PER_PAGE, IN_ONE_ROW * max(rows, 1))

    @cached_property
    def _means(self) -> xr.DataArray:
        """The means over seeds of all pages, whose scales span them."""
        return seed_statistics.mean(self.da)

    @property
    def _over_sizes(self) -> bool:
        return self.x in sizes.SIZES or self.y in sizes.SIZES

    @property
    def _flat(self) -> bool:
        """Whether there is no diagram: `y` has one value, and a line shows it."""
        return self.y not in self.da.dims and self.y not in sizes.SIZES

    @property
    def _bands(self) -> bool:
        few = self.da.sizes["architecture"] <= MAX_BANDS or self._over_sizes
        return few and seed_statistics.deviation(self.da) is not None

    def _mesh(self, values: xr.DataArray) -> dict[str, Any]:
        """Return the properties of all meshes: the colours and their scale, which spans the drawn values."""
        return {"norm": scales.colour_norm(values, log=self.log), "cmap": self.style.cmap}

    def _contours(self) -> tuple[float, ...]:
        return THRESHOLD if self.da.name == "kernel_distance" else ()

    def _figure(self, width: float, height: float) -> Figure:
        figure = plt.figure(figsize=self.style.size or (width, height), layout="constrained")
        figure.set_layout_engine("constrained", w_pad=0.08)
        return figure

    def _add_caption(self, figure: Figure, *parts: str) -> None:
        lines = regimes(drawn_levels(figure.axes))
        text = wrapped(
            [self.caption[0], *lines, *self.caption[1:], *parts], int(LETTERS * figure.get_figwidth())
        )
        figure.suptitle(text, fontsize="medium")

    def _checked(self, figure: Figure) -> Figure:
        """Return a figure. Raise `InputError` if its size was given, and its panels do not fit it."""
        if self.style.size is not None and (fault := sizing_fault(figure)):
            plt.close(figure)
            width, height = self.style.size
            raise InputError(f"size is {width:g} x {height:g} inches, too small for the axes {fault}")
        return figure

    def _all_sizes(self) -> Figure:
        """Draw one diagram, or one line, with the architectures along an axis."""
        figure = self._figure(WIDTH, 5.0)
        ax = figure.subplots()
        da = scales.drawn(self.da, *({self.x, self.y} & set(self.da.dims)))
        if self._flat:
            values = log_notes(seed_statistics.mean(da), log=self.log)
            draw_profile(da, self.x, ax, {"marker": "."}, log=self.log, notes=values)
            notes = ["band: one standard deviation"] * (len(ax.collections) > 0)
        else:
            grid, merged = grid_over(da, self.x, self.y)
            drawn = draw_grid(ax, grid, self._contours(), self._mesh(grid))
            colour_bar(drawn, [ax], grid, merged)
            notes = ["hatched: no value"] * (not np.isfinite(grid.values).all())
        self._add_caption(figure, *notes)
        return figure

    def _page(self, first: int) -> Figure:
        """Draw a phase diagram for each architecture of a page, and all at the default value of `y`."""
        shown = self.da.isel(architecture=slice(first, first + self.per_page))
        if self._flat:
            figure = self._figure(WIDTH, 4.0)
            last = figure.subplots()
        elif self._fits_a_row(shown.sizes["architecture"]):
            figure, last = self._row(shown)
        else:
            figure, last = self._rows(shown)
        self._draw_lines(last, shown)
        notes = [f"page {first // self.per_page + 1} of {len(self)}"] * (len(self) > 1)
        notes += ["bands: one standard deviation"] * self._bands
        self._add_caption(figure, *notes)
        return figure

    def _fits_a_row(self, count: int) -> bool:
        """Return whether all diagrams stand in a row with colour bar and lines, which take two places."""
        width = WIDTH if self.style.size is None else self.style.size[0]
        return count <= IN_ONE_ROW and len(self) == 1 and width >= NARROW * (count + 2)

    def _row(self, shown: xr.DataArray) -> tuple[Figure, Axes]:
        """Draw the diagrams in one row, and return the figure and the axes for lines beside them."""
        count = shown.sizes["architecture"]
        figure = self._figure(WIDTH, 3.4)
        *diagrams, last = figure.subplots(1, count + 1, squeeze=False)[0]
        place = figure.get_figwidth() / (count + 2), figure.get_figheight() - AROUND - CAPTION
        self._draw_diagrams(diagrams, shown, count, place)
        return figure, last

    def _rows(self, shown: xr.DataArray) -> tuple[Figure, Axes]:
        """Draw the diagrams in rows, and return the figure and the axes for lines below them."""
        count = shown.sizes["architecture"]
        columns = 3 if count in (5, 6, 9) else min(count, IN_ONE_ROW)
        rows = -(-count // columns)
        height = ROW * rows + LINES + CAPTION
        figure = self._figure(WIDTH, height)
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[ROW * rows, LINES])[:, 0]
        grid = top.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        width = (figure.get_figwidth() - BESIDE) / columns
        place = width, ROW / height * figure.get_figheight() - AROUND
        self._draw_diagrams(list(grid[:count]), shown, columns, place)
        for ax in grid[count:]:
            ax.set_visible(False)
        return figure, bottom.subplots()

    def _draw_diagrams(
        self, axes: list[Axes], shown: xr.DataArray, columns: int, place: tuple[float, float]
    ) -> None:
        """Draw a phase diagram for each architecture in a place of so many inches, and a colour bar."""
        means = scales.drawn(self._means, self.x, self.y)
        mesh = self._mesh(means)
        names = architectures(shown)
        narrow = max(len(f"{shape.family} {shape}") for shape in names) > LETTERS * place[0]
        part = scales.drawn(shown, self.x, self.y)
        for index, (ax, shape) in enumerate(zip(axes, names, strict=True)):
            grid, _ = grid_over(part.isel(architecture=index), self.x, self.y)
            drawn = draw_grid(ax, grid, self._contours(), mesh)
            ax.set_title(("\n" if narrow else " ").join((shape.family, str(shape))), fontsize="medium")
            # The lowest of each column names its axis, also above an empty place.
            _name_axis(ax.xaxis, self.x, place[0], named=index + columns >= len(axes))
            _name_axis(ax.yaxis, self.y, place[1], named=index % columns == 0)
        colour_bar(drawn, axes, means, 1)

    def _draw_lines(self, ax: Axes, shown: xr.DataArray) -> None:
        """Draw a line for each architecture at the default value of `y`. All pages have the same scale."""
        every = scales.drawn(self._late(self._means), self.x)
        values = log_notes(every, log=self.log)
        late = scales.drawn(self._late(shown), self.x)
        for index, shape in enumerate(architectures(shown)):
            part = late.isel(architecture=index)
            part = part if self._bands else seed_statistics.mean(part)
            line = distinct(index) | {"label": f"{shape.family} {shape}"}
            draw_profile(part, self.x, ax, line, log=self.log, notes=values)
        if len(self) > 1:
            _set_limits(ax, every, log=self.log)
        if not self._flat:
            title = wrapped([where(late, self.x)], int(LETTERS * inches(ax)[0]))
            ax.set_title(title, fontsize="medium")
        if len(ax.lines) > 1 or self._flat:
            ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def _late(self, da: xr.DataArray) -> xr.DataArray:
        """Return an observable at the default value of `y`."""
        return da.isel({self.y: default_index(self.y, da[self.y].values)}) if self.y in da.dims else da


def _name_axis(axis: Axis, name: str, length: float, *, named: bool) -> None:
    """Write the name and the numbers of an axis if it is `named`.

    Where the name does not fit so many inches, only its symbol is written, or the name in lines if it has
    none.
    """
    text = words(name) if fits(name, length) else symbol(name)
    text = text if "$" in text else wrapped([text], int(LETTERS * length))
    axis.set_label_text(text if named else "")
    side = "labelbottom" if isinstance(axis, XAxis) else "labelleft"
    axis.set_tick_params(which="both", **{side: named})


def _set_limits(ax: Axes, every: xr.DataArray, *, log: bool) -> None:
    """Set the limits of the axis of values by those of all architectures, with a margin."""
    low, high = scales.colour_limits(every, log=log)
    if log:
        ax.set_ylim(0.7 * low, high / 0.7)
    elif high > low:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
