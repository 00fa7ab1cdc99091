"""One network over time, in the manner of Figure 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.observables.registry import REGISTRY
from fastlin.plot import style
from fastlin.plot.arguments import check_panels
from fastlin.plot.axes import new_panels, set_time_axis
from fastlin.validation import check_instance, shown

PANELS = ("loss", "network_function", "w1tw1", "w2w2t", "ntk")
# Points of the lines of gradient descent, and of those of the closed form, which lie on them.
BROAD, THIN = 3.0, 0.8
APART = 0.05  # Distance of the dots of the closed form along a line, as a share of the panel's diagonal.
MAX_ENTRIES = 9  # Entries of a matrix that are drawn.


def dynamics(
    exact: xr.Dataset, gd: xr.Dataset | None = None, axes: Sequence[Axes] | None = None
) -> NDArray[Any]:
    """Draw one network over time, in the manner of Figure 1 of the paper.

    The panels show the loss, the network function, the correlations of input and of output weights, and the
    NTK, as far as the Datasets hold them. Broad lines are gradient descent. Thin black lines with dots (light
    ones in a dark style) are the closed form, which has colours if it is drawn alone. Nine entries of a
    matrix are drawn, spread over it from the first to the last in row-major order. If times go beyond 30, the
    time axis is linear up to 1 and logarithmic later. t = inf has no place on it, and the label says so.

    Parameters
    ----------
    exact : xarray.Dataset
        From `fastlin.exact`. Its default observables give all panels but that of the NTK; with
        ``observables=["loss", "network_function", "w1tw1", "w2w2t", "ntk"]`` there are five.
    gd : xarray.Dataset, optional
        From `fastlin.gradient_descent`, of the same network. A panel is drawn if both Datasets hold it.
    axes : sequence of Axes, optional
        Where to draw, one for each panel; by default a new figure.

    Returns
    -------
    ndarray of matplotlib.axes.Axes

    Raises
    ------
    InputError
        If no panel can be drawn, the two networks have other sizes, or there is another number of axes.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> gd = fl.gradient_descent(task, net, learning_rate=0.009, steps=1000, every=10)
    >>> panels = fl.plot.dynamics(fl.exact(task, net, gd.time), gd)
    >>> len(panels)  # loss, network function, and the correlations of input and of output weights
    4
    """
    names = _panels(exact, gd)
    panels = check_panels(new_panels(len(names), 2.8) if axes is None else axes)
    if len(panels) != len(names):
        raise InputError(f"{len(panels)} axes were given; {len(names)} are needed, for {', '.join(names)}")
    times = np.concatenate([dataset.time.values for dataset in (exact, gd) if dataset is not None])
    finite = np.isfinite(exact.time.values)
    thin = {"color": style.ink(), "linewidth": THIN, "marker": ".", "markersize": 3, "markevery": APART}
    for ax, name in zip(panels, names, strict=True):
        if gd is not None:
            for index, line in enumerate(_entries(gd[name])):
                ax.plot(gd.time, line, color=style.COLOURS[index % len(style.COLOURS)], linewidth=BROAD)
        for index, line in enumerate(_entries(exact[name])):
            alone = {"color": style.COLOURS[index % len(style.COLOURS)], "linewidth": 1.5}
            ax.plot(exact.time[finite], line[finite], **(alone if gd is None else thin))
        if gd is not None and name == "loss":
            ax.legend(ax.lines, ["gradient descent", "closed form"], frameon=False)
        set_time_axis(ax, times)
        ax.set_ylabel(style.label(exact[name]))
    return panels


def _panels(exact: xr.Dataset, gd: xr.Dataset | None) -> list[str]:
    """Return the observables that can be drawn, after checks of both Datasets."""
    given = {"exact": exact} | ({} if gd is None else {"gd": gd})
    for kind, dataset in given.items():
        check_instance(kind, dataset, xr.Dataset, "fl.exact or fl.gradient_descent")
    names = [name for name in PANELS if all(name in dataset for dataset in given.values())]
    if not names:
        raise InputError(
            f"there is nothing to draw; ask for some of these by observables=...: {', '.join(PANELS)}"
        )
    for kind, dataset in given.items():
        for name in names:
            dims = dataset[name].dims
            if "time" not in dims or set(dims) - {"time", *REGISTRY[name].dims}:
                raise InputError(
                    f"{name} of {kind} has the dimensions {shown(dims)}; draw one network over time"
                )
            if dataset[name].transpose("time", ...).shape[1:] != exact[name].transpose("time", ...).shape[1:]:
                raise InputError(f"{name} has other sizes in gd than in exact; draw one network")
    return names


def _entries(da: xr.DataArray) -> list[NDArray[Any]]:
    """Return up to nine entries of a matrix over time, spread evenly over it."""
    flat = da.transpose("time", ...)
    total = int(np.prod(flat.shape[1:]))
    chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_ENTRIES)).astype(int))
    indices = [tuple(int(i) for i in np.unravel_index(number, flat.shape[1:])) for number in chosen]
    return [np.asarray(flat[(slice(None), *index)].values) for index in indices]
