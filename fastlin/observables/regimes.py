"""Regimes of learning (lazy, intermediate, rich), by the distance of the NTK from its start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from fastlin.errors import InputError
from fastlin.validation import check_float, shown

NAMES = ("lazy", "intermediate", "rich")
UNKNOWN = np.int8(-1)
# The paper calls starts with abs(lam) = 9 lazy (Figure 2B, t = inf). Their means over seeds are at most 0.02.
# It calls starts with lam = 0 rich. Their means are at least 0.17. Gaussian starts give the same bounds.
THRESHOLD = (0.05, 0.15)


def regime(distance: xr.DataArray, threshold: float | Sequence[float] = THRESHOLD) -> xr.DataArray:
    """Classify kernel distances S: lazy below the first threshold, rich from the second on.

    Parameters
    ----------
    distance : xarray.DataArray
        Kernel distances, of single networks or means over seeds; lazy (Dask) arrays stay lazy.
    threshold : float or pair of float
        In [0, 1], the second at least the first. A single number leaves no intermediate regime.

    Returns
    -------
    xarray.DataArray
        Of int8: 0 lazy, 1 intermediate, 2 rich (attributes flag_values and flag_meanings of the CF
        conventions), and -1 (the _FillValue) where the distance is NaN.

    Raises
    ------
    InputError
        If the threshold is not one or two numbers in order.
    """
    low, high = _pair(threshold)
    codes = (distance >= low).astype(np.int8) + (distance >= high)
    regimes: xr.DataArray = codes.where(distance.notnull(), UNKNOWN).astype(np.int8).rename("regime")
    regimes.attrs = {
        "long_name": f"regime of learning: lazy where S < {low:g}, rich where S >= {high:g}",
        "flag_values": np.arange(len(NAMES), dtype=np.int8),
        "flag_meanings": " ".join(NAMES),
    }
    regimes.encoding = {"_FillValue": UNKNOWN}
    return regimes


def _pair(threshold: float | Sequence[float]) -> tuple[float, float]:
    values = [threshold] * 2 if np.ndim(threshold) == 0 else list(threshold)  # type: ignore[arg-type]
    if len(values) != 2:
        raise InputError(f"threshold is {shown(threshold)}; needed is a number or a pair of them")
    low, high = (check_float("threshold", value, 0.0, 1.0) for value in values)
    if low > high:
        raise InputError(f"threshold is {shown(threshold)}; the second must be at least the first")
    return low, high
