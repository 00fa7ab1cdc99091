"""Pictures: axes in, axes out, no global state of Matplotlib, colour-blind-safe colours."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError, suggest
from fastlin.observables import REGISTRY

# Okabe & Ito (2008): distinct for all common forms of colour blindness, and in print.
# Its black is left to the closed form.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
COLOUR_MAP = "cividis"
LETTERS = 13  # of a caption that fit an inch
__all__ = ["dynamics", "phase_diagram", "profile", "sweep"]
SYMBOLS = {
    "lam": r"relative scale $\lambda$",
    "time": r"time $t/\tau$",
    "init_scale": r"weight scale $\sigma$",
    "learning_rate": r"learning rate $\eta$",
    "seed": "seed",
    "architecture": r"architecture $N_i$-$N_h$-$N_o$",
    "n_i": r"inputs $N_i$",
    "n_h": r"hidden units $N_h$",
    "n_o": r"outputs $N_o$",
}


def phase_diagram(
    da: xr.DataArray, x: str = "lam", y: str = "time", ax: Axes | None = None, **mesh: Any
) -> Axes:
    """Draw an observable over two axes of a sweep, in the mean over seeds.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides `x`, `y` and "seed" its dimensions have one value each.
    x, y : str
        Dimensions. An axis of positive, unevenly spaced values is drawn on a logarithmic scale; t = 0
        has no place on it and t = inf on none, so these are left out.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    **mesh
        Properties of the mesh, such as cmap, vmin and vmax. The axes' last collection is the mesh.

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
    if x == y:
        raise InputError(f"x and y are both {x!r}; two dimensions are needed")
    grid = _mean_over_seeds(da, (x, y)).transpose(y, x)
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    for name, axis in ((x, ax.xaxis), (y, ax.yaxis)):
        values = np.asarray(grid[name].values, dtype=float)
        grid = grid.isel({name: np.flatnonzero(_drawable(values))})
        if grid.sizes[name] < 2:
            raise InputError(f"{name} has fewer than two values that can be drawn; choose another axis")
        if _logarithmic(values):
            axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    properties: dict[str, Any] = {"cmap": COLOUR_MAP, "rasterized": True} | mesh
    borders = _edges(grid[x].values), _edges(grid[y].values)
    drawn = ax.pcolormesh(*borders, grid.values, **properties)
    ax.set_xlabel(SYMBOLS.get(x, x))
    ax.set_ylabel(SYMBOLS.get(y, y))
    if not {"vmin", "vmax"} <= mesh.keys():
        ax.figure.colorbar(drawn, ax=ax, label=_label(da))
    return ax


