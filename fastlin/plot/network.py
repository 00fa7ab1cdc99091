"""One network over time, in the manner of Figure 1 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.plot import style

PANELS = ("loss", "network_function", "w1tw1", "w2w2t", "ntk")


def dynamics(
    exact: xr.Dataset, gd: xr.Dataset | None = None, axes: Sequence[Axes] | None = None
) -> NDArray[Any]:
    """Draw one network over time, in the manner of Figure 1 of the paper.

    Loss, network function, correlations of input and of output weights, and entries of the NTK: lines
    for gradient descent, black dots (light ones in a dark style) for the closed form. Of a matrix, nine
    entries are drawn, spread over it from the first to the last in row-major order. t = inf has no place
    and is left out.

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
    for kind, dataset in {"exact": exact, "gradient_descent": exact if gd is None else gd}.items():
        for name in PANELS:
            if name not in dataset or dataset[name].shape[1:] != exact[name].shape[1:]:
                raise InputError(
                    f"the Dataset of {kind} lacks {name!r}; ask for it: observables={list(PANELS)}"
                )
    if axes is None:
        axes = plt.subplots(1, 5, figsize=(15, 2.8), layout="constrained")[1]
    if len(axes) != len(PANELS):
        raise InputError(f"{len(axes)} axes were given; {len(PANELS)} are needed")
    for ax, name in zip(axes, PANELS, strict=True):
        entries = _entries(exact[name])
        if gd is not None:
            for index, (_, line) in enumerate(_entries(gd[name], entries)):
                ax.plot(gd.time, line, color=style.COLOURS[index % len(style.COLOURS)], linewidth=2)
        finite = np.isfinite(exact.time.values)
        for _, dots in entries:
            ax.plot(exact.time[finite], dots[finite], ".", color=style.ink(), markersize=3)
        if gd is not None and name == "loss":
            ax.legend(ax.lines, ["gradient descent", "closed form"], frameon=False)
        ax.set_xlabel(style.SYMBOLS["time"])
        ax.set_ylabel(style.label(exact[name]))
    return np.asarray(axes)


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
