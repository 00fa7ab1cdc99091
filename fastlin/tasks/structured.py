"""Tasks with a structure that is given: a hierarchy, singular values, and autoencoders."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.draws import Target
from fastlin.kernels.random import MAX_SEED
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.task_laws import (
    AutoencoderTask,
    HierarchyTask,
    Spectrum,
    SpectrumTask,
    denoising_floor,
    hierarchy_properties,
    symmetric,
)
from fastlin.tasks.task import MAX_SCALE, SigmaTask, Task
from fastlin.validation import check_array, check_bool, check_float, check_instance, check_int, shown

MAX_LEVELS = 12
MAX_POWER = 100.0


class StructuredTask(Task):
    """A task of given statistics without a loss floor, and samples that have them, one for each input."""

    def __init__(self, target: Target, x: Array, y: Array, phrase: str) -> None:
        self.X, self.Y, self._phrase = x, y, phrase
        self.sigma_yx = target.sigma_yx
        self.sigma_xx = np.eye(x.shape[0]) if target.sigma_xx is None else target.sigma_xx
        self.sigma_yy_trace = float(np.sum(y**2) / y.shape[1])

    def __repr__(self) -> str:
        return f"<{self._phrase} of {self.n_i} inputs ({self._described}), {self.n_o} outputs>"

    @property
    def loss_floor(self) -> float:
        """The least loss of a linear map of X: 0."""
        return 0.0


def check_levels(name: str, value: object) -> int:
    """Return a number of levels of a hierarchy, checked."""
    return check_int(name, value, 1, MAX_LEVELS)


def check_power(name: str, value: object) -> float | None:
    """Return the exponent of a power law, checked, or None if there is none."""
    return None if value is None else check_float(name, value, 0.0, MAX_POWER)


def check_spectrum(name: str, value: ArrayLike | None) -> list[float] | None:
    """Return singular values or eigenvalues in descending order, checked, or None if there are none."""
    if value is None:
        return None
    values = check_array(name, np.atleast_1d(np.asarray(value, dtype=object)), "(modes,)")
    if not ((values >= 0.0) & (values <= MAX_SCALE)).all() or not values.any():
        raise InputError(
            f"{name} is {shown(values.tolist())}; allowed are numbers from 0 to {MAX_SCALE:g}, not all 0"
        )
    return [float(number) for number in np.sort(values)[::-1]]


def spectrum_of(name: str, values: list[float] | None, power: float | None) -> Spectrum:
    """Return the spectrum of given numbers or of a power law. The name is that of the numbers."""
    if (values is None) == (power is None):
        given = "none of them is" if power is None else "both of them are"
        raise InputError(f"needed is one of {name} and power, and {given} given")
    return Spectrum(None if values is None else tuple(values), power)


def hierarchy(levels: int = 3) -> Task:
    """Return the task of a semantic hierarchy: the leaves of a binary tree and their properties.

    Parameters
    ----------
    levels : int
        Branchings from the root to a leaf, from 1 to 12.

    Returns
    -------
    Task
        With N_i = N_o = P = 2^levels. A sample is one item, a leaf: ``X = sqrt(N_i) I``, so inputs are
        whitened. The first row of Y is 1, the property of all items. The others belong to the nodes that
        branch, level by level from the root and from left to right. They are 1 for items below the left
        branch, -1 for those below the right one, and 0 for others. The properties are the singular vectors,
        and a node with n items below it has the singular value ``sqrt(n / N_i)``, which comes twice for the
        root.

    Raises
    ------
    InputError
        If `levels` is out of range.

    References
    ----------
    A. Saxe, J. McClelland, S. Ganguli, "A mathematical theory of semantic development in deep neural
    networks", PNAS 2019.

    Examples
    --------
    >>> fl.hierarchy(levels=2).Y
    array([[ 1.,  1.,  1.,  1.],
           [ 1.,  1., -1., -1.],
           [ 1., -1.,  0.,  0.],
           [ 0.,  0.,  1., -1.]])
    """
    return hierarchy_task(HierarchyTask(check_levels("levels", levels)))


def hierarchy_task(law: HierarchyTask) -> Task:
    """Return the task of a law."""
    items = 2**law.levels
    target = law.draw(0, Sizes(items, 0, items))
    return StructuredTask(target, _one_hot(items), hierarchy_properties(law.levels), "hierarchy")


def _one_hot(n_i: int) -> Array:
    """Return whitened inputs, one for each unit."""
    return np.asarray(np.sqrt(n_i) * np.eye(n_i))


def spectrum(
    architecture: Architecture,
    singular_values: ArrayLike | None = None,
    power: float | None = None,
    seed: int = 0,
) -> Task:
    """Return a task of given singular values between random orthogonal matrices, for whitened inputs.

    Parameters
    ----------
    architecture : Architecture
        Its N_i and N_o give the sizes; all N_h share one task.
    singular_values : array_like, (modes,), optional
        Singular values of Sigma_yx, at most min(N_i, N_o). Those that are missing are 0.
    power : float, optional
        Exponent from 0 to 100, in place of `singular_values`: the a-th singular value is ``a^-power``.
    seed : int
        The draws are a function of (seed, N_i, N_o) alone.

    Returns
    -------
    Task
        With ``Sigma_yx = U diag(s) V^T``, of uniform U and V (Haar measure), ``X = sqrt(N_i) I`` and a loss
        floor of 0.

    Raises
    ------
    InputError
        If none or both of `singular_values` and `power` are given, or one is out of range.

    Examples
    --------
    >>> task = fl.spectrum(fl.Architecture(4, 2, 3), power=1.0)
    >>> np.linalg.svd(task.sigma_yx)[1].round(4).tolist()
    [1.0, 0.5, 0.3333]
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    given = check_spectrum("singular_values", singular_values)
    law = SpectrumTask(spectrum_of("singular_values", given, check_power("power", power)))
    if obstacle := spectrum_task_obstacle(law, architecture):
        raise InputError(obstacle)
    return spectrum_task(law, architecture, check_int("seed", seed, 0, MAX_SEED))


