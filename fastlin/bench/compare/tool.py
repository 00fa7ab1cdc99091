"""The interface of all tools."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from fastlin.bench.compare.grid import Array, Grid


class Tool(ABC):
    """A way to run a sweep and to keep its results in a folder."""

    libraries: ClassVar[tuple[str, ...]]  # that it needs; the first one is the tool
    call: str  # the points that one call of the mapped function computes
    cores = "all"

    @abstractmethod
    def run(self, grid: Grid, folder: Path) -> None:
        """Compute the points of a grid that the tool does not find in the folder."""

    @abstractmethod
    def read(self, grid: Grid, folder: Path) -> Array:
        """Return the results in a folder, NaN where there are none. The seeds of a grid may be grown ones."""

    def grow(self, grid: Grid, seeds: range, folder: Path) -> None:
        """Add seeds to a complete folder. A run of these seeds alone is enough for most tools."""
        self.run(replace(grid, seeds=seeds), folder)

    def repair(self, grid: Grid, folder: Path) -> int:
        """Remove files that a kill cut short, and return their number. Most tools leave none."""
        return 0

    def mend(self, grid: Grid, folder: Path) -> None:
        """Compute failed points again. Most tools take them for missing ones."""
        self.run(grid, folder)

    def failures(self, folder: Path) -> int:
        """Return the number of points that the folder names as failed. Most tools name none."""
        return 0
