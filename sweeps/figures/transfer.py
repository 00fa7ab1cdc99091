"""Transfer: fine-tuning on one target after pre-training on another."""

from __future__ import annotations

import math
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

PRESET = "transfer"
SIMILARITY = 0.5  # in panel B
LAMS = (0.0, 0.5, 2.0, 6.0)  # in panel C


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: kernel distance of fine-tuning over lam and similarity. B: kernel distances of training from small
        weights and of fine-tuning, over lam. C: time of fine-tuning over similarity.
    """
    return compose(swept(PRESET, progress=progress))


def compose(measured: xr.Dataset) -> Figure:
    """Draw the figure from the results of the preset."""
    distance = measured.kernel_distance.sel(time=math.inf)
    with context(STYLE):
        drawn = Figure(figsize=(10.0, 4.6), layout=ConstrainedLayoutEngine(wspace=0.04))
        plane, lines, times = drawn.subplots(1, 3)
        _draw_plane(plane, distance.sel(stage=1, duration=math.inf))
        _draw_lines(lines, distance.sel(similarity=SIMILARITY, method="nearest"))
        _draw_times(times, measured.relearning_time.sel(duration=math.inf))
        for letter, ax, title in (
            ("A", plane, "kernel distance of fine-tuning"),
            ("B", lines, f"similarity {SIMILARITY:g}"),
            ("C", times, "time of fine-tuning"),
        ):
            ax.set_title(f"{letter}   {title}", loc="left", fontsize="large")
        drawn.supxlabel(_caption(), x=0.01, ha="left", fontsize="medium")
    return drawn


def _draw_plane(ax: Axes, distance: xr.DataArray) -> None:
    """Draw the mean over seeds over lam and similarity."""
    mean = distance.mean("seed").transpose("similarity", "lam")
    mesh = ax.pcolormesh(mean.lam, mean.similarity, mean, cmap=style.COLOUR_MAP, vmin=0.0, rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label="kernel distance $S$ of the second stage")
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="similarity of the targets (cosine)")


def _draw_lines(ax: Axes, distance: xr.DataArray) -> None:
    """Draw means over seeds of the first stage and of the second one, for each length of pre-training."""
    scratch = distance.sel(stage=0, duration=math.inf).mean("seed")
    ax.plot(scratch.lam, scratch, "--", color=style.ink(), label="from small weights")
    for length, colour in zip(distance.duration.values, style.COLOURS, strict=False):
        mean = distance.sel(stage=1, duration=length).mean("seed")
        label = rf"after pre-training for ${style.number(length)}$"
        ax.plot(mean.lam, mean, "o-", color=colour, markersize=3, label=label)
    ax.set(xlabel=style.SYMBOLS["lam"], ylabel="kernel distance $S$")
    ax.set_ylim(0.0, 1.45 * float(np.nanmax(distance.mean("seed"))))
    ax.legend(frameon=False, fontsize="small", loc="upper right")


def _draw_times(ax: Axes, times: xr.DataArray) -> None:
    """Draw medians over seeds of the second stage over similarity, and those from small weights."""
    for lam, colour in zip(LAMS, style.COLOURS, strict=False):
        at = times.sel(lam=lam)
        median = at.sel(stage=1, similarity=at.similarity < 1.0).median("seed")
        ax.plot(median.similarity, median, "o-", color=colour, markersize=3, label=f"${lam:g}$")
        ax.axhline(float(at.sel(stage=0).median()), color=colour, linestyle="--", linewidth=1)
    ax.set_yscale("log")
    ax.set_ylim(0.4 * float(times.sel(lam=LAMS[-1], stage=0).median()))  # room for the legend
    ax.set(xlabel="similarity of the targets (cosine)", ylabel="time to 99 % of the loss drop")
    ax.legend(title=r"$\lambda$", frameon=False, loc="lower left", ncols=2)


def _caption() -> str:
    """Return the caption. It has its own line breaks, because automatic ones would split formulas."""
    spec = Spec.load(PRESET)
    values = ", ".join(f"{value:g}" for value in spec.task.values["singular_values_0"])
    lines = [
        f"{spec.architectures[0]} networks, weights of scale {spec.init_scales[0]:g}, are pre-trained on a ",
        rf"target of singular values {values}, and fine-tuned to $t = \infty$ on one of" + "\n",
        f"the same norm at a random angle to it; {spec.seeds.size} seeds. The kernel distance is that of ",
        "the NTK from its start in the same stage. A: pre-training to\n",
        r"$t = \infty$, mean. B: means; dashed: the first stage. C: medians, pre-training to $t = \infty$; ",
        "dashed: the first stage. Rich networks gain time from\n",
        f"pre-training, lazy ones do not. Preset: {PRESET}. fastlin {version('fastlin')}.",
    ]
    return "".join(lines)
