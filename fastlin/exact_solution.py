"""The closed form of one network over time, as a Dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from fastlin.adapted_task import residual_task
from fastlin.balance import Balance
from fastlin.canonical import Canonical, substitute
from fastlin.dynamics import check_memory, check_sizes, dataset
from fastlin.errors import InputError
from fastlin.kernels import Scale
from fastlin.network import Network
from fastlin.observables import FRACTION, Observable, check_fraction, select
from fastlin.rates import Rates, one_or_two
from fastlin.solve import Starts, evolve, time_scales, warn_of_saddles
from fastlin.solvers import EXACT
from fastlin.task import Task
from fastlin.trajectory import Trajectory
from fastlin.validation import check_pair, check_times


def exact(
    task: Task,
    net: Network,
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
    task : Task
        ``task.inputs`` is "white" (assumption A1), "isotropic" or "projector".
    net : Network
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
        holds its equation and unit, `fastlin.OBSERVABLES` all of them. Attributes: sizes, lam and kappa (with
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
    """
    check_sizes(task, net)
    rates = Rates.of_flow(task, learning_rates)
    canonical = substitute(task, net, rates)
    balance = canonical.balance(task, net, rates)
    shrinkage = _shrinkage(balance, rates, check_pair("decay", decay))
    moments = check_times(times)
    wanted = _observables(observables, task, canonical)
    part = check_fraction("fraction", fraction)
    check_memory(wanted, moments.size, task)
    starts = Starts.of(canonical.sigma_yx, canonical.w1, canonical.w2, np.array(balance.lam))
    path = evolve(starts, np.array(balance.kappa), np.append(moments, 0.0), shrinkage)
    warn_of_saddles(moments, path)
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
        "decay": shrinkage / rates.first,
    }
    result = dataset(trajectory, moments, wanted, net, attributes)
    return result.assign(_time_scales(canonical, balance, wanted, part, shrinkage))


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
    if names is not None and (off := next((entry.name for entry in wanted if entry.off_span), None)):
        raise InputError(
            f"observable {off!r} depends on W1 off the span of the inputs, which does not learn, and whose "
            "products with the other weights are not in the closed form; use fastlin.flow, or a network "
            "without that part: balanced_init(..., task=task)"
        )
    return [entry for entry in wanted if not entry.off_span]


def _shrinkage(balance: Balance, rates: Rates, decay: tuple[float, float]) -> float:
    """Return the rate eta g at which decay shrinks both layers.

    Raises
    ------
    InputError
        If the closed form does not hold with it.
    """
    first, second = rates[0] * decay[0], rates[1] * decay[1]
    if first == second == 0.0:
        return 0.0
    if not math.isclose(first, second, rel_tol=1e-12):
        raise InputError(
            f"decay shrinks the layers at unequal rates, {first:g} and {second:g}, for which no closed form "
            "is known; use fastlin.flow"
        )
    if balance.lam != 0.0 or balance.kappa != 0.0:
        raise InputError(
            f"decay is exact only for lam = kappa = 0, and here lam is {balance.lam:g} and kappa "
            f"{balance.kappa:g}; use fastlin.flow"
        )
    return first


def _time_scales(
    canonical: Canonical, balance: Balance, observables: list[Observable], fraction: float, shrinkage: float
) -> dict[str, xr.Variable]:
    """Return the variables of the time scales that are wanted."""
    wanted = [(entry, entry.scale) for entry in observables if entry.scale is not None]
    if not wanted:
        return {}
    _check_time_scales([entry for entry, _ in wanted], balance, shrinkage)
    scales = [scale for _, scale in wanted]
    values = time_scales(canonical.sigma_yx, canonical.w1, canonical.w2, balance, fraction, scales)
    variables = {
        entry.name: xr.Variable((), value, entry.attributes)
        for (entry, _), value in zip(wanted, values, strict=True)
    }
    if "convergence_time" in variables:
        variables["convergence_time"].attrs["fraction"] = fraction
    return variables


def _check_time_scales(entries: list[Observable], balance: Balance, shrinkage: float) -> None:
    """Raise where a time scale has no meaning: with decay, or with kappa > 0 for escape and rotation."""
    for entry in entries:
        if shrinkage > 0.0:
            raise InputError(f"{entry.name} is a time scale of the flow without decay, and decay is above 0")
        if balance.kappa > 0.0 and entry.scale is not Scale.CONVERGENCE:
            raise InputError(
                f"{entry.name} does not apply for kappa > 0, where no direction starts at zero; "
                "allowed is convergence_time"
            )
