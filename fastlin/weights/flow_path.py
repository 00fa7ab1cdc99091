"""Weights along the gradient flow of one network, integrated: at finite times, and in the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import expm, solve_sylvester

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.dormand_prince import estimated_steps
from fastlin.kernels.weight_flow import integrate
from fastlin.tasks.adapted import residual_task
from fastlin.tasks.task import Task
from fastlin.weights.balance import checked_balance, reduced_width
from fastlin.weights.canonical import Canonical, Weights, substitute
from fastlin.weights.curvature import curvature
from fastlin.weights.rates import Rates
from fastlin.weights.solve import Starts, evolve

if TYPE_CHECKING:
    from fastlin.networks.network import Network

Pair = tuple[float, float]

# The flow to t = inf is integrated until |E| is this share of its slowest rate. The rest of the way is a
# matrix exponential with an error of the square of this.
CLOSE = 1e-7


class Path(NamedTuple):
    """Weights at all times, and the accepted steps."""

    w1: Array  # (T, H, N_i)
    w2: Array  # (T, N_o, H)
    steps: int


class FlowSettings(NamedTuple):
    """Learning rates, decay of both layers, tolerance and most steps."""

    rates: Rates
    decay: Pair
    tolerance: float
    max_steps: int


def _largest_curvature(task: Task, w1: Array, w2: Array, settings: FlowSettings) -> float:
    """Estimate the largest curvature on the way: that of the start or of a minimum of the same balance."""
    rates = settings.rates
    inputs = float(np.linalg.norm(task.sigma_xx, 2))
    target = rates.unit * float(np.linalg.norm(task.sigma_yx, 2))
    balance = rates.first * (w2.T @ w2) - rates.second * (w1 @ w1.T)
    end = math.hypot(inputs * float(np.linalg.norm(balance, 2)), 2.0 * target)
    return max(curvature(w1, w2, task, rates, settings.decay), end)


def check_steps(task: Task, w1: Array, w2: Array, last: float, settings: FlowSettings) -> None:
    """Raise, before anything is computed, if the flow surely needs more steps than are allowed."""
    steps = estimated_steps(_largest_curvature(task, w1, w2, settings), last, settings.tolerance)
    if steps > settings.max_steps:
        raise InputError(
            f"the flow to t = {last:g} needs about {steps:.1e} steps, and max_steps is {settings.max_steps}: "
            "a step is at most about 6 / (largest curvature); ask for an earlier time, raise max_steps, or "
            "ask for t = inf if the flow has that limit (no decay, no bottleneck, no general inputs)"
        )


def integrated(task: Task, w1: Array, w2: Array, times: Array, settings: FlowSettings) -> Path:
    """Return the weights at ascending, finite times.

    Raises
    ------
    InputError
        If the flow needs more steps than are allowed.
    """
    inputs = None if task.whitened else np.ascontiguousarray(task.sigma_xx)
    target = np.ascontiguousarray(task.sigma_yx)
    path = integrate(
        w1,
        w2,
        target,
        inputs,
        settings.rates,
        settings.decay,
        times,
        settings.tolerance,
        settings.max_steps,
    )
    if path.reached < times.size:
        raise InputError(
            f"the flow needs more than max_steps = {settings.max_steps} steps to t = "
            f"{times[path.reached]:g}; raise max_steps or the tolerance, or ask for an earlier time"
        )
    return Path(path.path1, path.path2, path.steps)


def followed(task: Task, net: Network, times: Array, settings: FlowSettings) -> tuple[Path, Integers]:
    """Return the weights of a network at ascending times, from 0 on, and the place of each of `times` there.

    Raises
    ------
    InputError
        If the flow needs more steps than are allowed, or inf is asked for where the limit is not known.
    """
    w1, w2 = (np.ascontiguousarray(weights) for weights in reduced_width(net.w1, net.w2))
    finite = np.append(0.0, np.unique(times[np.isfinite(times)]))
    learned = residual_task(task)
    check_steps(learned, w1, w2, float(finite[-1]), settings)
    path = integrated(learned, w1, w2, finite, settings)
    if np.isinf(times).any():
        path = to_infinity(learned, path, settings)
        finite = np.append(finite, math.inf)
    at = np.searchsorted(finite[1:], times) + 1
    at[times == 0.0] = 0
    return path, at


def to_infinity(task: Task, path: Path, settings: FlowSettings) -> Path:
    """Append the weights at t = inf to a path.

    Raises
    ------
    InputError
        If the limit is not known: for general inputs, a bottleneck or decay, or where the flow rests at a
        saddle.
    """
    canonical = _check_limit(task, path.w1[-1], path.w2[-1], settings)
    u1, u2, steps = _settle(canonical, settings, path.steps)
    error = canonical.sigma_yx - u2 @ u1
    displacement = solve_sylvester(u2 @ u2.T, u1.T @ u1, error)  # of the balanced move that removes E
    r = u1.shape[1]
    generator = np.zeros((r + len(u2), r + len(u2)))
    generator[r:, :r], generator[:r, r:] = displacement, displacement.T
    q = canonical.back @ expm(generator) @ np.concatenate([u1.T, u2])
    w1, w2 = q[: task.n_i].T + canonical.frozen, q[task.n_i :]
    return Path(np.concatenate([path.w1, w1[None]]), np.concatenate([path.w2, w2[None]]), steps)


def ends_at_saddle(start: Canonical) -> bool:
    """Tell whether the weights have a balance, and their exact flow ends at a saddle."""
    try:
        balance = checked_balance(start.w1, start.w2)
    except InputError:
        return False
    starts = Starts.of(start.sigma_yx, start.w1, start.w2, np.array(balance.lam))
    return bool(evolve(starts, np.array(balance.kappa), np.array([math.inf])).saddle)


def _check_limit(task: Task, w1: Array, w2: Array, settings: FlowSettings) -> Canonical:
    if any(settings.decay):
        raise InputError("times hold inf, and decay is above 0; the flow with decay takes finite times")
    if task.inputs == "general":
        raise InputError(
            "times hold inf, and the inputs are neither whitened nor a multiple of a projector; "
            "the flow takes finite times then"
        )
    canonical = substitute(task, Weights(w1, w2), settings.rates)
    if len(w1) < (least := min(canonical.sigma_yx.shape)):
        raise InputError(
            f"times hold inf, and N_h = {len(w1)} is below {least}, the rank that the task may have; "
            "the flow of a bottleneck takes finite times"
        )
    return canonical


def _settle(canonical: Canonical, settings: FlowSettings, steps: int) -> tuple[Array, Array, int]:
    """Integrate in longer and longer stretches until |E| is small. Return the weights and all steps."""
    u1, u2, sigma = canonical.w1, canonical.w2, np.ascontiguousarray(canonical.sigma_yx)
    stretch = 1.0 / (np.linalg.norm(sigma, 2) + np.linalg.norm(u1) ** 2 + np.linalg.norm(u2) ** 2 or 1.0)
    tolerance = min(settings.tolerance, CLOSE)  # so that errors of steps do not keep |E| above it
    while steps < settings.max_steps:
        error = sigma - u2 @ u1
        slowest = np.linalg.eigvalsh(u1.T @ u1)[0] + np.linalg.eigvalsh(u2 @ u2.T)[0]
        if np.linalg.norm(error, 2) <= CLOSE * slowest:
            return u1, u2, steps
        if not (u2.T @ error).any() and not (error @ u1.T).any():
            break
        left = settings.max_steps - steps
        part = integrate(u1, u2, sigma, None, (1.0, 1.0), (0.0, 0.0), np.array([stretch]), tolerance, left)
        u1, u2, steps, stretch = part.path1[0], part.path2[0], steps + part.steps, 2.0 * stretch
        if not part.reached:
            break
    raise InputError(
        f"times hold inf, and the flow has not settled after {steps} steps (max_steps is "
        f"{settings.max_steps}): it may rest at a saddle; ask for a finite time, or raise max_steps"
    )
