"""Configurations (seed, lam) of one architecture, as the kernels take them and as the rivals do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np

from fastlin import kernels
from fastlin.architecture import Architecture
from fastlin.bench.rivals import Networks
from fastlin.kernels import Row
from fastlin.kernels.jit import Array, Codes, Integers
from fastlin.network import balanced_init
from fastlin.task import random_regression

TARGET_SCALE, INIT_SCALE = 3**0.5, 1.0
ROWS = np.array([Row.LOSS, Row.KERNEL_DISTANCE])


class Case:
    """The problems of `seeds`, each with every lam; loss and kernel distance are asked for."""

    def __init__(self, shape: tuple[int, int, int], seeds: int, lams: Array) -> None:
        self.architecture = Architecture(*shape)
        self._seeds, self._lams, self.points = np.arange(seeds), lams, seeds * lams.size
        self._samples = max(10, self.architecture.n_i)
        self._records = self.set_up(self._seeds)

    def set_up(self, seeds: Integers) -> Array:
        """Draw and factorise the problems of some seeds."""
        return kernels.draw_records(
            self.architecture, seeds, self._samples, TARGET_SCALE, "gaussian", INIT_SCALE
        )

    def closed_form(self, times: Array) -> Callable[[], Array]:
        """Return a run of the closed form; it returns loss and kernel distance (points, T, 2)."""
        out, status = self._room(times.size)
        arguments = (self.architecture, self._records, self._lams, times, ROWS, out, status)
        return partial(self._run, kernels.closed_form, arguments, out)

    def gradient_descent(self, rate: float, steps: int) -> Callable[[], Array]:
        """Return a run of gradient descent; it returns loss and kernel distance (points, 1, 2) at its end."""
        out, status = self._room(1)
        recorded = np.array([steps])
        arguments = (self.architecture, self._records, self._lams, rate, recorded, ROWS, out, status)
        return partial(self._run, kernels.gradient_descent, arguments, out)

    def networks(self, count: int) -> Networks:
        """Return the first `count` points."""
        points = islice(product(self._seeds.tolist(), self._lams.tolist()), count)
        return Networks(*map(np.stack, zip(*(self._network(*point) for point in points), strict=True)))

    def _network(self, seed: int, lam: float) -> Networks:
        task = random_regression(self.architecture, self._samples, TARGET_SCALE, seed)
        net = balanced_init(self.architecture, lam, INIT_SCALE, seed)
        return Networks(task.sigma_yx, lam, task.loss_floor, net.w1, net.w2)

    def _room(self, times: int) -> tuple[Array, Codes]:
        room = kernels.padded(self.points)
        return np.empty((ROWS.size, room, times)), np.empty(room, np.uint8)

    def _run(self, kernel: Callable[..., None], arguments: tuple[Any, ...], out: Array) -> Array:
        kernel(*arguments)
        return np.moveaxis(out[:, : self.points], 0, -1)
