"""Themes of Bokeh for the diagrams of a report, light and dark, and the colours of their lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps

from fastlin.plot.screen import FONT, SCHEMES, axis, axis_fonts
from fastlin.plot.style import COLOURS

DASHES = ("solid", "dashed", "dotted")  # of lines, when the colours are used up
MARK = "#ffffff"  # of lines and words on a diagram: light with a dark rim, to show on any colour
RIM = "#000000"


def theme(scheme: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of a theme of Bokeh, by type of model, in the scheme "light" or "dark"."""
    colours = SCHEMES[scheme]
    return {
        "Grid": {"grid_line_color": colours["line"]},
        "Axis": axis(scheme),
        "ColorMapper": {"nan_color": colours["void"]},
        "Label": {"text_color": colours["ink"]},
    }


def fonts() -> dict[str, dict[str, Any]]:
    """Return the attributes of a theme of Bokeh that do not depend on the scheme."""
    return {
        "Axis": axis_fonts(),
        "Label": {"text_font": FONT, "text_font_size": "12px"},
    }


def lines() -> Iterator[tuple[str, str]]:
    """Yield the colour and the dash of the line of each architecture, without end."""
    return cycle((colour, dash) for dash in DASHES for colour in COLOURS)


def palette(cmap: str) -> list[str]:
    """Return the 256 colours of a colour map of Matplotlib."""
    table = colormaps[cmap](np.arange(256), bytes=True)[:, :3].tolist()
    return ["#" + "".join(f"{level:02x}" for level in colour) for colour in table]
