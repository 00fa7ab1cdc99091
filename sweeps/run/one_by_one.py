"""Groups of points without a kernel for many networks: the functions for one network compute them.

They are gradient descent with noise, which needs the samples of each task, the exact solution with decay, and
adapters of low rank (LoRA), and all solvers for inputs that are not whitened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.descent import Descent, follow
from fastlin.errors import InputError
from fastlin.exact_solution import exact
from fastlin.gradient_flow import flow
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
    numbers = sum(REGISTRY[name].rows for name in _names(group))
    out = np.full((numbers, group.points, times.size), np.nan)
    status = np.full(group.points, Status.OK, dtype=np.uint8)
    solver = SOLVERS[group.solver]
    of_one = _exact if solver.balanced else _flow if solver.adaptive else _descent
    for point, (task, net) in enumerate(_pairs(group)):
        out[:, point], status[point] = of_one(group, task, net, times)
    return out, status


def time_scales(group: Group) -> tuple[Array, NDArray[np.uint8]]:
    """Return the time scales of a group of the exact flow, (scales, P), and the status (P,) of its points."""
    names = [name for name in group.observables if REGISTRY[name].scale is not None]
    out = np.empty((len(names), group.points))
    for point, (task, net) in enumerate(_pairs(group)):
        rates, _ = _rates_and_decay(group, task)
        solution = exact(task, net, [0.0], names, group.fraction, learning_rates=rates)
        out[:, point] = [solution[name].item() for name in names]
    return out, np.where(np.isnan(out).any(axis=0), Status.FAILED, Status.OK).astype(np.uint8)


def starts(group: Group) -> Array:
    """Return Q (P, N, H) at the start of ``sqrt(e2) W1, sqrt(e1) W2``."""
    factors = []
    for task, net in _pairs(group):
        (e1, e2), _ = _rates_and_decay(group, task)
        factors.append(np.concatenate([math.sqrt(e2) * net.w1.T, math.sqrt(e1) * net.w2]))
    return np.stack(factors)


def _pairs(group: Group) -> Iterator[tuple[Task, Network]]:
    """Yield the task and the network of each point."""
    for seed, lam, init_scale, kappa, ratio in zip(*group.point_values, strict=True):
        yield task_and_network(
            group.task_kind,
            replace(group.problem, init_scale=float(init_scale)),
            group.architecture,
            int(seed),
            group.settings.start,
            float(lam),
            float(kappa),
            float(ratio),
        )


def _rates_and_decay(group: Group, task: Task) -> tuple[Rates, tuple[float, float]]:
    """Return the learning rates of the layers, in units of their mean, and the decay of W1 and W2."""
    rates, decay = Rates(*(task.learning_rates or Rates.of_ratio(group.rate_ratio))), group.settings.decay
    # The decay of U is that of W times the rate of the layer.
    return rates, (decay[0] / rates.first, decay[1] / rates.second)


def _exact(group: Group, task: Task, net: Network, times: Array) -> tuple[Array, Status]:
    """Return the numbers of the exact solution with decay (R, T), and its status."""
    rates, decay = _rates_and_decay(group, task)
    names = _names(group)
    solution = exact(task, net, times, names, learning_rates=rates, decay=decay)
    numbers = _rows([solution[name].values for name in names], times.size)
    return numbers, Status.OK if np.isfinite(numbers).all() else Status.FAILED


def _flow(group: Group, task: Task, net: Network, times: Array) -> tuple[Array, Status]:
    """Return the numbers of the flow (R, T), and its status."""
    (rates, decay), control = _rates_and_decay(group, task), group.settings.control
    names = _names(group)
    try:
        solution = flow(task, net, times, control.tolerance, rates, decay, names, control.max_steps)
    except InputError:  # it needs more steps, which is the only fault that a checked spec leaves
        return np.full((sum(REGISTRY[name].rows for name in names), times.size), np.nan), Status.TOO_STIFF
    numbers = _rows([solution[name].values for name in names], times.size)
    return numbers, Status.OK if np.isfinite(numbers).all() else Status.FAILED


def _descent(group: Group, task: Task, net: Network, times: Array) -> tuple[Array, Status]:
    """Return the numbers of gradient descent, with noise or not, (R, T), and its status."""
    rates, decay = _rates_and_decay(group, task)
    rate = group.settings.learning_rate
    descent = Descent(Rates(rate * rates.first, rate * rates.second), decay, group.settings.noise)
    path, wild = follow(task, net, descent, np.append(0, recorded_steps(times, rate)))
    count = int(np.argmax(wild)) if wild.any() else wild.size
    numbers = np.full((sum(REGISTRY[name].rows for name in _names(group)), times.size), np.nan)
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
