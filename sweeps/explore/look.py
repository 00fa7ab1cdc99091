"""Colours of the page and of its figures, for light and dark screens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.palettes import Cividis256
from bokeh.themes import Theme

from fastlin.plot.screen import FONT, SCHEMES, axis, axis_fonts
from fastlin.plot.style import COLOURS

SEQUENTIAL = tuple(Cividis256)  # from small to large, in both schemes
CHOSEN = "#e8453c"  # frame of the chosen point, on any colour


@dataclass(frozen=True)
class Look:
    """Colours of one scheme.

    Attributes
    ----------
    scheme : str
        "light" or "dark".
    ink, faint, grid : str
        Text, secondary text, and lines of the grid.
    lines : tuple of str
        Colours of lines, of Okabe and Ito, lighter on a dark background.
    mark : str
        Of the chosen time.
    signed : tuple of str
        From negative over 0, which is close to the background, to positive.
    """

    scheme: str
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


# Lines are those of Okabe and Ito, lighter on a dark background. Signed colours of 0 are close to the ground.
_LINES = {"light": COLOURS[:3], "dark": ("#56b4e9", "#f0883e", "#2fc49b")}
_SIGNED = {
    "light": ("#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f"),
    "dark": ("#b5dcf5", "#4393c3", "#20252b", "#d6604d", "#ffc9b8"),
}
LOOKS = {
    scheme: Look(
        scheme=scheme,
        ink=colours["ink"],
        faint=colours["muted"],
        grid=colours["line"],
        mark=colours["alert"],
        lines=_LINES[scheme],
        signed=tuple(_between(_SIGNED[scheme], 255)),
    )
    for scheme, colours in SCHEMES.items()
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
                "Axis": {**axis(look.scheme), **axis_fonts()},
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
