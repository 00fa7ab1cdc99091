"""Commands that draw: a store, a figure, a page about a store."""

from typing import Annotated

import typer

from fastlin.cli.common import Json, Quiet, StoreArgument, print_result

Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="NAME=VALUE",
        help="Part of the store, as lam=0, lam=-1:1, lam=-3,0,3, time=inf, n_h=2, architecture=4-2-4, "
        "solver=exact; may be repeated.",
    ),
]
Log = Annotated[
    bool | None,
    typer.Option("--log/--linear", help="Scale of values; by default logarithmic if they span a decade."),
]
Size = Annotated[str | None, typer.Option(metavar="W,H", help="Width and height of a picture in inches.")]
ColourMap = Annotated[str | None, typer.Option("--cmap", help="Colour map of Matplotlib, as viridis.")]

Dark = Annotated[bool, typer.Option("--dark", help="Draw in light colours on a dark ground.")]


def plot(
    path: StoreArgument,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="PNG, SVG or PDF; by default beside the store, or in this folder. "
            "An existing file is replaced.",
        ),
    ] = None,
    observable: Annotated[
        str | None, typer.Option(help="The observable; by default the kernel distance, if it is stored.")
    ] = None,
    x: Annotated[
        str | None,
        typer.Option("--x", help="Horizontal axis, else lam; also n_i, n_h, n_o, bottleneck_ratio."),
    ] = None,
    y: Annotated[
        str | None, typer.Option("--y", help="Vertical axis, as --x; else kappa, init_scale or time.")
    ] = None,
    select: Select = None,
    log: Log = None,
    size: Size = None,
    cmap: ColourMap = None,
    dark: Dark = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw the phase diagrams of a store, on several pages if it has many architectures."""
    from fastlin.sweeps.read import picture

    ending = f"-{observable}.png" if observable else ".png"
    target = picture.beside(path, ending) if out is None else out
    view = picture.View(tuple(select or ()), observable, x, y)
    style = picture.read_style(log, size, cmap)
    files = [str(file) for file in picture.draw(path, target, view, style, dark=dark)]
    content = {"store": path, "picture": files[0], "pictures": files}
    print_result(content, "\n".join(f"picture: {file}" for file in files), as_json, quiet)


def figure(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="fig1, fig2, wide and more, see --list.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="PNG, SVG or PDF; by default NAME.png here. An existing file is replaced.",
        ),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="I-H-O", help="For fig2: other sizes than the paper's, as 6-3-6; may be repeated."
        ),
    ] = None,
    dark: Dark = False,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw a figure of the paper, or one beyond it, from results computed now, or list them."""
    from fastlin.architecture import Architecture
    from fastlin.errors import InputError
    from fastlin.sweeps import figures

    if listed:
        width = max(len(name) for name in figures.NAMES)
        text = "\n".join(f"{name:<{width}}  {title}" for name, title in figures.NAMES.items())
        print_result(dict(figures.NAMES), text, as_json)
        return
    if name is None:
        raise InputError(f"a figure is missing; there are {', '.join(figures.NAMES)}")
    shapes = [Architecture.read(text) for text in architecture or ()]
    file = f"{name}.png" if out is None else out
    target = figures.draw(name, file, shapes or None, progress=not (quiet or as_json), dark=dark)
    print_result({"figure": name, "picture": str(target)}, f"picture: {target}", as_json, quiet)


def report(
    path: StoreArgument,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="HTML; by default beside the store, or in this folder. An existing file is replaced.",
        ),
    ] = None,
    select: Select = None,
    log: Log = None,
    size: Size = None,
    cmap: ColourMap = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one page of HTML about a store: spec, status, phase diagrams. It needs Bokeh (extra explore)."""
    from fastlin.sweeps import report as pages
    from fastlin.sweeps.read import picture

    target = picture.beside(path, ".html") if out is None else out
    page = pages.write(path, target, tuple(select or ()), picture.read_style(log, size, cmap))
    print_result({"store": path, "report": str(page)}, f"report: {page}", as_json, quiet)
