"""The places in Markdown files that `fastlin bench --update` fills with tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from fastlin.bench import report
from fastlin.bench.measure import DEFAULT_SECTIONS
from fastlin.errors import InputError


class Place(NamedTuple):
    """A kind of place, between the lines ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Parameters
    ----------
    write : callable
        Returns the text for the figures of `measure`.
    sections : tuple of str
        Sections of the benchmark that the text needs.
    """

    write: Callable[[dict[str, Any]], str]
    sections: tuple[str, ...]


PLACES = {
    "bench": Place(report.table, DEFAULT_SECTIONS),
    "bench summary": Place(report.summary, ("kernels", "flow", "architectures", "sweep")),
    "bench compare": Place(report.comparison, ("compare",)),
}


def check(path: Path, sections: Collection[str]) -> None:
    """Check that a file has places, and that the sections which they need are measured.

    Raises
    ------
    InputError
        If the file is no text, cannot be written, has no place, or a place needs other sections.
    """
    for name in _places(_text(path)):
        lacking = [section for section in PLACES[name].sections if section not in sections]
        if lacking:
            raise InputError(
                f"{path} has a place <!-- {name} -->, which needs the sections {', '.join(lacking)}; "
                f"choose them by --only{' or leave --only out' if name != 'bench compare' else ''}"
            )


def update(path: Path, figures: dict[str, Any]) -> None:
    """Fill the places in a file with the figures of `measure`."""
    text = _text(path)
    for name in _places(text):
        before, _, rest = text.partition(_start(name))
        after = rest.partition(_end(name))[2]
        text = f"{before}{_start(name)}\n{PLACES[name].write(figures)}\n{_end(name)}{after}"
    path.write_text(text, encoding="utf-8")


def _text(path: Path) -> str:
    """Return the text of a file that can be written."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file in UTF-8") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"{path} cannot be written")
    if not _places(text):
        lines = ", or ".join(f"{_start(name)} and {_end(name)}" for name in PLACES)
        raise InputError(f"{path} has no place for the table; needed are the lines {lines}")
    return text


def _places(text: str) -> list[str]:
    """Return the names of the places in a text."""
    return [name for name in PLACES if _end(name) in text.partition(_start(name))[2]]


def _start(name: str) -> str:
    return f"<!-- {name} -->"


def _end(name: str) -> str:
    return f"<!-- /{name} -->"
