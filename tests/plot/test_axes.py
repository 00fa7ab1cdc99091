"""Labels and ticks of axes."""

import numpy as np
import pytest
import xarray as xr

import fastlin as fl


def boxes_of(texts):
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


def assert_apart(boxes):
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


@pytest.mark.parametrize("size", [pytest.param((8, 5), marks=pytest.mark.slow), (6, 4), None])
@pytest.mark.parametrize("count", [2, 3, 4, 7, 15])
def test_labels_of_diagrams_do_not_overlap(shapes, size, count):
    part = shapes.isel(architecture=slice(count))
    for figure in fl.plot.pages(part, "loss", "lam", "time", fl.plot.Style(size=size)):
        figure.draw_without_rendering()
        for axis in ("xaxis", "yaxis"):
            assert_apart(boxes_of(getattr(ax, axis).label for ax in figure.axes))
        assert_apart(boxes_of(ax.title for ax in figure.axes))


@pytest.mark.parametrize("count", [1, 2, 5, 7, 12, 13])
def test_the_lowest_diagram_of_each_column_names_its_axis(shapes, count):
    *_, figure = fl.plot.pages(shapes.isel(architecture=slice(count)), "loss", "lam", "time")
    figure.draw_without_rendering()
    diagrams = [ax for ax in figure.axes if ax.get_title()[:1].isalpha()]
    assert len(diagrams) == (1 if count == 13 else count)
    for ax in diagrams:
        box = ax.get_position()
        below = [o for o in diagrams if o.get_position().x0 == box.x0 and o.get_position().y0 < box.y0]
        assert bool(ax.get_xlabel()) != bool(below)


@pytest.mark.parametrize(
    ("shape", "labels"),
    [
        ([[2, 1, 2], [3, 2, 3], [4, 2, 4], [2, 2, 2], [2, 3, 2]], ["0.5", "0.667", "1", "1.5"]),
        ([[n, h, n] for n in (9, 10, 11) for h in range(1, 9)], ["0.1", "0.2", "0.5"]),
        ([[n, n - 1, n] for n in range(5, 25)], ["0.8", "0.85", "0.9", "0.95"]),
        ([[1000, h, 1000] for h in (3, 4, 5, 50, 999)], ["0.01", "0.1", "1"]),
    ],
)
def test_ticks_of_ratios_are_few_and_spelled_shortly(shape, labels):
    names = ["-".join(map(str, sizes)) for sizes in shape]
    values = np.arange(2.0 * len(names)).reshape(-1, 2)
    da = xr.DataArray(values, {"architecture": names, "lam": [0.0, 1.0]}, ("architecture", "lam"), "loss")
    for x, y in (("bottleneck_ratio", "lam"), ("lam", "bottleneck_ratio")):
        ax = fl.plot.phase_diagram(da, x, y)
        ax.figure.draw_without_rendering()
        axis = ax.xaxis if x == "bottleneck_ratio" else ax.yaxis
        low, high = sorted(axis.get_view_interval())
        ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert [tick.label1.get_text() for tick in ticks] == labels
        assert_apart(boxes_of(tick.label1 for tick in ticks))
        assert not any(tick.label1.get_text() for tick in axis.get_minor_ticks())
