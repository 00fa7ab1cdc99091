"""Where a sweep runs: threads, processes, a Dask scheduler that is there, or jobs of SLURM."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import dask
import psutil
from dask.utils import parse_bytes
from distributed import Client, LocalCluster, Worker, WorkerPlugin, get_worker, rpc
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface
from distributed.security import Security
from distributed.versions import VersionMismatchWarning
from tornado.ioloop import PeriodicCallback

import fastlin
from fastlin.errors import InputError, StoppedError, choice, shown, whole
from fastlin.kernels.jit import SOURCE_HASH

MAX_WORKERS = 4096
# Threads beyond the cores, which compute while others wait for zarr: a fifth off the time of phase-10m.
SPARE_THREADS = 2
CONNECT_SECONDS = 30.0  # for a scheduler to answer
REFILL_SECONDS = 5.0  # from one look for workers or jobs that are gone to the next
STARTS = 3  # tries to start processes
CANCEL_SECONDS = 4.0  # for scancel, which a process waits for before it ends

# A worker computes on one thread: libraries must not start one per core beside it.
PINNED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

# No dashboard; and the small server that Dask starts all the same listens on loopback only.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_LOCAL: dict[str, Any] = {
    "dashboard_address": None,
    "worker_dashboard_address": "127.0.0.1:0",
    "silence_logs": logging.CRITICAL,
}

_endings: list[Callable[[], object]] = []

Result = TypeVar("Result")


@dataclass(frozen=True)
class Threads:
    """Threads of this process."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, of one thread each; one that dies is started again.

    A block whose process died fails at once, with the blocks that waited for the same process: Dask
    raises its KilledWorker for each, and it is for who submitted them to look into it.

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
    address : str or Path
        tcp://HOST:PORT, tls://HOST:PORT, or the path of the file that the scheduler wrote.
    tls_ca, tls_cert, tls_key : Path, optional
        What tls:// needs: all three, or none where Dask's configuration has them.
    """

    address: str | Path
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        self.security(self.contact())

    def contact(self) -> str:
        """Return the address, which may stand in a file."""
        given = self.address
        if not isinstance(given, str | Path) or not str(given):
            raise _no_address(f"the scheduler is {shown(given)}")
        if "://" in str(given):
            return _checked_address(given, f"the scheduler is {shown(given)}")
        try:
            content = json.loads(Path(given).read_bytes())
        except OSError as error:
            raise _no_address(f"the scheduler file {given}: {error.strerror or error}") from None
        except ValueError:
            content = None
        address = content.get("address") if isinstance(content, dict) else None
        return _checked_address(address, f"{given} is not the file of a Dask scheduler")

    def security(self, address: str) -> Security:
        """Return what a connection to `address` takes, with the files checked."""
        files = {"tls_ca": self.tls_ca, "tls_cert": self.tls_cert, "tls_key": self.tls_key}
        given = {name: path for name, path in files.items() if path is not None}
        if given and not address.startswith("tls://"):
            raise InputError(f"{' and '.join(given)} given, and {address} is not tls://")
        if given and len(given) < len(files):
            raise InputError(
                f"{' and '.join(given)} given; tls:// needs all three, or none: {', '.join(files)}"
            )
        for name, path in given.items():
            if not Path(path).is_file():
                raise InputError(f"{name}: there is no file {path}")
        return _checked_security(address, {name: str(path) for name, path in given.items()})


@dataclass(frozen=True)
class Slurm:
    """Jobs of SLURM, of one core each; this process submits them and is their scheduler.

    A job that ends before the sweep, as by its walltime, is submitted again. What Dask's configuration
    has under jobqueue.slurm, such as a prologue that loads modules, counts too.

    Attributes
    ----------
    workers : int
        How many jobs.
    partition : str, optional
        Where they queue.
    walltime, memory : str
        Limits of a job: [DAYS-]HH:MM:SS, and a size such as 2GB.
    directives : tuple of str
        Further options of sbatch, such as "--account=mine". What jobs print is dropped unless one of
        them is "--output=FILE".
    interface : str, optional
        Network over which the jobs reach this process, such as "ib0".
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
            _check_text("partition", self.partition, r"\S+", "a name")
        _check_text("walltime", self.walltime, r"(\d+-)?\d+(:\d+){0,2}", "[DAYS-]HH:MM:SS")
        _check_memory(self.memory)
        if not isinstance(self.directives, tuple | list):
            raise InputError(
                f"directives are {shown(self.directives)}; a list of options of sbatch is needed"
            )
        for directive in self.directives:
            _check_text("a directive", directive, "-.+", "an option of sbatch, such as --account=mine")
        if self.interface is not None:
            choice("interface", self.interface, sorted(psutil.net_if_addrs()))
        if find_spec("dask_jobqueue") is None:
            raise InputError("dask-jobqueue is missing, which submits jobs: pip install 'fastlin[hpc]'")
        for command in ("sbatch", "scancel"):
            if shutil.which(command) is None:
                raise InputError(
                    f"there is no {command} here; jobs go in from a machine that has SLURM's commands"
                )


