"""Continual learning: forgetting of a task by a similar one, and learning it again."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.style import context

from fastlin.plot import style
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.figures.swept import swept
from fastlin.sweeps.spec.spec import Spec

PRESET = "forgetting"
LAMS = (-6.0, -1.0, 0.0, 1.0, 6.0)  # in panel A
MOMENT = 0.5  # time in the second task, in panel B
SIMILARITY = 0.0  # in panel C


def squared_target() -> float:
    """Return the squared norm of the first target of the preset."""
    return float(np.sum(np.square(Spec.load(PRESET).task.values["singular_values_0"])))


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: forgetting after the second task over similarity. B: loss on the first task in the course of the
        second one, over lam and similarity. C: times of learning over lam.
    """
    return compose(swept(PRESET, progress=progress))


def compose(measured: xr.Dataset) -> Figure:
    """Draw the figure from the results of the preset."""
    with context(STYLE):
        drawn = Figure(figsize=(10.0, 4.6), layout=ConstrainedLayoutEngine(wspace=0.04))
        end, course, times = drawn.subplots(1, 3)
        _draw_end(end, measured.forgetting.sel(stage=1, task=0))
        _draw_course(course, measured.loss.sel(stage=1, task=0, time=MOMENT))
        _draw_times(times, measured.relearning_time.sel(similarity=SIMILARITY, method="nearest"))
        for letter, ax, title in (
            ("A", end, "forgetting after the second task"),
            ("B", course, rf"loss on the first task at $t = {MOMENT:g}$ of the second"),
            ("C", times, "first time and again"),
        ):
            ax.set_title(f"{letter}   {title}", loc="left", fontsize="large")
        drawn.supxlabel(
            _caption(measured.forgetting.sel(stage=1, task=0)), x=0.01, ha="left", fontsize="medium"
        )
    return drawn


def _draw_end(ax: Axes, forgetting: xr.DataArray) -> None:
    """Draw means over seeds as markers, and the formula as a line."""
    ax.plot(
        forgetting.similarity,
        (1.0 - forgetting.similarity) * squared_target(),
        color=style.ink(),
        linewidth=1,
    )
    for lam, marker, colour in zip(LAMS, "v<o>^", style.COLOURS, strict=False):
        mean = forgetting.sel(lam=lam).mean("seed")
        ax.plot(
            mean.similarity, mean, marker, color=colour, markersize=5, fillstyle="none", label=f"${lam:g}$"
        )
    ax.set(
        xlabel="similarity of the targets (cosine)",
        ylabel=r"forgetting $\mathcal{L}_A(B) - \mathcal{L}_A(A)$",
    )
    ax.legend(title=r"$\lambda$", frameon=False)


def _draw_course(ax: Axes, loss: xr.DataArray) -> None:
    """Draw the mean over seeds over lam and similarity."""
    mean = loss.mean("seed").transpose("similarity", "lam")
    mesh = ax.pcolormesh(mean.lam, mean.similarity, mean, cmap=style.COLOUR_MAP, vmin=0.0, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label=r"loss on the first task $\mathcal{L}_A$")
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="similarity of the targets (cosine)")


def _draw_times(ax: Axes, times: xr.DataArray) -> None:
    """Draw medians over seeds of the times of learning in each stage."""
    labels = ("first task, from small weights", "second task", "first task again")
    for stage, (label, colour) in enumerate(zip(labels, style.COLOURS, strict=False)):
        median = times.sel(stage=stage).median("seed")
        ax.plot(median.lam, median, "o-", color=colour, markersize=3, label=label)
    ax.set_yscale("log")
    ax.set_ylim(0.35 * float(times.min()))  # room for the legend
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="time to 99 % of the loss drop")
    ax.legend(frameon=False, fontsize="small", loc="lower center")


def deviation(forgetting: xr.DataArray) -> float:
    """Return the largest deviation of forgetting from its formula, over |S_A|^2, without ends at saddles."""
    wanted = (1.0 - forgetting.similarity) * squared_target()
    regular = (forgetting.similarity > -1.0) | (forgetting.lam != 0.0)
    return float(np.abs(forgetting - wanted).where(regular).max()) / squared_target()


def _caption(forgetting: xr.DataArray) -> str:
    """Return the caption. It has its own line breaks, because automatic ones would split formulas."""
    spec = Spec.load(PRESET)
    values = ", ".join(f"{value:g}" for value in spec.task.values["singular_values_0"])
    lines = [
        f"{spec.architectures[0]} networks, weights of scale {spec.init_scales[0]:g}, learn a target $S_A$ ",
        f"of singular values {values}, then $S_B$ at a random angle to it,\n",
        rf"then $S_A$ again, each to $t = \infty$; {spec.seeds.size} seeds. A: means; line: ",
        r"$|S_A - S_B|^2/2 = (1 - \mathrm{similarity})\,|S_A|^2$, whatever $\lambda$," + "\n",
        rf"met to {deviation(forgetting):.0e} of $|S_A|^2$, as Braun et al. (2022) have it for ",
        r"$\lambda = 0$. The reversal (similarity $-1$) at $\lambda = 0$ ends at a saddle." + "\n",
        f"B: mean; lazy networks forget sooner. C: medians, similarity {SIMILARITY:g}. Rich networks learn ",
        "again faster than from small weights, lazy ones do not.\n",
        f"Preset: {PRESET}. fastlin {version('fastlin')}.",
    ]
    return "".join(lines)
