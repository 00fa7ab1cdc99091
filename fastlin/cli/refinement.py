"""`fastlin refine`. It adds points to a store where an observable crosses a value."""

from typing import Annotated

import typer

from fastlin.cli.common import Json, Quiet, StoreArgument, print_result
from fastlin.cli.exit_codes import ExitCode
from fastlin.cli.signals import stop_at_once


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
    """Add points to a sweep over [points] until the borders at a value are known to a tolerance."""
    from fastlin.sweeps.run.progress import NoProgress, on_stderr
    from fastlin.sweeps.run.refinement import refine_sweep

    progress = NoProgress() if quiet else on_stderr()
    stop_at_once(progress)
    done = refine_sweep(
        path,
        observable,
        at,
        axis=axis,
        tolerance=tolerance,
        time=time,
        mean=not each_seed,
        workers=workers,
        progress=progress,
    )
    print_result(done.to_dict(), str(done), as_json, quiet)
    if done.wide:
        raise typer.Exit(ExitCode.FAILED)
