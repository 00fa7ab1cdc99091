"""Reversal learning: the half time over lam and over the length of the first task.

At lam = 0 the half time grows with the length of the first task without bound. A network that starts at its
optimum stays at a saddle then. This is the catastrophic slowing of Braun et al. (2022).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.architecture import Architecture
from fastlin.kernels.compiler.jit import Array
from fastlin.kinds.starts import balanced_init
from fastlin.observables.relearning import LONGEST, reversal_times
from fastlin.plot import style
from fastlin.solutions.sequence import sequence
from fastlin.sweeps.figures.panels import add_caption, beside, three_panels
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.figures.swept import swept
from fastlin.sweeps.spec.spec import Spec
from fastlin.tasks.task import Task

PRESET = "reversal"
LENGTHS = (2.0, 4.0, 8.0, math.inf)  # of the first task, in panel A
WIDTHS = (4.8, 3.6, 2.5, 1.5, 0.8)  # Points of lines that coincide in part: each lies on a broader one.
LAMS = (0.0, 1e-6, 1e-4, 1e-2, 1.0)  # in panel B
CURVES = (1e-4, 1e-2, 0.3, 3.0)  # lam in panel C
TIMES = np.linspace(0.0, 10.0, 201)


class Measured(NamedTuple):
    """The numbers that the panels show."""

    half_times: xr.DataArray  # (duration, seed, lam) times to 3/4 of the loss drop after the reversal
    curves: xr.DataArray  # (lam, time) strength of a mode over its target, reversed at t = 0


def measure(*, progress: bool = False) -> Measured:
    """Return the half times of the preset reversal, and single modes over time."""
    times = swept(PRESET, progress=progress).relearning_time.sel(stage=1, drop=True)
    return Measured(times, _curves())


def _curves() -> xr.DataArray:
    stages = [(Task.from_sigma([[sign]]), math.inf) for sign in (1.0, -1.0)]
    nets = [balanced_init(Architecture(1, 1, 1), lam) for lam in CURVES]
    curves = [sequence(stages, net, TIMES, ["w2w1"]).w2w1.values[1, :, 0, 0] for net in nets]
    return xr.DataArray(np.array(curves), {"lam": list(CURVES), "time": TIMES}, ("lam", "time"))


def mode(times: Array, lam: float) -> Array:
    """Return the strength of a mode of target 1 at some times after the target became -1 at its optimum.

    ``[-rho^2 z + (1 - rho^2) / z + 2 rho^2] / [rho^2 z + 2 (1 - rho^2) - (1 - rho^2) / z]`` with ``r = sqrt(1
    + lam^2 / 4)``, ``rho = lam / (2 r)``, ``z = e^(2 r t)``.
    """
    r = math.hypot(1.0, 0.5 * lam)
    square, decay = (0.5 * lam / r) ** 2, np.exp(-2.0 * r * times)
    rest = 1.0 - square
    above = -square + rest * decay**2 + 2.0 * square * decay
    return np.asarray(above / (square + 2.0 * rest * decay - rest * decay**2))


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: half time over lam, for some lengths of the first task. B: half time over the length of the first
        task, for some lam. C: single modes over time.
    """
    return compose(measure(progress=progress))


def compose(measured: Measured) -> Figure:
    """Draw the figure from the result of `measure`."""
    with context(STYLE):
        drawn, (over_lam, over_length, curves) = three_panels(
            (
                "half time of a reversal, over $\\lambda$",
                "half time, over the first task",
                "one mode after the reversal",
            )
        )
        _draw_over_lam(over_lam, measured.half_times)
        _draw_over_length(over_length, measured.half_times)
        _draw_curves(curves, measured.curves)
        add_caption(drawn, _caption(measured.half_times))
    return drawn


