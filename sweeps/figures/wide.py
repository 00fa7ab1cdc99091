"""Wide networks: the kernel distance over lam and kappa, and Gaussian networks that tend to this family."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.architecture import Architecture
from fastlin.exact_solution import exact
from fastlin.gradient_flow import flow
from fastlin.plot import phase_diagram, style
from fastlin.regimes import THRESHOLD
from fastlin.starts import balanced_init, random_init
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.read.open import open_sweep
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads
from fastlin.sweeps.run.progress import as_progress
from fastlin.sweeps.run.run import run_sweep
from fastlin.sweeps.spec.spec import Spec
from fastlin.task_kinds import random_regression

PRESET = "wide-plane"
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
SEEDS = 20
TIMES = np.linspace(0.0, 10.0, 21)
N_SAMPLES, TARGET_SCALE = 10, 3**0.5
CLOUDS = (16, 64, 256, 1024)  # Widths whose networks are drawn on the plane.


class Measured(NamedTuple):
    """The numbers that the panels show."""

    plane: xr.DataArray  # kernel distance (seed, lam, kappa) at t = inf
    gaussian: xr.Dataset  # lam, kappa, residual and loss_error (width, seed)


def measure(widths: Sequence[int] = WIDTHS, seeds: int = SEEDS, *, progress: bool = False) -> Measured:
    """Return the kernel distances of the preset wide-plane, and the fits of Gaussian networks.

    Parameters
    ----------
    widths : sequence of int
        Hidden units of the Gaussian networks.
    seeds : int
        Networks of each width.
    progress : bool
        Show the progress of the sweep, as `run_sweep` does.

    Returns
    -------
    Measured
    """
    spec = Spec.load(PRESET)
    with TemporaryDirectory() as folder, connect(Threads()) as client:
        run_sweep(spec, Path(folder, PRESET), client, progress=as_progress(progress))
        plane = open_sweep(Path(folder, PRESET)).kernel_distance.isel(time=-1).squeeze().load()
    return Measured(plane, gaussian_networks(widths, seeds))


def gaussian_networks(widths: Sequence[int], seeds: int) -> xr.Dataset:
    """Return the fits of Gaussian networks of variance 1 / N_h, and the error of their exact solutions.

    Returns
    -------
    xarray.Dataset
        ``lam``, ``kappa`` and ``residual`` of `Network.fit`, and ``loss_error``, the largest difference of
        the loss of the fit and of the network over time, relative to the first loss. Dimensions (width,
        seed).
    """
    rows = np.array([[_one_network(width, seed) for seed in range(seeds)] for width in widths])
    names = ("lam", "kappa", "residual", "loss_error")
    return xr.Dataset(
        {name: (("width", "seed"), rows[..., index]) for index, name in enumerate(names)},
        {"width": list(widths), "seed": np.arange(seeds)},
    )


def _one_network(width: int, seed: int) -> tuple[float, float, float, float]:
    arch = Architecture(4, width, 4)
    task = random_regression(arch, N_SAMPLES, TARGET_SCALE, seed)
    net = random_init(arch, "ntk", seed=seed)
    lam, kappa, residual = net.fit()
    fitted = balanced_init(arch, lam, seed=seed, kappa=kappa, weights=(net.w1, net.w2))
    true, near = flow(task, net, TIMES, observables=["loss"]), exact(task, fitted, TIMES, ["loss"])
    return lam, kappa, residual, float(abs(true.loss - near.loss).max() / true.loss[0])


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: kernel distance at t = inf over lam and kappa, and the fits of Gaussian networks. B: the residual
        of the fit and the error of its loss over the number of hidden units.
    """
    return compose(measure(progress=progress))


def compose(measured: Measured) -> Figure:
    """Draw the figure from the result of `measure`."""
    with context(STYLE):
        drawn = Figure(figsize=(11.0, 4.8), layout="constrained")
        left, right = drawn.subplots(1, 2)
        phase_diagram(measured.plane, "lam", "kappa", left, THRESHOLD)
        _draw_clouds(left, measured.gaussian)
        _draw_decay(right, measured.gaussian)
        for letter, ax, title in (
            ("A", left, f"kernel distance of {_shape()} at $t = \\infty$"),
            ("B", right, "Gaussian networks tend to this family"),
        ):
            ax.set_title(f"{letter}   {title}", loc="left", fontsize="large")
        drawn.supxlabel(_caption(measured.gaussian), x=0.01, ha="left", fontsize="medium")
    return drawn


def _shape() -> str:
    return str(Spec.load(PRESET).architectures[0])


def _draw_clouds(ax: Axes, gaussian: xr.Dataset) -> None:
    """Draw the fits of networks of some widths as points of the plane."""
    for width, colour in zip(CLOUDS, style.COLOURS[1:], strict=False):
        if width in gaussian.width:
            each = gaussian.sel(width=width)
            ax.plot(each.lam, each.kappa, ".", color=colour, markersize=4, label=f"$N_h = {width}$")
    ax.legend(loc="upper right", fontsize="small", title="Gaussian, fitted")


def slope(values: xr.DataArray) -> float:
    """Return the exponent of the number of hidden units with which the mean over seeds falls."""
    logs = np.log(values.mean("seed").values)
    return float(np.polyfit(np.log(values.width.values), logs, 1)[0])


def _draw_decay(ax: Axes, gaussian: xr.Dataset) -> None:
    """Draw means over seeds with their fitted slopes on logarithmic axes."""
    labels = {
        "residual": r"$|Q(D - \lambda I)Q^\top + \kappa^2 J| \,/\, |Q|^4$",
        "loss_error": r"largest error of the loss, $/\,\mathcal{L}(0)$",
    }
    for (name, text), colour in zip(labels.items(), style.COLOURS, strict=False):
        values = gaussian[name]
        ax.loglog(values.width, values, ".", color=colour, alpha=0.25, markersize=4)
        mean = values.mean("seed")
        ax.loglog(
            values.width, mean, "o-", color=colour, label=f"{text}: slope ${slope(values):.2f}$", markersize=4
        )
    ax.set_xticks(gaussian.width.values, [str(width) for width in gaussian.width.values])
    ax.minorticks_off()
    ax.set_xlabel(style.SYMBOLS["n_h"])
    ax.legend(frameon=False, loc="lower left")


def _caption(gaussian: xr.Dataset) -> str:
    """Return the caption. It has its own line breaks, because automatic ones would split formulas."""
    spec = Spec.load(PRESET)
    return "\n".join(
        [
            rf"A: closed form with two-sided balance, mean over {spec.seeds.size} seeds; lines: "
            rf"$S = {THRESHOLD[0]:g}$ (dashed) and ${THRESHOLD[1]:g}$. Points: $\lambda$ and $\kappa$ that "
            r"fit Gaussian weights of variance $1/N_h$ best.",
            rf"B: {gaussian.sizes['seed']} networks 4-$N_h$-4 of each width, the flow of the network against "
            rf"the exact solution of its fit, $t \leq {TIMES[-1]:g}$; lines: means. Preset: {PRESET}. "
            f"fastlin {version('fastlin')}.",
        ]
    )
