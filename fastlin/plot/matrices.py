"""Matrices over time (Gram matrices, representational similarity, NTK): small multiples and animations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.plot import style
from fastlin.plot.arguments import check_ax, check_panels
from fastlin.validation import check_instance, check_int, shown

PANELS = 6  # Small multiples that fit the width of a page.
MAX_SIDE = 2_000  # Rows of a matrix that can be drawn.
AXES_OF_SWEEPS = frozenset(
    {"solver", "architecture", "learning_rate", "init_scale", "lam", "seed", "statistic"}
    | {"kappa", "rate_ratio", "noise_seed"}
)
MATRICES = "w2w1, w1tw1, w2w2t, qqt, rsm_input, rsm_output and ntk"  # Observables that are drawn.
MILLISECONDS = 80  # Time between the frames of an animation.


def matrices(da: xr.DataArray, axes: Sequence[Axes] | None = None) -> NDArray[Any]:
    """Draw a matrix at several times, on one scale of colour that is symmetric around 0.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of one network: "time" and two other dimensions (w2w1, w1tw1, w2w2t, qqt, rsm_input,
        rsm_output) or the four of the ntk, which is drawn as a matrix (N_o P, N_o P).
    axes : sequence of Axes, optional
        Where to draw, one for each time; by default a new figure of six panels. If there are more times
        than axes, times are chosen evenly from the first to the last.

    Returns
    -------
    ndarray of matplotlib.axes.Axes

    Raises
    ------
    InputError
        If the observable is no matrix over time, or there are more axes than times.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> panels = fl.plot.matrices(fl.exact(task, net, [0.0, 1.0, np.inf]).qqt)
    >>> len(panels)  # one for each time
    3
    """
    stack = _stack(da)
    times = stack["time"].values
    if axes is None:
        count = min(PANELS, times.size)
        axes = plt.subplots(1, count, figsize=(2.1 * count + 0.8, 2.4), layout="constrained", squeeze=False)[
            1
        ][0]
    panels = check_panels(axes)
    if panels.size > times.size:
        raise InputError(f"{panels.size} axes were given for {times.size} times")
    chosen = np.linspace(0, times.size - 1, panels.size).round().astype(int)
    shown = np.asarray(stack.isel(time=chosen).values)
    for ax, time, matrix in zip(panels, times[chosen], shown, strict=True):
        image = _draw(ax, matrix, _scale(shown))
        ax.set_title(_time(time), fontsize="medium")
    panels[0].figure.colorbar(image, ax=panels.tolist(), label=style.label(da), pad=0.01)
    return panels


def animation(da: xr.DataArray, ax: Axes | None = None, frames: int = 60) -> FuncAnimation:
    """Animate a matrix through training, such as QQ^T.

    Parameters
    ----------
    da : xarray.DataArray
        As for `matrices`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    frames : int
        Largest number of frames; times are chosen evenly from the first to the last.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        ``.save("qqt.gif", writer="pillow")`` writes a file, ``.to_jshtml()`` shows it in a notebook.

    Raises
    ------
    InputError
        If the observable is no matrix over time, or `frames` is not positive.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> exact = fl.exact(task, net, np.linspace(0.0, 10.0, 101))
    >>> moving = fl.plot.animation(exact.qqt, frames=5)
    >>> moving.save("qqt.gif", writer="pillow")
    """
    check_ax(ax)
    stack = _stack(da)
    count = min(check_int("frames", frames, 1, 10_000), stack.sizes["time"])
    chosen = np.linspace(0, stack.sizes["time"] - 1, count).round().astype(int)
    times, shown = stack["time"].values[chosen], np.asarray(stack.isel(time=chosen).values)
    ax = plt.subplots(figsize=(4.0, 3.6), layout="constrained")[1] if ax is None else ax
    image = _draw(ax, shown[0], _scale(shown))
    title = ax.set_title(_time(times[0]))
    figure = ax.figure
    assert isinstance(figure, Figure)
    figure.colorbar(image, ax=ax, label=style.label(da))

    def show(frame: int) -> list[Any]:
        image.set_data(shown[frame])
        title.set_text(_time(times[frame]))
        return [image, title]

    return FuncAnimation(figure, show, frames=count, interval=MILLISECONDS)


def _axes_of_sweeps(da: xr.DataArray) -> set[str]:
    """Return the dimensions that an observable of one network has not."""
    return {*AXES_OF_SWEEPS, *(name for name in style.parameter_axes(da) if name in da.coords)}


def _stack(da: xr.DataArray) -> xr.DataArray:
    """Return matrices (time, rows, columns). Each pair (output, sample) of the NTK is one row."""
    check_instance("da", da, xr.DataArray, "an observable of a network, as fl.exact(...).qqt")
    rest = [str(name) for name in da.dims if name != "time"]
    if "time" not in da.dims or len(rest) not in (2, 4) or _axes_of_sweeps(da) & set(rest):
        dims = ", ".join(map(str, da.dims)) or "none"
        raise InputError(
            f"{da.name} has the dimensions {dims}; needed is a matrix of one network over time, as {MATRICES}"
        )
    if not da.size:
        raise InputError(f"{da.name} is empty, as {shown(da)}; needed is one time at least")
    half = len(rest) // 2
    sides = [int(np.prod([da.sizes[name] for name in part])) for part in (rest[:half], rest[half:])]
    if max(sides) > MAX_SIDE:
        raise InputError(f"the matrix is {sides[0]} by {sides[1]}; at most {MAX_SIDE} rows can be drawn")
    flat = da.transpose("time", *rest)
    data = flat.data.reshape(da.sizes["time"], *sides)
    return xr.DataArray(data, dims=("time", "row", "column"), coords={"time": da["time"]})


def _scale(shown: NDArray[Any]) -> Normalize:
    largest = float(np.abs(shown).max()) or 1.0
    return Normalize(-largest, largest)


def _draw(ax: Axes, matrix: NDArray[Any], scale: Normalize) -> AxesImage:
    image = ax.imshow(matrix, cmap=style.SIGNED_COLOUR_MAP, norm=scale, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    return image


def _time(value: float) -> str:
    return rf"$t/\tau = {style.number(float(value))}$"
