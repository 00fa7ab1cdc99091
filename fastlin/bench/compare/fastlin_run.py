"""fastlin itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fastlin as fl
from fastlin.bench.compare import probe
from fastlin.bench.compare.grid import LIMIT, SAMPLES, TARGET_SCALE, TIMES, VARIABLES, Array, Grid
from fastlin.bench.compare.tool import Tool

if TYPE_CHECKING:
    from fastlin.sweeps.run.block import Result
    from fastlin.sweeps.spec.group import Group


class FastlinRun(Tool):
    """A sweep by `fastlin.run_sweep` into a Zarr store. One call of a kernel computes a group."""

    libraries, call = ("fastlin",), "a block"

    def run(self, grid: Grid, folder: Path) -> None:
        """Compute the blocks that are missing."""
        self._run(grid, folder)

    def mend(self, grid: Grid, folder: Path) -> None:
        """Compute failed points again, as ``fastlin run --retry-failed``."""
        self._run(grid, folder, retry_failed=True)

    def grow(self, grid: Grid, seeds: range, folder: Path) -> None:
        """Run the grid with all seeds into the same store."""
        self.run(grid.grown(seeds), folder)

    def _run(self, grid: Grid, folder: Path, retry_failed: bool = False) -> None:
        if probe.orders() is not None:
            _watch()
        fl.run_sweep(_spec(grid), folder / "sweep.zarr", retry_failed=retry_failed)

    def read(self, grid: Grid, folder: Path) -> Array:
        """Return the results in the store."""
        found = fl.open_sweep(folder / "sweep.zarr").squeeze("init_scale")
        arrays = [found[name].transpose("architecture", "seed", "lam", "time") for name in VARIABLES]
        return np.stack(arrays, axis=-1)

    def failures(self, folder: Path) -> int:
        """Return the number of points that `fastlin status` lists as failed."""
        from fastlin.sweeps.store.status import sweep_status

        return len(sweep_status(folder / "sweep.zarr")["bad"])


def _spec(grid: Grid) -> dict[str, Any]:
    return {
        "name": "compare",
        "axes": {
            "architecture": list(grid.architectures),
            "seed": {"start": grid.seeds.start, "num": len(grid.seeds)},
            "lam": {"start": -LIMIT, "stop": LIMIT, "num": grid.lam_count},
        },
        "task": {"n_samples": SAMPLES, "target_scale": TARGET_SCALE},
        "dynamics": {"times": TIMES.tolist()},
        "output": {"observables": list(VARIABLES)},
    }


def _watch() -> None:
    """Let the probe see every group that this process computes."""
    from fastlin.sweeps.run import block as blocks  # only here, because other tools need not wait for it

    compute = blocks.compute

    def watched(group: Group) -> Result:
        name = str(group.architecture)
        probe.check(name, group.seeds, group.lams)
        result = compute(group)
        probe.computed(name, group.seeds, group.lams)
        return result

    blocks.compute = watched
