"""Rebuild the task and the network of a point of a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.codes import Start
from fastlin.networks.network import Network
from fastlin.sweeps.read.selection import architecture_name, position
from fastlin.sweeps.spec.network_of import stages_and_network, task_and_network
from fastlin.sweeps.spec.points import POINT, SECTION, column_names
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.spec.table import KIND_SECTIONS
from fastlin.validation import check_choice, check_instance, shown


def problem_coordinates(spec: Spec) -> dict[str, Any]:
    """Return the coordinates of one value that hold the entries of [task] and [init] in the spec.

    They tell joined stores apart: where the values differ, xarray keeps each with its part. Parameters that
    are axes have coordinates of their own.
    """
    values = {}
    for section in KIND_SECTIONS.values():
        for key, value in section.write(spec).items():
            name = "task_kind" if (section.section, key) == ("task", "kind") else section.prefix + key
            if name not in spec.optional_dims and key != "data":
                text = json.dumps(value) if isinstance(value, list | dict) else value
                values[name] = ((), np.array(text, dtype=object) if isinstance(text, str) else text)
        if own := section.own(spec):
            text = " ".join(item.content["sha256"] for item in own.values())
            values[f"{section.section}_sha256"] = ((), np.array(text, dtype=object))
    return values


def rebuild(
    dataset: xr.Dataset,
    architecture: str | tuple[int, int, int] | Architecture | None = None,
    seed: int | None = None,
    lam: float | None = None,
    init_scale: float | None = None,
    kappa: float | None = None,
    rate_ratio: float | None = None,
    point: int | None = None,
    **parameters: Any,
) -> tuple[Any, Network]:
    """Build the very task and network behind one point of a sweep.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `open_sweep`, or a selection of it.
    architecture : str, tuple or Architecture, optional
        Value on the axis "architecture", as "4-2-4", or its sizes.
    seed : int, optional
        Value on the axis "seed".
    lam, init_scale, kappa, rate_ratio : float, optional
        Values on these axes. An argument may be left out if the dataset has a single value of it.
    point : int, optional
        Row of the table, of a sweep over [points]. It has the values of all columns.
    **parameters
        Values on the axes that parameters of [task] and [init] make, by the names of the axes.

    Returns
    -------
    task : Task or list of (Task, float)
        Of a sequence of tasks its stages, each a task and its duration, as `sequence` takes them.
    net : Network

    Raises
    ------
    InputError
        If a value is not on its axis, one is left out that has several, no such network exists, the dataset
        lost its attributes on the way, or the point is not of the sweep whose spec is in the attributes.
        Datasets that xarray joins keep the attributes of the first, so the networks of the others are rebuilt
        from their own stores.

    Examples
    --------
    >>> ds = fl.open_sweep("small.zarr")
    >>> task, net = fl.rebuild(ds, architecture="4-2-2", seed=3, lam=2.0, init_scale=1.0)
    >>> net
    <funnel Network 4-2-2 (N_i-N_h-N_o), lam 2, balance 'strict'>
    >>> point = ds.fastlin.select(architecture="4-2-2", seed=3, lam=2.0, init_scale=1.0)
    >>> bool(np.allclose(point.loss, fl.exact(task, net, ds.time).loss))
    True
    """
    check_instance("dataset", dataset, xr.Dataset, "open_sweep(path)")
    if "spec" not in dataset.attrs:
        raise InputError("the dataset has no spec in its attributes; use one from open_sweep(path)")
    dataset, spec = at_row(dataset, point)
    axes = {
        "architecture": np.array([str(shape) for shape in spec.architectures], dtype=object),
        "seed": spec.seeds,
        "lam": spec.lams,
        "init_scale": spec.init_scales,
        "kappa": spec.kappas,
        "rate_ratio": spec.rate_ratios,
        **spec.parameter_axes,
    }
    wanted = {
        "architecture": architecture_name(architecture),
        "seed": seed,
        "lam": lam,
        "init_scale": init_scale,
        "kappa": kappa,
        "rate_ratio": rate_ratio,
        **dict.fromkeys(spec.parameter_axes),
        **parameters,
    }
    for name in parameters:
        check_choice("the name of an axis", name, list(axes))
    if not spec.balance:
        _check_raw(wanted)
        del axes["lam"], axes["kappa"]
    chosen = {name: _chosen(dataset, name, wanted[name], axis) for name, axis in axes.items()}
    _check_of_spec(dataset, chosen, axes, problem_coordinates(spec))
    shape = Architecture.read(chosen["architecture"])
    start = spec.start(float(chosen.get("kappa", 0.0)))
    if start == Start.TWO_SIDED and not shape.sizes.has_two_sided:
        raise InputError(
            f"no network {shape} has kappa > 0, which needs N_h >= N_i + N_o; its points are absent"
        )
    if spec.stages:
        balance = float(chosen.get("lam", 0.0)), float(chosen.get("kappa", 0.0))
        return stages_and_network(spec.problem(chosen), shape, int(chosen["seed"]), start, *balance)
    return task_and_network(
        spec.task.kind.name,
        spec.problem(chosen),
        shape,
        int(chosen["seed"]),
        start,
        float(chosen.get("lam", 0.0)),
        float(chosen.get("kappa", 0.0)),
        float(chosen["rate_ratio"]),
    )


def at_row(dataset: xr.Dataset, point: int | None) -> tuple[xr.Dataset, Spec]:
    """Return a dataset and its spec. Of a sweep over a table of points, both are of one row.

    The row is read from the coordinates, because the spec of a long table has its hash alone.
    """
    text = dataset.attrs["spec"]
    if f'"{SECTION}":' not in text:
        if point is not None:
            raise InputError(
                f"point is {shown(point)}, and the sweep is a product of axes; give their values"
            )
        return dataset, Spec.from_json(text)
    content = json.loads(text)
    if point is not None or POINT in dataset.dims:
        row = _chosen(dataset, POINT, point, np.empty(0))
        if POINT in dataset.dims:
            dataset = dataset.isel({POINT: position(POINT, row, dataset[POINT].values)})
    columns = {name: [dataset[name].item()] for name in column_names(content[SECTION])}
    return dataset, Spec.from_dict(content | {SECTION: columns})


def _check_raw(wanted: Mapping[str, Any]) -> None:
    """Raise where a balance is asked for of starts that have none."""
    for name in ("lam", "kappa"):
        if wanted[name] is not None:
            raise InputError(f"{name} is {shown(wanted[name])}; the starts of the sweep are not balanced")


def _chosen(dataset: xr.Dataset, name: str, value: Any, axis: NDArray[Any]) -> Any:
    """Return the value on an axis that is meant: given and there, or the only one of the dataset."""
    if name in dataset.coords:  # the values that a selection left on the axis
        axis = np.atleast_1d(dataset[name].values)
    if value is None:
        if axis.size != 1:
            raise InputError(f"{name} has {axis.size} values in the dataset; say which: {name}=...")
        return axis[0].item() if isinstance(axis[0], np.generic) else axis[0]
    return axis.tolist()[position(name, value, axis)]


def _check_of_spec(
    dataset: xr.Dataset,
    point: Mapping[str, Any],
    axes: Mapping[str, NDArray[Any]],
    problem: Mapping[str, Any],
) -> None:
    """Raise where a point is of another sweep than the spec: of one that was joined to it."""
    for name, value in point.items():
        if not (axes[name] == value).any():
            raise InputError(_of_another_store(name, value))
    at = {name: np.flatnonzero(dataset[name].values == point[name]) for name in axes if name in dataset.dims}
    for name, (_, value) in problem.items():
        if name in dataset.coords:
            coordinate = dataset[name]
            stored = coordinate.isel({dim: indices for dim, indices in at.items() if dim in coordinate.dims})
            if not (stored == value).all():
                raise InputError(_of_another_store(name, stored.values.ravel().tolist()[0]))


def _of_another_store(name: str, value: Any) -> str:
    return (
        f"{name} = {shown(value)} is not in the spec of the dataset. Joined stores keep the spec of the "
        "first one; rebuild from the store that holds the point"
    )
