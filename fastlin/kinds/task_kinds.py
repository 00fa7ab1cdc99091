"""Kinds of tasks that are drawn: laws of their statistics, and the data that belong to a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from fastlin.architecture import Architecture
from fastlin.dimensions import Axis, leading
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.draws import RegressionTask, TaskLaw
from fastlin.kernels.random import MAX_SEED, MAX_SIZE, Stream, generator, shared
from fastlin.kernels.task_laws import AutoencoderTask, HierarchyTask, SpectrumTask, StudentTeacherTask
from fastlin.kinds.own_data import DataTask
from fastlin.kinds.own_parameters import DATA, resolve_data
from fastlin.kinds.parameters import Parameter, Resolve
from fastlin.networks.stacks import Tasks
from fastlin.tasks.structured import (
    autoencoder_obstacle,
    autoencoder_task,
    check_levels,
    check_power,
    check_spectrum,
    hierarchy_task,
    spectrum_of,
    spectrum_task,
    spectrum_task_obstacle,
)
from fastlin.tasks.task import MAX_SAMPLES, MAX_SCALE, Task, check_scale
from fastlin.validation import check_float, check_instance, check_int


class RandomRegression(Task):
    """The random regression task of B.2.1. It holds its draws, and forms X and Y on first use.

    See `random_regression`.
    """

    def __init__(self, architecture: Architecture, law: RegressionTask, seed: int) -> None:
        self._architecture, self._law, self._seed = architecture, law, seed
        self._draws = law.normals(seed, architecture.sizes)
        self._unit = law.unit(architecture.sizes)
        self.sigma_yx = self._unit * self._draws.along
        self.sigma_xx = np.eye(architecture.n_i)
        self.sigma_yy_trace = float(np.sum(self.sigma_yx**2)) + 2.0 * self.loss_floor

    def __repr__(self) -> str:
        return (
            f"<random regression task of {self.n_i} inputs, {self.n_o} outputs, {self.n_samples} samples, "
            f"target_scale {self._law.target_scale:g}, seed {self._seed}>"
        )

    @property
    def loss_floor(self) -> float:
        """``(tr Sigma_yy - |Sigma_yx|^2) / 2``, from the targets off the span of the inputs."""
        return self._law.floor(self._seed, self._architecture.sizes)

    @property
    def n_samples(self) -> int:
        """Number of samples P."""
        return self._law.n_samples

    @cached_property
    def _data(self) -> tuple[Array, Array]:
        """X and Y: an orthonormal frame of sample space whose first N_i axes are the rows of X.

        The frame is the Q of a Gaussian matrix (signs fixed by the diagonal of R), so X / sqrt(P) has
        the law of a whitened Gaussian matrix; Q is applied as reflections, never formed.
        """
        stream = generator(Stream.INPUTS, self._seed, shared(self._architecture.sizes))
        raw = stream.standard_normal((self.n_i, self.n_samples))
        reflections, tau, _, _ = lapack.dgeqrf(raw.T)
        sign = np.where(np.diagonal(reflections) < 0, -1.0, 1.0)

        def into_samples(coordinates: Array) -> Array:
            turned, _, _ = lapack.dormqr(
                "L", "N", reflections, tau, coordinates.T, lwork=64 * coordinates.shape[0]
            )
            return np.ascontiguousarray(turned.T)

        axes = np.zeros((self.n_i, self.n_samples))
        axes[:, : self.n_i] = np.diag(sign)
        targets = np.hstack([self._draws.along * sign, self._draws.off])
        root = np.sqrt(self.n_samples)
        return root * into_samples(axes), self._unit * root * into_samples(targets)

    @property
    def X(self) -> Array:  # type: ignore[override]
        """Whitened inputs (N_i, P)."""
        return self._data[0]

    @property
    def Y(self) -> Array:  # type: ignore[override]
        """Targets (N_o, P)."""
        return self._data[1]


@overload
def random_regression(
    architecture: Architecture, n_samples: int, target_scale: float = ..., seed: int = ...
) -> Task: ...


@overload
def random_regression(
    architecture: Architecture,
    n_samples: int,
    target_scale: float | Sequence[float] | Array = ...,
    seed: int | Sequence[int] | Integers = ...,
) -> Any: ...


def random_regression(
    architecture: Architecture,
    n_samples: int,
    target_scale: float | Sequence[float] | Array = 1.0,
    seed: int | Sequence[int] | Integers = 0,
) -> Any:
    """Draw a random regression task (B.2.1 of the paper).

    Parameters
    ----------
    architecture : Architecture
        Its N_i and N_o give the sizes; all N_h share one task.
    n_samples : int
        Number of samples P >= N_i (fewer cannot be whitened).
    target_scale : float
        The paper's sigma > 0: entries of Y have standard deviation ``target_scale / sqrt(N_o)``.
    seed : int
        The draws are a function of (seed, N_i, N_o) alone.

    Returns
    -------
    Task, or Tasks
        A stack with the dimensions "target_scale" and "seed", or one of them, where these are lists, ranges
        or arrays. A task has X normal, whitened exactly (X X^T / P = I), and Y normal and independent of it.

    Raises
    ------
    InputError
        If P < N_i, target_scale <= 0, or seed is negative.

    Notes
    -----
    The sufficient statistics are drawn directly: given the whitened X, entries of Sigma_yx are i.i.d.
    normal with variance ``target_scale^2 / (N_o P)``. `X` and `Y` are formed on first use, and consistent.

    Examples
    --------
    >>> task = fl.random_regression(fl.Architecture(4, 2, 3), n_samples=10, seed=0)
    >>> task.sigma_yx.shape, task.X.shape, task.Y.shape
    ((3, 4), (4, 10), (3, 10))
    >>> bool(np.allclose(task.X @ task.X.T / 10, np.eye(4)))
    True
    >>> fl.random_regression(fl.Architecture(4, 2, 3), n_samples=10, seed=range(100))
    <Tasks of 4 inputs, 3 outputs (seed: 100)>
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    samples = _samples("n_samples", n_samples)
    axes = (
        Axis.read("target_scale", target_scale, check_scale),
        Axis.read("seed", seed, lambda name, value: check_int(name, value, 0, MAX_SEED)),
    )
    laws = [RegressionTask(samples, scale) for scale in axes[0].values]
    if obstacle := _too_few_samples(laws[0], architecture):
        raise InputError(obstacle)
    drawn = [RandomRegression(architecture, law, each) for law, each in product(laws, axes[1].values)]
    if not any(axis.is_dimension for axis in axes):
        return drawn[0]
    dims, coords = leading(axes)
    values = np.empty(len(drawn), dtype=object)
    values[:] = drawn
    shape = [len(axis.values) for axis in axes if axis.is_dimension]
    return Tasks(values.reshape(shape), dims=dims, coords=coords)


