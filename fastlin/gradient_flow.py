"""The gradient flow of one network with any weights on any data, integrated to a tolerance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.linalg import expm, solve_sylvester

from fastlin.adapted_task import residual_task
from fastlin.canonical import Canonical, substitute
from fastlin.dynamics import check_memory, check_sizes, curvature, dataset, select_over_time, trajectory
from fastlin.errors import InputError, SaddleWarning
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.dormand_prince import estimated_steps
from fastlin.kernels.weight_flow import integrate
from fastlin.network import Network, checked_balance, reduced_width
from fastlin.rates import Rates, one_or_two
from fastlin.solve import Starts, evolve
from fastlin.solvers import FLOW, MAX_STEPS, MAX_TOLERANCE, MIN_TOLERANCE, TOLERANCE
from fastlin.task import Task
from fastlin.validation import check_float, check_int, check_pair, check_times

Pair = tuple[float, float]

# The flow to t = inf is integrated until |E| is this share of its slowest rate. The rest of the way is a
# matrix exponential with an error of the square of this.
CLOSE = 1e-7


class _Path(NamedTuple):
    """Weights at all times, and the accepted steps."""

    w1: Array  # (T, H, N_i)
    w2: Array  # (T, N_o, H)
    steps: int


class _Settings(NamedTuple):
    rates: Rates
    decay: Pair
    tolerance: float
    max_steps: int


def flow(
    task: Task,
    net: Network,
    times: ArrayLike,
    tolerance: float = TOLERANCE,
    learning_rates: Pair | None = None,
    decay: float | Pair = 0.0,
    observables: Sequence[str] | None = None,
    max_steps: int | None = None,
) -> xr.Dataset:
    """Integrate the gradient flow of one network: any weights, any inputs.

    ``W1' = eta1 (W2^T E - g1 W1)``, ``W2' = eta2 (E W1^T - g2 W2)``, ``E = Sigma_yx - W2 W1 Sigma_xx``, by
    the method of Dormand and Prince of order 8 with control of the step size (Hairer, Norsett and Wanner,
    Solving Ordinary Differential Equations I, 1993, section II.5).

    Parameters
    ----------
    task : Task
        Inputs of any kind.
    net : Network
        Any weights, balanced or not. A width beyond N_i + N_o costs nothing, because it is reduced exactly.
    times : array_like, (T,)
        t / tau = learning_rate * step >= 0, in any order. inf needs inputs that are not "general", N_h >=
        min(N_i, N_o) and no decay.
    tolerance : float
        Error of the weights in one step, relative to their norm, from 1e-14 to 1e-2.
    learning_rates : (float, float)
        Rates (eta1, eta2) of the layers in units of 1/tau. By default those of the task (see `lora`), or
        (1, 1).
    decay : float or (float, float)
        Weight decay g of both layers or of each, which is multiplied by the rate of the layer.
    observables : sequence of str, optional
        As for `exact`, without the time scales, which belong to the exact solution.
    max_steps : int, optional
        Most steps, 100,000 by default. A step is at most about 6 / (largest curvature).

    Returns
    -------
    xarray.Dataset
        With the schema of `exact`. Attributes: solver "flow", tolerance, steps, and drift, the largest
        change ``|D(t) - D(0)|_F`` of the balance ``D = (eta1 W2^T W2 - eta2 W1 W1^T) / sqrt(eta1 eta2)``,
        which the flow without decay conserves.

    Raises
    ------
    InputError
        If a number is out of range, sizes do not fit, inf is asked for where the limit is not known, or the
        flow needs more steps: the message has the estimate.

    Warns
    -----
    SaddleWarning
        If inf is among the times, and the exact flow of balanced weights ends at a saddle. Rounding errors
        move the integrated flow away from a saddle at late times. `exact` stays there.

    See Also
    --------
    exact : the closed form, where the balance and the inputs allow it.
    gradient_descent : steps of a finite learning rate.

    Examples
    --------
    >>> arch = fl.Architecture(4, 16, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.random_init(arch, "xavier")
    >>> ds = fl.flow(task, net, [0.0, 10.0], observables=["loss", "kernel_distance"])
    >>> bool(ds.loss[-1] < ds.loss[0]), ds.attrs["drift"] < 1e-8
    (True, True)
    """
    check_sizes(task, net)
    moments = check_times(times)
    settings = _Settings(
        Rates.of_flow(task, learning_rates),
        check_pair("decay", decay),
        check_float("tolerance", tolerance, MIN_TOLERANCE, MAX_TOLERANCE),
        MAX_STEPS if max_steps is None else check_int("max_steps", max_steps, 1, 2**53),
    )
    wanted = select_over_time(observables, task)
    check_memory(wanted, moments.size, task)
    w1, w2 = (np.ascontiguousarray(weights) for weights in reduced_width(net.w1, net.w2))
    finite = np.append(0.0, np.unique(moments[np.isfinite(moments)]))
    learned = residual_task(task)
    _check_steps(learned, w1, w2, float(finite[-1]), settings)
    path = _integrate(learned, w1, w2, finite, settings)
    if np.isinf(moments).any():
        path = _to_infinity(learned, path, settings)
        if _ends_at_saddle(substitute(task, net, settings.rates)):
            warnings.warn(
                "at t = inf the flow of these weights ends at a saddle, from which rounding errors have "
                "moved the result; fastlin.exact stays at the saddle",
                SaddleWarning,
                stacklevel=2,
            )
        finite = np.append(finite, math.inf)
    followed = trajectory(path.w1, path.w2, task, net, settings.rates)
    at = np.searchsorted(finite[1:], moments) + 1
    at[moments == 0.0] = 0
    asked = replace(followed, qqt=followed.qqt[at], balance_drift=followed.balance_drift[at])
    attributes = {
        "solver": FLOW.name,
        "learning_rates": one_or_two(settings.rates),
        "decay": one_or_two(settings.decay),
        "tolerance": settings.tolerance,
        "steps": path.steps,
        "drift": float(followed.balance_drift.max()),
    }
    return dataset(asked, moments, wanted, net, attributes)


def _largest_curvature(task: Task, w1: Array, w2: Array, settings: _Settings) -> float:
    """Estimate the largest curvature on the way: that of the start or of a minimum of the same balance."""
    rates = settings.rates
    inputs = float(np.linalg.norm(task.sigma_xx, 2))
    target = rates.unit * float(np.linalg.norm(task.sigma_yx, 2))
    balance = rates.first * (w2.T @ w2) - rates.second * (w1 @ w1.T)
    end = math.hypot(inputs * float(np.linalg.norm(balance, 2)), 2.0 * target)
    return max(curvature(w1, w2, task, rates, settings.decay), end)


def _check_steps(task: Task, w1: Array, w2: Array, last: float, settings: _Settings) -> None:
    """Raise, before anything is computed, if the flow surely needs more steps than are allowed."""
    steps = estimated_steps(_largest_curvature(task, w1, w2, settings), last, settings.tolerance)
    if steps > settings.max_steps:
        raise InputError(
            f"the flow to t = {last:g} needs about {steps:.1e} steps, and max_steps is {settings.max_steps}: "
            "a step is at most about 6 / (largest curvature); ask for an earlier time, raise max_steps, or "
            "ask for t = inf if the flow has that limit (no decay, no bottleneck, no general inputs)"
        )


def _integrate(task: Task, w1: Array, w2: Array, times: Array, settings: _Settings) -> _Path:
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
    return _Path(path.path1, path.path2, path.steps)


def _to_infinity(task: Task, path: _Path, settings: _Settings) -> _Path:
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
    return _Path(np.concatenate([path.w1, w1[None]]), np.concatenate([path.w2, w2[None]]), steps)


def _ends_at_saddle(start: Canonical) -> bool:
    """Tell whether the weights have a balance, and their exact flow ends at a saddle."""
    try:
        balance = checked_balance(start.w1, start.w2)
    except InputError:
        return False
    starts = Starts.of(start.sigma_yx, start.w1, start.w2, np.array(balance.lam))
    return bool(evolve(starts, np.array(balance.kappa), np.array([math.inf])).saddle)


def _check_limit(task: Task, w1: Array, w2: Array, settings: _Settings) -> Canonical:
    if any(settings.decay):
        raise InputError("times hold inf, and decay is above 0; the flow with decay takes finite times")
    if task.inputs == "general":
        raise InputError(
            "times hold inf, and the inputs are neither whitened nor a multiple of a projector; "
            "the flow takes finite times then"
        )
    canonical = substitute(task, Network(w1, w2), settings.rates)
    if len(w1) < (least := min(canonical.sigma_yx.shape)):
        raise InputError(
            f"times hold inf, and N_h = {len(w1)} is below {least}, the rank that the task may have; "
            "the flow of a bottleneck takes finite times"
        )
    return canonical


def _settle(canonical: Canonical, settings: _Settings, steps: int) -> tuple[Array, Array, int]:
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
