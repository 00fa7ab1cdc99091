"""Wide networks: the kernel distance over lam and kappa, and Gaussian networks that tend to this family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.architecture import Architecture
from fastlin.kinds.starts import balanced_init, random_init
from fastlin.kinds.task_kinds import random_regression
from fastlin.observables.regimes import THRESHOLD
from fastlin.plot import phase_diagram, style
from fastlin.solutions.exact import exact
from fastlin.solutions.flow import flow
from fastlin.sweeps.figures.panels import add_caption, beside, three_panels
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.read.open import open_sweep
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads
from fastlin.sweeps.run.progress import as_progress
from fastlin.sweeps.run.run import run_sweep
from fastlin.sweeps.spec.spec import Spec

PRESET = "wide-plane"
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
SEEDS = 20
TIMES = np.linspace(0.0, 10.0, 21)
N_SAMPLES, TARGET_SCALE = 10, 3**0.5
LIMIT = 0.0, 1.0  # lam and kappa of Gaussian networks of variance 1 / N_h as N_h grows.


class Measured(NamedTuple):
    """The numbers that the panels show."""

    plane: xr.DataArray  # kernel distance (seed, lam, kappa) at t = inf
    gaussian: xr.Dataset  # lam, kappa, residual and map_error (width, seed)


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
        ``lam``, ``kappa`` and ``residual`` of `Network.fit`, and ``map_error``, the largest distance of
        W2 W1 from that of the fit over time, relative to ``|Sigma_yx|_F``. Dimensions (width, seed).
    """
    rows = np.array([[_one_network(width, seed) for seed in range(seeds)] for width in widths])
    names = ("lam", "kappa", "residual", "map_error")
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
    true = flow(task, net, TIMES, observables=["w2w1"]).w2w1
    difference = np.linalg.norm(true - exact(task, fitted, TIMES, ["w2w1"]).w2w1, axis=(-2, -1))
    return lam, kappa, residual, float(difference.max() / np.linalg.norm(task.sigma_yx))


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: kernel distance at t = inf over lam and kappa. B: lam and kappa that fit Gaussian networks. C: the
        residual of the fit and the error of its map over the number of hidden units.
    """
    return compose(measure(progress=progress))


def compose(measured: Measured) -> Figure:
    """Draw the figure from the result of `measure`."""
    with context(STYLE):
        drawn, (plane, clouds, decay) = three_panels(
            (
                f"kernel distance of {_shape()}, $t = \\infty$",
                "balance that fits Gaussian networks",
                "distance of Gaussian networks from this family",
            )
        )
        phase_diagram(measured.plane, "lam", "kappa", plane, THRESHOLD)
        plane.plot(*LIMIT, "*", color="white", markeredgecolor="black", markersize=11)
        _draw_clouds(clouds, measured.gaussian)
        _draw_decay(decay, measured.gaussian)
        add_caption(drawn, _caption(measured.gaussian))
    return drawn


def _shape() -> str:
    return str(Spec.load(PRESET).architectures[0])


def _draw_clouds(ax: Axes, gaussian: xr.Dataset) -> None:
    """Draw the fits of every second width as points over lam and kappa, and their limit as a star."""
    for width, colour, marker in zip(gaussian.width.values[::2], style.COLOURS, "osD^", strict=False):
        each = gaussian.sel(width=width)
        ax.plot(each.lam, each.kappa, marker, color=colour, markersize=4, label=f"$N_h = {width}$")
    ax.plot(*LIMIT, "*", color="white", markeredgecolor="black", markersize=11, label="limit")
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel=style.SYMBOLS["kappa"])
    ax.set_xlim(right=1.1)  # Room for the legend.
    ax.legend(loc="center right")


def slope(values: xr.DataArray) -> float:
    """Return the exponent of the number of hidden units with which the mean over seeds falls."""
    logs = np.log(values.mean("seed").values)
    return float(np.polyfit(np.log(values.width.values), logs, 1)[0])


def _draw_decay(ax: Axes, gaussian: xr.Dataset) -> None:
    """Draw means over seeds with their fitted slopes on logarithmic axes."""
    labels = {
        "residual": "residual of the fit",
        "map_error": "error of the fitted solution",
    }
    for (name, text), colour in zip(labels.items(), style.COLOURS, strict=False):
        values = gaussian[name]
        ax.loglog(values.width, values, ".", color=colour, alpha=0.25, markersize=4)
        mean = values.mean("seed")
        ax.loglog(
            values.width, mean, "o-", color=colour, label=f"{text}\nslope ${slope(values):.2f}$", markersize=4
        )
    scale = float(gaussian.residual[0].mean()) * np.sqrt(gaussian.width[0])
    ax.loglog(
        gaussian.width,
        2.0 * scale / np.sqrt(gaussian.width),
        "--",
        color=style.ink(),
        label=r"$\propto 1/\sqrt{N_h}$",
        linewidth=1,
    )
    ax.set_xticks(gaussian.width.values, [str(width) for width in gaussian.width.values])
    ax.minorticks_off()
    ax.set_xlabel(style.SYMBOLS["n_h"])
    beside(ax)


def _caption(gaussian: xr.Dataset) -> str:
    spec = Spec.load(PRESET)
    return (
        rf"A: closed form with two-sided balance, mean over {spec.seeds.size} seeds; lines at "
        rf"$S = {THRESHOLD[0]:g}$ (dashed) and ${THRESHOLD[1]:g}$; star: limit of Gaussian networks. B, C: "
        rf"{gaussian.sizes['seed']} networks 4-$N_h$-4 of each width, Gaussian weights of variance "
        r"$1/N_h$. C: residual $|Q(D - \lambda I)Q^\top + \kappa^2 J| / |Q|^4$; error: largest distance of "
        rf"$W_2 W_1$ from that of the flow, $t \leq {TIMES[-1]:g}$, over $|\Sigma_{{yx}}|$; lines: means. "
        rf"Preset: {PRESET}."
    )
