"""Run a sweep: the workers of a Dask client compute its blocks and write their chunks."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from distributed import Client
from distributed.system import MEMORY_LIMIT  # private: psutil does not know limits of containers
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin.errors import InputError
from fastlin.formatting import format_duration
from fastlin.kernels.compilation import STEPS, Kernel, compile_all, missing, seconds_to_compile
from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.cluster import check_versions, connect
from fastlin.sweeps.run.dispatch import WorkerCall, results
from fastlin.sweeps.run.executors import Executor, Processes, Threads, blocks_at_once, local_threads
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.progress import Plain, Progress, Together, Work, as_progress
from fastlin.sweeps.run.reduce import finish, is_finished
from fastlin.sweeps.run.startup import check_process
from fastlin.sweeps.run.worker import BlockReport, BlockRequest, run_blocks
from fastlin.sweeps.spec import extension
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import lease, store, versions
from fastlin.sweeps.store.costs import kernels_needed, specialised
from fastlin.sweeps.store.counts import PointCounts, count_points
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location, stopping
from fastlin.sweeps.store.slice import Slice
from fastlin.sweeps.store.store import Store

# Dask takes milliseconds for a task, so blocks of a shorter estimated time go several in one task.
TASK_SECONDS, MOST_TOGETHER = 0.1, 16
FEWEST_TASKS = 64  # lowest number of tasks, so that all workers have some
# A block counts as hung after so many times its estimated time, and not before this number of seconds.
PATIENCE, LEAST_PATIENCE = 20.0, 120.0
# Time limit of compiling the kernels that a block may wait for, over its estimate.
COMPILE_PATIENCE = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Result of a run, and content of the store after it.

    Attributes
    ----------
    store : str
        Path of the store.
    points, ok, diverged, failed, pending : int
        Number of points of the sweep, in total and by status.
    blocks, computed_blocks, computed_points : int
        Number of blocks of the sweep, and of the blocks and points that this run computed.
    seconds : float
        Duration of this run.
    sweep_seconds : float
        Part of it from the first block that was submitted to the last one that was written.
    worker_seconds : float
        Time that the workers spent on blocks, summed over the workers.
    kernel_seconds : float
        Part of it that is processor time in kernels.
    """

    store: str
    points: int
    ok: int
    diverged: int
    failed: int
    pending: int
    blocks: int
    computed_blocks: int
    computed_points: int
    seconds: float
    sweep_seconds: float
    worker_seconds: float
    kernel_seconds: float

    @property
    def summary(self) -> str:
        """The counts in one line."""
        return (
            f"{self.store}: {self.ok:,} of {self.points:,} points ok, {self.diverged:,} diverged, "
            f"{self.failed:,} failed; {self.computed_blocks:,} of {self.blocks:,} blocks computed "
            f"in {format_duration(self.seconds)}"
        )


