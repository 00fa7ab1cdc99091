"""Matrices over time (Gram matrices, representational similarity, NTK): small multiples and animations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.observables.registry import REGISTRY
from fastlin.plot import style
from fastlin.plot.arguments import check_ax, check_panels
from fastlin.plot.axes import inches, new_panels
from fastlin.validation import check_instance, check_int, shown

PANELS = 6  # Small multiples that fit the width of a page.
MAX_SIDE = 2_000  # Rows of a matrix that can be drawn.
AXES_OF_SWEEPS = frozenset(
    {"solver", "architecture", "learning_rate", "init_scale", "lam", "seed", "statistic"}
    | {"kappa", "rate_ratio", "noise_seed"}
)
# Observables that are drawn.
MATRICES = "w2w1, w1tw1, w2w2t, qqt, rsm_input, rsm_output, rdm_cosine, rdm_correlation and ntk"
LABELLED = ("sample", "condition")  # Sides of matrices whose rows have labels.
DISSIMILARITY = 2.0  # Largest value of 1 - cosine and of 1 - correlation.
LINE = 0.016  # Inches of a line of letters, for each point of their size.
LEAST_SIZE = 7.0  # Points of the smallest letters of names.
MILLISECONDS = 80  # Time between the frames of an animation.


@dataclass(frozen=True)
class _Side:
    """The rows or the columns of a matrix: their order, and the names of their groups."""

    name: str
    order: NDArray[np.intp]
    ticks: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Stack:
    """Matrices (time, row, column) in the order of their sides."""

    matrices: xr.DataArray
    rows: _Side
    columns: _Side


def matrices(
    da: xr.DataArray,
    axes: Sequence[Axes] | None = None,
    labels: Sequence[Any] | None = None,
    order: Sequence[Any] | None = None,
) -> NDArray[Any]:
    """Draw a matrix at several times, on one scale of colour.

    The scale is symmetric around 0. For dissimilarities it is their range, from 0 to 2, in every picture.
    Rows and columns over conditions have the names of these. Those over samples are in the order of the
    samples, or by condition if `labels` are given. Names have smaller letters where there are many, and are
    left out where they could not be read.

    Parameters
    ----------
    da : xarray.DataArray
        An observable of one network: "time" and two other dimensions (w2w1, w1tw1, w2w2t, qqt, rsm_input,
        rsm_output, rdm_cosine, rdm_correlation) or the four of the ntk, which is drawn as a matrix
        (N_o P, N_o P).
    axes : sequence of Axes, optional
        Where to draw, one for each time; by default a new figure of six panels. If there are more times
        than axes, times are chosen evenly from the first to the last.
    labels : sequence, optional
        The condition of each sample, such as `Task.labels`, for a matrix over samples. Samples of one
        condition are drawn side by side. A matrix over conditions has their names.
    order : sequence, optional
        The names of all conditions in the order in which they are drawn. By default it is the order of the
        matrix, or that in which conditions first appear in `labels`.

    Returns
    -------
    ndarray of matplotlib.axes.Axes

    Raises
    ------
    InputError
        If the observable is no matrix over time, there are more axes than times, or `labels` or `order` do
        not fit.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> panels = fl.plot.matrices(fl.exact(task, net, [0.0, 1.0, np.inf]).qqt)
    >>> len(panels)  # one for each time
    3

    Conditions in another order, which moves the cells:

    >>> four = fl.random_regression(arch, n_samples=4)
    >>> things = fl.Task(four.X, four.Y, labels=["oak", "robin", "pine", "canary"])
    >>> learned = fl.exact(things, net, [0.0, 1.0], observables=["rdm_cosine"])
    >>> panels = fl.plot.matrices(learned.rdm_cosine, order=["oak", "pine", "robin", "canary"])
    >>> [name.get_text() for name in panels[0].get_yticklabels()]
    ['oak', 'pine', 'robin', 'canary']
    """
    stack = _stack(da, labels, order)
    times = stack.matrices["time"].values
    panels = check_panels(_new_panels(stack) if axes is None else axes)
    if panels.size > times.size:
        raise InputError(f"{panels.size} axes were given for {times.size} times")
    chosen = np.linspace(0, times.size - 1, panels.size).round().astype(int)
    shown = np.asarray(stack.matrices.isel(time=chosen).values)
    columns = panels[0].get_subplotspec().get_gridspec().ncols if axes is None else panels.size
    for index, (ax, time, matrix) in enumerate(zip(panels, times[chosen], shown, strict=True)):
        image = _draw(ax, matrix, _look(da, shown))
        _name_sides(ax, stack, rows=index % columns == 0, columns=index + columns >= panels.size)
        ax.set_title(_time(time), fontsize="medium")
    panels[0].figure.colorbar(image, ax=panels.tolist(), label=style.label(da), pad=0.01)
    return panels


def animation(
    da: xr.DataArray,
    ax: Axes | None = None,
    frames: int = 60,
    labels: Sequence[Any] | None = None,
    order: Sequence[Any] | None = None,
) -> FuncAnimation:
    """Animate a matrix through training, such as QQ^T.

    Parameters
    ----------
    da : xarray.DataArray
        As for `matrices`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    frames : int
        Largest number of frames; times are chosen evenly from the first to the last.
    labels, order : sequence, optional
        As for `matrices`.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        ``.save("qqt.gif", writer="pillow")`` writes a file, ``.to_jshtml()`` shows it in a notebook.

    Raises
    ------
    InputError
        If the observable is no matrix over time, `labels` or `order` do not fit, or `frames` is not positive.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> exact = fl.exact(task, net, np.linspace(0.0, 10.0, 101))
    >>> moving = fl.plot.animation(exact.qqt, frames=5)
    >>> moving.save("qqt.gif", writer="pillow")
    """
    check_ax(ax)
    stack = _stack(da, labels, order)
    all_times = stack.matrices["time"].values
    count = min(check_int("frames", frames, 1, 10_000), all_times.size)
    chosen = np.linspace(0, all_times.size - 1, count).round().astype(int)
    times, shown = all_times[chosen], np.asarray(stack.matrices.isel(time=chosen).values)
    ax = plt.subplots(figsize=(4.0, 3.6), layout="constrained")[1] if ax is None else ax
    image = _draw(ax, shown[0], _look(da, shown))
    _name_sides(ax, stack, rows=True, columns=True)
    title = ax.set_title(_time(times[0]), fontsize="medium")
    figure = ax.figure
    assert isinstance(figure, Figure)
    figure.colorbar(image, ax=ax, label=style.label(da))

    def show(frame: int) -> list[Any]:
        image.set_data(shown[frame])
        title.set_text(_time(times[frame]))
        return [image, title]

    return FuncAnimation(figure, show, frames=count, interval=MILLISECONDS)


def _new_panels(stack: _Stack) -> list[Axes]:
    """Return axes for matrices. Those that are about as wide as high are drawn close together.

    Titles of narrow ones would touch.
    """
    height, width = stack.matrices.shape[1:]
    layout = "compressed" if height < 2 * width else "constrained"
    return new_panels(min(PANELS, stack.matrices.sizes["time"]), 2.4, layout)


def _of_several_networks(da: xr.DataArray, dims: Sequence[str]) -> bool:
    """Return whether some dimensions are not those of a matrix of one network."""
    if da.name in REGISTRY:
        return not {*dims} <= {*REGISTRY[str(da.name)].dims}
    return bool(AXES_OF_SWEEPS & {*dims})


def _stack(da: xr.DataArray, labels: Sequence[Any] | None, order: Sequence[Any] | None) -> _Stack:
    """Return the matrices of an observable. Each pair (output, sample) of the NTK is one row."""
    check_instance("da", da, xr.DataArray, "an observable of a network, as fl.exact(...).qqt")
    rest = [str(name) for name in da.dims if name != "time"]
    if "time" not in da.dims or len(rest) not in (2, 4) or _of_several_networks(da, rest):
        dims = ", ".join(map(str, da.dims)) or "none"
        raise InputError(
            f"{da.name} has the dimensions {dims}; needed is a matrix of one network over time, as {MATRICES}"
        )
    if not da.size:
        raise InputError(f"{da.name} is empty, as {shown(da)}; needed is one time at least")
    half = len(rest) // 2
    parts = rest[:half], rest[half:]
    sides = [int(np.prod([da.sizes[name] for name in part])) for part in parts]
    if max(sides) > MAX_SIDE:
        raise InputError(f"the matrix is {sides[0]} by {sides[1]}; at most {MAX_SIDE} rows can be drawn")
    flat = da.transpose("time", *rest)
    data = flat.data.reshape(da.sizes["time"], *sides)
    matrices = xr.DataArray(data, dims=("time", "row", "column"), coords={"time": da["time"]})
    names = [", ".join(name.removesuffix("_2").replace("_", " ") for name in part) for part in parts]
    _check_names(da, names, labels, order)
    given = list(da[rest[0]].values) if labels is None and rest[0] in da.coords else labels
    rows, columns = (_side(name, size, given, order) for name, size in zip(names, sides, strict=True))
    return _Stack(matrices.isel(row=rows.order, column=columns.order), rows, columns)


def _check_names(
    da: xr.DataArray, names: Sequence[str], labels: Sequence[Any] | None, order: Sequence[Any] | None
) -> None:
    """Raise unless `labels` are given for samples only, and `order` for conditions."""
    name, sampled = names[0], "sample" in names
    if labels is not None and name == "condition":
        raise InputError(
            f"labels are the conditions of samples; {da.name} is a matrix over conditions, which have their "
            "names; order=[...] draws them in another order"
        )
    if labels is not None and not sampled:
        raise InputError(f"labels are for matrices over samples; {da.name} has {name}s")
    if order is not None and labels is None and name != "condition":
        hint = ", of which labels=[...] are the conditions" if sampled else ""
        raise InputError(f"order is that of conditions; {da.name} has {name}s{hint}")


def _side(name: str, size: int, labels: Sequence[Any] | None, order: Sequence[Any] | None) -> _Side:
    """Return a side of a matrix. Samples and conditions of the same label are side by side."""
    if name not in LABELLED or labels is None:
        return _Side(name, np.arange(size))
    try:
        given = list(labels)
        groups = list(dict.fromkeys(given))
    except TypeError:
        raise InputError(f"labels is {shown(labels)}; needed is a text or a number for each {name}") from None
    if len(given) != size:
        raise InputError(f"there are {len(given)} labels and {size} {name}s")
    if order is not None:
        groups = _ordered(groups, order)
    numbers = np.array([groups.index(label) for label in given])
    places = np.argsort(numbers, kind="stable")
    ticks = tuple(float(np.flatnonzero(numbers[places] == number).mean()) for number in range(len(groups)))
    return _Side("condition", places, ticks, tuple(map(str, groups)))


def _ordered(groups: list[Any], order: Sequence[Any]) -> list[Any]:
    """Return the names of conditions in the order of the user, which has each of them once."""
    wanted = np.array(order, dtype=object)
    names = wanted.ravel().tolist()
    if wanted.shape != (len(groups),) or any(name not in names for name in groups):
        needed = ", ".join(map(str, groups))
        raise InputError(f"order is {shown(order)}; needed is each condition once: {needed}")
    return names


def _look(da: xr.DataArray, shown: NDArray[Any]) -> dict[str, Any]:
    """Return the colours of matrices: those of the range of dissimilarities, else symmetric around 0."""
    if str(da.name).startswith("rdm"):
        return {"cmap": style.COLOUR_MAP, "norm": Normalize(0.0, DISSIMILARITY)}
    largest = float(np.abs(shown).max()) or 1.0
    return {"cmap": style.SIGNED_COLOUR_MAP, "norm": Normalize(-largest, largest)}


def _draw(ax: Axes, matrix: NDArray[Any], look: dict[str, Any]) -> AxesImage:
    image = ax.imshow(matrix, interpolation="nearest", **look)
    ax.set(xticks=[], yticks=[])
    return image


def _name_sides(ax: Axes, stack: _Stack, *, rows: bool, columns: bool) -> None:
    """Write the names of rows and of columns, or that of the side if there are none or too many.

    Letters are smaller where names would touch.
    """
    room = min(inches(ax))
    usual = FontProperties(size=plt.rcParams["ytick.labelsize"]).get_size_in_points()
    for axis, side, named in ((ax.yaxis, stack.rows, rows), (ax.xaxis, stack.columns, columns)):
        size = min(usual, room / LINE / max(len(side.names), 1))
        if named and side.names and size >= LEAST_SIZE:
            upright = axis is ax.xaxis and max(map(len, side.names)) > 2
            axis.set_ticks(side.ticks, side.names, rotation=90 if upright else 0, fontsize=size)
            axis.set_tick_params(length=0)
        elif named:
            axis.set_label_text(side.name)


def _time(value: float) -> str:
    return rf"$t/\tau = {style.number(float(value))}$"