def _draw_over_lam(ax: Axes, half_times: xr.DataArray) -> None:
    """Draw medians over seeds for some lengths of the first task, and the closed form for no end."""
    positive = half_times.sel(lam=half_times.lam > 0.0)
    for length, colour, width in zip(LENGTHS, style.COLOURS, WIDTHS, strict=False):
        median = positive.sel(duration=length).median("seed")
        ax.loglog(median.lam, median, color=colour, linewidth=width, label=rf"${style.number(length)}$")
    closed = reversal_times(np.ones(positive.lam.size), positive.lam.values)
    ax.loglog(
        positive.lam[::3], closed[::3], "o", color=style.ink(), markersize=3, label=r"$\infty$, formula"
    )
    ax.set(xlabel=rf"{style.SYMBOLS['lam']}", ylabel=r"half time $t_{1/2}$ of the second task")
    ax.legend(title=r"first task, $t_A$", loc="lower left")


def _draw_over_length(ax: Axes, half_times: xr.DataArray) -> None:
    """Draw medians over seeds for some lam, and their closed forms as dashed lines."""
    finite = half_times.sel(duration=np.isfinite(half_times.duration))
    for lam, colour, width in zip(LAMS, style.COLOURS, WIDTHS, strict=False):
        median = finite.sel(lam=lam, method="nearest").median("seed")
        ax.plot(median.duration, median, color=colour, linewidth=width, label=_power(lam))
        if lam:
            ax.axhline(
                float(reversal_times(np.ones(()), median.lam.values)),
                color=colour,
                linestyle="--",
                linewidth=1,
            )
    ax.axvline(LONGEST, color="0.6", linestyle=":")
    ax.set(xlabel=r"length of the first task $t_A$", ylabel=r"half time $t_{1/2}$ of the second task")
    ax.set_xlim(0.0, LONGEST + 1.0)
    ax.legend(title=r"$\lambda$", loc="upper left")


def _power(lam: float) -> str:
    if lam in (0.0, 1.0):
        return f"${lam:g}$"
    return f"$10^{{{round(math.log10(lam))}}}$"


def _draw_curves(ax: Axes, curves: xr.DataArray) -> None:
    """Draw solutions as lines and the closed form of the mode as dots."""
    for lam, colour in zip(CURVES, style.COLOURS, strict=False):
        ax.plot(TIMES, curves.sel(lam=lam), color=colour, label=_power(lam) if lam < 0.1 else f"${lam:g}$")
        ax.plot(TIMES[::12], mode(TIMES[::12], lam), "o", color=style.ink(), markersize=3)
    ax.axhline(0.0, color="0.6", linestyle=":")
    ax.set(
        xlabel=r"time $t/\tau$ after the reversal", ylabel=r"strength of the mode $u^\top W_2 W_1 v \,/\, s$"
    )
    beside(ax, title=r"$\lambda$")


def deviation(half_times: xr.DataArray) -> float:
    """Return the largest relative deviation of half times from their closed form, after t_A = inf."""
    times = half_times.sel(duration=math.inf, lam=half_times.lam > 0.0)
    closed = xr.DataArray(reversal_times(np.ones(times.lam.size), times.lam.values), {"lam": times.lam})
    return float(np.abs(times / closed - 1.0).max())


def _caption(half_times: xr.DataArray) -> str:
    spec = Spec.load(PRESET)
    return (
        f"A, B: {spec.architectures[0]} networks learn a target $S$ of singular values $s = 1$ for a time "
        f"$t_A$, then $-S$. Half time: to 3/4 of the loss drop; medians of {spec.seeds.size} seeds. "
        f"Formula for "
        r"$t_A = \infty$ (dots in A, dashed in B): $\ln(1 + 2r/|\lambda|)/(2r)$, $r^2 = s^2 + "
        r"\lambda^2/4$, met to "
        rf"{deviation(half_times):.0e}. Dotted in B: $s\,t_A = {LONGEST:.0f}$, where double precision "
        rf"loses the direction that has to grow. C: a 1-1-1 network from its optimum; dots: formula. "
        rf"Preset: {PRESET}."
    )
