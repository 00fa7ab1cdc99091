"""Writing of figures, with one clear line where the settings of the user prevent it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from fastlin.errors import InputError
from fastlin.plot.themes import in_dark


def save(figure: Figure, target: Path, *, dark: bool = False, **options: Any) -> None:
    """Write a figure into a file, in the theme it was drawn in or in the dark one.

    Raises
    ------
    InputError
        If ``text.usetex`` is true in the settings of Matplotlib, and LaTeX is missing or cannot set a text.
    """
    with rendering(), in_dark(figure) if dark else nullcontext():
        figure.savefig(target, **options)


@contextmanager
def rendering() -> Iterator[None]:
    """Raise `InputError` where LaTeX fails, and be silent about letters that a font lacks."""
    usetex = plt.rcParams["text.usetex"]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # A title may be in any script.
            yield
    except (RuntimeError, FileNotFoundError) as error:
        # `matplotlib.texmanager` and `matplotlib.dviread` raise these when a figure is drawn.
        if not usetex:
            raise
        first = str(error).strip().splitlines()[0][:150]
        raise InputError(
            f"text.usetex is true in the settings of Matplotlib (matplotlibrc), but LaTeX failed: {first}; "
            "set text.usetex to false, or install LaTeX"
        ) from None
