"""Progress of a run: a live bar on a terminal, plain lines elsewhere.

The share that is done and the time left are by the estimated time of blocks, because points differ: the last
architectures of a grid may take a hundred times as long as the first. Counts are of points.
"""

import sys
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fastlin.formatting import format_duration

PLAIN_INTERVAL = 10.0  # seconds between lines where no terminal redraws


class Work(NamedTuple):
    """Estimated seconds of one core: of the whole sweep, of what it lacks, and of what this run computes.

    This run computes some `blocks` on the `threads` that its workers have at its start.
    """

    total: float
    missing: float
    run: float
    blocks: int
    threads: int


class Pace:
    """State of the progress of a run: the work that is done, and its pace.

    The time left counts from the start of the first block, so that it has nothing of the time that workers
    take to start. It counts what is done of blocks that are not finished, by the time that threads have
    spent on them: a run may be half done when its first blocks are.
    """

    def __init__(self, points: int, done: int, work: Work) -> None:
        self.points, self.done, self.work = points, done, work
        self._begun = monotonic()
        self._first: float | None = None  # when the first block was begun
        self._new, self._seconds, self._took = 0, 0.0, 0.0

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Count a block: points that are done, the estimated seconds of its work, and those that it took."""
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
        """Seconds that this run will take yet, by its pace so far; None before its first block."""
        if self._first is None or not self._seconds:
            return None
        elapsed, rest = monotonic() - self._first, max(0.0, self.work.run - self._seconds)
        in_flight = min(self._in_flight(elapsed), rest / 2)  # of the last blocks more is not known
        # While the last blocks end one after the other, half of the threads have none.
        idle = min(rest, self._block * (self.work.threads - 1) / 2)
        return elapsed * (rest - in_flight + idle) / (self._seconds + in_flight)

    @property
    def _block(self) -> float:
        """Estimated seconds of a block, on average."""
        return self.work.run / max(1, self.work.blocks)

    def _in_flight(self, elapsed: float) -> float:
        """Estimate the work that is done of blocks which are not finished, `elapsed` after the first began.

        The time that threads did not spend on finished blocks they spent on these, or waited. So it is one
        block for each thread at most.
        """
        spent = max(0.0, self.work.threads * elapsed - self._took)
        most = self.work.threads * self._block
        return min(spent * self._seconds / self._took, most) if self._took else 0.0


class NoProgress:
    """No progress; also the interface of the others."""

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""

    def note(self, text: str) -> None:
        """Say one line."""

    def compiling(self, done: int, total: int, left: float) -> None:
        """Say how many kernels are compiled that were missing, and how many seconds the others will take."""

    def begin(self, total: int, done: int, work: Work) -> None:
        """Say how many points there are, how many were there already, and how much work there is."""

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Count a block: points that are done, the estimated seconds of its work, and those that it took."""


class Plain(NoProgress):
    """Lines of text, at most one each ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = monotonic()

    def note(self, text: str) -> None:
        """Say one line."""
        with suppress(OSError):  # nobody reads it any more: no reason to stop computing
            print(text, file=self._stream, flush=True)

    def compiling(self, done: int, total: int, left: float) -> None:
        """Say where the compilation is at its start, now and then, and at its end."""
        now = monotonic()
        if 0 < done < total and now - self._last < PLAIN_INTERVAL:
            return
        self._last = now
        self.note(_compiling(done, total, left))

    def begin(self, total: int, done: int, work: Work) -> None:
        """Remember where the run starts."""
        self._pace, self._last = Pace(total, done, work), monotonic()

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Count, and say where we are now and then, and at the end."""
        pace, now = self._pace, monotonic()
        pace.advance(points, seconds, took)
        if now - self._last < PLAIN_INTERVAL and pace.done < pace.points:
            return
        self._last = now
        left = "" if pace.left is None else f", {format_duration(pace.left)} left"
        self.note(f"{pace.done:,} of {pace.points:,} points, {pace.rate:,.0f} points/s{left}")


class Live(NoProgress):
    """A bar with points done, points per second and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.fields[count]}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f} %"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
        )

    def __enter__(self) -> Self:
        """Draw the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()

    def note(self, text: str) -> None:
        """Say one line above the bar."""
        self._console.print(text, highlight=False)

    def compiling(self, done: int, total: int, left: float) -> None:
        """Show the compilation as a bar of its own, which goes when all is compiled."""
        if done == 0:
            self._compilation = self._bar.add_task("", total=total, count="", rate="", left="")
        count = _compiling(done, total, left)
        self._bar.update(self._compilation, completed=done, count=count)
        if done == total:
            self._bar.remove_task(self._compilation)

    def begin(self, total: int, done: int, work: Work) -> None:
        """Show the bar, with the points that were there already."""
        self._pace = Pace(total, done, work)
        self._task = self._bar.add_task("", total=1.0, **self._fields)

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Move the bar."""
        self._pace.advance(points, seconds, took)
        self._bar.update(self._task, **self._fields)

    @property
    def _fields(self) -> dict[str, Any]:
        pace = self._pace
        left = pace.left
        return {
            "completed": pace.share,
            "count": f"{pace.done:,} of {pace.points:,} points",
            "rate": f"{pace.rate:,.0f} points/s" if pace.rate else "",
            "left": _left(left, pace.elapsed),
        }


def _left(left: float | None, elapsed: float) -> str:
    """Return the time that is left, or at the end that which the run took."""
    if left is None:
        return ""
    return f"{format_duration(left)} left" if left else f"in {format_duration(elapsed)}"


def _compiling(done: int, total: int, left: float) -> str:
    if done == total:
        return f"compiled {total} kernels"
    rest = f"about {format_duration(left)}" if left >= 1 else "a moment"
    return f"compiling {done + 1} of {total} kernels, {rest}; they are kept for later runs"


def on_stderr() -> NoProgress:
    """Return the progress that suits standard error."""
    console = Console(stderr=True)
    return Live(console) if console.is_terminal else Plain(sys.stderr)
