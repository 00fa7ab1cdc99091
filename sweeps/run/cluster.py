"""Dask clients: start or reach the workers that an executor names, and end the started ones."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import dask
import psutil
from distributed import Client, LocalCluster, Security, Worker, WorkerPlugin, rpc
from distributed.comm.addressing import parse_address, parse_host_port  # private: as in `dispatch`
from distributed.versions import VersionMismatchWarning  # private: it has no public name

from fastlin.errors import InputError, StoppedError
from fastlin.sweeps.run import lifecycle
from fastlin.sweeps.run.executors import Executor, Processes, Scheduler, Slurm, Threads, blocks_at_once
from fastlin.sweeps.run.lifecycle import NO_DASHBOARD, PINNED, ended_by, reason_of, refilled
from fastlin.sweeps.run.slurm import slurm_jobs
from fastlin.sweeps.run.startup import check_machine
from fastlin.validation import shown

STARTS = 3  # number of attempts to start processes
_LOCAL: dict[str, Any] = {
    "dashboard_address": None,
    "worker_dashboard_address": "127.0.0.1:0",
    "silence_logs": logging.CRITICAL,
}


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


def _opened(executor: Executor) -> AbstractContextManager[Client]:
    match executor:
        case Threads():
            return _threads()
        case Processes():
            return _processes(executor)
        case Scheduler():
            return _scheduler(executor)
        case Slurm():
            return slurm_jobs(executor)
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
def _threads() -> Iterator[Client]:
    threads = blocks_at_once(Threads())
    local = {"processes": False, "n_workers": 1, "threads_per_worker": threads, **_LOCAL}
    with ExitStack() as stack:
        with warnings.catch_warnings():
            # Dask asks for an address of this machine, which threads do not use (dask/distributed#5858).
            warnings.filterwarnings("ignore", "Couldn't detect a suitable IP address", RuntimeWarning)
            cluster = stack.enter_context(LocalCluster(**local, scheduler_kwargs=NO_DASHBOARD))
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
        stack.enter_context(ended_by(partial(_kill_workers, cluster)))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        stack.enter_context(refilled(cluster, n=executor.workers))
        yield client


def _local_cluster(**local: Any) -> LocalCluster:
    """Start worker processes, with some more attempts if one is killed while it starts."""
    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(**local, scheduler_kwargs={**NO_DASHBOARD, "allowed_failures": 0})
        except RuntimeError as error:
            if not left:
                raise StoppedError(f"worker processes end as they start: {reason_of(error)}") from None
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
            client = Client(
                address, security=security, timeout=lifecycle.CONNECT_SECONDS, set_as_default=False
            )
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        reason = reason_of(_refusal(address) or error)
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
        async with rpc(address, timeout=lifecycle.CONNECT_SECONDS, connection_args=arguments) as remote:
            return await remote.identity()

    # This runs in another thread, because the main thread of a notebook already runs an event loop.
    with ThreadPoolExecutor(1) as thread:
        bounded = partial(asyncio.wait_for, timeout=lifecycle.CONNECT_SECONDS + 1)
        identity = thread.submit(lambda: asyncio.run(bounded(ask()))).result()
    if identity.get("type") != "Scheduler":
        raise ValueError(f"it is a {identity.get('type')}")
