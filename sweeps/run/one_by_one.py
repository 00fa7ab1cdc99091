"""Gradient descent of one network at a time: with noise, or with observables that no kernel computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.networks.network import Network
from fastlin.observables.registry import REGISTRY, Observable
from fastlin.solutions.descent import Descent, follow
from fastlin.solvers import recorded_steps
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.spec.network_of import task_and_network
from fastlin.tasks.task import Task
from fastlin.weights.rates import Rates

Array = NDArray[np.float64]


def outputs(group: Group, times: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Return the numbers over time of a group, (R, P, T), and the status (P,) of its points.

    A number is NaN from the first time at which its run has diverged.
    """
    wanted = over_time(group)
    out = np.full((sum(entry.rows for entry in wanted), group.points, times.size), np.nan)
    status = np.full(group.points, Status.OK, dtype=np.uint8)
    for point, (task, net, ratio) in enumerate(pairs(group)):
        out[:, point], status[point] = _descent(group, wanted, task, net, ratio, times)
    return out, status


def over_time(group: Group) -> list[Observable]:
    """Return the observables of a group that have a time axis."""
    return [REGISTRY[name] for name in group.observables if REGISTRY[name].over_time]


def pairs(group: Group) -> Iterator[tuple[Task, Network, float]]:
    """Yield the task, the network and the ratio of the learning rates of each point."""
    for seed, lam, init_scale, kappa, ratio in zip(*group.point_values, strict=True):
        yield (
            *task_and_network(
                group.task_kind,
                replace(group.problem, init_scale=float(init_scale)),
                group.architecture,
                int(seed),
                group.settings.start,
                float(lam),
                float(kappa),
                float(ratio),
            ),
            float(ratio),
        )


def _descent(
    group: Group, wanted: Sequence[Observable], task: Task, net: Network, ratio: float, times: Array
) -> tuple[Array, Status]:
    """Return the numbers of gradient descent (R, T), and its status."""
    (first, second), rate = Rates.of_ratio(ratio), group.settings.learning_rate
    descent = Descent(Rates(rate * first, rate * second), group.weight_decay, group.settings.noise)
    path, wild = follow(task, net, descent, np.append(0, recorded_steps(times, rate)))
    count = int(np.argmax(wild)) if wild.any() else wild.size
    numbers = np.full((sum(entry.rows for entry in wanted), times.size), np.nan)
    if count > 1:
        known = replace(path, qqt=path.qqt[1:count], balance_drift=path.balance_drift[1:count])
        numbers[:, : count - 1] = _rows([entry.evaluate(known) for entry in wanted], count - 1)
    if count < wild.size:
        return numbers, Status.DIVERGED
    return numbers, Status.OK if np.isfinite(numbers).all() else Status.FAILED


def _rows(values: Sequence[Any], times: int) -> Array:
    """Return observables (T, ...) as one array of numbers (R, T)."""
    return np.concatenate([np.asarray(part).reshape(times, -1).T for part in values])
