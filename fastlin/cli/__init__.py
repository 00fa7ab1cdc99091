"""The command line: thin verbs over the library, one line per error, exit codes 0, 1 and 2."""

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
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
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
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Exact learning dynamics of two-layer linear networks, swept into Zarr stores.

    Exit codes: 0 done; 1 points that diverged or failed, or a write that failed; 2 bad usage.
    """


def main() -> NoReturn:
    """Run the command line; nobody is shown a traceback."""
    # Imports make a million objects that stay: to look through them for garbage again and again, and
    # at the end once more, takes 0.7 s of a command's 2.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    os.environ["MPLBACKEND"] = "Agg"  # files are drawn, whatever window system the user prefers
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
    if isinstance(error, MemoryError):
        _fail("there is not enough memory for that", FAILED)
    if isinstance(error, OSError):
        _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), FAILED)
    _fail(f"internal error, please report it: {type(error).__name__}: {error}", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(line if line.startswith(" ") else f"fastlin: {line}", file=sys.stderr)
    sys.exit(code)
