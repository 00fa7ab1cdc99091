"""Captions and titles of pictures: what is drawn, and at which values of the axes that are not drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from fastlin.architecture import sizes_of
from fastlin.observables.regimes import THRESHOLD
from fastlin.plot import scales, sizes
from fastlin.plot.style import LETTERS, SIZE_NAMES, chosen_parameters, number, spelt, symbol, without, words
from fastlin.solvers import SOLVERS

AXES = ("solver", "time", "lam", "kappa", "init_scale", "rate_ratio", "learning_rate", "noise_seed")
SEEDS = ("seed", "statistic")
SHARE_OF_TITLE = 0.8  # Share of the width of a new figure that its title takes.
# The words of a level say on which side of it a regime lies, and how its line is drawn.
REGIMES = dict(zip(THRESHOLD, ("lazy below {:g} (dashed)", "rich from {:g} (solid)"), strict=True))


def caption(
    dataset: xr.Dataset, da: xr.DataArray, done: xr.DataArray, drawn: Sequence[str]
) -> tuple[str, ...]:
    """Return parts of a text: the averaged values, and the values of the axes that are not `drawn`."""
    title = str(dataset.attrs.get("title", "sweep")).replace("$", r"\$")
    parts = [f"{title}: {spelt(str(da.name))}{_seeds(dataset, da)}"]
    if "layer" in da.coords:
        parts[0] += f" of {str(da['layer'].values).upper()}"
    for name, value in _chosen(da, drawn):
        parts.append(_equal(words(name), value))
    for name in drawn:
        if name in da.dims and (missing := da[name].values[~scales.drawable(da[name].values)]).size:
            parts.append(f"{words(name)} {without(missing)}")
    if not done.all():
        parts.append(f"{100 * float(done.mean()):.0f} % of the points are ok")
    return tuple(parts)


def regimes(levels: Sequence[float]) -> list[str]:
    """Return the part of a caption that explains the borders of regimes, if any is drawn."""
    return [f"lines: {', '.join(REGIMES[level].format(level) for level in levels)}"] if levels else []


def wrapped(parts: Sequence[str], width: int) -> str:
    """Return parts of a text in lines.

    Lines are broken between parts. A part that is longer than a line is broken between clauses, and a clause
    that is longer between words.
    """
    ended = [*(f"{part};" for part in parts[:-1]), parts[-1]]
    first, *rest = [piece for part in ended for piece in _pieces(part, width, (", ", " "))]
    lines = [first]
    for piece in rest:
        line = f"{lines[-1]} {piece}"
        lines[-1:] = [line] if length(line) <= width else [lines[-1], piece]
    return "\n".join(lines)


def length(text: str) -> int:
    """Return about how many letters of a text are seen. A command of mathtext, as \\tau, is one of them."""
    return len(re.sub(r"\$[^$]*\$", _signs, text))


def _signs(formula: re.Match[str]) -> str:
    """Return the signs of a formula that take room."""
    signs = re.sub(r"\\(?:mathrm|sqrt|,)", "", formula.group())
    return re.sub(r"[{}^_$]", "", re.sub(r"\\[A-Za-z]+", "x", signs))


def _pieces(text: str, width: int, separators: Sequence[str]) -> list[str]:
    """Return a text that is longer than a line in pieces that are not, as far as that is possible."""
    if length(text) <= width:
        return [text]
    if not separators:
        return [text[start : start + width] for start in range(0, len(text), width)]
    *heads, last = text.split(separators[0])
    ended = [*(f"{head}{separators[0].rstrip()}" for head in heads), last]
    return [piece for part in ended for piece in _pieces(part, width, separators[1:])]


def where(da: xr.DataArray, *drawn: str) -> str:
    """Return in symbols the values of the axes that a diagram is not drawn over."""
    return ", ".join(
        value if name == "solver" else _equal(symbol(name), value) for name, value in _chosen(da, drawn)
    )


def new_axes(da: xr.DataArray, *drawn: str, band: bool = False) -> Axes:
    """Return the axes of a new figure. Its title says which values are drawn, and if there is a band.

    These are the values that an observable was taken at, and the number of seeds.
    """
    figure, ax = plt.subplots(layout="constrained")
    squeezed = da.squeeze([dim for dim in da.dims if dim not in drawn and da.sizes[dim] == 1])
    names = [
        name for name in ("architecture", "seed") if name in squeezed.coords and squeezed[name].ndim == 0
    ]
    parts = [f"{name} {squeezed[name].item()}" for name in names]
    parts = [", ".join([*parts, *filter(None, [where(squeezed, *drawn)])])]
    parts += [_mean(da)] * (not set(SEEDS) & set(drawn)) + ["band: one standard deviation"] * band
    width = int(SHARE_OF_TITLE * LETTERS * figure.get_figwidth())
    ax.set_title(wrapped(list(filter(None, parts)) or [""], width), fontsize="medium")
    return ax


def _chosen(da: xr.DataArray, drawn: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the axes that are not drawn and have one value, with the value: a text or a number."""
    scalar = "solver" in da.coords and da["solver"].ndim == 0
    solver = SOLVERS.get(str(da["solver"].values)) if scalar else None
    for name in (*AXES, *chosen_parameters(da)):
        if name in drawn or name not in da.coords or da[name].ndim:
            continue
        if name == "solver":
            yield name, solver.label if solver else str(da[name].values)
        elif name != "learning_rate" or solver is None or solver.learning_rate:
            yield name, da[name].item()
    if set(drawn) & set(sizes.SIZES) and "architecture" in da.dims:
        of_all = sizes_of(da["architecture"].values)
        for name in SIZE_NAMES:
            if name not in drawn and np.unique(of_all[name]).size == 1:
                yield name, of_all[name][0].item()


def _equal(name: str, value: Any) -> str:
    """Return that an axis has a value. No-break spaces keep lines from being broken within it."""
    return f"{name}\u00a0=\u00a0{value if isinstance(value, str) else f'${number(value)}$'}"


def _mean(da: xr.DataArray) -> str:
    """Return in words that an observable is averaged over seeds, or nothing if it has one seed or none."""
    if "statistic" in da.dims:
        return "mean over seeds"
    count = da.sizes.get("seed", 1)
    return f"mean over {count:,} seeds" if count > 1 else ""


def _seeds(dataset: xr.Dataset, da: xr.DataArray) -> str:
    """Return over which seeds an observable is averaged, in words."""
    count = int(dataset["count"].max()) if "statistic" in da.dims else da.sizes.get("seed", 0)
    if count == 1 and "seed" in da.coords:
        return f", seed {da['seed'].values.ravel()[0]}"
    return f", mean over {count:,} seeds" if count else ""
