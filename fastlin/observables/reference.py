"""The tables of observables in the documentation, written from their registry."""

from __future__ import annotations

from fastlin.formatting import markdown_table
from fastlin.observables.registry import REGISTRY, Observable
from fastlin.observables.stages import OF_SEQUENCE

_HEAD = ("observable", "what it is", "equation")


def table() -> str:
    """Return all observables of a network as Markdown, with whether a sweep can store each."""
    rows = [(*_cells(entry), "yes" if entry.swept else "") for entry in REGISTRY.values()]
    return markdown_table((*_HEAD, "in a sweep"), rows)


def table_of_stages() -> str:
    """Return the observables that only tasks in a row have as Markdown."""
    return markdown_table(_HEAD, map(_cells, OF_SEQUENCE.values()))


def _cells(entry: Observable) -> tuple[str, str, str]:
    dims = f" ({', '.join(entry.dims)})" if entry.dims else ""
    equation = f"`{entry.equation}`".replace("|", r"\|")
    return f"`{entry.name}`{dims}", entry.doc, equation
