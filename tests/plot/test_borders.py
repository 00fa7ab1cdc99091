"""Borders of regimes: they are drawn in the diagram and in its colour bar, and named."""

import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from fastlin.observables.regimes import THRESHOLD
from fastlin.plot.borders import RIM, drawn_levels


def plane(values, name="kernel_distance"):
    """Return a mean over (time, lam) on even axes from -1 to 1 and from 0 to 1."""
    y, x = (np.linspace(*ends, size) for ends, size in zip(((0, 1), (-1, 1)), np.shape(values), strict=True))
    return xr.DataArray(values, {"time": y, "lam": x}, ("time", "lam"), name)


def names(ax):
    return {text.get_text(): text for text in ax.texts}


def test_regimes_are_named_within_their_borders():
    """The values rise along lam, so that the left is lazy and the right is rich."""
    ramp = plane(np.linspace(0.0, 0.2, 21) + np.zeros((11, 1)))
    ax = fl.plot.phase_diagram(ramp, contours=THRESHOLD)
    written = names(ax)
    assert set(written) == {"lazy", "rich"}
    assert all(text.get_path_effects() == RIM for text in written.values())
    assert written["lazy"].get_position()[0] < -0.5 < 0.5 < written["rich"].get_position()[0]
    ax.figure.draw_without_rendering()
    for text in written.values():
        box, frame = text.get_window_extent(), ax.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_a_name_in_a_narrow_regime_is_upright():
    narrow = np.zeros((41, 41)) + 0.1
    narrow[:, 19:22] = 0.3
    rich = names(fl.plot.phase_diagram(plane(narrow), contours=THRESHOLD))["rich"]
    assert rich.get_rotation() == 90
    assert rich.get_position()[0] == pytest.approx(0.0, abs=0.06)
    flat = names(fl.plot.phase_diagram(plane(narrow.T), contours=THRESHOLD))["rich"]
    assert flat.get_rotation() == 0


def test_a_name_at_the_edge_of_a_diagram_is_not_cut_off():
    edge = np.zeros((41, 41)) + 0.1
    edge[:, 0] = 0.0
    ax = fl.plot.phase_diagram(plane(edge), contours=THRESHOLD)
    ax.figure.draw_without_rendering()
    box, frame = names(ax)["lazy"].get_window_extent(), ax.get_window_extent()
    assert frame.x0 <= box.x0 < frame.x0 + 0.05 * frame.width


def test_a_regime_without_room_has_no_name():
    tiny = np.zeros((121, 121))
    tiny[60, 60] = 0.3
    assert set(names(fl.plot.phase_diagram(plane(tiny), contours=THRESHOLD))) == {"lazy"}


def test_other_levels_have_their_number_and_all_are_in_the_colour_bar():
    ramp = plane(np.linspace(0.0, 1.0, 41) + np.zeros((11, 1)), "loss")
    ax = fl.plot.phase_diagram(ramp, contours=(0.25, 0.5, 0.75))
    assert set(names(ax)) == {"0.25", "0.5", "0.75"}
    bar = ax.figure.axes[1]
    assert [line.get_ydata()[0] for line in bar.lines] == drawn_levels([ax]) == [0.25, 0.5, 0.75]
    assert [line.get_linestyle() for line in bar.lines] == ["--", "--", "-"]


def test_a_level_is_drawn_alike_in_the_diagram_and_the_colour_bar():
    """Only the lower of both is crossed. It stays dashed."""
    ax = fl.plot.phase_diagram(plane(np.linspace(0.0, 0.1, 21) + np.zeros((11, 1))), contours=THRESHOLD)
    (line,) = ax.figure.axes[1].lines
    assert (line.get_ydata()[0], line.get_linestyle()) == (THRESHOLD[0], "--")
    ax.contour(np.linspace(-1, 1, 5), np.linspace(0, 1, 5), np.eye(5), levels=[0.5])  # a line of the user
    assert drawn_levels([ax]) == [THRESHOLD[0]]


def test_diagrams_of_a_page_name_their_regimes(dataset):
    figure = fl.plot.sweep(dataset, y="time")
    named = [set(names(ax)) for ax in figure.axes[:3]]
    assert all(named)
    assert set.union(*named) == {"lazy", "rich"}
    assert not any(ax.texts for ax in fl.plot.sweep(dataset, "loss", y="time").axes)
