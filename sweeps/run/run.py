"""Run a sweep: a bounded window of blocks on a Dask client, each worker writing its own chunks."""

from __future__ import annotations

import itertools
import multiprocessing
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
from fastlin.kernels.compilation import STEPS, Kernel, compile_all, missing, seconds_to_compile
from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.cluster import check_versions, connect
from fastlin.sweeps.run.dispatch import WorkerCall, results
from fastlin.sweeps.run.executors import Executor, Processes, Threads, blocks_at_once, local_threads
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.progress import NoProgress, Work
from fastlin.sweeps.run.reduce import finish
from fastlin.sweeps.run.worker import BlockReport, BlockRequest, run_blocks
from fastlin.sweeps.spec import extension
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import lease, store
from fastlin.sweeps.store.costs import kernels_needed, specialised
from fastlin.sweeps.store.counts import PointCounts, count_points
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location, stopping
from fastlin.sweeps.store.slice import Slice
from fastlin.sweeps.store.store import Store

# Dask takes milliseconds for a task: blocks that take less, by their estimate, go some together.
TASK_SECONDS, MOST_TOGETHER = 0.1, 16
FEWEST_TASKS = 64  # so that all workers have some
# How much longer than estimated a block may take before it counts as hung, and the least that it may.
PATIENCE, LEAST_PATIENCE = 20.0, 120.0
# And how much longer than estimated the compilation of the kernels that it may have to wait for.
COMPILE_PATIENCE = 5.0


@dataclass(frozen=True)
class Report:
    """What a run did, and what the store holds after it.

    Attributes
    ----------
    store : str
        Its path.
    points, ok, diverged, failed, pending : int
        Points of the sweep, in all and by status.
    blocks, computed_blocks, computed_points : int
        Blocks of the sweep, and those that this run computed; the points that it computed.
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
    computed_points: int
    seconds: float
    sweep_seconds: float
    worker_seconds: float
    kernel_seconds: float


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
    progress: NoProgress | None = None,
) -> Report:
    """Run a sweep into a Zarr store, go on with one that was interrupted, or let one grow.

    Parameters
    ----------
    spec : Spec, mapping, str or Path
        A spec, its content, a TOML file, or the name of a preset. Where the store is there already it is
        its spec, or one with more values on any axes: only new points are computed then.
    path : str or Path
        The store: a folder, or s3://bucket/path. Only points that are pending are computed.
    client : distributed.Client, optional
        Where to run; its workers must see `path`.
    executor : Threads, Processes, Scheduler or Slurm, optional
        Where to run, of `fastlin.sweeps.run.executors`; by default threads of this process.
    workers : int, optional
        Short for ``executor=Processes(workers)``: so many processes of one thread each. They import the
        calling script, so its call belongs under ``if __name__ == "__main__":``.
    resume : bool
        False refuses a store that is there already.
    retry_failed : bool
        Compute points that diverged or failed again.
    allow_version : bool
        Go on with a store of other versions, if what they computed comes out the same here.
    durable : bool
        Sync all that is written to disk, so that a loss of power takes no block that counts as complete.
    slice : str, optional
        "I/N": compute every N-th block, from the I-th on. N such runs share a store, at the same time or
        not.
    timeout : float, optional
        Seconds after which a block, with all its architectures, counts as hung, and is computed in parts
        until the points that hang are known. It takes worker processes. By default 20 times the estimate,
        and five times that of compiling its kernels, two minutes at least.
    progress : optional
        One of `fastlin.sweeps.run.progress`; silent by default.

    Returns
    -------
    Report
        Counts of points and blocks.

    Raises
    ------
    InputError
        If the spec is not valid, the store is that of another spec or of other versions, or disk or
        memory do not suffice.
    StoppedError
        If a block could not be written, or another run holds the store. The store stays resumable.

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
    return run(Spec.read(spec), path, where, options, progress or NoProgress())


