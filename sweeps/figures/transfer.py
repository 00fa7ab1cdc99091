"""Transfer: fine-tuning on one target after pre-training on another.

Rich networks gain time from pre-training, lazy ones do not.
"""

from __future__ import annotations

import math

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.observables.regimes import THRESHOLD
from fastlin.plot import phase_diagram, style
from fastlin.plot.axes import plain_numbers
from fastlin.sweeps.figures.panels import add_caption, beside, three_panels
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.figures.swept import swept
from fastlin.sweeps.spec.spec import Spec

PRESET = "transfer"
SIMILARITY = 0.5  # in panel C
LAMS = (0.0, 0.5, 2.0, 6.0)  # in panel B
SIMILARITY_LABEL = "similarity of the targets (cosine)"


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: kernel distance of fine-tuning over lam and similarity. B: time of fine-tuning over similarity.
        C: kernel distances of training from small weights and of fine-tuning, over lam.
    """
    return compose(swept(PRESET, progress=progress))


def compose(measured: xr.Dataset) -> Figure:
    """Draw the figure from the results of the preset."""
    distance = measured.kernel_distance.sel(time=math.inf)
    with context(STYLE):
        drawn, (plane, times, lines) = three_panels(
            (
                "kernel distance of fine-tuning",
                "time of fine-tuning",
                f"kernel distance of training, similarity {SIMILARITY:g}",
            )
        )
        tuned = distance.sel(stage=1, duration=math.inf)
        phase_diagram(tuned, "lam", "similarity", plane, THRESHOLD, vmin=0.0)
        plane.set_ylabel(SIMILARITY_LABEL)
        _draw_times(times, measured.relearning_time.sel(duration=math.inf))
        _draw_lines(lines, distance.sel(similarity=SIMILARITY, method="nearest"))
        add_caption(drawn, _caption())
    return drawn


def _draw_lines(ax: Axes, distance: xr.DataArray) -> None:
    """Draw means over seeds of the first stage and of the second one, for each length of pre-training."""
    scratch = distance.sel(stage=0, duration=math.inf).mean("seed")
    ax.plot(scratch.lam, scratch, color=style.ink(), linewidth=1, label="from small weights")
    for index, length in enumerate(distance.duration.values):
        mean = distance.sel(stage=1, duration=length).mean("seed")
        label = rf"after pre-training for ${style.number(length)}$"
        ax.plot(mean.lam, mean, label=label, **style.distinct(index))
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="kernel distance $S$")
    beside(ax)


def _draw_times(ax: Axes, times: xr.DataArray) -> None:
    """Draw medians over seeds of the second stage over similarity, and those from small weights."""
    for lam, colour in zip(LAMS, style.COLOURS, strict=False):
        at = times.sel(lam=lam)
        median = at.sel(stage=1, similarity=at.similarity < 1.0).median("seed")
        ax.plot(median.similarity, median, "o-", color=colour, markersize=3, label=f"${lam:g}$")
        ax.axhline(float(at.sel(stage=0).median()), color=colour, linestyle="--", linewidth=1)
    ax.set_yscale("log")
    plain_numbers(ax.yaxis, *ax.get_ylim())
    ax.set_ylim(0.3 * float(times.sel(lam=LAMS[-1], stage=0).median()))  # room for the legend
    ax.set(xlabel=SIMILARITY_LABEL, ylabel="time to 99 % of the loss drop")
    ax.legend(title=r"$\lambda$", loc="lower left", ncols=2)


def _caption() -> str:
    spec = Spec.load(PRESET)
    values = ", ".join(f"{value:g}" for value in spec.task.values["singular_values_0"])
    return (
        f"{spec.architectures[0]} networks, weights of scale {spec.init_scales[0]:g}, are pre-trained on "
        f"a target "
        rf"of singular values {values}, and fine-tuned to $t = \infty$ on one of the same norm at a "
        rf"random angle "
        f"to it; {spec.seeds.size} seeds. Kernel distances are from the start of the same stage. A: "
        rf"pre-training to $t = \infty$, means; lines at $S = {THRESHOLD[0]:g}$ (dashed) and "
        rf"${THRESHOLD[1]:g}$. "
        r"B: pre-training to $t = \infty$, medians; dashed: training from small weights. C: means. "
        f"Preset: {PRESET}."
    )
