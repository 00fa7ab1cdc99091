"""The life of workers that this process starts: their settings, their restarts and their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Status
from tornado.ioloop import PeriodicCallback

CONNECT_SECONDS = 30.0  # time limit for a scheduler to answer
REFILL_SECONDS = 5.0  # time between two searches for workers or jobs that have ended

# A worker computes on one thread, so libraries must not start one thread for each core.
PINNED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

# There is no dashboard. The HTTP server that Dask starts anyway listens on loopback only.
NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}

_endings: list[Callable[[], object]] = []


def abandon() -> None:
    """End the workers and jobs that `connect` started and this process would leave behind.

    It is for a signal handler that is about to call `os._exit`: it never raises, and takes at most
    `slurm.CANCEL_SECONDS`. A job whose submission is under way ends by itself, because it finds no scheduler.
    """
    for end in list(_endings):
        with suppress(Exception):
            end()


@contextmanager
def ended_by(end: Callable[[], object]) -> Iterator[None]:
    """Have `abandon` call `end` while the context lasts."""
    _endings.append(end)
    try:
        yield
    finally:
        _endings.remove(end)


@contextmanager
def refilled(cluster: Any, **count: int) -> Iterator[None]:
    """Keep so many workers, or jobs, running while the context lasts."""

    def refill() -> None:
        for name, worker in list(cluster.workers.items()):
            if worker.status in (Status.failed, Status.closed):  # Dask does not notice that a start failed
                del cluster.workers[name]
        cluster.scale(**count)

    refills = PeriodicCallback(refill, 1000 * REFILL_SECONDS)
    cluster.loop.add_callback(refills.start)
    try:
        yield
    finally:
        cluster.loop.add_callback(refills.stop)


def reason_of(error: BaseException) -> str:
    """Return the first cause of an error, in one line."""
    while error.__cause__ is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return f"nothing within {CONNECT_SECONDS:g} s"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]
