"""`fastlin explore`. It serves a page on which sliders choose a network."""

import sys
from typing import Annotated

import typer

from fastlin.cli.common import Json, print_result


def explore(
    path: Annotated[
        str | None,
        typer.Argument(metavar="[PATH]", help="A store, whose phase diagram is shown beside the network."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", help="Port of the server; by default a free one.")
    ] = None,
    no_browser: Annotated[
        bool,
        typer.Option(
            "--no-browser",
            help="Open no browser. For a page of another machine, run ssh -L N:127.0.0.1:N MACHINE with the "
            "N of --port here, and open the address that is printed there.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Open a page with sliders for a network, whose dynamics are computed live. Ctrl-C ends it."""
    from fastlin.sweeps.explore.server import explore

    explorer = explore(path, port)
    print_result({"address": explorer.address}, f"page: {explorer.address}", as_json)
    sys.stdout.flush()
    if not no_browser:
        import webbrowser

        webbrowser.open(explorer.address)
    try:
        explorer.wait()
    finally:
        explorer.close()
