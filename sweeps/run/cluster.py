"""Dask clients: start or reach the workers that an executor names, and end the started ones."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any, TypeVar
from uuid import uuid4

import dask
import psutil
from distributed import Client, LocalCluster, Security, Status, Worker, WorkerPlugin, get_worker, rpc
from distributed.comm.addressing import parse_address, parse_host_port  # private: as in `dispatch`
from distributed.deploy.spec import ProcessInterface  # private: as in `dispatch`
from distributed.versions import VersionMismatchWarning  # private: it has no public name
from tornado.ioloop import PeriodicCallback

import fastlin
from fastlin.errors import InputError, StoppedError
from fastlin.kernels.compiler.cache import kept_syntax_hash
from fastlin.sweeps.run.executors import Executor, Processes, Scheduler, Slurm, Threads, blocks_at_once
from fastlin.sweeps.run.startup import check_machine
from fastlin.validation import shown

CONNECT_SECONDS = 30.0  # time limit for a scheduler to answer
REFILL_SECONDS = 5.0  # time between two searches for workers or jobs that have ended
STARTS = 3  # number of attempts to start processes
CANCEL_SECONDS = 4.0  # time limit of scancel, which a process waits for before it ends

# A worker computes on one thread, so libraries must not start one thread for each core.
PINNED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

# There is no dashboard. The HTTP server that Dask starts anyway listens on loopback only.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_LOCAL: dict[str, Any] = {
    "dashboard_address": None,
    "worker_dashboard_address": "127.0.0.1:0",
    "silence_logs": logging.CRITICAL,
}

_endings: list[Callable[[], object]] = []

Result = TypeVar("Result")


@contextmanager
def connect(executor: Executor) -> Iterator[Client]:
    """Start or reach the workers of a sweep. Workers that were started end with the context.

    Parameters
    ----------
    executor : Threads, Processes, Scheduler or Slurm
        Where to run.

    Yields
    ------
    distributed.Client
        It is not the default client. Jobs of SLURM join its workers when they start.

    Raises
    ------
    StoppedError
        If processes cannot start, no scheduler answers, or sbatch refuses a job.
    """
    with _quiet(), _opened(executor) as client:
        yield client


def abandon() -> None:
    """End the workers and jobs that `connect` started and this process would leave behind.

    It is for a signal handler that is about to call `os._exit`: it never raises, and takes at most
    `CANCEL_SECONDS`. A job whose submission is under way ends by itself, because it finds no scheduler.
    """
    for end in list(_endings):
        with suppress(Exception):
            end()


def build() -> str:
    """Return the build of fastlin in this process: its version, and the hash of its kernels' syntax."""
    return f"fastlin {fastlin.__version__}, kernels {kept_syntax_hash()}"


def check_versions(client: Client) -> None:
    """Raise a StoppedError unless the scheduler and all its present workers run the same fastlin.

    Workers that join later are checked by `on_same_build` when they get a task.
    """
    found = {
        f"the worker {address}": theirs for address, theirs in client.run(build, on_error="return").items()
    }
    try:
        # The scheduler computes nothing, but it must be able to read the tasks.
        found["the scheduler"] = client.run_on_scheduler(build)
    except Exception as error:
        found["the scheduler"] = error
    for who, theirs in found.items():
        if isinstance(theirs, OSError) and who != "the scheduler":
            continue  # this worker has ended, and `on_same_build` checks its successor
        if isinstance(theirs, Exception):
            raise StoppedError(f"{who} does not run this fastlin: {_reason(theirs)}")
        _compare(who, theirs, build())


def on_same_build(submitted: str, function: Callable[..., Result], *given: Any) -> Result:
    """Call a function in a worker, or raise a StoppedError if the worker runs another fastlin.

    A worker without fastlin cannot read this task, and ends. Dask gives the task to another worker.

    Parameters
    ----------
    submitted : str
        `build` of the process that submits the task.
    function : callable
        Function to call.
    *given
        Its arguments.
    """
    _compare(f"the worker {get_worker().address}", build(), submitted)
    return function(*given)


