"""The schema of the Datasets of one network over time, which all solvers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

import fastlin
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.networks.network import Network
from fastlin.observables.registry import TIME_ATTRIBUTES, Observable, numbers_of_start, select
from fastlin.observables.trajectory import Trajectory
from fastlin.tasks.arrays import TaskArrays
from fastlin.tasks.task import Task, check_fits
from fastlin.validation import check_instance
from fastlin.weights.rates import Rates

SURELY_FITS = 1e9  # bytes; below it the memory of the machine is not looked up, which takes an import


def select_over_time(names: Sequence[str] | None, task: Task) -> list[Observable]:
    """Return the named observables, or the default ones, of a solver that has no time scales."""
    return refuse_time_scales(select(names, task))


def refuse_time_scales(wanted: list[Observable]) -> list[Observable]:
    """Return observables of a solver that has no time scales.

    Raises
    ------
    InputError
        If one is a time scale.
    """
    if scale := next((entry.name for entry in wanted if entry.scale is not None), None):
        raise InputError(f"{scale} is a time scale of the exact flow; ask fastlin.exact for it")
    return wanted


def check_sizes(task: Any, net: Any) -> tuple[Task, Network]:
    """Return both. Raise unless `task` is a task and `net` a network of its numbers of inputs and outputs."""
    check_instance("net", net, Network, "balanced_init or Network(w1, w2)")
    check_fits(task, net.architecture)
    return task, net


def own_numbers(observables: Sequence[Observable], task: Task | TaskArrays) -> dict[str, int]:
    """Return how many numbers each observable has for a network and a time, without the lazy ones."""
    n_i, n_o = task.n_i, task.n_o
    sizes = {"input": n_i, "output": n_o, "unit": n_i + n_o, "mode": min(n_i, n_o)}
    if any(entry.needs_samples for entry in observables):
        sizes |= {"sample": task.n_samples, "condition": len(task.conditions)}
    for entry in observables:
        sizes |= entry.stored_dims
    return {
        entry.name: math.prod(sizes[name.removesuffix("_2")] for name in entry.dims)
        for entry in observables
        if not entry.lazy
    }


def check_memory(
    observables: list[Observable], moments: int, task: Task | TaskArrays, networks: int | None = None
) -> None:
    """Raise if the results would not fit: matrices over samples grow with P^2 at every time.

    Those of a stack are evaluated some networks at a time.
    """
    each = 8 * moments * (networks or 1)
    cost = {name: each * numbers for name, numbers in own_numbers(observables, task).items()}
    total = sum(cost.values()) + 16 * moments * (task.n_i + task.n_o) ** 2
    if total > SURELY_FITS:
        from distributed.system import MEMORY_LIMIT  # private: psutil does not know limits of containers

        if total > MEMORY_LIMIT / 2:
            largest = max(cost, key=lambda name: cost[name])
            of = "" if networks is None else f"of {networks:,} networks "
            raise InputError(
                f"the observables {of}at {moments} times need {total / 1e9:.3g} GB, more than half the "
                f"memory of {MEMORY_LIMIT / 1e9:.3g} GB ({largest} the most); name fewer of them, or record "
                "less often"
            )


def trajectory(path1: Array, path2: Array, task: Task | TaskArrays, n_h: int, rates: Rates) -> Trajectory:
    """Return the trajectory of weights (..., T, H, N_i) and (..., T, N_o, H); the first are the start.

    H is at most N_h, because a wide network is reduced exactly.
    """
    e1, e2 = rates.relative
    balance = e1 * (np.swapaxes(path2, -1, -2) @ path2) - e2 * (path1 @ np.swapaxes(path1, -1, -2))
    drift = np.linalg.norm(balance - balance[..., :1, :, :], axis=(-2, -1))
    q = np.concatenate([np.swapaxes(path1, -1, -2), path2], axis=-2)
    qqt = q @ np.swapaxes(q, -1, -2)
    return Trajectory(qqt, qqt[..., 0, :, :], n_h, task, drift, (e1, e2))


def dataset(
    path: Trajectory,
    times: Array,
    observables: list[Observable],
    net: Network,
    attributes: dict[str, Any],
) -> xr.Dataset:
    """Return the observables over time of one network, with its sizes, balance and more attributes."""
    adapted = path.task.learning_rates is not None
    variables = {
        entry.name: (("time", *entry.dims), entry.evaluate(path), entry.attributes_at(path.rates, adapted))
        for entry in observables
        if entry.over_time
    }
    variables |= _of_start(net, observables, path.rates)
    shape = net.architecture
    return xr.Dataset(
        variables,
        coordinates(times, observables, path.task),
        {
            "n_i": shape.n_i,
            "n_h": shape.n_h,
            "n_o": shape.n_o,
            "lam": net.lam,
            "kappa": net.kappa,
            "fastlin_version": fastlin.__version__,
            **of_function(path.task),
            **attributes,
        },
    )


def coordinates(times: Array, observables: Sequence[Observable], task: Task | TaskArrays) -> dict[str, Any]:
    """Return the coordinates of times and of the own dimensions of observables."""
    values: dict[str, Any] = {"time": ("time", times, TIME_ATTRIBUTES)}
    for entry in observables:
        values |= {name: list(labels) for name, labels in entry.labels.items()}
        values |= {name: list(task.conditions) for name in entry.dims if name.startswith("condition")}
    return values


def of_function(task: Task | TaskArrays) -> dict[str, Any]:
    """Return the function of a network, where it is not W2 W1 alone."""
    if task.learning_rates is None:
        return {}
    return {"function": "W0 + gain W2 W1", "gain": task.gain}


def _of_start(net: Network, observables: list[Observable], rates: tuple[float, float]) -> dict[str, Any]:
    """Return the numbers of the start of one network."""
    e1, e2 = rates
    q, shape = np.concatenate([math.sqrt(e2) * net.w1.T, math.sqrt(e1) * net.w2]), net.architecture
    numbers = numbers_of_start(observables, q, shape.n_i, shape.n_h)
    return {
        entry.name: ((), numbers[entry.name], entry.attributes_at(rates))
        for entry in observables
        if entry.name in numbers
    }