Engine = Threads | Processes | Scheduler | Slurm


def local_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks_at_once(engine: Engine) -> int | None:
    """Return how many blocks are in this machine's memory at a time; None if they are elsewhere."""
    if isinstance(engine, Threads):
        return local_threads() + SPARE_THREADS
    return engine.workers if isinstance(engine, Processes) else None


@contextmanager
def connect(engine: Engine) -> Iterator[Client]:
    """Start or reach what a sweep runs on, and end with the context what was started.

    Parameters
    ----------
    engine : Threads, Processes, Scheduler or Slurm
        Where to run.

    Yields
    ------
    distributed.Client
        Nobody's default. Jobs of SLURM join its workers when they start.

    Raises
    ------
    StoppedError
        If processes cannot start, no scheduler answers, or sbatch refuses a job.
    """
    with _quiet(), _opened(engine) as client:
        yield client


def abandon() -> None:
    """End at once what `connect` started and this process would leave behind: workers, jobs.

    For a signal handler on its way to `os._exit`: never raises, and takes at most `CANCEL_SECONDS`.
    A job whose submission is under way ends by itself, as soon as it finds no scheduler.
    """
    for end in list(_endings):
        with suppress(Exception):
            end()


def build() -> str:
    """Return which fastlin this process runs: its version, and the hash of its kernels' sources."""
    return f"fastlin {fastlin.__version__}, kernels {SOURCE_HASH}"


def check_versions(client: Client) -> None:
    """Raise a StoppedError unless the scheduler, and every worker that is there, run the same fastlin.

    Workers that join later are not known yet; what is submitted through `on_same_build` looks itself.
    """
    found = {
        f"the worker {address}": theirs for address, theirs in client.run(build, on_error="return").items()
    }
    try:
        # It computes nothing, but has to read what it hands on.
        found["the scheduler"] = client.run_on_scheduler(build)
    except Exception as error:
        found["the scheduler"] = error
    for who, theirs in found.items():
        if isinstance(theirs, OSError) and who != "the scheduler":
            continue  # it is gone, and what follows it looks itself
        if isinstance(theirs, Exception):
            raise StoppedError(f"{who} does not run this fastlin: {_reason(theirs)}")
        _compare(who, theirs, build())


def on_same_build(submitted: str, function: Callable[..., Result], *given: Any) -> Result:
    """Call a function in a worker, or raise a StoppedError if the worker runs another fastlin.

    A worker that has none cannot even read this, and leaves; Dask gives the task to another.

    Parameters
    ----------
    submitted : str
        `build` of the process that submits.
    function, *given
        What to call, with what.
    """
    _compare(f"the worker {get_worker().address}", build(), submitted)
    return function(*given)


