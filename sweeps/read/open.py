"""From a store back to numbers and networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels import Status
from fastlin.network import Network, draw_network
from fastlin.sweeps.read.accessor import SweepAccessor
from fastlin.sweeps.read.selection import index_of, position
from fastlin.sweeps.spec.extension import AXES
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.layout import PARTIALS, SCALE_PARTIALS, SIZES, StoreLayout
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.metadata import ROOT
from fastlin.sweeps.store.store import Store
from fastlin.task import Task

_NAMES = np.array([status.name.lower() for status in Status])
xr.register_dataset_accessor("fastlin")(SweepAccessor)  # type: ignore[no-untyped-call]
KEPT_ATTRIBUTES = ("title", "spec", "spec_hash", "versions")


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
        "solver" and "learning_rate" where the spec has them as axes. Axes of numbers are sorted; the
        coordinate `status` is decoded to "pending", "ok", "diverged", "failed", and "architecture" has
        the coordinates architecture_name, n_i, n_h, n_o and bottleneck_ratio. The spec is in the
        attributes. ``.fastlin`` selects, averages, classifies and draws
        (`fastlin.sweeps.read.accessor.SweepAccessor`).

    Raises
    ------
    InputError
        If there is no store of a sweep, or it is damaged.

    Notes
    -----
    While a sweep is running, load `status` first: what is "ok" then has its final values, everything else
    may be NaN still.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> dict(ds.kernel_distance.sizes)
    {'architecture': 3, 'init_scale': 2, 'seed': 6, 'lam': 5, 'time': 4}
    >>> bool((ds.status == "ok").all())
    True
    """
    opened, dataset = _as_stored(path)
    spec = opened.layout.spec
    dataset = dataset.drop_vars([PARTIALS, SCALE_PARTIALS], errors="ignore")
    if len(opened.layout.specs) > 1:
        # Before there are Dask arrays, of which each axis in another order would multiply the tasks.
        dataset = dataset.isel(_in_order(opened.layout)).chunk(_steps(opened.layout, dataset))
    dataset = dataset.assign_coords(architecture=("architecture", np.arange(len(spec.architectures))))

    status = xr.apply_ufunc(
        _named, dataset.status, dask="parallelized", output_dtypes=[_NAMES.dtype], keep_attrs=True
    )
    status.attrs = {"long_name": "what became of each point"}  # the store's own describe its integers
    sizes = {name: dataset[name].load() for name in SIZES}
    ratio = sizes["n_h"] / np.minimum(sizes["n_i"], sizes["n_o"])
    ratio.attrs = {"long_name": "N_h / min(N_i, N_o); below 1 for a bottleneck", "units": "1"}
    # Objects, for fixed-length texts have no place yet in Zarr's format 3, where these may be saved to.
    names = np.array([str(shape) for shape in spec.architectures], dtype=object)
    decoded: xr.Dataset = dataset.drop_vars("status").assign_coords(
        sizes | {"bottleneck_ratio": ratio, "architecture_name": ("architecture", names), "status": status}
    )
    decoded.attrs = {name: decoded.attrs[name] for name in KEPT_ATTRIBUTES}
    return decoded


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise `InputError` where a lazy dataset of a store turns out to be damaged when it is read."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, InputError) or "checksum" not in str(error):
            raise
        raise InputError(f"{path} has a damaged chunk: {error}") from None


def _named(codes: NDArray[np.uint8]) -> NDArray[np.str_]:
    return np.asarray(_NAMES[codes])


def _as_stored(path: str | Path) -> tuple[Store, xr.Dataset]:
    """Open a store, with axes as they are stored; once more if it grew meanwhile."""
    opened = Store.open(locate(path))
    try:
        chunks: Any = None if len(opened.layout.specs) > 1 else {}
        dataset = xr.open_zarr(opened.location.for_zarr(), chunks=chunks, consolidated=True, zarr_format=3)
        fault = next(
            (
                f"the axis {name!r} has not the values of its spec"
                for name, (_, values) in opened.layout.axes.items()
                if not np.array_equal(dataset[name].values, values)
            ),
            "",
        )
    except (ValueError, OSError, KeyError) as error:
        fault = str(error).strip().splitlines()[0]
    if not fault:
        return opened, dataset
    if opened.location.read(ROOT) != opened.root:
        return _as_stored(path)
    raise InputError(f"{path} is damaged: {fault}; fastlin verify tells where, fastlin repair mends it")


def _in_order(layout: StoreLayout) -> dict[str, NDArray[np.intp]]:
    """Return where the values of a spec are stored, for the axes that are not in its order."""
    spec, stored = layout.spec, layout.stored
    found = {}
    for field, dimension in AXES.items():
        if dimension in layout.axes:
            place = {value: index for index, value in enumerate(getattr(stored, field))}
            found[dimension] = np.array([place[value] for value in getattr(spec, field)])
    return found


def _steps(layout: StoreLayout, dataset: xr.Dataset) -> dict[str, int]:
    """Return the sizes of the chunks of a dataset: those of blocks, with all lam and times as at first."""
    steps = dict(zip(layout.status.dims, layout.status.chunk, strict=True)) | {"lam": -1, "time": -1}
    return {name: step for name, step in steps.items() if name in dataset.dims}


def rebuild(
    dataset: xr.Dataset,
    architecture: int | str | tuple[int, int, int] | Architecture | None = None,
    seed: int | None = None,
    lam: float | None = None,
    init_scale: float | None = None,
) -> tuple[Task, Network]:
    """Build the very task and network behind one point of a sweep.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `open_sweep`, or a selection of it.
    architecture : int, str, tuple or Architecture, optional
        Value on the axis "architecture": the position in the spec's list, also after a selection; or its
        sizes, or their name as "4-2-4".
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
    >>> ds = fl.open_sweep("small.zarr")
    >>> task, net = fl.rebuild(ds, architecture=0, seed=3, lam=2.0, init_scale=1.0)
    >>> net
    <funnel Network 4-2-2 (N_i-N_h-N_o), lam 2, balance 'strict'>
    >>> point = ds.fastlin.select(architecture=0, seed=3, lam=2.0, init_scale=1.0)
    >>> bool(np.allclose(point.loss, fl.exact(task, net, ds.time).loss))
    True
    """
    if "spec" not in dataset.attrs:
        raise InputError("the dataset has no spec in its attributes; use one from open_sweep(path)")
    spec = Spec.from_dict(dataset.attrs["spec"])
    indices = np.arange(len(spec.architectures))
    names = np.array([str(shape) for shape in spec.architectures])
    index = int(_chosen(dataset, "architecture", index_of(architecture, names, indices), indices))
    number = int(_chosen(dataset, "seed", seed, spec.seeds))
    shape = spec.architectures[index]
    balance = float(_chosen(dataset, "lam", lam, spec.lams))
    problem = spec.problem(float(_chosen(dataset, "init_scale", init_scale, spec.init_scales)))
    task = spec.task.kind.build(problem.task, shape, number)
    return task, draw_network(shape, balance, number, problem, task)


def _chosen(dataset: xr.Dataset, name: str, value: Any, axis: NDArray[Any]) -> Any:
    """Return the value on an axis that is meant: given and there, or the only one of the dataset."""
    if name in dataset.coords:  # what a selection left of the axis
        axis = np.atleast_1d(dataset[name].values)
    if value is None:
        if axis.size != 1:
            raise InputError(f"{name} has {axis.size} values in the dataset; say which: {name}=...")
        return axis[0]
    return axis[position(name, value, axis)]
