"""Executors of a sweep: threads, processes, a Dask scheduler that runs already, or jobs of SLURM.

They hold options only, which are checked at once. `fastlin.sweeps.run.cluster` starts or reaches the workers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from dask.utils import parse_bytes
from distributed import Security

from fastlin.errors import InputError
from fastlin.paths import user_path
from fastlin.validation import check_choice, check_int, shown

MAX_WORKERS = 4096
# Threads beyond the cores compute while others wait for zarr. They save a fifth of the time of phase-10m.
SPARE_THREADS = 2


@dataclass(frozen=True)
class Threads:
    """Threads of this process."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, of one thread each. A process that dies is started again.

    A block whose process died fails at once, and so do the blocks that waited for the same process. Dask
    raises KilledWorker for each of them, and `dispatch.retried` submits them again.

    Attributes
    ----------
    workers : int
        Number of processes.
    """

    workers: int

    def __post_init__(self) -> None:
        check_int("workers", self.workers, 1, MAX_WORKERS)


@dataclass(frozen=True)
class Scheduler:
    """A Dask scheduler that runs already, with workers that can access the store.

    Attributes
    ----------
    address : str or Path
        tcp://HOST:PORT, tls://HOST:PORT, or the path of the file that the scheduler wrote.
    tls_ca, tls_cert, tls_key : str or Path, optional
        Files that tls:// needs: all three, or none if Dask's configuration has them.
    """

    address: str | Path
    tls_ca: str | Path | None = None
    tls_cert: str | Path | None = None
    tls_key: str | Path | None = None

    def __post_init__(self) -> None:
        self.security(self.contact())

    def contact(self) -> str:
        """Return the address, which may have to be read from the scheduler's file."""
        given = self.address
        if not isinstance(given, str | Path) or not str(given):
            raise _no_address(f"the scheduler is {shown(given)}")
        if "://" in str(given):
            return _checked_address(given, f"the scheduler is {shown(given)}")
        try:
            content = json.loads(user_path(given).read_bytes())
        except OSError as error:
            raise _no_address(f"the scheduler file {given}: {error.strerror or error}") from None
        except ValueError:
            content = None
        address = content.get("address") if isinstance(content, dict) else None
        return _checked_address(address, f"{given} is not the file of a Dask scheduler")

    def security(self, address: str) -> Security:
        """Return the security settings of a connection to `address`, after a check of the files."""
        files = {"tls_ca": self.tls_ca, "tls_cert": self.tls_cert, "tls_key": self.tls_key}
        given = {name: user_path(path) for name, path in files.items() if path is not None}
        if given and not address.startswith("tls://"):
            raise InputError(f"{' and '.join(given)} given, and {address} is not tls://")
        if given and len(given) < len(files):
            raise InputError(
                f"{' and '.join(given)} given; tls:// needs all three, or none: {', '.join(files)}"
            )
        for name, path in given.items():
            if not path.is_file():
                raise InputError(f"{name}: there is no file {path}")
        return _checked_security(address, given)


@dataclass(frozen=True)
class Slurm:
    """Jobs of SLURM, of one core each. This process submits them and is their scheduler.

    A job that ends before the sweep, for example at its walltime, is submitted again. Options in Dask's
    configuration under jobqueue.slurm, such as a prologue that loads modules, apply too.

    Attributes
    ----------
    workers : int
        Number of jobs.
    partition : str, optional
        Partition of the jobs.
    walltime, memory : str
        Limits of a job: [DAYS-]HH:MM:SS, and a size such as 2GB.
    directives : tuple of str
        Further options of sbatch, such as "--account=mine". The output of jobs is dropped, unless one of
        these is "--output=FILE".
    interface : str, optional
        Network interface over which the jobs reach this process, such as "ib0".
    """

    workers: int
    partition: str | None = None
    walltime: str = "01:00:00"
    memory: str = "2GB"
    directives: tuple[str, ...] = ()
    interface: str | None = None

    def __post_init__(self) -> None:
        check_int("workers", self.workers, 1, MAX_WORKERS)
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
            check_choice("interface", self.interface, sorted(psutil.net_if_addrs()))
        if find_spec("dask_jobqueue") is None:
            raise InputError(
                "jobs of SLURM need dask-jobqueue: pip install dask-jobqueue (it is in fastlin's extra hpc)"
            )
        for command in ("sbatch", "scancel"):
            if shutil.which(command) is None:
                raise InputError(
                    f"there is no {command} here; jobs are submitted on a machine that has SLURM's commands"
                )


Executor = Threads | Processes | Scheduler | Slurm


def local_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks_at_once(executor: Executor) -> int | None:
    """Return the number of blocks in this machine's memory at a time (None for other machines)."""
    if isinstance(executor, Threads):
        return local_threads() + SPARE_THREADS
    return executor.workers if isinstance(executor, Processes) else None


def _no_address(fault: str) -> InputError:
    return InputError(f"{fault}; needed is tcp://HOST:PORT, tls://HOST:PORT or the file of a scheduler")


def _checked_address(address: Any, fault: str) -> str:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port and not parts.path
    except (ValueError, AttributeError, TypeError):
        usable = False
    if not usable:
        raise _no_address(fault)
    return str(address)


def _checked_security(address: str, files: dict[str, Path]) -> Security:
    """Return security settings of Dask's configuration or of three files, after reading the certificates."""
    renamed = {"tls_ca": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}
    try:
        security = Security(**{renamed[name]: str(path) for name, path in files.items()})
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:
        raise InputError(
            f"the certificates for {address} are not usable: {error.strerror or error}"
        ) from None
    if context is None and address.startswith("tls://"):
        raise InputError(
            f"{address} takes certificates: give tls_ca, tls_cert and tls_key, "
            "or set distributed.comm.tls in Dask's configuration"
        )
    return security


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
