"""Commands that draw: plot, figure and report."""

from pathlib import Path
from typing import Annotated

import typer

from fastlin.cli.common import Json, Quiet, StoreArgument, read_path, say


def plot(
    path: StoreArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=read_path,
            help="PNG, SVG or PDF; by default beside the store, or in this folder.",
        ),
    ] = None,
    observable: Annotated[
        str | None, typer.Option(help="The observable; by default the kernel distance, if it is stored.")
    ] = None,
    x: Annotated[
        str, typer.Option("--x", help="Horizontal axis; also n_i, n_h, n_o, bottleneck_ratio.")
    ] = "lam",
    y: Annotated[
        str | None, typer.Option("--y", help="Vertical axis, as --x; else init_scale or time.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the phase diagram of a store."""
    from fastlin.sweeps.read import picture

    target = out or picture.beside(path, f"-{observable}.png" if observable else ".png")
    picture.check_file(target)
    picture.draw(path, target, observable, x, y)
    say({"store": path, "picture": str(target)}, f"picture: {target}", as_json, quiet)


def figure(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="fig1 or fig2.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", parser=read_path, help="PNG, SVG or PDF; by default NAME.png here."
        ),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="I-H-O", help="For fig2: other sizes than the paper's, as 6-3-6; may be repeated."
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw a figure of the paper from results computed now, or list them."""
    from fastlin.architecture import Architecture
    from fastlin.errors import InputError
    from fastlin.sweeps import figures

    if listed:
        width = max(len(name) for name in figures.NAMES)
        text = "\n".join(f"{name:<{width}}  {what}" for name, what in figures.NAMES.items())
        say(dict(figures.NAMES), text, as_json)
        return
    if name is None:
        raise InputError(f"a figure is missing; there are {', '.join(figures.NAMES)}")
    target = out or Path(f"{name}.png")
    shapes = [Architecture.read(text) for text in architecture or ()]
    figures.draw(name, target, shapes or None)
    say({"figure": name, "picture": str(target)}, f"picture: {target}", as_json, quiet)


def report(
    path: StoreArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=read_path,
            help="HTML; by default beside the store, or in this folder.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one page of HTML about a store, with its spec, status and phase diagrams. It needs no network."""
    from fastlin.sweeps import report as pages
    from fastlin.sweeps.read import picture

    target = out or picture.beside(path, ".html")
    pages.write(path, target)
    say({"store": path, "report": str(target)}, f"report: {target}", as_json, quiet)
