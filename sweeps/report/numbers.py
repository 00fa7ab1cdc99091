"""The numbers of a report: mean, standard deviation and count over seeds, thinned where they are too many."""

from __future__ import annotations

import warnings
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin import seed_statistics
from fastlin.observables.regimes import THRESHOLD
from fastlin.observables.registry import REGISTRY
from fastlin.observables.stages import OF_SEQUENCE, entry_of
from fastlin.plot import scales
from fastlin.plot.lines import MAX_BANDS
from fastlin.plot.screen import SCHEMES
from fastlin.plot.style import DEFAULT_STYLE, Style, architectures, default_index, spelt
from fastlin.sweeps.report import look
from fastlin.sweeps.report.axes import described, first

MOST_BYTES = 1_400_000  # Size of all numbers in a page. All else has 0.6 MB, of which BokehJS has 0.47 MB.
MOST_PANELS = 40
BYTES_PER_VALUE = 4 * 4 / 3  # Size of a float32 in base64.
DIMENSIONS = (
    *("architecture", "solver", "learning_rate", "noise_seed", "rate_ratio", "init_scale", "kappa", "lam"),
    "time",
)
# Candidates for the axes of the diagrams. The first that can be drawn is taken.
HORIZONTAL = ("lam", "kappa", "init_scale", "rate_ratio", "learning_rate", "time")
VERTICAL = ("kappa", "init_scale", "time", "rate_ratio", "learning_rate")
Thinned = dict[str, tuple[int, int]]


def thin(dataset: xr.Dataset, counted: bool = True) -> tuple[xr.Dataset, Thinned]:
    """Return as much of a sweep as fits a page, and for each thinned axis how many of how many values it has.

    Values are left out evenly along the longest axes. The first and the last value stay, and also the last
    time before t = inf. Numbers of seeds need room only if they are `counted`, because they differ.
    """
    sizes = {name: dataset.sizes[name] for name in _dimensions(_dims(dataset))}
    numbers = (2 + counted) * len(list(_quantities(dataset)))
    cells = MOST_BYTES / (BYTES_PER_VALUE * numbers)
    limits = {name: MOST_PANELS if name == "architecture" else size for name, size in sizes.items()}

    def fitting(length: int) -> dict[str, int]:
        return {name: min(size, limits[name], length) for name, size in sizes.items()}

    lengths = range(1, max(sizes.values()) + 1)
    least_too_long = bisect_left(lengths, True, key=lambda length: prod(fitting(length).values()) > cells)
    kept = fitting(max(2, least_too_long))
    chosen = {
        name: _spread(np.asarray(dataset[name].values), kept[name])
        for name, size in sizes.items()
        if kept[name] < size
    }
    return dataset.isel(chosen), {name: (index.size, sizes[name]) for name, index in chosen.items()}


def _dims(dataset: xr.Dataset) -> list[Any]:
    """Return the dimensions of all observables."""
    return list(dict.fromkeys(dim for _, da in _quantities(dataset) for dim in da.dims))


def _parameters(dims: Iterable[Any]) -> list[str]:
    """Return the dimensions that parameters of tasks and starts make."""
    known = (*DIMENSIONS, "seed", "seed_block", "statistic")
    return [str(name) for name in dims if name not in known]


def _dimensions(dims: Sequence[Any]) -> list[str]:
    """Return the axes among some dimensions, without seeds, in the order of the page."""
    *first, lam, time = DIMENSIONS
    return [name for name in (*first, *_parameters(dims), lam, time) if name in dims]


