"""Draws of tasks and of starts. One network and sweeps share these definitions.

A task is drawn by its sufficient statistics, and a start by its weights or the unbalanced product W2 W1. A
`Problem` has a law of each. The vector kernels draw the laws of this module, too, with the same bits. Any
other object with the methods of `TaskLaw`, `StartLaw` or `WeightLaw` is drawn by NumPy, one seed at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

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
    standard_uniforms,
    stream_key,
)
from fastlin.kernels.sizes import Sizes


class Factors(NamedTuple):
    """Singular vectors and values of an unbalanced product W2 W1: u (N_o, k_o), p (k,), v (N_i, k_i)."""

    u: Array
    p: Array
    v: Array


class Target(NamedTuple):
    """A task by its sufficient statistics."""

    sigma_yx: Array  # (N_o, N_i)
    floor: float  # (tr Sigma_yy - |Sigma_yx Sigma_xx^(+1/2)|^2) / 2, the least loss of a linear map
    sigma_xx: Array | None = None  # (N_i, N_i), None for whitened inputs


class TaskLaw(Protocol):
    """A law of tasks. It is immutable, and a task is a function of seed and sizes."""

    @property
    def white(self) -> bool:
        """Whether inputs are whitened. Otherwise `draw` gives their Sigma_xx, and the flow solves it."""

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed."""


class StartLaw(Protocol):
    """A law of the unbalanced product W2 W1 of a start."""

    @property
    def power(self) -> int:
        """Power of init_scale that multiplies the singular values of the product."""

    def product(self, seed: int, sizes: Sizes) -> Array | None:
        """Return the product (N_o, N_i) at init_scale 1, or None for the singular vectors of the task."""


@runtime_checkable
class WeightLaw(Protocol):
    """A law of weights, which raw starts need."""

    def weights(self, seed: int, sizes: Sizes) -> tuple[Array, Array]:
        """Return W1 (N_h, N_i) and W2 (N_o, N_h) at init_scale 1."""


@dataclass(frozen=True)
class Problem:
    """The laws of task and start of the networks of a seed, and the scale of the start."""

    task: TaskLaw
    start: StartLaw
    init_scale: float

    @property
    def strength(self) -> float:
        """Factor of the singular values of the product at init_scale 1."""
        return strength(self.start, self.init_scale)

    def strengths(self, init_scales: Array) -> Array:
        """Return that factor at each init_scale."""
        if init_scales.size and (init_scales == init_scales[0]).all():  # np.unique takes 30 us a group
            return np.full(init_scales.size, strength(self.start, float(init_scales[0])))
        distinct, places = np.unique(init_scales, return_inverse=True)
        return np.array([strength(self.start, each) for each in distinct.tolist()])[places]

    @property
    def white(self) -> bool:
        """Whether the inputs of the task are whitened."""
        return self.task.white

    @property
    def spans(self) -> bool:
        """Whether the inputs of the task span all dimensions. Otherwise starts are balanced on their span."""
        return bool(getattr(self.task, "spans", True))

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
    white: ClassVar[bool] = True
    stream: ClassVar[Stream] = Stream.TARGETS

    def unit(self, sizes: Sizes) -> float:
        """Return the standard deviation of an entry of Sigma_yx: target_scale / sqrt(N_o P)."""
        return float(self.target_scale / np.sqrt(sizes.n_o * self.n_samples))

    def off(self, sizes: Sizes) -> int:
        """Return the number of targets off the span of the inputs."""
        return sizes.n_o * (self.n_samples - sizes.n_i)

    def normals(self, seed: int, sizes: Sizes) -> TargetDraws:
        """Return the standard normals of the targets of a seed."""
        entries = sizes.n_o * sizes.n_i
        along = standard_normals(self.stream, seed, shared(sizes), entries)
        off = standard_normals(self.stream, seed, shared(sizes), self.off(sizes), pairs_of(entries))
        return TargetDraws(along.reshape(sizes.n_o, sizes.n_i), off.reshape(sizes.n_o, -1))

    def floor(self, seed: int, sizes: Sizes) -> float:
        """Return (tr Sigma_yy - |Sigma_yx|^2) / 2, from the targets off the span of the inputs."""
        total, seeds = np.zeros(WIDTH), np.full(WIDTH, seed)
        key = np.uint64(stream_key(self.stream, shared(sizes)))
        add_squares(key, seeds, pairs_of(sizes.n_o * sizes.n_i), self.off(sizes), scratch(), total)
        return 0.5 * self.unit(sizes) ** 2 * float(total[0])

    def draw(self, seed: int, sizes: Sizes) -> Target:
        """Return the task of a seed."""
        return Target(self.unit(sizes) * self.normals(seed, sizes).along, self.floor(seed, sizes))


class EntryLaw(NamedTuple):
    """The law of independent entries of W1 and W2: numbers of a stream, times the unit of each layer."""

    doc: str  # one sentence for the reference
    stream: Stream  # of standard normal numbers, or of those that are uniform in [-1, 1]
    square: Callable[[int, int, int], float]  # of a layer's unit, from its fan-in, its fan-out and N_h
    zero_w2: bool = False  # whether W2 is 0


