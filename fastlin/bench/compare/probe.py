"""Events of a sweep in a test: points are counted, one of them fails, or the process is killed.

An environment variable holds the orders, because it reaches every process that a tool starts. Without it the
functions do nothing.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sized
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VARIABLE = "FASTLIN_BENCH_PROBE"


class PlantedError(Exception):
    """The error of the point that is to fail."""


class Orders(NamedTuple):
    """The orders to a process.

    Parameters
    ----------
    log : str
        File that grows by a byte for each point that is computed.
    kill_at : int, optional
        Number of computed points after which the process group is killed.
    failing : tuple of str, int and float, optional
        Architecture, seed and lam of the point that raises an error.
    """

    log: str
    kill_at: int | None = None
    failing: tuple[str, int, float] | None = None

    def environment(self) -> dict[str, str]:
        """Return the variable that gives the orders."""
        return {VARIABLE: json.dumps(self)}

    def total(self) -> int:
        """Return the number of points that were computed."""
        return Path(self.log).stat().st_size if Path(self.log).exists() else 0


@cache
def orders() -> Orders | None:
    """Return the orders to this process."""
    text = os.environ.get(VARIABLE)
    return None if text is None else Orders(*json.loads(text))


def check(architecture: str, seeds: Any, lams: Any) -> None:
    """Raise an error if the failing point is among some points.

    Raises
    ------
    PlantedError
        If it is.
    """
    given = orders()
    if given is None or given.failing is None:
        return
    name, seed, lam = given.failing
    if name == architecture and seed in np.atleast_1d(seeds) and lam in np.atleast_1d(lams):
        raise PlantedError(f"the point {architecture}, seed {seed}, lam {lam} fails")


def computed(architecture: str, seeds: Sized, lams: Sized) -> None:
    """Count points that were computed, and kill this process group if it is time."""
    given = orders()
    if given is None:
        return
    with open(given.log, "ab") as log:  # appended whole, also if several processes write
        log.write(b"." * (len(seeds) * len(lams)))
    if given.kill_at is not None and given.total() >= given.kill_at:
        os.killpg(0, signal.SIGKILL)
