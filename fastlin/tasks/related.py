"""Tasks that are made of another one: its inputs, with targets at an angle to its own."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.random import MAX_SEED, Stream, standard_normals
from fastlin.kernels.sizes import Sizes
from fastlin.tasks.task import SigmaTask, Task
from fastlin.validation import check_float, check_instance, check_int


class RelatedTask(Task):
    """A task with the samples of the inputs of another. It forms X and Y on first use.

    The part of Y that no linear map of X reaches is that of the other task, times a sign. So the loss floor
    and the trace of Sigma_yy stay.
    """

    def __init__(self, origin: Task, sigma_yx: Array, sign: float) -> None:
        self._origin, self._sign = origin, sign
        self.sigma_yx, self.sigma_xx = sigma_yx, origin.sigma_xx
        self.sigma_yy_trace = origin.sigma_yy_trace
        self.whitening, self.labels = origin.whitening, origin.labels
        self._means = origin.x_mean, np.zeros((origin.n_o, 1))

    @property
    def n_samples(self) -> int:
        """Number of samples P."""
        return self._origin.n_samples

    @property
    def loss_floor(self) -> float:
        """The least loss of a linear map of X, that of the other task."""
        return self._origin.loss_floor

    @property
    def X(self) -> Array:  # type: ignore[override]
        """Inputs (N_i, P)."""
        return self._origin.X

    @cached_property
    def Y(self) -> Array:  # type: ignore[override]
        """Targets (N_o, P)."""
        turned = self.sigma_yx - self._sign * self._origin.sigma_yx
        if not self.whitened:
            turned = turned @ self.moments.whitening @ self.moments.whitening
        return np.asarray(self._sign * self._origin.Y + turned @ self.X)


def reversed(task: Task) -> Task:
    """Return the task with reversed targets, -Y: reversal learning.

    Parameters
    ----------
    task : Task
        Any task.

    Returns
    -------
    Task
        Of the same inputs and loss floor, with ``-Sigma_yx``. It has samples if `task` does.

    Raises
    ------
    InputError
        If `task` is none, or one of `lora`.

    See Also
    --------
    similar : targets at any angle.

    References
    ----------
    L. Braun, C. Domine, J. Fitzgerald, A. Saxe, "Exact learning dynamics of deep linear networks with prior
    knowledge", NeurIPS 2022.

    Examples
    --------
    >>> task = fl.random_regression(fl.Architecture(4, 2, 3), n_samples=10)
    >>> back = fl.reversed(task)
    >>> bool((back.sigma_yx == -task.sigma_yx).all()), bool((back.Y == -task.Y).all())
    (True, True)
    """
    _check(task)
    return _related(task, -task.sigma_yx, -1.0)


def similar(task: Task, similarity: float, seed: int = 0) -> Task:
    """Return a task of the same inputs, with targets at a random angle of given cosine to those of `task`.

    Parameters
    ----------
    task : Task
        Any task whose targets depend on the inputs.
    similarity : float
        Cosine of the angle, from -1 to 1: 1 is the task itself, 0 an orthogonal one, and -1 the reversal.
    seed : int
        The direction is a function of (seed, N_i, N_o) alone, apart from its part along the task.

    Returns
    -------
    Task
        With the same loss floor and trace of Sigma_yy. It has samples if `task` does.

    Raises
    ------
    InputError
        If a number is out of range, the targets do not depend on the inputs, or there is no other direction
        (one output and one input), or the task is one of `lora`.

    Notes
    -----
    For whitened inputs ``S_B = similarity S_A + sqrt(1 - similarity^2) |S_A| R``. R is a standard normal
    matrix without its part along S_A, divided by its norm. For other inputs this holds for ``S =
    Sigma_yx Sigma_xx^(+1/2)``, so that the cosine is that of the best predictions ``Sigma_yx Sigma_xx^+ X``
    over the samples.

    Examples
    --------
    >>> task = fl.random_regression(fl.Architecture(4, 2, 3), n_samples=10)
    >>> other = fl.similar(task, 0.3, seed=1)
    >>> round(float(np.sum(task.sigma_yx * other.sigma_yx) / np.sum(task.sigma_yx**2)), 12)
    0.3
    """
    _check(task)
    cosine = check_similarity("similarity", similarity)
    direction = _orthogonal(_explained(task), task, check_int("seed", seed, 0, MAX_SEED), cosine)
    sine = math.sqrt((1.0 - cosine) * (1.0 + cosine))
    return _related(task, cosine * task.sigma_yx + sine * direction, math.copysign(1.0, cosine))


def check_similarity(name: str, value: Any) -> float:
    """Return the cosine of an angle between targets, checked."""
    return check_float(name, value, -1.0, 1.0)


def _check(task: Task) -> None:
    """Raise unless it is a task with a network function of weights alone."""
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    if task.learning_rates is not None:
        raise InputError("the task is one of fastlin.lora; turn the task that fastlin.lora is given")


def _explained(task: Task) -> Array:
    """Return ``Sigma_yx Sigma_xx^(+1/2)`` (N_o, N_i)."""
    return task.sigma_yx if task.whitened else task.sigma_yx @ task.moments.whitening


def _orthogonal(target: Array, task: Task, seed: int, cosine: float) -> Array:
    """Return a random Sigma_yx that is orthogonal to that of a task and as large, in whitened inputs."""
    size = float(np.linalg.norm(target))
    if abs(cosine) == 1.0:
        return np.zeros_like(target)
    if size == 0.0:
        raise InputError("the targets of the task do not depend on its inputs, so they have no direction")
    if task.n_o * task.span.shape[1] == 1:
        raise InputError(
            f"similarity is {cosine:g}, and a task of one input and one output has one direction; "
            "allowed: -1, 1"
        )
    numbers = standard_normals(Stream.SIMILAR_TASK, seed, Sizes(task.n_i, 0, task.n_o), target.size)
    axis = target / size
    other = numbers.reshape(target.shape) @ task.span @ task.span.T
    for _ in range(2):  # the second time removes rounding errors of the first
        other -= np.sum(other * axis) * axis
    other *= size / np.linalg.norm(other)
    # Sigma_xx^(1/2) is root axes^T.
    return other if task.whitened else other @ (task.moments.root @ task.moments.axes.T)


def _related(task: Task, sigma_yx: Array, sign: float) -> Task:
    if task.has_samples:
        return RelatedTask(task, sigma_yx, sign)
    return SigmaTask(sigma_yx, task.sigma_xx, task.loss_floor)
