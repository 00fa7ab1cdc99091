"""Gradient descent of a stack of networks, in lanes where kernels have the inputs and the observables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fastlin.kernels import Status, dispatch, empty_batch
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.networks.network import Network
from fastlin.networks.stacks import Pairs, located
from fastlin.observables.registry import Observable
from fastlin.observables.trajectory import Trajectory
from fastlin.solutions.canonical_stack import floors
from fastlin.solutions.dynamics import trajectory
from fastlin.solutions.kernel_problems import kernel_problems
from fastlin.solutions.stack_values import Values, evaluate, of_start, parts
from fastlin.tasks.task import Task
from fastlin.weights.rates import Rates

# Takes a task and a network, and returns W1 (T, H, N_i) and W2 (T, N_o, H) after the recorded steps.
Run = Callable[[Task, Network], tuple[Array, Array]]


class DescentStack:
    """Runs of gradient descent of the networks of a stack.

    Parameters
    ----------
    stack : Pairs
        The tasks and networks.
    rates : Rates
        Learning rates of the layers.
    decay : tuple of float, (2,)
        Weight decay of both layers.
    noisy : bool
        Whether steps have noise, which needs samples.
    run : callable, optional
        For `values`. Takes a task and a network, and returns the weights after the recorded steps. It raises
        an `InputError` where the run diverges.

    Attributes
    ----------
    diverged : ndarray of bool, (P,)
        Whether a run in lanes has diverged.
    """

    def __init__(
        self,
        stack: Pairs,
        rates: Rates,
        decay: tuple[float, float],
        noisy: bool = False,
        run: Run | None = None,
    ) -> None:
        self._stack, self._rates, self._decay, self._noisy, self._run = stack, rates, decay, noisy, run
        self.diverged = np.zeros(stack.size, dtype=bool)

    def values(self, observables: Sequence[Observable], steps: Integers) -> Values:
        """Return observables (P, T, ...) after ascending steps from 0 on, and those without time (P,)."""
        over_time = [entry for entry in observables if entry.over_time]
        of_kernels = None if self._noisy else self.in_lanes(over_time, steps)
        for point in np.flatnonzero(self.diverged):
            self._weights(int(point))  # which has the error of a single network
        values = of_kernels or evaluate(over_time, self._trajectories(over_time, steps), self._stack.size)
        return values | of_start(observables, self._stack, self._rates.relative)

    def in_lanes(self, observables: list[Observable], steps: Integers) -> Values | None:
        """Return observables over time in lanes, or None where kernels do not have all of them.

        They are NaN from the first recorded step at which a run has diverged.
        """
        (e1, e2), decay = self._rates.relative, self._decay
        problems = kernel_problems(self._stack, Rates(e1, e2), observables, any(decay))
        if problems is None:
            return None
        out = np.empty((self._stack.size, steps.size, len(problems.outputs)))
        for points, sizes, records in problems.parts:
            batch = empty_batch(records, np.zeros(1), steps, len(problems.outputs))
            dispatch.gradient_descent(
                sizes,
                problems.outputs,
                batch,
                self._rates.unit,
                start=problems.start,
                decay=(e1 * decay[0], e2 * decay[1]),
            )
            self.diverged[points] = batch.status[: points.size] == Status.DIVERGED
            out[points] = np.moveaxis(batch.outputs[:, : points.size], 0, -1)
        return problems.units.values(observables, problems.outputs, out, floors(self._stack))

    def _weights(self, point: int) -> tuple[Array, Array]:
        assert self._run is not None
        with located(self._stack.at(point)):
            return self._run(*self._stack.pair(point))

    def _trajectories(
        self, observables: list[Observable], steps: Integers
    ) -> Iterator[tuple[Integers, Trajectory]]:
        stack = self._stack
        arrays, n_h = stack.arrays, stack.w1.shape[-2]
        for points in parts(np.arange(stack.size), observables, stack, steps.size):
            w1, w2 = (
                np.stack(each) for each in zip(*(self._weights(int(point)) for point in points), strict=True)
            )
            yield points, trajectory(w1, w2, arrays.take(points), n_h, self._rates)