# Laws of entries by name. Those of one stream take the same numbers from a seed, and differ by units alone.
ENTRY_LAWS = {
    "gaussian": EntryLaw("Standard normal weights.", Stream.INIT_GAUSSIAN, lambda fan_in, fan_out, n_h: 1.0),
    "lecun": EntryLaw(
        "Normal weights of variance 1 / fan_in (LeCun et al. 1998).",
        Stream.INIT_GAUSSIAN,
        lambda fan_in, fan_out, n_h: 1.0 / fan_in,
    ),
    "he": EntryLaw(
        "Normal weights of variance 2 / fan_in (He et al. 2015).",
        Stream.INIT_GAUSSIAN,
        lambda fan_in, fan_out, n_h: 2.0 / fan_in,
    ),
    "xavier": EntryLaw(
        "Normal weights of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010).",
        Stream.INIT_GAUSSIAN,
        lambda fan_in, fan_out, n_h: 2.0 / (fan_in + fan_out),
    ),
    "ntk": EntryLaw(
        "Normal weights of variance 1 / N_h in both layers, so that the NTK tends to a limit as N_h grows.",
        Stream.INIT_GAUSSIAN,
        lambda fan_in, fan_out, n_h: 1.0 / n_h,
    ),
    "torch": EntryLaw(
        "Uniform weights within 1 / sqrt(fan_in), the default of PyTorch's nn.Linear.",
        Stream.INIT_UNIFORM,
        lambda fan_in, fan_out, n_h: 1.0 / fan_in,
    ),
    "zero_output": EntryLaw(
        'W1 as in "torch" and W2 = 0, so that the map starts at 0.',
        Stream.INIT_UNIFORM,
        lambda fan_in, fan_out, n_h: 1.0 / fan_in,
        zero_w2=True,
    ),
}


@dataclass(frozen=True)
class WeightStart:
    """Independent weights of one of `ENTRY_LAWS`. init_scale multiplies both layers.

    Attributes
    ----------
    kind : str
        Name of the law.
    """

    kind: str
    power: ClassVar[int] = 2
    compiled_kind: ClassVar[str] = "weights"

    @property
    def stream(self) -> Stream:
        """The stream of the entries."""
        return ENTRY_LAWS[self.kind].stream

    @property
    def uniform(self) -> bool:
        """Whether entries are uniform instead of normal."""
        return self.stream == Stream.INIT_UNIFORM

    @property
    def zero_w2(self) -> bool:
        """Whether W2 is 0."""
        return ENTRY_LAWS[self.kind].zero_w2

    def units(self, sizes: Sizes) -> tuple[float, float]:
        """Return the standard deviations of normal entries of W1 and of W2, or the bounds of uniform ones.

        The unit of a W2 that is 0 is that of its singular vectors (see `product`).
        """
        square = ENTRY_LAWS[self.kind].square
        first, second = square(sizes.n_i, sizes.n_h, sizes.n_h), square(sizes.n_h, sizes.n_o, sizes.n_h)
        return float(np.sqrt(first)), float(np.sqrt(second))

    def unit(self, sizes: Sizes) -> float:
        """Return the unit of the product: that of W1 times that of W2."""
        first, second = self.units(sizes)
        return first * second

    def count(self, sizes: Sizes) -> int:
        """Return the number of weights."""
        return sizes.n_h * (sizes.n_i + sizes.n_o)

    def factors(self, seed: int, sizes: Sizes) -> tuple[Array, Array]:
        """Return the factors W1 (N_h, N_i) and W2 (N_o, N_h) of `product`."""
        draw = standard_uniforms if self.uniform else standard_normals
        numbers = draw(self.stream, seed, sizes, self.count(sizes))
        first, second = np.split(numbers, [sizes.n_h * sizes.n_i])
        units = self.units(sizes)
        return units[0] * first.reshape(sizes.n_h, -1), units[1] * second.reshape(sizes.n_o, -1)

    def weights(self, seed: int, sizes: Sizes) -> tuple[Array, Array]:
        """Return raw weights W1 (N_h, N_i) and W2 (N_o, N_h) at init_scale 1."""
        w1, w2 = self.factors(seed, sizes)
        return w1, np.zeros_like(w2) if self.zero_w2 else w2

    def product(self, seed: int, sizes: Sizes) -> Array:
        """Return the product W2 W1 (N_o, N_i), whose singular vectors a balanced start has.

        A product that is 0 has none. Where W2 is 0, this is the product that W1 has with a W2 of the same
        law as W1, and `strength` is 0.
        """
        w1, w2 = self.factors(seed, sizes)
        return w2 @ w1


@dataclass(frozen=True)
class RegressionStart:
    """The Sigma_yx of an independent random regression task, whose target_scale is init_scale (B.4)."""

    n_samples: int
    kind: ClassVar[str] = "random_regression"
    compiled_kind: ClassVar[str] = "random_regression"
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
    compiled_kind: ClassVar[str] = "aligned"
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


# Starts that the vector kernels draw. `vector.problems` has the code of each compiled kind.
LaneStart = WeightStart | RegressionStart | AlignedStart


def lane_start(kind: str, n_samples: int) -> LaneStart:
    """Return the start of a kind that the vector kernels draw, for a task of so many samples."""
    if kind in ENTRY_LAWS:
        return WeightStart(kind)
    others: dict[str, LaneStart] = {
        RegressionStart.kind: RegressionStart(n_samples),
        AlignedStart.kind: AlignedStart(),
    }
    return others[kind]


def strength(start: StartLaw, init_scale: float) -> float:
    """Return the factor of the singular values of a start's product. It is 0 where W2 is 0."""
    if isinstance(start, WeightStart) and start.zero_w2:
        return 0.0
    return float(init_scale**start.power)
