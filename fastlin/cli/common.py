"""Shared parts of the commands: arguments and output."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastlin.formatting import compact_json

if TYPE_CHECKING:
    from fastlin.sweeps.spec.spec import Spec

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


def spec_to_run(source: str, store: str | None) -> "Spec":
    """Return the spec of a file or a preset, or that which a store holds if it is named in place of one."""
    from fastlin.sweeps import presets
    from fastlin.sweeps.spec.spec import Spec
    from fastlin.sweeps.store.locate import locate
    from fastlin.sweeps.store.store import Store

    if store is None or source in presets.names() or os.path.normpath(source) != os.path.normpath(store):
        return Spec.load(source)
    return Store.open(locate(store)).layout.spec
