"""Figure 2 of the paper: how far the kernel moves, by architecture, lam and horizon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, SubFigure
from matplotlib.style import context

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.plot import profile, style
from fastlin.sweeps.figures.panels import add_caption
from fastlin.sweeps.figures.schematic import schematic
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.read.open import open_sweep
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads, blocks_at_once
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.prepare import check_resources
from fastlin.sweeps.run.progress import as_progress
from fastlin.sweeps.run.run import run_sweep
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.locate import locate
from fastlin.validation import check_instance

MOST = 6  # Architectures that fit a row of panels.
TICKS = np.arange(-9, 10, 3)  # Values of lam.
PRESETS = {"B": "figure-2b", "C": "figure-2c", "D": "figure-2d"}


def measure(
    architectures: Sequence[Architecture] | None = None, *, progress: bool = False
) -> dict[str, xr.DataArray]:
    """Return the kernel distances that the panels show, from sweeps of the presets figure-2b, -2c and -2d.

    Parameters
    ----------
    architectures : sequence of Architecture, optional
        In place of the paper's in panels B and D.
    progress : bool
        Show the progress of each sweep, as `run_sweep` does.

    Returns
    -------
    dict of str to xarray.DataArray
        By panel; dimensions architecture, seed, lam and time, and solver in B and C.

    Raises
    ------
    InputError
        If the architectures are not one to six different ones, or memory or disk do not suffice for them.
    """
    specs = {panel: Spec.load(name) for panel, name in PRESETS.items()}
    if architectures is not None:
        for panel in "BD":
            specs[panel] = _with(specs[panel], architectures)
    with TemporaryDirectory() as folder, connect(Threads()) as client:
        at_once = blocks_at_once(Threads())
        for panel, spec in specs.items():
            check_resources(Plan.of(spec).layout, locate(Path(folder, panel)), at_once)
        for panel, spec in specs.items():
            shown = as_progress(progress)
            shown.note(f"panel {panel}: computing {spec.points:,} points")
            run_sweep(spec, Path(folder, panel), client, progress=shown)
        return {
            panel: open_sweep(Path(folder, panel)).kernel_distance.squeeze("init_scale").load()
            for panel in specs
        }


def _with(spec: Spec, architectures: Sequence[Architecture]) -> Spec:
    for index, shape in enumerate(architectures):
        check_instance(f"architectures[{index}]", shape, Architecture, "Architecture(n_i, n_h, n_o)")
    if not 1 <= len(architectures) <= MOST:
        raise InputError(f"{len(architectures)} architectures are given; 1 to {MOST} can be told apart")
    content = spec.to_dict()
    content["axes"]["architecture"] = [[shape.n_i, shape.n_h, shape.n_o] for shape in architectures]
    # Inputs can be whitened only if there are at least as many samples as inputs.
    content["task"]["n_samples"] = samples_for(architectures)
    return Spec.from_dict(content)


def samples_for(architectures: Sequence[Architecture]) -> int:
    """Return the number of samples P: that of the paper, or the largest number of inputs if it is larger."""
    paper = int(Spec.load(PRESETS["B"]).task.values["n_samples"])
    return max(paper, *(shape.n_i for shape in architectures))


def limits(architecture: Architecture) -> tuple[float, float]:
    """Return the mean of S(t = inf) for lam -> -inf and for lam -> +inf.

    The kernel is that of one layer alone in these limits. For lam -> +inf it is ``W2 W2^T / lam``, the
    projection on the N_h output directions that the weights span. Training turns ``k = min(N_h, N_i)`` of
    them, as many as the other layer can serve, towards the directions of the task. The others stay. If the
    start is isotropic, the mean of ``<K_0, K_inf> / |K_0| |K_inf|`` is ``1 - k (1 / N_h - 1 / N_o)``. For lam
    -> -inf, N_i and N_o are exchanged. If the layer has N_h or fewer units, the weights span all of its
    directions, and the limit is 0.

    Parameters
    ----------
    architecture : Architecture
        Its sizes. For a bottleneck the limits are 1 - N_h / N_i and 1 - N_h / N_o.

    Returns
    -------
    tuple of two floats

    Examples
    --------
    >>> limits(Architecture(4, 2, 2))
    (0.5, 0.0)
    """
    n_i, n_h, n_o = architecture.n_i, architecture.n_h, architecture.n_o
    return (
        max(0.0, min(n_h, n_o) * (1 / n_h - 1 / n_i)),
        max(0.0, min(n_h, n_i) * (1 / n_h - 1 / n_o)),
    )


def figure(architectures: Sequence[Architecture] | None = None, *, progress: bool = False) -> Figure:
    """Draw Figure 2, with a panel that compares horizons.

    Parameters
    ----------
    architectures : sequence of Architecture, optional
        One to six in place of the paper's in panels A, B and D.
    progress : bool
        As for `measure`.

    Returns
    -------
    matplotlib.figure.Figure
        A: schematics. B, C: kernel distance over lam, gradient descent and closed form, of the
        architectures and of four bottlenecks. D: the closed form at four horizons, and the limits for
        lam -> -inf and +inf of the last.

    Raises
    ------
    InputError
        As of `measure`.
    """
    return compose(measure(architectures, progress=progress))


def compose(measured: Mapping[str, xr.DataArray]) -> Figure:
    """Draw Figure 2 from the result of `measure`."""
    with context(STYLE):
        drawn = Figure(figsize=(style.WIDTH, 10.4), layout="constrained")
        parts = drawn.subfigures(3, 1, squeeze=False, height_ratios=[2.0, 3.7, 2.9])
        top, middle, bottom = parts[:, 0]
        shapes = [shape for shape, _ in _each(measured["B"])]
        _schematics(top, shapes)
        left, right = middle.subplots(1, 2, sharey=True)
        _compare(left, "B", measured["B"], style.COLOURS)
        _compare(right, "C", measured["C"], _shades(measured["C"].sizes["architecture"]))
        left.set_ylim(bottom=-0.02)
        right.set_ylabel("")
        _horizons(bottom, measured["D"])
        add_caption(drawn, _caption(shapes))
    return drawn


def _each(da: xr.DataArray) -> Iterator[tuple[Architecture, xr.DataArray]]:
    """Yield the architectures of a sweep, each with its part."""
    for index in range(da.sizes["architecture"]):
        selected = da.isel(architecture=index)
        yield Architecture.read(str(selected["architecture"].values)), selected


def _shades(count: int) -> list[str]:
    """Return colours in the order of a colour map."""
    return [to_hex(colour) for colour in colormaps[style.COLOUR_MAP](np.linspace(0.0, 0.92, count))]


def _title(panel: Axes | SubFigure, letter: str, text: str) -> None:
    if isinstance(panel, Axes):
        panel.set_title(f"{letter}   {text}", loc="left")
    else:
        panel.suptitle(f"{letter}   {text}", x=0.01, ha="left", fontsize="medium")


def _schematics(part: SubFigure, shapes: Sequence[Architecture]) -> None:
    height = max(max(shape.n_i, shape.n_h, shape.n_o) for shape in shapes)
    for ax, shape, colour in zip(_row(part, len(shapes)), shapes, style.COLOURS, strict=False):
        schematic(ax, shape, colour, height)
        ax.set_title(f"{shape.family} {shape}")
    _title(part, "A", "the architectures")


def _row(part: SubFigure, count: int) -> list[Axes]:
    """Return axes side by side."""
    return list(part.subplots(1, count, sharey=True, squeeze=False)[0])


def _compare(ax: Axes, letter: str, da: xr.DataArray, colours: Sequence[str]) -> None:
    """Draw gradient descent and closed form at the last time."""
    late = da.isel(time=-1)
    for (shape, selected), colour in zip(_each(late), colours, strict=False):
        gd, exact = (selected.sel(solver=name) for name in ("gradient_descent", "exact"))
        profile(gd, "lam", ax, color=colour, label=f"{shape.family} {shape}")
        (dots,) = ax.plot(exact.lam, exact.mean("seed"), "k.")
    dots.set_label("closed form")
    ax.set_xticks(TICKS)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    _title(ax, letter, _at(float(late.time)))


def _at(time: float) -> str:
    return rf"$t/\tau = {style.number(time)}$"


def _horizons(part: SubFigure, da: xr.DataArray) -> None:
    """Draw the closed form at each horizon, and the limits of the last for lam -> -inf and +inf."""
    axes = _row(part, da.sizes["architecture"])
    for ax, (shape, selected) in zip(axes, _each(da), strict=True):
        for index, colour in enumerate(_shades(da.sizes["time"])):
            now = selected.isel(time=index)
            # The limit is a broad line, so that it shows below a line that covers it.
            width = 4.0 if np.isinf(now.time) else 1.5
            ax.plot(
                now.lam,
                now.mean("seed"),
                color=colour,
                linewidth=width,
                zorder=2 - width / 4,
                label=_at(float(now.time)),
            )
        for limit, ends in zip(limits(shape), ([0.0, 0.3], [0.7, 1.0]), strict=True):
            ax.plot(ends, [limit, limit], "k--", linewidth=1, transform=ax.get_yaxis_transform())
        ax.set_title(f"{shape.family} {shape}")
        ax.set_xlabel(style.SYMBOLS["lam"])
        ax.set_xticks(TICKS)
    axes[0].set_ylabel(style.label(da))
    lines = [*axes[0].lines[: da.sizes["time"]], axes[0].lines[-1]]
    names = [*(str(line.get_label()) for line in lines[:-1]), r"$t/\tau = \infty$, $\lambda \to \pm\infty$"]
    part.legend(lines, names, frameon=False, loc="outside lower center", ncols=len(lines))
    _title(part, "D", "the closed form at four horizons")


def _caption(shapes: Sequence[Architecture]) -> str:
    spec = Spec.load(PRESETS["B"])
    rate, variance = float(spec.learning_rates[0]), spec.task.values["target_scale"] ** 2
    own = "" if tuple(shapes) == spec.architectures else ", B and D with the architectures of A"
    saddle = (
        r" At $\lambda = 0$ about half of the networks with $N_i = N_o \leq N_h$ end at a saddle of the "
        r"flow in "
        "the closed form, which gradient descent leaves."
    )
    return (
        f"Distance of the NTK from its start, mean over {spec.seeds.size} seeds, each with a task and "
        f"weights of "
        rf"its own; bands: one standard deviation. B, C: lines, gradient descent, $\eta = {rate}$, "
        rf"{spec.times[-1] / rate:,.0f} steps; dots, the closed form. D: closed form. $P = "
        rf"{samples_for(shapes)}$, $\sigma = \sqrt{{{variance:g}}}$, weights from the $\Sigma_{{yx}}$ of "
        rf"another random regression task with $\sigma_{{xy}} = "
        rf"1$.{saddle if any(map(_ends_at_saddles, shapes)) else ''} "
        f"Presets: {', '.join(PRESETS.values())}{own}."
    )


def _ends_at_saddles(shape: Architecture) -> bool:
    return shape.n_i == shape.n_o <= shape.n_h