def _samples(name: str, value: Any) -> int:
    return check_int(name, value, 1, MAX_SAMPLES)


def _too_few_samples(law: RegressionTask | StudentTeacherTask, architecture: Architecture) -> str | None:
    n_i = architecture.n_i
    if law.n_samples >= n_i:
        return None
    return f"n_samples is {law.n_samples}, and whitening N_i = {n_i} inputs needs at least {n_i}"


class StudentTeacher(RandomRegression):
    """A linear teacher with noise. See `student_teacher`."""

    def __init__(self, architecture: Architecture, law: StudentTeacherTask, seed: int) -> None:
        super().__init__(architecture, law.noise_law(architecture.sizes), seed)
        self._teacher, self._rank = law.teacher(seed, architecture.sizes), law.rank
        self.sigma_yx = self.sigma_yx + self._teacher
        self.sigma_yy_trace = float(np.sum(self.sigma_yx**2)) + 2.0 * self.loss_floor

    def __repr__(self) -> str:
        return (
            f"<student-teacher task of {self.n_i} inputs, {self.n_o} outputs, {self.n_samples} samples, "
            f"rank {self._rank}, seed {self._seed}>"
        )

    @cached_property
    def _data(self) -> tuple[Array, Array]:
        """X and Y. The noise has the draws of a random regression task."""
        x, noise = super()._data
        return x, noise + self._teacher @ x


