"""Where a sweep runs: threads, processes, somebody's Dask scheduler, or jobs of SLURM."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import psutil
from distributed import Client, get_worker
from distributed.security import Security

from fastlin.errors import InputError, StoppedError, choice, instance, shown, whole

MAX_WORKERS = 4096
# Threads beyond the cores, which compute while others wait for zarr: a fifth off the time of phase-10m.
SPARE_THREADS = 2
CONNECT_SECONDS = 30.0  # for a scheduler to answer
REFILL_SECONDS = 5.0  # between looks for jobs that are gone
CANCEL_SECONDS = 4.0  # for scancel, where the process is about to end

# One thread of a process computes, and none of a library's pool beside it.
PINNED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

# No dashboard; and the small server that Dask starts all the same listens on loopback only.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_LOCAL: dict[str, Any] = {
    "dashboard_address": None,
    "scheduler_kwargs": _NO_DASHBOARD,
    "worker_dashboard_address": "127.0.0.1:0",
    "silence_logs": logging.CRITICAL,
}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Threads:
    """Threads of this process."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, of one thread each; one that dies is started again.

    Attributes
    ----------
    workers : int
        How many.
    """

    workers: int

    def __post_init__(self) -> None:
        whole("workers", self.workers, 1, MAX_WORKERS)


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler that runs already, with workers that see the store.

    Attributes
    ----------
    address : str
        tcp://HOST:PORT, tls://HOST:PORT, or the path of the scheduler's own file.
    tls_ca, tls_cert, tls_key : Path, optional
        Files of a tls:// scheduler: all three, or none where Dask's configuration has them.
    """

    address: str
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        self.security(self.contact())

    def contact(self) -> str:
        """Return the scheduler's address, from its file if that was given."""
        if not isinstance(self.address, str | os.PathLike) or not str(self.address):
            raise _no_scheduler(f"the scheduler is {shown(self.address)}")
        if "://" in str(self.address):
            return _checked_address(str(self.address), f"the scheduler is {shown(self.address)}")
        try:
            content = json.loads(Path(self.address).read_bytes())
        except OSError as error:
            raise _no_scheduler(f"the scheduler file {self.address}: {error.strerror or error}") from None
        except ValueError:
            content = None
        address = content.get("address") if isinstance(content, dict) else None
        return _checked_address(address, f"{self.address} is no scheduler file")

    def security(self, address: str) -> Security | None:
        """Return what a connection to `address` needs: certificates for tls://, else nothing."""
        files = {"tls_ca": self.tls_ca, "tls_cert": self.tls_cert, "tls_key": self.tls_key}
        given = {name: path for name, path in files.items() if path is not None}
        if not address.startswith("tls://"):
            if given:
                raise InputError(f"{', '.join(given)}: certificates are for tls://, and this is {address}")
            return None
        if given and len(given) < len(files):
            raise InputError(
                f"{', '.join(files.keys() - given)} missing: tls:// needs all of {', '.join(files)}"
            )
        for name, path in given.items():
            if not Path(path).is_file():
                raise InputError(f"{name}: there is no file {path}")
        return _checked_security(address, given)


@dataclass(frozen=True)
class Slurm:
    """Jobs of SLURM, of one core each, which this process submits and is the scheduler of.

    Attributes
    ----------
    workers : int
        How many jobs. One that ends before the sweep, by its walltime, is submitted again.
    partition : str, optional
        Where SLURM queues them; its default.
    walltime, memory : str
        Limits of a job, as SLURM writes the one and Dask the other.
    directives : tuple of str
        Further options of sbatch, such as "--account=mine". What jobs print is dropped, unless
        "--output=FILE" is here.
    interface : str, optional
        Network over which the jobs reach this process, such as "ib0".

    Notes
    -----
    What Dask's configuration has under jobqueue.slurm, as a prologue that loads modules, counts too.
    """

    workers: int
    partition: str | None = None
    walltime: str = "01:00:00"
    memory: str = "2GB"
    directives: tuple[str, ...] = ()
    interface: str | None = None

    def __post_init__(self) -> None:
        whole("workers", self.workers, 1, MAX_WORKERS)
        if self.partition is not None:
            _check_written("partition", self.partition, r"[^\s,]+", "the name of one")
        _check_written("walltime", self.walltime, r"(\d+-)?\d+(:\d+){0,2}", "[DAYS-]HH:MM:SS")
        _check_written("memory", self.memory, r"\d+(\.\d*)? ?[kMGT]i?B", "a size such as 2GB")
        if not isinstance(self.directives, tuple | list):
            raise InputError(
                f"directives are {shown(self.directives)}; needed is a list of options of sbatch"
            )
        for directive in self.directives:
            _check_written("a directive", directive, r"-.+", "an option of sbatch, such as --account=mine")
        if self.interface is not None:
            choice("interface", self.interface, sorted(psutil.net_if_addrs()))
        if find_spec("dask_jobqueue") is None:
            raise InputError("dask-jobqueue, which submits the jobs, is missing: pip install 'fastlin[hpc]'")
        for command in ("sbatch", "scancel"):
            if shutil.which(command) is None:
                raise InputError(
                    f"{command} is not there; run this where the commands of SLURM are installed"
                )


Engine = Threads | Processes | Scheduler | Slurm


def local_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks_at_once(engine: Engine) -> int | None:
    """Return how many blocks are in this machine's memory at a time; None where others' is used."""
    match engine:
        case Threads():
            return local_threads() + SPARE_THREADS
        case Processes():
            return engine.workers
        case _:
            return None


@contextmanager
def connect(engine: Engine) -> Iterator[Client]:
    """Start or reach what a sweep runs on; what was started ends with the context.

    Parameters
    ----------
    engine : Threads, Processes, Scheduler or Slurm
        Where to run.

    Yields
    ------
    distributed.Client
        It is nobody's default. Jobs of SLURM join it when they start.

    Raises
    ------
    StoppedError
        If processes cannot start, no scheduler answers, or sbatch refuses a job.
    """
    instance("engine", engine, Threads | Processes | Scheduler | Slurm, "fastlin.sweeps.engines")
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        match engine:
            case Threads():
                yield stack.enter_context(_threads())
            case Processes():
                yield stack.enter_context(_processes(engine))
            case Scheduler():
                yield stack.enter_context(_scheduler(engine))
            case Slurm():
                yield stack.enter_context(_slurm(engine))


def abandon() -> None:
    """End at once what `connect` started and would outlive this process: its workers, its jobs.

    For a signal handler that is about to call `os._exit`; it takes at most `CANCEL_SECONDS`, and never
    raises. A job that is being submitted at this very moment ends by itself when it finds no scheduler.
    """
    for end in list(_endings):
        with suppress(Exception):
            end()


def check_versions(client: Client) -> None:
    """Raise a StoppedError unless all workers that are there have the fastlin of this process.

    Those that join later are not known yet: `on_same_version` looks at each where it works.
    """
    for address, theirs in client.run(_version, on_error="return").items():
        if isinstance(theirs, Exception):
            raise StoppedError(f"the worker at {address} has not this fastlin: {_reason(theirs)}")
        _compare(address, theirs, _version())


def on_same_version(version: str, function: Callable[..., Result], *given: Any) -> Result:
    """Call `function` in a worker, but refuse with a StoppedError where its fastlin is another.

    Parameters
    ----------
    version : str
        `here()` of the process that submits.
    """
    _compare(get_worker().address, _version(), version)
    return function(*given)
