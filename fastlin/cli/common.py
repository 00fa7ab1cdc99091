"""What verbs share: exit codes, arguments, and how they speak."""

import json
from typing import Annotated, Any

import typer

FAILED, USAGE, INTERRUPTED = 1, 2, 130

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A TOML file, or the name of a preset.")]
StoreArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="The store: a folder, or s3://bucket/path.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def say(content: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what a verb has to say, as text or as JSON."""
    print(json.dumps(content, indent=2) if as_json else text)
