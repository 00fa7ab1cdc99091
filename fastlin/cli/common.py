"""Shared parts of the commands: arguments and output."""

from typing import Annotated, Any

import typer

from fastlin.formatting import compact_json

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file, or the name of a preset.")]
StoreArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="The store: a folder, or s3://bucket/path.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def print_result(content: dict[str, Any], text: str, as_json: bool, quiet: bool = False) -> None:
    """Print the result of a command as text or as JSON; with `quiet` only if JSON is asked for."""
    if as_json:
        print(compact_json(content))
    elif not quiet:
        print(text)
