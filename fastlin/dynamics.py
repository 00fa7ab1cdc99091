"""One network over time: the closed form and gradient descent, as Datasets of one schema."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import BLOW_UP
from fastlin.kernels.weight_descent import descend
from fastlin.network import BALANCE_TOLERANCE, Network, imbalance
from fastlin.observables import FRACTION, Observable, Trajectory, check_fraction, select
from fastlin.solve import evolve, time_scales, warn_of_saddles
from fastlin.solvers import EXACT, GRADIENT_DESCENT
from fastlin.task import Task
from fastlin.validation import check_float, check_instance, check_int, check_times

TIME_ATTRIBUTES = {"long_name": "time t / tau = learning_rate * step", "units": "1"}
SURELY_FITS = 1e9  # bytes; below it the memory of the machine is not looked up, which takes an import
MAX_STEPS = 2**53  # beyond it, learning_rate * step is no longer exact in the step


def exact(
    task: Task,
    net: Network,
    times: ArrayLike,
    observables: Sequence[str] | None = None,
    fraction: float = FRACTION,
) -> xr.Dataset:
    """Evaluate the exact solution of the learning dynamics of one network.

    ``QQ^T(t) = P K(t) K(t)^T P^T``, the solution of ``d(QQ^T)/dt = F QQ^T + QQ^T F - (QQ^T)^2`` (Theorem
    A.3, corrected and stably evaluated), and every observable from it.

    Parameters
    ----------
    task : Task
        With whitened inputs (assumption A1).
    net : Network
        Balanced on its support (assumption A2, relaxed): `balanced_init` gives such.
    times : array_like, (T,)
        t / tau = learning_rate * step >= 0, in any order. inf is allowed.
    observables : sequence of str, optional
        Names from the registry. The default is all but those that must be named: "ntk", which is lazy, and
        the time scales "convergence_time", "rotation_time" and "escape_time".
    fraction : float
        Fraction of the achievable loss drop, between 0 and 1, for "convergence_time".

    Returns
    -------
    xarray.Dataset
        One variable per observable, dimension "time" first (a time scale has none): ``ds[name].attrs``
        holds its equation and unit, `fastlin.OBSERVABLES` all of them. Attributes: sizes, lam, solver and
        version.

    Raises
    ------
    InputError
        If the task is not whitened, the network not balanced, sizes do not fit, or times are negative.

    Warns
    -----
    SaddleWarning
        If inf is among the times and the flow ends at a saddle.

    See Also
    --------
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
    _check_pair(task, net)
    if not task.whitened:
        raise InputError(
            "the closed form needs whitened inputs, X X^T / P = I (assumption A1: otherwise the flow is "
            "no Riccati equation); use task.whiten(), or gradient_descent, which takes any X"
        )
    if net.balance == "none":
        residual = imbalance(net.w1, net.w2, 0.0)
        raise InputError(
            f"the closed form needs balanced weights: |Q D| / |Q|^3 is {residual:.1e} and no lam brings "
            f"|Q (D - lam I)| / |Q|^3 under {BALANCE_TOLERANCE:g}; use balanced_init(..., "
            "weights=(w1, w2)), or gradient_descent, which takes any weights"
        )
    moments = check_times(times)
    wanted = select(observables, task)
    part = check_fraction("fraction", fraction)
    _check_memory(wanted, moments.size, task)
    path = evolve(task.sigma_yx, net.w1, net.w2, np.array(net.lam), np.append(moments, 0.0))
    warn_of_saddles(moments, path)
    qqt = path.q @ np.swapaxes(path.q, -1, -2)
    trajectory = Trajectory(qqt[:-1], qqt[-1], net.architecture.n_h, task, np.zeros(moments.size))
    dataset = _dataset(trajectory, moments, wanted, net, {"solver": EXACT.name})
    return dataset.assign(_time_scales(task, net, wanted, part))


