"""The gradient flow of one network with any weights on any data, integrated to a tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from fastlin.errors import SaddleWarning
from fastlin.kernels.compiler.jit import Array
from fastlin.networks.network import Network
from fastlin.networks.stacks import Networks, Pairs, Tasks, is_stack, pairs
from fastlin.solutions import stack_values
from fastlin.solutions.dynamics import (
    check_memory,
    check_sizes,
    dataset,
    refuse_time_scales,
    select_over_time,
    trajectory,
)
from fastlin.solutions.flow_stack import FlowStack
from fastlin.solvers import FLOW, MAX_STEPS, MAX_TOLERANCE, MIN_TOLERANCE, TOLERANCE
from fastlin.tasks.task import Task
from fastlin.validation import check_float, check_int, check_pair, check_times
from fastlin.weights.canonical import substitute
from fastlin.weights.flow_path import FlowSettings, ends_at_saddle, followed
from fastlin.weights.rates import Rates, one_or_two

Pair = tuple[float, float]


def flow(
    task: Task | Tasks | Sequence[Task],
    net: Network | Networks | Sequence[Network],
    times: ArrayLike,
    tolerance: float = TOLERANCE,
    learning_rates: Pair | None = None,
    decay: float | Pair = 0.0,
    observables: Sequence[str] | None = None,
    max_steps: int | None = None,
) -> xr.Dataset:
    """Integrate the gradient flow of one network or of a stack: any weights, any inputs.

    ``W1' = eta1 (W2^T E - g1 W1)``, ``W2' = eta2 (E W1^T - g2 W2)``, ``E = Sigma_yx - W2 W1 Sigma_xx``, by
    the method of Dormand and Prince of order 8 with control of the step size (Hairer, Norsett and Wanner,
    Solving Ordinary Differential Equations I, 1993, section II.5).

    Parameters
    ----------
    task : Task, Tasks, or sequence of Task
        Inputs of any kind.
    net : Network, Networks, or sequence of Network
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
        which the flow without decay conserves. Stacks are broadcast as by `exact`, and steps and drift are
        coordinates then. A stack is integrated eight networks at a time, if kernels compute the observables
        (loss, kernel_distance, ntk_norm, weight_norms, balance_drift, effective_rank) and the times are
        finite. Its results are within the tolerance of those of single networks.

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
    >>> nets = fl.random_init(arch, "xavier", seed=range(20))
    >>> fl.flow(task, nets, [0.0, 10.0], observables=["loss", "kernel_distance"]).loss.dims
    ('seed', 'time')
    """
    if is_stack(task, net):
        stack, moments = pairs(task, net), check_times(times)
        rates = stack_values.shared_rates(stack, lambda task: Rates.of_flow(task, learning_rates))
        return _of_stack(stack, moments, _settings(rates, decay, tolerance, max_steps), observables)
    task, net = check_sizes(task, net)
    moments = check_times(times)
    settings = _settings(Rates.of_flow(task, learning_rates), decay, tolerance, max_steps)
    wanted = select_over_time(observables, task)
    check_memory(wanted, moments.size, task)
    path, at = followed(task, net, moments, settings)
    if np.isinf(moments).any() and ends_at_saddle(substitute(task, net, settings.rates)):
        _warn_of_saddle(stacklevel=3)
    whole = trajectory(path.w1, path.w2, task, net.architecture.n_h, settings.rates)
    asked = replace(whole, qqt=whole.qqt[at], balance_drift=whole.balance_drift[at])
    attributes = _attributes(settings) | {"steps": path.steps, "drift": float(whole.balance_drift.max())}
    return dataset(asked, moments, wanted, net, attributes)


def _of_stack(stack: Pairs, times: Array, settings: FlowSettings, names: Sequence[str] | None) -> xr.Dataset:
    """Return the Dataset of a stack of networks."""
    wanted = refuse_time_scales(stack_values.selected(names, stack))
    check_memory(wanted, times.size, stack.arrays, stack.size)
    solution = FlowStack(stack, settings).solve(wanted, times)
    if solution.saddle:
        _warn_of_saddle(stacklevel=4)
    attributes = _attributes(settings) | {"steps": solution.steps, "drift": solution.drift}
    return stack_values.dataset(stack, solution.values, times, wanted, settings.rates.relative, attributes)


def _settings(rates: Rates, decay: Any, tolerance: Any, max_steps: Any) -> FlowSettings:
    """Return checked settings."""
    return FlowSettings(
        rates,
        check_pair("decay", decay),
        check_float("tolerance", tolerance, MIN_TOLERANCE, MAX_TOLERANCE),
        MAX_STEPS if max_steps is None else check_int("max_steps", max_steps, 1, 2**53),
    )


def _attributes(settings: FlowSettings) -> dict[str, Any]:
    """Return the settings for a Dataset."""
    return {
        "solver": FLOW.name,
        "learning_rates": one_or_two(settings.rates),
        "decay": one_or_two(settings.decay),
        "tolerance": settings.tolerance,
    }


def _warn_of_saddle(stacklevel: int) -> None:
    """Warn the caller of `flow`."""
    warnings.warn(
        "at t = inf the flow of these weights ends at a saddle, from which rounding errors have "
        "moved the result; fastlin.exact stays at the saddle",
        SaddleWarning,
        stacklevel=stacklevel,
    )
