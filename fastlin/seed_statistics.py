"""Mean and standard deviation over seeds: of the points that are ok, or as a reduced store holds them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from fastlin.errors import InputError
from fastlin.validation import check_instance, suggest

OBSERVABLE = "an observable of a Dataset, as ds.kernel_distance"


def check_unique(da: xr.DataArray) -> None:
    """Raise an InputError if a value is on an axis several times: a seed would count as several networks."""
    for name, index in da.indexes.items():
        if name in da.dims and not index.is_unique:
            value = index[index.duplicated()].tolist()[0]
            raise InputError(
                f"{name} = {value} is on the axis several times, as where joined stores share it; "
                f"keep the first of each value by .drop_duplicates({name!r})"
            )


def ok(da: xr.DataArray) -> xr.DataArray:
    """Return an observable with NaN where the coordinate `status` says that a point is not ok.

    Raises
    ------
    InputError
        If a value is on an axis several times, or the status is that of a store that was not opened by
        `fastlin.open_sweep`.
    """
    check_unique(da)
    if "status" not in da.coords:
        return da
    if da["status"].dtype.kind not in "UTO":
        raise InputError(
            "the status of this dataset is not decoded; open the store by fastlin.open_sweep(path)"
        )
    # Sums over thousands of seeds need double precision.
    values = da.where(da["status"] == "ok").astype(np.float64)
    values.attrs = da.attrs
    return values


def mean(da: xr.DataArray) -> xr.DataArray:
    """Return the mean over seeds."""
    if "statistic" not in da.dims:
        return ok(da).mean("seed") if "seed" in da.dims else da
    check_unique(da)
    statistics = da["statistic"].values.tolist()
    if "mean" not in statistics:
        raise InputError(f"the store holds no mean over seeds; it has {', '.join(statistics)}")
    return da.sel(statistic="mean", drop=True)


def deviation(da: xr.DataArray) -> xr.DataArray | None:
    """Return the standard deviation over seeds (n - 1 degrees of freedom), or None if there are none.

    It is NaN where fewer than two points are ok, and where a value is infinite, as a time scale may be.
    """
    if "statistic" in da.dims:
        return da.sel(statistic="std", drop=True) if "std" in da["statistic"].values.tolist() else None
    if da.sizes.get("seed", 1) < 2:
        return None
    points = ok(da)
    enough = (points.count("seed") > 1) & ~(points == np.inf).any("seed")
    # Cells without a deviation are computed from zeros, because Dask warns of a division by zero counts.
    return points.where(enough, 0.0).std("seed", ddof=1).where(enough)


def mean_over(da: xr.DataArray, kept: tuple[str, ...]) -> xr.DataArray:
    """Return the mean over seeds with the dimensions `kept` alone, each in ascending order."""
    check_instance("da", da, xr.DataArray, OBSERVABLE)
    for name in kept:
        if name not in da.dims:
            raise InputError(f"{name!r} is no dimension here; {suggest(name, [str(d) for d in da.dims])}")
        if da[name].dtype.kind not in "iuf":
            raise InputError(f"{name} has no numbers to lay along an axis; select one value of it first")
    return _arranged(ok(da) if "seed" in kept else mean(da), kept)


def deviation_over(da: xr.DataArray, kept: tuple[str, ...]) -> xr.DataArray | None:
    """Return the standard deviation over seeds in the form of `mean_over`, or None without one."""
    std = None if "seed" in kept else deviation(da)
    return None if std is None else _arranged(std, kept)


def _arranged(da: xr.DataArray, kept: tuple[str, ...]) -> xr.DataArray:
    other_dims = [str(name) for name in da.dims if name not in kept]
    for name in other_dims:
        if da.sizes[name] > 1:
            raise InputError(
                f"dimension {name!r} has {da.sizes[name]} values; select one first: .isel({{{name!r}: 0}})"
            )
    return da.squeeze(other_dims).sortby(list(kept))
