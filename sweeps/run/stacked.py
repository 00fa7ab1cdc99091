"""Groups of points without a kernel for their records: stacks of networks, as Python functions take them.

They are the exact solution with decay, adapters of low rank (LoRA), and solvers for inputs that are not
whitened, if no kernel writes all their numbers (`Group.on_inputs`). Gradient descent with noise, or with
observables that no kernel computes, takes one network at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Status
from fastlin.kinds.starts import draw_networks
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.networks.network import Network
from fastlin.networks.stacks import Networks, Pairs, Tasks, pairs
from fastlin.observables.registry import REGISTRY, Observable
from fastlin.solutions.descent_stack import DescentStack
from fastlin.solutions.exact_stack import ExactStack
from fastlin.solutions.flow_stack import FlowStack
from fastlin.solutions.stack_values import Values
from fastlin.solvers import SOLVERS, recorded_steps
from fastlin.sweeps.run import one_by_one
from fastlin.sweeps.spec.group import Group
from fastlin.tasks.task import Task
from fastlin.weights.flow_path import FlowSettings
from fastlin.weights.rates import Rates

Array = NDArray[np.float64]
Codes = NDArray[np.uint8]


class _Part(NamedTuple):
    """Points of a group that share learning rates."""

    points: NDArray[np.int64]  # (K,)
    stack: Pairs
    rates: Rates


def outputs(group: Group, times: Array) -> tuple[Array, Codes]:
    """Return the numbers over time of a group, (R, P, T), and the status (P,) of its points.

    A number is NaN from the first time at which its run has diverged. The bits of a point do not depend on
    the other points.
    """
    solver = SOLVERS[group.solver]
    if solver.learning_rate and group.settings.noise is not None:
        return one_by_one.outputs(group, times)
    wanted = one_by_one.over_time(group)
    out = np.full((sum(entry.rows for entry in wanted), group.points, times.size), np.nan)
    status = np.full(group.points, Status.OK, dtype=np.uint8)
    solve = _exact if solver.balanced else _flow if solver.adaptive else _descent
    for part in _parts(group):
        values, status[part.points] = solve(group, part, wanted, times)
        if values is None:
            return one_by_one.outputs(group, times)
        out[:, part.points] = np.concatenate([_rows(values[entry.name]) for entry in wanted])
    status[(status == Status.OK) & ~np.isfinite(out).all(axis=(0, 2))] = Status.FAILED
    return out, status


def _exact(group: Group, part: _Part, wanted: list[Observable], times: Array) -> tuple[Values | None, Codes]:
    """Return the values of the exact solution of some points, and their status (K,)."""
    values = ExactStack(part.stack, part.rates, group.weight_decay).values(wanted, times, group.fraction)
    return values, np.full(part.points.size, Status.OK, dtype=np.uint8)


def _flow(group: Group, part: _Part, wanted: list[Observable], times: Array) -> tuple[Values | None, Codes]:
    """Return the values of the flow of some points, and their status (K,)."""
    control = group.settings.control
    settings = FlowSettings(part.rates, group.weight_decay, control.tolerance, control.max_steps)
    flow = FlowStack(part.stack, settings, strict=False)
    values = flow.solve(wanted, times).values
    return values, np.where(flow.too_stiff, Status.TOO_STIFF, Status.OK).astype(np.uint8)


def _descent(
    group: Group, part: _Part, wanted: list[Observable], times: Array
) -> tuple[Values | None, Codes]:
    """Return the values of gradient descent of some points, None without lanes, and their status (K,)."""
    rate, (first, second) = group.settings.learning_rate, part.rates
    descent = DescentStack(part.stack, Rates(rate * first, rate * second), group.weight_decay)
    values = descent.in_lanes(wanted, recorded_steps(times, rate))
    return values, np.where(descent.diverged, Status.DIVERGED, Status.OK).astype(np.uint8)


def time_scales(group: Group) -> tuple[Array, Codes]:
    """Return the time scales of a group of the exact flow, (scales, P), and the status (P,) of its points."""
    wanted = [REGISTRY[name] for name in group.observables if REGISTRY[name].scale is not None]
    out = np.empty((len(wanted), group.points))
    for points, stack, rates in _parts(group):
        values = ExactStack(stack, rates, (0.0, 0.0)).values(wanted, np.zeros(1), group.fraction)
        out[:, points] = [values[entry.name] for entry in wanted]
    return out, np.where(np.isnan(out).any(axis=0), Status.FAILED, Status.OK).astype(np.uint8)


def starts(group: Group) -> Array:
    """Return Q (P, N, H) at the start of ``sqrt(e2) W1, sqrt(e1) W2``."""
    found = []
    for _, stack, (e1, e2) in (parts := list(_parts(group))):
        w1, w2 = np.swapaxes(stack.w1, -1, -2)[stack.net_of], stack.w2[stack.net_of]
        found.append(np.concatenate([math.sqrt(e2) * w1, math.sqrt(e1) * w2], axis=-2))
    order = np.concatenate([part.points for part in parts])
    return np.asarray(np.concatenate(found)[np.argsort(order)])


def _parts(group: Group) -> Iterator[_Part]:
    """Yield the points of a group by their learning rates."""
    if group.is_product and (stack := _product(group)) is not None:
        yield _Part(np.arange(group.points), stack, Rates.of_ratio(group.rate_ratio))
        return
    together: dict[Rates, list[int]] = {}
    networks = list(one_by_one.pairs(group))
    for point, (_, _, ratio) in enumerate(networks):
        together.setdefault(Rates.of_ratio(ratio), []).append(point)
    for rates, points in together.items():
        yield _Part(np.array(points), _listed([networks[point][:2] for point in points]), rates)


def _product(group: Group) -> Pairs | None:
    """Return the balanced networks of seeds and lam, or None if inputs of tasks span other dimensions."""
    build, law, shape = TASK_KINDS[group.task_kind].build, group.problem.task, group.architecture
    tasks = [build(law, shape, int(seed)) for seed in group.seeds]
    if len({task.span.shape[1] for task in tasks}) > 1:
        return None
    rates, kappa = Rates.of_ratio(group.rate_ratio), group.settings.kappa
    nets = draw_networks(shape, group.lams, group.seeds, group.problem, tasks, kappa, rates)
    return pairs(Tasks(tasks, dims=["seed"]), nets)


def _listed(networks: list[tuple[Task, Network]]) -> Pairs:
    """Return the stack of some networks, each with its task."""
    tasks, nets = zip(*networks, strict=True)
    return pairs(Tasks(tasks, dims=["network"]), Networks.of(nets))


def _rows(values: Array) -> Array:
    """Return an observable (K, T, ...) as numbers (rows, K, T)."""
    return np.moveaxis(values.reshape(*values.shape[:2], -1), -1, 0)
