"""Colours of the page and of its Bokeh diagrams, light and dark, as CSS and as themes of Bokeh."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps

from fastlin.plot.style import COLOURS

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
DASHES = ("solid", "dashed", "dotted")  # of lines, when the colours are used up
MARK = "#ffffff"  # of lines and words on a diagram: light with a dark rim, to show on any colour
RIM = "#000000"
SCHEMES = {
    "light": {
        "paper": "#ffffff",
        "raised": "#f5f6f8",
        "ink": "#16181d",
        "muted": "#596070",
        "line": "#d9dde4",
        "accent": "#1f5fbf",
        "void": "#e3e6eb",
        "warn": "#fff3d1",
        "warn-ink": "#5c4300",
    },
    "dark": {
        "paper": "#14161a",
        "raised": "#1e2127",
        "ink": "#e8eaee",
        "muted": "#a3abb8",
        "line": "#343942",
        "accent": "#8ab4ff",
        "void": "#2b2f37",
        "warn": "#3d3210",
        "warn-ink": "#ffe3a1",
    },
}


def css() -> str:
    """Return the colours as custom properties of CSS, which follow the scheme that the reader prefers."""
    light, dark = (
        ":root { " + " ".join(f"--{name}: {colour};" for name, colour in colours.items()) + " }"
        for colours in SCHEMES.values()
    )
    font = f":root {{ --font: {FONT}; }}"
    return f"{font}\n{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"


def theme(scheme: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of a theme of Bokeh, by type of model, in the scheme "light" or "dark"."""
    colours = SCHEMES[scheme]
    ink, muted, line, void = (colours[name] for name in ("ink", "muted", "line", "void"))
    return {
        "Grid": {"grid_line_color": line},
        "Axis": {
            "axis_label_text_color": ink,
            "axis_line_color": muted,
            "major_label_text_color": muted,
            "major_tick_line_color": muted,
        },
        "ColorMapper": {"nan_color": void},
        "Label": {"text_color": ink},
    }


def fonts() -> dict[str, dict[str, Any]]:
    """Return the attributes of a theme of Bokeh that do not depend on the scheme."""
    return {
        "Axis": {
            "major_label_text_font": FONT,
            "major_label_text_font_size": "12px",
            "axis_label_text_font": FONT,
            "axis_label_text_font_size": "12px",
            "axis_label_text_font_style": "normal",
            "axis_label_standoff": 4,
            "major_label_standoff": 3,
            "major_tick_in": 0,
            "major_tick_out": 4,
            "minor_tick_line_color": None,
        },
        "Label": {"text_font": FONT, "text_font_size": "12px"},
    }


def lines() -> Iterator[tuple[str, str]]:
    """Yield the colour and the dash of the line of each architecture, without end."""
    return cycle((colour, dash) for dash in DASHES for colour in COLOURS)


def palette(cmap: str) -> list[str]:
    """Return the 256 colours of a colour map of Matplotlib."""
    table = colormaps[cmap](np.arange(256), bytes=True)[:, :3].tolist()
    return ["#" + "".join(f"{level:02x}" for level in colour) for colour in table]
