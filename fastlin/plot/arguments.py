"""Checks of arguments that Matplotlib is given: axes to draw on, and properties of lines and meshes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.validation import check_instance, shown

MAKER = "matplotlib.pyplot.subplots()"
LONGEST_REASON = 200  # Letters of a message of Matplotlib; some list all names that it knows.


def check_ax(ax: Any) -> None:
    """Raise `InputError` unless `ax` is None or Axes of Matplotlib."""
    if ax is not None:
        check_instance("ax", ax, Axes, MAKER)


def check_panels(axes: Any) -> NDArray[Any]:
    """Return one or several Axes of Matplotlib as a vector of one at least."""
    panels = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if not panels.size or not all(isinstance(ax, Axes) for ax in panels):
        raise InputError(f"axes is {shown(axes)}; needed are Axes, one at least, from {MAKER}")
    if len({id(ax.figure) for ax in panels}) > 1 or panels[0].figure is None:
        raise InputError("axes are of several figures, or were removed from theirs; needed are those of one")
    return panels


@contextmanager
def passing(properties: Mapping[str, Any]) -> Iterator[None]:
    """Raise `InputError` if Matplotlib refuses properties. The message names those that Matplotlib quotes."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        quoted = [name for name in properties if re.search(rf"\b{name}\b", reason)] or list(properties)
        named = ", ".join(f"{name}={shown(properties[name])}" for name in quoted)
        short = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        raise InputError(f"Matplotlib refuses {named}: {short}") from None
