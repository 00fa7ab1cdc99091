"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

import sys
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_INTERVAL = 10.0  # seconds between lines where no terminal redraws


class Silent:
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

    def begin(self, total: int, done: int) -> None:
        """Say how many points there are, and how many were there already."""

    def advance(self, points: int) -> None:
        """Count points that are done."""


class Plain(Silent):
    """Lines of text, at most one each ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def note(self, text: str) -> None:
        """Say one line."""
        with suppress(OSError):  # nobody reads it any more: no reason to stop computing
            print(text, file=self._stream, flush=True)

    def begin(self, total: int, done: int) -> None:
        """Remember where the run starts."""
        self._total, self._done, self._new = total, done, 0
        self._start = self._last = monotonic()

    def advance(self, points: int) -> None:
        """Count, and say where we are now and then, and at the end."""
        self._new += points
        now, done = monotonic(), self._done + self._new
        if now - self._last < PLAIN_INTERVAL and done < self._total:
            return
        self._last = now
        rate = self._new / max(now - self._start, 1e-9)
        left = (self._total - done) / rate
        self.note(f"{done:,} of {self._total:,} points, {rate:,.0f} points/s, {left:.0f} s left")


class Live(Silent):
    """A bar with points done, points per second and time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.fields[count]}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
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

    def begin(self, total: int, done: int) -> None:
        """Show the bar, with what was there already."""
        self._done, self._new, self._start = done, 0, monotonic()
        count = f"{done:,} of {total:,} points"
        self._task = self._bar.add_task("", total=total, completed=done, count=count, rate="")
        self._total = total

    def advance(self, points: int) -> None:
        """Move the bar."""
        self._new += points
        self._bar.update(
            self._task,
            advance=points,
            count=f"{self._done + self._new:,} of {self._total:,} points",
            rate=f"{self._new / max(monotonic() - self._start, 1e-9):,.0f} points/s",
        )


def on_stderr() -> Silent:
    """Return the progress that suits standard error."""
    console = Console(stderr=True)
    return Live(console) if console.is_terminal else Plain(sys.stderr)
