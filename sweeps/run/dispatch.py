"""Dispatch tasks to a Dask client, a bounded number at a time, and again if a process died."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple

from distributed import Client, Future, KilledWorker
from distributed.comm.core import CommClosedError  # private: public names are hidden from mypy

from fastlin.errors import CONTINUE, StoppedError
from fastlin.sweeps.run.builds import build, on_same_build
from fastlin.sweeps.run.worker import BlockRequest
from fastlin.sweeps.store.lease import Lease
from fastlin.sweeps.store.location import Location, stopped

WINDOW = 2  # tasks in flight per thread: one runs, one waits
WINDOW_SECONDS = 1.0  # time after which the threads are counted again
MOST_DEATHS = 9  # highest number of processes that may die with a task


class WorkerCall(NamedTuple):
    """A call for a worker."""

    function: Callable[..., Any]
    request: BlockRequest | Location
    where: Any  # indices of some blocks, or of a chunk of statistics
    deaths: int = 0  # number of processes that died with it


def results(client: Client, tasks: Iterator[WorkerCall], location: Location, lease: Lease) -> Iterator[Any]:
    """Keep the window full until all tasks are done. Yield their results in the order in which they end."""
    in_flight: dict[Future[Any], WorkerCall] = {}
    ended: SimpleQueue[tuple[Future[Any], Any, BaseException | None]] = SimpleQueue()
    window, loop = _Window(client), client.loop
    assert loop is not None

    def launch(count: int) -> None:
        for task in itertools.islice(tasks, count):
            submit(task)

    def submit(task: WorkerCall) -> None:
        future = client.submit(on_same_build, build(), *task[:3], pure=False)
        in_flight[future] = task
        loop.add_callback(fetch, future)

    # Dask's as_completed waits forever for a result that was lost with its worker before it arrived.
    async def fetch(future: Future[Any]) -> None:
        try:
            ended.put((future, await client.gather(future, asynchronous=True), None))
        except BaseException as error:  # also a CancelledError: the loop below waits for each future
            ended.put((future, None, error))

    launch(window.size())
    while in_flight:
        future, result, error = ended.get()
        task = in_flight.pop(future)
        if error is None:
            yield result
        else:
            submit(retried(task, error, location))
        lease.check()
        launch(max(0, window.size() - len(in_flight)))


def retried(task: WorkerCall, error: BaseException, location: Location) -> WorkerCall:
    """Return a task that is to be done again in a separate process, if its process died.

    Any other error is raised.
    """
    if isinstance(error, KilledWorker):
        if task.deaths == MOST_DEATHS:
            raise StoppedError(
                f"{MOST_DEATHS + 1} processes were killed, one after the other, at the blocks {task.where}, "
                "though these were computed in processes of their own: there may be too little memory; "
                "what is complete stays"
            ) from None
        request = (
            replace(task.request, isolated=True) if isinstance(task.request, BlockRequest) else task.request
        )
        return task._replace(request=request, deaths=task.deaths + 1)
    if isinstance(error, CancelledError | asyncio.CancelledError | CommClosedError):
        raise StoppedError(f"the Dask scheduler is gone; {CONTINUE}") from None
    if isinstance(error, OSError):
        raise stopped(location, error) from error
    raise error


class _Window:
    """Number of tasks that may be in flight: `WINDOW` for each thread that the client has at the time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._counted, self._size = -math.inf, 0

    def size(self) -> int:
        """Return the number, which is at most a second old."""
        if perf_counter() - self._counted > WINDOW_SECONDS:
            self._size = WINDOW * max(1, sum(self._client.nthreads().values()))
            self._counted = perf_counter()
        return self._size
