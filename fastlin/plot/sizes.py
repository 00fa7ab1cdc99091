"""Architectures along their sizes: means over those of equal sizes, and gaps at missing sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin import seed_statistics
from fastlin.architecture import sizes_of
from fastlin.errors import InputError
from fastlin.plot import scales
from fastlin.plot.style import SIZE_NAMES

SIZES = (*SIZE_NAMES, "bottleneck_ratio")


def is_size(da: xr.DataArray, name: str) -> bool:
    """Return whether a name is that of a size of architectures and not that of a dimension."""
    return name in SIZES and name not in da.dims


def mean_along(da: xr.DataArray, kept: tuple[str, ...]) -> tuple[xr.DataArray, int]:
    """Return the mean over seeds along `kept`, which may name sizes of architectures.

    Architectures that have all their kept sizes in common are averaged, each with the same weight.

    Returns
    -------
    mean : xarray.DataArray
        With the dimensions `kept`, along which values rise. It is NaN where no architecture has such sizes.
    count : int
        The largest number of architectures that one value is the mean of.

    Raises
    ------
    InputError
        If a name is neither a dimension nor a size, or another dimension has several values.
    """
    names = [name for name in kept if is_size(da, name)]
    if not names:
        return seed_statistics.mean_over(da, kept), 1
    by_architecture = seed_statistics.ok(da) if "seed" in kept else seed_statistics.mean(da)
    averaged, count = along(by_architecture, names, filled=len(kept) > 1)
    return seed_statistics.mean_over(averaged, kept), count


def along(da: xr.DataArray, names: Sequence[str], *, filled: bool) -> tuple[xr.DataArray, int]:
    """Return the mean over architectures along some of their sizes, and of how many it is at most.

    If `filled`, sizes that are missing between others are there, too, without values.
    """
    if "architecture" not in da.dims:
        raise InputError(f"{names[0]} is an axis where there are several architectures; here is one")
    sizes = sizes_of(da["architecture"].values)
    axes = {name: np.unique(sizes[name]) for name in names}
    axes = {name: _regular(axis) for name, axis in axes.items()} if filled else axes
    shape = tuple(axis.size for axis in axes.values())
    indices = tuple(np.searchsorted(axis, sizes[name]) for name, axis in axes.items())
    cells = np.ravel_multi_index(indices, shape)
    other_dims = [dim for dim in da.dims if dim != "architecture"]
    values = _cell_means(da.transpose("architecture", *other_dims).values, cells, int(np.prod(shape)))
    coords = {name: da.coords[name] for name in other_dims if name in da.coords} | axes
    gathered = xr.DataArray(
        values.reshape(*shape, *values.shape[1:]), coords, (*names, *other_dims), str(da.name), da.attrs
    )
    return gathered, int(np.bincount(cells).max())


def _cell_means(values: NDArray[Any], cells: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Return the means of the rows of `values` by cell, without NaN. Cells without values are NaN."""
    known = ~np.isnan(values)
    total = np.zeros((count, *values.shape[1:]))
    number = np.zeros(total.shape)
    np.add.at(total, cells, np.where(known, values, 0.0))
    np.add.at(number, cells, known)
    means: NDArray[np.float64] = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return means


def _regular(values: NDArray[Any]) -> NDArray[Any]:
    """Return sizes with those that are missing between them, such as 5 in 3, 4, 6.

    Without them, the cell of a neighbour would cover their place. Unevenly spaced sizes, which are drawn on
    a logarithmic axis or have no common step, are returned as they are.
    """
    if values.dtype.kind not in "iu" or values.size < 2 or scales.logarithmic(values):
        return values
    steps = np.diff(values)
    step = int(np.gcd.reduce(steps))
    return np.arange(values[0], values[-1] + 1, step) if step == steps.min() else values
