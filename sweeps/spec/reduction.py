"""`[output.reduce]`: which statistics over the seeds a store holds, instead of every point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels import exact_statistics as fold
from fastlin.sweeps.spec import axes
from fastlin.validation import check_choice, shown, suggest

STATISTICS = {"mean": fold.mean, "std": fold.std, "min": fold.minimum, "max": fold.maximum}
KEYS = ("over", "statistics", "quantiles", "histogram")
# Quantiles are read off bins of a 64th of an octave, from 2^-40, below which a value counts as 0, to 2^16,
# beyond which it counts as infinite: exact to merge, and off by at most 1/128 of the value.
_PARTS, _LOWEST, _HIGHEST = 64, -40, 16
_MANTISSAS = 1.0 + np.arange(_PARTS) / _PARTS
QUANTILE_EDGES = np.concatenate(
    [[0.0], *(np.ldexp(_MANTISSAS, power) for power in range(_LOWEST, _HIGHEST)), [2.0**_HIGHEST, np.inf]]
)
_MIDDLES = np.concatenate([[0.0], 0.5 * (QUANTILE_EDGES[1:-2] + QUANTILE_EDGES[2:-1]), [np.inf]])


@dataclass(frozen=True)
class Reduction:
    """Statistics over seeds: moments and extremes, and either quantiles or a histogram."""

    statistics: tuple[str, ...]
    quantiles: tuple[float, ...] = ()
    histogram: tuple[float, ...] = ()  # edges of its bins

    @classmethod
    def read(cls, name: str, value: Any) -> Reduction:
        """Read the table of a spec.

        Raises
        ------
        InputError
            If a key or a value is not allowed.
        """
        if not isinstance(value, dict):
            raise InputError(f"{name} is {shown(value)}; a table [{name}] is needed")
        for key in value:
            if key not in KEYS:
                raise InputError(f"{name} has the unknown key {key!r}; {suggest(key, KEYS)}")
        check_choice(f"{name}.over", value.get("over", "seed"), ["seed"])
        statistics = axes.texts(f"{name}.statistics", value.get("statistics", [*STATISTICS]), [*STATISTICS])
        quantiles, histogram = np.empty(0), np.empty(0)
        if "quantiles" in value:
            quantiles = axes.reals(f"{name}.quantiles", value["quantiles"], 0.0, 1.0)
        if "histogram" in value:
            histogram = axes.reals(f"{name}.histogram", value["histogram"])
            if histogram.size < 2:
                raise InputError(f"{name}.histogram has one edge; needed are two or more, a list or a range")
        if quantiles.size and histogram.size:
            raise InputError(f"{name} has quantiles and a histogram; give one of them")
        return cls(statistics, tuple(quantiles.tolist()), tuple(histogram.tolist()))

    def to_dict(self) -> dict[str, Any]:
        """Return the table of a spec, JSON-ready."""
        content: dict[str, Any] = {"over": "seed", "statistics": list(self.statistics)}
        if self.quantiles:
            content["quantiles"] = list(self.quantiles)
        if self.histogram:
            content["histogram"] = axes.compact(np.array(self.histogram))
        return content

    @property
    def names(self) -> list[str]:
        """Values of the dimension "statistic"."""
        return [*self.statistics, *(f"quantile {q:g}" for q in self.quantiles)]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins that are counted; empty where none are."""
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
    """Return the smallest value that at least a share q of all does not exceed, by its bin."""
    if not wanted:
        return []
    ranks = fold.histogram(cells).cumsum(axis=-1)
    total = ranks[..., -1]
    found = []
    for q in wanted:
        needed = np.maximum(1, np.ceil(q * total)).astype(np.int64)
        place = np.argmax(ranks >= needed[..., None], axis=-1)
        found.append(np.where(total > 0, _MIDDLES[place], np.nan))
    return found
