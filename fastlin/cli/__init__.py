"""The command line: commands over the library, and one line for each error."""

import atexit
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from fastlin.cli.bench import bench
from fastlin.cli.exit_codes import ExitCode
from fastlin.cli.explore import explore
from fastlin.cli.pictures import figure, plot, report
from fastlin.cli.refinement import refine
from fastlin.cli.run import run
from fastlin.cli.stores import compact, merge, plan, presets, repair, status, verify

VERBS = (
    *(run, plan, status, verify, repair, compact, merge, refine),
    *(plot, report, explore, figure, presets, bench),
)
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
    """Exact learning dynamics of two-layer linear networks, swept into Zarr stores."""


def main() -> NoReturn:
    """Run the command line. An error is printed as a line, never as a traceback."""
    # Imports make 330,000 objects that stay. Searching them for garbage takes 0.03 s each time, and 0.7 s
    # with the thresholds of Python. A command of two seconds never reaches this threshold.
    gc.set_threshold(500_000)
    atexit.register(gc.freeze)
    os.environ["MPLBACKEND"] = "Agg"  # pictures go to files, so no window system is needed
    warnings.formatwarning = _format_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a letter
    try:
        code = app(prog_name="fastlin", standalone_mode=False) or ExitCode.DONE
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except Exception as error:
        _explain(error)
    if code == ExitCode.INTERRUPTED:
        _fail("stopped", ExitCode.INTERRUPTED)
    sys.exit(code)


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
    *,
    default_format: Callable[..., str] = warnings.formatwarning,
) -> str:
    """Return a warning of ours as one line, without a place in the code, and others as ever."""
    ours = category.__module__ == "fastlin.errors"
    return f"fastlin: {message}\n" if ours else default_format(message, category, filename, lineno, line)


def _explain(error: Exception) -> NoReturn:
    """Print an error as a line, and exit with the code for it."""
    from fastlin.errors import InputError, StoppedError

    if isinstance(error, InputError):
        _fail(str(error), ExitCode.USAGE)
    if isinstance(error, StoppedError):
        _fail(str(error), ExitCode.FAILED)
    if isinstance(error, ImportError) and error.name == "fastlin.kernels":  # it refuses this environment
        _fail(str(error), ExitCode.USAGE)
    if hasattr(error, "format_message"):  # of click: a missing argument, an unknown option
        lines = error.format_message().splitlines()
        _fail(lines[0] if lines else "a command is missing", ExitCode.USAGE)
    if isinstance(error, MemoryError):
        _fail("there is not enough memory", ExitCode.FAILED)
    if (cause := _system_error(error)) is not None:
        _fail(f"{cause.filename or ''}: {cause.strerror or cause}".lstrip(": "), ExitCode.FAILED)
    _fail(f"internal error, please report it: {type(error).__name__}: {error}", ExitCode.FAILED)


def _system_error(error: BaseException) -> OSError | None:
    """Return the error of the system that an error is, or that it was raised from."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    return cause


def _fail(message: str, code: ExitCode) -> NoReturn:
    for line in message.splitlines():
        print(line if line.startswith(" ") else f"fastlin: {line}", file=sys.stderr)
    sys.exit(code)
