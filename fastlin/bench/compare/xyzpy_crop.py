"""xyzpy: a `Crop` keeps batches of results on disk, and a `Harvester` merges them into a labelled dataset."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.bench.compare import grid as grids
from fastlin.bench.compare.grid import TIMES, VARIABLES, Array, Grid
from fastlin.bench.compare.tool import Tool


class XyzpyCrop(Tool):
    """A sweep by xyzpy into a netCDF file. One call computes a network, or all lam of a seed."""

    libraries = ("xyzpy", "h5netcdf")

    def __init__(self, rows: bool) -> None:
        self._rows, self.call = rows, "a seed" if rows else "one network"

    def run(self, grid: Grid, folder: Path) -> None:
        """Sow, grow and reap. A crop that was sown before is continued."""
        crop = self._crop(grid, folder)
        if not crop.is_prepared():
            combos = {"architecture": list(grid.architectures), "seed": list(grid.seeds)}
            crop.sow_combos(combos if self._rows else combos | {"lam": grid.lams}, verbosity=0)
        crop.grow_missing(parallel=True, verbosity=0)
        crop.reap(verbosity=0)

    def read(self, grid: Grid, folder: Path) -> Array:
        """Return the results of the dataset, or of the batches if the crop was not reaped."""
        crop = self._crop(grid, folder)
        if crop.is_prepared():
            if crop.num_results == 0:
                return grid.unset()
            found = crop.reap(allow_incomplete=True, sync=False, clean_up=False, verbosity=0)
        else:
            found = crop.farmer.full_ds
        found = found.reindex(architecture=list(grid.architectures), seed=list(grid.seeds), lam=grid.lams)
        arrays = [found[name].transpose("architecture", "seed", "lam", "time") for name in VARIABLES]
        return np.stack(arrays, axis=-1)

    def repair(self, grid: Grid, folder: Path) -> int:
        """Remove batches that were cut short, by the method that xyzpy has for it."""
        return len(self._crop(grid, folder).check_bad())

    def _crop(self, grid: Grid, folder: Path) -> Any:
        xyzpy = import_module("xyzpy")
        inner = {"lam": grid.lams} if self._rows else {}
        runner = xyzpy.Runner(
            grids.row if self._rows else grids.one,
            var_names=list(VARIABLES),
            var_dims={name: [*inner, "time"] for name in VARIABLES},
            var_coords=inner | {"time": TIMES},
            constants={"lams": grid.lams} if self._rows else {},
        )
        harvester = xyzpy.Harvester(runner, data_name=str(folder / "sweep.h5"), engine="h5netcdf")
        return harvester.Crop(
            name="sweep", parent_dir=str(folder), batchsize=1 if self._rows else grid.lam_count
        )