def profile(da: xr.DataArray, x: str = "lam", ax: Axes | None = None, **line: Any) -> Axes:
    """Draw an observable over one axis of a sweep: the mean over seeds and a band of one deviation.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of a sweep; besides `x` and "seed" its dimensions have one value each.
    x : str
        A dimension.
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
    mean = _mean_over_seeds(da, (x,))
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    (drawn,) = ax.plot(mean[x].values, mean.values, **line)
    deviation = _deviation(da)
    if deviation is not None:
        spread = deviation.squeeze().values
        low, high = mean.values - spread, mean.values + spread
        ax.fill_between(mean[x].values, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    if _logarithmic(mean[x].values):
        ax.set_xscale("log")
    ax.set_xlabel(SYMBOLS.get(x, x))
    ax.set_ylabel(_label(da))
    return ax


def dynamics(
    exact: xr.Dataset, gd: xr.Dataset | None = None, axes: Sequence[Axes] | None = None
) -> NDArray[Any]:
    """Draw one network over time, in the manner of Figure 1 of the paper.

    Loss, network function, correlations of input and of output weights, and entries of the NTK: lines
    for gradient descent, black dots for the closed form. Of a matrix, nine entries are drawn, spread
    over it from the first to the last in row-major order. t = inf has no place and is left out.

    Parameters
    ----------
    exact : xarray.Dataset
        From `fastlin.exact`, with the observables loss, network_function, w1tw1, w2w2t and, for the
        last panel, ntk.
    gd : xarray.Dataset, optional
        From `fastlin.gradient_descent`, with the same.
    axes : sequence of 5 Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    ndarray of 5 matplotlib.axes.Axes

    Raises
    ------
    InputError
        If an observable is missing, or there are not five axes.
    """
    panels = ("loss", "network_function", "w1tw1", "w2w2t", "ntk")
    for kind, dataset in {"exact": exact, "gradient_descent": exact if gd is None else gd}.items():
        for name in panels:
            if name not in dataset or dataset[name].shape[1:] != exact[name].shape[1:]:
                raise InputError(
                    f"the Dataset of {kind} lacks {name!r}; ask for it: observables={list(panels)}"
                )
    if axes is None:
        axes = plt.subplots(1, 5, figsize=(15, 2.8), layout="constrained")[1]
    if len(axes) != len(panels):
        raise InputError(f"{len(axes)} axes were given; {len(panels)} are needed")
    for ax, name in zip(axes, panels, strict=True):
        entries = _entries(exact[name])
        if gd is not None:
            for index, (_, line) in enumerate(_entries(gd[name], entries)):
                ax.plot(gd.time, line, color=COLOURS[index % len(COLOURS)], linewidth=2)
        finite = np.isfinite(exact.time.values)
        for _, dots in entries:
            ax.plot(exact.time[finite], dots[finite], "k.", markersize=3)
        if gd is not None and name == "loss":
            ax.legend(ax.lines, ["gradient descent", "closed form"], frameon=False)
        ax.set_xlabel(SYMBOLS["time"])
        ax.set_ylabel(_label(exact[name]))
    return np.asarray(axes)


def sweep(dataset: xr.Dataset, observable: str, x: str, y: str | None) -> Figure:
    """Draw a sweep: a phase diagram per architecture, and all of them at the last time.

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

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the observable is not in the dataset, or the axes do not fit.
    """
    stored = [name for name in REGISTRY if name in dataset]
    if observable not in stored:
        raise InputError(f"observable {observable!r} is not in the store; {suggest(observable, stored)}")
    if "architecture" not in dataset.dims or dataset.status.dtype.kind not in "UT":
        raise InputError("this is no whole sweep from open_sweep(path); draw a part with phase_diagram")
    done = dataset["count"] > 0 if "count" in dataset else dataset.status == "ok"
    if not done.any():
        raise InputError("no point of the sweep is done yet; there is nothing to draw")
    da = dataset[observable].where(done)
    da.attrs = dataset[observable].attrs
    if "layer" in da.dims:
        raise InputError(f"{observable} has a value per layer; draw ds.{observable}.sel(layer=...)")
    y = y or ("init_scale" if da.sizes["init_scale"] > 1 else "time")
    kept = (x, y, "architecture", "seed", "statistic")
    others = {str(name): _usual(da, str(name)) for name in da.dims if name not in kept}
    da = da.isel(others).load()
    if x in da.dims and _drawable(da[x].values).sum() < 2:
        raise InputError(f"{x} has fewer than two values that can be drawn; choose another axis")
    means = _mean(da)
    scale = {"vmin": float(means.min()), "vmax": float(means.max())}
    flat = y in da.dims and _drawable(da[y].values).sum() < 2  # one row is no diagram, a line shows it
    count = 0 if flat else da.sizes["architecture"]
    figure, panels = plt.subplots(
        1, count + 1, figsize=(2.7 * count + 5.0, 2.8), layout="constrained", squeeze=False
    )
    *diagrams, last = panels[0]
    for index in range(da.sizes["architecture"]):
        one = da.isel({"architecture": index})
        shape = Architecture(*(int(one[name]) for name in ("n_i", "n_h", "n_o")))
        if diagrams:
            ax = phase_diagram(one, x, y, diagrams[index], **scale)
            ax.set_title(f"{shape.family} {shape}")
            ax.label_outer()
        late = one.isel({y: _usual(one, y)})
        label = f"{shape.family} {shape}"
        profile(late, x, last, color=COLOURS[index % len(COLOURS)], label=label)
    if diagrams:
        figure.colorbar(diagrams[-1].collections[-1], ax=diagrams, label=_label(da), pad=0.01)
    last.set_title(_where(late, x))
    caption = _caption(dataset, da, observable, done)
    figure.suptitle(fill(caption, int(LETTERS * figure.get_figwidth())), fontsize="medium")
    figure.set_layout_engine("constrained", w_pad=0.08)
    last.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _caption(dataset: xr.Dataset, da: xr.DataArray, observable: str, done: xr.DataArray) -> str:
    """Say what is averaged and what was chosen where the sweep has more."""
    parts = [f"{dataset.attrs.get('title', 'sweep')}: {observable.replace('_', ' ')}"]
    seeds = int(dataset["count"].max()) if "statistic" in da.dims else da.sizes.get("seed", 0)
    if seeds:
        parts[0] += f", mean over {seeds:,} seeds (bands: one standard deviation)"
    for name in ("method", "init_scale", "learning_rate", "lam", "time"):
        if name in da.coords and da[name].ndim == 0 and dataset.sizes.get(name, 1) > 1:
            parts.append(f"{SYMBOLS.get(name, name)} = {da[name].item()} of {dataset.sizes[name]} values")
    if not done.all():
        parts.append(f"{100 * float(done.mean()):.0f} % of the points are done")
    return "; ".join(parts)


def _usual(da: xr.DataArray, name: str) -> int:
    """Return the index at which an axis is looked at when nothing else is said.

    The last time, the weight scale and the lam nearest to 1 and 0, and the first of all else.
    """
    values = da[name].values
    if name == "time":
        return values.size - 1
    if name == "init_scale":
        return int(np.argmin(np.abs(np.log(values))))
    return int(np.argmin(np.abs(values))) if name == "lam" else 0


def _where(da: xr.DataArray, x: str) -> str:
    """Say at which values of time and scale a profile was taken."""
    parts = [str(da["method"].values).replace("_", " ")] if "method" in da.coords else []
    for name, symbol in (("time", r"t/\tau"), ("lam", r"\lambda"), ("init_scale", r"\sigma")):
        if name != x and name in da.coords and da[name].ndim == 0:
            value = float(da[name])
            number = r"\infty" if np.isinf(value) else f"{value:.3g}"
            parts.append(f"${symbol} = {number}$")
    return ", ".join(parts)


def _mean_over_seeds(da: xr.DataArray, kept: tuple[str, ...]) -> xr.DataArray:
    for name in kept:
        if name not in da.dims:
            raise InputError(f"{name!r} is no dimension here; {suggest(name, [str(d) for d in da.dims])}")
    mean = da if "seed" in kept else _mean(da)
    others = [str(name) for name in mean.dims if name not in kept]
    for name in others:
        if mean.sizes[name] > 1:
            raise InputError(
                f"dimension {name!r} has {mean.sizes[name]} values; select one first: .isel({{{name!r}: 0}})"
            )
    return mean.squeeze(others)


def _mean(da: xr.DataArray) -> xr.DataArray:
    """Return the mean over seeds, of points or as the store holds it."""
    if "statistic" not in da.dims:
        return da.mean("seed") if "seed" in da.dims else da
    there = da["statistic"].values.tolist()
    if "mean" not in there:
        raise InputError(f"the store holds no mean over seeds; it has {', '.join(there)}")
    return da.sel(statistic="mean", drop=True)


def _deviation(da: xr.DataArray) -> xr.DataArray | None:
    """Return the standard deviation over seeds, if there is one."""
    if "statistic" in da.dims:
        return da.sel(statistic="std", drop=True) if "std" in da["statistic"].values.tolist() else None
    return da.std("seed") if da.sizes.get("seed", 1) > 1 else None


def _logarithmic(values: NDArray[Any]) -> bool:
    """Tell whether an axis is spaced unevenly over positive values, so that a log scale suits it."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size < 3 or (values < 0).any():
        return False
    steps = np.diff(positive)
    return bool(steps.max() > 3 * steps.min())


