"""Observables of a stack of networks, evaluated some networks at a time, and the Dataset of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

import fastlin
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.networks.stacks import Pairs
from fastlin.observables.registry import Observable, numbers_of_start, select
from fastlin.observables.trajectory import Trajectory
from fastlin.solutions.dynamics import coordinates, of_function, own_numbers
from fastlin.tasks.task import Task
from fastlin.weights.rates import Rates

NUMBERS_AT_ONCE = 250_000  # of QQ^T and observables of a part of a stack, so that they stay in the cache

Values = dict[str, Any]  # arrays (P, T, ...) by observable, or (P,) of those without time


def shared_rates(stack: Pairs, of: Callable[[Task], Rates]) -> Rates:
    """Return the learning rates of all tasks of a stack, which have to be the same."""
    rates = [of(task) for task in stack.tasks]
    for number, each in enumerate(rates):
        if each != rates[0]:
            where = stack.at(int(np.argmax(stack.task_of == number)))
            raise InputError(
                f"the task at {where} has learning rates {tuple(each)}, and the first has {tuple(rates[0])}; "
                "needed is one pair of rates for a stack"
            )
    return rates[0]


def selected(names: Sequence[str] | None, stack: Pairs) -> list[Observable]:
    """Return the named observables, or the default ones that all tasks of a stack have."""
    arrays = stack.arrays
    wanted = select(names, arrays)
    for entry in wanted:
        if entry.name in stack.dims:
            raise InputError(f"{entry.name!r} is an observable and a dimension of the stack; rename that")
    if names is None and arrays.has_samples and not arrays.equal_samples:
        return [entry for entry in wanted if not entry.needs_samples]
    return wanted


def parts(
    points: Integers, observables: Sequence[Observable], stack: Pairs, times: int
) -> Iterator[Integers]:
    """Yield some networks at a time, as many as fit the cache with their observables."""
    arrays = stack.arrays
    numbers = 4 * (arrays.n_i + arrays.n_o) ** 2 + sum(own_numbers(observables, arrays).values())
    step = max(1, NUMBERS_AT_ONCE // (max(1, times) * numbers))
    for first, last in pairwise([*range(0, points.size, step), points.size]):
        yield points[first:last]


def evaluate(
    observables: Sequence[Observable],
    groups: Iterator[tuple[Integers, Trajectory]],
    networks: int,
) -> Values:
    """Return the observables over time of trajectories, each of some networks of a stack.

    They are NaN for networks without a trajectory.
    """
    values: Values = {}
    order: list[Integers] = []
    lazy: dict[str, list[Any]] = {entry.name: [] for entry in observables if entry.lazy}
    for points, path in groups:
        order.append(points)
        for entry in observables:
            part = entry.evaluate(path)
            if entry.name in lazy:
                lazy[entry.name].append(part)
                continue
            if entry.name not in values:
                values[entry.name] = np.full((networks, *part.shape[1:]), np.nan)
            values[entry.name][points] = part
    for name, arrays in lazy.items():
        values[name] = _joined(arrays, np.concatenate(order))
    return values


def _joined(arrays: list[Any], points: Integers) -> Any:
    """Return lazy arrays (K, ...) of parts of a stack as one (P, ...), in the order of the stack."""
    import dask.array as da

    return da.concatenate(arrays)[np.argsort(points)]


def of_start(observables: Sequence[Observable], stack: Pairs, rates: tuple[float, float]) -> Values:
    """Return the numbers of the starts (P,)."""
    if not any(entry.of_fit for entry in observables):
        return {}
    (e1, e2), n_i, n_h = rates, stack.w1.shape[-1], stack.w1.shape[-2]
    q = np.concatenate([math.sqrt(e2) * np.swapaxes(stack.w1, -1, -2), math.sqrt(e1) * stack.w2], axis=-2)
    return {
        name: numbers[stack.net_of] for name, numbers in numbers_of_start(observables, q, n_i, n_h).items()
    }


def dataset(
    stack: Pairs,
    values: Values,
    times: Array,
    observables: Sequence[Observable],
    rates: tuple[float, float],
    attributes: dict[str, Any],
) -> xr.Dataset:
    """Return the observables of a stack, with its dimensions first, and its sizes and more attributes.

    Numbers (P,) among the attributes become coordinates unless all networks share them.
    """
    variables, adapted = {}, stack.arrays.learning_rates is not None
    for entry in observables:
        dims = (*stack.dims, *(("time",) if entry.over_time else ()), *entry.dims)
        shaped = values[entry.name].reshape(*stack.shape, *values[entry.name].shape[1:])
        variables[entry.name] = (dims, shaped, entry.attributes_at(rates, adapted))
    coords: dict[str, Any] = {**stack.coords, **coordinates(times, observables, stack.arrays)}
    shared = {
        "n_i": stack.w1.shape[-1],
        "n_h": stack.w1.shape[-2],
        "n_o": stack.w2.shape[-2],
        "lam": stack.lam[stack.net_of],
        "kappa": stack.kappa[stack.net_of],
        "fastlin_version": fastlin.__version__,
        **of_function(stack.arrays),
        **attributes,
    }
    for name, value in list(shared.items()):
        if not isinstance(value, np.ndarray):
            continue
        del shared[name]
        if np.array_equal(value, np.full_like(value, value[0]), equal_nan=True):
            shared[name] = value[0].item()
        elif name not in stack.dims:
            coords[name] = (stack.dims, value.reshape(stack.shape))
    return xr.Dataset(variables, coords, shared)
