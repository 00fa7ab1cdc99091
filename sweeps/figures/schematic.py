"""A network, drawn: layers of circles and the connections between them."""

from __future__ import annotations

from itertools import pairwise, product

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from fastlin.architecture import Architecture

MOST = 8  # Circles of a layer. A larger layer is drawn without its middle.
GREY = "0.75"


def schematic(ax: Axes, architecture: Architecture, colour: str, height: int) -> None:
    """Draw a network from its inputs (left) to its outputs (right).

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    architecture : Architecture
        Sizes of the layers.
    colour : str
        Colour of the hidden units.
    height : int
        Number of units of the largest layer of all networks that share the scale.
    """
    sizes = (architecture.n_i, architecture.n_h, architecture.n_o)
    layers = [[(x, y) for y in _heights(size)] for x, size in enumerate(sizes)]
    lines = [line for left, right in pairwise(layers) for line in product(left, right)]
    ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.7, zorder=1))
    for units, face in zip(layers, ("white", colour, "white"), strict=True):
        xs, ys = zip(*units, strict=True)
        ax.scatter(xs, ys, s=70, facecolor=face, edgecolor="0.2", zorder=2)
    for x, size in enumerate(sizes):
        if size > MOST:
            ax.text(x, 0, "⋮", ha="center", va="center", fontsize="large")
    top = (min(height, MOST) - 1) / 2
    ax.set(xlim=(-0.4, 2.4), ylim=(-top - 0.7, top + 0.7), yticks=[])
    ax.set_xticks([0, 1, 2], [f"$N_{name} = {size}$" for name, size in zip("iho", sizes, strict=True)])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _heights(size: int) -> list[float]:
    """Return the heights of the circles of a layer: centred at 0, with distance 1."""
    shown = min(size, MOST)
    heights = [unit - 0.5 * (shown - 1) for unit in range(shown)]
    return [height for height in heights if size <= MOST or abs(height) > 1]
