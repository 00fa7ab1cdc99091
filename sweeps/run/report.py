"""The report of a run: counts of points and blocks, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass

from fastlin.formatting import format_duration
from fastlin.sweeps.run.worker import BlockReport


@dataclass(frozen=True)
class Report:
    """Result of a run, and content of the store after it.

    Attributes
    ----------
    store : str
        Path of the store.
    points, ok, diverged, failed, too_stiff, absent, pending : int
        Number of points of the sweep, in total and by status.
    blocks, computed_blocks, computed_points : int
        Number of blocks of the sweep, and of the blocks and points that this run computed.
    seconds : float
        Duration of this run.
    sweep_seconds : float
        Part of it from the first block that was submitted to the last one that was written.
    worker_seconds : float
        Time that the workers spent on blocks, summed over the workers.
    kernel_seconds : float
        Part of it that is processor time in kernels.
    """

    store: str
    points: int
    ok: int
    diverged: int
    failed: int
    too_stiff: int
    absent: int
    pending: int
    blocks: int
    computed_blocks: int
    computed_points: int
    seconds: float
    sweep_seconds: float
    worker_seconds: float
    kernel_seconds: float

    @property
    def bad(self) -> int:
        """Number of points that were tried and have no result: diverged, failed or too stiff."""
        return self.diverged + self.failed + self.too_stiff

    @property
    def summary(self) -> str:
        """The counts in one line."""
        rare = f", {self.too_stiff:,} too stiff" if self.too_stiff else ""
        rare += f", {self.absent:,} absent" if self.absent else ""
        return (
            f"{self.store}: {self.ok:,} of {self.points:,} points ok, {self.diverged:,} diverged, "
            f"{self.failed:,} failed{rare}; {self.computed_blocks:,} of {self.blocks:,} blocks computed "
            f"in {format_duration(self.seconds)}"
        )


@dataclass
class Done:
    """Sums over the blocks of a run."""

    blocks: int = 0
    points: int = 0
    kernel_seconds: float = 0.0
    worker_seconds: float = 0.0
    sweep_seconds: float = 0.0

    def add(self, report: BlockReport) -> None:
        """Count one block."""
        self.blocks += report.points > 0
        self.points += report.points
        self.kernel_seconds += report.kernel_seconds
        self.worker_seconds += report.seconds
