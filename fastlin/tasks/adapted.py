"""Tasks of networks with the function ``offset + gain W2 W1``, and the task that is left to W2 W1."""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.tasks.task import Task


def adapted(task: Task, offset: Array, gain: float, learning_rates: tuple[float, float]) -> Task:
    """Return a task whose networks have the function ``offset + gain W2 W1`` and learn at some rates."""
    other = copy.copy(task)
    other.offset, other.gain, other.learning_rates = offset, gain, learning_rates
    return other


def residual_task(task: Task) -> Task:
    """Return the task that is left to W2 W1: inputs ``gain X``, targets ``Y - offset X``.

    W1 and W2 learn it in the same time, with the same loss and the same NTK. It is the task itself where
    offset is 0 and gain is 1.
    """
    return task if task.gain == 1.0 and not np.any(task.offset) else ResidualTask(task)


class ResidualTask(Task):
    """A task that is left to W2 W1. It forms X and Y on access. See `residual_task`."""

    def __init__(self, task: Task) -> None:
        self._task, self._offset = task, np.broadcast_to(task.offset, task.sigma_yx.shape)
        self.sigma_yx = task.gain * (task.sigma_yx - self._offset @ task.sigma_xx)
        self.sigma_xx = task.gain**2 * task.sigma_xx

    @cached_property
    def sigma_yy_trace(self) -> float:  # type: ignore[override]
        """tr(Y Y^T) / P."""
        return float(np.sum(self.moments.target**2)) + 2.0 * self.loss_floor

    @property
    def _source(self) -> str:
        return self._task._source

    @property
    def n_samples(self) -> int:
        """Number of samples P."""
        return self._task.n_samples

    @property
    def has_samples(self) -> bool:
        """Whether X and Y are known."""
        return self._task.has_samples

    @property
    def loss_floor(self) -> float:
        """The least loss of a linear map of X."""
        return self._task.loss_floor

    @property
    def X(self) -> Array:  # type: ignore[override]
        """Inputs (N_i, P): those of the task times its gain."""
        return self._task.gain * self._task.X

    @property
    def Y(self) -> Array:  # type: ignore[override]
        """Targets (N_o, P): those of the task less the outputs of its offset."""
        return self._task.Y - self._offset @ self._task.X
