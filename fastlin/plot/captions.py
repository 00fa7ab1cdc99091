"""Captions and titles of the pictures of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import xarray as xr

from fastlin.plot.style import SYMBOLS, number


def caption(dataset: xr.Dataset, da: xr.DataArray, done: xr.DataArray) -> tuple[str, ...]:
    """Return parts of a text: the averaged values, and the chosen values of axes with several."""
    title = str(dataset.attrs.get("title", "sweep")).replace("$", r"\$")
    parts = [f"{title}: {str(da.name).replace('_', ' ')}{_seeds(dataset, da)}"]
    if "layer" in da.coords:
        parts[0] += f" of {str(da['layer'].values).upper()}"
    for name in ("solver", "init_scale", "learning_rate", "lam", "time"):
        if name in da.coords and da[name].ndim == 0 and dataset.sizes.get(name, 1) > 1:
            value = da[name].item()
            shown = value if isinstance(value, str) else f"${number(value)}$"
            # A no-break space keeps lines from being broken within a formula.
            parts.append(f"{SYMBOLS.get(name, name)}\u00a0=\u00a0{shown} of {dataset.sizes[name]} values")
    if not done.all():
        parts.append(f"{100 * float(done.mean()):.0f} % of the points are ok")
    return tuple(parts)


def wrapped(parts: Sequence[str], width: int) -> str:
    """Return parts of a text in lines, broken between parts where that is possible."""
    lines = [parts[0]]
    for part in parts[1:]:
        line = f"{lines[-1]}; {part}"
        lines[-1:] = [line] if len(line) <= width else [f"{lines[-1]};", part]
    return "\n".join(fill(line, width) for line in lines)


def _seeds(dataset: xr.Dataset, da: xr.DataArray) -> str:
    """Return over which seeds an observable is averaged, in words."""
    count = int(dataset["count"].max()) if "statistic" in da.dims else da.sizes.get("seed", 0)
    if count == 1 and "seed" in da.coords:
        return f", seed {da['seed'].values.ravel()[0]}"
    return f", mean over {count:,} seeds" if count else ""


def where(da: xr.DataArray, x: str) -> str:
    """Return at which solver, time, lam and scale a profile was taken, in words."""
    parts = [str(da["solver"].values).replace("_", " ")] if "solver" in da.coords else []
    for name, symbol in (("time", r"t/\tau"), ("lam", r"\lambda"), ("init_scale", r"\sigma")):
        if name != x and name in da.coords and da[name].ndim == 0:
            value = float(da[name])
            parts.append(f"${symbol} = {number(value)}$")
    return ", ".join(parts)
