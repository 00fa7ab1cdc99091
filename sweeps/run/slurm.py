"""Jobs of SLURM as workers: this process submits them, is their scheduler, and cancels them at the end."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any
from uuid import uuid4

import dask
from distributed import Client
from distributed.deploy.spec import ProcessInterface  # private: as in `dispatch`

from fastlin.errors import StoppedError
from fastlin.sweeps.run.executors import Slurm
from fastlin.sweeps.run.lifecycle import NO_DASHBOARD, PINNED, ended_by, reason_of, refilled

CANCEL_SECONDS = 4.0  # time limit of scancel, which a process waits for before it ends


@contextmanager
def slurm_jobs(executor: Slurm) -> Iterator[Client]:
    """Submit jobs and yield a client of their scheduler. The jobs end with the context."""
    # SLURM finds jobs by their name, also those whose numbers this process does not know yet.
    name = f"fastlin-{uuid4().hex[:12]}"
    cancel = partial(_cancel_jobs, name)
    refusals: list[str] = []
    with ended_by(cancel), ExitStack() as stack:
        stack.callback(cancel)
        cluster = stack.enter_context(_slurm_cluster(executor, name, refusals))
        cluster.scale(jobs=executor.workers)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        if refusals:
            raise StoppedError(f"sbatch refuses {len(refusals)} of {executor.workers} jobs: {refusals[0]}")
        stack.enter_context(refilled(cluster, jobs=executor.workers))
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
                *("--no-dashboard", "--dashboard-address", NO_DASHBOARD["dashboard_address"]),
            ],
            scheduler_options={**configured("scheduler-options"), **NO_DASHBOARD},
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise StoppedError(f"the scheduler of the jobs cannot start: {reason_of(error)}") from None


def _job_class(kind: Any, refusals: list[str]) -> Any:
    """Return a class of jobs that notes why sbatch refuses one. Dask would log it and wait for the worker."""

    async def start(job: Any) -> None:
        try:
            await kind.start(job)
        except (OSError, RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines()
            messages = [line.removeprefix("sbatch: ") for line in lines if line.startswith("sbatch: ")]
            refusals.append([*messages, *lines[-1:]][0].removeprefix("error: "))
            await ProcessInterface.start(job)

    return type("NotingJob", (kind,), {"start": start})


def _cancel_jobs(name: str) -> None:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", f"--name={name}"], timeout=CANCEL_SECONDS, capture_output=True)
