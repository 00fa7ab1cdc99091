"""A stack of networks in the plain flow, and the way back from outputs of kernels to observables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastlin.kernels import Output
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.networks.stacks import Pairs, located
from fastlin.observables.registry import Observable
from fastlin.solutions.stack_values import Values
from fastlin.tasks.adapted import residual_task
from fastlin.weights.canonical import Canonical, Substitution
from fastlin.weights.rates import Rates


class Group(NamedTuple):
    """Networks whose substitution has equal sizes, and of which all complete, or none (see `Canonical`)."""

    points: Integers  # (K,)
    canonical: Canonical  # (K, ...)
    scale1: Array  # (K,) factors of both layers
    scale2: Array


class CanonicalStack:
    """The networks of a stack in the plain flow.

    Attributes
    ----------
    groups : list of Group
        All networks.
    variances : ndarray, (P,)
        The eigenvalue c of the inputs of each network.
    unit : ndarray, (P,)
        Factor of squared weights of U against those of W, with rates in units of their geometric mean.

    Raises
    ------
    InputError
        If a task has general inputs. The message names the element of the stack.
    """

    def __init__(self, stack: Pairs, rates: Rates) -> None:
        self.stack, self.rates = stack, rates
        self._substitutions = []
        for number, task in enumerate(stack.tasks):
            with located(stack.at(int(np.argmax(stack.task_of == number)))):
                self._substitutions.append(Substitution.of(task, rates))
        self.variances = np.array([residual_task(task).variance for task in stack.tasks])[stack.task_of]
        self.unit = rates.unit * self.variances
        self.groups = list(self._grouped())

    def _grouped(self) -> Iterator[Group]:
        """Yield the networks by the number of dimensions of their inputs, and by whether they complete."""
        ranks = np.array([each.span.shape[1] for each in self._substitutions])[self.stack.task_of]
        for rank in np.unique(ranks):
            whole = self._group(np.flatnonzero(ranks == rank))
            for completes in (False, True):
                chosen = np.flatnonzero(whole.canonical.completes == completes)
                if chosen.size == whole.points.size:
                    yield whole
                elif chosen.size:
                    yield self._group(whole.points[chosen])

    def _group(self, points: Integers) -> Group:
        needed, index = np.unique(self.stack.task_of[points], return_inverse=True)
        substitution = Substitution.of_many([self._substitutions[number] for number in needed], index)
        nets = self.stack.net_of[points]
        canonical = substitution.apply(self.stack.w1[nets], self.stack.w2[nets])
        return Group(points, canonical, substitution.scale1, substitution.scale2)

    @cached_property
    def freezes(self) -> bool:
        """Whether W1 of any network has a part off the span of the inputs."""
        return any(group.canonical.has_frozen_part.any() for group in self.groups)

    def by_kernel(self, observables: Sequence[Observable]) -> list[Observable]:
        """Return the observables that kernels compute from U. Norms of W1 need the part that is frozen."""
        return [
            entry
            for entry in observables
            if has_kernel(entry, self.stack) and not (self.freezes and entry.off_span)
        ]

    @property
    def units(self) -> Units:
        """The units of U."""
        scales = np.empty((2, self.stack.size))
        for group in self.groups:
            scales[:, group.points] = group.scale1, group.scale2
        return Units(self.rates.unit, self.unit, scales[0], scales[1])


class Units(NamedTuple):
    """Units of the numbers of networks (P,) that a kernel follows, in those of the weights.

    Attributes
    ----------
    target : float
        Factor of the target and of the NTK.
    squares : ndarray, (P,)
        Factor of squares of weights.
    scale1, scale2 : ndarray, (P,)
        Factors of W1 and of W2.
    """

    target: float
    squares: Array
    scale1: Array
    scale2: Array

    def values(
        self, observables: Sequence[Observable], outputs: tuple[int, ...], out: Array, floor: Array
    ) -> Values:
        """Return observables (P, T, ...) of W from kernel outputs (P, T, R), which are overwritten.

        The outputs are those of tasks whose least loss is 0. It is added from floor (P,).
        """
        factors = {
            Output.LOSS: 1.0 / (self.target * self.squares),
            Output.NTK_NORM: np.full_like(self.squares, 1.0 / self.target),
            Output.W1_NORM: 1.0 / self.scale1,
            Output.W2_NORM: 1.0 / self.scale2,
            Output.BALANCE_DRIFT: 1.0 / self.squares,
        }
        for column, output in enumerate(outputs):
            if output in factors:
                out[..., column] *= factors[Output(output)][:, None]
            if output == Output.LOSS:
                out[..., column] += floor[:, None]
        values = {}
        for entry in observables:
            columns = out[..., [outputs.index(output) for output in entry.outputs]]
            values[entry.name] = columns.reshape(*out.shape[:2], *entry.stored_dims.values())
        return values


def has_kernel(entry: Observable, stack: Pairs) -> bool:
    """Tell whether kernels compute an observable. The effective rank is that of the map, with its offset."""
    if Output.EFFECTIVE_RANK in entry.outputs and any(np.any(task.offset) for task in stack.tasks):
        return False
    return bool(entry.outputs)


def floors(stack: Pairs) -> Array:
    """Return the least loss of the task of each network, (P,)."""
    return np.array([task.loss_floor for task in stack.tasks])[stack.task_of]


def outputs_of(observables: Sequence[Observable]) -> tuple[int, ...]:
    """Return the kernel outputs of some observables, in one order, so that few kernels are compiled."""
    return tuple(sorted({int(output) for entry in observables for output in entry.outputs}))