@dataclass
class Done:
    """Sums over the blocks of a run."""

    blocks: int = 0
    points: int = 0
    kernel_seconds: float = 0.0
    worker_seconds: float = 0.0
    sweep_seconds: float = 0.0

    def add(self, report: BlockReport) -> None:
        """Count one block."""
        self.blocks += report.points > 0
        self.points += report.points
        self.kernel_seconds += report.kernel_seconds
        self.worker_seconds += report.seconds


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
        Whether points that diverged or failed are computed again.
    """

    store: Store
    lease: lease.Lease
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
) -> Report:
    """Run a sweep into a Zarr store, continue one that was interrupted, or let one grow.

    Parameters
    ----------
    spec : Spec, mapping, str or Path
        A spec, its content, a TOML file, the name of a preset, or the JSON text in the attribute `spec` of a
        dataset. For a store that exists already it is the spec of the store, or one with more values on any
        axes; only new points are computed then.
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
        Compute points that diverged or failed again.
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
    """
    options = RunOptions(
        resume, retry_failed, allow_version, durable, None if slice is None else Slice.read(slice), timeout
    )
    where = chosen_executor(client, executor, workers)
    return run(Spec.read(spec), path, where, options, as_progress(progress))


def chosen_executor(
    client: Client | None, executor: Executor | None, workers: int | None
) -> Client | Executor:
    """Return where to run, of three arguments that can say it; by default threads of this process."""
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
    """Run a sweep; see `run_sweep`."""
    start = perf_counter()
    check_process(where)
    show = Together(progress, Plain(_log.info))
    holder = lease.new_holder(spec.hash, options.slice)
    location = locate(path, durable=options.durable or spec.durable, writer=holder.id)
    at_once = None if isinstance(where, Client) else blocks_at_once(where)
    with stopping(location):
        before_lease = _check_before(spec, location, at_once, options)
        if before_lease is not None and _is_done(before_lease, spec, options):
            lease.Lease(replace(location, opened=True), holder, show.note).tidy()
            return _report(path, count_points(before_lease), Done(), start)
    with lease.acquired(location, holder, show.note) as held:
        opened = _prepared(spec, held.location, options)
        with stopping(location):
            held.prepared()
            before = count_points(opened)
        _check_resources(opened.layout, location, at_once, done=before.complete.sum())
        todo = _wanted(before, options)
        done = Done()
        if todo.size or spec.reduce:
            # The limit of threads is given back at the end: this process may be a notebook.
            with show, threadpool_limits(limits=1, user_api="blas"):
                lacking = _compile(opened.layout, todo, where, show)
                with _client(where) as client:
                    if not client.nthreads():
                        show.note("waiting for workers")
                    seconds = before.pending_seconds + (before.bad_seconds if options.retry_failed else 0.0)
                    blocks = dict(zip(todo.tolist(), seconds[todo].tolist(), strict=True))
                    plan = Plan(opened.layout)
                    limit = options.timeout or hang_seconds(plan, lacking)
                    job = Job(opened, held, blocks, limit, options.retry_failed)
                    total, missing_seconds = float(plan.seconds_of_blocks.sum()), float(seconds.sum())
                    threads = max(1, sum(client.nthreads().values()))
                    work = Work(total, missing_seconds, sum(blocks.values()), len(blocks), threads)
                    show.begin(before.points, before.ok if options.retry_failed else before.done, work)
                    _compute(client, job, show, done)
        with stopping(location):
            after = count_points(opened)
            opened.check_current()
    return _report(path, after, done, start)


def _report(path: str | Path, after: PointCounts, done: Done, start: float) -> Report:
    """Return the report of a run that began at `start`, and log its summary."""
    report = Report(
        store=str(path),
        points=after.points,
        ok=after.ok,
        diverged=after.diverged,
        failed=after.failed,
        pending=after.pending,
        blocks=after.blocks,
        computed_blocks=done.blocks,
        computed_points=done.points,
        seconds=perf_counter() - start,
        sweep_seconds=done.sweep_seconds,
        worker_seconds=done.worker_seconds,
        kernel_seconds=done.kernel_seconds,
    )
    _log.info(report.summary)
    return report


def _check_before(spec: Spec, location: Location, at_once: int | None, options: RunOptions) -> Store | None:
    """Return the store, or None if it is to be made.

    Raises before anything is written, also before the lease is, if the store cannot be made or continued.
    """
    if store.is_new(location):
        _check_resources(Plan.of(spec).layout, location, at_once)
        return None
    if not options.resume:
        raise InputError(f"{location.text} exists already; remove it, choose another, or allow --resume")
    opened = Store.open(location)
    _check_spec(opened, spec)
    return opened


def _is_done(opened: Store, spec: Spec, options: RunOptions) -> bool:
    """Return whether this run has nothing to write. It takes no lease then, so the store may be read-only."""
    layout = opened.layout
    if spec.hash != layout.spec.hash or store.stale_metadata(opened):
        return False
    mine = set(_chosen(np.arange(layout.block_count), options).tolist())
    for number, (_, status) in enumerate(opened.commit_markers()):
        if number in mine and store.is_missing(status, options.retry_failed).any():
            return False
    if compatibility.check(opened, options.allow_version) != opened.made_with:
        return False
    return not spec.reduce or all(is_finished(opened, cell) for cell in layout.cells)


def _check_resources(layout: StoreLayout, location: Location, at_once: int | None, done: int = 0) -> None:
    Plan(layout).check_resources(location, at_once, MEMORY_LIMIT, done)


def _check_spec(opened: Store, spec: Spec) -> None:
    lines = extension.obstacles(opened.layout.spec, spec)
    if lines:
        raise InputError(
            f"the store {opened.location.text} was made from another spec; choose another --store, or change "
            "the spec:\n" + "\n".join(f"  {line}" for line in lines)
        )


def _prepared(spec: Spec, location: Location, options: RunOptions) -> Store:
    """Create, repair or grow the store, and return it. The lease keeps others from doing so at the same time.

    It stays open for the blocks that threads of this process compute,
    because a large spec takes long to read.
    """
    with stopping(location):
        if store.is_new(location):
            store.create(location, Plan.of(spec).layout)
        opened = store.reopen(location)
        store.repair_metadata(opened)
        made_with = compatibility.check(opened, options.allow_version)
        _check_spec(opened, spec)
        layout = opened.layout
        if spec.hash != layout.spec.hash:
            layout = StoreLayout((*layout.specs, spec), layout.block_shape)
            # A sweep that gains large architectures depends on the processor from here on.
            made_with = [*made_with[:-1], versions.of(spec) | made_with[-1]]
        if layout is not opened.layout or made_with != opened.made_with:
            store.grow(opened, layout, made_with)
            opened = store.reopen(location)
    return opened


def _wanted(before: PointCounts, options: RunOptions) -> NDArray[np.int64]:
    """Return the numbers of the blocks that this run is to compute."""
    return _chosen(np.flatnonzero(before.missing(options.retry_failed)), options)


def _chosen(numbers: NDArray[np.int64], options: RunOptions) -> NDArray[np.int64]:
    """Return those of some blocks that belong to the slice of this run, or that it is restricted to."""
    if options.slice is not None:
        numbers = numbers[numbers % options.slice.of == options.slice.number - 1]
    if options.only is not None:
        numbers = numbers[np.isin(numbers, list(options.only))]
    return numbers


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
    most = len(STEPS) * plan.layout.block_shape.architectures
    compilation = COMPILE_PATIENCE * seconds_to_compile(lacking[:most], 1)
    return max(LEAST_PATIENCE, PATIENCE * plan.block_seconds + compilation)


@contextmanager
def _client(where: Client | Executor) -> Iterator[Client]:
    with nullcontext(where) if isinstance(where, Client) else connect(where) as client:
        check_versions(client)
        yield client


def _compute(client: Client, job: Job, show: Progress, done: Done) -> None:
    """Compute the blocks of a job, and the statistics over them if the spec asks for these."""
    layout, location, todo = job.store.layout, job.store.location, list(job.seconds)
    request = BlockRequest(location, job.limit, job.retry, specialised=specialised(layout))
    estimate = Plan(layout).block_seconds
    together = max(1, min(MOST_TOGETHER, int(TASK_SECONDS / estimate), len(todo) // FEWEST_TASKS))
    tasks = (
        WorkerCall(run_blocks, request, [layout.index(number) for number in todo[first : first + together]])
        for first in range(0, len(todo), together)
    )
    started = perf_counter()
    for report in itertools.chain.from_iterable(results(client, tasks, location, job.lease)):
        done.add(report)
        show.advance(report.points, job.seconds[layout.number(report.index)], report.seconds)
        for point, why in report.reasons:
            show.note(f"failed: {why} at {', '.join(f'{name}={value}' for name, value in point.items())}")
    if layout.spec.reduce:
        cells = (WorkerCall(finish, location, cell) for cell in layout.cells)
        for _ in results(client, cells, location, job.lease):
            pass
    done.sweep_seconds = perf_counter() - started
