"""Configurations (seed, lam) of one architecture, in the forms that kernels and rivals take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice, product

import numpy as np

from fastlin.architecture import Architecture
from fastlin.bench.rivals import Networks
from fastlin.kernels import Batch, Output, Problem, dispatch, draw_records, empty_batch
from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.draws import RegressionTask, WeightStart
from fastlin.kinds.starts import balanced_init
from fastlin.kinds.task_kinds import random_regression

TARGET_SCALE, INIT_SCALE = 3**0.5, 1.0
OUTPUTS = (int(Output.LOSS), int(Output.KERNEL_DISTANCE))


class Case:
    """The problems of some seeds, each with every lam. Runs compute loss and kernel distance."""

    def __init__(self, shape: tuple[int, int, int], seeds: int, lams: Array) -> None:
        self.architecture = Architecture(*shape)
        self._sizes = self.architecture.sizes
        self._seeds, self._lams, self.points = np.arange(seeds), lams, seeds * lams.size
        self._samples = max(10, self.architecture.n_i)
        self._records = self.set_up(self._seeds)

    def set_up(self, seeds: Integers, specialise: bool = True) -> Array:
        """Draw and factorise the problems of some seeds."""
        problem = Problem(RegressionTask(self._samples, TARGET_SCALE), WeightStart("gaussian"), INIT_SCALE)
        return draw_records(self._sizes, seeds, problem, specialise=specialise)

    def closed_form(self, times: Array, specialise: bool = True, kappa: float = 0.0) -> Callable[[], Array]:
        """Return a run of the closed form, which returns loss and kernel distance (points, T, 2)."""
        batch = empty_batch(self._records, self._lams, times, len(OUTPUTS))
        return partial(
            self._run,
            batch,
            partial(dispatch.closed_form, self._sizes, OUTPUTS, batch, kappa=kappa, specialise=specialise),
        )

    def gradient_descent(self, rate: float, steps: int, specialise: bool = True) -> Callable[[], Array]:
        """Return a run of gradient descent, which returns its last loss and distance (points, 1, 2)."""
        batch = empty_batch(self._records, self._lams, np.array([steps]), len(OUTPUTS))
        return partial(
            self._run,
            batch,
            partial(dispatch.gradient_descent, self._sizes, OUTPUTS, batch, rate, specialise=specialise),
        )

    def networks(self, count: int) -> Networks:
        """Return the first `count` points."""
        points = islice(product(self._seeds.tolist(), self._lams.tolist()), count)
        return Networks(*map(np.stack, zip(*(self._network(*point) for point in points), strict=True)))

    def _network(self, seed: int, lam: float) -> Networks:
        task = random_regression(self.architecture, self._samples, TARGET_SCALE, seed)
        net = balanced_init(self.architecture, lam, INIT_SCALE, seed)
        return Networks(task.sigma_yx, lam, task.loss_floor, net.w1, net.w2)

    def _run(self, batch: Batch, kernel: Callable[[], None]) -> Array:
        kernel()
        return np.moveaxis(batch.outputs[:, : self.points], 0, -1)
