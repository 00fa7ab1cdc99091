"""Groups of points, of which the blocks of a store consist.

A group is some seeds and lam of one architecture, init_scale, solver and so on, at all times: the unit of
computing. A block is the groups that are stored in one chunk of every array: the unit of work, of
writing and of resume.

A group of a table of points has rows of the table in place of lam. They have one architecture, solver and
kind of start, and may differ in all that a kernel takes for each network (`Own`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.kernels import Problem
from fastlin.kernels.codes import Start
from fastlin.kernels.compilation import Kernel
from fastlin.kernels.draws import LaneStart
from fastlin.kinds.sequence_law import SequenceLaw
from fastlin.networks.low_rank import AdapterStart
from fastlin.observables.registry import Observable
from fastlin.observables.stages import entry_of
from fastlin.solvers import SOLVERS, Settings
from fastlin.weights.rates import Rates

Variant = tuple[Architecture, str, Start]
Position = tuple[int | slice, ...]


class Own(NamedTuple):
    """Values that the columns of a group have beside lam; None where all points share one.

    Attributes
    ----------
    seeds : ndarray of int64, (L,), optional
        Seeds, of a group with one row.
    init_scales, kappas, rate_ratios : ndarray of float64, (L,), optional
    """

    seeds: NDArray[np.int64] | None = None
    init_scales: NDArray[np.float64] | None = None
    kappas: NDArray[np.float64] | None = None
    rate_ratios: NDArray[np.float64] | None = None

    def part(self, columns: Any) -> "Own":
        """Return the values of some columns."""
        return Own(*(None if values is None else values[columns] for values in self))


ALL_SHARED = Own()


class PointValues(NamedTuple):
    """Values of the points of a group one by one, (S L,) each, in the order of its points."""

    seeds: NDArray[np.int64]
    lams: NDArray[np.float64]
    init_scales: NDArray[np.float64]
    kappas: NDArray[np.float64]
    rate_ratios: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """Points (seed, lam) of one architecture, one solver and the same settings, ready to be computed.

    Where `own` has values, they replace those of `problem`, `settings`, `rate_ratio` and `seeds`.
    """

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
    own: Own = ALL_SHARED

    def part(self, rows: Any, columns: Any) -> "Group":
        """Return the group of some of its rows (seeds) and columns (lam), given by arrays or slices."""
        return replace(self, seeds=self.seeds[rows], lams=self.lams[columns], own=self.own.part(columns))

    @property
    def point_values(self) -> PointValues:
        """The values of its points one by one."""
        own, grid = self.own, (self.seeds.size, self.lams.size)

        def of_columns(values: NDArray[np.float64] | None, shared: float) -> NDArray[np.float64]:
            return np.broadcast_to(shared if values is None else values, grid).ravel()

        return PointValues(
            np.broadcast_to(self.seeds[:, None] if own.seeds is None else own.seeds, grid).ravel(),
            np.broadcast_to(self.lams, grid).ravel(),
            of_columns(own.init_scales, self.init_scale),
            of_columns(own.kappas, self.settings.kappa),
            of_columns(own.rate_ratios, self.rate_ratio),
        )

    @property
    def paired(self) -> bool:
        """Whether each point has a record of its own, so that they are no product of seeds and lam."""
        seeds, init_scales, kappas, rate_ratios = (values is not None for values in self.own)
        raw = self.settings.start == Start.RAW
        return seeds or init_scales or kappas or (rate_ratios and raw)

    @property
    def has_rates(self) -> bool:
        """Whether the layers of any point have different learning rates."""
        return self.rate_ratio != 1.0 or self.own.rate_ratios is not None

    @property
    def init_scale(self) -> float:
        """Scale of the weights before balancing."""
        return self.problem.init_scale

    @property
    def learning_rate(self) -> float:
        """Learning rate of gradient descent."""
        return self.settings.learning_rate

    @property
    def weight_decay(self) -> tuple[float, float]:
        """Decay of W1 and of W2. That of `settings` is of U: the decay of W times the rate of the layer."""
        (first, second), rates = self.settings.decay, Rates.of_ratio(self.rate_ratio)
        return first / rates.first, second / rates.second

    @property
    def absent(self) -> bool:
        """Whether no such network exists: one of two-sided balance needs N_h >= N_i + N_o."""
        return self.settings.start == Start.TWO_SIDED and not self.architecture.sizes.has_two_sided

    @property
    def stacked(self) -> bool:
        """Whether no kernel takes its records: its points are a stack of networks, or taken one at a time.

        It is so of gradient descent with noise, the exact solution with decay, adapters, and some groups with
        inputs that are not whitened (see `on_inputs`).
        """
        if self.recordless:
            return not self.on_inputs
        return self._noisy or (SOLVERS[self.solver].balanced and any(self.settings.decay))

    @property
    def on_inputs(self) -> bool:
        """Whether kernels follow many of its points over time on inputs that are not whitened."""
        if self.problem.white or self.stages or isinstance(self.problem.start, AdapterStart):
            return False
        return follows_inputs(self.solver, self.settings, self.observables)

    @property
    def _noisy(self) -> bool:
        return _has_noise(self.solver, self.settings)

    @property
    def is_product(self) -> bool:
        """Whether its networks are those of all seeds and all lam, balanced on all inputs, of equal rates."""
        if not self.problem.spans:
            return False
        own = self.paired or self.own.rate_ratios is not None or isinstance(self.problem.start, AdapterStart)
        return not own and self.settings.start != Start.RAW

    @property
    def recordless(self) -> bool:
        """Whether its starts have no `Record`: those of adapters, and on inputs that are not whitened."""
        return isinstance(self.problem.start, AdapterStart) or not self.problem.white

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
        sizes, special = self.architecture.sizes, self.specialise
        law, start, step = self.problem.start, self.settings.start, SOLVERS[self.solver].step
        decays = any(self.settings.decay) and SOLVERS[self.solver].learning_rate
        if self.absent or self.stages:
            return
        if self.on_inputs and self.outputs and step:
            yield Kernel(step, sizes, self.outputs, special, Start.INPUTS)
        if self.recordless:
            return
        if self.problem.in_lanes and isinstance(law, LaneStart):
            yield Kernel("raw_set_up" if start == Start.RAW else "set_up", sizes, law.kind, special)
        if self.outputs and not self.stacked and step:
            yield Kernel(step, sizes, self.outputs, special, start, decays)
        if self.scales:
            yield Kernel("time_scales", sizes, self.scales, special, start)


def _has_noise(solver: str, settings: Settings) -> bool:
    return SOLVERS[solver].learning_rate and settings.noise is not None


def follows_inputs(solver: str, settings: Settings, observables: Sequence[str]) -> bool:
    """Tell whether kernels follow many networks on inputs that are not whitened.

    They do by the flow and by gradient descent without noise, if they write all observables over time.
    """
    entries = [entry_of(name) for name in observables]
    written = all(len(entry.outputs) == entry.rows for entry in entries if entry.over_time)
    return written and not SOLVERS[solver].balanced and not _has_noise(solver, settings)


class PlacedGroup(NamedTuple):
    """A group of a block, and its position in the block's chunks.

    `position` holds an index for every dimension of `status` before seeds and lam. In a table of points it
    holds the slices of all seeds and of its rows. So ``status[position]`` are the points (S, L) of the group,
    and ``values[position]`` their values.
    """

    position: Position
    group: Group


Block = tuple[PlacedGroup, ...]
