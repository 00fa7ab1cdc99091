"""The tables of observables in the documentation, written from their registry."""

from __future__ import annotations

from fastlin.formatting import markdown_table
from fastlin.observables.registry import REGISTRY, Observable
from fastlin.observables.stages import OF_SEQUENCE

_HEAD = ("observable", "what it is", "equation")


def table() -> str:
    """Return all observables of a network as Markdown.

    The last columns say which a solver returns by default, and which a sweep can store.
    """
    rows = [(*_cells(entry), _yes(entry.default), _yes(entry.swept)) for entry in REGISTRY.values()]
    return markdown_table((*_HEAD, "by default", "in a sweep"), rows)


def table_of_stages() -> str:
    """Return the observables that only tasks in a row have as Markdown."""
    return markdown_table(_HEAD, map(_cells, OF_SEQUENCE.values()))


def _yes(fact: bool) -> str:
    return "yes" if fact else ""


def _cells(entry: Observable) -> tuple[str, str, str]:
    dims = f" ({', '.join(entry.dims)})" if entry.dims else ""
    equation = f"`{entry.equation}`".replace("|", r"\|")
    return f"`{entry.name}`{dims}", entry.doc, equation
