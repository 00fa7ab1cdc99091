"""Times that can be compared: all runs in turn, round after round, and the medians."""

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import NamedTuple

Say = Callable[[str], None]

LEAST_SECONDS = 0.07


class Run(NamedTuple):
    """Something to time, and the units of work that it does."""

    work: Callable[[], object]
    units: float


def alternate(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Return the median of seconds per unit of each; a first round, to warm up, does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + rounds):
        for name, run in runs.items():
            start = perf_counter()
            run.work()
            times[name].append((perf_counter() - start) / run.units)
    return {name: median(values[1:]) for name, values in times.items()}


def repeats(work: Callable[[], object]) -> int:
    """Return how often to run, so that waking a thread up, which takes a millisecond, does not count."""
    seconds = alternate({"one": Run(work, 1.0)}, rounds=1)["one"]
    return math.ceil(LEAST_SECONDS / seconds)


def repeat(work: Callable[[], object], times: int) -> None:
    """Run so many times."""
    for _ in range(times):
        work()


def lengthened(work: Callable[[], object], units: float) -> Run:
    """Return a run of some work, repeated until waking a thread up does not count."""
    times = repeats(work)
    return Run(partial(repeat, work, times), units * times)