def chosen_executor(
    client: Client | None, executor: Executor | None, workers: int | None
) -> Client | Executor:
    """Return where to run, which may be said in one of three ways; by default threads of this process."""
    ways = {"client": client, "executor": executor, "workers": workers}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are given; each says where to run, one is needed")
    if workers is not None:
        return Processes(workers)
    return client or executor or Threads()


def run(
    spec: Spec, path: str | Path, where: Client | Executor, options: RunOptions, show: NoProgress
) -> Report:
    """Run a sweep; see `run_sweep`."""
    start = perf_counter()
    _check_main_guard()
    holder = lease.new_holder(spec.hash, options.slice)
    location = locate(path, durable=options.durable or spec.durable, writer=holder.id)
    at_once = None if isinstance(where, Client) else blocks_at_once(where)
    with stopping(location):
        _check_before(spec, location, at_once, options)
    with lease.held(location, holder) as held:
        opened = _prepared(spec, location, options)
        with stopping(location):
            held.prepared()
            before = count_points(opened)
        _check_resources(opened.layout, location, at_once, done=before.complete.sum())
        todo = _wanted(before, options)
        done = Done()
        if todo.size or spec.reduce:
            # The limit of this process, which may be somebody's notebook, is given back at the end.
            with show, threadpool_limits(limits=1, user_api="blas"):
                lacking = _compile(opened.layout, todo, where, show)
                with _client(where) as client:
                    if not client.nthreads():
                        show.note("waiting for workers")
                    seconds = before.pending_seconds + (before.bad_seconds if options.retry_failed else 0.0)
                    work = dict(zip(todo.tolist(), seconds[todo].tolist(), strict=True))
                    counted = before.ok if options.retry_failed else before.done
                    plan = Plan(opened.layout)
                    total, lacked = float(plan.seconds_of_blocks.sum()), float(seconds.sum())
                    threads = max(1, sum(client.nthreads().values()))
                    parts = Work(total, lacked, sum(work.values()), len(work), threads)
                    show.begin(before.points, counted, parts)
                    limit = options.timeout or hang_seconds(plan, lacking)
                    _compute(client, opened, work, limit, options.retry_failed, held, show, done)
        with stopping(location):
            after = count_points(opened)
    return Report(
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


def _check_main_guard() -> None:
    """Raise in a worker process that, on starting, runs its parent's unguarded script once more."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "run_sweep(..., workers=N) starts processes that import the calling script; "
            'put the call under: if __name__ == "__main__":'
        )


def _check_before(spec: Spec, location: Location, at_once: int | None, options: RunOptions) -> None:
    """Raise before anything is written, be it a lease, if the store cannot be made or gone on with."""
    if store.is_new(location):
        _check_resources(Plan.of(spec).layout, location, at_once)
    elif not options.resume:
        raise InputError(f"{location.text} is there already; remove it, choose another, or allow --resume")
    else:
        _check_spec(Store.open(location), spec)


def _check_resources(layout: StoreLayout, location: Location, at_once: int | None, done: int = 0) -> None:
    Plan(layout).check_resources(location, at_once, MEMORY_LIMIT, done)


def _check_spec(opened: Store, spec: Spec) -> None:
    lines = extension.obstacles(opened.layout.spec, spec)
    if lines:
        raise InputError(
            f"the store {opened.location.text} was made from another spec; choose another --store, or mend "
            "the spec:\n" + "\n".join(f"  {line}" for line in lines)
        )
    if opened.layout.compacted and spec.seeds.size > opened.layout.spec.seeds.size:
        raise InputError(
            f"{opened.location.text} was compacted, so seeds can no longer be added; run the larger spec "
            "into another --store"
        )


def _prepared(spec: Spec, location: Location, options: RunOptions) -> Store:
    """Make, mend or grow the store, which nobody else may do now, and return it.

    It stays open for the blocks that threads of this process compute: a large spec takes a while to read.
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
            layout = replace(layout, specs=(*layout.specs, spec))
        if layout is not opened.layout or made_with != opened.made_with:
            store.grow(opened, layout, made_with)
            opened = store.reopen(location)
    return opened


def _wanted(before: PointCounts, options: RunOptions) -> NDArray[np.int64]:
    """Return the numbers of the blocks that this run is to compute."""
    wanted = ~before.complete
    if options.retry_failed:
        wanted |= before.bad
    numbers = np.flatnonzero(wanted)
    if options.slice is not None:
        numbers = numbers[numbers % options.slice.of == options.slice.number - 1]
    if options.only is not None:
        numbers = numbers[np.isin(numbers, list(options.only))]
    return numbers


def _compile(
    layout: StoreLayout, todo: NDArray[np.int64], where: Client | Executor, show: NoProgress
) -> list[Kernel]:
    """Compile the kernels that the sweep lacks, on all cores, before its workers would.

    Returns those that a worker may have to wait for: workers elsewhere may have none of what is here.
    """
    needed = kernels_needed(layout, todo)
    with suppress(Exception):  # workers find out which points it is that fail
        lacking = missing(needed)
        compile_all(lacking, local_threads(), show.compiling)
        return lacking if isinstance(where, Threads | Processes) else needed
    return needed


def hang_seconds(plan: Plan, lacking: list[Kernel]) -> float:
    """Return how long a block may take before it counts as hung.

    `lacking` are the kernels that may have to be compiled first, the slowest first. A block waits for as many
    as its architectures have at most.
    """
    most = len(STEPS) * plan.layout.block_shape.architectures
    compilation = COMPILE_PATIENCE * seconds_to_compile(lacking[:most], 1)
    return max(LEAST_PATIENCE, PATIENCE * plan.block_seconds + compilation)


@contextmanager
def _client(where: Client | Executor) -> Iterator[Client]:
    with nullcontext(where) if isinstance(where, Client) else connect(where) as client:
        check_versions(client)
        yield client


def _compute(
    client: Client,
    opened: Store,
    work: dict[int, float],
    limit: float,
    retry: bool,
    held: lease.Lease,
    show: NoProgress,
    done: Done,
) -> None:
    """Compute blocks, and statistics over them where the spec asks for these.

    `work` holds the estimated seconds of each, by its number; one that takes longer than `limit` has hung.
    """
    layout = opened.layout
    request = BlockRequest(opened.location, limit, retry, specialised=specialised(layout))
    started = perf_counter()
    todo = list(work) or _finish(client, opened, held, show)
    while todo:
        tasks = _in_tasks(layout, request, todo)
        for report in itertools.chain.from_iterable(results(client, tasks, opened.location, held)):
            done.add(report)
            show.advance(report.points, work.get(layout.number(report.index), 0.0), report.seconds)
            for point, why in report.reasons:
                show.note(f"failed: {why} at {', '.join(f'{name}={value}' for name, value in point.items())}")
        todo = _finish(client, opened, held, show)
    done.sweep_seconds = perf_counter() - started


def _in_tasks(layout: StoreLayout, request: BlockRequest, todo: list[int]) -> Iterator[WorkerCall]:
    """Yield the tasks that compute some blocks; short blocks go some together."""
    by_time = int(TASK_SECONDS / Plan(layout).block_seconds)
    together = max(1, min(MOST_TOGETHER, by_time, len(todo) // FEWEST_TASKS))
    for first in range(0, len(todo), together):
        numbers = todo[first : first + together]
        yield WorkerCall(run_blocks, request, [layout.index(number) for number in numbers])


def _finish(client: Client, opened: Store, held: lease.Lease, show: NoProgress) -> list[int]:
    """Write the statistics of a reduced sweep; return the blocks that have to be computed again for them."""
    if not opened.layout.spec.reduce:
        return []
    cells = (WorkerCall(finish, opened.location, place) for place in opened.layout.cells)
    lost = list(itertools.chain.from_iterable(results(client, cells, opened.location, held)))
    if lost:
        show.note(f"the partial sums of {len(lost)} blocks are missing; these blocks are computed again")
    return lost
