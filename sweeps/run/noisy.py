"""Gradient descent with noise: one network at a time, on the samples of its task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastlin.descent import Descent, follow
from fastlin.kernels import Status
from fastlin.observables import REGISTRY, Trajectory
from fastlin.rates import Rates
from fastlin.solvers import recorded_steps
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.spec.network_of import task_and_network

Array = NDArray[np.float64]


def outputs(group: Group, times: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Return the numbers over time of a group, (R, P, T), and the status (P,) of its points.

    A number is NaN from the first time at which its run has diverged.
    """
    points = group.seeds.size * group.lams.size
    out = np.full((len(group.outputs), points, times.size), np.nan)
    status = np.full(points, Status.OK, dtype=np.uint8)
    for point, (seed, lam) in enumerate((seed, lam) for seed in group.seeds for lam in group.lams):
        out[:, point], status[point] = _point(group, int(seed), float(lam), times)
    return out, status


def _point(group: Group, seed: int, lam: float, times: Array) -> tuple[Array, Status]:
    """Return the numbers of one point (R, T), and its status."""
    settings, relative = group.settings, Rates.of_ratio(group.rate_ratio)
    task, net = task_and_network(
        group.task_kind,
        group.problem,
        group.architecture,
        seed,
        settings.start,
        lam,
        settings.kappa,
        group.rate_ratio,
    )
    # The decay of U is that of W times the rate of the layer.
    decay = (settings.decay[0] / relative.first, settings.decay[1] / relative.second)
    rates = Rates(settings.learning_rate * relative.first, settings.learning_rate * relative.second)
    recorded = np.append(0, recorded_steps(times, settings.learning_rate))
    path, wild = follow(task, net, Descent(rates, decay, settings.noise), recorded)
    count = int(np.argmax(wild)) if wild.any() else recorded.size
    numbers = np.full((len(group.outputs), times.size), np.nan)
    if count > 1:
        known = replace(path, qqt=path.qqt[1:count], balance_drift=path.balance_drift[1:count])
        numbers[:, : count - 1] = _numbers(group, known)
    if count < recorded.size:
        return numbers, Status.DIVERGED
    return numbers, Status.OK if np.isfinite(numbers).all() else Status.FAILED


def _numbers(group: Group, path: Trajectory) -> Array:
    """Return the numbers of the observables over time, (R, T)."""
    entries = [REGISTRY[name] for name in group.observables if REGISTRY[name].over_time]
    values = [np.asarray(entry.evaluate(path)).reshape(len(path.qqt), -1).T for entry in entries]
    return np.concatenate(values)
