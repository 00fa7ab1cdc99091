"""Laws of tasks with a structure: a hierarchy, a teacher, given singular values, and an autoencoder.

NumPy draws them, one seed at a time. All N_h share a task, whose draws are a function of (seed, N_i, N_o).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.draws import RegressionTask, Target
from fastlin.kernels.random import Stream, shared, standard_normals
from fastlin.kernels.sizes import Sizes


def random_frames(kind: Stream, seed: int, sizes: Sizes, count: int, *dimensions: int) -> list[Array]:
    """Return `count` orthonormal columns (n, count) for each of some dimensions n, uniform (Haar measure).

    They are the Q of standard normal matrices, with the signs that make the diagonal of R positive.
    """
    numbers = standard_normals(kind, seed, shared(sizes), count * sum(dimensions))
    parts = np.split(numbers, np.cumsum([count * n for n in dimensions[:-1]]))
    frames = []
    for n, part in zip(dimensions, parts, strict=True):
        q, r = np.linalg.qr(part.reshape(n, count))
        frames.append(np.asarray(q * np.where(np.diagonal(r) < 0.0, -1.0, 1.0)))
    return frames


def hierarchy_properties(levels: int) -> Array:
    """Return the properties (2^levels, 2^levels) of the leaves of a binary tree, leaves in columns.

    The first row is 1, for the root. The others belong to the nodes that branch, level by level from the root
    and from left to right: 1 for leaves below the left branch, -1 below the right one, 0 elsewhere.
    """
    leaves = 2**levels
    rows = [np.ones((1, leaves))]
    for level in range(levels):
        rows.append(np.kron(np.eye(2**level), np.repeat([1.0, -1.0], leaves >> (level + 1))))
    return np.concatenate(rows) + 0.0  # without zeros of negative sign


@dataclass(frozen=True)
class HierarchyTask:
    """The leaves of a binary tree and their properties (see `hierarchy_properties`). No seed changes it.

    Attributes
    ----------
    levels : int
        Branchings from the root to a leaf. N_i = N_o = 2^levels.
    """

    levels: int
    white: ClassVar[bool] = True

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task, for inputs sqrt(N_i) I."""
        return Target(hierarchy_properties(self.levels) / np.sqrt(2**self.levels), 0.0)


@dataclass(frozen=True)
class TeacherNoise(RegressionTask):
    """The noise in the targets of a teacher: those of random regression, from a stream of its own."""

    stream: ClassVar[Stream] = Stream.TEACHER_NOISE


@dataclass(frozen=True)
class StudentTeacherTask:
    """Targets of a linear teacher of given rank, with independent normal noise, for whitened inputs.

    ``Y = U diag(s) V^T X + noise Z`` with uniform orthonormal U (N_o, rank) and V (N_i, rank).

    Attributes
    ----------
    rank : int
        Number of modes of the teacher, at most min(N_i, N_o).
    noise : float
        Standard deviation of the noise of each target.
    n_samples : int
        P, at least N_i.
    singular_values : tuple of float
        Those of the teacher, (rank,); one value holds for all modes.
    """

    rank: int
    noise: float
    n_samples: int
    singular_values: tuple[float, ...]
    white: ClassVar[bool] = True

    def teacher(self, seed: int, sizes: Sizes) -> Array:
        """Return the map (N_o, N_i) of the teacher."""
        u, v = random_frames(Stream.TEACHER, seed, sizes, self.rank, sizes.n_o, sizes.n_i)
        return np.asarray((u * self.singular_values) @ v.T)

    def noise_law(self, sizes: Sizes) -> TeacherNoise:
        """Return the law of the noise."""
        return TeacherNoise(self.n_samples, float(self.noise * np.sqrt(sizes.n_o)))

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed."""
        noise = self.noise_law(sizes).draw(seed, sizes)
        return Target(noise.sigma_yx + self.teacher(seed, sizes), noise.floor)


class Spectrum(NamedTuple):
    """Numbers in descending order: given ones, or those of a power law. One of both is None.

    Attributes
    ----------
    values : tuple of float, optional
        Given numbers. The last ones are 0 where more are needed.
    power : float, optional
        The a-th number is a^-power, a from 1.
    """

    values: tuple[float, ...] | None
    power: float | None

    def of(self, count: int) -> Array:
        """Return `count` numbers."""
        if self.power is not None:
            return np.asarray(np.arange(1.0, count + 1.0) ** -self.power)
        assert self.values is not None
        return np.pad(np.array(self.values), (0, count - len(self.values)))


@dataclass(frozen=True)
class SpectrumTask:
    """Sigma_yx of given singular values between uniform orthogonal matrices, for whitened inputs.

    Attributes
    ----------
    spectrum : Spectrum
        The min(N_i, N_o) singular values.
    """

    spectrum: Spectrum
    white: ClassVar[bool] = True

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed. A linear map reaches its targets."""
        m = min(sizes.n_i, sizes.n_o)
        u, v = random_frames(Stream.SPECTRUM, seed, sizes, m, sizes.n_o, sizes.n_i)
        return Target((u * self.spectrum.of(m)) @ v.T, 0.0)


@dataclass(frozen=True)
class AutoencoderTask:
    """Targets are the clean inputs: ``Sigma_yx = C``, ``Sigma_xx = C + noise I``.

    Attributes
    ----------
    spectrum : Spectrum
        The N_i eigenvalues of C, whose eigenvectors are uniform.
    noise : float
        Variance of the noise in each input (denoising).
    """

    spectrum: Spectrum
    noise: float

    @property
    def white(self) -> bool:
        """Whether C + noise I is the identity."""
        if self.spectrum.values is None:
            return self.spectrum.power == 0.0 and self.noise == 0.0
        return all(value + self.noise == 1.0 for value in self.spectrum.values)

    def eigen(self, seed: int, sizes: Sizes) -> tuple[Array, Array]:
        """Return the eigenvalues (N_i,) of C, as the spectrum has them, and the eigenvectors (N_i, N_i)."""
        n = sizes.n_i
        (axes,) = random_frames(Stream.AUTOENCODER, seed, sizes, n, n)
        return self.spectrum.of(n), axes

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed."""
        values, axes = self.eigen(seed, sizes)
        clean = symmetric(values, axes)
        if self.white:
            return Target(clean, denoising_floor(values, self.noise))
        return Target(clean, denoising_floor(values, self.noise), symmetric(values + self.noise, axes))


def symmetric(values: Array, axes: Array) -> Array:
    """Return ``V diag(c) V^T`` (N, N), symmetric to the last bit."""
    matrix = (axes * values) @ axes.T
    return np.asarray((matrix + matrix.T) / 2.0)


def denoising_floor(values: Array, noise: float) -> float:
    """Return the least loss of a linear map from noisy to clean inputs, ``sum_a c_a v / (c_a + v) / 2``."""
    if noise == 0.0:
        return 0.0
    return float(0.5 * np.sum(values * noise / (values + noise)))
