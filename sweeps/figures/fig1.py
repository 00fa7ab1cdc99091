"""Figure 1 of the paper: one bottleneck over time, gradient descent and closed form, lam = 1, 0, -1."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

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
from fastlin.solutions.descent import gradient_descent
from fastlin.solutions.exact import exact
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
LINE, DOT = 240, 8  # Records that are drawn as a line. Every eighth of them is a dot of the closed form.


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
    return exact(task, net, gd.time[::DOT], PANELS).compute(), gd


def figure() -> Figure:
    """Draw Figure 1.

    Returns
    -------
    matplotlib.figure.Figure
        Rows A, B, C for lam = 1, 0, -1; columns loss, network function, correlations of the input and of
        the output weights, entries of the NTK.
    """
    with context(STYLE):
        drawn = Figure(figsize=(12.0, 7.4), layout="constrained")
        axes = drawn.subplots(len(LAMS), len(PANELS), sharex=True)
        for letter, lam, row in zip("ABC", LAMS, axes, strict=True):
            dynamics(*simulate(lam), row)
            _plateaus(row[0], setting(lam)[0])
            _arrange(row, rf"{letter}   $\lambda = {lam:g}$", first=lam == LAMS[0], last=lam == LAMS[-1])
        drawn.align_ylabels(axes[:, 0])
        drawn.supxlabel(_caption(), x=0.01, ha="left", fontsize="medium")
    return drawn


def _plateaus(ax: Axes, task: Task) -> None:
    """Draw lines at the loss of the best map of rank N_h and at that of the best map of any rank."""
    strengths = np.linalg.svd(task.sigma_yx, compute_uv=False)
    best = task.loss_floor + 0.5 * float(np.sum(strengths[ARCHITECTURE.n_h :] ** 2))
    ax.axhline(best, color="0.4", linestyle="--", linewidth=1, zorder=0)
    ax.axhline(task.loss_floor, color="0.4", linestyle=":", linewidth=1, zorder=0)


def _arrange(row: Sequence[Axes], name: str, *, first: bool, last: bool) -> None:
    """Write the names of the columns above the first row and the time axis below the last."""
    for ax in row:
        ax.set_title(ax.get_ylabel() if first else "")
        ax.set_ylabel("")
        ax.set_xlabel(ax.get_xlabel() if last else "")
    row[0].set_ylabel(name, fontsize="large")
    if not first and (legend := row[0].get_legend()):
        legend.remove()


def _caption() -> str:
    """Return the caption. It has its own line breaks, because automatic ones would split formulas."""
    return "\n".join(
        [
            f"One network {ARCHITECTURE} ($N_i$-$N_h$-$N_o$) learns a random regression task, "
            rf"$P = {N_SAMPLES}$, $\sigma = \sqrt{{{TARGET_SCALE**2:g}}}$, seed {SEED}. "
            rf"Lines: gradient descent, $\eta = {LEARNING_RATE}$, {STEPS:,} steps; "
            "black dots: the closed form.",
            r"Nine entries of each matrix. Weights at $\lambda = 0$: Gaussian, of variance "
            rf"{ZERO_SCALE**2:g}; "
            r"else from the $\Sigma_{yx}$ of an independent random regression task with $\sigma_{xy} = 1$. "
            "The axis of time",
            f"is linear up to about {LINEAR_TIME:g}, and logarithmic beyond. Loss: dashed, of the best map "
            f"of rank {ARCHITECTURE.n_h}, which a bottleneck ends at; dotted, of the best linear map. "
            "The paper states",
            "neither seed nor horizon; ours shows the plateaus, and most of the turn of the weights at "
            rf"$\lambda = \pm 1$. fastlin {version('fastlin')}.",
        ]
    )