def _compare(who: str, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise StoppedError(f"{who} runs {theirs}, and this process {ours}; install the same in both")


def _opened(executor: Executor) -> AbstractContextManager[Client]:
    match executor:
        case Threads():
            return _threads()
        case Processes():
            return _processes(executor)
        case Scheduler():
            return _scheduler(executor)
        case Slurm():
            return _slurm(executor)
    raise InputError(f"the executor is {shown(executor)}; needed is Threads, Processes, Scheduler or Slurm")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's loggers, because a run that stops reports it in one line itself."""
    with ExitStack() as stack:
        for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        yield


@contextmanager
def _ended_by(end: Callable[[], object]) -> Iterator[None]:
    """Have `abandon` call `end` while the context lasts."""
    _endings.append(end)
    try:
        yield
    finally:
        _endings.remove(end)


@contextmanager
def _threads() -> Iterator[Client]:
    threads = blocks_at_once(Threads())
    local = {"processes": False, "n_workers": 1, "threads_per_worker": threads, **_LOCAL}
    with ExitStack() as stack:
        with warnings.catch_warnings():
            # Dask asks for an address of this machine, which threads do not use (dask/distributed#5858).
            warnings.filterwarnings("ignore", "Couldn't detect a suitable IP address", RuntimeWarning)
            cluster = stack.enter_context(LocalCluster(**local, scheduler_kwargs=_NO_DASHBOARD))
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextmanager
def _processes(executor: Processes) -> Iterator[Client]:
    local = {"n_workers": executor.workers, "threads_per_worker": 1, "host": "127.0.0.1", **_LOCAL}
    local["plugins"] = [_IgnoreInterrupts()]
    pins = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in PINNED.items()}
    with _environment_kept(), ExitStack() as stack:
        # A process that abandons its workers leaves semaphores to Python's resource tracker. Its warning
        # about them is of no use.
        given = [os.environ["PYTHONWARNINGS"]] if "PYTHONWARNINGS" in os.environ else []
        os.environ["PYTHONWARNINGS"] = ",".join([*given, "ignore:resource_tracker:UserWarning"])
        check_machine(executor.workers)
        stack.enter_context(dask.config.set(pins))
        cluster = stack.enter_context(_local_cluster(**local))
        stack.enter_context(_ended_by(partial(_kill_workers, cluster)))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        stack.enter_context(_refilled(cluster, n=executor.workers))
        yield client


def _local_cluster(**local: Any) -> LocalCluster:
    """Start worker processes, with some more attempts if one is killed while it starts."""
    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(**local, scheduler_kwargs={**_NO_DASHBOARD, "allowed_failures": 0})
        except RuntimeError as error:
            if not left:
                raise StoppedError(f"worker processes end as they start: {_reason(error)}") from None
    raise AssertionError


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Restore the environment at the end, because Dask sets variables in it for its workers to inherit."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


class _IgnoreInterrupts(WorkerPlugin):
    """Makes a worker ignore Ctrl-C, which reaches the whole process group: the parent ends its workers."""

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _kill_workers(cluster: LocalCluster) -> None:
    for nanny in list(cluster.workers.values()):
        pid = nanny.pid
        if pid is None:  # the worker is restarting, and psutil takes None for the present process
            continue
        with suppress(psutil.Error):
            worker = psutil.Process(pid)
            for process in [*worker.children(recursive=True), worker]:  # `isolation` has children
                with suppress(psutil.Error):
                    process.kill()


