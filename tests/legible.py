"""Rules that every picture keeps: texts are large enough, lie on the page, and do not overlap."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.text import Text

PIXELS = 800  # Width at which pictures are read.
LEAST = 12.0  # Pixels of the size of letters at that width.


def check(figure):
    """Check all rules."""
    figure.canvas.draw()  # Constrained layout is settled after two passes.
    figure.draw_without_rendering()
    shown = texts(figure)
    assert shown
    width, height = figure.bbox.width, figure.bbox.height
    for text in shown:
        size = text.get_fontsize() / 72 * PIXELS / figure.get_figwidth()
        assert size >= LEAST, f"{text.get_text()!r} has {size:.1f} pixels"
        box = text.get_window_extent()
        inside = min(box.x0, box.y0) >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{text.get_text()!r} is cut off"
    for one, other in combinations(shown, 2):
        assert not overlap(one, other), f"{one.get_text()!r} overlaps {other.get_text()!r}"


def texts(figure):
    """Return all texts that are seen: those of ticks only if the ticks lie on their axis."""
    on_axes = {id(text) for ax in axes_of(figure) for text in tick_labels(ax, seen=True)}
    of_ticks = {id(text) for ax in axes_of(figure) for text in tick_labels(ax, seen=False)}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip()
        and text.get_visible()
        and (id(text) not in of_ticks or id(text) in on_axes)
    ]


def axes_of(figure):
    """Return the axes of a figure and of its subfigures that are seen."""
    return [ax for ax in figure.findobj(Axes) if ax.get_visible()]


def tick_labels(ax, *, seen):
    """Return the labels of the ticks of both axes, or those only that are seen."""
    labels = []
    for axis in (ax.xaxis, ax.yaxis):
        place = axis.get_transform().transform
        low, high = sorted(place(axis.get_view_interval()))
        margin = 1e-9 * (high - low)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not seen or low - margin <= place([tick.get_loc()])[0] <= high + margin:
                labels += [tick.label1, tick.label2]
    return labels


def overlap(one, other):
    """Return whether the boxes of two texts overlap by more than a pixel in both directions."""
    a, b = one.get_window_extent(), other.get_window_extent()
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
