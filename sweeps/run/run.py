"""Run a sweep: the workers of a Dask client compute its blocks and write their chunks."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin.errors import InputError
from fastlin.kernels.compilation import Kernel, compile_all, missing, seconds_to_compile
from fastlin.networks.network import Network
from fastlin.sweeps.run.builds import check_versions
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.dispatch import WorkerCall, results
from fastlin.sweeps.run.executors import Executor, Processes, Threads, blocks_at_once, local_threads
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.pace import Work
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.prepare import (
    check_before,
    check_resources,
    counts_if_done,
    prepared_store,
    wanted_blocks,
)
from fastlin.sweeps.run.progress import Plain, Progress, Together, as_progress
from fastlin.sweeps.run.reduce import finish
from fastlin.sweeps.run.report import Done, Report
from fastlin.sweeps.run.startup import check_process
from fastlin.sweeps.run.worker import BlockRequest, run_blocks
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.costs import kernels_needed, specialised
from fastlin.sweeps.store.counts import PointCounts, count_points
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.lease import Lease, acquired
from fastlin.sweeps.store.lease_holders import new_holder
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import stopping
from fastlin.sweeps.store.slice import Slice
from fastlin.sweeps.store.store import Store
from fastlin.tasks.task import Task

# Dask takes milliseconds for a task, so blocks of a shorter estimated time go several in one task.
TASK_SECONDS, MOST_TOGETHER = 0.1, 16
FEWEST_TASKS = 64  # lowest number of tasks, so that all workers have some
# A block counts as hung after so many times its estimated time, and not before this number of seconds.
PATIENCE, LEAST_PATIENCE = 20.0, 120.0
# Time limit of compiling the kernels that a block may wait for, over its estimate.
COMPILE_PATIENCE = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """The blocks that a run is to compute.

    Attributes
    ----------
    store : Store
        The open store.
    lease : Lease
        The lease that the run holds.
    seconds : dict of int to float
        Estimated seconds of each block, by its number.
    limit : float
        Seconds after which a block counts as hung.
    retry : bool
        Whether points that diverged, failed or are too stiff are computed again.
    """

    store: Store
    lease: Lease
    seconds: dict[int, float]
    limit: float
    retry: bool


def run_sweep(
    spec: Spec | Mapping[str, Any] | str | Path,
    path: str | Path,
    client: Client | None = None,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    resume: bool = True,
    retry_failed: bool = False,
    allow_version: bool = False,
    durable: bool = False,
    slice: str | None = None,
    timeout: float | None = None,
    progress: bool | Progress = False,
    task: Task | Sequence[Task] | Mapping[str, Task] | None = None,
    init: Network | Sequence[Network] | Mapping[str, Network] | None = None,
    points: Any = None,
) -> Report:
    """Run a sweep into a Zarr store, continue one that was interrupted, or let one grow.

    Parameters
    ----------
    spec : Spec, mapping, str or Path
        A spec, its content, a TOML file, the name of a preset, or the JSON text in the attribute `spec` of a
        dataset. If the store exists, it is the spec of the store, or one with more values on any axes. Only
        new points are computed then.
    path : str or Path
        The store: a folder, or s3://bucket/path. Only points that are pending are computed.
    client : distributed.Client, optional
        Dask client to run on. Its workers must see `path`.
    executor : Threads, Processes, Scheduler or Slurm, optional
        Where to run, from `fastlin.sweeps.run.executors`; by default threads of this process.
    workers : int, optional
        Short for ``executor=Processes(workers)``: so many processes of one thread each. They import the
        calling script, so the call must be under ``if __name__ == "__main__":``.
    resume : bool
        False refuses a store that exists already.
    retry_failed : bool
        Compute points again that diverged, failed or are too stiff.
    allow_version : bool
        Continue a store that other versions made, if a sample of its points comes out the same here.
    durable : bool
        Sync everything that is written to disk, so that a loss of power destroys no complete block.
    slice : str, optional
        "I/N": compute every N-th block, starting with the I-th. N such runs share a store, at the same time
        or one after the other.
    timeout : float, optional
        Seconds after which a block, with all its architectures, counts as hung. It is then computed in parts
        to find the points that hang. This needs worker processes. The default is 20 times the estimated time
        of a block and five times that of compiling its kernels, and at least two minutes.
    progress : bool or Progress
        True shows a bar on a terminal or in a notebook, and lines on standard error elsewhere. The logger
        "fastlin" gets the same lines at the level INFO in any case.
    task : Task, or list or mapping of names to Task, optional
        Own data in place of the [task] of the spec. Several make the axis "task". The store keeps their
        statistics, and samples up to 1 MB, so that it needs nothing else to be continued or rebuilt from.
    init : Network, or list or mapping of names to Network, optional
        Own weights in place of those that [init] draws. Several make the axis "init_network".
    points : mapping, DataFrame or Dataset, optional
        The points of the sweep, if they are no product: a column for each axis that differs between them, as
        in ``points={"lam": [-1.0, 0.5], "init_scale": [0.1, 1.0]}``. It replaces [points] of the spec, whose
        other axes have one value, except the seeds. A store grows by a table with more rows at its end.

    Returns
    -------
    Report
        Counts of points and blocks.

    Raises
    ------
    InputError
        If the spec is not valid, the store belongs to another spec or to other versions, disk or memory do
        not suffice, or this process cannot run a sweep (a fork of one in which Dask runs).
    StoppedError
        If a block cannot be computed in this environment or cannot be written, or if another run holds the
        store. The store stays resumable.

    Examples
    --------
    >>> axes = {"architecture": [[4, 2, 4]], "seed": {"start": 0, "num": 5}, "lam": [-1.0, 1.0]}
    >>> dynamics = {"times": [0.0, 1.0, np.inf]}
    >>> spec = {"axes": axes, "task": {"n_samples": 10}, "dynamics": dynamics}
    >>> report = fl.run_sweep(spec, "example.zarr")
    >>> report.points, report.ok, report.pending
    (10, 10, 0)

    Own data in place of [task]:

    >>> task = fl.Task(np.eye(4), [[3.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0]])
    >>> axes = {"architecture": "4-3-2", "seed": [0, 1], "lam": [-1.0, 1.0]}
    >>> spec = {"axes": axes, "dynamics": {"times": [0.0, 1.0]}}
    >>> fl.run_sweep(spec, "own.zarr", task=task).ok
    4

    Points that are no product are a table. Seeds that are no column are an axis beside it.

    >>> table = {"architecture": ["4-2-4", "3-9-3"], "lam": [-1.0, 2.5], "init_scale": [1.0, 0.1]}
    >>> spec = {"axes": {"seed": [0, 1]}, "task": {"n_samples": 10}, "dynamics": dynamics}
    >>> fl.run_sweep(spec, "table.zarr", points=table).points
    4
    >>> fl.open_sweep("table.zarr").loss.dims
    ('seed', 'point', 'time')
    """
    options = RunOptions(
        resume, retry_failed, allow_version, durable, None if slice is None else Slice.read(slice), timeout
    )
    where = chosen_executor(client, executor, workers)
    return run(Spec.read(spec, points, task, init), path, where, options, as_progress(progress))


def chosen_executor(
    client: Client | None, executor: Executor | None, workers: int | None
) -> Client | Executor:
    """Return the executor that one of three arguments names. The default is threads of this process."""
    ways = {"client": client, "executor": executor, "workers": workers}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are given; each says where to run, so give one of them")
    if workers is not None:
        return Processes(workers)
    return client or executor or Threads()


def run(
    spec: Spec, path: str | Path, where: Client | Executor, options: RunOptions, progress: Progress
) -> Report:
    """Run a sweep (see `run_sweep`)."""
    start = perf_counter()
    check_process(where)
    if options.timeout is not None and isinstance(where, Threads):
        raise InputError("timeout needs worker processes, because a thread cannot be ended; give workers too")
    show = Together(progress, Plain(_log.info))
    holder = new_holder(spec.hash, options.slice)
    location = locate(path, durable=options.durable or spec.durable, writer=holder.id)
    at_once = None if isinstance(where, Client) else blocks_at_once(where)
    with stopping(location):
        before_lease = check_before(spec, location, at_once, options)
        counts = None if before_lease is None else counts_if_done(before_lease, spec, options)
        if counts is not None:
            Lease(replace(location, opened=True), holder, show.note).tidy()
            return _report(path, counts, Done(), start)
    with acquired(location, holder, show.note) as lease:
        opened = prepared_store(spec, lease.location, options)
        with stopping(location):
            lease.prepared()
            before = count_points(opened)
        check_resources(opened.layout, location, at_once, done=before.complete.sum())
        todo = wanted_blocks(opened.layout, before, options)
        done = Done()
        if todo.size or opened.layout.statistics:
            # The limit of threads is given back at the end: this process may be a notebook.
            with show, threadpool_limits(limits=1, user_api="blas"):
                lacking = _compile(opened.layout, todo, where, show)
                job = _job(opened, lease, before, options, lacking)
                with _client(where) as client:
                    _begin(client, job, before, show)
                    _compute(client, job, show, done)
        with stopping(location):
            after = count_points(opened)
            opened.check_current()
    return _report(path, after, done, start)


def _report(path: str | Path, after: PointCounts, done: Done, start: float) -> Report:
    """Return the report of a run that began at `start`, and log its summary."""
    report = Report(
        store=str(path),
        **after.totals,
        computed_blocks=done.blocks,
        computed_points=done.points,
        seconds=perf_counter() - start,
        sweep_seconds=done.sweep_seconds,
        worker_seconds=done.worker_seconds,
        kernel_seconds=done.kernel_seconds,
    )
    _log.info(report.summary)
    return report


def _compile(
    layout: StoreLayout, todo: NDArray[np.int64], where: Client | Executor, show: Progress
) -> list[Kernel]:
    """Compile the kernels that the sweep lacks, on all cores, before its workers would do so one by one.

    Returns the kernels that a worker may still have to wait for: workers on other machines may have none.
    """
    needed = kernels_needed(layout, todo)
    with suppress(Exception):  # workers find out whether points or this environment are at fault
        lacking = missing(needed)
        compile_all(lacking, local_threads(), show.compiling)
        return lacking if isinstance(where, Threads | Processes) else needed
    return needed


def hang_seconds(plan: Plan, lacking: list[Kernel]) -> float:
    """Return how long a block may take before it counts as hung.

    `lacking` are the kernels that may have to be compiled first, in the order of decreasing time. A block
    waits for no more kernels than its architectures have.
    """
    starts = len(plan.spec.starts)
    # The set-up, and the solvers and time scales of each kind of start.
    of_each = 1 + starts * (len(plan.spec.solvers) + 1)
    shape = plan.layout.block_shape
    most = of_each * min(len(plan.spec.architectures), shape.architectures * shape.points)
    compilation = COMPILE_PATIENCE * seconds_to_compile(lacking[:most], 1)
    return max(LEAST_PATIENCE, PATIENCE * plan.block_seconds + compilation)


def _job(opened: Store, lease: Lease, before: PointCounts, options: RunOptions, lacking: list[Kernel]) -> Job:
    """Return the blocks that this run is to compute, with their estimated time and the limit of a block."""
    todo = wanted_blocks(opened.layout, before, options)
    seconds = before.missing_seconds(options.retry_failed)[todo]
    limit = options.timeout or hang_seconds(Plan(opened.layout), lacking)
    blocks = dict(zip(todo.tolist(), seconds.tolist(), strict=True))
    return Job(opened, lease, blocks, limit, options.retry_failed)


@contextmanager
def _client(where: Client | Executor) -> Iterator[Client]:
    with nullcontext(where) if isinstance(where, Client) else connect(where) as client:
        check_versions(client)
        yield client


def _begin(client: Client, job: Job, before: PointCounts, show: Progress) -> None:
    """Tell how much work there is, and that the run waits for workers if there are none yet."""
    threads = sum(client.nthreads().values())
    if not threads:
        show.note("waiting for workers")
    work = Work(
        total=float(Plan(job.store.layout).seconds_of_blocks.sum()),
        missing=float(before.missing_seconds(job.retry).sum()),
        run=sum(job.seconds.values()),
        blocks=len(job.seconds),
        threads=max(1, threads),
    )
    show.begin(before.points, before.ok if job.retry else before.done, work)


def _compute(client: Client, job: Job, show: Progress, done: Done) -> None:
    """Compute the blocks of a job, and the statistics over them if the spec asks for these."""
    layout, location = job.store.layout, job.store.location
    request = BlockRequest(location, job.limit, job.retry, specialised=specialised(layout))
    started = perf_counter()
    todo = list(job.seconds) or _finish(client, job, show)
    while todo:
        calls = _calls(layout, request, todo)
        for report in itertools.chain.from_iterable(results(client, calls, location, job.lease)):
            done.add(report)
            show.advance(report.points, job.seconds.get(layout.number(report.index), 0.0), report.seconds)
            for point, why in report.reasons:
                show.note(f"failed: {why} at {', '.join(f'{name}={value}' for name, value in point.items())}")
        todo = _finish(client, job, show)
    done.sweep_seconds = perf_counter() - started


def _calls(layout: StoreLayout, request: BlockRequest, todo: list[int]) -> Iterator[WorkerCall]:
    """Yield the calls that compute some blocks. Several short blocks share a call."""
    by_time = int(TASK_SECONDS / Plan(layout).block_seconds)
    together = max(1, min(MOST_TOGETHER, by_time, len(todo) // FEWEST_TASKS))
    for first in range(0, len(todo), together):
        numbers = todo[first : first + together]
        yield WorkerCall(run_blocks, request, [layout.index(number) for number in numbers])


def _finish(client: Client, job: Job, show: Progress) -> list[int]:
    """Write the statistics of a reduced sweep. Return the blocks that must be computed again for them."""
    layout, location = job.store.layout, job.store.location
    if not layout.statistics:
        return []
    calls = (WorkerCall(finish, location, cell_index) for cell_index in layout.cells)
    lost = list(itertools.chain.from_iterable(results(client, calls, location, job.lease)))
    if lost:
        show.note(f"the partial sums of {len(lost)} blocks are missing; these blocks are computed again")
    return lost
