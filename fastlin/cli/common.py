"""Shared parts of the commands: arguments and output."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastlin.formatting import compact_json

if TYPE_CHECKING:
    from fastlin.sweeps.spec.spec import Spec

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", help="A TOML file, the name of a preset, or a store, which holds its spec."
    ),
]
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


def load_spec(source: str) -> "Spec":
    """Return the spec of a file or a preset, or the one that a store holds."""
    from fastlin.sweeps import presets
    from fastlin.sweeps.spec.spec import Spec, is_store
    from fastlin.sweeps.store.locate import is_address, locate
    from fastlin.sweeps.store.store import Store

    if source not in presets.names() and (is_address(source) or is_store(source)):
        return Store.open(locate(source)).layout.spec
    return Spec.load(source)
