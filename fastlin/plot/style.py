"""What all pictures share: colours, names of axes and observables, and which scale suits an axis."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.observables import REGISTRY

# Okabe & Ito (2008): distinct for all common forms of colour blindness, and in print.
# Its black is left to the closed form, see `ink`.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
COLOUR_MAP = "cividis"
SIGNED_COLOUR_MAP = "RdBu_r"
SYMBOLS = {
    "lam": r"relative scale $\lambda$",
    "time": r"time $t/\tau$",
    "init_scale": r"weight scale $\sigma$",
    "learning_rate": r"learning rate $\eta$",
    "seed": "seed",
    "architecture": r"architecture $N_i$-$N_h$-$N_o$",
    "n_i": r"inputs $N_i$",
    "n_h": r"hidden units $N_h$",
    "n_o": r"outputs $N_o$",
    "bottleneck_ratio": r"bottleneck $N_h / \min(N_i, N_o)$",
}


def ink() -> str:
    """Return the colour of text: black, or light in a dark style; the closed form is drawn in it."""
    return str(plt.rcParams["text.color"])


def label(da: xr.DataArray) -> str:
    """Return an observable in words and its symbol."""
    name = str(da.name)
    if name not in REGISTRY:
        return name
    words = "" if name.startswith(("w1t", "w2", "qqt", "rsm")) else f"{name.replace('_', ' ')} "
    return f"{words.replace('ntk', 'NTK')}${REGISTRY[name].symbol}$"


def number(value: float) -> str:
    """Return a number as mathtext."""
    return r"\infty" if np.isinf(value) else f"{value:.3g}"


def usual(name: str, values: NDArray[Any]) -> int:
    """Return the index at which an axis is looked at when nothing else is said.

    The last time, the weight scale and the lam nearest to 1 and 0, and the first of all else.
    """
    if name == "time":
        return values.size - 1
    if name == "init_scale":
        return int(np.argmin(np.abs(np.log(values))))
    return int(np.argmin(np.abs(values))) if name == "lam" else 0


def logarithmic(values: NDArray[Any]) -> bool:
    """Tell whether an axis is spaced unevenly over positive values, so that a log scale suits it."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size < 3 or (values < 0).any():
        return False
    steps = np.diff(positive)
    return bool(steps.max() > 3 * steps.min())


def drawable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values of an axis have a place on it: finite, and above 0 on a logarithmic one."""
    return np.asarray(np.isfinite(values) & ((values > 0) | (not logarithmic(values))))


def edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the borders of cells around values: midpoints, geometric on a logarithmic axis."""
    centres = np.asarray(values, dtype=float)
    log = logarithmic(centres)
    scaled = np.log(centres) if log else centres
    middle = 0.5 * (scaled[1:] + scaled[:-1])
    ends = (2 * scaled[0] - middle[0], 2 * scaled[-1] - middle[-1])
    borders = np.concatenate([[ends[0]], middle, [ends[1]]])
    return np.exp(borders) if log else borders
