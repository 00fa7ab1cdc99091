"""Figures of three panels, and captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastlin.plot.captions import length
from fastlin.plot.style import WIDTH

HEIGHT = 7.6  # Inches of two rows of panels and a caption.
LETTERS = 13  # Letters of a caption that fit an inch.


def three_panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with two panels in its first row and a broad one in its second, with titles A, B, C."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    panels = [*top.subplots(1, 2), bottom.subplots()]
    for letter, ax, title in zip("ABC", panels, titles, strict=True):
        ax.set_title(f"{letter}   {title}", loc="left")
    return figure, panels


def beside(ax: Axes, **options: str) -> None:
    """Write the legend at the right of the axes."""
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **options)


def add_caption(figure: Figure, text: str) -> None:
    """Write a caption below the panels, with the version of fastlin."""
    lines = paragraph(f"{text} fastlin\u00a0{version('fastlin')}.", LETTERS * figure.get_figwidth())
    figure.supxlabel(lines, x=0.01, ha="left", fontsize="medium")


def paragraph(text: str, width: float) -> str:
    """Return a text in lines of up to so many letters. Formulas and no-break spaces are not broken."""
    lines = [""]
    for word in re.findall(r"(?:\$[^$]*\$|[^ ])+", text):
        line = f"{lines[-1]} {word}".lstrip()
        lines[-1:] = [line] if length(line) <= width else [lines[-1], word]
    return "\n".join(lines)
