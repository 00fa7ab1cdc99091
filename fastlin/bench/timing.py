"""Times that can be compared: all runs are timed in turn, round after round, and the medians count."""

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import NamedTuple

Note = Callable[[str], None]

LEAST_SECONDS = 0.07


class Run(NamedTuple):
    """Work to time, and the units that it does."""

    work: Callable[[], object]
    units: float


def alternate(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Return the median seconds per unit of each run. The first round warms up, and does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + rounds):
        for name, run in runs.items():
            start = perf_counter()
            run.work()
            times[name].append((perf_counter() - start) / run.units)
    return {name: median(values[1:]) for name, values in times.items()}


def repeats(work: Callable[[], object]) -> int:
    """Return a number of repeats that makes the millisecond to wake a thread negligible."""
    seconds = alternate({"one": Run(work, 1.0)}, rounds=1)["one"]
    return math.ceil(LEAST_SECONDS / seconds)


def repeat(work: Callable[[], object], times: int) -> None:
    """Run the work a number of times."""
    for _ in range(times):
        work()


def lengthened(work: Callable[[], object], units: float) -> Run:
    """Return a run of some work, repeated so that the time to wake a thread is negligible."""
    times = repeats(work)
    return Run(partial(repeat, work, times), units * times)
