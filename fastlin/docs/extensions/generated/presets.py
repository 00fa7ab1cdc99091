"""The table of presets."""

from __future__ import annotations

from fastlin.formatting import markdown_table
from fastlin.sweeps import presets


def table() -> str:
    """Return all presets as Markdown, each with its command."""
    rows = [
        (f"`{name}`", presets.summary(name), f"`fastlin run {name} --store {name}.zarr`")
        for name in presets.names()
    ]
    return markdown_table(("preset", "sweep", "command"), rows)
