"""Times and losses that compare tasks learned in a row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.tasks.task import Task

# s t of a task, 17, that leaves e^(-2 s t) of its start at lam = 0: less than rounding errors.
LONGEST = -0.5 * math.log(ROUNDING)
CLOSE = 1e-9  # relative difference of equal targets, and relative size of modes that are rounding errors
AT_ZERO = 0.75  # share of the loss drop from S to -S that is reached at W2 W1 = 0
SETTLED = 1e-12  # difference of a loss from the least one, over the squared target

_POINTS = 64  # times of one round of the search for a passage
_ROUNDS = 5


def least_loss(task: Task, n_h: int) -> float:
    """Return the least loss of a network of n_h hidden units: the floor and the modes beyond n_h."""
    return float(least_losses(task.moments.target, np.array(task.loss_floor), n_h))


def least_losses(target: Array, floor: Array, n_h: int) -> Array:
    """Return the least losses (...) on targets (..., N_o, N_i) of whitened inputs, with floors (...)."""
    beyond = np.linalg.svd(target, compute_uv=False)[..., n_h:]
    return np.asarray(floor + 0.5 * np.sum(beyond**2, axis=-1))


def forgetting(final_loss: Array) -> Array:
    """Return the loss on each earlier task less that at the end of its own stage, NaN for other tasks.

    `final_loss` (..., stage, task) is the loss at the end of each stage, with tasks counted by stages.
    """
    own = np.diagonal(final_loss, axis1=-2, axis2=-1)[..., None, :]
    earlier = np.tri(final_loss.shape[-1], k=-1, dtype=bool)
    return np.where(earlier, final_loss - own, np.nan)


def reversal_times(s: Array, lam: Array) -> Array:
    """Return the half times ``ln(1 + 2 r / |lam|) / (2 r)`` of modes s from the optimum of S to -S.

    The mode obeys ``f' = -sqrt(lam^2 + 4 f^2) (s + f)``, ``f(0) = s``, and this is when it crosses 0. It is
    inf at lam = 0, and NaN for s = 0.
    """
    s, size = np.broadcast_arrays(np.asarray(s, dtype=float), np.abs(lam))
    r = np.hypot(s, 0.5 * size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(s > 0.0, np.log1p(2.0 * r / size) / (2.0 * r), np.nan)


def reverses(task: Task, before: Task) -> bool:
    """Tell whether the target of a task is that of another times -1, with the same inputs."""
    inputs = np.linalg.norm(task.sigma_xx - before.sigma_xx) <= CLOSE * np.linalg.norm(task.sigma_xx)
    return bool(inputs and are_reversed(task.sigma_yx, before.sigma_yx))


def are_reversed(target: Array, before: Array) -> NDArray[np.bool_]:
    """Tell whether targets (..., N_o, N_i) are others times -1, to rounding."""
    size = np.linalg.norm(target, axis=(-2, -1))
    return np.asarray(np.linalg.norm(target + before, axis=(-2, -1)) <= CLOSE * size)


def is_least(loss: Array, least: Array, size: Array) -> NDArray[np.bool_]:
    """Tell whether a loss is the least one to rounding; `size` is the squared norm of the target."""
    return np.asarray(loss - least <= SETTLED * (size + least))


def slowest_reversal(target: Array, lam: Array, n_h: int) -> Array:
    """Return the half time (...) of the slowest mode of a target (..., N_o, N_i) that n_h units learn."""
    s = np.asarray(np.linalg.svd(target, compute_uv=False), dtype=np.float64)
    learned = s[..., :n_h]
    times = reversal_times(learned, np.asarray(lam)[..., None])
    return np.asarray(np.where(learned > CLOSE * s[..., :1], times, -np.inf).max(axis=-1))


def without_rounding(times: Array, reversal: Array, fraction: float) -> Array:
    """Return times of relearning without those that rounding errors end.

    A reversal at lam = 0 from the optimum stays at zero, where three quarters of the loss drop are gone.
    """
    never = np.isinf(reversal) & (fraction >= AT_ZERO)
    return np.where(never, np.inf, times)


def passage_time(losses: Callable[[Array], Array], goal: float, end: float) -> float:
    """Return the first time up to `end` at which a falling loss is at most `goal`, inf if it never is.

    `losses` gives the loss (T,) at ascending times. Each round takes times within the last bracket.
    """
    first, last = 0.0, end if math.isfinite(end) else 1.0
    while math.isinf(end) and losses(np.array([last]))[0] > goal:
        first, last = last, 2.0 * last
    for _ in range(_ROUNDS):
        times = np.linspace(first, last, _POINTS)
        values = losses(times)
        below = np.flatnonzero(values <= goal)
        if below.size == 0:
            return math.inf
        at = int(below[0])
        if at == 0:
            return float(times[0])
        first, last = times[at - 1], times[at]
    share = (values[at - 1] - goal) / (values[at - 1] - values[at])
    return float(first + share * (last - first))
