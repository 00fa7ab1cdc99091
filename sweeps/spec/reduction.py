"""`[output.reduce]`: which statistics over the seeds a store holds, instead of every point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels import exact_statistics as fold
from fastlin.sweeps.spec import axes
from fastlin.sweeps.spec.entry import Entry, name_entry, names_entry, read_table, write_table
from fastlin.sweeps.spec.faults import Faults
from fastlin.validation import shown

STATISTICS = {"mean": fold.mean, "std": fold.std, "min": fold.minimum, "max": fold.maximum}
# Quantiles are read off counts in bins of a 64th of an octave. Counts merge exactly, and a quantile is off by
# at most 1/128 of its value. A value below 2^-40 counts as 0, and one above 2^16 as infinite.
_PARTS, _LOWEST, _HIGHEST = 64, -40, 16
_MANTISSAS = 1.0 + np.arange(_PARTS) / _PARTS
QUANTILE_EDGES = np.concatenate(
    [[0.0], *(np.ldexp(_MANTISSAS, power) for power in range(_LOWEST, _HIGHEST)), [2.0**_HIGHEST, np.inf]]
)
_MIDDLES = np.concatenate([[0.0], 0.5 * (QUANTILE_EDGES[1:-2] + QUANTILE_EDGES[2:-1]), [np.inf]])


@dataclass(frozen=True)
class Reduction:
    """Statistics over seeds, and either quantiles or a histogram.

    Attributes
    ----------
    statistics : tuple of str
        Names of the moments and extremes.
    quantiles : tuple of float
        The shares q of the quantiles; empty if there are none.
    histogram : tuple of float
        The edges of the bins, in the unit of each observable; empty if there are none.
    over : str
        The dimension that is reduced.
    """

    statistics: tuple[str, ...]
    quantiles: tuple[float, ...] = ()
    histogram: tuple[float, ...] = ()
    over: str = "seed"

    @classmethod
    def read(cls, name: str, value: Any) -> Reduction | None:
        """Read the table of a spec, if there is one.

        Raises
        ------
        InputError
            With one line for each kind of fault.
        """
        if value is None:
            return None
        if not isinstance(value, dict):
            raise InputError(f"{name} is {shown(value)}; a table [{name}] is needed")
        faults = Faults()
        fields = read_table(ENTRIES, value, faults)
        if fields.get("quantiles") and fields.get("histogram"):
            faults.add(f"{name} has quantiles and a histogram; give one of them")
        faults.check()
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the table of a spec, JSON-ready."""
        return write_table(ENTRIES, self)

    @property
    def names(self) -> list[str]:
        """Values of the dimension "statistic"."""
        return [*self.statistics, *(f"quantile {q:g}" for q in self.quantiles)]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins that are counted, or an empty array."""
        return QUANTILE_EDGES if self.quantiles else np.array(self.histogram)

    @property
    def bins(self) -> int:
        """Number of bins that are counted."""
        return max(0, self.edges.size - 1)

    def evaluate(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the statistics (..., names) of folded cells (..., words)."""
        moments = [STATISTICS[name](cells) for name in self.statistics]
        return np.stack([*moments, *_quantiles(cells, self.quantiles)], axis=-1)


def _quantiles(cells: NDArray[np.int64], wanted: tuple[float, ...]) -> list[NDArray[np.float64]]:
    """Return, for each share q, the middle of the bin that holds the smallest value >= a share q of all."""
    if not wanted:
        return []
    ranks = fold.histogram(cells).cumsum(axis=-1)
    total = ranks[..., -1]
    quantiles = []
    for q in wanted:
        needed = np.maximum(1, np.ceil(q * total)).astype(np.int64)
        bins = np.argmax(ranks >= needed[..., None], axis=-1)
        quantiles.append(np.where(total > 0, _MIDDLES[bins], np.nan))
    return quantiles


def _shares(name: str, value: Any) -> tuple[float, ...]:
    return () if value is None else tuple(axes.reals(name, value, 0.0, 1.0).tolist())


def _edges(name: str, value: Any) -> tuple[float, ...]:
    if value is None:
        return ()
    edges = axes.reals(name, value)
    if edges.size < 2:
        raise InputError(f"{name} has one edge; needed are two or more, a list or a range")
    return tuple(edges.tolist())


ENTRIES = (
    name_entry("output.reduce", "over", "over", lambda: ("seed",), "The reduced axis.", default="seed"),
    names_entry(
        "output.reduce",
        "statistics",
        "statistics",
        lambda: tuple(STATISTICS),
        "Statistics over the seeds.",
        default=list(STATISTICS),
    ),
    Entry(
        "output.reduce",
        "quantiles",
        "quantiles",
        _shares,
        list,
        "numbers from 0 to 1",
        "Quantiles over the seeds.",
        None,
        written=lambda reduction: bool(reduction.quantiles),
    ),
    Entry(
        "output.reduce",
        "histogram",
        "histogram",
        _edges,
        lambda edges: axes.compact(np.array(edges)),
        "numbers, at least two",
        "Edges of bins in which the seeds are counted. It excludes `quantiles`.",
        None,
        written=lambda reduction: bool(reduction.histogram),
    ),
)
