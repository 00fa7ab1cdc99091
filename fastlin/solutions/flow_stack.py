"""The integrated flow of a stack of networks, in lanes where kernels have the inputs and the observables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels import Status, dispatch, empty_batch
from fastlin.kernels.batch import FlowControl
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.networks.stacks import Pairs, located
from fastlin.observables.registry import REGISTRY, Observable
from fastlin.observables.trajectory import Trajectory
from fastlin.solutions.canonical_stack import floors
from fastlin.solutions.dynamics import trajectory
from fastlin.solutions.kernel_problems import KernelProblems, Part, kernel_problems
from fastlin.solutions.stack_values import Values, evaluate, of_start, parts
from fastlin.weights.canonical import substitute
from fastlin.weights.flow_path import FlowSettings, Path, ends_at_saddle, followed


class FlowSolution(NamedTuple):
    """Observables, steps and drift of the networks of a stack."""

    values: Values
    steps: Integers  # (P,)
    drift: Array  # (P,) largest change of the balance
    saddle: bool  # whether t = inf is among the times, and a flow ends at a saddle


class FlowStack:
    """The flow of the networks of a stack.

    Parameters
    ----------
    stack : Pairs
        The tasks and networks.
    settings : FlowSettings
        Rates, decay, tolerance and most steps.
    strict : bool
        Whether `solve` raises an `InputError`, which names the element of the stack, where a network needs
        more steps than are allowed. Otherwise its values are NaN, or are so from a time on.

    Attributes
    ----------
    too_stiff : ndarray of bool, (P,)
        Whether a network needs more steps.
    """

    def __init__(self, stack: Pairs, settings: FlowSettings, strict: bool = True) -> None:
        self._stack, self._settings, self._strict = stack, settings, strict
        self.too_stiff = np.zeros(stack.size, dtype=bool)
        self._steps = np.zeros(stack.size, dtype=np.int64)
        self._drift = np.zeros(stack.size)
        self._saddle = False

    def solve(self, observables: Sequence[Observable], times: Array) -> FlowSolution:
        """Return observables (P, T, ...), and those without time (P,)."""
        over_time = [entry for entry in observables if entry.over_time]
        of_kernels = self._kernel_values(over_time, times) if np.isfinite(times).all() else None
        values = of_kernels or evaluate(over_time, self._trajectories(over_time, times), self._stack.size)
        for entry in over_time:  # of a stack all of whose networks are too stiff
            shape = self._stack.size, *entry.stored_shape(times.size)
            values.setdefault(entry.name, np.full(shape, np.nan))
        values |= of_start(observables, self._stack, self._settings.rates.relative)
        return FlowSolution(values, self._steps, self._drift, self._saddle)

    def _kernel_values(self, observables: list[Observable], times: Array) -> Values | None:
        """Return the values in lanes, or None where kernels do not have all of them."""
        rates, decay, _, _ = self._settings
        drift = REGISTRY["balance_drift"]
        problems = kernel_problems(self._stack, rates, [*observables, drift], any(decay))
        if problems is None or not observables:
            return None
        ascending, places = np.unique(times, return_inverse=True)
        out = np.empty((self._stack.size, ascending.size, len(problems.outputs)))
        for part in problems.parts:
            out[part.points] = self._in_lanes(part, problems, ascending)
        floor = floors(self._stack)
        values = problems.units.values([*observables, drift], problems.outputs, out, floor)
        self._drift[:] = values[drift.name].max(axis=1)
        return {entry.name: values[entry.name][:, places] for entry in observables}

    def _in_lanes(self, part: Part, problems: KernelProblems, times: Array) -> Array:
        """Return kernel outputs (K, T, R) of some networks."""
        rates, decay, tolerance, max_steps = self._settings
        batch = empty_batch(part.records, np.zeros(1), times, len(problems.outputs))
        self._steps[part.points] = dispatch.flow(
            part.sizes,
            problems.outputs,
            batch,
            FlowControl(tolerance, max_steps),
            start=problems.start,
            decay=(rates.first * decay[0], rates.second * decay[1]),
        )
        for place in np.flatnonzero(batch.status[: part.points.size] == Status.TOO_STIFF):
            point = int(part.points[place])
            self.too_stiff[point] = True
            if not self._strict:
                continue
            self._followed(point, times)  # which has the error of a single network
            raise InputError(f"at {self._stack.at(point)}: the flow needs more than {max_steps} steps")
        return np.moveaxis(batch.outputs[:, : part.points.size], 0, -1)

    def _followed(self, point: int, times: Array) -> tuple[Path, Integers] | None:
        """Return the weights of one network, and the places of the times, or None if it is too stiff."""
        task, net = self._stack.pair(point)
        try:
            with located(self._stack.at(point)):
                path, at = followed(task, net, times, self._settings)
        except InputError:
            if self._strict:
                raise
            self.too_stiff[point] = True
            return None
        if np.isinf(times).any():
            self._saddle |= ends_at_saddle(substitute(task, net, self._settings.rates))
        self._steps[point] = path.steps
        return path, at

    def _trajectories(
        self, observables: list[Observable], times: Array
    ) -> Iterator[tuple[Integers, Trajectory]]:
        stack = self._stack
        arrays, n_h = stack.arrays, stack.w1.shape[-2]
        for points in parts(np.arange(stack.size), observables, stack, times.size):
            found = {int(point): self._followed(int(point), times) for point in points}
            reached = [each for each in found.values() if each is not None]
            if not reached:
                continue
            points = np.array([point for point, each in found.items() if each is not None])
            w1, w2 = np.stack([path.w1 for path, _ in reached]), np.stack([path.w2 for path, _ in reached])
            whole = trajectory(w1, w2, arrays.take(points), n_h, self._settings.rates)
            self._drift[points] = whole.balance_drift.max(axis=-1)
            at = reached[0][1]
            yield points, replace(whole, qqt=whole.qqt[:, at], balance_drift=whole.balance_drift[:, at])
