"""Commands about specs and stores: plan, status, verify, repair, compact, merge and presets."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from fastlin.cli.common import Json, Quiet, SpecArgument, StoreArgument, load_spec, print_result
from fastlin.cli.exit_codes import ExitCode
from fastlin.cli.signals import stop_at_once

WATCH_SECONDS = 2.0


def plan(
    spec: SpecArgument,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="PATH", help="Plan for the points that this store lacks."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Cores to plan for.")] = None,
    as_json: Json = False,
) -> None:
    """Show the points, blocks, bytes, files, memory and time that a sweep takes. No store is written."""
    from time import process_time

    from fastlin.sweeps.run.projection import project

    # This command has now imported all that `run` imports, and has done nothing else. The time at which the
    # process began is not used, because Linux knows it in whole seconds only (btime in /proc/stat).
    projection = project(load_spec(spec), workers, store, start_up=process_time())
    print_result(projection.to_dict(), str(projection), as_json)


def status(
    path: StoreArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds until the sweep is complete.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the progress of a sweep, complete or running; exit code 1 if it has bad points."""
    from time import sleep

    from rich.console import Console

    from fastlin.sweeps.store.status import in_words, sweep_status

    while True:
        content = sweep_status(path)
        if watch and not as_json and not quiet:
            Console().clear()  # does nothing unless on a terminal
        print_result(content, in_words(content), as_json, quiet)
        if not watch or not content["pending"]:
            break
        sys.stdout.flush()
        sleep(WATCH_SECONDS)
    if content["diverged"] + content["failed"] + content["too_stiff"]:
        raise typer.Exit(ExitCode.FAILED)


def verify(path: StoreArgument, as_json: Json = False, quiet: Quiet = False) -> None:
    """Read every byte of a store; exit code 1 if a file is damaged or points are not computed yet."""
    from fastlin.sweeps.store.verify import in_words, inspect

    verification = inspect(path)
    print_result({"store": path, **asdict(verification)}, in_words(path, verification), as_json, quiet)
    if verification.damaged or verification.missing_blocks:
        raise typer.Exit(ExitCode.FAILED)


def repair(
    path: StoreArgument,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", help="Use N processes.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Repair a store: compute the damaged blocks again, and no others."""
    from fastlin.sweeps.run.progress import NoProgress, on_stderr
    from fastlin.sweeps.run.repair import repair as mend

    progress = NoProgress() if quiet else on_stderr()
    stop_at_once(progress)
    damaged, report = mend(path, workers=workers, progress=progress)
    content = {
        "store": path,
        "mended": [asdict(entry) for entry in damaged],
        "computed_blocks": report.computed_blocks,
        "pending": report.pending,
    }
    text = f"{path}: {len(damaged)} damaged and mended, {report.computed_blocks} blocks computed again"
    print_result(content, text, as_json, quiet)


def compact(path: StoreArgument, as_json: Json = False, quiet: Quiet = False) -> None:
    """Drop the partial sums of a complete reduced store. Seeds can no longer be added to it afterwards."""
    from fastlin.formatting import format_bytes
    from fastlin.sweeps.run.compact import compact as drop_sums
    from fastlin.sweeps.run.progress import NoProgress, on_stderr

    progress = NoProgress() if quiet else on_stderr()
    stop_at_once(progress)
    done = drop_sums(path, progress=progress)
    before, after = format_bytes(done.bytes_before), format_bytes(done.bytes_after)
    text = f"{path}: {before} before, {after} now; seeds can no longer be added, all other axes can grow"
    print_result(asdict(done), text, as_json, quiet)


def merge(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="The stores: folders, or s3://bucket/path.")
    ],
    into: Annotated[
        str | None, typer.Option("--into", metavar="PATH", help="The merged store, instead of the first one.")
    ] = None,
    allow_version: Annotated[
        bool,
        typer.Option(
            "--allow-version",
            help="Merge stores of other versions, if samples of them are computed to the same bits.",
        ),
    ] = False,
    durable: Annotated[bool, typer.Option("--durable", help="Sync every file to disk.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge stores of slices, seeds or other parts of one sweep, into the first store or into another."""
    from fastlin.sweeps.run.merge import merge_sweeps
    from fastlin.sweeps.run.progress import NoProgress, on_stderr

    progress = NoProgress() if quiet else on_stderr()
    stop_at_once(progress)
    done = merge_sweeps(paths, into, allow_version=allow_version, durable=durable, progress=progress)
    print_result(asdict(done), done.summary, as_json, quiet)


def presets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print the spec of this one.")] = None,
    as_json: Json = False,
) -> None:
    """List the presets, or print the spec of one."""
    from fastlin.sweeps import presets as shipped
    from fastlin.sweeps.spec.spec import Spec
    from fastlin.validation import check_choice

    if name is not None:
        check_choice("preset", name, shipped.names())
        print_result(Spec.load(name).to_dict(), shipped.text(name).rstrip(), as_json)
        return
    content = {name: shipped.summary(name) for name in shipped.names()}
    width = max(len(name) for name in content)
    print_result(content, "\n".join(f"{name:<{width}}  {text}" for name, text in content.items()), as_json)
