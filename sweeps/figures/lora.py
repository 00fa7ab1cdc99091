"""LoRA: the loss over the rank of the adapter, the time to converge, and rich and lazy fine-tuning.

The loss at the end is that of the truncation of Sigma_yx - W0 to rank r (Zeng and Lee 2024). Before it, the
factor alpha / r holds high ranks back (Kalajdzievski 2023). An adapter of full rank becomes lazy and takes a
time proportional to 1 / alpha^2. One of lower rank has to turn A towards the top directions, which no alpha
shortens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from fastlin.observables.regimes import THRESHOLD
from fastlin.plot import style
from fastlin.sweeps.figures.panels import add_caption, beside, three_panels
from fastlin.sweeps.figures.style import STYLE
from fastlin.sweeps.figures.swept import swept
from fastlin.sweeps.read.rebuild import rebuild
from fastlin.sweeps.spec.spec import Spec

PRESET = "lora"
RANKS = (1, 2, 4, 8)  # of the lines over alpha
ALPHA, EARLY = 1.0, 10.0  # of the lines over the rank before convergence
SCALINGS = {"alpha/r": r"$\alpha/r$", "alpha/sqrt(r)": r"$\alpha/\sqrt{r}$"}


class Measured(NamedTuple):
    """The numbers that the panels show."""

    sweep: xr.Dataset  # of the preset, without its dimensions of one value
    truncation: xr.DataArray  # least loss of each rank, (init_rank, seed)


def measure(*, progress: bool = False) -> Measured:
    """Return the results of the preset lora, and the least loss that an adapter of each rank can have.

    Parameters
    ----------
    progress : bool
        Show the progress of the sweep, as `run_sweep` does.

    Returns
    -------
    Measured
    """
    sweep = swept(PRESET, progress=progress)
    return Measured(sweep, truncation(sweep))


def truncation(dataset: xr.Dataset) -> xr.DataArray:
    """Return ``floor + |S - W0 - [S - W0]_r|^2 / 2`` of each rank r and seed (Eckart and Young 1936)."""
    ranks, first = dataset.init_rank.values, {"init_alpha": dataset.init_alpha.values[0]}
    losses = np.empty((ranks.size, dataset.seed.size))
    for column, seed in enumerate(dataset.seed.values):
        task, _ = rebuild(dataset, seed=int(seed), init_rank=1, init_scaling="alpha/r", **first)
        squares = np.linalg.svd(task.sigma_yx - task.offset, compute_uv=False) ** 2
        losses[:, column] = [task.loss_floor + 0.5 * squares[rank:].sum() for rank in ranks]
    return xr.DataArray(losses, {"init_rank": ranks, "seed": dataset.seed.values}, ("init_rank", "seed"))


def figure(*, progress: bool = False) -> Figure:
    """Draw the figure.

    Returns
    -------
    matplotlib.figure.Figure
        A: loss over the rank, before and after convergence. B: kernel distance after convergence over
        the scale of the update. C: time to converge over alpha.
    """
    return compose(measure(progress=progress))


def compose(measured: Measured) -> Figure:
    """Draw the figure from the result of `measure`."""
    sweep = measured.sweep
    with context(STYLE):
        drawn, (loss, kernel, time) = three_panels(
            (
                "loss over the rank of the adapter",
                "rich and lazy fine-tuning",
                r"time to converge over $\alpha$",
            )
        )
        _draw_loss(loss, measured)
        _draw_kernel(kernel, sweep.kernel_distance.sel(init_scaling="alpha/r", time=np.inf))
        _draw_time(time, sweep.convergence_time.sel(init_scaling="alpha/r"))
        add_caption(drawn, _caption(measured))
    return drawn


def excess(measured: Measured) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the share of the loss at the start that is left, and the least share of each rank.

    Both are without the loss that the full rank cannot remove.
    """
    sweep, least = measured.sweep.loss, measured.truncation
    floor = least.isel(init_rank=-1)
    size = sweep.isel(time=0, init_rank=0, init_alpha=0, init_scaling=0, drop=True) - floor
    return (sweep - floor) / size, (least - floor) / size


