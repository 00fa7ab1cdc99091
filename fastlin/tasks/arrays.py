"""The statistics and data of many tasks as arrays with leading dimensions, as observables take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.tasks.task import Task


class LossForm(NamedTuple):
    """The loss as ``floor + |target - W2 W1 root|^2 / (2 divisor)``, without cancellation."""

    target: Array  # (..., N_o, K)
    root: Array | None  # (..., N_i, K), or None for the identity
    floor: float | Array  # (...)
    divisor: float | Array  # (...)


def loss_form(task: Task) -> LossForm:
    """Return the form of the loss of one task: over samples where it has them, else in whitened inputs."""
    if task.whitened:
        return LossForm(task.sigma_yx, None, task.loss_floor, 1.0)
    if task.has_samples:
        return LossForm(task.Y, task.X, 0.0, float(task.n_samples))
    return LossForm(task.moments.target, task.moments.root, task.loss_floor, 1.0)


class _Stacked:
    """Arrays of the different tasks of a stack, the tasks first. Each is formed on first use."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks

    def stack(self, of: Callable[[Task], Array]) -> Array:
        return np.stack([of(task) for task in self.tasks])

    @cached_property
    def sigma_yx(self) -> Array:
        return self.stack(lambda task: task.sigma_yx)

    @cached_property
    def sigma_xx(self) -> Array:
        return self.stack(lambda task: task.sigma_xx)

    @cached_property
    def offset(self) -> Array:
        return self.stack(lambda task: np.broadcast_to(task.offset, task.sigma_yx.shape))

    @cached_property
    def gain(self) -> Array:
        return np.array([task.gain for task in self.tasks])

    @cached_property
    def x(self) -> Array:
        return self._data(lambda task: task.X)

    @cached_property
    def y(self) -> Array:
        return self._data(lambda task: task.Y)

    def _data(self, of: Callable[[Task], Array]) -> Array:
        counts = sorted({task.n_samples for task in self.tasks})
        if len(counts) > 1:
            raise InputError(
                f"the tasks have from {counts[0]} to {counts[-1]} samples; observables over samples need "
                "tasks with the same number of them"
            )
        return self.stack(of)

    @cached_property
    def loss(self) -> LossForm:
        """The forms of the loss. Columns of zeros bring them to one number of columns."""
        forms = [loss_form(task) for task in self.tasks]
        floor, divisor = (np.array([form[k] for form in forms]) for k in (2, 3))
        if all(form.root is None for form in forms):
            return LossForm(np.stack([form.target for form in forms]), None, floor, divisor)
        columns = max(form.target.shape[1] for form in forms)
        roots = [np.eye(form.target.shape[1]) if form.root is None else form.root for form in forms]
        target = np.stack([_widened(form.target, columns) for form in forms])
        return LossForm(target, np.stack([_widened(root, columns) for root in roots]), floor, divisor)


def _widened(matrix: Array, columns: int) -> Array:
    return np.pad(matrix, ((0, 0), (0, columns - matrix.shape[1])))


class TaskArrays:
    """The tasks of many networks: arrays (..., rows, columns) with the leading dimensions of the networks.

    Observables read it in place of a `Task`. Where all networks have one task, there are no leading
    dimensions, and the arrays broadcast.

    Parameters
    ----------
    tasks : sequence of Task
        The different tasks, of the same numbers of inputs and outputs.
    index : ndarray of int, (...)
        The task of each network.
    """

    def __init__(self, tasks: Sequence[Task], index: Integers) -> None:
        self._stacked, self._index = _Stacked(tasks), index

    def take(self, points: Integers) -> TaskArrays:
        """Return the tasks of some networks. The arrays of the different tasks are formed once for all."""
        part = TaskArrays.__new__(TaskArrays)
        part._stacked, part._index = self._stacked, self._index[points]
        return part

    def _at(self, values: Array) -> Array:
        return values[0] if len(values) == 1 else values[self._index]

    def each(self, of: Callable[[Task], Array]) -> Array:
        """Return a function of the task of each network, (..., *shape of its values)."""
        return self._at(self._stacked.stack(of))

    @property
    def n_i(self) -> int:
        """Number of inputs."""
        return self._stacked.tasks[0].n_i

    @property
    def n_o(self) -> int:
        """Number of outputs."""
        return self._stacked.tasks[0].n_o

    @property
    def n_samples(self) -> int:
        """Number of samples of each task."""
        return int(self._stacked.x.shape[-1])

    @property
    def has_samples(self) -> bool:
        """Whether X and Y of all tasks are known."""
        return all(task.has_samples for task in self._stacked.tasks)

    @property
    def equal_samples(self) -> bool:
        """Whether all tasks have the same number of samples, if they have samples."""
        return len({task.n_samples for task in self._stacked.tasks}) == 1

    @property
    def sigma_yx(self) -> Array:
        """Y X^T / P (..., N_o, N_i)."""
        return self._at(self._stacked.sigma_yx)

    @property
    def sigma_xx(self) -> Array:
        """X X^T / P (..., N_i, N_i)."""
        return self._at(self._stacked.sigma_xx)

    @property
    def offset(self) -> Array:
        """Map (..., N_o, N_i) that the function of a network has beside gain W2 W1."""
        return self._at(self._stacked.offset)

    @property
    def learning_rates(self) -> tuple[float, float] | None:
        """Learning rates that belong to the tasks, which share them."""
        return self._stacked.tasks[0].learning_rates

    @property
    def conditions(self) -> tuple[str | int, ...]:
        """The conditions of the samples, which have to be the same in all tasks."""
        first, *others = (task.conditions for task in self._stacked.tasks)
        if any(each != first for each in others):
            raise InputError("the tasks have other conditions; observables over them need the same labels")
        return first

    @property
    def condition_means(self) -> Array:
        """Means of the inputs over the samples of each condition, (..., N_i, conditions)."""
        return self.each(lambda task: task.condition_means)

    @property
    def gain(self) -> Array:
        """Factor (...) of W2 W1 in the function of a network."""
        return self._at(self._stacked.gain)

    @property
    def X(self) -> Array:
        """Inputs (..., N_i, P)."""
        return self._at(self._stacked.x)

    @property
    def Y(self) -> Array:
        """Targets (..., N_o, P)."""
        return self._at(self._stacked.y)

    @property
    def loss(self) -> LossForm:
        """The form of the loss."""
        target, root, floor, divisor = self._stacked.loss
        at = self._at
        return LossForm(
            at(target), None if root is None else at(root), at(np.asarray(floor)), at(np.asarray(divisor))
        )
