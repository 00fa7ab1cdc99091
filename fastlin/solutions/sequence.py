"""Several tasks in a row, learned by one network: losses, forgetting, and times of relearning."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

import fastlin
from fastlin.errors import InputError, SaddleWarning
from fastlin.kernels import Scale
from fastlin.kernels.compiler.jit import Array
from fastlin.networks.network import Network
from fastlin.observables.registry import FRACTION, REGISTRY, TIME_ATTRIBUTES, Observable, check_fraction
from fastlin.observables.relearning import (
    LONGEST,
    forgetting,
    is_least,
    least_loss,
    passage_time,
    reverses,
    slowest_reversal,
    without_rounding,
)
from fastlin.observables.stages import OF_SEQUENCE
from fastlin.observables.trajectory import Trajectory, loss
from fastlin.solutions.dynamics import check_memory, check_sizes, select_over_time
from fastlin.solutions.exact import exact
from fastlin.solutions.flow import flow
from fastlin.solvers import EXACT, MAX_TOLERANCE, MIN_TOLERANCE, TOLERANCE
from fastlin.tasks.task import Task, check_whole
from fastlin.validation import check_float, check_times, shown
from fastlin.weights.carried import Carried, carry, exact_parts
from fastlin.weights.solve import AT_SADDLE, time_scales

Stages = Sequence[tuple[Task, float]]

DEFAULT_TIMES = 101  # evenly spaced over the longest stage

_STAGE = {"long_name": "stage: one task of the sequence, from 0 on", "units": "1"}
_TASK = {"long_name": "task, by the stage that learns it", "units": "1"}


class _Followed(NamedTuple):
    """Observables of a stage by their names, and W2 W1 (1, N_o, N_i) at its end."""

    values: dict[str, Array]  # (T, ...), or a number of the start
    end: Array


class _Stage(NamedTuple):
    """One stage: its task, the network at its start and its end, and what is asked of it."""

    task: Task
    duration: float
    start: Network
    end: Carried


def sequence(
    stages: Stages,
    net: Network,
    times: ArrayLike | None = None,
    observables: Sequence[str] | None = None,
    fraction: float = FRACTION,
    *,
    tolerance: float = TOLERANCE,
) -> xr.Dataset:
    """Evaluate the learning dynamics of one network on several tasks in a row.

    The weights at the end of a stage are the start of the next one. lam and kappa are conserved by all
    tasks, so that each stage has the closed form where its inputs are not "general" and the network is
    balanced. Other stages are integrated. Continual learning, transfer and reversal are sequences (Braun et
    al., Exact learning dynamics of deep linear networks with prior knowledge, NeurIPS 2022).

    Parameters
    ----------
    stages : sequence of (Task, float)
        Tasks and how long each is learned, t / tau > 0. inf is allowed where `exact` or `flow` allows it.
    net : Network
        The start of the first stage.
    times : array_like, (T,), optional
        Times within each stage, in any order. The default is 101 times over the longest finite stage, and
        inf if a stage has no end.
    observables : sequence of str, optional
        Names from the registry, without time scales. The default is all that need no samples, but those that
        must be named. Those of the start, such as the kernel distance, belong to the start of the stage.
    fraction : float
        Fraction of the achievable loss drop, between 0 and 1, for "relearning_time".
    tolerance : float
        Error of a step where the flow is integrated, relative to the norm of the weights.

    Returns
    -------
    xarray.Dataset
        "loss" (stage, time, task) on every task, other observables (stage, time, ...), NaN past the end of a
        stage. Tasks are counted by the stage that learns them. Besides:

        - "final_loss" (stage, task): the loss at the end of each stage,
        - "forgetting" (stage, task): the loss on an earlier task less that at the end of its own stage,
        - "relearning_time" (stage): time until the loss of the task has fallen by `fraction` of the drop that
          this width can achieve, inf if the stage ends before,
        - "reversal_time" (stage): time at which the slowest mode crosses 0 after the target S became -S, from
          the optimum of S, for one-sided balance: inf at lam = 0, and NaN where a stage is no reversal or
          does not follow a stage with t = inf.

        Attributes: durations, solvers of all stages, lam, kappa, sizes and version.

    Raises
    ------
    InputError
        If a stage is no pair of a task and a duration above 0, sizes do not fit, or a solver refuses a stage:
        the message names it.

    Warns
    -----
    SaddleWarning
        If a stage with t = inf ends at a saddle, or if at lam = 0 an earlier stage was so long, ``s t > 17``,
        that double precision has lost the direction that has to grow.

    See Also
    --------
    Network.after : the network at the end of one stage.

    Examples
    --------
    >>> arch = fl.Architecture(4, 4, 3)
    >>> first, second = (fl.random_regression(arch, n_samples=10, seed=seed) for seed in (0, 1))
    >>> net = fl.balanced_init(arch, lam=1.0)
    >>> ds = fl.sequence([(first, 40.0), (second, np.inf)], net, times=[0.0, 1.0], observables=["loss"])
    >>> dict(ds.loss.sizes), ds.attrs["solvers"]
    ({'stage': 2, 'time': 2, 'task': 2}, ['exact', 'exact'])
    >>> forgetting = 0.5 * np.sum((first.sigma_yx - second.sigma_yx) ** 2)  # that of t = inf
    >>> bool(np.isclose(ds.forgetting.sel(stage=1, task=0), forgetting))
    True
    """
    pairs = _check_stages(stages, net)
    moments = _times(times, [duration for _, duration in pairs])
    step = check_float("tolerance", tolerance, MIN_TOLERANCE, MAX_TOLERANCE)
    part = check_fraction("fraction", fraction)
    wanted = _observables(observables, [task for task, _ in pairs])
    check_memory(wanted, len(pairs) * moments.size, pairs[0][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaddleWarning)  # `_warn_of_saddles` names the stage
        run = _run(pairs, net, step)
        paths = [_follow(stage, moments, wanted, step) for stage in run]
        learning = np.array([_relearning_time(stage, part, step) for stage in run])
    _warn_of_saddles(run)
    return _dataset(run, paths, moments, wanted, learning, part)


def _check_stages(stages: Any, net: Network) -> list[tuple[Task, float]]:
    if isinstance(stages, str | Task) or not isinstance(stages, Sequence) or not len(stages):
        raise InputError(f"stages is {shown(stages)}; needed is a list of pairs (task, duration)")
    for k, stage in enumerate(stages):
        if not isinstance(stage, Sequence) or len(stage) != 2:
            raise InputError(f"stages[{k}] is {shown(stage)}; needed is a pair (task, duration)")
        try:
            check_sizes(stage[0], net)
            check_whole(stage[0])
        except InputError as error:
            raise InputError(f"stages[{k}]: {error}") from None
        duration = stage[1]
        if (
            not isinstance(duration, int | float | np.number)
            or isinstance(duration, bool)
            or not duration > 0
        ):
            raise InputError(f"stages[{k}] has the duration {shown(duration)}; needed is a number above 0")
    return [(task, float(duration)) for task, duration in stages]


def _times(times: ArrayLike | None, durations: list[float]) -> Array:
    if times is not None:
        return check_times(times)
    finite = [duration for duration in durations if math.isfinite(duration)]
    grid = np.linspace(0.0, max(finite), DEFAULT_TIMES) if finite else np.zeros(1)
    return np.append(grid, math.inf) if len(finite) < len(durations) else grid


def _observables(names: Sequence[str] | None, tasks: list[Task]) -> list[Observable]:
    """Return the observables besides the loss, which every task has."""
    if names is None:
        names = [entry.name for entry in REGISTRY.values() if entry.default and not entry.needs_samples]
    for task in tasks:
        wanted = select_over_time(names, task)
    sampled = next((entry.name for entry in wanted if entry.needs_samples), None)
    if sampled and len({task.n_samples for task in tasks}) > 1:
        raise InputError(f"{sampled} needs tasks of equal numbers of samples")
    return [entry for entry in wanted if entry.name != "loss"]


def _run(pairs: list[tuple[Task, float]], net: Network, tolerance: float) -> list[_Stage]:
    """Return all stages, each from the weights at the end of the one before."""
    run = []
    for k, (task, duration) in enumerate(pairs):
        try:
            end = carry(task, net, duration, tolerance)
        except InputError as error:
            raise InputError(f"stages[{k}]: {error}") from None
        run.append(_Stage(task, duration, net, end))
        net = net.with_weights(end.w1, end.w2)
    return run


def _solve(stage: _Stage, times: Array, names: list[str], tolerance: float) -> xr.Dataset:
    if stage.end.solver == EXACT.name:
        return exact(stage.task, stage.start, times, names)
    return flow(stage.task, stage.start, times, tolerance, observables=names)


def _follow(stage: _Stage, moments: Array, wanted: list[Observable], tolerance: float) -> _Followed:
    """Return the observables of one stage, NaN past its end, W2 W1 over time, and W2 W1 at the end."""
    within = moments <= stage.duration
    names = ["w2w1", *(entry.name for entry in wanted if entry.name != "w2w1")]
    dataset = _solve(stage, np.append(moments[within], stage.duration), names, tolerance)
    values = {}
    for name in names:
        found = dataset[name].values
        if REGISTRY[name].over_time:
            padded = np.full((moments.size, *found.shape[1:]), np.nan)
            padded[within] = found[:-1]
            values[name] = padded
        else:
            values[name] = found
    return _Followed(values, dataset.w2w1.values[-1:])


def _relearning_time(stage: _Stage, fraction: float, tolerance: float) -> float:
    """Return the time to a fraction of the achievable loss drop, inf if the stage ends before."""
    task, net = stage.task, stage.start
    if (parts := exact_parts(task, net)) is not None:
        canonical, balance = parts
        found = time_scales(*canonical[:3], balance, fraction, [Scale.CONVERGENCE])[0]
        return found if found <= stage.duration else math.inf

    def losses(times: Array) -> Array:
        return np.asarray(flow(task, net, times, tolerance, observables=["loss"]).loss.values)

    start = float(losses(np.zeros(1))[0])
    goal = start - fraction * (start - least_loss(task, net.architecture.n_h))
    end = _losses(np.asarray(stage.end.w2 @ stage.end.w1)[None], task)[0]
    return passage_time(losses, goal, stage.duration) if end <= goal else math.inf


def _losses(products: Array, task: Task) -> Array:
    """Return the loss on a task of linear maps W2 W1 (T, N_o, N_i)."""
    n_i, n = task.n_i, task.n_i + task.n_o
    qqt = np.zeros((len(products), n, n))
    qqt[:, n_i:, :n_i] = products
    return loss(Trajectory(qqt, qqt[0], n, task, np.zeros(len(products))))


def _reversal_times(run: list[_Stage], ends: Array) -> Array:
    """Return the half time of each stage that reverses the one before, given the losses (stage, task)."""
    times = np.full(len(run), np.nan)
    for k in range(1, len(run)):
        before, stage = run[k - 1], run[k]
        if math.isfinite(before.duration):
            continue
        parts = exact_parts(stage.task, stage.start)
        if parts is None or parts[1].kappa > 0.0 or not reverses(stage.task, before.task):
            continue
        n_h, size = stage.start.architecture.n_h, np.array(np.sum(before.task.moments.target**2))
        if is_least(np.array(ends[k - 1, k - 1]), np.array(least_loss(before.task, n_h)), size):
            times[k] = slowest_reversal(parts[0].sigma_yx, np.array(parts[1].lam), n_h)
    return times


def _warn_of_saddles(run: list[_Stage]) -> None:
    """Warn of stages that end at a saddle, or have lost a direction to an earlier one."""
    longest = 0.0
    for k, stage in enumerate(run):
        if stage.end.saddle and longest > LONGEST and stage.start.lam == 0.0:
            _warn(
                f"stages[{k}]: an earlier stage lasted for s t = {longest:.3g} > {LONGEST:.3g} at lam = 0; "
                "double precision may have lost a direction that has to grow, so that it stays at a saddle"
            )
        elif stage.end.saddle and math.isinf(stage.duration):
            _warn(f"stages[{k}]: at t = inf {AT_SADDLE}")
        longest = max(longest, float(np.linalg.norm(stage.task.sigma_yx, 2)) * stage.duration)


def _warn(message: str) -> None:
    warnings.warn(message, SaddleWarning, stacklevel=4)


def _dataset(
    run: list[_Stage],
    paths: list[_Followed],
    moments: Array,
    wanted: list[Observable],
    learning: Array,
    fraction: float,
) -> xr.Dataset:
    tasks, net = [stage.task for stage in run], run[0].start
    losses = [np.stack([_losses(path.values["w2w1"], task) for task in tasks], axis=-1) for path in paths]
    over_all = ("stage", "time", "task")
    variables: dict[str, Any] = {"loss": (over_all, np.stack(losses), REGISTRY["loss"].attributes)}
    for entry in wanted:
        own = ("time", *entry.dims) if entry.over_time else entry.dims
        values = np.stack([path.values[entry.name] for path in paths])
        variables[entry.name] = (("stage", *own), values, entry.attributes)
    ends = np.array([[_losses(path.end, task)[0] for task in tasks] for path in paths])
    reversal = _reversal_times(run, ends)
    of_stages = {
        "final_loss": ends,
        "forgetting": forgetting(ends),
        "relearning_time": without_rounding(learning, reversal, fraction),
        "reversal_time": reversal,
    }
    for name, values in of_stages.items():
        variables[name] = (OF_SEQUENCE[name].dims, values, OF_SEQUENCE[name].attributes)
    variables["relearning_time"][2]["fraction"] = fraction
    coordinates: dict[str, Any] = {
        "stage": ("stage", np.arange(len(run)), _STAGE),
        "time": ("time", moments, TIME_ATTRIBUTES),
        "task": ("task", np.arange(len(run)), _TASK),
    }
    for entry in wanted:
        coordinates |= {name: list(labels) for name, labels in entry.labels.items()}
    attributes = {
        "n_i": net.architecture.n_i,
        "n_h": net.architecture.n_h,
        "n_o": net.architecture.n_o,
        "lam": net.lam,
        "kappa": net.kappa,
        "fastlin_version": fastlin.__version__,
        "durations": [stage.duration for stage in run],
        "solvers": [stage.end.solver for stage in run],
    }
    return xr.Dataset(variables, coordinates, attributes)
