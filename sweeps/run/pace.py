"""The pace of a run: the share of its work that is done, and the time left.

Both are computed from the estimated time of blocks, because points differ: the last architectures of a grid
may take a hundred times as long as the first. Counts are of points.
"""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple


class Work(NamedTuple):
    """The work of a sweep and of a run, in estimated seconds of one core."""

    total: float  # of the whole sweep
    missing: float  # of the blocks that are not complete before the run
    run: float  # of the blocks that the run computes
    blocks: int  # number of blocks that the run computes
    threads: int  # number of threads of its workers at the start


class Pace:
    """The work of a run that is done, and its pace.

    The pace is measured from the start of the first block, so that it does not include the time that workers
    take to start. It includes work on blocks that are not finished, estimated from the time that threads have
    spent on them, because a run may be half done when its first blocks are.
    """

    def __init__(self, points: int, done: int, work: Work) -> None:
        self.points, self.done, self.work = points, done, work
        self._begun = monotonic()
        self._first: float | None = None  # start of the first block
        self._new, self._seconds, self._took = 0, 0.0, 0.0

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Count a block: its points, the estimated seconds of its work, and the seconds that it took."""
        if self._first is None:
            self._first = max(self._begun, monotonic() - took)
        self._new += points
        self.done += points
        self._seconds += seconds
        self._took += took

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return max(monotonic() - self._begun, 1e-9)

    @property
    def rate(self) -> float:
        """Points per second."""
        return self._new / self.elapsed

    @property
    def share(self) -> float:
        """Share of the work of the whole sweep that is done."""
        return 1.0 - max(0.0, self.work.missing - self._seconds) / max(self.work.total, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds that this run will still take at its pace so far, or None before its first block."""
        if self._first is None or not self._seconds:
            return None
        elapsed, rest = monotonic() - self._first, max(0.0, self.work.run - self._seconds)
        in_flight = min(self._in_flight(elapsed), rest / 2)  # a bound near the end
        # While the last blocks end one after the other, half of the threads have none.
        idle = min(rest, self._block * (self.work.threads - 1) / 2)
        return elapsed * (rest - in_flight + idle) / (self._seconds + in_flight)

    @property
    def _block(self) -> float:
        """Estimated seconds of a block, on average."""
        return self.work.run / max(1, self.work.blocks)

    def _in_flight(self, elapsed: float) -> float:
        """Estimate the work that is done on unfinished blocks, `elapsed` seconds after the first block began.

        Threads spent on these blocks, or waited for, the time that they did not spend on finished blocks. So
        the estimate is at most one block for each thread.
        """
        spent = max(0.0, self.work.threads * elapsed - self._took)
        most = self.work.threads * self._block
        return min(spent * self._seconds / self._took, most) if self._took else 0.0
