"""Progress of a run: a live bar on a terminal or in a notebook, lines of text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from fastlin.errors import InputError
from fastlin.formatting import format_duration
from fastlin.sweeps.run.pace import Pace, Work
from fastlin.validation import shown

PLAIN_INTERVAL = 10.0  # seconds between lines where no terminal redraws


@runtime_checkable
class Progress(Protocol):
    """The calls by which a run tells how far it is. The run enters it as a context.

    Each does nothing. A class that extends this one has those that do something.
    """

    # `return` tells mypy that a method of a protocol is not abstract.

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
        return

    def note(self, text: str) -> None:
        """Tell one line."""
        return

    def compiling(self, done: int, total: int, left: float) -> None:
        """Tell how many of the missing kernels are compiled, and the seconds that the others will take."""
        return

    def begin(self, total: int, done: int, work: Work) -> None:
        """Tell how many points there are, how many were done before this run, and how much work there is."""
        return

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Count a block: its points, the estimated seconds of its work, and the seconds that it took."""
        return


class NoProgress(Progress):
    """Progress that tells nothing."""


class Plain(Progress):
    """Lines of text, at most one in ten seconds.

    Parameters
    ----------
    write : callable
        Called with each line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last = monotonic()

    def note(self, text: str) -> None:
        """Write one line."""
        self._write(text)

    def compiling(self, done: int, total: int, left: float) -> None:
        """Write how many kernels are compiled: at the start, now and then, and at the end."""
        now = monotonic()
        if 0 < done < total and now - self._last < PLAIN_INTERVAL:
            return
        self._last = now
        self._write(_compiling(done, total, left))

    def begin(self, total: int, done: int, work: Work) -> None:
        """Remember where the run starts."""
        self._pace, self._last = Pace(total, done, work), monotonic()

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Count, and write how many points are done: now and then, and at the end."""
        pace, now = self._pace, monotonic()
        pace.advance(points, seconds, took)
        if now - self._last < PLAIN_INTERVAL and pace.done < pace.points:
            return
        self._last = now
        left = "" if pace.left is None else f", {format_duration(pace.left)} left"
        self._write(f"{pace.done:,} of {pace.points:,} points, {pace.rate:,.0f} points/s{left}")


class Together(Progress):
    """Several progresses that are told the same.

    Parameters
    ----------
    *several : Progress
    """

    def __init__(self, *several: Progress) -> None:
        self._several = several
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start all."""
        for each in self._several:
            self._stack.enter_context(each)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop all."""
        self._stack.close()

    def note(self, text: str) -> None:
        """Tell all."""
        for each in self._several:
            each.note(text)

    def compiling(self, done: int, total: int, left: float) -> None:
        """Tell all."""
        for each in self._several:
            each.compiling(done, total, left)

    def begin(self, total: int, done: int, work: Work) -> None:
        """Tell all."""
        for each in self._several:
            each.begin(total, done, work)

    def advance(self, points: int, seconds: float, took: float) -> None:
        """Tell all."""
        for each in self._several:
            each.advance(points, seconds, took)


class Live(Progress):
    """A bar with points done, points per second and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Bar(
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

    def __exit__(self, *error: object) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()

    def note(self, text: str) -> None:
        """Write one line above the bar."""
        self._console.print(text, highlight=False)

    def compiling(self, done: int, total: int, left: float) -> None:
        """Show the compilation as a separate bar, which disappears when all is compiled."""
        if done == 0:
            self._compilation = self._bar.add_task("", total=total, count="", rate="", left="")
        count = _compiling(done, total, left)
        self._bar.update(self._compilation, completed=done, count=count)
        if done == total:
            self._bar.remove_task(self._compilation)

    def begin(self, total: int, done: int, work: Work) -> None:
        """Show the bar, with the points that were done before this run."""
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


def to_stderr(text: str) -> None:
    """Print a line to standard error, unless it is closed, which is no reason to stop a run."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def on_stderr() -> Progress:
    """Return a bar on a terminal or in a notebook, and lines on standard error elsewhere.

    Rich needs ipywidgets to draw in a notebook, and warns at each step without it (Textualize/rich#131).
    """
    console = Console(stderr=True)
    redraws = find_spec("ipywidgets") is not None if console.is_jupyter else console.is_terminal
    return Live(console) if redraws else Plain(to_stderr)


def as_progress(progress: bool | Progress) -> Progress:
    """Return the progress that a caller asks for: True shows it, False does not.

    Raises
    ------
    InputError
        If it is neither of these nor a `Progress`.
    """
    if progress is True:
        return on_stderr()
    if progress is False:
        return NoProgress()
    if not isinstance(progress, Progress):
        raise InputError(f"progress is {shown(progress)}; allowed are True, False and a Progress")
    return progress
