"""The sweep that all tools run: loss and kernel distance of balanced networks, from the closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastlin as fl
from fastlin.bench.compare import probe

Array = NDArray[np.float64]

DT, COUNT = 0.5, 11
TIMES = DT * np.arange(COUNT)
VARIABLES = ("loss", "kernel_distance")
SAMPLES, TARGET_SCALE = 16, 3**0.5
LIMIT = 8.0  # lam lies between -LIMIT and LIMIT


@dataclass(frozen=True)
class Grid:
    """All combinations of some architectures, seeds and lam.

    Parameters
    ----------
    architectures : tuple of str
        Such as "4-2-4".
    seeds : range
    lam_count : int
    """

    architectures: tuple[str, ...]
    seeds: range
    lam_count: int

    @property
    def lams(self) -> Array:
        """The values of lam (L,)."""
        return np.linspace(-LIMIT, LIMIT, self.lam_count)

    @property
    def points(self) -> int:
        """The number of points."""
        return len(self.architectures) * len(self.seeds) * self.lam_count

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The shape of the results: architecture, seed, lam, time and variable."""
        return len(self.architectures), len(self.seeds), self.lam_count, COUNT, len(VARIABLES)

    def grown(self, seeds: range) -> Grid:
        """Return the grid with seeds behind its own."""
        return replace(self, seeds=range(self.seeds.start, seeds.stop))

    def unset(self) -> Array:
        """Return results that are all NaN."""
        return np.full(self.shape, np.nan)

    @property
    def at(self) -> dict[tuple[str, int], tuple[int, int]]:
        """The place of each architecture and seed in the results."""
        places = product(range(len(self.architectures)), range(len(self.seeds)))
        return dict(zip(product(self.architectures, self.seeds), places, strict=True))


def one(architecture: str, seed: int, lam: float) -> tuple[Array, Array]:
    """Return the loss and the kernel distance (T,) of one network, by `fastlin.exact`."""
    values = _solved(architecture, seed, lam)
    probe.computed(architecture, [seed], [lam])
    return values


def row(architecture: str, seed: int, lams: Array) -> tuple[Array, Array]:
    """Return the loss and the kernel distance (L, T) of the networks of one seed, by `fastlin.exact`."""
    values = _solved(architecture, seed, lams)
    probe.computed(architecture, [seed], lams)
    return values


def stack(architecture: str, seeds: range, lams: Array) -> Array:
    """Return the results (S, L, T, 2) of a stack of networks, by `fastlin.exact`."""
    values = np.stack(_solved(architecture, seeds, lams), axis=-1)
    probe.computed(architecture, seeds, lams)
    return values


def start(architecture: str, seed: Any, lam: Any) -> tuple[Any, Any]:
    """Return the task and the network of a point, or a stack of them for several seeds or lam."""
    sizes = fl.Architecture.read(architecture)
    task = fl.random_regression(sizes, n_samples=SAMPLES, target_scale=TARGET_SCALE, seed=seed)
    return task, fl.balanced_init(sizes, lam, init_scale=1.0, seed=seed)


def _solved(architecture: str, seed: Any, lam: Any) -> tuple[Array, Array]:
    probe.check(architecture, seed, lam)
    solved = fl.exact(*start(architecture, seed, lam), TIMES, list(VARIABLES))
    return solved["loss"].values, solved["kernel_distance"].values
