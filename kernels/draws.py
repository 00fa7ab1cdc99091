"""Draws of tasks and of starts. One network and sweeps share these definitions.

A task is drawn by its sufficient statistics, and a start by the unbalanced product W2 W1 or its factors. A
`Problem` has a law of each. The vector kernels draw the laws of this module, too, with the same bits. Any
other object with the methods of `TaskLaw` or `StartLaw` is drawn by NumPy, one seed at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.random import (
    Stream,
    add_squares,
    pairs_of,
    scratch,
    shared,
    standard_normals,
    stream_key,
)
from fastlin.kernels.sizes import Sizes


class Factors(NamedTuple):
    """Singular vectors and values of an unbalanced product W2 W1: u (N_o, k_o), p (k,), v (N_i, k_i)."""

    u: Array
    p: Array
    v: Array


class Target(NamedTuple):
    """A task with whitened inputs, by its sufficient statistics."""

    sigma_yx: Array  # (N_o, N_i)
    floor: float  # (tr Sigma_yy - |Sigma_yx|^2) / 2, the least loss of a linear map


class TaskLaw(Protocol):
    """A law of tasks with whitened inputs. It is immutable, and a task is a function of seed and sizes."""

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed."""


class StartLaw(Protocol):
    """A law of the unbalanced product W2 W1 of a start."""

    @property
    def power(self) -> int:
        """Power of init_scale that multiplies the singular values of the product."""

    def product(self, seed: int, sizes: Sizes) -> Array | None:
        """Return the product (N_o, N_i) at init_scale 1, or None for the singular vectors of the task."""


@dataclass(frozen=True)
class Problem:
    """The laws of task and start of the networks of a seed, and the scale of the start."""

    task: TaskLaw
    start: StartLaw
    init_scale: float

    @property
    def strength(self) -> float:
        """Factor of the singular values of the product at init_scale 1."""
        return float(self.init_scale**self.start.power)

    @property
    def in_lanes(self) -> bool:
        """Whether the vector kernels draw both laws."""
        return isinstance(self.task, RegressionTask) and isinstance(self.start, LaneStart)


class TargetDraws(NamedTuple):
    """Standard normals in the frame of the inputs: along them (N_o, N_i), off them (N_o, P - N_i)."""

    along: Array
    off: Array


@dataclass(frozen=True)
class RegressionTask:
    """Random regression (B.2.1): targets are i.i.d. normal, of standard deviation target_scale / sqrt(N_o).

    Y is independent of X, so Y has the same law in any orthonormal frame of the sample space. In the frame
    whose first N_i axes are the rows of the whitened X, ``Sigma_yx = target_scale / sqrt(N_o P) * along`` and
    the rest of Y is ``off``. X itself is not needed.

    Attributes
    ----------
    n_samples : int
        P, at least N_i.
    target_scale : float
        The paper's sigma > 0.
    """

    n_samples: int
    target_scale: float

    def unit(self, sizes: Sizes) -> float:
        """Return the standard deviation of an entry of Sigma_yx: target_scale / sqrt(N_o P)."""
        return float(self.target_scale / np.sqrt(sizes.n_o * self.n_samples))

    def off(self, sizes: Sizes) -> int:
        """Return the number of targets off the span of the inputs."""
        return sizes.n_o * (self.n_samples - sizes.n_i)

    def normals(self, seed: int, sizes: Sizes) -> TargetDraws:
        """Return the standard normals of the targets of a seed."""
        entries = sizes.n_o * sizes.n_i
        along = standard_normals(Stream.TARGETS, seed, shared(sizes), entries)
        off = standard_normals(Stream.TARGETS, seed, shared(sizes), self.off(sizes), pairs_of(entries))
        return TargetDraws(along.reshape(sizes.n_o, sizes.n_i), off.reshape(sizes.n_o, -1))

    def floor(self, seed: int, sizes: Sizes) -> float:
        """Return (tr Sigma_yy - |Sigma_yx|^2) / 2, from the targets off the span of the inputs."""
        total, seeds = np.zeros(WIDTH), np.full(WIDTH, seed)
        key = np.uint64(stream_key(Stream.TARGETS, shared(sizes)))
        add_squares(key, seeds, pairs_of(sizes.n_o * sizes.n_i), self.off(sizes), scratch(), total)
        return 0.5 * self.unit(sizes) ** 2 * float(total[0])

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed."""
        return Target(self.unit(sizes) * self.normals(seed, sizes).along, self.floor(seed, sizes))


@dataclass(frozen=True)
class GaussianStart:
    """Raw Gaussian weights. init_scale multiplies both factors of the product."""

    kind: ClassVar[str] = "gaussian"
    power: ClassVar[int] = 2
    stream: ClassVar[Stream] = Stream.INIT_GAUSSIAN

    def unit(self, sizes: Sizes) -> float:
        """Return 1, because weights are standard normal at init_scale 1."""
        return 1.0

    def count(self, sizes: Sizes) -> int:
        """Return the number of weights."""
        return sizes.n_h * (sizes.n_i + sizes.n_o)

    def weights(self, seed: int, sizes: Sizes) -> tuple[Array, Array]:
        """Return raw weights W1 (N_h, N_i) and W2 (N_o, N_h)."""
        numbers = standard_normals(self.stream, seed, sizes, self.count(sizes))
        first, second = np.split(numbers, [sizes.n_h * sizes.n_i])
        return first.reshape(sizes.n_h, sizes.n_i), second.reshape(sizes.n_o, sizes.n_h)

    def product(self, seed: int, sizes: Sizes) -> Array:
        """Return W2 W1 (N_o, N_i)."""
        w1, w2 = self.weights(seed, sizes)
        return w2 @ w1


@dataclass(frozen=True)
class RegressionStart:
    """The Sigma_yx of an independent random regression task, whose target_scale is init_scale (B.4)."""

    n_samples: int
    kind: ClassVar[str] = "random_regression"
    power: ClassVar[int] = 1
    stream: ClassVar[Stream] = Stream.INIT_REGRESSION

    def unit(self, sizes: Sizes) -> float:
        """Return the standard deviation of an entry of that Sigma_yx."""
        return RegressionTask(self.n_samples, 1.0).unit(sizes)

    def count(self, sizes: Sizes) -> int:
        """Return the number of entries."""
        return sizes.n_i * sizes.n_o

    def product(self, seed: int, sizes: Sizes) -> Array:
        """Return Sigma_yx (N_o, N_i)."""
        numbers = standard_normals(self.stream, seed, sizes, self.count(sizes))
        return self.unit(sizes) * numbers.reshape(sizes.n_o, sizes.n_i)


@dataclass(frozen=True)
class AlignedStart:
    """The singular vectors of the task, each mode with strength init_scale^2 (Saxe et al. 2014)."""

    kind: ClassVar[str] = "aligned"
    power: ClassVar[int] = 2
    stream: ClassVar[Stream] = Stream.INIT_GAUSSIAN  # nothing is drawn from it

    def unit(self, sizes: Sizes) -> float:
        """Return 1."""
        return 1.0

    def count(self, sizes: Sizes) -> int:
        """Return 0, because nothing is drawn."""
        return 0

    def product(self, seed: int, sizes: Sizes) -> None:
        """Return None, because the start has the singular vectors of the task."""
        return None


# Starts that the vector kernels draw. `vector.problems` has the code of each kind.
LaneStart = GaussianStart | RegressionStart | AlignedStart
