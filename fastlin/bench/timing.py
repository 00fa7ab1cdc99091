"""Times that can be compared: all runs in turn, round after round, and the medians."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import NamedTuple

Say = Callable[[str], None]


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
