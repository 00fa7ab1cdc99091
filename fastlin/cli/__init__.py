"""The command line: commands over the library, one line for each error, exit codes 0, 1 and 2."""

import atexit
import gc
import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from fastlin.cli.bench import bench
from fastlin.cli.common import FAILED, INTERRUPTED, USAGE
from fastlin.cli.pictures import figure, plot, report
from fastlin.cli.run import run
from fastlin.cli.stores import compact, plan, presets, repair, status, verify

VERBS = (run, plan, status, verify, repair, compact, plot, report, figure, presets, bench)
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in VERBS:
    app.command()(verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"fastlin {version('fastlin')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Exact learning dynamics of two-layer linear networks, swept into Zarr stores.

    Exit codes: 0 done; 1 points that diverged or failed, or a write that failed; 2 bad usage.
    """


def main() -> NoReturn:
    """Run the command line. An error is printed as a line, never as a traceback."""
    # Imports make a million objects that stay. Searching them for garbage during the run and at the end
    # takes 0.7 s of the 2 s of a command.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    os.environ["MPLBACKEND"] = "Agg"  # pictures go to files, so no window system is needed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a letter
    try:
        code = app(prog_name="fastlin", standalone_mode=False) or 0
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
    """Print an error as a line, and exit with the code for it."""
    from fastlin.errors import InputError, StoppedError

    if isinstance(error, InputError):
        _fail(str(error), USAGE)
    if isinstance(error, StoppedError):
        _fail(str(error), FAILED)
    if hasattr(error, "format_message"):  # click's own: a missing argument, an unknown option
        lines = error.format_message().splitlines()
        _fail(lines[0] if lines else "a command is missing", USAGE)
    if isinstance(error, MemoryError):
        _fail("there is not enough memory", FAILED)
    if isinstance(error, OSError):
        _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), FAILED)
    _fail(f"internal error, please report it: {type(error).__name__}: {error}", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(line if line.startswith(" ") else f"fastlin: {line}", file=sys.stderr)
    sys.exit(code)
