"""The picture of a whole sweep: a phase diagram per architecture, and all of them at the last time."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from fastlin import seed_statistics
from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.observables import REGISTRY
from fastlin.plot import style
from fastlin.plot.lines import MAX_LINES, profile
from fastlin.plot.planes import SIZES, phase_diagram
from fastlin.regimes import THRESHOLD
from fastlin.validation import suggest

LETTERS = 13  # of a caption that fit an inch


def sweep(
    dataset: xr.Dataset, observable: str = "kernel_distance", x: str = "lam", y: str | None = None
) -> Figure:
    """Draw a sweep: a phase diagram per architecture, and all of them at the last time.

    Of the kernel distance the borders of the regimes are drawn, too.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fastlin.open_sweep`.
    observable : str
        One of the dataset's.
    x : str
        Horizontal axis of all panels.
    y : str, optional
        Vertical axis of the phase diagrams; by default init_scale if it has several values, else time.
        One of the sizes "n_i", "n_h", "n_o" and "bottleneck_ratio" as `x` or `y`, or one as each, makes
        one diagram of all architectures.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the observable is not in the dataset, or the axes do not fit.
    """
    da, done = _done(dataset, observable)
    numeric = [str(name) for name in da.dims if da[name].dtype.kind == "f"]
    for name in (x, y):
        if name is not None and name not in (*numeric, *SIZES):
            raise InputError(f"{name!r} is no axis to draw over; {suggest(name, [*numeric, *SIZES])}")
    several = [name for name in ("init_scale", "time", "lam") if name != x and da.sizes.get(name, 1) > 1]
    y = y or next(iter(several), "time")
    kept = (x, y, "architecture", "seed", "statistic")
    others = {str(name): style.usual(str(name), da[str(name)].values) for name in da.dims if name not in kept}
    da = da.isel(others).load()
    if x in da.dims and style.drawable(da[x].values).sum() < 2:
        raise InputError(f"{x} has fewer than two values that can be drawn; choose another axis")
    contours = THRESHOLD if observable == "kernel_distance" else ()
    sizes = x in SIZES or y in SIZES
    figure = (_over_sizes if sizes else _by_architecture)(da, x, y, contours)
    caption = _caption(dataset, da, done, bands=not sizes)
    figure.suptitle(fill(caption, int(LETTERS * figure.get_figwidth())), fontsize="medium")
    return figure


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
    if "layer" in da.dims:
        raise InputError(f"{observable} has a value per layer; draw ds.{observable}.sel(layer=...)")
    return da, done


def _over_sizes(da: xr.DataArray, x: str, y: str, contours: Sequence[float]) -> Figure:
    """Draw one phase diagram with the architectures along an axis."""
    figure, ax = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    phase_diagram(da, x, y, ax, contours)
    ax.set_title(_where(da, x))
    return figure


def _by_architecture(da: xr.DataArray, x: str, y: str, contours: Sequence[float]) -> Figure:
    """Draw a phase diagram for each architecture, and all of them where `y` is usually looked at."""
    means = seed_statistics.mean(da)
    means = means.where(np.isfinite(means))
    scale = {"vmin": float(means.min()), "vmax": float(means.max())}
    # One row is no diagram, a line shows it.
    flat = y not in da.dims or style.drawable(da[y].values).sum() < 2
    if da.sizes["architecture"] > MAX_LINES:
        raise InputError(
            f"the sweep has {da.sizes['architecture']} architectures, and {MAX_LINES} can be told apart; "
            "draw over their sizes, as with y = n_h, or select some in Python"
        )
    count = 0 if flat else da.sizes["architecture"]
    figure, panels = plt.subplots(
        1, count + 1, figsize=(2.7 * count + 5.0, 2.8), layout="constrained", squeeze=False
    )
    *diagrams, last = panels[0]
    for index in range(da.sizes["architecture"]):
        one = da.isel({"architecture": index})
        shape = Architecture.read(str(one["architecture"].values))
        if diagrams:
            ax = phase_diagram(one, x, y, diagrams[index], contours, **scale)
            ax.set_title(f"{shape.family} {shape}")
            ax.label_outer()
        late = one.isel({y: style.usual(y, one[y].values)}) if y in one.dims else one
        colour = style.COLOURS[index % len(style.COLOURS)]
        profile(late, x, last, color=colour, label=f"{shape.family} {shape}")
    if diagrams:
        figure.colorbar(diagrams[-1].collections[0], ax=diagrams, label=style.label(da), pad=0.01)
    last.set_title(_where(late, x))
    figure.set_layout_engine("constrained", w_pad=0.08)
    last.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _caption(dataset: xr.Dataset, da: xr.DataArray, done: xr.DataArray, *, bands: bool) -> str:
    """Say what is averaged and what was chosen where the sweep has more."""
    title = str(dataset.attrs.get("title", "sweep")).replace("$", r"\$")
    parts = [f"{title}: {str(da.name).replace('_', ' ')}"]
    count = int(dataset["count"].max()) if "statistic" in da.dims else da.sizes.get("seed", 0)
    if count:
        parts[0] += f", mean over {count:,} seeds" + (" (bands: one standard deviation)" if bands else "")
    if da.name == "kernel_distance":
        parts.append(f"lines: lazy below {THRESHOLD[0]:g} (dashed), rich from {THRESHOLD[1]:g} (solid)")
    for name in ("solver", "init_scale", "learning_rate", "lam", "time"):
        if name in da.coords and da[name].ndim == 0 and dataset.sizes.get(name, 1) > 1:
            value = da[name].item()
            shown = value if isinstance(value, str) else f"${style.number(value)}$"
            parts.append(f"{style.SYMBOLS.get(name, name)} = {shown} of {dataset.sizes[name]} values")
    if not done.all():
        parts.append(f"{100 * float(done.mean()):.0f} % of the points are ok")
    return "; ".join(parts)


def _where(da: xr.DataArray, x: str) -> str:
    """Say at which values of time and scale a profile was taken."""
    parts = [str(da["solver"].values).replace("_", " ")] if "solver" in da.coords else []
    for name, symbol in (("time", r"t/\tau"), ("lam", r"\lambda"), ("init_scale", r"\sigma")):
        if name != x and name in da.coords and da[name].ndim == 0:
            value = float(da[name])
            parts.append(f"${symbol} = {style.number(value)}$")
    return ", ".join(parts)