def _drawable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values of an axis have a place on it: finite, and above 0 on a logarithmic one."""
    return np.asarray(np.isfinite(values) & ((values > 0) | (not _logarithmic(values))))


def _edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the borders of cells around values: midpoints, geometric on a logarithmic axis."""
    centres = np.asarray(values, dtype=float)
    log = _logarithmic(centres)
    scaled = np.log(centres) if log else centres
    middle = 0.5 * (scaled[1:] + scaled[:-1])
    ends = (2 * scaled[0] - middle[0], 2 * scaled[-1] - middle[-1])
    borders = np.concatenate([[ends[0]], middle, [ends[1]]])
    return np.exp(borders) if log else borders


def _label(da: xr.DataArray) -> str:
    name = str(da.name)
    if name not in REGISTRY:
        return name
    words = "" if name.startswith(("w1t", "w2", "qqt")) else f"{name.replace('_', ' ')} "
    return f"{words.replace('ntk', 'NTK')}${REGISTRY[name].symbol}$"


def _entries(
    da: xr.DataArray, like: list[tuple[tuple[int, ...], NDArray[Any]]] | None = None
) -> list[tuple[tuple[int, ...], NDArray[Any]]]:
    """Return up to nine entries of a matrix over time, spread over it; the ones of `like` where given."""
    flat = da.transpose("time", ...)
    shape = flat.shape[1:]
    if like is not None:
        places = [place for place, _ in like]
    elif not shape:
        places = [()]
    else:
        total = int(np.prod(shape))
        chosen = np.unique(np.linspace(0, total - 1, 9).astype(int))
        places = [tuple(int(i) for i in np.unravel_index(place, shape)) for place in chosen]
    return [(place, np.asarray(flat[(slice(None), *place)].values)) for place in places]
