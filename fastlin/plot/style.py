"""Colours, the names of axes and observables, and the options that all pictures of a sweep share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import colormaps
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.observables.registry import REGISTRY
from fastlin.observables.stages import OF_SEQUENCE, entry_of
from fastlin.validation import check_bool, check_float, shown

# Okabe & Ito (2008): the colours stay distinct for all common forms of colour blindness, and in print.
# Their black is left to the closed form, see `ink`.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
# Lines differ in their dashes, too, so that a line shows through another one that covers it.
DASHES = ("-", (0, (5, 2)), (0, (6, 2, 1, 2)), (0, (1.5, 1.5)), (0, (9, 3)))
COLOUR_MAP = "cividis"
SIGNED_COLOUR_MAP = "RdBu_r"
SIZE_NAMES = ("n_i", "n_h", "n_o")
MAX_INCHES = 100.0
WIDTH = 8.0  # Inches of a page. Letters of 10 points are 14 pixels high if it is shown 800 pixels wide.
LETTERS = 12  # Letters of medium size that fit an inch.
SYMBOLS = {
    "lam": r"relative scale $\lambda$",
    "time": r"time $t/\tau$",
    "init_scale": r"weight scale $\sigma$",
    "learning_rate": r"learning rate $\eta$",
    "kappa": r"width of the balance $\kappa$",
    "rate_ratio": r"ratio of learning rates $\eta_2/\eta_1$",
    "noise_seed": "seed of the noise",
    "seed": "seed",
    "architecture": r"architecture $N_i$-$N_h$-$N_o$",
    "n_i": r"inputs $N_i$",
    "n_h": r"hidden units $N_h$",
    "n_o": r"outputs $N_o$",
    "bottleneck_ratio": r"bottleneck $N_h / \min(N_i, N_o)$",
}
# Parameters of tasks and starts, by the names of their axes. Others are called as in the spec.
PARAMETERS = {
    "n_samples": "samples $P$",
    "target_scale": "scale of the targets",
    "levels": "levels of the hierarchy",
    "rank": "rank of the teacher",
    "power": "exponent of the spectrum",
    "similarity": "similarity of the targets",
    "duration": "duration of a stage",
    "init_network": "network of the start",
    "init_rank": "rank of the adapter $r$",
    "init_alpha": r"scale of LoRA $\alpha$",
    "init_scaling": "factor of LoRA",
    "init_adapter": "law of the adapter",
    "init_similarity": "similarity of the targets",
}


@dataclass(frozen=True)
class Style:
    """Scale, size and colours of the pictures of a sweep.

    Parameters
    ----------
    log : bool, optional
        Whether values are drawn on a logarithmic scale. By default they are where none is negative and
        the positive ones span a decade; the kernel distance is not.
    size : tuple of two floats, optional
        Width and height of a page in inches; by default they follow from the number of panels.
    cmap : str
        A colour map of Matplotlib.

    Raises
    ------
    InputError
        If `log` is no truth value, the size is not two positive numbers up to 100, or Matplotlib has no such
        colour map.

    Examples
    --------
    >>> style = fl.plot.Style(log=True, size=(8.0, 5.0), cmap="viridis")
    >>> drawn = fl.plot.pages(fl.open_sweep("small.zarr"), "loss", style=style)
    """

    log: bool | None = None
    size: tuple[float, float] | None = None
    cmap: str = COLOUR_MAP

    def __post_init__(self) -> None:
        if self.log is not None:
            check_bool("log", self.log)
        if self.size is not None:
            if np.shape(self.size) != (2,):
                raise InputError(f"size is {shown(self.size)}; needed are width and height in inches")
            for side in self.size:
                check_float("size", side, 0.0, MAX_INCHES, above=True)
        if not isinstance(self.cmap, str) or self.cmap not in colormaps:
            near = ", ".join(get_close_matches(str(self.cmap), colormaps, n=3) or (COLOUR_MAP, "viridis"))
            raise InputError(f"cmap is {shown(self.cmap)}, no colour map of Matplotlib; try {near}")


DEFAULT_STYLE = Style()


def ink() -> str:
    """Return the colour of text: black, or light in a dark style. The closed form is drawn in it."""
    return str(plt.rcParams["text.color"])


def distinct(index: int) -> dict[str, Any]:
    """Return the colour and the dashes of a line of several, so that 35 lines can be distinguished."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def label(da: xr.DataArray, *notes: str) -> str:
    """Return an observable in words and its symbol, with notes in brackets on a second line."""
    name = str(da.name)
    text = name
    if name in REGISTRY or name in OF_SEQUENCE:
        before = "" if name.startswith(("w1t", "w2", "qqt", "rsm")) else f"{spelt(name)} "
        text = f"{before}${entry_of(name).symbol}$"
    return f"{text}\n({', '.join(notes)})" if notes else text


