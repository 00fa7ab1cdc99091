"""Open a store as a Dataset."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.architecture import sizes_of
from fastlin.errors import DamageWarning, InputError
from fastlin.kernels import Status
from fastlin.sweeps.read.rebuild import problem_coordinates
from fastlin.sweeps.spec.extension import axes_of
from fastlin.sweeps.spec.points import POINT
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.metadata import AXIS_ATTRIBUTES, ROOT
from fastlin.sweeps.store.partials import PARTIALS, SCALE_PARTIALS
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import lost_chunks

_NAMES = np.array([status.name.lower() for status in Status])
# xarray cannot join arrays of variable-length texts where some are missing (pydata/xarray#10965), and Zarr's
# format 3 has no fixed-length ones (pydata/xarray#10077), which the status is, and one architecture that was
# selected. Hence texts have variable length where they are saved, and only there.
_TEXT_ENCODING = {"dtype": np.dtypes.StringDType()} if hasattr(np.dtypes, "StringDType") else {}
BOTTLENECK_ATTRIBUTES = {"long_name": "N_h / min(N_i, N_o); below 1 for a bottleneck", "units": "1"}
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
        Lazy (Dask-backed) arrays with dimensions (architecture, init_scale, seed, lam, time), plus "solver",
        "learning_rate", "kappa", "rate_ratio", "noise_seed" and the parameters of [task] and [init] where the
        spec has them as axes, and without "lam" where starts are not balanced. Axes of numbers are sorted.
        The coordinate `status` is decoded to "pending", "ok", "diverged", "failed", "too_stiff" (the flow
        needs more than max_steps steps) and "absent" (there is no such network: kappa > 0 needs
        N_h >= N_i + N_o). Architectures go by their names, as "4-2-4", and have the coordinates n_i, n_h, n_o
        and bottleneck_ratio. Coordinates of one value, as task_kind, n_samples, target_scale and init_kind,
        hold the other entries of [task] and [init] in the spec. A sweep over [points] has the dimension
        "point" in place of all axes but seed and time. Its coordinate is the number of the row in the table,
        in the order stored, and the columns of the table are coordinates along it. The attribute `spec` is
        the spec as JSON text. ``.fastlin`` selects, averages, classifies and draws
        (`fastlin.sweeps.read.accessor.SweepAccessor`).

    Raises
    ------
    InputError
        If there is no store of a sweep, or it is damaged.

    Warns
    -----
    DamageWarning
        If chunks of values are lost.

    Notes
    -----
    During a run, load `status` first. Points that are "ok" then have their final values. Other points may
    still be NaN.

    A lost chunk, as in an incomplete copy, reads as NaN like every chunk that Zarr does not find. Its points
    may still have the status "ok". A point that is "ok" has no NaN otherwise, apart from the kernel distance
    of a network without weights. ``fastlin verify`` reads every byte and names the lost and damaged files.
    This function looks only at the names of files in a folder: it does not notice lost chunks in a bucket, or
    lost statistics of a reduced store.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> dict(ds.kernel_distance.sizes)
    {'architecture': 3, 'init_scale': 2, 'seed': 6, 'lam': 5, 'time': 4}
    >>> bool((ds.status == "ok").all())
    True
    """
    opened, dataset = _as_stored(path)
    layout = opened.layout
    if lost := lost_chunks(opened):
        warnings.warn(
            f"{path}: chunks are lost ({len(lost):,}, {lost[0]} the first), whose points read as NaN; "
            f"fastlin repair {path} computes them again",
            DamageWarning,
            stacklevel=2,
        )
    dataset = dataset.drop_vars([PARTIALS, SCALE_PARTIALS], errors="ignore")
    if len(layout.specs) > 1:
        # Before there are Dask arrays, of which each axis in another order would multiply the tasks.
        dataset = dataset.isel(_in_order(layout)).chunk(_steps(layout, dataset))
    texts = {
        name: dataset[name].astype(object).compute()
        for name, (_, axis) in layout.axes.items()
        if axis.dtype.kind == "U"
    }
    shapes = _sizes(dataset) if layout.spec.table is None else _shapes_of_rows(layout, dataset)
    coordinates = texts | shapes | problem_coordinates(layout.spec) | {"status": _decoded(dataset.status)}
    decoded: xr.Dataset = dataset.drop_vars("status").assign_coords(coordinates)
    decoded.attrs = {name: decoded.attrs[name] for name in KEPT_ATTRIBUTES}
    # A copy may have other chunks and other compression than the store.
    decoded = decoded.drop_encoding()
    for coordinate in decoded.coords.values():
        if coordinate.dtype.kind in "UO":
            coordinate.encoding = dict(_TEXT_ENCODING)
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


def _decoded(codes: xr.DataArray) -> xr.DataArray:
    """Return the status of points by its names."""
    status: xr.DataArray = xr.apply_ufunc(_named, codes, dask="parallelized", output_dtypes=[_NAMES.dtype])
    status.attrs = {"long_name": "what became of each point"}  # the store's own describe its integers
    return status


def _named(codes: NDArray[np.uint8]) -> NDArray[np.str_]:
    return np.asarray(_NAMES[codes])


def _sizes(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the coordinates n_i, n_h, n_o and bottleneck_ratio."""
    coordinates = {}
    for name, values in sizes_of(dataset["architecture"].values).items():
        attributes = dataset[name].attrs if name in dataset else BOTTLENECK_ATTRIBUTES
        coordinates[name] = xr.DataArray(values, dims="architecture", attrs=attributes)
    return coordinates


def _shapes_of_rows(layout: StoreLayout, dataset: xr.Dataset) -> dict[str, Any]:
    """Return the coordinates of a table beside its columns: architectures, and values that rows share."""
    spec = layout.stored
    names = np.array([str(shape) for shape in spec.architectures], dtype=object)
    ratio = dataset["n_h"] / np.minimum(dataset["n_i"], dataset["n_o"])
    ratio.attrs = dict(BOTTLENECK_ATTRIBUTES)
    shared = {"init_scale": spec.init_scales} | ({"lam": spec.lams} if spec.balance else {})
    return {
        "architecture": ((POINT,), names[layout.points.architecture_codes], AXIS_ATTRIBUTES["architecture"]),
        "bottleneck_ratio": ratio.compute(),
        **{
            name: ((), values[0], AXIS_ATTRIBUTES[name])
            for name, values in shared.items()
            if name not in spec.columns
        },
    }


def _as_stored(path: str | Path) -> tuple[Store, xr.Dataset]:
    """Open a store with axes as they are stored, and open it again if it grew meanwhile."""
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
    indices = {}
    before = axes_of(stored)
    for dimension, values in axes_of(spec).items():
        if dimension in layout.axes and layout.axes[dimension][0] == (dimension,):
            index_of = {value: index for index, value in enumerate(before[dimension])}
            indices[dimension] = np.array([index_of[value] for value in values])
    return indices


def _steps(layout: StoreLayout, dataset: xr.Dataset) -> dict[str, int]:
    """Return the sizes of the chunks of a dataset: those of blocks, with all lam and times as at first."""
    steps = dict(zip(layout.status.dims, layout.status.chunk, strict=True)) | {"lam": -1, "time": -1}
    return {name: step for name, step in steps.items() if name in dataset.dims}
