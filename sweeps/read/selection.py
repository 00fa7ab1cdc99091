"""Selection of points by exact values on axes, in any order. An error names the nearest values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.architecture import Architecture, sizes_of
from fastlin.errors import InputError
from fastlin.kernels.random import MAX_SEED
from fastlin.sweeps.spec.points import ARCHITECTURE, POINT, SIZES
from fastlin.validation import check_float, check_int, shown, suggest

ROUNDING = 1e-12  # relative: a value that was written with fewer digits is still meant
PARTS_OF_SEEDS = "seed_block"  # The dimension of the status of a reduced store. It is no axis of the spec.


def position(name: str, value: Any, axis: NDArray[Any]) -> int:
    """Return the place of a value on an axis.

    Raises
    ------
    InputError
        If it is not on the axis. The message has the nearest values.
    """
    if axis.dtype.kind in "UOT":
        indices = np.flatnonzero(axis == value) if isinstance(value, str) else np.empty(0, dtype=np.intp)
        if not indices.size:
            raise InputError(f"{name} is {shown(value)}; {suggest(value, [str(entry) for entry in axis])}")
        _check_once(name, value, indices.size)
        return int(indices[0])
    wanted: float = (
        check_int(name, value, min(0, int(axis.min(initial=0))), MAX_SEED)
        if axis.dtype.kind in "iu"
        else check_float(name, value, infinite=True)
    )
    same = axis == wanted
    if not same.any():
        # All values are equally far from inf, so that their order decides there.
        distance = -np.sign(wanted) * axis if np.isinf(wanted) else np.abs(axis - wanted)
        same = distance <= (0 if axis.dtype.kind in "iu" else ROUNDING * abs(wanted))
        if not same.any() or np.isinf(wanted):
            near = ", ".join(str(entry) for entry in np.sort(axis[np.argsort(distance)[:3]]).tolist())
            raise InputError(f"{name} = {shown(value)} is not on the axis of the sweep; nearest: {near}")
        return int(np.argmin(distance))
    _check_once(name, value, int(same.sum()))
    return int(np.argmax(same))


def _check_once(name: str, value: Any, count: int) -> None:
    """Raise where a value is on its axis several times, as after joining stores that share it."""
    if count > 1:
        raise InputError(
            f"{name} = {shown(value)} is on the axis {count} times, as where joined stores share it; "
            f"choose one by .isel({name}=...), or keep the first by .drop_duplicates({name!r})"
        )


def select(dataset: xr.Dataset, wanted: dict[str, Any]) -> xr.Dataset:
    """Return the part of a sweep with these values on its axes (see `SweepAccessor.select`)."""
    for name, value in wanted.items():
        if name in dataset.coords and dataset[name].dims == (POINT,) and name != POINT:
            dataset = dataset.isel({POINT: _rows(name, value, dataset[name].values)})
        elif name == "architecture":
            axis = _architectures(dataset)
            dataset = dataset.isel(architecture=_indices(name, architecture_name(value), axis))
        elif name in SIZES and name not in dataset.dims:
            dataset = dataset.isel(architecture=_of_size(dataset, name, value))
        elif name in dataset.dims and name in dataset.coords and name != PARTS_OF_SEEDS:
            dataset = dataset.isel({name: _indices(name, value, dataset[name].values)})
        else:
            raise InputError(_no_axis(dataset, name))
    return dataset


def _rows(name: str, value: Any, column: NDArray[Any]) -> NDArray[np.intp]:
    """Return the rows of a table that have a value in a column, one of a list, or one of a range."""
    value = architecture_name(value) if name == ARCHITECTURE else value
    axis, codes = np.unique(column, return_inverse=True)
    return np.flatnonzero(np.isin(codes, _indices(name, value, axis)))


def _no_axis(dataset: xr.Dataset, name: str) -> str:
    """Return the message that a dataset has no axis of this name."""
    if name == "seed" and "statistic" in dataset.coords:
        return "the store holds statistics over seeds, so that there is no seed to select"
    axes = [str(dim) for dim in dataset.dims if dim in dataset.coords and dim != PARTS_OF_SEEDS]
    return f"{name!r} is no axis of the sweep; {suggest(name, [*axes, *SIZES])}"


def _indices(name: str, value: Any, axis: NDArray[Any]) -> Any:
    """Return where a value, each of a list, or all of a closed range are."""
    if isinstance(value, slice):
        if value.step is not None or axis.dtype.kind in "UOT":
            raise InputError(
                f"{name} is {shown(value)}; a range is slice(first, last), of numbers, both included"
            )
        if not axis.size:
            raise InputError(f"{name} has no values left to select from")
        low = -np.inf if value.start is None else check_float(name, value.start, infinite=True)
        high = np.inf if value.stop is None else check_float(name, value.stop, infinite=True)
        low, high = (
            end if np.isinf(end) else end + side * abs(end)
            for end, side in ((low, -ROUNDING), (high, ROUNDING))
        )
        inside = (axis >= low) & (axis <= high)
        if not inside.any():
            raise InputError(
                f"{name} has no value from {value.start} to {value.stop}; it has {axis.min()} to {axis.max()}"
            )
        return np.flatnonzero(inside)
    value = value.values if isinstance(value, xr.DataArray) else value
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        places: dict[int, Any] = {}
        for entry in value:
            if (place := position(name, entry, axis)) in places:
                raise InputError(f"{name} = {shown(entry)} is selected twice; name each value once")
            places[place] = entry
        return list(places)
    return position(name, value, axis)


def architecture_name(value: Any) -> Any:
    """Return the name of an architecture that is given by its sizes, or of each of a list.

    A value that gives no sizes is returned as it is.
    """
    if isinstance(value, xr.DataArray | np.ndarray):
        value = np.asarray(value).tolist()
    if isinstance(value, list):
        return [architecture_name(entry) for entry in value]
    if isinstance(value, tuple) and all(isinstance(size, int | np.integer) for size in value):
        return "-".join(map(str, value))
    return str(value) if isinstance(value, Architecture) else value


def _architectures(dataset: xr.Dataset) -> NDArray[Any]:
    """Return the names of the architectures of a dataset that has several."""
    if "architecture" not in dataset.dims:
        raise InputError("the dataset has one architecture only; there is nothing to select")
    if "architecture" not in dataset.coords:
        raise InputError("the dataset has lost the names of its architectures; use one from open_sweep(path)")
    return dataset["architecture"].values


def _of_size(dataset: xr.Dataset, name: str, value: Any) -> NDArray[np.intp]:
    """Return the indices of the architectures of a size, of each of a list, or of a closed range."""
    sizes = sizes_of(_architectures(dataset))[name]
    axis = np.unique(sizes)
    return np.flatnonzero(np.isin(sizes, axis[_indices(name, value, axis)]))