def _draw_loss(ax: Axes, measured: Measured) -> None:
    """Draw the share of the loss that is left over the rank, early and at the end."""
    left, least = (share.mean("seed") for share in excess(measured))
    ranks = left.init_rank.values
    at_alpha = left.sel(init_alpha=ALPHA, method="nearest")
    for (scaling, text), colour in zip(SCALINGS.items(), style.COLOURS, strict=False):
        early = at_alpha.sel(init_scaling=scaling, time=EARLY)
        ax.plot(ranks, early, "o--", color=colour, markersize=4, label=rf"$t = {EARLY:g}$, {text}")
    end = at_alpha.sel(init_scaling="alpha/r", time=np.inf)
    ax.plot(ranks, end, "o-", color=style.ink(), markersize=4, label=r"$t = \infty$")
    ring: dict[str, Any] = {"color": style.COLOURS[2], "markersize": 9, "fillstyle": "none"}
    ax.plot(ranks, least, "o", label=r"$\sum_{a > r} s_a^2 \,/\, \sum_a s_a^2$", **ring)
    ax.set(xlabel="rank $r$", ylabel="share of the removable loss that is left", ylim=(-0.03, 1.03))
    ax.set_xticks(ranks)
    ax.legend()


def _draw_time(ax: Axes, times: xr.DataArray) -> None:
    """Draw medians over seeds of the time to converge over alpha, for some ranks, and two slopes."""
    alphas = times.init_alpha.values
    for rank, colour in zip(RANKS, style.COLOURS, strict=False):
        median = times.sel(init_rank=rank).median("seed")
        ax.loglog(alphas, median, "o-", color=colour, markersize=4, label=f"$r = {rank}$")
    full = times.sel(init_rank=RANKS[-1]).median("seed").values
    for power, place, text in ((1, 0, r"$\propto 1/\alpha$"), (2, -1, r"$\propto 1/\alpha^2$")):
        part = slice(0, 6) if place == 0 else slice(-5, None)
        line = 0.4 * full[place] * (alphas[place] / alphas[part]) ** power
        ax.loglog(alphas[part], line, "--" if power == 1 else ":", color=style.ink(), linewidth=1, label=text)
    ax.set(xlabel=r"$\alpha$", ylabel="time to 99 % of the loss drop")
    beside(ax)


def _draw_kernel(ax: Axes, distance: xr.DataArray) -> None:
    """Draw means over seeds of the kernel distance over the factor of the update, for some ranks."""
    for rank, colour in zip(RANKS, style.COLOURS, strict=False):
        mean = distance.sel(init_rank=rank).mean("seed")
        ax.semilogx(mean.init_alpha / rank, mean, "o-", color=colour, markersize=4, label=f"$r = {rank}$")
    for value, line, name, side in zip(
        THRESHOLD, ("--", "-"), ("lazy", "rich"), ("top", "bottom"), strict=True
    ):
        ax.axhline(value, color="gray", linestyle=line, linewidth=1)
        ax.text(0.99, value, name, ha="right", va=side, transform=ax.get_yaxis_transform())
    ax.set(
        xlabel=r"scale of the update $c = \alpha / r = -\lambda$",
        ylabel=r"kernel distance $S$ at $t = \infty$",
        ylim=(-0.06, 1.25),
    )
    ax.legend(loc="upper left", ncols=2)


def largest_error(measured: Measured) -> float:
    """Return the largest difference between the loss at t = inf and its truncation, relative to the loss."""
    end = measured.sweep.loss.sel(time=np.inf)
    return float((abs(end - measured.truncation) / measured.truncation).max())


def _caption(measured: Measured) -> str:
    spec = Spec.load(PRESET)
    similarity = measured.sweep.init_similarity.item()
    return (
        rf"Closed form of $W_0 + c\,BA$ with $A A^\top = I$, $B = 0$ at the start, on "
        rf"{spec.architectures[0]}. $W_0$ has learned a target whose cosine with that of the task is "
        rf"{similarity:g}. {spec.seeds.size} seeds: means, medians in C. A: $\alpha = {ALPHA:g}$, factors "
        rf"$\alpha/r$ and $\alpha/\sqrt{{r}}$; rings: share of the squared singular values of "
        rf"$\Sigma_{{yx}} - W_0$ beyond rank $r$, met to {largest_error(measured):.0e}. B, C: factor "
        rf"$\alpha/r$. B: lines at $S = {THRESHOLD[0]:g}$ (dashed) and ${THRESHOLD[1]:g}$. Preset: {PRESET}."
    )
