"""Groups of points without a kernel for many networks: the functions for one network compute them.

They are gradient descent with noise, which needs the samples of each task, and the exact solution with decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.descent import Descent, follow
from fastlin.exact_solution import exact
from fastlin.kernels import Status
from fastlin.network import Network
from fastlin.observables import REGISTRY
from fastlin.rates import Rates
from fastlin.solvers import SOLVERS, recorded_steps
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.spec.network_of import task_and_network
from fastlin.task import Task
from fastlin.trajectory import Trajectory

Array = NDArray[np.float64]


def outputs(group: Group, times: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Return the numbers over time of a group, (R, P, T), and the status (P,) of its points.

    A number is NaN from the first time at which its run has diverged.
    """
    out = np.full((len(group.outputs), group.points, times.size), np.nan)
    status = np.full(group.points, Status.OK, dtype=np.uint8)
    of_one = _exact if SOLVERS[group.solver].balanced else _noisy
    for point, (seed, lam, init_scale, kappa, ratio) in enumerate(zip(*group.point_values, strict=True)):
        task, net = task_and_network(
            group.task_kind,
            replace(group.problem, init_scale=float(init_scale)),
            group.architecture,
            int(seed),
            group.settings.start,
            float(lam),
            float(kappa),
            float(ratio),
        )
        out[:, point], status[point] = of_one(group, task, net, times)
    return out, status


def _rates_and_decay(group: Group) -> tuple[Rates, tuple[float, float]]:
    """Return the learning rates of the layers, in units of their mean, and the decay of W1 and W2."""
    rates, decay = Rates.of_ratio(group.rate_ratio), group.settings.decay
    # The decay of U is that of W times the rate of the layer.
    return rates, (decay[0] / rates.first, decay[1] / rates.second)


def _exact(group: Group, task: Task, net: Network, times: Array) -> tuple[Array, Status]:
    """Return the numbers of the exact solution with decay (R, T), and its status."""
    rates, decay = _rates_and_decay(group)
    names = _names(group)
    solution = exact(task, net, times, names, learning_rates=rates, decay=decay)
    numbers = _rows([solution[name].values for name in names], times.size)
    return numbers, Status.OK if np.isfinite(numbers).all() else Status.FAILED


def _noisy(group: Group, task: Task, net: Network, times: Array) -> tuple[Array, Status]:
    """Return the numbers of gradient descent with noise (R, T), and its status."""
    rates, decay = _rates_and_decay(group)
    rate = group.settings.learning_rate
    descent = Descent(Rates(rate * rates.first, rate * rates.second), decay, group.settings.noise)
    path, wild = follow(task, net, descent, np.append(0, recorded_steps(times, rate)))
    count = int(np.argmax(wild)) if wild.any() else wild.size
    numbers = np.full((len(group.outputs), times.size), np.nan)
    if count > 1:
        known = replace(path, qqt=path.qqt[1:count], balance_drift=path.balance_drift[1:count])
        numbers[:, : count - 1] = _rows(_evaluated(group, known), count - 1)
    if count < wild.size:
        return numbers, Status.DIVERGED
    return numbers, Status.OK if np.isfinite(numbers).all() else Status.FAILED


def _names(group: Group) -> list[str]:
    return [name for name in group.observables if REGISTRY[name].over_time]


def _evaluated(group: Group, path: Trajectory) -> list[Any]:
    """Return the observables over time, (T, ...) each."""
    return [REGISTRY[name].evaluate(path) for name in _names(group)]


def _rows(values: Sequence[Any], times: int) -> Array:
    """Return observables (T, ...) as one array of numbers (R, T)."""
    return np.concatenate([np.asarray(part).reshape(times, -1).T for part in values])
