"""Colours of web pages, light and dark: the report and the explorer have the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from fastlin.errors import InputError
from fastlin.plot import style
from fastlin.plot.themes import PALETTES

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
_DARK_INK, _DARK_PAPER = PALETTES["dark"]
SCHEMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "light": MappingProxyType(
            {
                "paper": "#ffffff",
                "raised": "#f5f6f8",
                "ink": "#16181d",
                "muted": "#596070",
                "line": "#d9dde4",
                "accent": "#1f5fbf",
                "void": "#e3e6eb",
                "warn": "#fff3d1",
                "warn-ink": "#5c4300",
                "alert": "#b3261e",
            }
        ),
        "dark": MappingProxyType(
            {
                "paper": _DARK_PAPER,
                "raised": "#1e2127",
                "ink": _DARK_INK,
                "muted": "#a3abb8",
                "line": "#343942",
                "accent": "#8ab4ff",
                "void": "#2b2f37",
                "warn": "#3d3210",
                "warn-ink": "#ffe3a1",
                "alert": "#ff8a80",
            }
        ),
    }
)

# Mathtext of the names of axes, and the same as text.
_PLAIN = {
    r"\lambda": "λ",
    r"\alpha": "\u03b1",
    r"\tau": "τ",
    r"\sigma": "\u03c3",
    r"\eta": "η",
    r"\kappa": "κ",
    r"\min": "min",
    "N_i": "Nᵢ",
    "N_h": "Nₕ",
    "N_o": "Nₒ",
    "_1": "₁",
    "_2": "₂",
    "$": "",
}


def words(name: str) -> str:
    """Return the name of an axis in words and with its symbol, as pictures have it but without mathtext."""
    text = style.words(name)
    for mathtext, plain in _PLAIN.items():
        text = text.replace(mathtext, plain)
    return text


@contextmanager
def needing_bokeh(user: str) -> Iterator[None]:
    """Import parts of Bokeh, which draws the figures of web pages, within a ``with`` block.

    Raises
    ------
    InputError
        If Bokeh is not installed. The message begins with the words for its user.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "bokeh":
            raise
        line = f"{user} needs Bokeh: pip install 'bokeh>=3.9' (it is in fastlin's extra explore)"
        raise InputError(line) from None


def css() -> str:
    """Return the colours as custom properties of CSS, which follow the scheme that the reader prefers."""
    light, dark = (
        ":root { " + " ".join(f"--{name}: {colour};" for name, colour in colours.items()) + " }"
        for colours in SCHEMES.values()
    )
    font = f":root {{ --font: {FONT}; }}"
    return f"{font}\n{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"


def axis(scheme: str) -> dict[str, str | int | None]:
    """Return the attributes of an axis of Bokeh in the scheme "light" or "dark"."""
    ink, muted = SCHEMES[scheme]["ink"], SCHEMES[scheme]["muted"]
    return {
        "axis_label_text_color": ink,
        "axis_line_color": muted,
        "major_label_text_color": muted,
        "major_tick_line_color": muted,
    }


def axis_fonts() -> dict[str, str | int | None]:
    """Return the attributes of an axis of Bokeh that do not depend on the scheme."""
    return {
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
    }
