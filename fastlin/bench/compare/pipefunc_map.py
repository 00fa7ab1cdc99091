"""pipefunc: a function with a `mapspec`, mapped by processes into a folder of files."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.bench.compare import grid as grids
from fastlin.bench.compare.grid import VARIABLES, Array, Grid
from fastlin.bench.compare.tool import Tool


class PipefuncMap(Tool):
    """A sweep by pipefunc into its storage "file_array". One call computes a network, or all lam of a seed.

    A run folder has one shape for ever, so that seeds that are added go to a run folder of their own.
    """

    libraries = ("pipefunc",)

    def __init__(self, rows: bool) -> None:
        self._rows, self.call = rows, "a seed" if rows else "one network"

    def run(self, grid: Grid, folder: Path) -> None:
        """Map the function over the grid, or resume this."""
        pipefunc = import_module("pipefunc")
        axes = "architecture[a], seed[s]" if self._rows else "architecture[a], seed[s], lam[l]"
        index = "a, s" if self._rows else "a, s, l"
        mapped = pipefunc.PipeFunc(
            grids.row if self._rows else grids.one,
            output_name=VARIABLES,
            mapspec=f"{axes} -> {', '.join(f'{name}[{index}]' for name in VARIABLES)}",
            print_error=False,
        )
        values = {"architecture": list(grid.architectures), "seed": list(grid.seeds)}
        values["lams" if self._rows else "lam"] = grid.lams
        pipefunc.Pipeline([mapped]).map(
            values,
            run_folder=folder / f"{grid.seeds.start}-{grid.seeds.stop}",
            parallel=True,
            storage="file_array",
            resume=True,
            error_handling="continue",
            return_results=False,
            show_progress=False,
        )

    def read(self, grid: Grid, folder: Path) -> Array:
        """Return the results of all run folders."""
        results = grid.unset()
        for part in folder.iterdir():
            start, stop = (int(seed) - grid.seeds.start for seed in part.name.split("-"))
            for variable, outputs in enumerate(_outputs(part)):
                for index, value in np.ndenumerate(outputs):
                    if isinstance(value, np.ndarray):
                        a, s, *lam = index
                        results[(a, range(start, stop)[s], *lam)][..., variable] = value
        return results

    def repair(self, grid: Grid, folder: Path) -> int:
        """Remove the files that cannot be loaded. pipefunc takes them for results, and then reads none."""
        torn = [path for path in _files(folder) if not _whole(path)]
        for path in torn:
            path.unlink()
        return len(torn)

    def mend(self, grid: Grid, folder: Path) -> None:
        """Remove the files of errors, which count as results for pipefunc, and resume."""
        for path in _files(folder):
            if _is_error(pickle.loads(path.read_bytes())):
                path.unlink()
        self.run(grid, folder)

    def failures(self, folder: Path) -> int:
        """Return the number of calls that are stored as an error, with their arguments."""
        return sum(_is_error(value) for part in folder.iterdir() for value in _outputs(part)[0].flat)


def _files(folder: Path) -> list[Path]:
    """Return the files of elements: of results and of errors."""
    return [*folder.rglob("__*__.pickle")]


def _is_error(value: Any) -> bool:
    return isinstance(value, import_module("pipefunc.exceptions").ErrorSnapshot)


def _whole(path: Path) -> bool:
    try:
        pickle.loads(path.read_bytes())
    except (EOFError, pickle.UnpicklingError):
        return False
    return True


def _outputs(part: Path) -> list[Any]:
    """Return an array of objects for each variable: a result, an error, or None."""
    run_info = import_module("pipefunc.map")
    return [np.ma.filled(run_info.load_outputs(name, run_folder=part), None) for name in VARIABLES]
