"""The picture of a whole sweep: which part of it, over which axes, on how many pages."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from fastlin import seed_statistics
from fastlin.architecture import sizes_of
from fastlin.errors import InputError
from fastlin.observables.registry import REGISTRY
from fastlin.observables.stages import OF_SEQUENCE
from fastlin.plot import scales, sizes
from fastlin.plot.captions import caption
from fastlin.plot.page import Pages
from fastlin.plot.style import DEFAULT_STYLE, SIZE_NAMES, Style, default_index, parameter_axes
from fastlin.validation import check_instance, shown, suggest

MAX_PAGES = 100
MANY = 48  # The default axes are the sizes if there are more architectures than this.
X_AXES = ("lam", "kappa", "init_scale", "time", "rate_ratio", "learning_rate")
Y_AXES = ("kappa", "init_scale", "time", "lam", "rate_ratio", "learning_rate")


def sweep(
    dataset: xr.Dataset,
    observable: str = "kernel_distance",
    x: str | None = None,
    y: str | None = None,
    style: Style = DEFAULT_STYLE,
) -> Figure:
    """Draw a sweep on one page.

    Parameters
    ----------
    dataset, observable, x, y, style
        As for `pages`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        As for `pages`, and if the sweep takes several pages.

    Examples
    --------
    >>> figure = fl.plot.sweep(fl.open_sweep("small.zarr"), "loss", x="lam", y="init_scale")
    >>> figure.savefig("small.png")
    """
    drawn = pages(dataset, observable, x, y, style)
    if len(drawn) > 1:
        count = drawn.da.sizes["architecture"]
        raise InputError(
            f"the sweep has {count} architectures, and {drawn.per_page} fit a page; draw "
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

    A page holds 12 architectures, or fewer if its height is given and low. All pages have the same scales.
    Diagrams of the kernel distance show the borders of the regimes. The caption names the values of all axes
    that are not drawn. It also names values that have no place on an axis, such as t = inf.

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
        Vertical axis of the phase diagrams; by default the first of kappa, init_scale, time and so on that
        has several values.
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

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> drawn = fl.plot.pages(ds, x="lam", y="init_scale")
    >>> len(drawn)  # three architectures fit one page
    1
    >>> for number, figure in enumerate(drawn, start=1):
    ...     figure.savefig(f"small-{number}.png")
    """
    check_instance("dataset", dataset, xr.Dataset, "fl.open_sweep(path)")
    check_instance("style", style, Style, "fl.plot.Style(log=True)")
    if "point" in dataset.dims:
        mean = ".sel(statistic='mean')" if "statistic" in dataset.dims else ""
        raise InputError(
            "the points of the sweep are rows of a table, which have no axes to draw over; draw them with "
            f"ds.isel(time=-1){mean}.plot.scatter(x='lam', y='loss')"
        )
    da, done = _done(dataset, observable)
    x, y = _axes(da, x, y)
    axes = (x, y) if _is_plane(da, y) else (x,)
    kept = (*axes, "architecture", "seed", "statistic")
    indices = {str(d): default_index(str(d), da[str(d)].values) for d in da.dims if d not in kept}
    da = da.isel(indices).load()
    if x in da.dims and scales.drawable(da[x].values).sum() < 2:
        raise InputError(f"{x} has fewer than two values that can be drawn; choose another axis")
    every = seed_statistics.mean(scales.drawn(da, *({x} & set(da.dims))))
    log = scales.log_values(every, style.log)
    drawn = Pages(da, x, y, style, caption(dataset, da, done, axes), log)
    if len(drawn) > MAX_PAGES:
        raise InputError(
            f"{da.sizes['architecture']} architectures make {len(drawn)} pages, and at most {MAX_PAGES} are "
            "drawn; draw over their sizes, as with n_i and n_h, or select some first"
        )
    return drawn


def _done(dataset: xr.Dataset, observable: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return an observable where points are done, and where that is."""
    stored = [name for name in (*REGISTRY, *OF_SEQUENCE) if name in dataset]
    if observable not in stored:
        raise InputError(
            f"observable {shown(observable)} is not in the dataset; {suggest(observable, stored)}"
        )
    status = dataset.get("status")
    if "architecture" not in dataset.dims or status is None or status.dtype.kind not in "UTO":
        raise InputError("this is no whole sweep from open_sweep(path); draw a part with phase_diagram")
    done = dataset["count"] > 0 if "count" in dataset else dataset.status == "ok"
    if not done.any():
        raise InputError(
            "no point of the sweep is ok: they are pending, diverged, failed, too stiff or absent; "
            "nothing to draw"
        )
    da = dataset[observable].where(done)
    da.attrs = dataset[observable].attrs
    if da.sizes.get("layer", 1) > 1:
        raise InputError(f"{observable} has a value per layer; select one, as by layer=w1")
    return da, done


def _is_plane(da: xr.DataArray, y: str) -> bool:
    """Return whether `y` has two values or more that can be drawn; otherwise a line shows all there is."""
    return y in sizes.SIZES or (y in da.dims and int(scales.drawable(da[y].values).sum()) > 1)


def _axes(da: xr.DataArray, x: str | None, y: str | None) -> tuple[str, str]:
    """Return the axes of the diagrams: those that were given, and defaults for the others."""
    parameters = [name for name in parameter_axes(da) if da[name].dtype.kind in "iuf"]
    numeric = [str(name) for name in da.dims if da[name].dtype.kind == "f" or name in parameters]
    for name in (x, y):
        if name is not None and name not in (*numeric, *sizes.SIZES):
            raise InputError(
                f"{shown(name)} is no axis to draw over; {suggest(name, [*numeric, *sizes.SIZES])}"
            )
    if x is not None and x == y:
        raise InputError(f"x and y are both {x!r}; two dimensions are needed")
    candidates = [name for name in (*X_AXES, *parameters) if name in numeric]
    varying = [name for name in candidates if scales.drawable(da[name].values).sum() > 1]
    if x is None and y is None and (da.sizes["architecture"] > MANY or not varying):
        values = sizes_of(da["architecture"].values)
        counts = {name: np.unique(values[name]).size for name in SIZE_NAMES}
        most = sorted(sorted(counts, key=lambda name: -counts[name])[:2], key=SIZE_NAMES.index)
        if min(counts[name] for name in most) > 1:
            return most[0], most[1]
        x = max(counts, key=lambda name: counts[name])
    x = x or next((name for name in varying if name != y), candidates[0])
    several = [name for name in (*Y_AXES, *parameters) if name != x and da.sizes.get(name, 1) > 1]
    return x, y or next(iter(several), "lam" if x == "time" else "time")
