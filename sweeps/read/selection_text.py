"""A selection from a sweep as it is written on the command line, such as lam=-1:1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from fastlin.errors import InputError
from fastlin.sweeps.read.selection import select

FORM = "NAME=VALUE, as in lam=0, lam=-1:1, lam=-3,0,3, time=inf, architecture=4-2-4, solver=exact"


def select_by_text(dataset: xr.Dataset, texts: Sequence[str]) -> xr.Dataset:
    """Return the part of a sweep that texts select. All dimensions stay.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fastlin.open_sweep`.
    texts : sequence of str
        Each is the name of an axis or of a size of the architectures, "=", and a value, values with commas
        between them, or "first:last" for a range of numbers, both ends included; an end may be left out.

    Raises
    ------
    InputError
        If a text has another form, an axis is named twice, or a value is not on its axis: the message has
        the nearest.
    """
    wanted: dict[str, Any] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            raise InputError(f"--select is {text!r}; needed is {FORM}")
        if name in wanted:
            raise InputError(f"--select names {name!r} twice; put commas between values, as in lam=-3,0,3")
        wanted[name] = _read(value)
    return select(dataset, wanted)


def _read(text: str) -> Any:
    """Return a range, or a list of values, which keeps the dimension also if it has one value."""
    if ":" in text:
        first, _, last = text.partition(":")
        return slice(*(_read_one(end) if end.strip() else None for end in (first, last)))
    return [_read_one(part) for part in text.split(",")]


def _read_one(text: str) -> int | float | str:
    """Return a whole number, a number, or else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()