def _compare(who: str, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise StoppedError(f"{who} runs {theirs}, and this process {ours}; install the same in both")


def _opened(engine: Engine) -> AbstractContextManager[Client]:
    match engine:
        case Threads():
            return _threads()
        case Processes():
            return _processes(engine)
        case Scheduler():
            return _scheduler(engine)
        case Slurm():
            return _slurm(engine)
    raise InputError(f"the engine is {shown(engine)}; needed is Threads, Processes, Scheduler or Slurm")


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Dask's loggers say nothing: a run that is stopped says so itself, in one line."""
    with ExitStack() as stack:
        for name in ("distributed", "distributed.client", "tornado.application"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        yield


@contextmanager
def _ended_by(end: Callable[[], object]) -> Iterator[None]:
    """Make `abandon` call `end` while the context lasts."""
    _endings.append(end)
    try:
        yield
    finally:
        _endings.remove(end)


@contextmanager
def _threads() -> Iterator[Client]:
    threads = blocks_at_once(Threads())
    local = {"processes": False, "n_workers": 1, "threads_per_worker": threads, **_LOCAL}
    with (
        LocalCluster(**local, scheduler_kwargs=_NO_DASHBOARD) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _processes(engine: Processes) -> Iterator[Client]:
    local = {"n_workers": engine.workers, "threads_per_worker": 1, "host": "127.0.0.1", **_LOCAL}
    local["plugins"] = [_IgnoreInterrupts()]
    pins = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in PINNED.items()}
    with _environment_kept(), ExitStack() as stack:
        # A process that abandons its workers leaves semaphores to Python's tracker, which need not tell.
        given = [os.environ["PYTHONWARNINGS"]] if "PYTHONWARNINGS" in os.environ else []
        os.environ["PYTHONWARNINGS"] = ",".join([*given, "ignore:resource_tracker:UserWarning"])
        _check_processes_start()
        stack.enter_context(dask.config.set(pins))
        cluster = stack.enter_context(_local_cluster(**local))
        stack.enter_context(_ended_by(partial(_kill_workers, cluster)))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        stack.enter_context(_refilled(cluster, n=engine.workers))
        yield client


def _local_cluster(**local: Any) -> LocalCluster:
    """Start worker processes; some times, where one is killed on the way."""
    for left in reversed(range(STARTS)):
        try:
            return LocalCluster(**local, scheduler_kwargs={**_NO_DASHBOARD, "allowed_failures": 0})
        except RuntimeError as error:
            if not left:
                raise StoppedError(f"worker processes end as they start: {_reason(error)}") from None
    raise AssertionError


def _check_processes_start() -> None:
    """Start a process that does nothing: where that fails, Dask would try again and again."""
    probe = multiprocessing.get_context("spawn").Process(target=os.getpid)
    probe.start()
    probe.join()
    if probe.exitcode != 0:
        raise StoppedError(
            "worker processes cannot start, for the reason above; leave workers= out for threads"
        )


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Give this process its environment back: Dask sets in it what its workers are to inherit."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


class _IgnoreInterrupts(WorkerPlugin):
    """A Ctrl-C reaches the whole process group; it is the parent that decides what it means."""

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _kill_workers(cluster: LocalCluster) -> None:
    for nanny in list(cluster.workers.values()):
        with suppress(psutil.Error):
            worker = psutil.Process(nanny.pid)
            for process in [*worker.children(recursive=True), worker]:  # it may compute a block apart
                with suppress(psutil.Error):
                    process.kill()


def _no_address(what: str) -> InputError:
    return InputError(f"{what}; needed is tcp://HOST:PORT, tls://HOST:PORT or the file of a scheduler")


def _checked_address(address: Any, what: str) -> str:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port and not parts.path
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        raise _no_address(what)
    return str(address)


def _checked_security(address: str, files: dict[str, str]) -> Security:
    """Return Dask's own settings, or those of three files, if certificates can be read from them."""
    renamed = {"tls_ca": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}
    try:
        security = Security(**{renamed[name]: path for name, path in files.items()})
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:
        raise InputError(f"the certificates for {address} are not usable: {_reason(error)}") from None
    if context is None and address.startswith("tls://"):
        raise InputError(
            f"{address} takes certificates: give tls_ca, tls_cert and tls_key, "
            "or set distributed.comm.tls in Dask's configuration"
        )
    return security


@contextmanager
def _scheduler(engine: Scheduler) -> Iterator[Client]:
    address = engine.contact()
    security = engine.security(address)
    try:
        _check_answer(address, security)
        with warnings.catch_warnings():
            # Of other versions of Dask or Python, which need not matter; of fastlin is looked after.
            warnings.simplefilter("ignore", VersionMismatchWarning)
            client = Client(address, security=security, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise StoppedError(f"no Dask scheduler answers at {address}: {_reason(error)}") from None
    with client:
        yield client


def _check_answer(address: str, security: Security) -> None:
    """Ask who is there: a Client alone waits forever for what takes connections and says nothing."""

    async def ask() -> Any:
        arguments = security.get_connection_args("client")
        async with rpc(address, timeout=CONNECT_SECONDS, connection_args=arguments) as remote:
            return await remote.identity()

    # In a thread of its own, since a notebook's has a loop that runs.
    with ThreadPoolExecutor(1) as thread:
        bounded = partial(asyncio.wait_for, timeout=CONNECT_SECONDS + 1)
        identity = thread.submit(lambda: asyncio.run(bounded(ask()))).result()
    if identity.get("type") != "Scheduler":
        raise ValueError(f"it is a {identity.get('type')}")


def _reason(error: BaseException) -> str:
    """Return in one line what is at the bottom of an error."""
    while error.__cause__ is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return f"nothing within {CONNECT_SECONDS:g} s"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]


def _check_text(name: str, value: Any, pattern: str, needed: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise InputError(f"{name} is {shown(value)}; needed is {needed}")


def _check_memory(memory: Any) -> None:
    try:
        usable = isinstance(memory, str) and parse_bytes(memory) > 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"memory is {shown(memory)}; needed is a size such as 2GB")


@contextmanager
def _slurm(engine: Slurm) -> Iterator[Client]:
    # SLURM finds jobs by their name, also those that this process knows no number of.
    name = f"fastlin-{uuid4().hex[:12]}"
    cancel = partial(_cancel_jobs, name)
    refusals: list[str] = []
    with _ended_by(cancel), ExitStack() as stack:
        stack.callback(cancel)
        cluster = stack.enter_context(_slurm_cluster(engine, name, refusals))
        cluster.scale(jobs=engine.workers)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        if refusals:
            raise StoppedError(f"sbatch refuses {len(refusals)} of {engine.workers} jobs: {refusals[0]}")
        stack.enter_context(_refilled(cluster, jobs=engine.workers))
        yield client


def _slurm_cluster(engine: Slurm, name: str, refusals: list[str]) -> Any:
    slurm: Any = import_module("dask_jobqueue.slurm")  # whose import brings its configuration

    def configured(key: str) -> Any:
        return dask.config.get(f"jobqueue.slurm.{key}")

    # The folder of submission is no place for a file per job, and others may not be there on a node.
    dropped = [] if configured("log-directory") else ["--output=/dev/null"]
    try:
        return slurm.SLURMCluster(
            job_cls=_job_class(slurm.SLURMJob, refusals),
            job_name=name,
            cores=1,
            processes=1,
            queue=engine.partition,
            walltime=engine.walltime,
            memory=engine.memory,
            interface=engine.interface,
            job_extra_directives=[*dropped, *configured("job-extra-directives"), *engine.directives],
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
    """Return jobs that note why sbatch refuses one: Dask would log it, and wait for the worker."""

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
    """Start again, while the context lasts, what Dask finds gone of so many workers, or jobs."""

    def look() -> None:
        for name, worker in list(cluster.workers.items()):
            if worker.status in (Status.failed, Status.closed):  # on starting, of which Dask takes no notice
                del cluster.workers[name]
        cluster.scale(**count)

    often = PeriodicCallback(look, 1000 * REFILL_SECONDS)
    cluster.loop.add_callback(often.start)
    try:
        yield
    finally:
        cluster.loop.add_callback(often.stop)
