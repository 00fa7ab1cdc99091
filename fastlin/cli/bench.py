"""`fastlin bench` measures this machine."""

import sys
from typing import Annotated

import typer

from fastlin.cli.common import Json, Quiet, print_result


def bench(
    against: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Libraries to compare with, separated by commas; numpy includes SciPy, and jax diffrax. JAX "
            "and diffrax are left out where they are not installed.",
        ),
    ] = "numpy,jax",
    only: Annotated[
        str | None,
        typer.Option(
            metavar="SECTIONS",
            help="Sections, separated by commas: kernels, two-sided, flow, stacks, widths, forms, "
            "compilation, architectures, sweep, plan, compare; by default all but plan and compare.",
        ),
    ] = None,
    large: Annotated[
        bool, typer.Option("--large", help="Also run a sweep of 27,000 architectures, and plan it.")
    ] = False,
    plans: Annotated[
        bool,
        typer.Option("--plans", help="Also compare ten plans with their runs, which takes 15 minutes."),
    ] = False,
    update: Annotated[
        list[str] | None,
        typer.Option(
            "--update",
            metavar="FILE",
            help="Also write the tables to their places in this file: all between <!-- bench --> and "
            "<!-- /bench -->, five rows for 'bench summary', the section compare for 'bench compare'. "
            "May be given several times.",
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw the time against the hidden width, as PNG, SVG or PDF.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the peak of this machine, kernels, NumPy and JAX, compilation and sweeps, in some minutes."""
    from importlib.util import find_spec

    from fastlin.bench import pages, report, widths
    from fastlin.bench.architectures import LARGE, SWEEPS
    from fastlin.bench.compare.measure import missing
    from fastlin.bench.measure import DEFAULT_SECTIONS, RIVALS, SECTIONS, Program, measure
    from fastlin.bench.plans import PLANNED
    from fastlin.errors import InputError
    from fastlin.paths import user_path
    from fastlin.sweeps.read.picture import check_file
    from fastlin.validation import check_choice

    rivals = [check_choice("--against", name, RIVALS) for name in _names(against)]
    sections = (
        list(DEFAULT_SECTIONS)
        if only is None
        else [check_choice("--only", name, SECTIONS) for name in _names(only)]
    )
    sections += ["plan"] if plans else []
    if plot is not None and "widths" not in sections:
        raise InputError("--plot draws the section widths, which --only leaves out")
    files = [user_path(file) for file in update or ()]
    for file in files:
        pages.check(file, sections)  # raises before minutes of work
    picture = None if plot is None else check_file(plot)
    if "jax" in rivals and find_spec("jax") is None:
        _note(
            "JAX is not installed, so it is left out: pip install jax (it is in fastlin's extra bench)", quiet
        )
        rivals.remove("jax")
    if "jax" in rivals and "flow" in sections and find_spec("diffrax") is None:
        _note("diffrax is not installed, so it is left out; it is in fastlin's extra bench", quiet)
    if "compare" in sections and (absent := missing()):
        _note(f"not installed, so left out: {', '.join(absent)}; all are in fastlin's extra bench", quiet)
    more = LARGE if large else {}
    program = Program(sections=sections, sweeps=SWEEPS | more, planned=PLANNED | more)
    figures = measure(program, rivals, lambda text: _note(text, quiet))
    print_result(figures, report.everything(figures), as_json, quiet)
    for file in files:
        pages.update(file, figures)
    if picture is not None:
        widths.draw(figures["widths"], picture)


def _note(text: str, quiet: bool) -> None:
    """Print a line of progress to standard error."""
    if not quiet:
        print(f"fastlin: {text}", file=sys.stderr, flush=True)


def _names(text: str) -> list[str]:
    """Return the names in a text that are separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
