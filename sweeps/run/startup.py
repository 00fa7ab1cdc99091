"""Checks of this process and its machine, before a run starts anything or touches a store.

Each of these faults would otherwise be a process that hangs, or tracebacks from the threads of Dask.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from importlib import import_module
from importlib.util import find_spec

import psutil
from distributed import Client

from fastlin.errors import InputError, StoppedError
from fastlin.sweeps.run.executors import Executor, Processes

# Names of the threads in which Dask runs: its event loops, and its executor for large messages.
DASK_THREADS = ("IO loop", "Dask-Offload")
LOOPBACK_SECONDS = 5.0  # time limit of a connection of this machine to itself
# Open files of a process that starts workers, as measured: 22 for the first, and up to 12 for each.
FILES, FILES_OF_WORKER = 16, 12

_forked_from: int | None = None  # the last process of this family in which Dask ran when it was forked


def _note_dask() -> None:
    """Before a fork: remember this process if Dask runs in it."""
    global _forked_from
    if any(thread.name.startswith(DASK_THREADS) for thread in threading.enumerate()):
        _forked_from = os.getpid()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_note_dask)


def check_process(where: Client | Executor) -> None:
    """Raise if this process, or the client that it was given, cannot run a sweep.

    Raises
    ------
    InputError
        If Dask ran in the process that this one was forked from, if processes are to be started by one that
        may have no children, or if the client is asynchronous or closed.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that is starting runs the script of its parent once more.
        raise InputError(
            "run_sweep(..., workers=N) starts processes that import the calling script; "
            'put the call under: if __name__ == "__main__":'
        )
    if _forked_from not in (None, os.getpid()):
        # A fork has none of the threads that Dask waits for (dask/distributed#2249).
        raise InputError(
            "this process is a fork of one in which Dask has run, and its threads are missing here; "
            'start processes with multiprocessing.get_context("spawn")'
        )
    if isinstance(where, Processes) and multiprocessing.current_process().daemon:
        raise InputError(
            "a daemonic process, such as those of multiprocessing.Pool, cannot start worker processes; "
            "leave workers= out for threads, or use concurrent.futures.ProcessPoolExecutor"
        )
    if isinstance(where, Client) and where.asynchronous:
        raise InputError("the client is asynchronous; needed is distributed.Client(..., asynchronous=False)")
    if isinstance(where, Client) and where.status in ("closing", "closed"):
        raise InputError("the client is closed; needed is one that is connected")


def check_machine(workers: int) -> None:
    """Raise a StoppedError if this machine cannot run so many worker processes."""
    _check_open_files(workers)
    _check_loopback()
    _check_processes_start()


def _check_open_files(workers: int) -> None:
    """Check the limit of open files: beyond it, Dask's event loop prints one traceback after another."""
    if find_spec("resource") is None:  # Windows, which has no such limit
        return
    resource = import_module("resource")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = psutil.Process().num_fds() + FILES + FILES_OF_WORKER * workers
    if limit != resource.RLIM_INFINITY and needed > limit:
        raise StoppedError(
            f"{workers} worker processes take about {needed} open files, and {limit} are allowed; "
            "raise the limit (ulimit -n), use fewer workers, or threads"
        )


def _check_loopback() -> None:
    """Check that this machine can connect to itself: otherwise Dask would try for minutes."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), timeout=LOOPBACK_SECONDS),
        ):
            pass
    except OSError as error:
        raise StoppedError(
            "worker processes speak with this one over the loopback interface, and 127.0.0.1 cannot be "
            f"reached: {error.strerror or error}; use threads"
        ) from None


def _check_processes_start() -> None:
    """Start a process that does nothing: where that fails, Dask would try again and again."""
    probe = multiprocessing.get_context("spawn").Process(target=os.getpid)
    probe.start()
    probe.join()
    if probe.exitcode != 0:
        raise StoppedError(
            "worker processes cannot start, for the reason above; leave workers= out for threads"
        )
