"""Many networks on several tasks of whitened inputs in a row, by the closed form.

A factor of QQ^T is carried from stage to stage, as in `fastlin.weights.carried`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.observables.registry import REGISTRY
from fastlin.observables.relearning import (
    are_reversed,
    forgetting,
    is_least,
    least_losses,
    slowest_reversal,
    without_rounding,
)
from fastlin.observables.trajectory import Trajectory
from fastlin.tasks.task import Task
from fastlin.weights.carried import factor_at
from fastlin.weights.solve import Starts, convergence_times, evolve


class WhiteStages(NamedTuple):
    """The stages of P networks of one architecture, and how they start."""

    task: Task  # any white task of these sizes, for observables that depend on the inputs alone
    targets: Array  # (P, K, N_o, N_i) of K stages
    floors: Array  # (P, K) least losses
    durations: Array  # (K,)
    q0: Array  # (P, N, H)
    lam: Array  # (P,)
    kappa: float
    n_h: int


def evaluate(stages: WhiteStages, times: Array, names: Sequence[str], fraction: float) -> dict[str, Array]:
    """Return observables of all networks: (P, T, K, ...) over time, with tasks behind stages, or (P, K, ...).

    They are NaN past the end of a stage.
    """
    q, paths, ends, learning = stages.q0, [], [], []
    for k, duration in enumerate(stages.durations.tolist()):
        within, (w1, w2) = times <= duration, _weights(stages, q)
        path = _path(stages, k, q, np.append(times[within], duration))
        paths.append(_over_time(stages, path, within, names))
        ends.append(_losses(stages, path.w2w1[:, -1:])[:, 0])
        if "relearning_time" in names:
            found = convergence_times(stages.targets[:, k], w1, w2, stages.lam, stages.kappa, fraction)
            learning.append(np.where(found <= duration, found, np.inf))
        if k + 1 < stages.durations.size:
            q, _ = factor_at(stages.targets[:, k], w1, w2, stages.lam, np.array(stages.kappa), duration)
    final = np.stack(ends, axis=1)
    values = {name: np.stack([path[name] for path in paths], axis=2) for name in paths[0]}
    reversal = _reversal_times(stages, final)
    of_stages = {"final_loss": final, "forgetting": forgetting(final), "reversal_time": reversal}
    if learning:
        of_stages["relearning_time"] = without_rounding(np.stack(learning, axis=1), reversal, fraction)
    return values | {name: of_stages[name] for name in names if name in of_stages}


def _weights(stages: WhiteStages, q: Array) -> tuple[Array, Array]:
    n_i = stages.task.n_i
    return np.swapaxes(q[:, :n_i], -1, -2), q[:, n_i:]


def _path(stages: WhiteStages, k: int, q: Array, times: Array) -> Trajectory:
    starts = Starts.of(stages.targets[:, k], *_weights(stages, q), stages.lam)
    qqt = evolve(starts, np.array(stages.kappa), times).qqt
    drift = np.zeros((len(q), times.size))
    return Trajectory(qqt, q @ np.swapaxes(q, -1, -2), stages.n_h, stages.task, drift)


def _over_time(
    stages: WhiteStages, path: Trajectory, within: Array, names: Sequence[str]
) -> dict[str, Array]:
    """Return the observables over time of one stage, (P, T, ...)."""
    values = {}
    for name in names:
        if name not in REGISTRY:
            continue
        found = _losses(stages, path.w2w1) if name == "loss" else REGISTRY[name].evaluate(path)
        values[name] = np.full((len(found), within.size, *found.shape[2:]), np.nan)
        values[name][:, within] = found[:, :-1]
    return values


def _losses(stages: WhiteStages, products: Array) -> Array:
    """Return the loss (P, T, K) on all tasks of products W2 W1 (P, T, N_o, N_i)."""
    columns = [
        stages.floors[:, k, None] + 0.5 * np.sum((stages.targets[:, k, None] - products) ** 2, axis=(-2, -1))
        for k in range(stages.durations.size)
    ]
    return np.stack(columns, axis=-1)


def _reversal_times(stages: WhiteStages, final: Array) -> Array:
    """Return the half times (P, K) of the slowest mode of stages that reverse the one before."""
    found = np.full(final.shape[:2], np.nan)
    if stages.kappa > 0.0:
        return found
    for k in range(1, stages.durations.size):
        if np.isfinite(stages.durations[k - 1]):
            continue
        target, before = stages.targets[:, k], stages.targets[:, k - 1]
        least = least_losses(before, stages.floors[:, k - 1], stages.n_h)
        settled = is_least(final[:, k - 1, k - 1], least, np.sum(before**2, axis=(-2, -1)))
        slowest = slowest_reversal(target, stages.lam, stages.n_h)
        found[:, k] = np.where(are_reversed(target, before) & settled, slowest, np.nan)
    return found
