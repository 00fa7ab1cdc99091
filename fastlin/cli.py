"""The command line: thin verbs over the library, one line per error, exit codes 0, 1 and 2."""

import atexit
import gc
import io
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from fastlin.sweeps.engines import Engine
    from fastlin.sweeps.progress import Silent

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file, or the name of a preset.")]
StoreArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="The store: a folder, or s3://bucket/path.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

WHERE = "Dask and SLURM"
WATCH_SECONDS = 2.0
FAILED, USAGE, INTERRUPTED = 1, 2, 130
STOPPED = "stopped; what is complete stays, run the same command again to go on"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"fastlin {version('fastlin')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Exact learning dynamics of two-layer linear networks, swept into Zarr stores.

    Exit codes: 0 done; 1 points that diverged or failed, or a write that failed; 2 bad usage.
    """


@app.command()
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
    from fastlin.sweeps.progress import on_stderr
    from fastlin.sweeps.running import run_sweep
    from fastlin.sweeps.spec import Spec

    loaded = Spec.load(spec)
    if plot is not None:
        from fastlin.sweeps import pictures

        pictures.check_file(plot)
        pictures.check_spec(loaded)
    jobs = {
        "partition": partition,
        "walltime": walltime,
        "memory": memory,
        "directives": tuple(directive or ()),
        "interface": interface,
    }
    tls = {"tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
    engine = _engine(workers, scheduler, tls, slurm, jobs)
    progress = on_stderr()
    _stop_at_once(progress)
    report = run_sweep(
        loaded,
        store,
        engine=engine,
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
    _say(asdict(report), text, as_json)
    if plot is not None and not report.pending:
        pictures.draw(store, plot, None, "lam", None)
        if not as_json:
            print(f"picture: {plot}")
    if bad:
        raise typer.Exit(FAILED)


def _engine(
    workers: int | None, scheduler: str | None, tls: dict[str, Any], slurm: bool, jobs: dict[str, Any]
) -> "Engine":
    """Return where to run, by the options that say so."""
    from fastlin.errors import InputError
    from fastlin.sweeps.engines import Processes, Scheduler, Slurm, Threads

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


@app.command()
def plan(
    spec: SpecArgument,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Cores to plan for.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what a sweep would take: points, blocks, bytes, files, memory, time. Touches nothing."""
    from time import time

    from psutil import Process

    from fastlin.sweeps.calibration import in_words, projection
    from fastlin.sweeps.spec import Spec

    # This command has imported by now what `run` imports, too.
    content = projection(Spec.load(spec), workers, start_up=time() - Process().create_time())
    _say(content, in_words(content), as_json)