@contextmanager
def _scheduler(executor: Scheduler) -> Iterator[Client]:
    address = executor.contact()
    security = executor.security(address)
    try:
        _check_answer(address, security)
        with warnings.catch_warnings():
            # Ignore version mismatches of Dask and Python, which are harmless here. `check_versions` compares
            # fastlin's own.
            warnings.simplefilter("ignore", VersionMismatchWarning)
            client = Client(address, security=security, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        reason = _reason(_refusal(address) or error)
        raise StoppedError(f"no Dask scheduler answers at {address}: {reason}") from None
    with client:
        yield client


def _refusal(address: str) -> OSError | None:
    """Return the error of a refused connection, which the timeout of Dask's last attempt may hide."""
    try:
        with socket.create_connection(parse_host_port(parse_address(address)[1]), timeout=1.0):
            return None
    except ConnectionRefusedError as error:
        return error
    except (OSError, ValueError):
        return None


def _check_answer(address: str, security: Security) -> None:
    """Raise unless a scheduler answers: a Client waits forever for a server that accepts and is silent."""

    async def ask() -> Any:
        arguments = security.get_connection_args("client")
        async with rpc(address, timeout=CONNECT_SECONDS, connection_args=arguments) as remote:
            return await remote.identity()

    # This runs in another thread, because the main thread of a notebook already runs an event loop.
    with ThreadPoolExecutor(1) as thread:
        bounded = partial(asyncio.wait_for, timeout=CONNECT_SECONDS + 1)
        identity = thread.submit(lambda: asyncio.run(bounded(ask()))).result()
    if identity.get("type") != "Scheduler":
        raise ValueError(f"it is a {identity.get('type')}")


@contextmanager
def _slurm(executor: Slurm) -> Iterator[Client]:
    # SLURM finds jobs by their name, also those whose numbers this process does not know yet.
    name = f"fastlin-{uuid4().hex[:12]}"
    cancel = partial(_cancel_jobs, name)
    refusals: list[str] = []
    with _ended_by(cancel), ExitStack() as stack:
        stack.callback(cancel)
        cluster = stack.enter_context(_slurm_cluster(executor, name, refusals))
        cluster.scale(jobs=executor.workers)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        if refusals:
            raise StoppedError(f"sbatch refuses {len(refusals)} of {executor.workers} jobs: {refusals[0]}")
        stack.enter_context(_refilled(cluster, jobs=executor.workers))
        yield client


def _slurm_cluster(executor: Slurm, name: str, refusals: list[str]) -> Any:
    slurm: Any = import_module("dask_jobqueue.slurm")  # it sets the configuration that is read below

    def configured(key: str) -> Any:
        return dask.config.get(f"jobqueue.slurm.{key}")

    # The output of jobs is dropped. It would be a file for each job in the folder of submission, and other
    # folders may not exist on a node.
    dropped = [] if configured("log-directory") else ["--output=/dev/null"]
    try:
        return slurm.SLURMCluster(
            job_cls=_job_class(slurm.SLURMJob, refusals),
            job_name=name,
            cores=1,
            processes=1,
            queue=executor.partition,
            walltime=executor.walltime,
            memory=executor.memory,
            interface=executor.interface,
            job_extra_directives=[*dropped, *configured("job-extra-directives"), *executor.directives],
            job_script_prologue=[
                *configured("job-script-prologue"),
                *(f"export {library}={threads}" for library, threads in PINNED.items()),
            ],
            worker_extra_args=[
                *configured("worker-extra-args"),
                *("--no-dashboard", "--dashboard-address", _NO_DASHBOARD["dashboard_address"]),
            ],
            scheduler_options={**configured("scheduler-options"), **_NO_DASHBOARD},
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise StoppedError(f"the scheduler of the jobs cannot start: {_reason(error)}") from None


def _job_class(kind: Any, refusals: list[str]) -> Any:
    """Return a class of jobs that notes why sbatch refuses one. Dask would log it and wait for the worker."""

    async def start(job: Any) -> None:
        try:
            await kind.start(job)
        except (OSError, RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines()
            said = [line.removeprefix("sbatch: ") for line in lines if line.startswith("sbatch: ")]
            refusals.append([*said, *lines[-1:]][0].removeprefix("error: "))
            await ProcessInterface.start(job)

    return type("NotingJob", (kind,), {"start": start})


def _cancel_jobs(name: str) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", f"--name={name}"], timeout=CANCEL_SECONDS, capture_output=True)


@contextmanager
def _refilled(cluster: Any, **count: int) -> Iterator[None]:
    """Keep so many workers, or jobs, running while the context lasts."""

    def look() -> None:
        for name, worker in list(cluster.workers.items()):
            if worker.status in (Status.failed, Status.closed):  # Dask does not notice that a start failed
                del cluster.workers[name]
        cluster.scale(**count)

    often = PeriodicCallback(look, 1000 * REFILL_SECONDS)
    cluster.loop.add_callback(often.start)
    try:
        yield
    finally:
        cluster.loop.add_callback(often.stop)


def _reason(error: BaseException) -> str:
    """Return the first cause of an error, in one line."""
    while error.__cause__ is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return f"nothing within {CONNECT_SECONDS:g} s"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]
