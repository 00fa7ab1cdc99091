"""Continual learning: forgetting of a task by a similar one, and learning it again.

Forgetting is ``|S_A - S_B|^2 / 2 = (1 - similarity) |S_A|^2``, whatever lam is. Braun et al. (2022) have it
for lam = 0. The reversal (similarity -1) at lam = 0 ends at a saddle. Lazy networks forget sooner. Rich
networks learn again faster than from small weights, and lazy ones do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.plot import style
from fastlin.plot.axes import plain_numbers
from fastlin.sweeps.figures.panels import add_caption, beside, three_panels
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.figures.swept import swept
from fastlin.sweeps.spec.spec import Spec

PRESET = "forgetting"
LAMS = (-6.0, -1.0, 0.0, 1.0, 6.0)  # in panel A
RINGS = (3.0, 5.0, 7.0, 9.0, 11.0)  # Points of their markers.
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
        drawn, (end, course, times) = three_panels(
            (
                "forgetting after the second task",
                rf"loss on the first, $t = {MOMENT:g}$ of the second",
                f"time to learn the tasks, similarity {SIMILARITY:g}",
            )
        )
        lost = measured.forgetting.sel(stage=1, task=0)
        _draw_end(end, lost)
        _draw_course(course, measured.loss.sel(stage=1, task=0, time=MOMENT))
        _draw_times(times, measured.relearning_time.sel(similarity=SIMILARITY, method="nearest"))
        add_caption(drawn, _caption(lost))
    return drawn


def _draw_end(ax: Axes, forgetting: xr.DataArray) -> None:
    """Draw means over seeds as markers, and the formula as a line."""
    ax.plot(
        forgetting.similarity,
        (1.0 - forgetting.similarity) * squared_target(),
        color=style.ink(),
        linewidth=1,
    )
    # The values of all lam are the same, so that their markers are rings of different sizes.
    for index, lam in enumerate(LAMS):
        mean = forgetting.sel(lam=lam).mean("seed")
        ring: dict[str, Any] = {
            "color": style.COLOURS[index],
            "markersize": RINGS[index],
            "fillstyle": "none",
        }
        ax.plot(mean.similarity, mean, "o", label=f"${lam:g}$", **ring)
    ax.set(
        xlabel="similarity of the targets (cosine)",
        ylabel=r"forgetting $\mathcal{L}_A(B) - \mathcal{L}_A(A)$",
    )
    ax.legend(title=r"$\lambda$")


def _draw_course(ax: Axes, loss: xr.DataArray) -> None:
    """Draw the mean over seeds over lam and similarity."""
    mean = loss.mean("seed").transpose("similarity", "lam")
    mesh = ax.pcolormesh(mean.lam, mean.similarity, mean, cmap=style.COLOUR_MAP, vmin=0.0, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label=r"loss on the first task $\mathcal{L}_A$")
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="similarity of the targets (cosine)")


def _draw_times(ax: Axes, times: xr.DataArray) -> None:
    """Draw medians over seeds of the times of learning in each stage."""
    labels = ("first task,\nfrom small weights", "second task", "first task again")
    # The second time and the third one are about the same, so that one line is thin and lies on a broad one.
    for stage, (label, width) in enumerate(zip(labels, (2.0, 5.0, 1.5), strict=True)):
        median = times.sel(stage=stage).median("seed")
        ax.plot(median.lam, median, color=style.COLOURS[stage], linewidth=width, label=label)
    ax.set_yscale("log")
    plain_numbers(ax.yaxis, *ax.get_ylim())
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="time to 99 % of the loss drop")
    beside(ax)


def deviation(forgetting: xr.DataArray) -> float:
    """Return the largest deviation of forgetting from its formula, over |S_A|^2, without ends at saddles."""
    wanted = (1.0 - forgetting.similarity) * squared_target()
    regular = (forgetting.similarity > -1.0) | (forgetting.lam != 0.0)
    return float(np.abs(forgetting - wanted).where(regular).max()) / squared_target()


def _caption(forgetting: xr.DataArray) -> str:
    spec = Spec.load(PRESET)
    values = ", ".join(f"{value:g}" for value in spec.task.values["singular_values_0"])
    return (
        f"{spec.architectures[0]} networks, weights of scale {spec.init_scales[0]:g}, learn a target "
        f"$S_A$ of singular values {values}, then $S_B$ at a random angle to it, then $S_A$ again, each to "
        rf"$t = \infty$; {spec.seeds.size} seeds. A: means; line: $(1 - \mathrm{{similarity}})\,|S_A|^2$, "
        rf"met to {deviation(forgetting):.0e} of $|S_A|^2$ but at saddles. B: means. C: medians. Preset: "
        rf"{PRESET}."
    )