@app.command()
def status(
    path: StoreArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again each two seconds until all is done.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell how a sweep stands by its store, complete or still running; exit code 1 if points failed."""
    from time import sleep

    from fastlin.sweeps.standing import in_words, standing

    while True:
        content = standing(path)
        if watch and not as_json and sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")  # an empty screen
        _say(content, in_words(content), as_json)
        if not watch or not content["pending"]:
            break
        sys.stdout.flush()
        sleep(WATCH_SECONDS)
    if content["diverged"] + content["failed"]:
        raise typer.Exit(FAILED)


@app.command()
def verify(path: StoreArgument, as_json: Json = False) -> None:
    """Read every byte of a store and tell what is damaged; exit code 1 if anything is."""
    from fastlin.sweeps.verifying import verify as find

    damaged = find(path)
    lines = [f"{entry.key}: {entry.what}" for entry in damaged]
    end = f"{len(damaged)} damaged; fastlin repair {path} mends them" if damaged else "all is well"
    _say(
        {"store": path, "damaged": [asdict(entry) for entry in damaged]},
        "\n".join([*lines, f"{path}: {end}"]),
        as_json,
    )
    if damaged:
        raise typer.Exit(FAILED)


@app.command()
def repair(
    path: StoreArgument,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Use N processes.")] = None,
    as_json: Json = False,
) -> None:
    """Mend a store: compute the blocks that are damaged again, and no others."""
    from fastlin.sweeps.progress import on_stderr
    from fastlin.sweeps.verifying import repair as mend

    progress = on_stderr()
    _stop_at_once(progress)
    damaged, report = mend(path, workers=workers, progress=progress)
    content = {
        "store": path,
        "mended": [asdict(entry) for entry in damaged],
        "computed_blocks": report.computed_blocks,
        "pending": report.pending,
    }
    text = f"{path}: {len(damaged)} damaged and mended, {report.computed_blocks} blocks computed again"
    _say(content, text, as_json)


@app.command()
def plot(
    path: StoreArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="PNG, SVG or PDF; by default beside the store, or in this folder."
        ),
    ] = None,
    observable: Annotated[
        str | None, typer.Option(help="What to draw; by default the kernel distance, if it is there.")
    ] = None,
    x: Annotated[str, typer.Option("--x", help="Horizontal axis.")] = "lam",
    y: Annotated[str | None, typer.Option("--y", help="Vertical axis; else init_scale or time.")] = None,
    as_json: Json = False,
) -> None:
    """Draw the phase diagram of a store."""
    from fastlin.sweeps import pictures

    name = Path(path).stem + (f"-{observable}" if observable else "")
    beside = Path.cwd() if "://" in path else Path(path).absolute().parent
    target = out or beside / f"{name}.png"
    pictures.check_file(target)
    pictures.draw(path, target, observable, x, y)
    _say({"store": path, "picture": str(target)}, f"picture: {target}", as_json)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print the spec of this one.")] = None,
    as_json: Json = False,
) -> None:
    """List the presets, or print one, to start a spec of your own from."""
    from fastlin.errors import choice
    from fastlin.sweeps import presets as shipped
    from fastlin.sweeps.spec import Spec

    if name is not None:
        choice("preset", name, shipped.names())
        _say(Spec.load(name).to_dict(), shipped.text(name).rstrip(), as_json)
        return
    content = {name: shipped.summary(name) for name in shipped.names()}
    width = max(len(name) for name in content)
    _say(content, "\n".join(f"{name:<{width}}  {text}" for name, text in content.items()), as_json)


@app.command()
def bench(
    against: Annotated[
        str,
        typer.Option(metavar="NAMES", help="What to compare with, by commas; JAX only if it is installed."),
    ] = "numpy,jax",
    update: Annotated[
        Path | None,
        typer.Option("--update", metavar="FILE", help="Write the table to its place in this file, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine: its peak, the kernels, their rivals, a sweep of ten million; some minutes."""
    from importlib.util import find_spec

    from fastlin.bench import report
    from fastlin.bench.measure import RIVALS, Program, measure
    from fastlin.errors import choice

    rivals = [choice("--against", name.strip(), RIVALS) for name in against.split(",") if name.strip()]
    if update is not None:
        report.place(update)  # before minutes of work
    if "jax" in rivals and find_spec("jax") is None:
        print("fastlin: JAX is not installed and left out; it is in fastlin[bench]", file=sys.stderr)
        rivals.remove("jax")
    figures = measure(Program(), rivals, lambda text: print(f"fastlin: {text}", file=sys.stderr, flush=True))
    _say(figures, report.table(figures), as_json)
    if update is not None:
        report.update(update, figures)


def _stop_at_once(progress: "Silent") -> None:
    """Make Ctrl-C and SIGTERM end the process at once: a store is safe, and a block may take long."""
    from fastlin.sweeps import clients, lease

    def stop(number: int, _frame: object) -> None:
        progress.__exit__(None, None, None)
        lease.abandon()
        clients.abandon()
        print(f"fastlin: {STOPPED}", file=sys.stderr, flush=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _say(content: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(content, indent=2) if as_json else text)


def main() -> NoReturn:
    """Run the command line; nobody is shown a traceback."""
    # Imports make a million objects that stay: to look through them for garbage again and again, and
    # at the end once more, takes 0.7 s of a command's 2.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    try:
        code = app(standalone_mode=False) or 0
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        _explain(error)
    if code == INTERRUPTED:
        _fail("stopped", INTERRUPTED)
    sys.exit(code)


def _explain(error: Exception) -> NoReturn:
    """Print what is wrong in a line, and leave with the code for it."""
    from fastlin.errors import InputError, StoppedError

    if isinstance(error, InputError):
        _fail(str(error), USAGE)
    if isinstance(error, StoppedError):
        _fail(str(error), FAILED)
    if hasattr(error, "format_message"):  # click's own: a missing argument, an unknown option
        lines = error.format_message().splitlines()
        _fail(lines[0] if lines else "a command is missing", USAGE)
    if isinstance(error, OSError):
        _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), FAILED)
    _fail(f"internal error, please report it: {type(error).__name__}: {error}", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(line if line.startswith(" ") else f"fastlin: {line}", file=sys.stderr)
    sys.exit(code)