def student_teacher(
    architecture: Architecture,
    rank: int,
    noise: float = 0.0,
    seed: int = 0,
    *,
    singular_values: ArrayLike = 1.0,
    n_samples: int = 100,
) -> Task:
    """Draw the task of a linear teacher of given rank, with noise in the targets and whitened inputs.

    Parameters
    ----------
    architecture : Architecture
        Its N_i and N_o give the sizes; all N_h share one task.
    rank : int
        Number of modes of the teacher, from 1 to min(N_i, N_o).
    noise : float
        Standard deviation of the independent normal noise of every target.
    seed : int
        The draws are a function of (seed, N_i, N_o) alone.
    singular_values : float or array_like, (rank,)
        Singular values of the teacher. One number holds for all modes.
    n_samples : int
        Number of samples P >= N_i.

    Returns
    -------
    Task
        With ``Y = U diag(s) V^T X + noise Z``: U (N_o, rank) and V (N_i, rank) are uniform orthonormal
        columns, Z is standard normal, and X is normal, whitened exactly. So Sigma_yx is the teacher plus a
        normal matrix of standard deviation ``noise / sqrt(P)``.

    Raises
    ------
    InputError
        If a number is out of range, or singular values are not one for each mode.

    References
    ----------
    A. Lampinen, S. Ganguli, "An analytic theory of generalization dynamics and transfer learning in deep
    linear networks", ICLR 2019.

    Examples
    --------
    >>> task = fl.student_teacher(fl.Architecture(4, 2, 3), rank=2, singular_values=[3.0, 1.0])
    >>> np.linalg.svd(task.sigma_yx)[1].round(12).tolist()
    [3.0, 1.0, 0.0]
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    law = _student_teacher(
        _rank("rank", rank),
        _noise("noise", noise),
        _samples("n_samples", n_samples),
        check_spectrum("singular_values", singular_values),
    )
    if obstacle := _no_teacher(law, architecture):
        raise InputError(obstacle)
    return StudentTeacher(architecture, law, check_int("seed", seed, 0, MAX_SEED))


def _student_teacher(
    rank: int, noise: float, n_samples: int, singular_values: list[float] | None
) -> StudentTeacherTask:
    return StudentTeacherTask(rank, noise, n_samples, tuple(singular_values or (1.0,)))


def _rank(name: str, value: Any) -> int:
    return check_int(name, value, 1, MAX_SIZE)


def _noise(name: str, value: Any) -> float:
    return check_float(name, value, 0.0, MAX_SCALE)


def _no_teacher(law: StudentTeacherTask, architecture: Architecture) -> str | None:
    most = architecture.sizes.m
    if law.rank > most:
        return f"rank is {law.rank}; a map of this size has at most rank {most}"
    if len(law.singular_values) not in (1, law.rank):
        return f"singular_values has {len(law.singular_values)} numbers; needed is one, or rank = {law.rank}"
    return _too_few_samples(law, architecture)


def _no_hierarchy(law: HierarchyTask, architecture: Architecture) -> str | None:
    items = 2**law.levels
    if architecture.n_i == architecture.n_o == items:
        return None
    return f"a hierarchy of {law.levels} levels needs N_i = N_o = 2^{law.levels} = {items}"


def task_of_statistics(law: TaskLaw, architecture: Architecture, seed: int) -> Task:
    """Return a task of N_i + N_o samples with the statistics that a law draws.

    ``X = sqrt(P) [I, 0]`` and ``Y = sqrt(P) [Sigma_yx, sqrt(2 floor / N_o) I]``.
    """
    sigma, floor, _ = law.draw(seed, architecture.sizes)
    n_o, n_i = sigma.shape
    root = np.sqrt(n_i + n_o)
    off = np.sqrt(2.0 * floor / n_o) * np.eye(n_o)
    return Task(root * np.eye(n_i, n_i + n_o), root * np.hstack([sigma, off]))


@dataclass(frozen=True)
class TaskKind:
    """A kind of task that a sweep draws.

    Attributes
    ----------
    name : str
        Name in specs.
    doc : str
        One sentence for the reference.
    parameters : mapping of str to Parameter
        Parameters of the law, by name. They are keys of [task] in a spec.
    law : callable
        Takes the parameters and returns a `TaskLaw`, which draws the statistics of a seed.
    build : callable
        Takes a law, an architecture and a seed, and returns the `Task` with its data.
    obstacle : callable
        Takes a law and an architecture, and returns why no task of that size can be drawn, or None.
    resolve : callable, optional
        Of a kind whose parameters are files, see `parameters.Resolve`.
    """

    name: str
    doc: str
    parameters: Mapping[str, Parameter]
    law: Callable[..., TaskLaw]
    build: Callable[[Any, Architecture, int], Task] = task_of_statistics
    obstacle: Callable[[Any, Architecture], str | None] = lambda law, architecture: None
    resolve: Resolve | None = None


TASK_KINDS = {
    kind.name: kind
    for kind in (
        TaskKind(
            "random_regression",
            "Inputs are whitened exactly, and targets are normal and independent of them (B.2.1).",
            {
                "n_samples": Parameter(_samples, "number of samples P, at least N_i"),
                "target_scale": Parameter(check_scale, "the paper's sigma > 0", 1.0),
            },
            RegressionTask,
            lambda law, architecture, seed: RandomRegression(architecture, law, seed),
            _too_few_samples,
        ),
        TaskKind(
            "hierarchy",
            "A binary tree of items and their properties, N_i = N_o = 2^levels (`hierarchy`).",
            {"levels": Parameter(check_levels, "branchings from the root to an item, from 1 to 12", 3)},
            HierarchyTask,
            lambda law, architecture, seed: hierarchy_task(law),
            _no_hierarchy,
        ),
        TaskKind(
            "student_teacher",
            "A linear teacher of given rank, noise in the targets, whitened inputs (`student_teacher`).",
            {
                "rank": Parameter(_rank, "modes of the teacher, at most min(N_i, N_o)"),
                "noise": Parameter(_noise, "standard deviation of the noise of every target", 0.0),
                "n_samples": Parameter(_samples, "number of samples P, at least N_i", 100),
                "singular_values": Parameter(
                    check_spectrum,
                    "singular values of the teacher, one for each mode or one for all",
                    [1.0],
                    axis=False,
                    form="number or list of numbers",
                ),
            },
            _student_teacher,
            lambda law, architecture, seed: StudentTeacher(architecture, law, seed),
            _no_teacher,
        ),
        TaskKind(
            "spectrum",
            "Given singular values between random orthogonal matrices, for whitened inputs (`spectrum`).",
            {
                "singular_values": Parameter(
                    check_spectrum,
                    "singular values of Sigma_yx, the last of min(N_i, N_o) ones are 0; or give power",
                    optional=True,
                    axis=False,
                    form="number or list of numbers",
                ),
                "power": Parameter(check_power, "the a-th singular value is a^-power", optional=True),
            },
            lambda singular_values, power: SpectrumTask(
                spectrum_of("singular_values", singular_values, power)
            ),
            spectrum_task,
            spectrum_task_obstacle,
        ),
        TaskKind(
            "autoencoder",
            "Targets are the inputs, C = V diag(c) V^T of random eigenvectors, N_i = N_o (`autoencoder`).",
            {
                "spectrum": Parameter(
                    check_spectrum,
                    "the N_i eigenvalues c of C; or give power",
                    optional=True,
                    axis=False,
                    form="number or list of numbers",
                ),
                "power": Parameter(check_power, "the a-th eigenvalue is a^-power", optional=True),
                "noise": Parameter(_noise, "variance of the noise in every input (denoising)", 0.0),
            },
            lambda spectrum, power, noise: AutoencoderTask(spectrum_of("spectrum", spectrum, power), noise),
            autoencoder_task,
            autoencoder_obstacle,
        ),
        TaskKind(
            "data",
            "Your own inputs and targets. The task is the same for all seeds.",
            DATA,
            lambda data, task: data[task].law,
            lambda law, architecture, seed: law.task,
            DataTask.obstacle,
            resolve_data,
        ),
    )
}
