"""Tasks: sufficient statistics of data sets, and the data itself on request."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.errors import InputError, MeanWarning
from fastlin.kernels.compiler.jit import Array
from fastlin.tasks.means import large_means
from fastlin.tasks.moments import WHITE_TOLERANCE, InputKind, SecondMoments
from fastlin.validation import check_array, check_bool, check_float, check_instance, shown

MAX_SAMPLES = 2**31 - 1
MIN_SCALE, MAX_SCALE = 1e-60, 1e60  # so that fourth powers, in norms of the NTK, do not overflow
# Bound of the entries of X and Y, for the same reason. Draws of scale MAX_SCALE stay below it.
MAX_ENTRY = 1e64


class Task:
    """A linear regression task: inputs X and targets Y in columns.

    Parameters
    ----------
    x : array_like, (N_i, P)
        Inputs. `exact` needs inputs that are not "general" (see `inputs`). `flow` and `gradient_descent` take
        any.
    y : array_like, (N_o, P)
        Targets.
    center : bool
        Whether to subtract the means of X and Y over samples. The network has no bias, so that a mean of Y
        adds to the loss floor.
    labels : sequence, (P,), optional
        The condition of each sample, a text or a whole number. Observables over conditions average over the
        samples of each. By default every sample is a condition of its own.

    Attributes
    ----------
    X, Y : ndarray
        The data, centred if `center`.
    x_mean, y_mean : ndarray, (N_i, 1) and (N_o, 1)
        The means that were subtracted from the data as given, 0 without `center`.
    sigma_yx : ndarray, (N_o, N_i)
        Y X^T / P.
    sigma_xx : ndarray, (N_i, N_i)
        X X^T / P.
    sigma_yy_trace : float
        tr(Y Y^T) / P.
    whitening : ndarray, (N_i, N_i), or None
        The matrix by which `whiten` has multiplied the inputs.
    labels : tuple, (P,), or None
        The conditions of the samples, as given.
    offset : ndarray, (N_o, N_i), or 0.0
        Map that is added to that of the network, ``offset + gain W2 W1``: 0, unless `lora` sets another one.
    gain : float
        Factor of the map of the network: 1, unless `lora` sets another one.
    learning_rates : (float, float), or None
        Learning rates (eta1, eta2) of the layers that belong to the task: those of `lora`.

    Raises
    ------
    InputError
        If shapes do not fit, an entry is not finite or beyond 1e64 in magnitude, inputs to be centred are
        constant, or labels are not one text or whole number for each sample.

    Warns
    -----
    MeanWarning
        If the mean of X is more than half of its second moment, or centring would remove more than half of
        the loss floor, where chance does not explain it.

    See Also
    --------
    Task.from_sigma : a task of given statistics, without samples.

    Examples
    --------
    >>> fl.Task(np.eye(8), np.ones((2, 8)))
    <Task of 8 inputs (isotropic, variance 0.125), 2 outputs, 8 samples>
    >>> fl.Task(np.eye(8), np.ones((2, 8)), center=True)
    <Task of 8 inputs (projector of rank 7, variance 0.125), 2 outputs, 8 samples>
    """

    whitening: Array | None = None
    labels: tuple[str | int, ...] | None = None
    offset: Array | float = 0.0
    gain: float = 1.0
    learning_rates: tuple[float, float] | None = None
    _means: tuple[Array, Array] | None = None

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        center: bool = False,
        labels: Sequence[Any] | None = None,
    ) -> None:
        first, second = _data("X", x, "(N_i, P)"), _data("Y", y, "(N_o, P)")
        if first.shape[1] != second.shape[1]:
            raise InputError(
                f"X has {first.shape[1]} samples and Y has {second.shape[1]}; "
                "both are (features, samples) with the same number of samples"
            )
        if labels is not None:
            self.labels = _labels(labels, first.shape[1])
        if check_bool("center", center):
            self._means = _mean(first), _mean(second)
            first, second = _centred(first, self._means[0]), second - self._means[1]
        self._set_data(first, second)
        if not center:
            self._warn_of_means()

    def _set_data(self, x: Array, y: Array) -> None:
        self.X, self.Y = x, y
        samples = x.shape[1]
        self.sigma_yx: Array = y @ x.T / samples
        self.sigma_xx: Array = x @ x.T / samples
        self.sigma_yy_trace = float(np.sum(y**2) / samples)

    def _warn_of_means(self) -> None:
        if faults := large_means(self.X, self.Y, self.moments, self.sigma_yy_trace):
            warnings.warn(
                f"{', and '.join(faults)}; Task(x, y, center=True) subtracts the means",
                MeanWarning,
                stacklevel=3,
            )

    @staticmethod
    def from_sigma(sigma_yx: ArrayLike, sigma_xx: ArrayLike | None = None, floor: float = 0.0) -> Task:
        """Return a task of given second moments, without samples.

        Parameters
        ----------
        sigma_yx : array_like, (N_o, N_i)
            Y X^T / P. Its rows lie in the span of `sigma_xx`, as those of any data do.
        sigma_xx : array_like, (N_i, N_i), optional
            X X^T / P, symmetric and positive semidefinite; the identity by default.
        floor : float
            The least loss of a linear map of X, ``(tr Sigma_yy - |Sigma_yx Sigma_xx^(+1/2)|^2) / 2 >= 0``.

        Returns
        -------
        Task
            All solvers take it. X and Y are refused, and so are observables over samples by name:
            "network_function", "rsm_input", "rsm_output" and "ntk". By default they are left out.

        Raises
        ------
        InputError
            If the matrices do not fit each other, are no second moments of data, or are too large, or the
            floor is negative.

        Examples
        --------
        >>> task = fl.Task.from_sigma(np.diag([3.0, 1.0]), floor=0.5)
        >>> task, task.sigma_yy_trace
        (<Task of 2 inputs (whitened), 2 outputs, from statistics>, 11.0)
        """
        target = _matrix("sigma_yx", sigma_yx, "(N_o, N_i)")
        inputs = np.eye(target.shape[1]) if sigma_xx is None else _covariance(sigma_xx, target.shape[1])
        return SigmaTask(*_in_span(target, inputs, check_float("floor", floor, 0.0, MAX_ENTRY**2)))

    def __repr__(self) -> str:
        sizes = f"{self.n_i} inputs ({self._described}), {self.n_o} outputs"
        return f"<Task of {sizes}, {self._source}{self._function}>"

    @property
    def _function(self) -> str:
        return "" if self.learning_rates is None else f", function W0 + {self.gain:g} W2 W1"

    @property
    def _described(self) -> str:
        if self.inputs == "projector":
            return f"projector of rank {self.moments.rank}, variance {self.variance:g}"
        if self.inputs == "isotropic":
            return f"isotropic, variance {self.variance:g}"
        return "whitened" if self.whitened else "general"

    @property
    def _source(self) -> str:
        return f"{self.n_samples} samples"

    @property
    def n_i(self) -> int:
        """Number of inputs."""
        return int(self.sigma_yx.shape[1])

    @property
    def n_o(self) -> int:
        """Number of outputs."""
        return int(self.sigma_yx.shape[0])

    @property
    def n_samples(self) -> int:
        """Number of samples P."""
        return int(self.X.shape[1])

    @property
    def has_samples(self) -> bool:
        """Whether X and Y are known. A task from `from_sigma` has statistics only."""
        return True

    @property
    def conditions(self) -> tuple[str | int, ...]:
        """The different labels in the order of the samples, or the numbers of the samples without labels."""
        return tuple(range(self.n_samples)) if self.labels is None else tuple(dict.fromkeys(self.labels))

    @property
    def condition_means(self) -> Array:
        """Means of the inputs over the samples of each condition, (N_i, conditions)."""
        if self.labels is None:
            return self.X
        number = {label: place for place, label in enumerate(self.conditions)}
        member = np.zeros((self.n_samples, len(number)))
        member[np.arange(self.n_samples), [number[label] for label in self.labels]] = 1.0
        return np.asarray(self.X @ member / member.sum(axis=0))

    @cached_property
    def moments(self) -> SecondMoments:
        """Sigma_yx and Sigma_xx, with the eigenvectors of the latter on the span of the inputs."""
        return SecondMoments(self.sigma_yx, self.sigma_xx)

    @property
    def inputs(self) -> InputKind:
        """The form of Sigma_xx, to 1e-9 of its largest eigenvalue.

        "white" (I), "isotropic" (c I), "projector" (c Pi with a projector Pi of rank r < N_i: dependent
        inputs, or one sample), or "general". All but the last have exact solutions.
        """
        return self.moments.kind

    @property
    def whitened(self) -> bool:
        """Whether X X^T / P = I, assumption A1 of the paper."""
        return self.inputs == "white"

    @property
    def variance(self) -> float:
        """The eigenvalue c of Sigma_xx on the span of the inputs: 1 if whitened, NaN for general inputs."""
        return self.moments.variance

    @property
    def span(self) -> Array:
        """An orthonormal basis (N_i, r) of the span of the inputs: I (N_i, N_i) if they span everything."""
        return self.moments.span

    @property
    def x_mean(self) -> Array:
        """The mean of X (N_i, 1) that was subtracted, 0 if none was."""
        return np.zeros((self.n_i, 1)) if self._means is None else self._means[0]

    @property
    def y_mean(self) -> Array:
        """The mean of Y (N_o, 1) that was subtracted, 0 if none was."""
        return np.zeros((self.n_o, 1)) if self._means is None else self._means[1]

    @property
    def loss_floor(self) -> float:
        """The least loss of a linear map of X, ``(tr Sigma_yy - |Sigma_yx|^2) / 2`` if whitened."""
        best, *_ = np.linalg.lstsq(self.X.T, self.Y.T, rcond=None)
        return float(0.5 * np.sum((self.Y.T - self.X.T @ best) ** 2) / self.n_samples)

    def whiten(self) -> Task:
        """Return the task with inputs ``Sigma_xx^(+1/2) X`` (ZCA whitening), which has exact solutions.

        This changes the problem: the loss over time is another one. Its largest difference from that of the
        raw inputs was 10 % of L(0) where Sigma_xx has condition number 1.5, and 57 % where it is 100 (rich
        starts; it depends on the data). `flow` and `gradient_descent` take the data as they are.

        Returns
        -------
        Task
            Its `whitening` maps new inputs (N_i, P), as ``task.whitening @ (x - task.x_mean)``, and weights
            of the first layer back to raw inputs, as ``w1 @ task.whitening``. N_i stays. Inputs that span
            everything become "white". Dependent inputs become white on their span: Sigma_xx is the
            projector on it, and `inputs` is "projector" with variance 1.

        Raises
        ------
        InputError
            If all inputs are 0.

        Examples
        --------
        >>> raw = fl.Task([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 0.0, 2.0]])
        >>> task = raw.whiten()
        >>> raw.inputs, task.inputs, bool(np.allclose(task.whitening @ raw.X, task.X))
        ('general', 'white', True)
        """
        white = self._whitened_once()
        # Rounding errors of the first whitening grow with the condition number of Sigma_xx.
        return white if white.inputs in ("white", "projector") else white._whitened_once()

    def _whitened_once(self) -> Task:
        if self.moments.axes.shape[1] == 0:
            raise InputError("all inputs are 0, so they cannot be whitened; needed is one that is not")
        if self.learning_rates is not None:
            raise InputError("the task is one of fastlin.lora; whiten the task that fastlin.lora is given")
        matrix = self.moments.whitening
        task = self._with_inputs(matrix)
        task.whitening = matrix if self.whitening is None else matrix @ self.whitening
        task._means = self._means
        return task

    def _with_inputs(self, matrix: Array) -> Task:
        """Return the task whose inputs are a matrix times those of this one."""
        task = Task.__new__(Task)
        task._set_data(matrix @ self.X, self.Y)
        task.labels = self.labels
        return task


class SigmaTask(Task):
    """A task of given second moments, without samples. See `Task.from_sigma`."""

    def __init__(self, sigma_yx: Array, sigma_xx: Array, floor: float) -> None:
        self.sigma_yx, self.sigma_xx, self._floor = sigma_yx, sigma_xx, floor
        self.sigma_yy_trace = float(np.sum(self.moments.target**2)) + 2.0 * floor

    @property
    def _source(self) -> str:
        return "from statistics"

    @property
    def has_samples(self) -> bool:
        """Whether X and Y are known: they are not."""
        return False

    @property
    def loss_floor(self) -> float:
        """The least loss of a linear map of X, as given."""
        return self._floor

    @property
    def X(self) -> Array:  # type: ignore[override]
        """Raise an error, because there are no samples."""
        raise InputError(_NO_SAMPLES)

    @property
    def Y(self) -> Array:  # type: ignore[override]
        """Raise an error, because there are no samples."""
        raise InputError(_NO_SAMPLES)

    def _with_inputs(self, matrix: Array) -> Task:
        # Given exactly, because rounding errors of the product grow with the condition number of Sigma_xx.
        span = self.span
        return SigmaTask(self.sigma_yx @ matrix, span @ span.T, self._floor)


_NO_SAMPLES = "the task has statistics and no samples (Task.from_sigma); X and Y need Task(x, y)"


def _data(name: str, value: ArrayLike, shape: str) -> Array:
    """Return inputs or targets, checked."""
    return _bounded(name, check_array(name, value, shape), MAX_ENTRY)


def _labels(labels: Sequence[Any], samples: int) -> tuple[str | int, ...]:
    """Return the labels of samples, checked."""
    given = labels.tolist() if hasattr(labels, "tolist") else labels  # of NumPy and pandas
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(f"labels is {shown(labels)}; needed is a list of one for each sample")
    if len(given) != samples:
        raise InputError(f"labels has {len(given)} entries; needed is one for each of {samples} samples")
    for place, label in enumerate(given):
        if isinstance(label, bool) or not isinstance(label, str | int | np.integer):
            raise InputError(f"labels[{place}] is {shown(label)}; needed is a text or a whole number")
    return tuple(str(label) if isinstance(label, str) else int(label) for label in given)


def _matrix(name: str, value: ArrayLike, shape: str) -> Array:
    """Return second moments, checked."""
    return _bounded(name, check_array(name, value, shape), MAX_ENTRY**2)


def _bounded(name: str, data: Array, bound: float) -> Array:
    row, column = np.unravel_index(np.abs(data).argmax(), data.shape)
    if abs(largest := data[row, column]) > bound:
        raise InputError(
            f"{name}[{row}, {column}] is {largest:g}; allowed are entries from {-bound:g} to {bound:g}"
        )
    return data


def _mean(data: Array) -> Array:
    return np.asarray(data.mean(axis=1, keepdims=True))


def _centred(x: Array, mean: Array) -> Array:
    """Return inputs without their mean. Rounding errors that a constant leaves are no inputs."""
    centred = x - mean
    if np.abs(centred).max() <= x.shape[1] * np.finfo(float).eps * np.abs(x).max():
        raise InputError(
            "center is true and X is the same in all samples, so that nothing is left of it; "
            "needed are samples that differ"
        )
    return centred


def _covariance(value: ArrayLike, n_i: int) -> Array:
    """Return a given Sigma_xx, checked."""
    matrix = _matrix("sigma_xx", value, "(N_i, N_i)")
    if matrix.shape != (n_i, n_i):
        raise InputError(
            f"sigma_xx has shape {matrix.shape}; needed is ({n_i}, {n_i}), as sigma_yx has N_i = {n_i}"
        )
    allowed = WHITE_TOLERANCE * np.abs(matrix).max()
    asymmetry = np.abs(matrix - matrix.T)
    if asymmetry.max() > allowed:
        i, j = np.unravel_index(asymmetry.argmax(), matrix.shape)
        raise InputError(
            f"sigma_xx[{i}, {j}] is {matrix[i, j]:g} and sigma_xx[{j}, {i}] is {matrix[j, i]:g}; "
            "needed is a symmetric matrix, X X^T / P"
        )
    symmetric = (matrix + matrix.T) / 2
    if (least := np.linalg.eigvalsh(symmetric)[0]) < -allowed:
        raise InputError(f"sigma_xx has the eigenvalue {least:g}; X X^T / P has none below 0")
    return symmetric


def _in_span(sigma_yx: Array, sigma_xx: Array, floor: float) -> tuple[Array, Array, float]:
    """Return second moments, checked against each other, without rounding errors of Sigma_yx off the span.

    ``|Sigma_yx v|^2 <= v^T Sigma_xx v tr Sigma_yy`` for all data, and eigenvalues of Sigma_xx are known to
    N_i units in the last place of the largest.
    """
    moments = SecondMoments(sigma_yx, sigma_xx)
    _bounded("Sigma_yx Sigma_xx^(+1/2)", moments.target if moments.rank else np.zeros((1, 1)), MAX_ENTRY)
    if moments.rank == moments.sigma_xx.shape[0]:
        return sigma_yx, sigma_xx, floor
    inside = sigma_yx @ moments.axes @ moments.axes.T
    off = np.linalg.norm(sigma_yx - inside, axis=1)
    rounding = len(sigma_xx) * np.finfo(float).eps * np.linalg.norm(sigma_xx, 2)
    if off.max() > np.sqrt(rounding * (np.sum(moments.target**2) + 2.0 * floor)):
        raise InputError(
            f"row {off.argmax()} of sigma_yx leaves the span of sigma_xx by {off.max():.2g} "
            f"(rank {moments.rank} of {len(sigma_xx)}); rows of Y X^T / P lie in the span of the inputs"
        )
    return inside, sigma_xx, floor


def check_scale(name: str, value: Any) -> float:
    """Return a scale of targets or weights, checked."""
    return check_float(name, value, MIN_SCALE, MAX_SCALE)


def check_fits(task: Task, shape: Architecture) -> None:
    """Raise unless `task` is a task with the numbers of inputs and outputs of an architecture."""
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    if (task.n_i, task.n_o) != (shape.n_i, shape.n_o):
        raise InputError(
            f"the task maps {task.n_i} inputs to {task.n_o} outputs, "
            f"the network {shape} (N_i-N_h-N_o) does not"
        )


def check_whole(task: Task) -> None:
    """Raise where a task is one of an adapter, whose rates and frozen map are not carried."""
    if task.learning_rates is not None:
        raise InputError(
            "the task is one of fastlin.lora, from which no weights are carried on; needed is a task of "
            "whole networks (fastlin.exact, flow and gradient_descent take adapters)"
        )