def gradient_descent(
    task: Task,
    net: Network,
    learning_rate: float,
    steps: int,
    every: int = 1,
    observables: Sequence[str] | None = None,
) -> xr.Dataset:
    """Run full-batch gradient descent on one network.

    ``W1 += eta W2^T E``, ``W2 += eta E W1^T`` from the old weights, ``E = Sigma_yx - W2 W1 Sigma_xx``.

    Parameters
    ----------
    task : Task
        Inputs need not be whitened.
    net : Network
        Weights need not be balanced.
    learning_rate : float
        eta > 0.
    steps : int
        Number of steps >= 1.
    every : int
        Record after each `every` steps, from 1 to `steps`; the start is recorded too.
    observables : sequence of str, optional
        As for `exact`.

    Returns
    -------
    xarray.Dataset
        With the schema of `exact` and time = learning_rate * step, so that ``gd - exact(task, net, gd.time)``
        is the difference.

    Raises
    ------
    InputError
        If a number is out of range, sizes do not fit, or the run diverges: the message says at which
        time, and which learning rates are stable near the start.

    Examples
    --------
    >>> arch = fl.Architecture(4, 2, 4)
    >>> task, net = fl.random_regression(arch, n_samples=10), fl.balanced_init(arch, lam=-1.0)
    >>> gd = fl.gradient_descent(task, net, learning_rate=0.01, steps=500, every=100)
    >>> gd.time.values.tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    >>> bool(abs(gd - fl.exact(task, net, gd.time)).kernel_distance.max() < 0.01)
    True
    """
    _check_pair(task, net)
    rate = check_float("learning_rate", learning_rate, 0.0, above=True)
    count = check_int("steps", steps, 1, MAX_STEPS)
    stride = check_int("every", every, 1, count)
    wanted = select(observables, task)
    if scale := next((entry.name for entry in wanted if not entry.over_time), None):
        raise InputError(f"{scale} is a time scale of the exact flow; ask fastlin.exact for it")
    _check_memory(wanted, count // stride + 1, task)
    recorded = np.arange(0, count + 1, stride)
    times = np.asarray(recorded * rate, dtype=np.float64)
    w1, w2 = net.w1.copy(), net.w2.copy()
    path1, path2 = np.empty((recorded.size, *w1.shape)), np.empty((recorded.size, *w2.shape))
    inputs = None if task.whitened else task.sigma_xx
    descend(w1, w2, np.ascontiguousarray(task.sigma_yx), inputs, rate, recorded, path1, path2)
    q = np.concatenate([np.swapaxes(path1, -1, -2), path2], axis=-2)
    _check_convergence(q, times, rate, task)
    balance = np.swapaxes(path2, -1, -2) @ path2 - path1 @ np.swapaxes(path1, -1, -2)
    drift = np.linalg.norm(balance - balance[0], axis=(-2, -1))
    qqt = q @ np.swapaxes(q, -1, -2)
    trajectory = Trajectory(qqt, qqt[0], net.architecture.n_h, task, drift)
    attributes = {"solver": GRADIENT_DESCENT.name, "learning_rate": rate}
    return _dataset(trajectory, times, wanted, net, attributes)


def _time_scales(
    task: Task, net: Network, observables: list[Observable], fraction: float
) -> dict[str, xr.Variable]:
    """Return the variables of the time scales that are wanted."""
    wanted = [(entry, entry.scale) for entry in observables if entry.scale is not None]
    if not wanted:
        return {}
    scales = [scale for _, scale in wanted]
    values = time_scales(task.sigma_yx, net.w1, net.w2, net.lam, fraction, scales)
    variables = {
        entry.name: xr.Variable((), value, entry.attributes)
        for (entry, _), value in zip(wanted, values, strict=True)
    }
    if "convergence_time" in variables:
        variables["convergence_time"].attrs["fraction"] = fraction
    return variables


def _check_pair(task: Task, net: Network) -> None:
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    check_instance("net", net, Network, "balanced_init or Network(w1, w2)")
    if (task.n_i, task.n_o) != (net.architecture.n_i, net.architecture.n_o):
        raise InputError(
            f"the task maps {task.n_i} inputs to {task.n_o} outputs, "
            f"the network {net.architecture} (N_i-N_h-N_o) does not"
        )


def _check_memory(observables: list[Observable], moments: int, task: Task) -> None:
    """Raise if the results would not fit: matrices over samples grow with P^2 at every time."""
    n = task.n_i + task.n_o
    sizes = {"input": task.n_i, "output": task.n_o, "unit": n}
    if task.has_samples:
        sizes["sample"] = task.n_samples
    for entry in observables:
        sizes |= entry.stored_dims
    cost = {
        entry.name: 8 * moments * math.prod(sizes[name.removesuffix("_2")] for name in entry.dims)
        for entry in observables
        if entry.default  # the others are lazy
    }
    total = sum(cost.values()) + 16 * moments * n**2
    if total > SURELY_FITS:
        from distributed.system import MEMORY_LIMIT  # private: psutil does not know limits of containers

        if total > MEMORY_LIMIT / 2:
            largest = max(cost, key=lambda name: cost[name])
            raise InputError(
                f"the observables at {moments} times need {total / 1e9:.3g} GB, more than half the memory of "
                f"{MEMORY_LIMIT / 1e9:.3g} GB ({largest} the most); name fewer of them, or record less often"
            )


def _check_convergence(q: Array, times: Array, rate: float, task: Task) -> None:
    """Raise where the weights have blown up, with the learning rate that the start would bear."""
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.sum(q**2, axis=(-2, -1))
    bound = BLOW_UP * (size[0] + np.linalg.svd(task.sigma_yx, compute_uv=False).sum())
    wild = ~(size <= bound)
    if wild.any():
        when = times[np.argmax(wild)]
        curvature = np.linalg.norm(task.sigma_xx, 2) * np.linalg.norm(q[0], 2) ** 2
        curvature += np.linalg.norm(task.sigma_yx, 2)
        raise InputError(
            f"gradient descent diverged before t = {when:g}: learning_rate {rate:g} is too large; "
            f"the curvature at the start bears about {2 / curvature:.2g} at most"
        )


def _dataset(
    path: Trajectory,
    times: Array,
    observables: list[Observable],
    net: Network,
    attributes: dict[str, Any],
) -> xr.Dataset:
    variables = {
        entry.name: (("time", *entry.dims), entry.evaluate(path), entry.attributes)
        for entry in observables
        if entry.over_time
    }
    coordinates: dict[str, Any] = {"time": ("time", times, TIME_ATTRIBUTES)}
    for entry in observables:
        coordinates |= {name: list(labels) for name, labels in entry.labels.items()}
    shape = net.architecture
    return xr.Dataset(
        variables,
        coordinates,
        {
            "n_i": shape.n_i,
            "n_h": shape.n_h,
            "n_o": shape.n_o,
            "lam": net.lam,
            "fastlin_version": version("fastlin"),
            **attributes,
        },
    )
