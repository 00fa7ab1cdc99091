"""`fastlin run`. Options choose where a sweep runs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastlin.cli.common import Json, Quiet, SpecArgument, load_spec, print_result
from fastlin.cli.exit_codes import ExitCode
from fastlin.cli.signals import stop_at_once

if TYPE_CHECKING:
    from fastlin.sweeps.run.executors import Executor

WHERE = "Dask and SLURM"


def run(
    spec: SpecArgument,
    store: Annotated[str, typer.Option("--store", metavar="PATH", help="A folder, or s3://bucket/path.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Use N processes, or N jobs of SLURM, instead of threads."
        ),
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
        str | None,
        typer.Option(metavar="FILE", help="Certificate authority for tls://.", rich_help_panel=WHERE),
    ] = None,
    tls_cert: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Certificate for tls://.", rich_help_panel=WHERE),
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Key of the certificate.", rich_help_panel=WHERE),
    ] = None,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Submit --workers jobs to SLURM.", rich_help_panel=WHERE)
    ] = False,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Partition of the jobs.", rich_help_panel=WHERE)
    ] = None,
    walltime: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM:SS", help="Time limit of a job; by default 01:00:00.", rich_help_panel=WHERE
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory of a job; by default 2GB.", rich_help_panel=WHERE),
    ] = None,
    directive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION", help="Another option of sbatch; may be repeated.", rich_help_panel=WHERE
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Network interface to the jobs, as ib0.", rich_help_panel=WHERE),
    ] = None,
    slice: Annotated[
        str | None,
        typer.Option("--slice", metavar="I/N", help="Compute every N-th block, as one job of an array."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Continue a store that exists; --no-resume refuses it."),
    ] = True,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Compute bad points again: diverged, failed, too stiff.")
    ] = False,
    allow_version: Annotated[
        bool,
        typer.Option(
            "--allow-version",
            help="Continue a store of other versions, if a sample of it is computed to the same bits.",
        ),
    ] = False,
    durable: Annotated[
        bool,
        typer.Option("--durable", help="Sync every file to disk, so that a loss of power loses no block."),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Time after which a block counts as hung; needs worker processes."
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw the phase diagram when the sweep is complete.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a sweep into a store, continue one that was interrupted, or add values to its axes."""
    from fastlin.sweeps.run.options import RunOptions
    from fastlin.sweeps.run.progress import NoProgress, on_stderr
    from fastlin.sweeps.run.run import run as run_sweep
    from fastlin.sweeps.store.slice import Slice

    loaded = load_spec(spec)
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
    executor = _executor(workers, scheduler, tls, slurm, jobs)
    part = None if slice is None else Slice.read(slice)
    options = RunOptions(resume, retry_failed, allow_version, durable, part, timeout)
    progress = NoProgress() if quiet else on_stderr()
    stop_at_once(progress)
    report = run_sweep(loaded, store, executor, options, progress)
    text = report.summary
    if report.bad:
        text += f"\nfastlin status {store} lists the bad points; --retry-failed computes them again"
    print_result(asdict(report), text, as_json, quiet)
    if plot is not None and report.ok and not report.pending:
        files = picture.draw(store, plot)
        if not as_json and not quiet:
            print("\n".join(f"picture: {file}" for file in files))
    if report.bad:
        raise typer.Exit(ExitCode.FAILED)


def _executor(
    workers: int | None, scheduler: str | None, tls: dict[str, Any], slurm: bool, jobs: dict[str, Any]
) -> "Executor":
    """Return the executor that the options choose."""
    from fastlin.errors import InputError
    from fastlin.sweeps.run.executors import Processes, Scheduler, Slurm, Threads

    if slurm and scheduler is not None:
        raise InputError("--slurm and --scheduler each choose where to run; give one of them")
    if scheduler is None and (given := [name for name, value in tls.items() if value is not None]):
        raise InputError(f"--{given[0].replace('_', '-')} is for --scheduler")
    if not slurm and (given := [name for name, value in jobs.items() if value]):
        raise InputError(f"--{given[0].removesuffix('s')} is for --slurm")
    if scheduler is not None:
        if workers is not None:
            raise InputError("--workers is not allowed with --scheduler, which has workers of its own")
        return Scheduler(scheduler, **tls)
    if slurm:
        if workers is None:
            raise InputError("--slurm needs --workers N, the number of jobs")
        return Slurm(workers, **{name: value for name, value in jobs.items() if value})
    return Threads() if workers is None else Processes(workers)
