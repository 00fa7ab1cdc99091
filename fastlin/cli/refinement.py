"""`fastlin refine`. It adds points to a store where an observable crosses a value."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastlin.cli.common import Json, Quiet, StoreArgument, print_result
from fastlin.cli.exit_codes import ExitCode
from fastlin.cli.signals import stop_at_once

if TYPE_CHECKING:
    from fastlin.sweeps.run.refinement import Rounds

BRACKET = ("low", "high", "value_low", "value_high", "estimate")  # entries of a border that are on no axis


def refine(
    path: StoreArgument,
    observable: Annotated[
        str, typer.Option("--observable", metavar="NAME", help="The observable.")
    ] = "kernel_distance",
    at: Annotated[float, typer.Option("--at", metavar="VALUE", help="The value that it crosses.")] = 0.15,
    axis: Annotated[
        str, typer.Option("--axis", metavar="NAME", help="The axis along which it does.")
    ] = "lam",
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="WIDTH", help="Width of a border that is narrow enough.")
    ] = 1e-3,
    time: Annotated[
        float | None, typer.Option("--time", metavar="TIME", help="The stored time, of several.")
    ] = None,
    each_seed: Annotated[
        bool, typer.Option("--each-seed", help="Find the borders of each seed, not of their mean.")
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Use N processes.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add points to a sweep over a table of points until the borders at a value are known to a tolerance."""
    from fastlin.sweeps.read import bracketing
    from fastlin.sweeps.read.open import open_sweep
    from fastlin.sweeps.run.progress import NoProgress, on_stderr
    from fastlin.sweeps.run.refinement import run_rounds

    how: dict[str, Any] = {"axis": axis, "time": time, "mean": not each_seed}

    def propose() -> Any:
        return bracketing.refine(open_sweep(path), observable, at, tolerance=tolerance, **how)

    progress = NoProgress() if quiet else on_stderr()
    stop_at_once(progress)
    rounds = run_rounds(path, propose, axis, workers=workers, progress=progress)
    dataset = open_sweep(path)
    borders = bracketing.borders(dataset, observable, at, **how).to_dict("records")
    wide = sum(border["high"] - border["low"] > tolerance for border in borders)
    content = {
        "store": path,
        "rounds": rounds.number,
        "added_points": rounds.added_points,
        "points": rounds.points,
        "borders": borders,
        "wide": wide,
    }
    text = _in_words(path, rounds, borders, wide)
    if not borders:
        low, high = bracketing.span(dataset, observable, **how)
        text += f"; {observable} does not cross {at:g} along {axis}, it is between {low:.4g} and {high:.4g}"
    print_result(content, text, as_json, quiet)
    if wide:
        raise typer.Exit(ExitCode.FAILED)


def _in_words(path: str, rounds: "Rounds", borders: list[dict[str, Any]], wide: int) -> str:
    """Return a line for each border, and the counts."""
    lines = []
    for border in borders:
        line = ", ".join(f"{name} {value}" for name, value in border.items() if name not in BRACKET)
        bracket = f"{border['estimate']:.8g}, in [{border['low']!r}, {border['high']!r}]"
        lines.append(f"{line}: {bracket}" if line else bracket)
    wider = f", {wide:,} of them wider, because points inside are bad" if wide else ""
    counts = f"{rounds.added_points:,} points added in {rounds.number:,} rounds, {rounds.points:,} in all"
    return "\n".join(
        [*lines, f"{path}: {len(borders):,} border{'' if len(borders) == 1 else 's'}{wider}; {counts}"]
    )
