"""Figure 1 of the paper: one bottleneck over time, gradient descent and closed form, lam = 1, 0, -1."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.architecture import Architecture
from fastlin.kinds.starts import balanced_init
from fastlin.kinds.task_kinds import random_regression
from fastlin.networks.network import Network
from fastlin.plot import dynamics
from fastlin.plot.axes import LINEAR_TIME
from fastlin.plot.network import PANELS
from fastlin.plot.style import WIDTH
from fastlin.solutions.descent import gradient_descent
from fastlin.solutions.exact import exact
from fastlin.sweeps.figures.panels import add_caption
from fastlin.sweeps.figures.style import STYLE
from fastlin.tasks.task import Task

LAMS = (1.0, 0.0, -1.0)
ARCHITECTURE = Architecture(3, 2, 3)
N_SAMPLES, TARGET_SCALE, LEARNING_RATE = 20, 0.1**0.5, 0.01
# The paper states neither the seed nor the number of steps. The singular values of Sigma_yx with this seed
# (0.16, 0.053, 0.022) are so far apart that the plateaus show. At lam = 1 and -1 the weights turn towards
# their directions until times of |lam| / (s_2^2 - s_3^2) = 430.
SEED, STEPS = 25, 100_000
# B.3 says "variance 0.0001", so the standard deviation is 0.01. If 0.0001 were the factor of Algorithm 1, the
# plateaus would be the same, but the first one twice as long.
ZERO_SCALE = 0.01
EVERY = 10  # Steps from one record of gradient descent to the next.
LINE = 240  # Records that are drawn.


def setting(lam: float) -> tuple[Task, Network]:
    """Return the task and the network of one row (B.3)."""
    task = random_regression(ARCHITECTURE, N_SAMPLES, TARGET_SCALE, SEED)
    if lam == 0.0:
        return task, balanced_init(ARCHITECTURE, lam, ZERO_SCALE, SEED)
    return task, balanced_init(ARCHITECTURE, lam, 1.0, SEED, "random_regression", n_samples=N_SAMPLES)


def simulate(lam: float) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the closed form and gradient descent of one row, at times that are evenly spaced on its axis."""
    task, net = setting(lam)
    gd = gradient_descent(task, net, LEARNING_RATE, STEPS, EVERY, PANELS)
    unit = LINEAR_TIME / LEARNING_RATE / EVERY
    even = np.linspace(0.0, np.arcsinh(STEPS / EVERY / unit), LINE)
    gd = gd.isel(time=np.unique(np.rint(unit * np.sinh(even)).astype(int))).compute()
    return exact(task, net, gd.time, PANELS).compute(), gd


def figure() -> Figure:
    """Draw Figure 1.

    Returns
    -------
    matplotlib.figure.Figure
        Columns A, B, C for lam = 1, 0, -1; rows loss, network function, correlations of the input and of
        the output weights, entries of the NTK.
    """
    with context(STYLE):
        drawn = Figure(figsize=(WIDTH, 9.6), layout="constrained")
        axes = drawn.subplots(len(PANELS), len(LAMS), sharex=True)
        for letter, lam, column in zip("ABC", LAMS, axes.T, strict=True):
            dynamics(*simulate(lam), column)
            _plateaus(column[0], setting(lam)[0])
            column[0].set_title(rf"{letter}   $\lambda = {lam:g}$", loc="left")
        for ax in axes.flat:
            ax.label_outer()
        for ax in axes[:, 1:].flat:
            ax.set_ylabel("")
            ax.tick_params(labelleft=True)  # Rows do not share their scale.
        for ax in axes[0, 1:]:
            ax.get_legend().remove()
        drawn.align_ylabels(axes[:, 0])
        add_caption(drawn, _caption())
    return drawn


def _plateaus(ax: Axes, task: Task) -> None:
    """Draw lines at the loss of the best map of rank N_h and at that of the best map of any rank."""
    strengths = np.linalg.svd(task.sigma_yx, compute_uv=False)
    best = task.loss_floor + 0.5 * float(np.sum(strengths[ARCHITECTURE.n_h :] ** 2))
    ax.axhline(best, color="0.4", linestyle="--", linewidth=1, zorder=0)
    ax.axhline(task.loss_floor, color="0.4", linestyle=":", linewidth=1, zorder=0)


def _caption() -> str:
    return (
        rf"One network {ARCHITECTURE} ($N_i$-$N_h$-$N_o$) learns a random regression task, $P = "
        rf"{N_SAMPLES}$, $\sigma = \sqrt{{{TARGET_SCALE**2:g}}}$, seed {SEED}. Broad lines: gradient "
        rf"descent, $\eta = {LEARNING_RATE}$, {STEPS:,} steps; thin black lines with dots: the closed "
        rf"form. Nine entries of each matrix. Loss: dashed, of the best map of rank {ARCHITECTURE.n_h}; "
        rf"dotted, of the best linear map. Weights: Gaussian of variance {ZERO_SCALE**2:g} at $\lambda = "
        rf"0$, else from the "
        r"$\Sigma_{yx}$ of another random regression task with $\sigma_{xy} = 1$."
    )
