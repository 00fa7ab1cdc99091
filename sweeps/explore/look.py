"""Colours of the page and of its figures, for light and dark screens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.palettes import Cividis256
from bokeh.themes import Theme

SEQUENTIAL = tuple(Cividis256)  # from small to large, in both schemes
CHOSEN = "#e8453c"  # frame of the chosen point, on any colour
FONT = "system-ui, sans-serif"


@dataclass(frozen=True)
class Look:
    """Colours of one scheme.

    Attributes
    ----------
    ink, faint, grid : str
        Text, secondary text, and lines of the grid.
    lines : tuple of str
        Colours of lines, of Okabe and Ito, lighter on a dark background.
    mark : str
        Of the chosen time.
    signed : tuple of str
        From negative over 0, which is close to the background, to positive.
    """

    ink: str
    faint: str
    grid: str
    lines: tuple[str, ...]
    mark: str
    signed: tuple[str, ...]

    def modes(self, count: int) -> list[str]:
        """Return a colour for each mode, from the strongest to the weakest."""
        return _between((self.lines[0], self.lines[2], self.lines[1]), count)


def _between(colours: tuple[str, ...], count: int) -> list[str]:
    """Return colours at even distances on the way through some colours."""
    channels = np.array([[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in colours])
    places = np.linspace(0, len(colours) - 1, max(count, 1))
    mixed = np.stack([np.interp(places, np.arange(len(colours)), column) for column in channels.T], axis=1)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in mixed.round().astype(int)]


LOOKS = {
    "light": Look(
        ink="#1c2024",
        faint="#5b6470",
        grid="#e3e6ea",
        lines=("#0072b2", "#d55e00", "#009e73"),
        mark="#b3261e",
        signed=tuple(_between(("#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f"), 255)),
    ),
    "dark": Look(
        ink="#e6e8eb",
        faint="#9aa3ad",
        grid="#2d333a",
        lines=("#56b4e9", "#f0883e", "#2fc49b"),
        mark="#ff8a80",
        signed=tuple(_between(("#b5dcf5", "#4393c3", "#20252b", "#d6604d", "#ffc9b8"), 255)),
    ),
}


def theme(look: Look) -> Theme:
    """Return the theme of figures in a look."""
    text = {"text_color": look.ink, "text_font": FONT}
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": None,  # the page shows through
                    "border_fill_color": None,
                    "outline_line_color": look.grid,
                },
                "Grid": {"grid_line_color": look.grid},
                "Axis": {
                    "axis_line_color": look.faint,
                    "major_tick_line_color": look.faint,
                    "minor_tick_line_color": None,
                    "major_label_text_color": look.faint,
                    "major_label_text_font": FONT,
                    "major_label_text_font_size": "12px",
                    "axis_label_text_color": look.ink,
                    "axis_label_text_font": FONT,
                    "axis_label_text_font_size": "13px",
                    "axis_label_text_font_style": "normal",
                },
                "Title": {**text, "text_font_size": "14px", "text_font_style": "bold"},
                "ColorBar": {
                    "background_fill_color": None,
                    "major_label_text_color": look.faint,
                    "major_label_text_font": FONT,
                    "major_label_text_font_size": "12px",
                    "title_text_color": look.ink,
                    "bar_line_color": None,
                },
                "Label": {**text, "text_font_size": "12px"},
            }
        }
    )
