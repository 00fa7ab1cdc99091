"""Loops in Python over architectures, with files written by hand."""

from __future__ import annotations

import os
from abc import abstractmethod
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.bench import rivals
from fastlin.bench.compare import grid as grids
from fastlin.bench.compare import probe
from fastlin.bench.compare.grid import Array, Grid
from fastlin.bench.compare.tool import Tool


class Loop(Tool):
    """A loop that writes a file for each call, and skips the files that are there."""

    cores = "one"

    @abstractmethod
    def solve(self, architecture: str, seeds: range, lams: Array) -> Array:
        """Return the results (S, L, T, 2) of some seeds of an architecture."""

    def parts(self, seeds: range) -> list[range]:
        """Return the seeds of each file."""
        return [seeds]

    def run(self, grid: Grid, folder: Path) -> None:
        """Compute the files that are missing."""
        for architecture in grid.architectures:
            for seeds in self.parts(grid.seeds):
                path = folder / f"{architecture}_{seeds.start}-{seeds.stop}.npz"
                if not path.exists():
                    partial = path.with_suffix(".part")
                    with partial.open("wb") as file:
                        np.savez(file, values=self.solve(architecture, seeds, grid.lams))
                    os.replace(partial, path)  # so that a file is whole or missing

    def read(self, grid: Grid, folder: Path) -> Array:
        """Return the results. The names of the files hold the architecture and the seeds."""
        results, at = grid.unset(), grid.at
        for path in folder.glob("*.npz"):
            architecture, seeds = path.stem.split("_")
            with np.load(path) as file:
                for seed, values in zip(range(*map(int, seeds.split("-"))), file["values"], strict=True):
                    results[at[architecture, seed]] = values
        return results


class NumpyLoop(Loop):
    """A loop over networks in NumPy, with a file for each architecture and seed."""

    libraries, call = ("numpy",), "one network"

    def parts(self, seeds: range) -> list[range]:
        """Return one seed for each file."""
        return [range(seed, seed + 1) for seed in seeds]

    def solve(self, architecture: str, seeds: range, lams: Array) -> Array:
        """Solve one network after the other."""
        networks, results = _networks(architecture, seeds, lams), []
        for index, (seed, lam) in enumerate((seed, lam) for seed in seeds for lam in lams):
            results.append(rivals.numpy_closed_form(networks.part(index), grids.DT, grids.COUNT))
            probe.computed(architecture, [seed], [lam])
        return np.reshape(results, (len(seeds), lams.size, grids.COUNT, 2))


class JaxLoop(Loop):
    """A loop over architectures in JAX (`jit` and `vmap`), with a file for each."""

    libraries, call, cores = ("jax",), "an architecture", "all"

    def solve(self, architecture: str, seeds: range, lams: Array) -> Array:
        """Solve all networks at a time."""
        results = np.asarray(_jax_solver()(_networks(architecture, seeds, lams)))
        probe.computed(architecture, seeds, lams)
        return results.reshape(len(seeds), lams.size, grids.COUNT, 2)


class StackLoop(Loop):
    """A loop over architectures with `fastlin.exact` on stacks, with a file for each."""

    libraries, call = ("fastlin",), "an architecture"

    def solve(self, architecture: str, seeds: range, lams: Array) -> Array:
        """Solve all networks at a time."""
        return grids.stack(architecture, seeds, lams)


def _networks(architecture: str, seeds: range, lams: Array) -> rivals.Networks:
    """Return the networks of some seeds and lam as a stack, drawn by fastlin."""
    probe.check(architecture, seeds, lams)
    tasks, nets = grids.start(architecture, seeds, lams)
    w1, w2 = (layer.reshape(-1, *layer.shape[2:]) for layer in (nets.w1, nets.w2))
    sigma = np.repeat([task.sigma_yx for task in tasks.values], lams.size, axis=0)
    floor = np.repeat([task.loss_floor for task in tasks.values], lams.size)
    return rivals.Networks(sigma, np.tile(lams, len(seeds)), floor, w1, w2)


@cache
def _jax_solver() -> Any:
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return jax.jit(jax.vmap(lambda net: rivals.jax_closed_form(jax, net, grids.DT, grids.COUNT)))
