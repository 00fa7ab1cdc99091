"""What is drawn of many seeds: their mean and standard deviation, of points or as a store holds them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from fastlin.errors import InputError, instance, suggest


def mean(da: xr.DataArray) -> xr.DataArray:
    """Return the mean over seeds."""
    if "statistic" not in da.dims:
        return da.mean("seed") if "seed" in da.dims else da
    there = da["statistic"].values.tolist()
    if "mean" not in there:
        raise InputError(f"the store holds no mean over seeds; it has {', '.join(there)}")
    return da.sel(statistic="mean", drop=True)


def deviation(da: xr.DataArray) -> xr.DataArray | None:
    """Return the standard deviation over seeds, if there is one."""
    if "statistic" in da.dims:
        return da.sel(statistic="std", drop=True) if "std" in da["statistic"].values.tolist() else None
    # A time scale may be infinite, and then has no deviation.
    return da.where(np.isfinite(da)).std("seed", ddof=1) if da.sizes.get("seed", 1) > 1 else None


def mean_over(da: xr.DataArray, kept: tuple[str, ...]) -> xr.DataArray:
    """Return the mean over seeds, with the dimensions `kept` and no others."""
    instance("da", da, xr.DataArray, "an observable of a Dataset, as ds.kernel_distance")
    for name in kept:
        if name not in da.dims:
            raise InputError(f"{name!r} is no dimension here; {suggest(name, [str(d) for d in da.dims])}")
    found = da if "seed" in kept else mean(da)
    others = [str(name) for name in found.dims if name not in kept]
    for name in others:
        if found.sizes[name] > 1:
            raise InputError(
                f"dimension {name!r} has {found.sizes[name]} values; select one first: .isel({{{name!r}: 0}})"
            )
    return found.squeeze(others)
