"""`fastlin bench`: measures this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastlin.cli.shared import Json, say


def bench(
    against: Annotated[
        str,
        typer.Option(metavar="NAMES", help="What to compare with, by commas; JAX only if it is installed."),
    ] = "numpy,jax",
    update: Annotated[
        Path | None,
        typer.Option("--update", metavar="FILE", help="Write the table to its place in this file, too."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the time against the hidden width, as PNG, SVG or PDF."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine: its peak, the kernels, their rivals, a sweep of ten million; some minutes."""
    from importlib.util import find_spec

    from fastlin.bench import report, widths
    from fastlin.bench.measure import RIVALS, Program, measure
    from fastlin.errors import choice
    from fastlin.sweeps.pictures import check_file

    rivals = [choice("--against", name.strip(), RIVALS) for name in against.split(",") if name.strip()]
    if update is not None:
        report.place(update)  # before minutes of work
    if plot is not None:
        check_file(plot)
    if "jax" in rivals and find_spec("jax") is None:
        print("fastlin: JAX is not installed and left out; it is in fastlin[bench]", file=sys.stderr)
        rivals.remove("jax")
    figures = measure(Program(), rivals, lambda text: print(f"fastlin: {text}", file=sys.stderr, flush=True))
    say(figures, report.table(figures), as_json)
    if update is not None:
        report.update(update, figures)
    if plot is not None:
        widths.draw(figures["widths"], plot)
