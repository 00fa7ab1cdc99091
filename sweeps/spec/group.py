"""Groups of points, of which the blocks of a store consist.

A group is some seeds and lam of one architecture, init_scale, solver and so on, at all times: the unit of
computing. A block is the groups that are stored in one chunk of every array: the unit of work, of
writing and of resume.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.kernels import Problem
from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel
from fastlin.kernels.draws import LaneStart
from fastlin.observables import Observable
from fastlin.sequence_law import SequenceLaw
from fastlin.sequence_observables import entry_of
from fastlin.solvers import SOLVERS, Settings

Variant = tuple[Architecture, str, Start]


@dataclass(frozen=True, eq=False)
class Group:
    """Points (seed, lam) of one architecture, one solver and the same settings, ready to be computed."""

    architecture: Architecture
    task_kind: str
    problem: Problem
    solver: str
    settings: Settings
    rate_ratio: float
    seeds: NDArray[np.int64]
    lams: NDArray[np.float64]
    times: NDArray[np.float64]
    observables: tuple[str, ...]
    fraction: float
    dtype: str
    specialise: bool = False  # whether kernels are used that are compiled for this architecture alone

    @property
    def init_scale(self) -> float:
        """Scale of the weights before balancing."""
        return self.problem.init_scale

    @property
    def learning_rate(self) -> float:
        """Learning rate of gradient descent."""
        return self.settings.learning_rate

    @property
    def absent(self) -> bool:
        """Whether no such network exists: one of two-sided balance needs N_h >= N_i + N_o."""
        return self.settings.start == Start.TWO_SIDED and not self.architecture.sizes.has_two_sided

    @property
    def one_by_one(self) -> bool:
        """Whether no kernel computes many of its points: gradient descent with noise, exact with decay."""
        solver = SOLVERS[self.solver]
        noisy = solver.learning_rate and self.settings.noise is not None
        return noisy or (solver.balanced and any(self.settings.decay))

    @property
    def variant(self) -> Variant:
        """The architecture, the solver and the kind of start, which choose the kernel over time."""
        return self.architecture, self.solver, self.settings.start

    @property
    def points(self) -> int:
        """Number of points."""
        return self.seeds.size * self.lams.size

    @property
    def stages(self) -> int:
        """Number of stages of a sequence of tasks, 0 for one task."""
        law = self.problem.task
        return len(law.stages) if isinstance(law, SequenceLaw) else 0

    def entry(self, name: str) -> Observable:
        """Return an observable as it is stored: by stage in a sequence of tasks."""
        return entry_of(name, self.stages)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Codes of the numbers over time."""
        return tuple(int(output) for name in self.observables for output in self.entry(name).outputs)

    @property
    def scales(self) -> tuple[int, ...]:
        """Codes of the time scales."""
        scales = (self.entry(name).scale for name in self.observables)
        return tuple(int(scale) for scale in scales if scale is not None)

    @property
    def kernels(self) -> Iterator[Kernel]:
        """The kernels that the group needs."""
        if self.absent or self.stages:
            return
        sizes, special = self.architecture.sizes, self.specialise
        law, start = self.problem.start, self.settings.start
        decays = any(self.settings.decay) and SOLVERS[self.solver].learning_rate
        if self.problem.in_lanes and isinstance(law, LaneStart):
            yield Kernel("raw_set_up" if start == Start.RAW else "set_up", sizes, law.kind, special)
        if self.outputs and not self.one_by_one and (step := SOLVERS[self.solver].step):
            yield Kernel(step, sizes, self.outputs, special, start, decays)
        if self.scales:
            yield Kernel("time_scales", sizes, self.scales, special, start)


class PlacedGroup(NamedTuple):
    """A group of a block, and its position in the block's chunks.

    `position` holds an index for every dimension of `status` before seeds and lam, so that
    ``status[position]`` are the points (S, L) of the group, and ``values[position]`` their values.
    """

    position: tuple[int, ...]
    group: Group


Block = tuple[PlacedGroup, ...]
