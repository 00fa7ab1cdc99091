"""`fastlin run`: where a sweep runs is chosen by options, and Ctrl-C ends it at once."""

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastlin.cli.common import FAILED, Json, SpecArgument, say

if TYPE_CHECKING:
    from fastlin.sweeps.run.executors import Executor
    from fastlin.sweeps.run.progress import NoProgress

WHERE = "Dask and SLURM"
STOPPED = "stopped; what is complete stays, run the same command again to go on"


def run(
    spec: SpecArgument,
    store: Annotated[str, typer.Option("--store", metavar="PATH", help="A folder, or s3://bucket/path.")],
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Use N processes, or SLURM jobs, instead of threads."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use a Dask scheduler: tcp://, tls://, or its file.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate authority for tls://.", rich_help_panel=WHERE),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate for tls://.", rich_help_panel=WHERE)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key.", rich_help_panel=WHERE)
    ] = None,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Submit --workers jobs to SLURM.", rich_help_panel=WHERE)
    ] = False,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Partition of the jobs.", rich_help_panel=WHERE)
    ] = None,
    walltime: Annotated[
        str | None, typer.Option(metavar="HH:MM:SS", help="Limit of a job; 01:00:00.", rich_help_panel=WHERE)
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of a job; 2GB.", rich_help_panel=WHERE)
    ] = None,
    directive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION", help="Further option of sbatch; may be repeated.", rich_help_panel=WHERE
        ),
    ] = None,
    interface: Annotated[
        str | None, typer.Option(metavar="NAME", help="Network to the jobs, as ib0.", rich_help_panel=WHERE)
    ] = None,
    slice: Annotated[
        str | None,
        typer.Option("--slice", metavar="I/N", help="Compute every N-th block, as one job of an array."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a store that is there.")
    ] = True,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Compute points that diverged or failed again.")
    ] = False,
    allow_version: Annotated[
        bool,
        typer.Option(
            "--allow-version", help="Go on with a store of other versions, if a sample comes out the same."
        ),
    ] = False,
    durable: Annotated[
        bool, typer.Option("--durable", help="Sync to disk, so that a loss of power loses no block.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="After which a block counts as hung; needs processes."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the phase diagram when all is done."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a sweep into a store, go on with one that was interrupted, or let one grow."""
    from fastlin.sweeps.run.progress import on_stderr
    from fastlin.sweeps.run.run import run_sweep
    from fastlin.sweeps.spec.spec import Spec

    loaded = Spec.load(spec)
    if plot is not None:
        from fastlin.sweeps.read import picture

        picture.check_file(plot)
        picture.check_spec(loaded)
    jobs = {
        "partition": partition,
        "walltime": walltime,
        "memory": memory,
        "directives": tuple(directive or ()),
        "interface": interface,
    }
    tls = {"tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
    executor = _engine(workers, scheduler, tls, slurm, jobs)
    progress = on_stderr()
    stop_at_once(progress)
    report = run_sweep(
        loaded,
        store,
        executor=executor,
        resume=resume,
        retry_failed=retry_failed,
        allow_version=allow_version,
        durable=durable,
        slice=slice,
        timeout=timeout,
        progress=progress,
    )
    bad = report.diverged + report.failed
    text = (
        f"{store}: {report.ok:,} of {report.points:,} points ok, {report.diverged:,} diverged, "
        f"{report.failed:,} failed; {report.computed_blocks:,} of {report.blocks:,} blocks computed "
        f"in {report.seconds:.1f} s"
    )
    if bad:
        text += f"\nfastlin status {store} lists what diverged or failed; --retry-failed computes it again"
    say(asdict(report), text, as_json)
    if plot is not None and report.ok and not report.pending:
        files = picture.draw(store, plot)
        if not as_json:
            print("\n".join(f"picture: {file}" for file in files))
    if bad:
        raise typer.Exit(FAILED)


def _engine(
    workers: int | None, scheduler: str | None, tls: dict[str, Any], slurm: bool, jobs: dict[str, Any]
) -> "Executor":
    """Return where to run, by the options that say so."""
    from fastlin.errors import InputError
    from fastlin.sweeps.run.executors import Processes, Scheduler, Slurm, Threads

    if slurm and scheduler is not None:
        raise InputError("--slurm and --scheduler each say where to run; one is needed")
    if scheduler is None and (given := [name for name, value in tls.items() if value]):
        raise InputError(f"--{given[0].replace('_', '-')} is for --scheduler")
    if not slurm and (given := [name for name, value in jobs.items() if value]):
        raise InputError(f"--{given[0].removesuffix('s')} is for --slurm")
    if scheduler is not None:
        if workers is not None:
            raise InputError("--workers is not for --scheduler, which has workers of its own")
        return Scheduler(scheduler, **tls)
    if slurm:
        if workers is None:
            raise InputError("--slurm needs --workers N, the number of jobs")
        return Slurm(workers, **{name: value for name, value in jobs.items() if value})
    return Threads() if workers is None else Processes(workers)


def stop_at_once(progress: "NoProgress") -> None:
    """Make Ctrl-C and SIGTERM end the process at once: a store is safe, and a block may take long."""
    from fastlin.sweeps.run import cluster
    from fastlin.sweeps.store import lease

    def stop(number: int, _frame: object) -> None:
        progress.__exit__(None, None, None)
        lease.abandon()
        cluster.abandon()
        print(f"fastlin: {STOPPED}", file=sys.stderr, flush=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
