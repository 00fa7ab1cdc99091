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
    from fastlin.sweeps.progress import Silent
    from fastlin.sweeps.spec import Spec

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file, or the name of a preset.")]
StoreArgument = Annotated[str, typer.Argument(metavar="PATH", help="The store of a sweep.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

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
    store: Annotated[str, typer.Option("--store", metavar="PATH", help="Where the results go.")],
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Use N processes instead of threads of this one."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a store that is there.")
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the phase diagram when all is done."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a sweep into a store, or go on with one that was interrupted."""
    from fastlin.sweeps.progress import on_stderr
    from fastlin.sweeps.running import run_sweep
    from fastlin.sweeps.spec import Spec

    loaded = Spec.load(spec)
    if plot is not None:
        _check_picture(plot)
        _check_drawable(loaded)
    progress = on_stderr()
    _stop_at_once(progress)
    report = run_sweep(loaded, store, workers=workers, resume=resume, progress=progress)
    bad = report.diverged + report.failed
    text = (
        f"{store}: {report.ok:,} of {report.points:,} points ok, {report.diverged:,} diverged, "
        f"{report.failed:,} failed; {report.computed_blocks} of {report.blocks} blocks computed "
        f"in {report.seconds:.1f} s"
    )
    _say(asdict(report), text, as_json)
    if plot is not None:
        _draw(store, plot, None, "lam", None)
        if not as_json:
            print(f"picture: {plot}")
    if bad:
        raise typer.Exit(FAILED)


@app.command()
def plan(
    spec: SpecArgument,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Cores to plan for.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what a sweep would take: points, blocks, bytes, files, time. Touches nothing."""
    from fastlin.sweeps.plan import Plan, readable_size
    from fastlin.sweeps.running import blocks_at_once, checked_workers
    from fastlin.sweeps.spec import Spec

    loaded = Spec.load(spec)
    cut, cores = Plan.of(loaded), checked_workers(workers)
    memory = cut.block_memory * blocks_at_once(workers)
    content = {
        "name": loaded.name,
        "points": loaded.points,
        "times": int(loaded.times.size),
        "axes": loaded.point_dims,
        "blocks": cut.block_count,
        "seeds_per_block": cut.seeds_per_block,
        "bytes": cut.bytes,
        "files": cut.files,
        "memory_bytes": memory,
        "workers": cores,
        "seconds": cut.seconds(cores),
        "spec": loaded.to_dict(),
    }
    dims = " x ".join(f"{size} {name}" for name, size in loaded.point_dims.items())
    text = (
        f"{loaded.name}: {loaded.points:,} points ({dims}), each at {loaded.times.size} times\n"
        f"blocks: {cut.block_count:,} of {cut.seeds_per_block} seeds\n"
        f"store: {readable_size(cut.bytes)} in {cut.files:,} files\n"
        f"memory: {readable_size(memory)} for blocks on {cores} cores\n"
        f"time: about {cut.seconds(cores):.2g} s on {cores} cores"
    )
    _say(content, text, as_json)


@app.command()
def status(path: StoreArgument, as_json: Json = False) -> None:
    """Tell what a store holds, complete or still running; exit code 1 if points diverged or failed."""
    from fastlin.sweeps.store import read_attributes
    from fastlin.sweeps.tally import tally

    attributes = read_attributes(path)
    counts = tally(path)
    content = {
        "store": path,
        "name": attributes["title"],
        "points": counts.points,
        "ok": counts.ok,
        "diverged": counts.diverged,
        "failed": counts.failed,
        "pending": counts.pending,
        "blocks": counts.blocks,
        "complete_blocks": len(counts.complete),
        "versions": attributes["versions"],
    }
    text = (
        f"{path}: {attributes['title']}, {counts.done:,} of {counts.points:,} points done "
        f"({len(counts.complete)} of {counts.blocks} blocks)\n"
        f"ok {counts.ok:,}, diverged {counts.diverged:,}, failed {counts.failed:,}, "
        f"pending {counts.pending:,}"
    )
    _say(content, text, as_json)
    if counts.diverged + counts.failed:
        raise typer.Exit(FAILED)


@app.command()
def plot(
    path: StoreArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="PNG, SVG or PDF; by default beside the store."),
    ] = None,
    observable: Annotated[
        str | None, typer.Option(help="What to draw; by default the kernel distance, if it is there.")
    ] = None,
    x: Annotated[str, typer.Option("--x", help="Horizontal axis.")] = "lam",
    y: Annotated[str | None, typer.Option("--y", help="Vertical axis; else init_scale or time.")] = None,
    as_json: Json = False,
) -> None:
    """Draw the phase diagram of a store."""
    name = Path(path).stem + (f"-{observable}" if observable else "")
    target = out or Path(path).absolute().with_name(f"{name}.png")
    _check_picture(target)
    _draw(path, target, observable, x, y)
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


def _check_picture(target: Path) -> None:
    """Refuse a picture that could not be written, before any work."""
    from fastlin.errors import InputError

    allowed = (".png", ".svg", ".pdf")
    if target.suffix.lower() not in allowed or target.is_dir():
        raise InputError(f"{target} is no picture; its ending must be one of {', '.join(allowed)}")
    if not target.absolute().parent.is_dir():
        raise InputError(f"there is no folder {target.absolute().parent} for the picture")


def _check_drawable(spec: "Spec") -> None:
    """Refuse to draw over an axis of one value, before the sweep that would be drawn."""
    from fastlin.errors import InputError

    if spec.lams.size < 2:
        raise InputError("--plot draws over lam, and the spec has one value of it; use fastlin plot --x AXIS")


def _draw(path: str, target: Path, observable: str | None, x: str, y: str | None) -> None:
    os.environ["MPLBACKEND"] = "Agg"  # a file is drawn, whatever window system the user prefers
    from fastlin.errors import InputError
    from fastlin.observables import SWEEPABLE
    from fastlin.plot import sweep
    from fastlin.sweeps.reading import open_sweep

    dataset = open_sweep(path)
    if observable is None:
        stored = [name for name in ("kernel_distance", *SWEEPABLE) if name in dataset]
        observable = next((name for name in stored if "layer" not in dataset[name].dims), stored[0])
    try:
        figure = sweep(dataset, observable, x, y)
    except ValueError as error:
        if isinstance(error, InputError) or "checksum" not in str(error):
            raise
        raise InputError(f"{path} has a damaged chunk: {error}") from None
    figure.savefig(target, dpi=150)


def _stop_at_once(progress: "Silent") -> None:
    """Make Ctrl-C and SIGTERM end the process at once: a store is safe, and a block may take long."""

    def stop(number: int, _frame: object) -> None:
        progress.__exit__(None, None, None)
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
