"""Whether the panels of a page fit its size."""

from __future__ import annotations

import math
import warnings

from matplotlib.figure import Figure

from fastlin.plot.saving import rendering

LEAST_HEIGHT = 0.5  # Inches of a panel that can be read.
COLOUR_BAR = "<colorbar>"  # Label that Matplotlib gives the axes of a colour bar.


def sizing_fault(figure: Figure) -> str:
    """Return why the panels of a figure do not fit it, and the size that is needed; "" if they do."""
    with warnings.catch_warnings(), rendering():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            figure.draw_without_rendering()
        except UserWarning:
            return "and their labels; a larger one is needed"
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != COLOUR_BAR]
    boxes = [ax.get_window_extent() for ax in panels]
    lowest = min(box.height for box in boxes) / figure.dpi
    if lowest >= LEAST_HEIGHT:
        return ""
    rows = len({round(box.y0) for box in boxes})  # All of them share the height that is added.
    needed = figure.get_figheight() + (rows + 0.2) * (LEAST_HEIGHT - lowest)
    size = f"{figure.get_figwidth():g} x {math.ceil(2 * needed) / 2:g}"
    return f"(a panel would be {lowest:.2g} inches high); needed are about {size} inches"