def _spread(values: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the indices of about `count` values, evenly, with both ends and the last one before t = inf."""
    limit = int(values.dtype.kind == "f" and np.isinf(values[-1]))
    indices = np.linspace(0, values.size - 1 - limit, count - limit).round()
    return np.unique([*indices, values.size - 1]).astype(np.intp)


def content(dataset: xr.Dataset, total: int, style: Style = DEFAULT_STYLE) -> dict[str, Any] | None:
    """Return the data of the page, JSON-ready; None where no mean is there.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `open_sweep`, thinned. It is read lazily, all observables at once.
    total : int
        Number of seeds of the sweep.
    style : fastlin.plot.Style
        Scale of values that the page opens with.
    """
    if "statistic" in dataset.dims and "mean" not in dataset["statistic"].values:
        return None
    parameters = _parameters(_dims(dataset))
    axes = {name: described(dataset[name], name in parameters) for name in _dimensions(_dims(dataset))}
    axes["architecture"]["values"] = [f"{shape.family} {shape}" for shape in architectures(dataset)]
    if not (quantities := _computed(dataset)):
        return None
    x = first(axes, (*HORIZONTAL, *parameters)) or ("lam" if "lam" in axes else "init_scale")
    few = len(axes["architecture"]["values"]) <= MAX_BANDS
    return {
        "axes": axes,
        "x": x,
        "y": first({name: axis for name, axis in axes.items() if name != x}, (*VERTICAL, *parameters)),
        "start": {name: default_index(name, dataset[name].values) for name in axes},
        "quantities": quantities,
        "shown": next((i for i, q in enumerate(quantities) if q["name"] == "kernel_distance"), 0),
        "log": bool(style.log),
        "lines": list(islice(look.lines(), len(axes["architecture"]["values"]))),
        "theme": look.fonts(),
        "themes": {scheme: look.theme(scheme) for scheme in SCHEMES},
        "seeds": total,
        "bands": few and quantities[0]["std"] is not None,
    }


def _computed(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Return a description of each observable with its numbers, or an empty list if no number is finite."""
    quantities: list[dict[str, Any]] = []
    lazy: dict[tuple[int, str], xr.DataArray] = {}
    for name, da in _quantities(dataset):
        lazy |= {(len(quantities), key): value for key, value in _statistics(dataset, da).items()}
        quantities.append(_description(name, da))
    with warnings.catch_warnings():
        # Dask divides by a count of 0 where no seed is ok yet, and subtracts infinite times.
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        numbers = xr.Dataset(lazy).compute()
    if not any(np.isfinite(numbers[index, "mean"]).any() for index in range(len(quantities))):
        return []
    for index, quantity in enumerate(quantities):
        for key in ("mean", "std", "count"):
            quantity[key] = _packed(numbers[index, key]) if (index, key) in numbers else None
    return quantities


def _quantities(dataset: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    """Yield the observables with their names in words. Each layer is a separate observable."""
    for name in (*REGISTRY, *OF_SEQUENCE):
        if name in dataset:
            words, da = spelt(name), dataset[name]
            if "layer" in da.dims:
                for layer in da["layer"].values.tolist():
                    yield f"{words} ({layer.upper()})", da.sel(layer=layer, drop=True)
            else:
                yield words, da


def _description(words: str, da: xr.DataArray) -> dict[str, Any]:
    entry = entry_of(str(da.name))
    return {
        "name": entry.name,
        "label": words,
        "doc": entry.doc,
        "equation": entry.equation,
        "dims": _dimensions(da.dims),
        "levels": THRESHOLD if entry.name == "kernel_distance" else (),
        "zero": scales.zero(entry.name),
    }


def _statistics(dataset: xr.Dataset, da: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return mean, deviation and count over seeds that are ok, from points or as stored."""
    if "statistic" in da.dims:
        count = dataset["count"]
    else:
        da = da.where(dataset["status"] == "ok").astype(np.float64)
        count = da.count("seed")
    statistics = {"mean": seed_statistics.mean(da), "count": count}
    return statistics if (std := seed_statistics.deviation(da)) is None else statistics | {"std": std}


def _packed(da: xr.DataArray) -> dict[str, Any]:
    """Return an array as base64 of little-endian float32, without axes along which it is constant."""
    dims = _dimensions(da.dims)
    with np.errstate(over="ignore"):
        values = da.transpose(*dims).values.astype("<f4")
    for axis in reversed(range(len(dims))):
        bits, first = values.view("<i4"), values.take([0], axis=axis)
        if (bits == first.view("<i4")).all():
            values = first.squeeze(axis)
            del dims[axis]
    return {"dims": dims, "shape": values.shape, "data": b64encode(values.tobytes()).decode()}
