"""Run a sweep: a bounded window of blocks on a Dask client, each worker writing its own chunks."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client, LocalCluster, as_completed
from distributed.system import MEMORY_LIMIT
from threadpoolctl import threadpool_limits

from fastlin.errors import InputError, StoppedError, whole
from fastlin.sweeps import store
from fastlin.sweeps.block import Block, Receipt, compute, run_block
from fastlin.sweeps.plan import Plan
from fastlin.sweeps.progress import Silent
from fastlin.sweeps.spec import Spec
from fastlin.sweeps.tally import Tally, tally

WINDOW = 2  # blocks in flight per thread: one runs, one waits
MAX_WORKERS = 4096
# Threads beyond the cores, which compute while others wait for zarr: a fifth off the time of phase-10m.
SPARE_THREADS = 2


@dataclass(frozen=True)
class Report:
    """What a run did, and what the store holds after it.

    Attributes
    ----------
    store : str
        Its path.
    points, ok, diverged, failed, pending : int
        Points of the sweep, in all and by status.
    blocks, computed_blocks : int
        Blocks of the sweep, and those that this run computed.
    seconds : float
        Duration of this run.
    sweep_seconds : float
        Of that, from the first block submitted to the last one written.
    worker_seconds : float
        Time that the workers spent on its blocks, summed over them.
    kernel_seconds : float
        Of that, processor time in kernels.
    """

    store: str
    points: int
    ok: int
    diverged: int
    failed: int
    pending: int
    blocks: int
    computed_blocks: int
    seconds: float
    sweep_seconds: float
    worker_seconds: float
    kernel_seconds: float


def local_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_workers(workers: int | None) -> int:
    """Return a number of workers that was given, or that of the cores."""
    return local_threads() if workers is None else whole("workers", workers, 1, MAX_WORKERS)


def blocks_at_once(workers: int | None) -> int:
    """Return how many blocks are in memory at a time: one to a process, or one to a thread."""
    return checked_workers(workers) + (SPARE_THREADS if workers is None else 0)


def run_sweep(
    spec: Spec | Mapping[str, Any] | str | Path,
    path: str | Path,
    client: Client | None = None,
    *,
    workers: int | None = None,
    resume: bool = True,
    progress: Silent | None = None,
) -> Report:
    """Run a sweep into a Zarr store, or go on with one that was interrupted.

    Parameters
    ----------
    spec : Spec, mapping, str or Path
        A spec, its content, a TOML file, or the name of a preset.
    path : str or Path
        The store. Only blocks without their commit mark are computed.
    client : distributed.Client, optional
        Where to run; its workers must see `path`. By default threads of this process.
    workers : int, optional
        Run in this many processes of one thread each instead. They import the calling script, so its
        call belongs under ``if __name__ == "__main__":``.
    resume : bool
        False refuses a store that is there already.
    progress : optional
        One of `fastlin.sweeps.progress`; silent by default.

    Returns
    -------
    Report
        Counts of points and blocks.

    Raises
    ------
    InputError
        If the spec is not valid, the store is that of another spec, or disk or memory do not suffice.
    StoppedError
        If a block could not be written. The store stays resumable.
    """
    start = perf_counter()
    place, show = store.local_path(path), progress or Silent()
    if isinstance(spec, str | Path):
        spec = Spec.load(spec)
    elif not isinstance(spec, Spec):
        spec = Spec.from_dict(spec)
    _check_main_guard()
    plan, before = _prepare(spec, place, blocks_at_once(workers), resume)
    todo = (block for block in plan.blocks() if _corner(block) not in before.complete)
    receipts: list[Receipt] = []
    sweep_seconds = 0.0
    if before.pending:
        show.note("loading kernels (compiled on first use: some seconds, once per machine and version)")
        # The limit of this process, which may be somebody's notebook, is given back at the end.
        with show, threadpool_limits(limits=1, user_api="blas"):
            _warm(plan)
            with _client(client, workers) as engine:
                show.begin(before.points, before.done)
                submitted = perf_counter()
                receipts = _drive(engine, todo, place, show)
                sweep_seconds = perf_counter() - submitted
    after = tally(place)
    return Report(
        store=place,
        points=after.points,
        ok=after.ok,
        diverged=after.diverged,
        failed=after.failed,
        pending=after.pending,
        blocks=after.blocks,
        computed_blocks=len(receipts),
        seconds=perf_counter() - start,
        sweep_seconds=sweep_seconds,
        worker_seconds=sum(receipt.seconds for receipt in receipts),
        kernel_seconds=sum(receipt.kernel_seconds for receipt in receipts),
    )


def _check_main_guard() -> None:
    """Raise in a worker process that, on starting, runs its parent's unguarded script once more."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "run_sweep(..., workers=N) starts processes that import the calling script; "
            'put the call under: if __name__ == "__main__":'
        )


