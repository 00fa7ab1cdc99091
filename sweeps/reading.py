"""From a store back to numbers and networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.errors import InputError, real, shown, whole
from fastlin.kernels import Status
from fastlin.kernels.random import MAX_SEED
from fastlin.network import Network, balanced_init
from fastlin.sweeps import store
from fastlin.sweeps.spec import Spec
from fastlin.task import Task, random_regression

_NAMES = np.array([status.name.lower() for status in Status])


def open_sweep(path: str | Path) -> xr.Dataset:
    """Open the store of a sweep, complete or still running.

    Parameters
    ----------
    path : str or Path
        The store.

    Returns
    -------
    xarray.Dataset
        Lazy (Dask-backed) arrays with dimensions (architecture, init_scale, seed, lam, time), plus
        "method" and "learning_rate" where the spec has them as axes. Axes of numbers are sorted;
        The coordinate `status` is decoded to "pending", "ok", "diverged", "failed". The spec is in the
        attributes.
        Select a method with ``.sel({"method": "exact"})``: ``.sel(method=...)`` is xarray's own.

    Raises
    ------
    InputError
        If there is no store of a sweep, or arrays of it are missing or not those of its spec.
    """
    place = store.local_path(path)
    store.read_spec(place)
    dataset: xr.Dataset = xr.open_zarr(place, consolidated=False)

    def decode(codes: NDArray[np.uint8]) -> NDArray[np.str_]:
        return np.asarray(_NAMES[codes])

    status = xr.apply_ufunc(
        decode, dataset.status, dask="parallelized", output_dtypes=[_NAMES.dtype], keep_attrs=True
    )
    status.attrs = {"long_name": "what became of each point"}  # the store's own describe its integers
    sizes = {name: dataset[name].load() for name in store.SIZES}
    decoded: xr.Dataset = dataset.drop_vars("status").assign_coords(sizes | {"status": status})
    return decoded


def rebuild(
    dataset: xr.Dataset,
    architecture: int | None = None,
    seed: int | None = None,
    lam: float | None = None,
    init_scale: float | None = None,
) -> tuple[Task, Network]:
    """Build the very task and network behind one point of a sweep.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `open_sweep`, or a selection of it.
    architecture : int, optional
        Value on the axis "architecture": the position in the spec's list, also after a selection.
    seed : int, optional
        Value on the axis "seed".
    lam, init_scale : float, optional
        Values on these axes.
        Whatever is left out must have a single value in the dataset.

    Returns
    -------
    task : Task
    net : Network

    Raises
    ------
    InputError
        If a value is not on its axis, or one is left out that has several; or if the dataset lost its
        attributes on the way.

    Examples
    --------
    >>> task, net = rebuild(ds, architecture=3, seed=17, lam=-9.0)  # doctest: +SKIP
    """
    if "spec" not in dataset.attrs:
        raise InputError("the dataset has no spec in its attributes; use one from open_sweep(path)")
    spec = Spec.from_dict(dataset.attrs["spec"])
    index = int(_chosen(dataset, "architecture", architecture, np.arange(len(spec.architectures))))
    number = int(_chosen(dataset, "seed", seed, spec.seeds))
    shape = spec.architectures[index]
    net = balanced_init(
        shape,
        float(_chosen(dataset, "lam", lam, spec.lams)),
        float(_chosen(dataset, "init_scale", init_scale, spec.init_scales)),
        number,
        spec.init_kind,
        n_samples=spec.n_samples,
        task=(task := random_regression(shape, spec.n_samples, spec.target_scale, number)),
    )
    return task, net


def _chosen(dataset: xr.Dataset, name: str, value: Any, axis: NDArray[Any]) -> Any:
    """Return the value on an axis that is meant: given and there, or the only one of the dataset."""
    if name in dataset.coords:  # what a selection left of the axis
        axis = np.atleast_1d(dataset[name].values)
    if value is None:
        if axis.size != 1:
            raise InputError(f"{name} has {axis.size} values in the dataset; say which: {name}=...")
        return axis[0]
    if axis.dtype.kind == "i":
        wanted: int | float = whole(name, value, 0, MAX_SEED)
        distance = np.abs(axis - wanted)
        found = distance == 0
    else:
        wanted = real(name, value)
        distance = np.abs(axis - wanted)
        found = distance <= 1e-12 * abs(wanted)  # a value that was written with fewer digits
    if not found.any():
        near = ", ".join(str(entry) for entry in np.sort(axis[np.argsort(distance)[:3]]).tolist())
        raise InputError(f"{name} = {shown(value)} is not on the axis of the sweep; nearest: {near}")
    return axis[np.argmin(distance)]