def spelt(name: str) -> str:
    """Return the name of an observable in words."""
    words = name.replace("_", " ")
    for acronym in ("ntk", "rdm", "rsm"):
        words = words.replace(acronym, acronym.upper())
    return words


def number(value: float) -> str:
    """Return a number as mathtext."""
    return r"\infty" if np.isinf(value) else f"{value:.3g}"


def words(name: str) -> str:
    """Return an axis in words, with its symbol if it has one."""
    return SYMBOLS.get(name) or PARAMETERS.get(name) or name.replace("_", " ")


def axis_label(name: str, missing: NDArray[Any]) -> str:
    """Return the name of an axis; values that have no place on it are in brackets on a second line."""
    text = words(name)
    return f"{text}\n({without(missing)})" if missing.size else text


def without(missing: NDArray[Any]) -> str:
    """Return in words that some values of an axis are not drawn."""
    return f"without {' and '.join(f'${number(value)}$' for value in np.unique(missing))}"


def symbol(name: str) -> str:
    """Return the symbol of an axis as mathtext, or its name if it has none."""
    text = words(name)
    return text[text.index("$") :] if "$" in text else text


def fits(name: str, inches: float) -> bool:
    """Return whether the name of an axis with its symbol, of up to three letters, fits a length."""
    return len(words(name).partition("$")[0]) + 3 <= LETTERS * inches


def architectures(da: xr.DataArray | xr.Dataset) -> list[Architecture]:
    """Return the architectures along the axis "architecture", or the only one, from their names."""
    return [Architecture.read(str(name)) for name in np.atleast_1d(da["architecture"].values)]


def parameter_axes(da: xr.DataArray) -> list[str]:
    """Return the dimensions of an observable of a sweep that parameters of [task] and [init] make."""
    return _parameters(da, da.dims)


def chosen_parameters(da: xr.DataArray) -> list[str]:
    """Return the axes of parameters of which an observable of a sweep has one value.

    Only coordinates that are axes of the sweep have a long name. The other parameters have none.
    """
    single = [name for name, coord in da.coords.items() if not coord.ndim and "long_name" in coord.attrs]
    return _parameters(da, single)


def _parameters(da: xr.DataArray, names: Iterable[Hashable]) -> list[str]:
    own = REGISTRY[str(da.name)].dims if da.name in REGISTRY else ()
    known = {*SYMBOLS, "solver", "statistic", "status", *own}
    return [str(name) for name in names if name not in known]


def default_index(name: str, values: NDArray[Any]) -> int:
    """Return the index at which an axis is looked at by default.

    It is the last time, stage and duration of a stage, the scale of weights or of LoRA nearest to 1, the lam
    nearest to 0, and the first of all else.
    """
    if name in ("time", "stage", "duration"):
        return values.size - 1
    if name in ("init_scale", "init_alpha"):
        return int(np.argmin(np.abs(np.log(values))))
    return int(np.argmin(np.abs(values))) if name == "lam" else 0
