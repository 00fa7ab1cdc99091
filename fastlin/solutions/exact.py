"""The closed form of one network over time, as a Dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from fastlin.kernels.compiler.jit import Array
from fastlin.networks.network import Network
from fastlin.networks.stacks import Networks, Pairs, Tasks, is_stack, pairs
from fastlin.observables.registry import FRACTION, Observable, check_fraction, select
from fastlin.observables.trajectory import Trajectory
from fastlin.solutions import stack_values
from fastlin.solutions.dynamics import check_memory, check_sizes, dataset
from fastlin.solutions.exact_conditions import check_time_scales, on_span, shrinkage
from fastlin.solutions.exact_stack import ExactStack
from fastlin.solvers import EXACT
from fastlin.tasks.adapted import residual_task
from fastlin.tasks.task import Task
from fastlin.validation import check_pair, check_times
from fastlin.weights.balance import Balance
from fastlin.weights.canonical import Canonical, substitute
from fastlin.weights.rates import Rates, one_or_two
from fastlin.weights.solve import Starts, evolve, time_scales, warn_of_saddles


def exact(
    task: Task | Tasks | Sequence[Task],
    net: Network | Networks | Sequence[Network],
    times: ArrayLike,
    observables: Sequence[str] | None = None,
    fraction: float = FRACTION,
    *,
    learning_rates: tuple[float, float] | None = None,
    decay: float | tuple[float, float] = 0.0,
) -> xr.Dataset:
    """Evaluate the exact solution of the learning dynamics of one network.

    ``d(QQ^T)/dt = F QQ^T + QQ^T F - (QQ^T)^2 + kappa^2 I`` has a closed form (Theorem A.3, corrected,
    extended to kappa > 0 and stably evaluated), and every observable follows from QQ^T. To our knowledge the
    closed form for kappa > 0 is not published.

    Parameters
    ----------
    task : Task, Tasks, or sequence of Task
        ``task.inputs`` is "white" (assumption A1), "isotropic" or "projector".
    net : Network, Networks, or sequence of Network
        Balanced on the span of the inputs (assumption A2, relaxed). `balanced_init` draws such networks; for
        dependent inputs it needs the task.
    times : array_like, (T,)
        t / tau = learning_rate * step >= 0, in any order. inf is allowed.
    observables : sequence of str, optional
        Names from the registry. The default is all but those that must be named: "ntk", which is lazy, the
        time scales "convergence_time", "rotation_time" and "escape_time", and the fit of the start,
        "fit_lam", "fit_kappa" and "imbalance".
    fraction : float
        Fraction of the achievable loss drop, between 0 and 1, for "convergence_time".
    learning_rates : (float, float)
        Learning rates (eta1, eta2) of the layers in units of 1/tau, ``W1' = eta1 W2^T E``, ``W2' = eta2 E
        W1^T``. The weights have to be balanced in ``sqrt(eta2) W1`` and ``sqrt(eta1) W2``. By default those
        of the task (see `lora`), or (1, 1).
    decay : float or (float, float)
        Weight decay g of both layers, multiplied by their rates: ``W1' = eta1 (W2^T E - g1 W1)``. A decay
        above 0 is exact where lam = kappa = 0 and eta1 g1 = eta2 g2.

    Returns
    -------
    xarray.Dataset
        One variable per observable, dimension "time" first (a time scale has none): ``ds[name].attrs``
        holds its equation and unit, `fastlin.OBSERVABLES` all of them. Stacks and lists of tasks and networks
        are broadcast by the names of their dimensions, which come before "time". Attributes: sizes, lam and
        kappa (coordinates of a stack that has several; with
        rates in units of their geometric mean), solver, learning rates, decay and version. Where the inputs
        are dependent, a part of W1 off their span never learns, and observables that depend on it are left
        out, unless N_h = 1.

    Raises
    ------
    InputError
        If inputs are not of the three kinds, the network is not balanced, sizes do not fit, times are
        negative, or a time scale does not apply: escape and rotation times for kappa > 0, and all of them
        with decay. `flow` solves any network on any data.

    Warns
    -----
    SaddleWarning
        If inf is among the times and the flow ends at a saddle.

    See Also
    --------
    flow : the gradient flow of any weights on any data, to a tolerance.
    solve_qqt : the same solution for bare arrays, batched.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> ds = fl.exact(task, net, [0.0, 1.0, np.inf], ["loss", "kernel_distance", "rotation_time"])
    >>> dict(ds.sizes), list(ds.data_vars)
    ({'time': 3}, ['loss', 'kernel_distance', 'rotation_time'])
    >>> least = task.loss_floor + 0.5 * (np.linalg.svd(task.sigma_yx)[1][2:] ** 2).sum()
    >>> bool(np.isclose(ds.loss[-1], least))
    True

    A stack of networks, each seed with its own task:

    >>> tasks = fl.random_regression(arch, n_samples=10, seed=range(20))
    >>> nets = fl.balanced_init(arch, lam=[-1.0, 0.0, 1.0], seed=range(20))
    >>> ds = fl.exact(tasks, nets, [0.0, 1.0, 10.0], ["loss", "kernel_distance"])
    >>> dict(ds.sizes)
    {'seed': 20, 'lam': 3, 'time': 3}
    """
    if is_stack(task, net):
        stack = pairs(task, net)
        rates = stack_values.shared_rates(stack, lambda task: Rates.of_flow(task, learning_rates))
        solution = ExactStack(stack, rates, check_pair("decay", decay))
        moments = check_times(times)
        if np.isinf(moments).any():
            warn_of_saddles(moments, solution.saddles())
        return _of_stack(stack, solution, rates, moments, observables, check_fraction("fraction", fraction))
    task, net = check_sizes(task, net)
    rates = Rates.of_flow(task, learning_rates)
    canonical = substitute(task, net, rates)
    balance = canonical.balance(task, net, rates)
    shrinking = shrinkage(balance, rates, check_pair("decay", decay))
    moments = check_times(times)
    wanted = _observables(observables, task, canonical)
    part = check_fraction("fraction", fraction)
    check_memory(wanted, moments.size, task)
    starts = Starts.of(canonical.sigma_yx, canonical.w1, canonical.w2, np.array(balance.lam))
    path = evolve(starts, np.array(balance.kappa), np.append(moments, 0.0), shrinking)
    warn_of_saddles(moments, path.saddle)
    qqt = canonical.qqt(path.qqt)
    trajectory = Trajectory(
        qqt[:-1], qqt[-1], net.architecture.n_h, task, np.zeros(moments.size), rates.relative
    )
    unit = rates.unit * residual_task(task).variance
    attributes = {
        "solver": EXACT.name,
        "lam": balance.lam / unit,
        "kappa": balance.kappa / unit,
        "learning_rates": one_or_two(rates),
        "decay": shrinking / rates.first,
    }
    result = dataset(trajectory, moments, wanted, net, attributes)
    return result.assign(_time_scales(canonical, balance, wanted, part, shrinking))


def _of_stack(
    stack: Pairs,
    solution: ExactStack,
    rates: Rates,
    times: Array,
    names: Sequence[str] | None,
    fraction: float,
) -> xr.Dataset:
    """Return the Dataset of a stack of networks."""
    wanted = solution.observables(names, stack_values.selected(names, stack))
    check_memory(wanted, times.size, stack.arrays, stack.size)
    attributes = {
        "solver": EXACT.name,
        "lam": solution.lam / solution.unit,
        "kappa": solution.kappa / solution.unit,
        "learning_rates": one_or_two(rates),
        "decay": solution.shrinkage / rates.first,
    }
    values = solution.values(wanted, times, fraction)
    result = stack_values.dataset(stack, values, times, wanted, rates.relative, attributes)
    if "convergence_time" in result:
        result.convergence_time.attrs["fraction"] = fraction
    return result


def _observables(names: Sequence[str] | None, task: Task, canonical: Canonical) -> list[Observable]:
    """Return the wanted observables, without those that the closed form does not have.

    Raises
    ------
    InputError
        If one of these is named.
    """
    wanted = select(names, task)
    if not canonical.has_frozen_part or canonical.completes:
        return wanted
    return on_span(names, wanted)


def _time_scales(
    canonical: Canonical, balance: Balance, observables: list[Observable], fraction: float, shrinking: float
) -> dict[str, xr.Variable]:
    """Return the variables of the time scales that are wanted."""
    wanted = [(entry, entry.scale) for entry in observables if entry.scale is not None]
    if not wanted:
        return {}
    check_time_scales([entry for entry, _ in wanted], balance, shrinking)
    scales = [scale for _, scale in wanted]
    values = time_scales(canonical.sigma_yx, canonical.w1, canonical.w2, balance, fraction, scales)
    variables = {
        entry.name: xr.Variable((), value, entry.attributes)
        for (entry, _), value in zip(wanted, values, strict=True)
    }
    if "convergence_time" in variables:
        variables["convergence_time"].attrs["fraction"] = fraction
    return variables
