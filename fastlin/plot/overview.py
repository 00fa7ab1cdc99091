"""Pictures of a whole sweep: a phase diagram for each architecture, or one over the architectures' sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastlin import seed_statistics
from fastlin.errors import InputError
from fastlin.observables import REGISTRY
from fastlin.plot import scales, sizes
from fastlin.plot.lines import profile
from fastlin.plot.planes import colour_bar, draw_grid, grid_over, with_norm
from fastlin.plot.style import (
    COLOURS,
    DEFAULT_STYLE,
    SIZE_NAMES,
    SYMBOLS,
    Style,
    architectures,
    default_index,
    number,
)
from fastlin.regimes import THRESHOLD
from fastlin.validation import suggest

PER_PAGE = 12  # Architectures on a page; so many lines can be told apart.
MAX_PAGES = 100
MANY = 48  # From more architectures than these on, the default axes are their sizes.
IN_ONE_ROW = 4  # Diagrams that stand in a row with the profile.
MAX_BANDS = 6  # More bands hide each other.
NAMES_OF_NORMS = {True: "log", False: "linear", None: None}
LETTERS = 12  # Letters of a caption that fit an inch.
X_AXES = ("lam", "init_scale", "time", "learning_rate")
Y_AXES = ("init_scale", "time", "lam", "learning_rate")


def sweep(
    dataset: xr.Dataset,
    observable: str = "kernel_distance",
    x: str | None = None,
    y: str | None = None,
    style: Style = DEFAULT_STYLE,
) -> Figure:
    """Draw a sweep on one page; see `pages`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        As of `pages`, and if there are several.
    """
    drawn = pages(dataset, observable, x, y, style)
    if len(drawn) > 1:
        raise InputError(
            f"the sweep has {drawn.da.sizes['architecture']} architectures, and {PER_PAGE} fit a page; draw "
            "them by fl.plot.pages, draw over their sizes, as with x='n_i', y='n_h', or select some first"
        )
    return next(iter(drawn))


def pages(
    dataset: xr.Dataset,
    observable: str = "kernel_distance",
    x: str | None = None,
    y: str | None = None,
    style: Style = DEFAULT_STYLE,
) -> Pages:
    """Draw a sweep: for each architecture a phase diagram, and a line at one value of the vertical axis.

    A page holds 12 architectures; all pages have the same scales. Of the kernel distance, the borders of the
    regimes are drawn, too.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fastlin.open_sweep`, or a selection that has kept its dimensions.
    observable : str
        One of the dataset's.
    x : str, optional
        Horizontal axis of all panels; by default "lam" or the first axis that has several values.
        One of the sizes "n_i", "n_h", "n_o" and "bottleneck_ratio" as `x` or `y`, or one as each, makes
        one diagram of all architectures. Those of the same sizes are averaged. If there are more than 48
        architectures and neither `x` nor `y` is given, these are the two sizes that vary most.
    y : str, optional
        Vertical axis of the phase diagrams; by default init_scale if it has several values, else time.
    style : fastlin.plot.Style
        Scale of the values, size in inches and colour map.

    Returns
    -------
    Pages
        ``len(pages)`` is their number. Each is drawn when it is iterated over, as a
        matplotlib.figure.Figure; ``matplotlib.pyplot.close`` it before the next if there are many.

    Raises
    ------
    InputError
        If the observable is not in the dataset, the axes do not fit, values cannot be drawn on a
        logarithmic scale, or there are more than 100 pages.
    """
    da, done = _done(dataset, observable)
    x, y = _axes(da, x, y)
    kept = (x, y, "architecture", "seed", "statistic")
    others = {str(d): default_index(str(d), da[str(d)].values) for d in da.dims if d not in kept}
    da = da.isel(others).load()
    if x in da.dims and scales.drawable(da[x].values).sum() < 2:
        raise InputError(f"{x} has fewer than two values that can be drawn; choose another axis")
    drawn = Pages(da, x, y, style, _caption(dataset, da, done))
    if len(drawn) > MAX_PAGES:
        raise InputError(
            f"{da.sizes['architecture']} architectures make {len(drawn)} pages, and at most {MAX_PAGES} are "
            "drawn; draw over their sizes, as with n_i and n_h, or select some first"
        )
    return drawn


def _done(dataset: xr.Dataset, observable: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return an observable where points are done, and where that is."""
    stored = [name for name in REGISTRY if name in dataset]
    if observable not in stored:
        raise InputError(f"observable {observable!r} is not in the store; {suggest(observable, stored)}")
    if "architecture" not in dataset.dims or dataset.status.dtype.kind not in "UTO":
        raise InputError("this is no whole sweep from open_sweep(path); draw a part with phase_diagram")
    done = dataset["count"] > 0 if "count" in dataset else dataset.status == "ok"
    if not done.any():
        raise InputError("no point of the sweep is ok: they are pending, diverged or failed; nothing to draw")
    da = dataset[observable].where(done)
    da.attrs = dataset[observable].attrs
    if da.sizes.get("layer", 1) > 1:
        raise InputError(f"{observable} has a value per layer; select one, as by layer=w1")
    return da, done


def _axes(da: xr.DataArray, x: str | None, y: str | None) -> tuple[str, str]:
    """Return the axes of the diagrams: those that were given, and defaults for the others."""
    numeric = [str(name) for name in da.dims if da[name].dtype.kind == "f"]
    for name in (x, y):
        if name is not None and name not in (*numeric, *sizes.SIZES):
            raise InputError(f"{name!r} is no axis to draw over; {suggest(name, [*numeric, *sizes.SIZES])}")
    varying = [name for name in X_AXES if name in numeric and scales.drawable(da[name].values).sum() > 1]
    if x is None and y is None and (da.sizes["architecture"] > MANY or not varying):
        counts = {name: np.unique(da[name].values).size for name in SIZE_NAMES}
        most = sorted(sorted(counts, key=lambda name: -counts[name])[:2], key=SIZE_NAMES.index)
        if min(counts[name] for name in most) > 1:
            return most[0], most[1]
        x = max(counts, key=lambda name: counts[name])
    x = x or next((name for name in varying if name != y), "lam")
    several = [name for name in Y_AXES if name != x and da.sizes.get(name, 1) > 1]
    return x, y or next(iter(several), "time")


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
        """Return the properties of all meshes: the colours and their scale, which spans what is drawn."""
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
        text = _wrapped(
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
        ax.set_title(_where(late, self.x))
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
            for ax in grid[count - columns : count]:  # The lowest of each column, also above an empty place.
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
        for index, (ax, shape) in enumerate(zip(axes, architectures(shown), strict=True)):
            grid, _ = grid_over(shown.isel(architecture=index), self.x, self.y)
            drawn = draw_grid(ax, grid, self._contours(), mesh)
            ax.set_title(f"{shape.family} {shape}", fontsize="medium")
            ax.label_outer()
        colour_bar(drawn, axes, means, 1)

    def _draw_lines(self, ax: Axes, shown: xr.DataArray) -> None:
        """Draw a line for each architecture at the default value of `y`; all pages have the same scale."""
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
        ax.set_title(_where(late, self.x), fontsize="medium")
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


def _caption(dataset: xr.Dataset, da: xr.DataArray, done: xr.DataArray) -> tuple[str, ...]:
    """Return parts of a text: what is averaged, and what was chosen where the sweep has more."""
    title = str(dataset.attrs.get("title", "sweep")).replace("$", r"\$")
    parts = [f"{title}: {str(da.name).replace('_', ' ')}{_seeds(dataset, da)}"]
    if "layer" in da.coords:
        parts[0] += f" of {str(da['layer'].values).upper()}"
    for name in ("solver", "init_scale", "learning_rate", "lam", "time"):
        if name in da.coords and da[name].ndim == 0 and dataset.sizes.get(name, 1) > 1:
            value = da[name].item()
            shown = value if isinstance(value, str) else f"${number(value)}$"
            # A no-break space keeps lines from being broken within a formula.
            parts.append(f"{SYMBOLS.get(name, name)}\u00a0=\u00a0{shown} of {dataset.sizes[name]} values")
    if not done.all():
        parts.append(f"{100 * float(done.mean()):.0f} % of the points are ok")
    return tuple(parts)


def _wrapped(parts: Sequence[str], width: int) -> str:
    """Return parts of a text in lines, broken between parts where that is possible."""
    lines = [parts[0]]
    for part in parts[1:]:
        line = f"{lines[-1]}; {part}"
        lines[-1:] = [line] if len(line) <= width else [f"{lines[-1]};", part]
    return "\n".join(fill(line, width) for line in lines)


def _seeds(dataset: xr.Dataset, da: xr.DataArray) -> str:
    """Return over which seeds an observable is averaged, in words."""
    count = int(dataset["count"].max()) if "statistic" in da.dims else da.sizes.get("seed", 0)
    if count == 1 and "seed" in da.coords:
        return f", seed {da['seed'].values.ravel()[0]}"
    return f", mean over {count:,} seeds" if count else ""


def _where(da: xr.DataArray, x: str) -> str:
    """Return at which solver, time, lam and scale a profile was taken, in words."""
    parts = [str(da["solver"].values).replace("_", " ")] if "solver" in da.coords else []
    for name, symbol in (("time", r"t/\tau"), ("lam", r"\lambda"), ("init_scale", r"\sigma")):
        if name != x and name in da.coords and da[name].ndim == 0:
            value = float(da[name])
            parts.append(f"${symbol} = {number(value)}$")
    return ", ".join(parts)
