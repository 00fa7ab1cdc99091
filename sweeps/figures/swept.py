"""The results of a preset that a figure draws."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from fastlin.sweeps.read.open import open_sweep
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads
from fastlin.sweeps.run.progress import as_progress
from fastlin.sweeps.run.run import run_sweep
from fastlin.sweeps.spec.spec import Spec


def swept(preset: str, *, progress: bool = False) -> xr.Dataset:
    """Run a preset and return its results, without dimensions of length 1."""
    with TemporaryDirectory() as folder, connect(Threads()) as client:
        path = Path(folder, "sweep.zarr")
        run_sweep(Spec.load(preset), path, client, progress=as_progress(progress))
        return open_sweep(path).squeeze().load()