def spectrum_task_obstacle(law: SpectrumTask, architecture: Architecture) -> str | None:
    """Return why no task of an architecture can be drawn, or None."""
    values, m = law.spectrum.values, architecture.sizes.m
    if values is None or len(values) <= m:
        return None
    return f"singular_values has {len(values)} numbers; a map of this size has at most {m}"


def spectrum_task(law: SpectrumTask, architecture: Architecture, seed: int) -> Task:
    """Return the task of a seed."""
    target, root = law.draw(seed, architecture.sizes), np.sqrt(architecture.n_i)
    return StructuredTask(target, _one_hot(architecture.n_i), root * target.sigma_yx, "spectrum task")


def autoencoder(
    x: ArrayLike | None = None,
    *,
    spectrum: ArrayLike | None = None,
    noise: float = 0.0,
    seed: int = 0,
    center: bool = False,
) -> Task:
    """Return the task of a linear autoencoder: the targets are the inputs.

    Parameters
    ----------
    x : array_like, (N, P), optional
        Inputs in columns.
    spectrum : array_like, (N,), optional
        Eigenvalues of C, in place of `x`. The eigenvectors are drawn (Haar measure).
    noise : float
        Variance v >= 0 of independent noise in every input, which the targets do not have (denoising).
    seed : int
        The eigenvectors are a function of (seed, N) alone.
    center : bool
        Whether to subtract the mean of x, as PCA does.

    Returns
    -------
    Task
        With ``Sigma_yx = C`` and ``Sigma_xx = C + v I``, C the second moment of the inputs without noise.
        `flow` solves it, and so does `exact` where ``C + v I`` is a multiple of the identity or of a
        projector. Modes are learned in the order of PCA, to the strengths ``c / (c + v)``. With noise the
        task has statistics only, and no samples.

    Raises
    ------
    InputError
        If none or both of `x` and `spectrum` are given, or one is out of range.

    Warns
    -----
    MeanWarning
        If the mean of x is more than half of its second moment.

    References
    ----------
    P. Baldi, K. Hornik, "Neural networks and principal component analysis", Neural Networks 1989.
    A. Pretorius, S. Kroon, H. Kamper, "Learning dynamics of linear denoising autoencoders", ICML 2018.

    Examples
    --------
    >>> task = fl.autoencoder(spectrum=[4.0, 2.0, 1.0], noise=0.5)
    >>> np.linalg.eigvalsh(task.sigma_xx).round(12).tolist()
    [1.5, 2.5, 4.5]
    """
    check_bool("center", center)
    variance, seed = check_float("noise", noise, 0.0, MAX_SCALE), check_int("seed", seed, 0, MAX_SEED)
    if (x is None) == (spectrum is None):
        given = "none of them is" if x is None else "both of them are"
        raise InputError(f"needed is one of x and spectrum, and {given} given")
    if x is not None:
        return _noisy(Task(x, x, center=center), variance)
    if center:
        raise InputError("center is true, and it is for x; a spectrum has no mean")
    values = check_spectrum("spectrum", spectrum)
    assert values is not None
    law, size = AutoencoderTask(Spectrum(tuple(values), None), variance), len(values)
    return autoencoder_task(law, Architecture(size, size, size), seed)


def _noisy(task: Task, noise: float) -> Task:
    """Return the autoencoder of some data with noise in its inputs."""
    if noise == 0.0:
        return task
    c = (task.sigma_xx + task.sigma_xx.T) / 2.0
    floor = denoising_floor(np.maximum(np.linalg.eigvalsh(c), 0.0), noise)
    return SigmaTask(c, c + noise * np.eye(len(c)), floor)


def autoencoder_obstacle(law: AutoencoderTask, architecture: Architecture) -> str | None:
    """Return why no task of an architecture can be drawn, or None."""
    if architecture.n_i != architecture.n_o:
        return "an autoencoder needs N_o = N_i"
    values = law.spectrum.values
    if values is None or len(values) == architecture.n_i:
        return None
    return f"spectrum has {len(values)} numbers; needed is one for each of {architecture.n_i} inputs"


def autoencoder_task(law: AutoencoderTask, architecture: Architecture, seed: int) -> Task:
    """Return the task of a seed."""
    target, n_i = law.draw(seed, architecture.sizes), architecture.n_i
    if law.noise:
        inputs = np.eye(n_i) if target.sigma_xx is None else target.sigma_xx
        return SigmaTask(target.sigma_yx, inputs, target.floor)
    values, axes = law.eigen(seed, architecture.sizes)
    x = _one_hot(n_i) if law.white else np.sqrt(n_i) * symmetric(np.sqrt(values), axes)
    return StructuredTask(target, x, x, "autoencoder")
