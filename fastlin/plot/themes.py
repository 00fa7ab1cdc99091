"""The light and the dark theme of all pictures, and figures that are shown in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from colorsys import hls_to_rgb, rgb_to_hls
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib import rc_context, style
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.rcsetup import cycler
from matplotlib.text import Text
from numpy.typing import NDArray

from fastlin.plot.style import COLOUR_MAP, COLOURS
from fastlin.validation import check_choice, check_instance

# Ink and ground. Those of the dark theme contrast by 14:1, and look well on dark pages of documentation.
PALETTES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"light": ("black", "white"), "dark": ("#dde3e9", "#14181e")}
)
FONT_SIZE = 10.0  # Points. A page is 8 inches wide, so that letters are 14 pixels high at 800 pixels.
LEAST_CONTRAST = 3.0  # A line and its ground differ by this ratio at least (WCAG 2.1, 1.4.11).
GREY = 0.02  # Largest difference of the channels of a colour that is a shade of grey.
# The colours of artists, by the names of their getters and setters.
_COLOURS_OF: Mapping[type[Artist], tuple[str, ...]] = MappingProxyType(
    {
        Text: ("color",),
        Line2D: ("color", "markerfacecolor", "markeredgecolor"),
        Patch: ("facecolor", "edgecolor"),
        Collection: ("facecolor", "edgecolor"),
    }
)


def rc_params(name: str = "light") -> dict[str, Any]:
    """Return the parameters of Matplotlib that a theme sets, such as for a whole notebook.

    Parameters
    ----------
    name : str
        "light" or "dark".

    Returns
    -------
    dict of str to object

    Raises
    ------
    InputError
        If there is no such theme.

    Examples
    --------
    ``plt.rcParams.update(fl.plot.rc_params("dark"))`` holds for all figures that follow.

    >>> fl.plot.rc_params("dark")["text.color"]
    '#dde3e9'
    """
    check_choice("theme", name, list(PALETTES))
    ink, ground = PALETTES[name]
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(inked, ink),
        "figure.facecolor": ground,
        "axes.facecolor": ground,
        "savefig.facecolor": "auto",  # That of the figure.
        "axes.prop_cycle": cycler(color=COLOURS),
        "image.cmap": COLOUR_MAP,
        "font.size": FONT_SIZE,
        "axes.titlesize": "medium",
        "legend.frameon": False,
    }


def theme(name: str = "light") -> AbstractContextManager[None]:
    """Draw in the light or the dark theme of fastlin, within a ``with`` block.

    A theme sets colours and the size of letters in Matplotlib's rcParams. Everything else, such as the font,
    stays as the user has set it. All functions of `fastlin.plot` follow rcParams, so that they also follow a
    style of Matplotlib, such as ``plt.style.use("dark_background")``.

    Parameters
    ----------
    name : str
        "light" or "dark".

    Returns
    -------
    context manager

    Raises
    ------
    InputError
        If there is no such theme.

    See Also
    --------
    rc_params : The parameters of a theme, for all figures of a notebook.
    in_dark : Show a figure in the dark theme that was drawn in the light one.

    Examples
    --------
    >>> with fl.plot.theme("dark"):
    ...     ax = fl.plot.profile(fl.open_sweep("small.zarr").loss.isel(architecture=0, init_scale=0, time=-1))
    """
    return style.context(rc_params(name))


@contextmanager
def in_dark(figure: Figure) -> Iterator[Figure]:
    """Show a figure in the dark theme that was drawn in the light one, within a ``with`` block.

    Black becomes the light ink of the dark theme, white becomes its ground, and greys lie between them. Other
    colours stay, or are lightened if they would not show on the dark ground. Colours that stand for values
    (images, meshes, contours) stay, and so do lines and letters with a rim, which show on any colour. At the
    end of the block the figure is as it was.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Drawn with a white ground and black ink.

    Yields
    ------
    matplotlib.figure.Figure
        The same figure.

    Raises
    ------
    InputError
        If `figure` is no Figure.

    Examples
    --------
    >>> figure = fl.plot.sweep(fl.open_sweep("small.zarr"))
    >>> figure.savefig("light.png")
    >>> with fl.plot.in_dark(figure):
    ...     figure.savefig("dark.png")
    """
    check_instance("figure", figure, Figure, "ax.figure")
    figure.draw_without_rendering()  # Ticks are made when a figure is drawn.
    artists = [artist for artist in _artists(figure) if not _has_own_ground(artist)]
    before = [vars(artist).copy() for artist in artists]
    try:
        for artist in artists:
            _darken(artist)
        with rc_context({"savefig.facecolor": "auto"}):
            yield figure
    finally:
        # A setter replaces attributes, and changes none in place, so that shallow copies suffice.
        for artist, attributes in zip(artists, before, strict=True):
            vars(artist).update(attributes)
            artist.stale = True


def _artists(figure: Figure) -> list[Artist]:
    """Return all artists of a figure that have colours. The box around a text is no child of the text."""
    found = figure.findobj(lambda artist: isinstance(artist, tuple(_COLOURS_OF)))
    boxes = [artist.get_bbox_patch() for artist in found if isinstance(artist, Text)]
    return [*found, *(box for box in boxes if box is not None)]


def _has_own_ground(artist: Artist) -> bool:
    """Return whether an artist shows values in colour, or has a rim that makes it show on any colour."""
    return bool(artist.get_path_effects()) or (
        isinstance(artist, Collection) and artist.get_array() is not None
    )


def _darken(artist: Artist) -> None:
    """Give an artist colours for the dark ground."""
    kind = next(kind for kind in _COLOURS_OF if isinstance(artist, kind))
    # All are read first, because the colour of a marker may follow that of its line.
    colours = {name: getattr(artist, f"get_{name}")() for name in _COLOURS_OF[kind]}
    for name, colour in colours.items():
        dark = np.array([dark_colour(one) for one in to_rgba_array(colour)])
        if dark.size:  # "none" is no colour.
            getattr(artist, f"set_{name}")(dark if kind is Collection else dark[0])


def dark_colour(colour: Any) -> tuple[float, ...]:
    """Return a colour of the light theme in the dark one: red, green, blue and alpha from 0 to 1."""
    *channels, alpha = to_rgba(colour)
    ink, ground = (np.array(to_rgba(part)[:3]) for part in PALETTES["dark"])
    light = np.array(channels)
    if np.ptp(light) <= GREY:
        return (*(ink + (ground - ink) * light.mean()), alpha)
    hue, lightness, saturation = rgb_to_hls(*channels)
    lighter = (hls_to_rgb(hue, each, saturation) for each in np.linspace(lightness, 1.0, 41))
    return (*next(each for each in lighter if contrast(each, ground) >= LEAST_CONTRAST), alpha)


def contrast(one: Any, other: Any) -> float:
    """Return the ratio of the luminances of two colours as WCAG 2.1 defines it, from 1 to 21."""
    low, high = sorted(_luminance(np.array(to_rgba(colour)[:3])) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(channels: NDArray[np.float64]) -> float:
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