def _prepare(spec: Spec, path: str, at_once: int, resume: bool) -> tuple[Plan, Tally]:
    """Create or check the store; its own chunks, where it is there, decide the blocks."""
    plan = Plan.of(spec)
    if not store.exists(path):
        plan.check_resources(path, at_once, MEMORY_LIMIT)
        store.create(path, spec, plan.chunk)
    elif not resume:
        raise InputError(f"{path} is there already; remove it, choose another, or allow --resume")
    else:
        store.check_same(path, spec)
    before = tally(path)
    plan = Plan(spec, before.chunk[-2])
    plan.check_resources(path, at_once, MEMORY_LIMIT, done=len(before.complete))
    return plan, before


def _corner(block: Block) -> tuple[int, ...]:
    return tuple(part.start for part in block.region)


def _warm(plan: Plan) -> None:
    """Compile what the sweep needs on one point, once, before several workers would."""
    seen = set()
    for block in plan.blocks():
        if block.method not in seen:
            seen.add(block.method)
            tiny = {"seeds": block.seeds[:1], "lams": block.lams[:1], "times": np.zeros(1)}
            compute(Block(**{**vars(block), **tiny}))
        if len(seen) == len(plan.spec.methods):
            break


@contextmanager
def _client(client: Client | None, workers: int | None) -> Iterator[Client]:
    if client is not None:
        yield client
        return
    local: dict[str, Any] = {
        # No dashboard; and the small server that Dask starts all the same listens on loopback only.
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
        "worker_dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.CRITICAL,  # a run that is stopped says so itself, in one line
    }
    if workers is None:
        local |= {"processes": False, "n_workers": 1, "threads_per_worker": blocks_at_once(None)}
    else:
        _check_processes_start()
        local |= {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1"}
    with LocalCluster(**local) as cluster, Client(cluster, set_as_default=False) as engine:
        if workers is not None:
            # A Ctrl-C reaches the whole process group; it is this process that decides what it means.
            engine.run(_ignore_interrupts)
        yield engine


def _check_processes_start() -> None:
    """Start a process that does nothing: where that fails, Dask would try again and again."""
    probe = multiprocessing.get_context("spawn").Process(target=os.getpid)
    probe.start()
    probe.join()
    if probe.exitcode != 0:
        raise StoppedError(
            "worker processes cannot start, for the reason above; leave workers= out for threads"
        )


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _drive(client: Client, blocks: Iterator[Block], path: str, show: Silent) -> list[Receipt]:
    """Keep the window full until all blocks are done; return their receipts."""
    target = os.path.abspath(path)
    window = WINDOW * max(1, sum(client.nthreads().values()))

    def submit(block: Block) -> Any:
        return client.submit(run_block, block, target, pure=False)

    flying = {submit(block) for block in islice(blocks, window)}
    futures = as_completed(list(flying), loop=client.loop)
    receipts = []
    for future in futures:
        flying.remove(future)
        try:
            receipts.append(future.result())
        except OSError as error:
            client.cancel(list(flying))
            raise StoppedError(
                f"writing to {path} failed: {error.strerror or error}; what is complete stays, "
                "run the same command again to go on"
            ) from error
        show.advance(receipts[-1].points)
        for block in islice(blocks, 1):
            flying.add(following := submit(block))
            futures.add(following)
    return receipts
