"""The axes of a report: their names, their values, and the places of these in a diagram."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.plot import scales, screen

# Axes with a symbol, which ends their name.
SYMBOLIC = ("lam", "time", "init_scale", "learning_rate", "kappa", "rate_ratio")
STRIP = 0.06  # Share of the length of an axis, for a value that has no place on it.
GAP = 0.2  # Share of a strip, between it and the axis.


def described(coordinate: xr.DataArray, parameter: bool) -> dict[str, Any]:
    """Return an axis, JSON-ready: its values, and for numbers also its name, its scale and its places.

    A place is a number that grows linearly along a diagram: the value, or its decimal logarithm where the
    axis is logarithmic. A value has a span of places and a centre. On a logarithmic axis 0 has no place, and
    t = inf has none on any. These values have strips of their own beside the axis, and are "aside".

    Parameters
    ----------
    coordinate : xarray.DataArray
        The values of the axis.
    parameter : bool
        Whether it is a parameter of a task or a start. The name of its axis is also its symbol.
    """
    values, name = coordinate.values, str(coordinate.name)
    if values.dtype.kind not in ("iuf" if parameter else "f"):
        return {"values": [str(value).replace("_", " ") for value in values.tolist()], "edges": []}
    label, symbol = screen.words(name), name.replace("_", " ")
    words = label
    if name in SYMBOLIC:
        words, _, symbol = label.rpartition(" ")
    edges = _edges(values[scales.drawable(values)])
    return {
        # JSON has no number for infinity.
        "values": [value if np.isfinite(value) else "Infinity" for value in values.tolist()],
        "words": words,
        "symbol": symbol,
        "label": label,
        "log": scales.logarithmic(values),
        "edges": edges,
        **_places(values, edges, scales.logarithmic(values)),
    }


def first(axes: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> str | None:
    """Return the first of some axes that can be an axis of a diagram, or None."""
    return next((name for name in names if name in axes and is_drawn(axes[name])), None)


def is_drawn(axis: Mapping[str, Any]) -> bool:
    """Return whether two or more values of an axis have a place on it."""
    return len(axis["edges"]) > 2


def _edges(values: NDArray[Any]) -> list[float]:
    """Return the borders of cells. A single value has a cell of width 1."""
    if values.size > 1:
        return [float(edge) for edge in scales.edges(values)]
    return [float(value) + half for value in values for half in (-0.5, 0.5)]


def _places(values: NDArray[Any], edges: list[float], log: bool) -> dict[str, Any]:
    """Return the places of values: spans, centres, ends of the axis, also with strips, and what is aside."""
    borders = (np.log10(edges) if log else np.asarray(edges)).tolist()
    spans = list(pairwise(borders))
    drawable = scales.drawable(values)
    centres = (np.log10(values[drawable]) if log else values[drawable]).tolist()
    inner = (borders[0], borders[-1]) if borders else (0.0, 1.0)
    strip = STRIP * (inner[1] - inner[0])
    low, high = inner
    for index in np.flatnonzero(~drawable).tolist():
        before = index == 0 and values.size > 1
        span = (
            (low - (1 + GAP) * strip, low - GAP * strip)
            if before
            else (high + GAP * strip, high + (1 + GAP) * strip)
        )
        low, high = min(low, span[0]), max(high, span[1])
        spans.insert(index, span)
        centres.insert(index, sum(span) / 2)
    aside = np.flatnonzero(~drawable).tolist()
    return {"spans": spans, "centres": centres, "inner": inner, "outer": (low, high), "aside": aside}
