"""Dask alone: `dask.array.map_blocks` into a Zarr array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastlin.bench.compare import grid as grids
from fastlin.bench.compare.grid import Array, Grid
from fastlin.bench.compare.tool import Tool

SEEDS = 5  # of a block; seeds are added in multiples of it


class DaskBlocks(Tool):
    """A sweep by blocks of an architecture and some seeds, in threads. One call computes a block."""

    libraries, call = ("dask",), f"{SEEDS} seeds"

    def run(self, grid: Grid, folder: Path) -> None:
        """Compute all blocks, because an array does not tell which of them are complete."""
        _blocks(grid, grid.seeds).to_zarr(str(folder / "sweep.zarr"), mode="w")

    def grow(self, grid: Grid, seeds: range, folder: Path) -> None:
        """Enlarge the array, and write the new seeds to their region."""
        import dask.array
        import zarr

        target: Any = zarr.open_array(folder / "sweep.zarr", mode="r+")
        target.resize(grid.grown(seeds).shape)
        region = (slice(None), slice(len(grid.seeds), None), slice(None), slice(None), slice(None))
        dask.array.store(_blocks(grid, seeds), target, regions=region, lock=False)

    def read(self, grid: Grid, folder: Path) -> Array:
        """Return the array. Chunks that were not written are zero."""
        import zarr

        array: Any = zarr.open_array(folder / "sweep.zarr", mode="r")
        return np.asarray(array[:])


def _blocks(grid: Grid, seeds: range) -> Any:
    import dask.array

    names = dask.array.from_array(np.array(grid.architectures), chunks=1)
    numbers = dask.array.from_array(np.array(seeds), chunks=SEEDS)
    return dask.array.map_blocks(
        _block,
        names[:, None],
        numbers[None, :],
        grid.lams,
        dtype=np.float64,
        new_axis=[2, 3, 4],
        chunks=(names.chunks[0], numbers.chunks[0], *((size,) for size in grid.shape[2:])),
        meta=np.empty((0, 0, 0, 0, 0)),
    )


def _block(names: Any, seeds: Any, lams: Array) -> Array:
    numbers = seeds.ravel().tolist()
    return grids.stack(str(names.item()), range(numbers[0], numbers[-1] + 1), lams)[None]
